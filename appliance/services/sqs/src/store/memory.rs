//! The bytes of what FIFO queues remember for five minutes: deduplication ids and receive attempts.
//! Invariant: an id is kept as a hash, so that a client's choice of ids sizes nothing.
//! Leaves to engine: what a remembered id answers.
//!
//! ```text
//! deduplication  version 1 u8 | sequence number | message id 16 | expiry ms number
//! attempt        version 1 u8 | expiry ms number | count number | (sequence number, handle number number)*
//! ```

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use super::IdHash;
use crate::model::limits::BATCH_COUNT_MAX;
use crate::model::message::MessageId;
use crate::model::queue::Sequence;

const VERSION: u8 = 1;

/// What the first send of a deduplication id was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deduplication {
    /// The message's place.
    pub sequence: Sequence,
    /// The message's id.
    pub message: MessageId,
    /// When the id may be used again.
    pub expiry_ms: u64,
}

impl Deduplication {
    /// The value of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.sequence.0);
        out.raw(&self.message.0);
        out.number(self.expiry_ms);
        out.into_bytes()
    }

    /// What a record says. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Deduplication, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "sqs deduplication")?;
        Ok(Deduplication {
            sequence: Sequence(reader.number()?),
            message: MessageId(reader.array()?),
            expiry_ms: reader.number()?,
        })
    }
}

/// What a receive with an attempt id took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When the id may be used again.
    pub expiry_ms: u64,
    /// The messages and the numbers of their handles.
    pub taken: Vec<(Sequence, u32)>,
}

impl Attempt {
    /// The value of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.expiry_ms);
        out.number(self.taken.len() as u64);
        for (sequence, number) in &self.taken {
            out.number(sequence.0);
            out.number((*number).into());
        }
        out.into_bytes()
    }

    /// What a record says. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Attempt, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "sqs attempt")?;
        let expiry_ms = reader.number()?;
        let count = reader.count()?;
        if count > BATCH_COUNT_MAX {
            return Err(reader.damaged("has too many messages"));
        }
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let sequence = Sequence(reader.number()?);
            let number = u32::try_from(reader.number()?).map_err(|_| reader.damaged("counts too far"))?;
            taken.push((sequence, number));
        }
        Ok(Attempt { expiry_ms, taken })
    }
}

/// The hash of a deduplication id. `group`: where the id counts within its group only.
#[must_use]
pub fn deduplication_hash(group: Option<&str>, id: &str) -> IdHash {
    // The length in front keeps a group and an id apart from another group and another id with the same letters.
    let group = group.unwrap_or_default();
    let mut text = Vec::with_capacity(1 + group.len() + id.len());
    text.push(group.len().min(usize::from(u8::MAX)) as u8);
    text.extend_from_slice(group.as_bytes());
    text.extend_from_slice(id.as_bytes());
    cut(&text)
}

/// The hash of an attempt id.
#[must_use]
pub fn attempt_hash(id: &str) -> IdHash {
    cut(id.as_bytes())
}

fn cut(text: &[u8]) -> IdHash {
    let whole = hash::sha256(text);
    let mut cut = [0; 16];
    cut.copy_from_slice(&whole[..16]);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_truncation_is_a_fault() {
        let first =
            Deduplication { sequence: Sequence(1 << 40), message: MessageId([4; 16]), expiry_ms: 300 };
        let bytes = first.encode();
        assert_eq!(Deduplication::decode(&bytes).expect("decodes"), first);
        assert!((0..bytes.len()).all(|length| Deduplication::decode(&bytes[..length]).is_err()));
        let attempt = Attempt { expiry_ms: 9, taken: vec![(Sequence(1), 2), (Sequence(1 << 50), u32::MAX)] };
        let bytes = attempt.encode();
        assert_eq!(Attempt::decode(&bytes).expect("decodes"), attempt);
        assert!((0..bytes.len()).all(|length| Attempt::decode(&bytes[..length]).is_err()));
    }

    #[test]
    fn an_id_counts_in_its_own_group_when_the_scope_says_so() {
        assert_ne!(deduplication_hash(Some("a"), "bc"), deduplication_hash(Some("ab"), "c"));
        assert_ne!(deduplication_hash(Some("a"), "x"), deduplication_hash(Some("b"), "x"));
        assert_eq!(deduplication_hash(None, "x"), deduplication_hash(None, "x"));
        assert_ne!(deduplication_hash(None, "x"), deduplication_hash(Some("a"), "x"));
    }
}
