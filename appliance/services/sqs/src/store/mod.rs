//! What the service keeps in the store: tables of the store, their keys and values.
//! Invariant: numbers in keys are big-endian; every value begins with a version byte or is empty; all records of a queue lie on the
//! shard of its record, and what an operation changes of them changes in one batch.
//! Leaves to the codecs below: the bytes of each.
//!
//! ```text
//! 60 QUEUES    account 12 | name            -> queue: id, handle key, settings, tags           queue.rs
//! 61 MESSAGES  id u64 | sequence u64        -> message, never changed                          message.rs
//! 62 BODIES    id u64 | message id 16       -> nothing; its body is the message's              the only table with bodies
//! 63 STATES    id u64 | sequence u64        -> due time, receives; only of delayed or once received messages  state.rs
//! 64 DEDUP     id u64 | hash 16             -> sequence, message id, expiry                    memory.rs
//! 65 ATTEMPTS  id u64 | hash 16             -> expiry, (sequence, number)*                     memory.rs
//! 66 GONE      id u64                       -> what is to be swept: deleted queue, purge        gone.rs
//! 67 TASKS     id u64 | started ms u64 | task u128 -> move task                                task.rs
//! 68 EARLY     id u64 | kept from ms u64 | sequence u64 -> nothing; dead letters that are older than those before them
//! 69 SOURCES   account 12 | name | 0 | account 12 | name -> nothing; by dead-letter queue, who has it
//! 70 ACTIVE    as TASKS -> nothing; the tasks that have something left to do
//! ```
//! Id: the queue's. Sequence: batch number of the store << 20 | position in the batch, so that it rises for ever and no counter is
//! kept. A due time that has passed needs no write: the message is visible again. A body is written before its message has a
//! sequence, so it lies under the message's id.

pub mod gone;
pub mod memory;
pub mod message;
pub mod queue;
pub mod state;
pub mod task;

use store::{TableId, TableSet};

use crate::model::message::MessageId;
use crate::model::queue::{QueueId, QueueKey, Sequence};

/// The tables of this service whose records never have a body.
pub const BODYLESS: TableSet = TableSet::range(TableId(63), TableId(79)).with(QUEUES).with(MESSAGES);

/// The queues.
pub const QUEUES: TableId = TableId(60);
/// Their messages.
pub const MESSAGES: TableId = TableId(61);
/// Bodies too long for a message's record.
pub const BODIES: TableId = TableId(62);
/// When messages fall due, and how often they were received.
pub const STATES: TableId = TableId(63);
/// Deduplication ids.
pub const DEDUP: TableId = TableId(64);
/// Receive attempts.
pub const ATTEMPTS: TableId = TableId(65);
/// What is to be swept.
pub const GONE: TableId = TableId(66);
/// Move tasks.
pub const TASKS: TableId = TableId(67);

/// Dead letters by the time at which they were sent first.
pub const EARLY: TableId = TableId(68);
/// Queues by their dead-letter queue.
pub const SOURCES: TableId = TableId(69);
/// Move tasks that have something left to do.
pub const ACTIVE: TableId = TableId(70);

/// Bytes of the key of a message.
pub const MESSAGE_KEY_BYTES: usize = 16;

/// The key of a message, of its body and of its state.
#[must_use]
pub fn message_key(queue: QueueId, sequence: Sequence) -> [u8; MESSAGE_KEY_BYTES] {
    let mut key = [0; MESSAGE_KEY_BYTES];
    key[..8].copy_from_slice(&queue.0.to_be_bytes());
    key[8..].copy_from_slice(&sequence.0.to_be_bytes());
    key
}

/// The sequence in the key of a message of this queue; None: it is another queue's, or no such key.
#[must_use]
pub fn sequence_in(queue: QueueId, key: &[u8]) -> Option<Sequence> {
    let sequence = key.strip_prefix(&queue.0.to_be_bytes())?;
    sequence.try_into().ok().map(|bytes| Sequence(u64::from_be_bytes(bytes)))
}

/// The key of a body.
#[must_use]
pub fn body_key(queue: QueueId, message: MessageId) -> [u8; 24] {
    id_key(queue, &message.0)
}

/// The key of a dead letter by its age.
#[must_use]
pub fn early_key(queue: QueueId, kept_from_ms: u64, sequence: Sequence) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&queue.0.to_be_bytes());
    key[8..16].copy_from_slice(&kept_from_ms.to_be_bytes());
    key[16..].copy_from_slice(&sequence.0.to_be_bytes());
    key
}

/// Age and sequence in the key of a dead letter of this queue; None: it is another queue's, or no such key.
#[must_use]
pub fn early_of(queue: QueueId, key: &[u8]) -> Option<(u64, Sequence)> {
    let (kept_from, sequence) = key.strip_prefix(&queue.0.to_be_bytes())?.split_first_chunk::<8>()?;
    let sequence: [u8; 8] = sequence.try_into().ok()?;
    Some((u64::from_be_bytes(*kept_from), Sequence(u64::from_be_bytes(sequence))))
}

/// How the keys of the queues begin that have this dead-letter queue.
#[must_use]
pub fn source_front(target: &QueueKey) -> Vec<u8> {
    // No name holds a zero byte, so that none is the beginning of another.
    [target.as_bytes(), &[0]].concat()
}

/// The key of a queue that has this dead-letter queue.
#[must_use]
pub fn source_key(target: &QueueKey, source: &QueueKey) -> Vec<u8> {
    [target.as_bytes(), &[0], source.as_bytes()].concat()
}

/// The hash under which an id is remembered.
pub type IdHash = [u8; 16];

/// The key of a remembered id.
#[must_use]
pub fn id_key(queue: QueueId, hash: &IdHash) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&queue.0.to_be_bytes());
    key[8..].copy_from_slice(hash);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_sequence_to_its_own_queue_only() {
        let key = message_key(QueueId(9), Sequence(77));
        assert_eq!(sequence_in(QueueId(9), &key), Some(Sequence(77)));
        assert_eq!(sequence_in(QueueId(8), &key), None);
        assert_eq!(sequence_in(QueueId(9), &key[..15]), None);
    }

    #[test]
    fn the_key_of_a_dead_letter_gives_its_age_to_its_own_queue_only() {
        let key = early_key(QueueId(9), 5, Sequence(77));
        assert_eq!(early_of(QueueId(9), &key), Some((5, Sequence(77))));
        assert_eq!((early_of(QueueId(8), &key), early_of(QueueId(9), &key[..23])), (None, None));
        assert!(key < early_key(QueueId(9), 6, Sequence(1)));
    }

    #[test]
    fn the_sources_of_a_queue_stand_together_and_apart_from_those_of_a_longer_name() {
        let key = |text: &str| QueueKey::parse(text.as_bytes()).expect("a key");
        let (dead, deader) = (key("000000000001dead"), key("000000000001dead-er"));
        let source = source_key(&dead, &key("000000000001q"));
        assert!(source.starts_with(&source_front(&dead)) && !source.starts_with(&source_front(&deader)));
        assert!(!source_key(&deader, &key("000000000001q")).starts_with(&source_front(&dead)));
    }

    #[test]
    fn only_bodies_have_bodies() {
        for table in 60..=79 {
            assert_eq!(BODYLESS.contains(TableId(table)), TableId(table) != BODIES, "{table}");
        }
        assert!(!BODYLESS.contains(TableId(59)) && !BODYLESS.contains(TableId(80)));
    }
}
