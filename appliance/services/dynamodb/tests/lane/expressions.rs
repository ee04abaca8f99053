//! Random paths, conditions and updates. What the service would refuse from the text alone is left to refusals.rs.

use super::values::{EXPIRY, PLAIN_NAMES, expiry, key_value, scalar, set, value, value_of};
use crate::reference::condition::{Comparator, Condition, Operand};
use crate::reference::path::{Path, Step, collide};
use crate::reference::random::Random;
use crate::reference::table::Table;
use crate::reference::update::{Action, Term, Update};
use crate::reference::value::Value;

/// A path into attributes that are no keys of the table.
pub fn path(random: &mut Random) -> Path {
    let name = random.one_of(&PLAIN_NAMES);
    let mut path = vec![Step::Name(name.to_owned())];
    match name {
        "list1" if random.chance(60) => path.push(Step::Index(random.below(7))),
        "doc1" if random.chance(60) => path.push(Step::Name((random.one_of(&PLAIN_NAMES)).to_owned())),
        _ => {}
    }
    if path.len() == 2 && random.chance(25) {
        path.push(match random.below(2) {
            0 => Step::Index(random.below(3)),
            _ => Step::Name((random.one_of(&PLAIN_NAMES)).to_owned()),
        });
    }
    path
}

/// Paths that may stand beside each other.
pub fn paths(random: &mut Random, count: usize, make: impl Fn(&mut Random) -> Path) -> Vec<Path> {
    let mut chosen: Vec<Path> = Vec::new();
    for _ in 0..count {
        let path = make(random);
        if !chosen.iter().any(|other| collide(&path, other)) {
            chosen.push(path);
        }
    }
    chosen
}

/// A condition on what `make` names.
pub fn condition(random: &mut Random, make: &dyn Fn(&mut Random) -> Path, depth: usize) -> Condition {
    if depth > 0 && random.chance(35) {
        let count = 2 + random.below(2);
        let mut parts = || (0..count).map(|_| condition(random, make, depth - 1)).collect::<Vec<_>>();
        return match parts() {
            parts if random.chance(40) => Condition::And(parts),
            parts if random.chance(60) => Condition::Or(parts),
            mut parts => Condition::Not(Box::new(parts.swap_remove(0))),
        };
    }
    let path = make(random);
    match random.below(10) {
        0 => Condition::Exists(path),
        1 => Condition::NotExists(path),
        2 => Condition::Type(path, random.one_of(&["S", "N", "NULL", "L", "M", "NS"])),
        3 => Condition::BeginsWith(path, ordered(random, &["S", "B"])),
        4 => Condition::Contains(path, scalar(random)),
        5 => between(random, path),
        6 => {
            let count = 1 + random.below(4);
            Condition::In(Operand::Path(path), (0..count).map(|_| value(random, 1)).collect())
        }
        7 => {
            // Of a size that is none, only the order is told alike everywhere.
            let comparator =
                random.one_of(&[Comparator::Less, Comparator::Equal, Comparator::GreaterOrEqual]);
            let size = Operand::Value(Value::n(random.below(6) as i64));
            Condition::Compare(Operand::Size(path), comparator, size)
        }
        _ => compare(random, path, make),
    }
}

fn compare(random: &mut Random, path: Path, make: &dyn Fn(&mut Random) -> Path) -> Condition {
    let comparator = random.one_of(&Comparator::ALL);
    let takes_any = matches!(comparator, Comparator::Equal | Comparator::NotEqual);
    let other = match random.below(4) {
        0 => {
            let other = make(random);
            // The same operand twice is refused.
            if other == path { Operand::Value(Value::n(1)) } else { Operand::Path(other) }
        }
        _ if takes_any => {
            let name = match &path[0] {
                Step::Name(name) => name.clone(),
                Step::Index(_) => String::new(),
            };
            Operand::Value(value_of(random, &name))
        }
        _ => Operand::Value(ordered(random, &["S", "N", "B"])),
    };
    let path = Operand::Path(path);
    if random.chance(20) {
        Condition::Compare(other, comparator, path)
    } else {
        Condition::Compare(path, comparator, other)
    }
}

fn between(random: &mut Random, path: Path) -> Condition {
    let low = ordered(random, &["S", "N", "B"]);
    let high = key_value(random, low.kind());
    let (low, high) =
        if low.compare(&high).is_some_and(std::cmp::Ordering::is_gt) { (high, low) } else { (low, high) };
    Condition::Between(Operand::Path(path), low, high)
}

fn ordered(random: &mut Random, kinds: &[&str]) -> Value {
    let kind = random.one_of(kinds);
    key_value(random, kind)
}

/// An update that the service takes by its text; the item may still not bear it.
pub fn update(random: &mut Random, table: &Table, expiries: &[i64]) -> Update {
    let mut actions: Vec<Action> = Vec::new();
    let count = random.below(5);
    for place in 0..count {
        let action = action(random, table, expiries, place);
        let is_key =
            table.key_attributes().any(|part| *action.path() == crate::reference::path::name(part.name));
        if !is_key && !actions.iter().any(|other| collide(other.path(), action.path())) {
            actions.push(action);
        }
    }
    Update(actions)
}

fn action(random: &mut Random, table: &Table, expiries: &[i64], place: usize) -> Action {
    let name = |text: &str| crate::reference::path::name(text);
    let indexed: Vec<_> = table.index_attributes().collect();
    match random.below(14) {
        0 | 1 if !indexed.is_empty() => {
            let part = random.one_of(&indexed);
            if random.chance(20) {
                return Action::Remove(name(part.name));
            }
            let value = if random.chance(2) { scalar(random) } else { key_value(random, part.kind) };
            Action::Set(name(part.name), Term::Value(value))
        }
        2 if place == 0 => Action::Set(name(EXPIRY), Term::Value(expiry(random, expiries))),
        3 | 4 => Action::Add(name("num1"), Value::n(random.below(9) as i64 - 3)),
        5 => Action::Add(name("set1"), set(random, "NS")),
        6 => Action::Delete(name("set1"), set(random, "NS")),
        7 => {
            let one = Term::IfNotExists(name("num1"), Box::new(Term::Value(Value::n(5))));
            let other = Term::Value(if random.chance(10) { key_value(random, "N") } else { Value::n(1) });
            let to = name(random.one_of(&["num1", "a0"]));
            if random.chance(50) { Action::Plus(to, one, other) } else { Action::Minus(to, one, other) }
        }
        8 => {
            let more = Term::Value(Value::L((0..random.below(3)).map(|_| value(random, 1)).collect()));
            let list = match random.below(2) {
                0 => Term::Path(name("list1")),
                _ => Term::IfNotExists(name("list1"), Box::new(Term::Value(Value::L(Vec::new())))),
            };
            let (front, back) = if random.chance(50) { (list, more) } else { (more, list) };
            Action::Set(name("list1"), Term::ListAppend(Box::new(front), Box::new(back)))
        }
        9 | 10 => Action::Remove(path(random)),
        11 => Action::Set(path(random), Term::Path(path(random))),
        _ => {
            let path = path(random);
            let Step::Name(root) = &path[0] else { return Action::Remove(path) };
            let new = if path.len() == 1 { value_of(random, root) } else { value(random, 1) };
            Action::Set(path, Term::Value(new))
        }
    }
}
