//! Randomness for identifiers and for the jitter of retries, without a further dependency.
//! Not for keys: whoever needs secrets takes them from the system.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A random number. The standard library keys each `RandomState` from the system's random bits and changes the key with
/// each one that is made, so that an empty hash under it differs each time and says nothing about the next.
pub fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::random_u64;
    use std::collections::HashSet;

    #[test]
    fn ten_thousand_numbers_are_all_different() {
        let seen: HashSet<u64> = (0..10_000).map(|_| random_u64()).collect();
        assert_eq!(seen.len(), 10_000);
    }
}
