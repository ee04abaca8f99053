//! Messages that were dropped because nobody took them, counted by the place that they were meant for.
//! Invariant: the number of names is bounded; what comes beyond is counted under one name. Of a URL only the host is a name: its path
//! may be a secret between the subscriber and whoever calls it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use store::Tx;

use crate::engine::topics::Topics;

/// Counts of dropped messages. Clones count together. A lock is taken for a message that is dropped, never for one that
/// is delivered.
#[derive(Clone, Default)]
pub struct Failures {
    counts: Arc<Mutex<BTreeMap<Box<str>, u64>>>,
}

/// Places that are counted by name.
const NAME_COUNT_MAX: usize = 1_000;
/// Where the rest is counted.
const OTHERS: &str = "others";

impl Failures {
    /// Counts a message that was meant for `endpoint`.
    pub fn dropped(&self, endpoint: &str) {
        let endpoint = name_of(endpoint);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = counts.contains_key(endpoint) || counts.len() < NAME_COUNT_MAX;
        let name = if is_known { endpoint } else { OTHERS };
        *counts.entry(name.into()).or_default() += 1;
    }

    /// Counts it once the operation that drops it has succeeded, since an operation may run several times.
    pub fn dropped_after(&self, tx: &mut Tx<'_>, endpoint: String) {
        let failures = self.clone();
        tx.then::<Topics>(move |_, _| failures.dropped(&endpoint));
    }

    /// The counts by name: `aws_sns_dropped_messages{endpoint="…"}`.
    #[must_use]
    pub fn counts(&self) -> Vec<(Box<str>, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(name, count)| (name.clone(), *count)).collect()
    }
}

/// An ARN as it is, a URL without what a subscriber tells nobody else.
fn name_of(endpoint: &str) -> &str {
    let Some((_, rest)) = endpoint.split_once("://") else { return endpoint };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_nothing_that_a_subscriber_tells_nobody_else() {
        for (endpoint, name) in [
            ("arn:aws:sqs:us-east-1:000000000000:gone", "arn:aws:sqs:us-east-1:000000000000:gone"),
            ("https://hooks.example.com/services/T0/B0/secret", "hooks.example.com"),
            ("http://user:secret@10.0.0.1:9000?token=secret", "10.0.0.1:9000"),
            ("https://example.com#a@b", "example.com"),
        ] {
            assert_eq!(name_of(endpoint), name, "{endpoint}");
        }
    }

    #[test]
    fn names_are_bounded_and_nothing_goes_uncounted() {
        let failures = Failures::default();
        for number in 0..2 * NAME_COUNT_MAX {
            failures.dropped(&format!("q{number}"));
        }
        failures.dropped("q0");
        let counts = failures.counts();
        assert_eq!(counts.len(), NAME_COUNT_MAX + 1);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 2 * NAME_COUNT_MAX as u64 + 1);
        assert!(counts.contains(&("q0".into(), 2)));
    }
}
