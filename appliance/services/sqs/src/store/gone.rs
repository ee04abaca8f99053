//! The bytes of what is to be swept: the records of a queue that was deleted, or that was purged up to a sequence.
//! Invariant: a record stands until nothing is left of what it names.
//! Leaves to engine/sweep.rs: taking it away.
//!
//! ```text
//! version 1 u8 | kind u8 (0 deleted, 1 purged) | below number, of a purge
//! ```

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::model::queue::{QueueId, Sequence};

const VERSION: u8 = 1;
const DELETED: u8 = 0;
const PURGED: u8 = 1;

/// What of a queue is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// All of it: the queue was deleted.
    All,
    /// Every message below this sequence, and what FIFO queues remember of them.
    Below(Sequence),
}

impl Gone {
    /// The value of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        match self {
            Gone::All => out.byte(DELETED),
            Gone::Below(sequence) => {
                out.byte(PURGED);
                out.number(sequence.0);
            }
        }
        out.into_bytes()
    }

    /// What a record says. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Gone, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "sqs sweep")?;
        match reader.byte()? {
            DELETED => Ok(Gone::All),
            PURGED => Ok(Gone::Below(Sequence(reader.number()?))),
            _ => Err(reader.damaged("has an unknown kind")),
        }
    }
}

/// The key of a record.
#[must_use]
pub fn gone_key(queue: QueueId) -> [u8; 8] {
    queue.0.to_be_bytes()
}

/// The queue of a key. Errors: `Fault::Corrupt`.
pub fn queue_of(key: &[u8]) -> Result<QueueId, Fault> {
    let bytes = key.try_into().map_err(|_| Fault::corrupt("a GONE key is no queue id".into()))?;
    Ok(QueueId(u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_comes_back_and_truncation_is_a_fault() {
        for gone in [Gone::All, Gone::Below(Sequence(1 << 50))] {
            let bytes = gone.encode();
            assert_eq!(Gone::decode(&bytes).expect("decodes"), gone);
            assert!((0..bytes.len()).all(|length| Gone::decode(&bytes[..length]).is_err()));
        }
        assert!(Gone::decode(&[1, 9]).is_err());
        assert_eq!(queue_of(&gone_key(QueueId(7))).expect("an id"), QueueId(7));
        assert!(queue_of(b"short").is_err());
    }
}
