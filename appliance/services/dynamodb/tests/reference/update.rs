//! Update expressions as trees: their text, and what they make of an item.
//! Every right side reads the old item, and every place means the old item's. So lists are held as sparse ones while an
//! update works: a place keeps its number until the end, and what is left is made dense then.

use std::collections::{BTreeMap, BTreeSet};

use super::path::{Path, Printer, Step, find, root};
use super::random::Random;
use super::value::{Item, Value};

#[derive(Clone, Debug)]
pub enum Term {
    Path(Path),
    Value(Value),
    IfNotExists(Path, Box<Term>),
    ListAppend(Box<Term>, Box<Term>),
}

#[derive(Clone, Debug)]
pub enum Action {
    Set(Path, Term),
    Plus(Path, Term, Term),
    Minus(Path, Term, Term),
    Remove(Path),
    Add(Path, Value),
    Delete(Path, Value),
}

/// Actions on paths that do not collide.
#[derive(Clone, Debug, Default)]
pub struct Update(pub Vec<Action>);

/// Why an update fails: always a ValidationException. The reference does not know the words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateFault {
    MissingAttribute,
    WrongType,
    InvalidPath,
    Number,
}

impl Action {
    pub fn path(&self) -> &Path {
        match self {
            Action::Set(path, _)
            | Action::Plus(path, ..)
            | Action::Minus(path, ..)
            | Action::Remove(path)
            | Action::Add(path, _)
            | Action::Delete(path, _) => path,
        }
    }

    /// Whether an absent item comes to be by it.
    fn creates(&self) -> bool {
        !matches!(self, Action::Remove(_) | Action::Delete(..))
    }
}

impl Term {
    fn of(&self, item: &Item) -> Result<Value, UpdateFault> {
        match self {
            Term::Path(path) => find(item, path).cloned().ok_or(UpdateFault::MissingAttribute),
            Term::Value(value) => Ok(value.clone()),
            Term::IfNotExists(path, other) => match find(item, path) {
                Some(value) => Ok(value.clone()),
                None => other.of(item),
            },
            Term::ListAppend(front, back) => match (front.of(item)?, back.of(item)?) {
                (Value::L(mut front), Value::L(back)) => {
                    front.extend(back);
                    Ok(Value::L(front))
                }
                _ => Err(UpdateFault::WrongType),
            },
        }
    }

    fn print(&self, printer: &mut Printer, random: &mut Random) -> String {
        match self {
            Term::Path(path) => printer.path(random, path),
            Term::Value(value) => printer.value(value),
            Term::IfNotExists(path, other) => {
                let path = printer.path(random, path);
                format!("if_not_exists({path}, {})", other.print(printer, random))
            }
            Term::ListAppend(front, back) => {
                let front = front.print(printer, random);
                format!("list_append({front}, {})", back.print(printer, random))
            }
        }
    }
}

impl Update {
    /// The item afterwards; nothing: it was absent and stays so.
    pub fn apply(&self, old: Option<&Item>, key: &Item) -> Result<Option<Item>, UpdateFault> {
        if old.is_none() && !self.0.is_empty() && !self.0.iter().any(Action::creates) {
            return Ok(None);
        }
        let before = old.unwrap_or(key);
        let empty = Item::new();
        // What is read is the old item; an absent one has not even its key.
        let read = old.unwrap_or(&empty);
        let mut sparse = Sparse::of(&Value::M(before.clone()));
        for action in &self.0 {
            // Nothing can be taken from an item that is not there, and asking for it is no fault.
            if old.is_none() && matches!(action, Action::Remove(_)) {
                continue;
            }
            let change = action.change(read)?;
            sparse.change(action.path(), change)?;
        }
        match sparse.dense() {
            Value::M(item) => Ok(Some(item)),
            _ => panic!("an item stays one"),
        }
    }

    pub fn print(&self, printer: &mut Printer, random: &mut Random) -> String {
        let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for action in &self.0 {
            let path = printer.path(random, action.path());
            let (section, text) = match action {
                Action::Set(_, term) => ("SET", format!("{path} = {}", term.print(printer, random))),
                Action::Plus(_, one, other) | Action::Minus(_, one, other) => {
                    let one = one.print(printer, random);
                    let sign = if matches!(action, Action::Plus(..)) { "+" } else { "-" };
                    ("SET", format!("{path} = {one} {sign} {}", other.print(printer, random)))
                }
                Action::Remove(_) => ("REMOVE", path),
                Action::Add(_, value) => ("add", format!("{path} {}", printer.value(value))),
                Action::Delete(_, value) => ("Delete", format!("{path} {}", printer.value(value))),
            };
            sections.entry(section).or_default().push(text);
        }
        let texts: Vec<String> =
            sections.into_iter().map(|(section, parts)| format!("{section} {}", parts.join(", "))).collect();
        texts.join(" ")
    }

    pub fn paths(&self) -> Vec<Path> {
        self.0.iter().map(|action| action.path().clone()).collect()
    }

    pub fn touches(&self, attribute: &str) -> bool {
        self.0.iter().any(|action| root(action.path()) == attribute)
    }
}

enum Change {
    Put(Value),
    Remove,
    Nothing,
}

impl Action {
    fn change(&self, old: &Item) -> Result<Change, UpdateFault> {
        let here = find(old, self.path());
        match self {
            Action::Set(_, term) => Ok(Change::Put(term.of(old)?)),
            Action::Plus(_, one, other) => Ok(Change::Put(sum(one.of(old)?, other.of(old)?, false)?)),
            Action::Minus(_, one, other) => Ok(Change::Put(sum(one.of(old)?, other.of(old)?, true)?)),
            Action::Remove(_) => Ok(Change::Remove),
            Action::Add(_, value) => Ok(Change::Put(match (here, value) {
                (None, value) => value.clone(),
                (Some(now @ Value::N(_)), by @ Value::N(_)) => sum(now.clone(), by.clone(), false)?,
                (Some(Value::Ss(now)), Value::Ss(by)) => Value::Ss(now.union(by).cloned().collect()),
                (Some(Value::Ns(now)), Value::Ns(by)) => Value::Ns(now.union(by).cloned().collect()),
                (Some(Value::Bs(now)), Value::Bs(by)) => Value::Bs(now.union(by).cloned().collect()),
                _ => return Err(UpdateFault::WrongType),
            })),
            Action::Delete(_, value) => Ok(match (here, value) {
                (None, _) => Change::Nothing,
                (Some(Value::Ss(now)), Value::Ss(by)) => without(now, by, Value::Ss),
                (Some(Value::Ns(now)), Value::Ns(by)) => without(now, by, Value::Ns),
                (Some(Value::Bs(now)), Value::Bs(by)) => without(now, by, Value::Bs),
                _ => return Err(UpdateFault::WrongType),
            }),
        }
    }
}

fn without<T: Ord + Clone>(now: &BTreeSet<T>, by: &BTreeSet<T>, make: fn(BTreeSet<T>) -> Value) -> Change {
    let left: BTreeSet<T> = now.difference(by).cloned().collect();
    if left.is_empty() { Change::Remove } else { Change::Put(make(left)) }
}

fn sum(one: Value, other: Value, is_minus: bool) -> Result<Value, UpdateFault> {
    let (Value::N(one), Value::N(other)) = (one, other) else { return Err(UpdateFault::WrongType) };
    let other = if is_minus { other.negated() } else { other };
    one.plus(&other).in_range().map(Value::N).map_err(|_| UpdateFault::Number)
}

/// A value whose lists have numbered places.
enum Sparse {
    Leaf(Value),
    List(BTreeMap<usize, Sparse>),
    Map(BTreeMap<String, Sparse>),
}

impl Sparse {
    fn of(value: &Value) -> Sparse {
        match value {
            Value::L(list) => Sparse::List(list.iter().map(Sparse::of).enumerate().collect()),
            Value::M(map) => {
                Sparse::Map(map.iter().map(|(name, value)| (name.clone(), Sparse::of(value))).collect())
            }
            other => Sparse::Leaf(other.clone()),
        }
    }

    fn dense(self) -> Value {
        match self {
            Sparse::Leaf(value) => value,
            Sparse::List(places) => Value::L(places.into_values().map(Sparse::dense).collect()),
            Sparse::Map(map) => {
                Value::M(map.into_iter().map(|(name, value)| (name, value.dense())).collect())
            }
        }
    }

    fn change(&mut self, path: &[Step], change: Change) -> Result<(), UpdateFault> {
        let (step, rest) = path.split_first().expect("a path has a step");
        if !rest.is_empty() {
            let child = match (self, step) {
                (Sparse::Map(map), Step::Name(name)) => map.get_mut(name),
                (Sparse::List(places), Step::Index(place)) => places.get_mut(place),
                _ => None,
            };
            return child.ok_or(UpdateFault::InvalidPath)?.change(rest, change);
        }
        match (self, step, change) {
            (Sparse::Map(map), Step::Name(name), Change::Put(value)) => {
                drop(map.insert(name.clone(), Sparse::Leaf(value)));
            }
            (Sparse::Map(map), Step::Name(name), Change::Remove) => drop(map.remove(name)),
            (Sparse::List(places), Step::Index(place), Change::Put(value)) => {
                drop(places.insert(*place, Sparse::Leaf(value)));
            }
            (Sparse::List(places), Step::Index(place), Change::Remove) => drop(places.remove(place)),
            (Sparse::Map(_), Step::Name(_), Change::Nothing)
            | (Sparse::List(_), Step::Index(_), Change::Nothing) => {}
            _ => return Err(UpdateFault::InvalidPath),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, place: usize) -> Path {
        vec![Step::Name(name.to_owned()), Step::Index(place)]
    }

    fn list(numbers: &[i64]) -> Value {
        Value::L(numbers.iter().map(|number| Value::n(*number)).collect())
    }

    #[test]
    fn places_mean_the_old_list() {
        let old = Item::from([("l".to_owned(), list(&[0, 1, 2]))]);
        let update = Update(vec![
            Action::Remove(at("l", 0)),
            Action::Set(at("l", 1), Term::Path(at("l", 0))),
            Action::Set(at("l", 90), Term::Value(Value::n(90))),
            Action::Set(at("l", 7), Term::Value(Value::n(7))),
        ]);
        let new = update.apply(Some(&old), &Item::new()).expect("fits").expect("there");
        assert_eq!(new["l"], list(&[0, 2, 7, 90]));
    }

    #[test]
    fn only_removals_make_no_item() {
        let key = Item::from([("k".to_owned(), Value::s("x"))]);
        let remove = Update(vec![Action::Remove(at("l", 0))]);
        assert_eq!(remove.apply(None, &key), Ok(None));
        assert_eq!(Update::default().apply(None, &key), Ok(Some(key.clone())));
        let set = Update(vec![Action::Set(at("l", 0), Term::Value(Value::Null))]);
        assert_eq!(set.apply(None, &key), Err(UpdateFault::InvalidPath));
    }
}
