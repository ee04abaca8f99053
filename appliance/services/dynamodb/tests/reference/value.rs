//! Attribute values as trees, with their JSON on the wire.
//! Invariant: sets are sorted and numbers in normal form, so that equal values are equal trees and equal JSON.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::decimal::Decimal;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    S(String),
    N(Decimal),
    B(Vec<u8>),
    Ss(BTreeSet<String>),
    Ns(BTreeSet<Decimal>),
    Bs(BTreeSet<Vec<u8>>),
    L(Vec<Value>),
    M(Item),
}

/// Attributes by name.
pub type Item = BTreeMap<String, Value>;

impl Value {
    pub fn s(text: &str) -> Value {
        Value::S(text.to_owned())
    }

    pub fn n(number: i64) -> Value {
        Value::N(Decimal::of(number))
    }

    /// The name of its type on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Bool(_) => "BOOL",
            Value::S(_) => "S",
            Value::N(_) => "N",
            Value::B(_) => "B",
            Value::Ss(_) => "SS",
            Value::Ns(_) => "NS",
            Value::Bs(_) => "BS",
            Value::L(_) => "L",
            Value::M(_) => "M",
        }
    }

    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => json!({"NULL": true}),
            Value::Bool(is) => json!({"BOOL": is}),
            Value::S(text) => json!({"S": text}),
            Value::N(number) => json!({"N": number.plain()}),
            Value::B(bytes) => json!({"B": base64(bytes)}),
            Value::Ss(set) => json!({"SS": set}),
            Value::Ns(set) => json!({"NS": set.iter().map(Decimal::plain).collect::<Vec<_>>()}),
            Value::Bs(set) => json!({"BS": set.iter().map(|bytes| base64(bytes)).collect::<Vec<_>>()}),
            Value::L(list) => json!({"L": list.iter().map(Value::to_json).collect::<Vec<_>>()}),
            Value::M(map) => json!({"M": item_to_json(map)}),
        }
    }

    /// Order within S, N or B.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::S(a), Value::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Value::N(a), Value::N(b)) => Some(a.cmp(b)),
            (Value::B(a), Value::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// What `size()` gives.
    pub fn length(&self) -> Option<usize> {
        match self {
            Value::S(text) => Some(text.encode_utf16().count()),
            Value::B(bytes) => Some(bytes.len()),
            Value::Ss(set) => Some(set.len()),
            Value::Ns(set) => Some(set.len()),
            Value::Bs(set) => Some(set.len()),
            Value::L(list) => Some(list.len()),
            Value::M(map) => Some(map.len()),
            Value::Null | Value::Bool(_) | Value::N(_) => None,
        }
    }

    /// Bytes that it counts in an item.
    pub fn size(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) => 1,
            Value::S(text) => text.len(),
            Value::N(number) => number.size(),
            Value::B(bytes) => bytes.len(),
            Value::Ss(set) => set.iter().map(String::len).sum(),
            Value::Ns(set) => set.iter().map(Decimal::size).sum(),
            Value::Bs(set) => set.iter().map(Vec::len).sum(),
            Value::L(list) => 3 + list.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Value::M(map) => 3 + map.iter().map(|(name, value)| 1 + name.len() + value.size()).sum::<usize>(),
        }
    }
}

/// Bytes of an item, names included.
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

pub fn item_to_json(item: &Item) -> Json {
    Json::Object(item.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
}

/// An item of a reply; a panic if it is none.
pub fn item_from_json(json: &Json) -> Item {
    let members = json.as_object().expect("an item");
    members.iter().map(|(name, value)| (name.clone(), value_from_json(value))).collect()
}

/// A value of a reply.
pub fn value_from_json(json: &Json) -> Value {
    let members = json.as_object().expect("a value");
    assert_eq!(members.len(), 1, "one type: {json}");
    let (kind, inner) = members.iter().next().expect("one member");
    let text = |inner: &Json| inner.as_str().expect("text").to_owned();
    let number = |inner: &Json| Decimal::parse(inner.as_str().expect("text")).expect("a number");
    let bytes = |inner: &Json| unbase64(inner.as_str().expect("text"));
    let list = || inner.as_array().expect("a list").iter();
    match kind.as_str() {
        "NULL" => Value::Null,
        "BOOL" => Value::Bool(inner.as_bool().expect("true or false")),
        "S" => Value::S(text(inner)),
        "N" => Value::N(number(inner)),
        "B" => Value::B(bytes(inner)),
        "SS" => Value::Ss(list().map(text).collect()),
        "NS" => Value::Ns(list().map(number).collect()),
        "BS" => Value::Bs(list().map(bytes).collect()),
        "L" => Value::L(list().map(value_from_json).collect()),
        "M" => Value::M(item_from_json(inner)),
        other => panic!("{other} is no type"),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0_u32, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let is_used = place <= group.len();
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if is_used { char::from(ALPHABET[digit]) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let used = group.iter().take_while(|byte| **byte != b'=').count();
        let bits = group[..used].iter().enumerate().fold(0_u32, |bits, (place, byte)| {
            let digit = ALPHABET.iter().position(|letter| letter == byte).expect("a digit of base64");
            bits | (digit as u32) << (18 - 6 * place)
        });
        bytes.extend((1..used).map(|place| (bits >> (24 - 8 * place)) as u8));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_their_json() {
        let value = Value::M(BTreeMap::from([
            ("a".to_owned(), Value::L(vec![Value::Null, Value::Bool(false), Value::n(-7)])),
            ("b".to_owned(), Value::Bs(BTreeSet::from([vec![], vec![0, 255], vec![1, 2, 3, 4]]))),
            ("c".to_owned(), Value::Ss(BTreeSet::from(["é".to_owned(), String::new()]))),
        ]));
        assert_eq!(value_from_json(&value.to_json()), value);
        assert_eq!(base64(&[1, 2, 3, 4]), "AQIDBA==");
    }

    #[test]
    fn sizes_count_names_and_elements() {
        let list = Value::L(vec![Value::s("ab"), Value::Null]);
        assert_eq!(list.size(), 3 + 1 + 2 + 1 + 1);
        assert_eq!(item_size(&BTreeMap::from([("name".to_owned(), list)])), 4 + 8);
        assert_eq!(Value::s("a😀").length(), Some(3));
    }
}
