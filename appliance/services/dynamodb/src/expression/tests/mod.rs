//! What the tests of expressions share: values, items and requests from short texts.

mod conditions;
mod keys;
mod legacy;
mod messages;
mod updates;

use super::*;
use crate::json::{Reader, read_item, read_value};
use crate::value::{Item, Value};

/// A value from its JSON.
pub(super) fn value(json: &str) -> Value {
    let mut reader = Reader::new(json.as_bytes()).unwrap();
    let read = read_value(&mut reader).unwrap();
    assert!(read.error.is_none(), "{json}");
    read.value
}

/// An item from its JSON.
pub(super) fn item(json: &str) -> Item {
    let mut reader = Reader::new(json.as_bytes()).unwrap();
    let read = read_item(&mut reader).unwrap();
    assert!(read.error.is_none(), "{json}");
    read.value
}

/// Values of a request from one object, `{":a":{"S":"x"}}`.
pub(super) fn values(json: &str) -> Vec<(Box<str>, Value)> {
    // The keys are no attribute names, but an item reads them all the same.
    item(json).as_ref().iter().map(|(name, value)| (name.into(), Value::from_ref(value))).collect()
}

/// Names of a request, `#a=b,#c=d`.
pub(super) fn names(text: &str) -> Vec<(Box<str>, Box<str>)> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(key, name)| (key.into(), name.into())).collect()
}

/// Binds one expression of a request that has no other; answers the message if it is refused.
pub(super) fn refusal(kind: Kind, text: &str, name_text: &str, value_json: &str) -> Option<String> {
    let (names, values) = (names(name_text), values(value_json));
    let mut binder = Binder::new(Some(&names), Some(&values));
    let cache = &mut Cache::new();
    let result = match kind {
        Kind::Condition | Kind::Filter => binder.condition(cache, kind, text).map(|_| ()),
        Kind::KeyCondition => binder.key_condition(cache, text).map(|_| ()),
        Kind::Update => binder.update(cache, text).map(|_| ()),
        Kind::Projection => binder.projection(cache, text).map(|_| ()),
    };
    result.and_then(|()| binder.finish()).err().map(ExpressionError::into_message)
}

/// Binds a condition that must be right.
pub(super) fn condition(text: &str, name_text: &str, value_json: &str) -> Condition {
    let (names, values) = (names(name_text), values(value_json));
    let mut binder = Binder::new(Some(&names), Some(&values));
    let condition = binder.condition(&mut Cache::new(), Kind::Condition, text).unwrap();
    binder.finish().unwrap();
    condition
}
