//! Compiled policies by their text: parsing one costs more than asking it.
//!
//! Invariant: what is found was compiled from exactly the text that is asked for, under the cache's rules; count and bytes
//! are bounded. One cache belongs to one core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::Policy;
use super::document::Rules;
use super::flaw::PolicyError;

/// Policies that one core has compiled under one set of rules.
pub struct Cache {
    rules: Rules,
    compiled: RefCell<Compiled>,
}

#[derive(Default)]
struct Compiled {
    by_text: HashMap<Box<str>, Rc<Policy>>,
    /// The length of all texts.
    bytes: usize,
}

impl Cache {
    /// An empty one for policies under these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Cache {
        Cache { rules, compiled: RefCell::default() }
    }

    /// The policy of this text. Errors: it is none; whoever stored it parsed it before, so that then nothing may be allowed.
    pub fn policy(&self, text: &str) -> Result<Rc<Policy>, PolicyError> {
        let mut compiled = self.compiled.borrow_mut();
        if let Some(policy) = compiled.by_text.get(text) {
            return Ok(Rc::clone(policy));
        }
        let policy = Rc::new(Policy::parse(text, &self.rules)?);
        // Full: begin anew rather than keep an order of use for what is this cheap to make again.
        if compiled.by_text.len() >= POLICY_COUNT_MAX || compiled.bytes + text.len() > TEXT_BYTES_MAX {
            *compiled = Compiled::default();
        }
        if text.len() <= TEXT_BYTES_MAX {
            compiled.bytes += text.len();
            compiled.by_text.insert(text.into(), Rc::clone(&policy));
        }
        Ok(policy)
    }
}

/// Policies that a core keeps compiled: more than the queues of a large topic, each of which has one of its own.
const POLICY_COUNT_MAX: usize = 8_192;
/// The texts of these policies together; what is compiled is a small multiple of them.
const TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyType;

    #[test]
    fn a_text_is_compiled_once_and_the_cache_stays_bounded() {
        let rules = Rules {
            kind: PolicyType::Resource,
            service: Some("sqs"),
            bytes_max: 65_536,
            statement_count_max: 20,
            action_count_max: 7,
        };
        let cache = Cache::new(rules);
        let text = |sid: &str| {
            format!(
                r#"{{"Statement":{{"Sid":"{sid}","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}}}"#
            )
        };
        let first = cache.policy(&text("a")).expect("is well-formed");
        assert!(Rc::ptr_eq(&first, &cache.policy(&text("a")).expect("is well-formed")));
        assert!(!Rc::ptr_eq(&first, &cache.policy(&text("b")).expect("is well-formed")));
        assert!(cache.policy("{}").is_err());
        for number in 0..POLICY_COUNT_MAX + 100 {
            cache.policy(&text(&number.to_string())).expect("is well-formed");
            assert!(cache.compiled.borrow().by_text.len() <= POLICY_COUNT_MAX);
        }
        for number in 0..100 {
            cache.policy(&text(&format!("{number}{}", "x".repeat(60_000)))).expect("is well-formed");
            let compiled = cache.compiled.borrow();
            assert!(compiled.bytes <= TEXT_BYTES_MAX);
            assert_eq!(compiled.bytes, compiled.by_text.keys().map(|text| text.len()).sum::<usize>());
        }
    }
}
