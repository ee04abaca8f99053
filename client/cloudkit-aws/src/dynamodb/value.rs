//! Values between JSON and the SDK's `AttributeValue`.
//!
//! | JSON | on the way out | on the way in |
//! |---|---|---|
//! | null, bool, text | NULL, BOOL, S | the same |
//! | number | N, by `number::encode` | by `number::decode`: i64, u64, f64 if that is the same number, else the text |
//! | array, object | L, M | the same |
//! | | B and sets are never written | B: the base64 text; SS, NS, BS: arrays |
//!
//! Invariant: what was written comes back as the same JSON value, but for floats that denote whole numbers of 64 bits, which
//! come back as integers.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use cloudkit_core::common::number;
use serde_json::{Map, Value};

/// An item as the SDK has it.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// A value on its way out.
pub(super) fn outgoing(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(value) => AttributeValue::N(number::encode(value)),
        Value::String(value) => AttributeValue::S(value.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(outgoing).collect()),
        Value::Object(values) => AttributeValue::M(outgoing_item(values)),
    }
}

/// An item on its way out.
pub(super) fn outgoing_item(item: &Map<String, Value>) -> Attributes {
    item.iter().map(|(name, value)| (name.clone(), outgoing(value))).collect()
}

/// A value on its way in. None for a kind that this provider does not know.
pub(super) fn incoming(value: AttributeValue) -> Option<Value> {
    let base64 = |blob: &Blob| aws_smithy_types::base64::encode(blob);
    Some(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::N(text) => number::decode(&text),
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::L(values) => Value::Array(values.into_iter().map(incoming).collect::<Option<_>>()?),
        AttributeValue::M(values) => Value::Object(incoming_item(values)?),
        AttributeValue::B(blob) => Value::String(base64(&blob)),
        AttributeValue::Ss(texts) => texts.into(),
        AttributeValue::Ns(texts) => texts.iter().map(|text| number::decode(text)).collect(),
        AttributeValue::Bs(blobs) => blobs.iter().map(base64).collect(),
        _ => return None,
    })
}

/// An item on its way in.
pub(super) fn incoming_item(item: Attributes) -> Option<Map<String, Value>> {
    item.into_iter().map(|(name, value)| Some((name, incoming(value)?))).collect()
}

/// Whether a value has more levels than the service takes. Its words for that differ with the depth; ours are always the same.
pub(super) fn is_too_deep(value: &Value) -> bool {
    depth_above(value, DEPTH_MAX)
}

/// Whether a value has more than so many levels of arrays and objects; a scalar has none. Stops there, so that no value is too deep
/// for it.
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

/// Levels within one attribute. Source: "Attributes", DynamoDB developer guide, Constraints.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_come_back() {
        let value = json!({"a": [null, true, "x", 1, -0.5, {}], "b": u64::MAX, "c": {"d": [[], 1e300]}});
        assert_eq!(incoming(outgoing(&value)), Some(value));
        assert_eq!(incoming(outgoing(&json!(1.0))), Some(json!(1)));
    }

    #[test]
    fn what_others_wrote_is_read() {
        let item = HashMap::from([
            ("b".to_string(), AttributeValue::B(Blob::new([0, 1]))),
            ("s".to_string(), AttributeValue::Ss(vec!["x".into()])),
            ("n".to_string(), AttributeValue::Ns(vec!["1".into(), "0.10".into()])),
            ("bs".to_string(), AttributeValue::Bs(vec![Blob::new([0])])),
        ]);
        let expected = json!({"b": "AAE=", "s": ["x"], "n": [1, 0.1], "bs": ["AA=="]});
        assert_eq!(incoming_item(item).map(Value::Object), Some(expected));
    }

    #[test]
    fn depth_is_bounded_without_descending_further() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert!(!is_too_deep(&nested(DEPTH_MAX)));
        assert!(is_too_deep(&nested(DEPTH_MAX + 1)));
        assert!(is_too_deep(&json!({"a": nested(DEPTH_MAX)})));
    }
}
