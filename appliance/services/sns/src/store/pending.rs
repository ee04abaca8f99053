//! The line of subscriptions that nobody has confirmed yet, by the time at which they are given up.
//! Invariant: a subscription that waits for its answer has an entry, made in the batch that made the subscription; an entry
//! whose subscription is gone or confirmed means nothing.
//!
//! ```text
//! key    expiry ms u64be | account 12 | name | 0 | subscription 16     behind the time the key of the subscription
//! value  empty
//! ```

use store::{Fault, Timestamp};

/// The key of an entry. `subscription`: the key of the subscription.
#[must_use]
pub fn line_key(expiry: Timestamp, subscription: &[u8]) -> Vec<u8> {
    [&expiry.0.to_be_bytes()[..], subscription].concat()
}

/// The time and the key of the subscription in the key of an entry. Errors: `Fault::Corrupt`.
pub fn line_parts(key: &[u8]) -> Result<(Timestamp, &[u8]), Fault> {
    let parts = key.split_first_chunk::<8>();
    let (expiry, subscription) =
        parts.ok_or_else(|| Fault::corrupt("sns line of pending subscriptions has a short key".into()))?;
    Ok((Timestamp(u64::from_be_bytes(*expiry)), subscription))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_their_times() {
        let (soon, late) = (line_key(Timestamp(255), b"z"), line_key(Timestamp(256), b"a"));
        assert!(soon < late);
        assert_eq!(line_parts(&soon).expect("parts"), (Timestamp(255), &b"z"[..]));
        assert!(line_parts(&soon[..7]).is_err());
    }
}
