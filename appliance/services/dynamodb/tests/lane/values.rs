//! Random values and items: few different ones, so that keys meet, and around the borders of the encodings.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::reference::decimal::Decimal;
use crate::reference::random::Random;
use crate::reference::table::Table;
use crate::reference::value::{Item, Value, base64};

/// Strings that keys are made of: prefixes of each other, zeros, lengths around groups of eight, one long one.
const TEXTS: [&str; 12] =
    ["a", "ab", "a\u{0}", "abcdefgh", "abcdefgh\u{0}", "abcdefghi", "b", "é", "😀", "~", "B", "LONG"];
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2.5",
    "10",
    "-10",
    "1e20",
    "-1e-20",
    "99999999999999999999999999999999999999",
    "1e125",
    "-1e-130",
    "0.1",
];
const BYTES: [&[u8]; 10] = [
    &[0],
    &[0, 0],
    &[255],
    &[1, 2, 3],
    &[7; 8],
    &[7, 7, 7, 7, 7, 7, 7, 7, 0],
    &[7; 9],
    &[7; 16],
    &[255, 255],
    &[128],
];
/// Attributes that are no key of a table. Those with a digit may stand in expressions as they are.
pub const PLAIN_NAMES: [&str; 8] = ["a0", "doc1", "list1", "set1", "num1", "x.y", "size", "ünï 1"];
/// The attribute that says when an item expires.
pub const EXPIRY: &str = "exp1";
const LONG_TEXT_BYTES: usize = 300;

/// A value that a key of this type may have.
pub fn key_value(random: &mut Random, kind: &str) -> Value {
    match kind {
        "S" => match random.one_of(&TEXTS) {
            "LONG" => Value::S("L".repeat(LONG_TEXT_BYTES)),
            text => Value::s(text),
        },
        "N" => Value::N(Decimal::parse(random.one_of(&NUMBERS)).expect("a number")),
        _ => Value::B(random.one_of(&BYTES).to_vec()),
    }
}

/// Few partition keys: each has items to sort.
pub fn hash_value(random: &mut Random, kind: &str) -> Value {
    match kind {
        "S" => Value::s(TEXTS[random.below(4)]),
        "N" => Value::N(Decimal::parse(NUMBERS[random.below(4)]).expect("a number")),
        _ => Value::B(BYTES[random.below(4)].to_vec()),
    }
}

pub fn scalar(random: &mut Random) -> Value {
    match random.below(7) {
        0 => Value::Null,
        1 => Value::Bool(random.chance(50)),
        2 => Value::s(""),
        3 => Value::n(random.below(20) as i64 - 10),
        4 => key_value(random, "N"),
        5 => key_value(random, "B"),
        _ => key_value(random, "S"),
    }
}

pub fn set(random: &mut Random, kind: &str) -> Value {
    let count = 1 + random.below(4);
    match kind {
        "SS" => Value::Ss((0..count).map(|_| (random.one_of(&TEXTS)).to_owned()).collect()),
        "NS" => Value::Ns((0..count).map(|_| Decimal::of(random.below(9) as i64 - 4)).collect()),
        _ => Value::Bs((0..count).map(|_| random.one_of(&BYTES).to_vec()).collect()),
    }
}

pub fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 7 } else { 10 }) {
        0..=4 => scalar(random),
        5 | 6 => {
            let kind = random.one_of(&["SS", "NS", "BS"]);
            set(random, kind)
        }
        7 | 8 => Value::L((0..random.below(4)).map(|_| value(random, depth - 1)).collect()),
        _ => Value::M(map(random, depth - 1)),
    }
}

fn map(random: &mut Random, depth: usize) -> Item {
    (0..random.below(4)).map(|_| ((random.one_of(&PLAIN_NAMES)).to_owned(), value(random, depth))).collect()
}

/// What an attribute mostly is, so that updates and conditions meet what they are for.
pub fn value_of(random: &mut Random, name: &str) -> Value {
    if random.chance(15) {
        return value(random, 2);
    }
    match name {
        "num1" => Value::n(random.below(200) as i64),
        "set1" => set(random, "NS"),
        "list1" => Value::L((0..random.below(5)).map(|_| value(random, 1)).collect()),
        "doc1" => Value::M(map(random, 2)),
        _ => scalar(random),
    }
}

/// The key of an item that may be there.
pub fn key(random: &mut Random, table: &Table) -> Item {
    let mut key = Item::from([(table.hash.name.to_owned(), hash_value(random, table.hash.kind))]);
    if let Some(sort) = &table.sort {
        key.insert(sort.name.to_owned(), key_value(random, sort.kind));
    }
    key
}

/// An item with attributes of indexes, mostly of the right types. `expiries` are the times that may be set.
pub fn item(random: &mut Random, table: &Table, expiries: &[i64]) -> Item {
    let mut item = key(random, table);
    for part in table.index_attributes() {
        let is_key = item.contains_key(part.name);
        if !is_key && random.chance(75) {
            let value = if random.chance(2) { scalar(random) } else { key_value(random, part.kind) };
            item.insert(part.name.to_owned(), value);
        }
    }
    for _ in 0..random.below(5) {
        let name = random.one_of(&PLAIN_NAMES);
        item.insert(name.to_owned(), value_of(random, name));
    }
    if random.chance(30) {
        item.insert(EXPIRY.to_owned(), expiry(random, expiries));
    }
    if random.chance(1) {
        // Some of many pages of the index, and of the log's.
        item.insert("fill1".to_owned(), Value::S("f".repeat(1_000 + random.below(60_000))));
    }
    item
}

pub fn expiry(random: &mut Random, expiries: &[i64]) -> Value {
    match random.below(10) {
        0 => Value::s("no number"),
        // More than five years ago: meant for something else.
        1 => Value::n(1_000),
        _ => Value::n(random.one_of(expiries)),
    }
}

/// The JSON of a value as clients may write it: numbers in other spellings, sets in any order.
pub fn spell(random: &mut Random, value: &Value) -> Json {
    match value {
        Value::N(number) => json!({"N": spell_number(random, number)}),
        Value::Ss(set) => json!({"SS": shuffled(random, set)}),
        Value::Bs(set) => {
            let members: Vec<String> = shuffled(random, set).iter().map(|bytes| base64(bytes)).collect();
            json!({"BS": members})
        }
        Value::Ns(set) => {
            let members = shuffled(random, set);
            json!({"NS": members.iter().map(|number| spell_number(random, number)).collect::<Vec<_>>()})
        }
        Value::L(list) => json!({"L": list.iter().map(|value| spell(random, value)).collect::<Vec<_>>()}),
        Value::M(map) => json!({"M": spell_item(random, map)}),
        other => other.to_json(),
    }
}

pub fn spell_item(random: &mut Random, item: &Item) -> Json {
    Json::Object(item.iter().map(|(name, value)| (name.clone(), spell(random, value))).collect())
}

fn spell_number(random: &mut Random, number: &Decimal) -> String {
    let plain = number.plain();
    match random.below(6) {
        0 if plain.contains('.') => format!("{plain}00"),
        1 if !plain.contains('.') => format!("{plain}.0"),
        2 => format!("{plain}e0"),
        3 if !plain.starts_with('-') => format!("+0{plain}"),
        _ => plain,
    }
}

fn shuffled<T: Clone + Ord>(random: &mut Random, set: &BTreeSet<T>) -> Vec<T> {
    let mut members: Vec<T> = set.iter().cloned().collect();
    for place in (1..members.len()).rev() {
        members.swap(place, random.below(place + 1));
    }
    members
}
