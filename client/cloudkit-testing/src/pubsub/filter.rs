//! Filter policies over attributes: each name must be there with one of its values.

use crate::limits::{FILTER_COMBINATION_COUNT_MAX, FILTER_NAME_COUNT_MAX};
use crate::refusal::{Outcome, Refusal};
use cloudkit_core::common::Metadata;
use std::collections::{BTreeMap, HashMap};

/// A policy that was checked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filter(BTreeMap<String, Vec<String>>);

impl Filter {
    pub(super) fn new(policy: &HashMap<String, Vec<String>>) -> Outcome<Self> {
        let refused = |text: &str| Refusal::invalid("InvalidParameter", format!("FilterPolicy: {text}"));
        if policy.len() > FILTER_NAME_COUNT_MAX {
            return Err(refused("it has 5 names at most"));
        }
        if policy.values().any(Vec::is_empty) {
            return Err(refused("a name without values holds for nothing"));
        }
        let combinations =
            policy.values().try_fold(1_usize, |product, values| product.checked_mul(values.len()));
        if combinations.is_none_or(|product| product > FILTER_COMBINATION_COUNT_MAX) {
            return Err(refused("it has 150 combinations at most"));
        }
        Ok(Self(policy.iter().map(|(name, values)| (name.clone(), values.clone())).collect()))
    }

    pub(super) fn holds(&self, attributes: &Metadata) -> bool {
        self.0.iter().all(|(name, values)| attributes.get(name).is_some_and(|value| values.contains(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<V: Clone>(pairs: &[(&str, V)]) -> HashMap<String, V> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn each_name_must_have_one_of_its_values() {
        let one = |text: &str| text.to_owned();
        let policy = map(&[("kind", vec![one("a"), one("b")]), ("size", vec![one("1")])]);
        let filter = Filter::new(&policy).unwrap();
        assert!(filter.holds(&map(&[("kind", one("b")), ("size", one("1")), ("x", one("y"))])));
        assert!(!filter.holds(&map(&[("kind", one("b"))])));
        assert!(!filter.holds(&map(&[("kind", one("c")), ("size", one("1"))])));
        assert!(Filter::new(&map(&[("kind", vec![])])).is_err());
    }
}
