//! Whether a condition holds, by the typing rules of DynamoDB: other types are never equal and never ordered.
//! Invariant: a condition is checked whole before it is looked at, so that a wrong one is refused whatever the item holds.

use super::path::Path;
use super::value::{Item, letters, normal, order};
use crate::limits::IN_COUNT_MAX;
use crate::refusal::{Outcome, Refusal};
use cloudkit_core::api::Condition;
use serde_json::Value;
use std::cmp::Ordering;

/// A condition whose paths and values were checked.
pub(super) enum Checked {
    Exists(Path),
    Compare(Path, fn(Option<Ordering>) -> bool, Value),
    Equals(Path, Vec<Value>),
    Between(Path, Value, Value),
    BeginsWith(Path, String),
    Contains(Path, String),
    Not(Box<Checked>),
    All(Vec<Checked>),
    Any(Vec<Checked>),
}

impl Checked {
    pub(super) fn new(condition: &Condition) -> Outcome<Self> {
        let path = Path::parse;
        let ordered = |text: &str, value: &Value, holds| {
            Ok(Self::Compare(Path::parse(text)?, holds, orderable(value)?))
        };
        Ok(match condition {
            Condition::Exists(text) => Self::Exists(path(text)?),
            Condition::NotExists(text) => Self::Exists(path(text)?).not(),
            Condition::Equals(text, value) => Self::Equals(path(text)?, vec![normal(value, 0)?]),
            Condition::NotEquals(text, value) => Self::Equals(path(text)?, vec![normal(value, 0)?]).not(),
            Condition::LessThan(text, value) => {
                return ordered(text, value, |order| order == Some(Ordering::Less));
            }
            Condition::LessThanOrEqual(text, value) => {
                return ordered(text, value, |order| order.is_some_and(Ordering::is_le));
            }
            Condition::GreaterThan(text, value) => {
                return ordered(text, value, |order| order == Some(Ordering::Greater));
            }
            Condition::GreaterThanOrEqual(text, value) => {
                return ordered(text, value, |order| order.is_some_and(Ordering::is_ge));
            }
            Condition::In(text, values) => {
                if values.is_empty() || values.len() > IN_COUNT_MAX {
                    return Err(invalid("In takes 1 to 100 values"));
                }
                let values = values.iter().map(|value| normal(value, 0)).collect::<Outcome<_>>()?;
                Self::Equals(path(text)?, values)
            }
            Condition::Between(text, low, high) => {
                let (low, high) = (orderable(low)?, orderable(high)?);
                if !order(&low, &high).is_some_and(Ordering::is_le) {
                    return Err(invalid("the ends of Between must have one type and stand in order"));
                }
                Self::Between(path(text)?, low, high)
            }
            Condition::BeginsWith(text, front) => Self::BeginsWith(path(text)?, front.clone()),
            Condition::Contains(text, part) => Self::Contains(path(text)?, part.clone()),
            Condition::Not(inner) => Self::new(inner)?.not(),
            Condition::And(all) => Self::All(all.iter().map(Self::new).collect::<Outcome<_>>()?),
            Condition::Or(any) => Self::Any(any.iter().map(Self::new).collect::<Outcome<_>>()?),
        })
    }

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether it holds of the item, the key in its attribute; of one that is missing, an empty one.
    pub(super) fn holds(&self, item: &Item) -> bool {
        match self {
            Self::Exists(path) => path.find(item).is_some(),
            Self::Compare(path, holds, value) => {
                path.find(item).is_some_and(|found| holds(order(found, value)))
            }
            Self::Equals(path, values) => path.find(item).is_some_and(|found| values.contains(found)),
            Self::Between(path, low, high) => path.find(item).is_some_and(|found| {
                order(found, low).is_some_and(Ordering::is_ge)
                    && order(found, high).is_some_and(Ordering::is_le)
            }),
            Self::BeginsWith(path, front) => {
                path.find(item).and_then(Value::as_str).is_some_and(|text| text.starts_with(front))
            }
            Self::Contains(path, part) => match path.find(item) {
                Some(Value::String(text)) => text.contains(part),
                Some(Value::Array(list)) => list.iter().any(|value| value.as_str() == Some(part)),
                _ => false,
            },
            Self::Not(inner) => !inner.holds(item),
            Self::All(all) => all.iter().all(|one| one.holds(item)),
            Self::Any(any) => any.iter().any(|one| one.holds(item)),
        }
    }
}

/// A text or a number: whatever else may be compared for equality only.
fn orderable(value: &Value) -> Outcome<Value> {
    match value {
        Value::String(_) | Value::Number(_) => normal(value, 0),
        _ => Err(invalid(format!("values of the type {} have no order", letters(value)))),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::invalid("ValidationException", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(condition: Condition) -> bool {
        let item = json!({"n": 5, "s": "abc", "l": ["x", 1], "z": null, "m": {"k": 1.5}});
        Checked::new(&condition).unwrap().holds(item.as_object().unwrap())
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_missing_attribute_makes_all_false_but_not_equals() {
        let x = || text("x");
        assert!(!holds(Condition::Equals(x(), json!(1))));
        assert!(holds(Condition::NotEquals(x(), json!(1))));
        assert!(!holds(Condition::LessThan(x(), json!(1))));
        assert!(!holds(Condition::BeginsWith(x(), text(""))));
        assert!(holds(Condition::NotExists(x())));
        assert!(holds(Condition::Exists(text("z"))), "null is a value");
    }

    #[test]
    fn types_are_never_mixed() {
        assert!(!holds(Condition::Equals(text("n"), json!("5"))));
        assert!(!holds(Condition::LessThan(text("s"), json!(9))));
        assert!(holds(Condition::Equals(text("n"), json!(5.0))));
        assert!(holds(Condition::Between(text("m.k"), json!(1), json!(2))));
        assert!(holds(Condition::Contains(text("l"), text("x"))));
        assert!(holds(Condition::Contains(text("s"), text("bc"))));
        assert!(holds(Condition::In(text("n"), vec![json!("5"), json!(5)])));
    }

    #[test]
    fn a_wrong_condition_is_refused_whatever_the_item_holds() {
        for wrong in [
            Condition::LessThan(text("x"), json!(true)),
            Condition::Between(text("x"), json!(2), json!(1)),
            Condition::Between(text("x"), json!(1), json!("a")),
            Condition::In(text("x"), vec![]),
            Condition::Exists(text("")),
            Condition::Or(vec![Condition::Exists(text("n")), Condition::GreaterThan(text("x"), json!(null))]),
        ] {
            assert!(Checked::new(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn none_at_all_holds_for_and_only() {
        assert!(holds(Condition::And(vec![])));
        assert!(!holds(Condition::Or(vec![])));
    }
}
