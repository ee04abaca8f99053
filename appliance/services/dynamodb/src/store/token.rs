//! What is known of a ClientRequestToken: the request that came with it, and until when it counts.
//! Invariant: a token is written in the transaction that it names, so that it is known exactly if that took effect.
//! Leaves to store/due.rs and engine/tick.rs: taking out what has expired.
//!
//! ```text
//! TOKENS  account 12 | XXH3-128 of the token 16 -> version u8 (1) | digest 32 | expires ms u64
//! ```

use hash::XxHash128;
use store::{Fault, Timestamp};

/// A token as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// SHA-256 of the request without its token.
    pub digest: [u8; 32],
    /// From then on the token is as good as new.
    pub expires: Timestamp,
}

const VERSION: u8 = 1;

impl TokenRecord {
    /// The stored bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(1 + 32 + 8);
        value.push(VERSION);
        value.extend_from_slice(&self.digest);
        value.extend_from_slice(&self.expires.0.to_be_bytes());
        value
    }

    /// Reads the stored bytes. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<TokenRecord, Fault> {
        let damaged = || Fault::corrupt("a TOKENS record is damaged".into());
        let rest = value.strip_prefix(&[VERSION]).ok_or_else(damaged)?;
        let (digest, rest) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        let expires: [u8; 8] = rest.try_into().map_err(|_| damaged())?;
        Ok(TokenRecord { digest: *digest, expires: Timestamp(u64::from_be_bytes(expires)) })
    }
}

/// The key of a token of an account.
#[must_use]
pub fn token_key(account: &str, token: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(account.len() + 16);
    key.extend_from_slice(account.as_bytes());
    let mut hash = XxHash128::new();
    hash.update(token.as_bytes());
    key.extend_from_slice(&hash.finish().to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_round_trips_and_its_truncations_are_faults() {
        let record = TokenRecord { digest: [3; 32], expires: Timestamp(77) };
        let bytes = record.encode();
        assert_eq!(TokenRecord::decode(&bytes).expect("decodes"), record);
        for length in 0..bytes.len() {
            assert!(TokenRecord::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
