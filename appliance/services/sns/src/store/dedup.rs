//! Deduplication: which messages a topic that keeps order took within the last five minutes.
//! Invariant: every record has its entry in the line of expiries, made in the same batch; the sweep removes both together.
//!
//! ```text
//! DEDUP       topic u64be | hash 16                  -> version 1 | message id 16 | sequence | expiry ms
//! DEDUP_LINE  expiry ms u64be | topic u64be | hash 16 -> empty
//! hash        the first half of SHA-256 over: group length u64be | group (empty where ids count over the whole topic) | id
//! ```

use hash::Sha256;
use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Timestamp};

use crate::model::arn::Uuid;

const VERSION: u8 = 1;
const WHAT: &str = "sns deduplication";
const KEY_BYTES: usize = 8 + 16;

/// What was answered to the first of equal messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Its id.
    pub message: Uuid,
    /// Its place in the topic's order.
    pub sequence: u64,
    /// Until when a repetition is one.
    pub expiry: Timestamp,
}

/// The key of a deduplication id. `group`: the group in which it counts; None: the whole topic.
#[must_use]
pub fn dedup_key(topic: u64, group: Option<&str>, id: &str) -> [u8; KEY_BYTES] {
    let group = group.unwrap_or_default();
    let mut digest = Sha256::new();
    digest.update(&(group.len() as u64).to_be_bytes());
    digest.update(group.as_bytes());
    digest.update(id.as_bytes());
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&topic.to_be_bytes());
    key[8..].copy_from_slice(&digest.finish()[..16]);
    key
}

/// The key of its entry in the line.
#[must_use]
pub fn line_key(expiry: Timestamp, key: &[u8; KEY_BYTES]) -> Vec<u8> {
    [&expiry.0.to_be_bytes()[..], key].concat()
}

/// The expiry and the key in `DEDUP` that an entry of the line names.
pub fn line_parts(line: &[u8]) -> Result<(Timestamp, [u8; KEY_BYTES]), Fault> {
    let parts = line.split_first_chunk::<8>().and_then(|(expiry, key)| {
        let key = key.try_into().ok()?;
        Some((Timestamp(u64::from_be_bytes(*expiry)), key))
    });
    parts.ok_or_else(|| Fault::corrupt(format!("{WHAT} line has a key of another length")))
}

/// A record as it is stored.
#[must_use]
pub fn encode(taken: &Taken) -> Vec<u8> {
    let mut out = FieldWriter::new(VERSION);
    out.raw(&taken.message.0);
    out.number(taken.sequence);
    out.number(taken.expiry.0);
    out.into_bytes()
}

/// Reads one. Errors: `Fault::Corrupt`.
pub fn decode(value: &[u8]) -> Result<Taken, Fault> {
    let mut r = FieldReader::new(value, VERSION, WHAT)?;
    let taken = Taken { message: Uuid(r.array()?), sequence: r.number()?, expiry: Timestamp(r.number()?) };
    if r.is_empty() { Ok(taken) } else { Err(r.damaged("goes on behind its end")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_stored() {
        let taken = Taken { message: Uuid([3; 16]), sequence: 1 << 50, expiry: Timestamp(77) };
        let value = encode(&taken);
        assert_eq!(decode(&value).expect("decodes"), taken);
        for length in 0..value.len() {
            assert!(decode(&value[..length]).is_err(), "length {length}");
        }
        let key = dedup_key(1, None, "id");
        let (expiry, parsed) = line_parts(&line_key(Timestamp(77), &key)).expect("parts");
        assert_eq!((expiry, parsed), (Timestamp(77), key));
        assert!(line_parts(b"short").is_err());
    }

    #[test]
    fn ids_count_by_topic_and_by_group_without_running_into_each_other() {
        let keys = [
            dedup_key(1, None, "ab"),
            dedup_key(2, None, "ab"),
            dedup_key(1, Some("a"), "b"),
            dedup_key(1, Some("ab"), ""),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{place}");
        }
    }
}
