//! Values between JSON and the tagged form of the protocol: `{"S": ..}`, `{"N": ".."}`, `{"M": {..}}` ..
//!
//! | JSON | on the way out | on the way in |
//! |---|---|---|
//! | null, bool, text | NULL, BOOL, S | the same |
//! | number | N, by `number::encode` | by `number::decode`: i64, u64, f64 if that is the same number, else the text |
//! | array, object | L, M | the same |
//! | | B and sets are never written | B: the base64 text; SS, NS, BS: arrays |
//!
//! Invariant: what was written comes back as the same JSON value, but for floats that denote whole numbers of 64 bits, which
//! come back as integers. Source: AttributeValue, DynamoDB API reference.

use std::fmt;

use cloudkit_core::common::number;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value};

/// A JSON value in the tagged form.
#[derive(Clone, Copy)]
pub(super) struct Tagged<'a>(pub &'a Value);

impl Serialize for Tagged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            Value::Null => map.serialize_entry("NULL", &true)?,
            Value::Bool(value) => map.serialize_entry("BOOL", value)?,
            Value::Number(value) => map.serialize_entry("N", &number::encode(value))?,
            Value::String(value) => map.serialize_entry("S", value)?,
            Value::Array(values) => map.serialize_entry("L", &TaggedList(values))?,
            Value::Object(values) => map.serialize_entry("M", &TaggedMap { item: values, key: None })?,
        }
        map.end()
    }
}

struct TaggedList<'a>(&'a [Value]);

impl Serialize for TaggedList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for value in self.0 {
            list.serialize_element(&Tagged(value))?;
        }
        list.end()
    }
}

/// A text in the tagged form.
pub(super) struct TaggedText<'a>(pub &'a str);

impl Serialize for TaggedText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("S", self.0)?;
        map.end()
    }
}

/// A whole number in the tagged form, of more bits than those of JSON have here.
pub(super) struct TaggedInteger(pub i128);

impl Serialize for TaggedInteger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("N", &self.0.to_string())?;
        map.end()
    }
}

/// An object in the tagged form, and a key that takes the place of an attribute of its name.
pub(super) struct TaggedMap<'a> {
    pub item: &'a Map<String, Value>,
    /// Name and value.
    pub key: Option<(&'a str, &'a str)>,
}

impl Serialize for TaggedMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some((name, value)) = self.key {
            map.serialize_entry(name, &TaggedText(value))?;
        }
        for (name, value) in self.item {
            if self.key.is_none_or(|(key, _)| key != name) {
                map.serialize_entry(name, &Tagged(value))?;
            }
        }
        map.end()
    }
}

/// A key alone: one attribute.
#[derive(Clone, Copy)]
pub(super) struct TaggedKey<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

impl Serialize for TaggedKey<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.name, &TaggedText(self.value))?;
        map.end()
    }
}

/// A value that was read from the tagged form.
#[derive(Debug)]
struct Plain(Value);

/// An item that was read from the tagged form.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Item(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut item = Map::new();
        while let Some((name, Plain(value))) = map.next_entry::<String, Plain>()? {
            item.insert(name, value);
        }
        Ok(Item(item))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Plain, D::Error> {
        deserializer.deserialize_map(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value with one tag")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        let tag =
            map.next_key::<Tag>()?.ok_or_else(|| de::Error::custom("an attribute value without a tag"))?;
        let value = match tag {
            Tag::Text => Value::String(map.next_value()?),
            Tag::Number => number::decode(&map.next_value::<String>()?),
            Tag::Bool => Value::Bool(map.next_value()?),
            Tag::Null => {
                map.next_value::<bool>()?;
                Value::Null
            }
            Tag::List => Value::Array(map.next_value::<Vec<Plain>>()?.into_iter().map(|one| one.0).collect()),
            Tag::Map => Value::Object(map.next_value::<Item>()?.0),
            Tag::Texts => {
                Value::Array(map.next_value::<Vec<String>>()?.into_iter().map(Value::String).collect())
            }
            Tag::Numbers => Value::Array(
                map.next_value::<Vec<String>>()?.iter().map(|text| number::decode(text)).collect(),
            ),
        };
        match map.next_key::<Tag>()? {
            None => Ok(Plain(value)),
            Some(_) => Err(de::Error::custom("an attribute value with two tags")),
        }
    }
}

#[derive(serde::Deserialize)]
enum Tag {
    #[serde(rename = "S", alias = "B")]
    Text,
    #[serde(rename = "N")]
    Number,
    #[serde(rename = "BOOL")]
    Bool,
    #[serde(rename = "NULL")]
    Null,
    #[serde(rename = "L")]
    List,
    #[serde(rename = "M")]
    Map,
    #[serde(rename = "SS", alias = "BS")]
    Texts,
    #[serde(rename = "NS")]
    Numbers,
}

/// Whether a value is what another one comes back as.
pub(super) fn comes_back_as(sent: &Value, found: &Value) -> bool {
    match (sent, found) {
        (Value::Number(sent), found) => number::decode(&number::encode(sent)) == *found,
        (Value::Array(sent), Value::Array(found)) => {
            sent.len() == found.len()
                && sent.iter().zip(found).all(|(sent, found)| comes_back_as(sent, found))
        }
        (Value::Object(sent), Value::Object(found)) => is_same_item(sent, found),
        (sent, found) => sent == found,
    }
}

/// The same for items.
pub(super) fn is_same_item(sent: &Map<String, Value>, found: &Map<String, Value>) -> bool {
    sent.len() == found.len()
        && sent.iter().all(|(name, sent)| found.get(name).is_some_and(|found| comes_back_as(sent, found)))
}

/// Whether a value has more than so many levels of arrays and objects; a scalar has none. Stops there, so that no value is too deep for it.
fn depth_above(value: &Value, levels_max: usize) -> bool {
    let Some(left) = levels_max.checked_sub(1) else {
        return matches!(value, Value::Array(_) | Value::Object(_));
    };
    match value {
        Value::Array(values) => values.iter().any(|value| depth_above(value, left)),
        Value::Object(values) => values.values().any(|value| depth_above(value, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether a value has more levels than the service takes. Its words for that differ with the depth; ours are always the same.
pub(super) fn is_too_deep(value: &Value) -> bool {
    depth_above(value, DEPTH_MAX)
}

/// Levels within one attribute. Source: "Attributes", DynamoDB developer guide, Constraints.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn there_and_back(value: &Value) -> Value {
        let text = serde_json::to_string(&Tagged(value)).expect("it has a form");
        serde_json::from_str::<Plain>(&text).unwrap_or_else(|error| panic!("{text}: {error}")).0
    }

    #[test]
    fn values_have_the_tags_of_the_protocol() {
        let value = json!({"a": [null, true, "x", 1, -0.5, {}], "b": 18_446_744_073_709_551_615_u64});
        let expected = "{\"M\":{\"a\":{\"L\":[{\"NULL\":true},{\"BOOL\":true},{\"S\":\"x\"},{\"N\":\"1\"},{\"N\":\"-0.5\"},\
            {\"M\":{}}]},\"b\":{\"N\":\"18446744073709551615\"}}}";
        assert_eq!(serde_json::to_string(&Tagged(&value)).unwrap(), expected);
        assert_eq!(there_and_back(&value), value);
    }

    #[test]
    fn the_key_takes_the_place_of_an_attribute_of_its_name() {
        let Value::Object(item) = json!({"id": 5, "a": 1}) else { unreachable!() };
        let text = serde_json::to_string(&TaggedMap { item: &item, key: Some(("id", "k")) }).unwrap();
        assert_eq!(text, "{\"id\":{\"S\":\"k\"},\"a\":{\"N\":\"1\"}}");
    }

    #[test]
    fn what_others_wrote_is_read() {
        let text = "{\"b\":{\"B\":\"AAE=\"},\"s\":{\"SS\":[\"x\",\"y\"]},\"n\":{\"NS\":[\"1\",\"0.10\"]},\
            \"bs\":{\"BS\":[\"AA==\"]},\"long\":{\"N\":\"3.14159265358979323846264338327950288\"}}";
        let Item(item) = serde_json::from_str(text).unwrap();
        let expected = json!({"b": "AAE=", "s": ["x", "y"], "n": [1, 0.1], "bs": ["AA=="],
            "long": "3.14159265358979323846264338327950288"});
        assert_eq!(Value::Object(item), expected);
    }

    #[test]
    fn what_is_no_attribute_value_is_refused() {
        for text in [
            "{}",
            "{\"X\":1}",
            "{\"S\":1}",
            "{\"S\":\"a\",\"N\":\"1\"}",
            "{\"N\":1}",
            "[]",
            "\"a\"",
            "{\"L\":{}}",
        ] {
            assert!(serde_json::from_str::<Plain>(text).is_err(), "{text}");
        }
    }

    /// A random value, from a seed that a failing test prints.
    fn random(state: &mut u64, depth: u32) -> Value {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = *state >> 16;
        let kinds = if depth == 0 { 6 } else { 8 };
        match bits % kinds {
            0 => Value::Null,
            1 => Value::Bool(bits & 256 == 0),
            2 => Value::from((*state as i64) >> (bits % 64)),
            3 => Value::from(*state >> (bits % 64)),
            4 => serde_json::Number::from_f64(f64::from_bits(state.rotate_left(17)))
                .map_or(Value::Null, Value::Number),
            5 => Value::from(
                (0..bits % 5)
                    .map(|n| char::from_u32((bits >> n) as u32 % 0x3000).unwrap_or('\u{fffd}'))
                    .collect::<String>(),
            ),
            6 => (0..bits % 5).map(|_| random(state, depth - 1)).collect(),
            _ => Value::Object(
                (0..bits % 5).map(|n| (format!("n{n}.[\"{}", bits % 7), random(state, depth - 1))).collect(),
            ),
        }
    }

    #[test]
    fn random_values_come_back() {
        for seed in 0..3_000 {
            let mut state = seed;
            let value = random(&mut state, 4);
            let back = there_and_back(&value);
            assert!(comes_back_as(&value, &back), "seed {seed}: {value} came back as {back}");
            assert!(!comes_back_as(&value, &json!([back])), "seed {seed}");
            assert_eq!(there_and_back(&back), back, "seed {seed}: what came back stays as it is");
        }
    }

    #[test]
    fn depth_is_bounded_without_descending_further() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert!(!is_too_deep(&nested(DEPTH_MAX)));
        assert!(is_too_deep(&nested(DEPTH_MAX + 1)));
        assert!(is_too_deep(&json!({"a": nested(DEPTH_MAX)})));
    }
}
