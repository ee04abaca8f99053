//! Values of items: their normal form, their size, and how two of them compare.
//! Invariant: in the normal form equal numbers are equal values, as they are after a way over the wire.

use crate::limits::NESTING_MAX;
use crate::refusal::{Outcome, Refusal};
use cloudkit_core::common::number;
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;

/// An item or a map in it.
pub(super) type Item = Map<String, Value>;

/// The value as it comes back, if a table may hold it.
pub(super) fn normal(value: &Value, depth: usize) -> Outcome<Value> {
    if depth > NESTING_MAX {
        return Err(Refusal::invalid("ValidationException", "values lie in each other too deep"));
    }
    Ok(match value {
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        Value::Number(number) => normal_number(number)?,
        Value::Array(list) => {
            Value::Array(list.iter().map(|value| normal(value, depth + 1)).collect::<Outcome<_>>()?)
        }
        Value::Object(map) => {
            let inner = map.iter().map(|(name, value)| Ok((name.clone(), normal(value, depth + 1)?)));
            Value::Object(inner.collect::<Outcome<_>>()?)
        }
    })
}

/// The bounds of AWS's numbers: 0, and magnitudes from 1E-130 to below 1E126.
fn normal_number(number: &Number) -> Outcome<Value> {
    if let Some(float) = number.as_f64().map(f64::abs).filter(|float| *float != 0.0)
        && !(1e-130..1e126).contains(&float)
    {
        return Err(Refusal::invalid("ValidationException", format!("the number {number} is out of range")));
    }
    Ok(number::decode(&number::encode(number)))
}

/// Bytes that an item counts, by the rules of AWS: names and texts in UTF-8, two digits of a number per byte.
pub(super) fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::String(text) => text.len(),
        Value::Number(number) => {
            let text = number::encode(number);
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            digits.div_ceil(2) + 1 + usize::from(text.starts_with('-'))
        }
        Value::Array(list) => 3 + list.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        Value::Object(map) => 3 + map.len() + item_bytes(map),
    }
}

/// The order of two values of one type; `None` where there is none.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Number(a), Value::Number(b)) => Some(number_order(a, b)),
        _ => None,
    }
}

/// Both in normal form: whatever fits into 64 bits is an integer, so that no float equals one.
fn number_order(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => float(a).total_cmp(&float(b)),
        (Some(a), None) => mixed(a, float(b)),
        (None, Some(b)) => mixed(b, float(a)).reverse(),
    }
}

/// An integer against a float, without rounding the integer.
fn mixed(integer: i128, float: f64) -> Ordering {
    // A float outside of i128 is cut to its ends, which are on the right side of every 64-bit integer.
    let floor = float.floor() as i128;
    match integer.cmp(&floor) {
        Ordering::Equal if float.fract() != 0.0 => Ordering::Less,
        order => order,
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

/// The name of a value's type in AWS's letters.
pub(super) fn letters(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Bool(_) => "BOOL",
        Value::Number(_) => "N",
        Value::String(_) => "S",
        Value::Array(_) => "L",
        Value::Object(_) => "M",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_compare_without_rounding() {
        let cases = [
            (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), Ordering::Greater),
            (json!(1), json!(1.5), Ordering::Less),
            (json!(-1), json!(-1.5), Ordering::Greater),
            (json!(u64::MAX), json!(1e25), Ordering::Less),
            (json!(i64::MIN), json!(-1e25), Ordering::Greater),
            (json!(0.1), json!(0.2), Ordering::Less),
        ];
        for (a, b, expected) in cases {
            assert_eq!(order(&a, &b), Some(expected), "{a} {b}");
            assert_eq!(order(&b, &a), Some(expected.reverse()), "{b} {a}");
        }
        assert_eq!(order(&json!(1), &json!("1")), None);
    }

    #[test]
    fn the_normal_form_has_one_value_for_one_number() {
        for (given, kept) in [(json!(1.0), json!(1)), (json!(-0.0), json!(0)), (json!(1e-7), json!(1e-7))] {
            assert_eq!(normal(&given, 0).unwrap(), kept);
        }
        for refused in [json!(1e126), json!(1e-131), json!(-1e200)] {
            assert!(normal(&refused, 0).is_err(), "{refused}");
        }
    }

    #[test]
    fn nesting_has_its_bound() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(normal(&nested(NESTING_MAX), 0).is_ok());
        assert!(normal(&nested(NESTING_MAX + 1), 0).is_err());
    }
}
