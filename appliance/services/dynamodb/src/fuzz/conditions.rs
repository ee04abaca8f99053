//! Conditions and items as drawn, answered once more by a slow evaluator that recurses over plain trees.
//!
//! Invariant: the slow evaluator shares no code with expression/; the draws decide everything, so the same bytes are the
//! same condition and item.

use std::collections::{BTreeMap, BTreeSet};

use crate::expression::{Binder, Cache, Kind, TEXT_BYTES_MAX};
use crate::number::Number;
use crate::value::{Item, Kind as ValueKind, Value, ValueBuilder};

/// Bytes that decide a condition and an item. Behind the last byte everything is 0, which ends each choice of how many.
pub fn answers(input: &[u8]) {
    let mut draw = Draws { rest: input.iter() };
    let mut item = BTreeMap::new();
    for name in NAMES {
        if draw.below(4) > 0 {
            item.insert(name.to_owned(), draw.plain(2));
        }
    }
    let item = Plain::Map(item);
    let asked = draw.asked(4);
    let (mut text, mut values) = (String::new(), Vec::new());
    asked.print(&mut text, &mut values);
    if text.len() > TEXT_BYTES_MAX {
        return;
    }
    let sent: Vec<(Box<str>, Value)> = values
        .iter()
        .enumerate()
        .map(|(place, plain)| (format!(":v{place}").into(), plain.value()))
        .collect();
    let mut binder = Binder::new(None, Some(&sent));
    // What is refused by its types, or says nothing, has no answer.
    let Ok(condition) = binder.condition(&mut Cache::new(), Kind::Condition, &text) else { return };
    let stored = item.item();
    assert_eq!(
        condition.holds(Some(stored.as_ref())),
        asked.holds(Some(&item)),
        "{text}\n{values:?}\n{item:?}"
    );
    assert_eq!(condition.holds(None), asked.holds(None), "{text}\n{values:?}\nno item");
}

/// None of them is reserved.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A value of the slow evaluator.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Plain {
    Null,
    Bool(bool),
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
    Texts(BTreeSet<String>),
    Numbers(BTreeSet<i64>),
    List(Vec<Plain>),
    Map(BTreeMap<String, Plain>),
}

/// An operand.
#[derive(Clone, Debug)]
enum Side {
    Path(Vec<Step>),
    Value(Plain),
    Size(Box<Side>),
}

#[derive(Clone, Debug)]
enum Step {
    Name(&'static str),
    Index(usize),
}

/// A condition.
#[derive(Clone, Debug)]
enum Asked {
    Compare(&'static str, Side, Side),
    Between(Side, Side, Side),
    In(Side, Vec<Side>),
    Call(&'static str, Vec<Side>),
    Not(Box<Asked>),
    Join(bool, Box<Asked>, Box<Asked>),
}

struct Draws<'i> {
    rest: std::slice::Iter<'i, u8>,
}

impl Draws<'_> {
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.rest.next().copied().unwrap_or(0)) % end
    }

    fn text(&mut self) -> String {
        ["", "a", "b", "ab", "aé😀"][self.below(5)].to_owned()
    }

    fn plain(&mut self, depth: usize) -> Plain {
        match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Plain::Number(self.below(5) as i64),
            1 => Plain::Text(self.text()),
            2 => Plain::Bool(self.below(2) == 0),
            3 => Plain::Null,
            4 => Plain::Bytes((0..self.below(3)).map(|_| self.below(2) as u8).collect()),
            5 => Plain::Texts((0..=self.below(2)).map(|_| self.text()).collect()),
            6 => Plain::Numbers((0..=self.below(2)).map(|_| self.below(4) as i64).collect()),
            7 => Plain::List((0..self.below(4)).map(|_| self.plain(depth - 1)).collect()),
            _ => {
                let pairs = (0..self.below(3)).map(|place| (NAMES[place].to_owned(), self.plain(depth - 1)));
                Plain::Map(pairs.collect())
            }
        }
    }

    fn path(&mut self) -> Side {
        let mut steps = vec![Step::Name(NAMES[self.below(4)])];
        for _ in 0..[0, 0, 1, 2][self.below(4)] {
            steps.push(match self.below(2) {
                0 => Step::Name(NAMES[self.below(2)]),
                _ => Step::Index(self.below(3)),
            });
        }
        Side::Path(steps)
    }

    fn side(&mut self) -> Side {
        match self.below(6) {
            0..=2 => self.path(),
            3 => Side::Size(Box::new(if self.below(3) == 0 {
                Side::Value(self.plain(1))
            } else {
                self.path()
            })),
            _ => Side::Value(self.plain(1)),
        }
    }

    fn asked(&mut self, depth: usize) -> Asked {
        if depth > 0 {
            match self.below(5) {
                0 => return Asked::Not(Box::new(self.asked(depth - 1))),
                place @ (1 | 2) => {
                    let left = Box::new(self.asked(depth - 1));
                    return Asked::Join(place == 1, left, Box::new(self.asked(depth - 1)));
                }
                _ => {}
            }
        }
        match self.below(10) {
            0..=4 => {
                let sign = ["=", "<>", "<", "<=", ">", ">="][self.below(6)];
                Asked::Compare(sign, self.side(), self.side())
            }
            5 => Asked::Between(self.side(), self.side(), self.side()),
            6 => Asked::In(self.side(), (0..=self.below(3)).map(|_| self.side()).collect()),
            7 => Asked::Call(["attribute_exists", "attribute_not_exists"][self.below(2)], vec![self.path()]),
            8 => {
                let name = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "L", "M"][self.below(9)];
                Asked::Call("attribute_type", vec![self.side(), Side::Value(Plain::Text(name.to_owned()))])
            }
            _ => Asked::Call(["begins_with", "contains"][self.below(2)], vec![self.side(), self.side()]),
        }
    }
}

impl Plain {
    fn kind(&self) -> &'static str {
        match self {
            Plain::Null => "NULL",
            Plain::Bool(_) => "BOOL",
            Plain::Text(_) => "S",
            Plain::Number(_) => "N",
            Plain::Bytes(_) => "B",
            Plain::Texts(_) => "SS",
            Plain::Numbers(_) => "NS",
            Plain::List(_) => "L",
            Plain::Map(_) => "M",
        }
    }

    fn build(&self, builder: &mut ValueBuilder) {
        let number = |number: &i64| Number::parse(number.to_string().as_bytes()).expect("a number");
        match self {
            Plain::Null => builder.null(),
            Plain::Bool(value) => builder.bool(*value),
            Plain::Text(text) => builder.s(text),
            Plain::Number(value) => builder.n(&number(value)),
            Plain::Bytes(bytes) => builder.b(bytes),
            Plain::Texts(texts) => builder.set(ValueKind::Ss, texts.iter().map(|text| text.as_bytes())),
            Plain::Numbers(numbers) => {
                let sortable = |value: &i64| {
                    let mut bytes = Vec::new();
                    number(value).write_sortable(&mut bytes);
                    bytes
                };
                let members: Vec<Vec<u8>> = numbers.iter().map(sortable).collect();
                builder.set(ValueKind::Ns, members.iter().map(Vec::as_slice))
            }
            Plain::List(list) => {
                builder.begin_list();
                list.iter().for_each(|value| value.build(builder));
                builder.end_list()
            }
            Plain::Map(map) => {
                builder.begin_map();
                for (name, value) in map {
                    builder.name(name);
                    value.build(builder);
                }
                builder.end_map()
            }
        };
    }

    fn value(&self) -> Value {
        let mut builder = ValueBuilder::new();
        self.build(&mut builder);
        builder.finish()
    }

    fn item(&self) -> Item {
        let Plain::Map(map) = self else { return Item::empty() };
        let values: Vec<(&str, Value)> =
            map.iter().map(|(name, value)| (name.as_str(), value.value())).collect();
        Item::from_pairs(values.iter().map(|(name, value)| (*name, value.as_ref())))
    }

    fn size(&self) -> Option<i64> {
        let count = match self {
            Plain::Text(text) => text.encode_utf16().count(),
            Plain::Bytes(bytes) => bytes.len(),
            Plain::Texts(set) => set.len(),
            Plain::Numbers(set) => set.len(),
            Plain::List(list) => list.len(),
            Plain::Map(map) => map.len(),
            Plain::Null | Plain::Bool(_) | Plain::Number(_) => return None,
        };
        Some(count as i64)
    }
}

/// Ok(None): there is no such attribute. Err: it has no size.
type Worth = Result<Option<Plain>, ()>;

impl Side {
    fn worth(&self, item: Option<&Plain>) -> Worth {
        match self {
            Side::Value(value) => Ok(Some(value.clone())),
            Side::Path(steps) => {
                let step = |found: Plain, step: &Step| match (found, step) {
                    (Plain::Map(map), Step::Name(name)) => map.get(*name).cloned(),
                    (Plain::List(list), Step::Index(index)) => list.get(*index).cloned(),
                    _ => None,
                };
                Ok(item.cloned().and_then(|item| steps.iter().try_fold(item, step)))
            }
            Side::Size(side) => match side.worth(item)? {
                None => Ok(None),
                Some(value) => value.size().map(|size| Some(Plain::Number(size))).ok_or(()),
            },
        }
    }

    fn print(&self, out: &mut String, values: &mut Vec<Plain>) {
        match self {
            Side::Value(value) => {
                out.push_str(&format!(":v{}", values.len()));
                values.push(value.clone());
            }
            Side::Path(steps) => {
                for (place, step) in steps.iter().enumerate() {
                    match step {
                        Step::Name(name) if place == 0 => out.push_str(name),
                        Step::Name(name) => out.push_str(&format!(".{name}")),
                        Step::Index(index) => out.push_str(&format!("[{index}]")),
                    }
                }
            }
            Side::Size(side) => {
                out.push_str("size(");
                side.print(out, values);
                out.push(')');
            }
        }
    }
}

/// The order of two values of one ordered type.
fn order(left: &Plain, right: &Plain) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Plain::Text(left), Plain::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Plain::Number(left), Plain::Number(right)) => Some(left.cmp(right)),
        (Plain::Bytes(left), Plain::Bytes(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn compare(sign: &str, left: &Worth, right: &Worth) -> bool {
    let (Ok(left), Ok(right)) = (left, right) else { return false };
    let (Some(left), Some(right)) = (left, right) else { return sign == "<>" };
    let order = order(left, right);
    match sign {
        "=" => left == right,
        "<>" => left != right,
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn call(name: &str, first: Worth, second: Option<Worth>) -> bool {
    let second = second.and_then(Result::ok).flatten();
    match (name, first, second) {
        ("attribute_exists", first, _) => matches!(first, Ok(Some(_))),
        ("attribute_not_exists", first, _) => matches!(first, Ok(None)),
        ("attribute_type", Ok(Some(first)), Some(Plain::Text(kind))) => first.kind() == kind,
        ("begins_with", Ok(Some(Plain::Text(text))), Some(Plain::Text(prefix))) => text.starts_with(&prefix),
        ("begins_with", Ok(Some(Plain::Bytes(bytes))), Some(Plain::Bytes(prefix))) => {
            bytes.starts_with(&prefix)
        }
        ("contains", Ok(Some(whole)), Some(part)) => match (whole, part) {
            (Plain::Text(whole), Plain::Text(part)) => whole.contains(&part),
            (Plain::Bytes(whole), Plain::Bytes(part)) => {
                part.is_empty() || whole.windows(part.len()).any(|run| run == part)
            }
            (Plain::Texts(set), Plain::Text(part)) => set.contains(&part),
            (Plain::Numbers(set), Plain::Number(part)) => set.contains(&part),
            (Plain::List(list), part) => list.contains(&part),
            _ => false,
        },
        _ => false,
    }
}

impl Asked {
    fn holds(&self, item: Option<&Plain>) -> bool {
        match self {
            Asked::Compare(sign, left, right) => compare(sign, &left.worth(item), &right.worth(item)),
            Asked::Between(value, low, high) => {
                let value = value.worth(item);
                let there = |side: &Side| matches!(side.worth(item), Ok(Some(_)));
                there(low)
                    && there(high)
                    && compare(">=", &value, &low.worth(item))
                    && compare("<=", &value, &high.worth(item))
            }
            Asked::In(value, members) => {
                let value = value.worth(item);
                members.iter().any(|member| compare("=", &value, &member.worth(item)))
            }
            Asked::Call(name, sides) => {
                call(name, sides[0].worth(item), sides.get(1).map(|side| side.worth(item)))
            }
            Asked::Not(inner) => !inner.holds(item),
            Asked::Join(true, left, right) => left.holds(item) && right.holds(item),
            Asked::Join(false, left, right) => left.holds(item) || right.holds(item),
        }
    }

    /// Prints with one pair of parentheses around every part but the whole.
    fn print(&self, out: &mut String, values: &mut Vec<Plain>) {
        let list = |sides: &[Side], out: &mut String, values: &mut Vec<Plain>| {
            for (place, side) in sides.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                side.print(out, values);
            }
        };
        match self {
            Asked::Compare(sign, left, right) => {
                left.print(out, values);
                out.push_str(sign);
                right.print(out, values);
            }
            Asked::Between(value, low, high) => {
                value.print(out, values);
                out.push_str(" BETWEEN ");
                low.print(out, values);
                out.push_str(" AND ");
                high.print(out, values);
            }
            Asked::In(value, members) => {
                value.print(out, values);
                out.push_str(" IN (");
                list(members, out, values);
                out.push(')');
            }
            Asked::Call(name, sides) => {
                out.push_str(name);
                out.push('(');
                list(sides, out, values);
                out.push(')');
            }
            Asked::Not(inner) => {
                out.push_str("NOT (");
                inner.print(out, values);
                out.push(')');
            }
            Asked::Join(and, left, right) => {
                out.push('(');
                left.print(out, values);
                out.push_str(if *and { ") AND (" } else { ") OR (" });
                right.print(out, values);
                out.push(')');
            }
        }
    }
}
