//! One slice of loading: reads a bounded number of a queue's records and remembers what they say.
//! Invariant: slices follow each other in the order of sequences, and a message sent meanwhile comes behind them all, so that
//! each message is seen once.
//! Leaves to run.rs: which slice is next. To resident.rs: what is remembered.
//!
//! ```text
//! messages and their states -> [FIFO: deduplication ids -> attempts] -> loaded
//! ```

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use store::{Direction, Fault, Operation, Outcome, ScanEnd, TableId, Tx};

use super::resident::{Phase, Pushed, Queues, Remembered};
use super::state::groups::GroupName;
use crate::model::limits::LOAD_SLICE_COUNT;
use crate::model::queue::{QueueKey, QueueRecord, Sequence};
use crate::store::memory::{Attempt, Deduplication};
use crate::store::message::front;
use crate::store::queue::decode;
use crate::store::state::State;
use crate::store::{ATTEMPTS, DEDUP, IdHash, MESSAGES, QUEUES, STATES, id_key, message_key, sequence_in};

/// The operation.
pub struct Load {
    /// Which queue.
    pub key: QueueKey,
}

/// How far it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// There is more.
    More,
    /// The queue is loaded.
    All,
    /// There is no such queue.
    NoQueue,
}

/// What a slice of messages holds.
struct Slice {
    found: Vec<Pushed>,
    /// The first sequence that it does not say anything of; None: it said all.
    next: Option<Sequence>,
}

impl Operation for Load {
    type Reply = Loaded;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(QUEUES, self.key.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Loaded>, Fault> {
        let resident = tx.resident::<Queues>().and_then(|queues| queues.find(&self.key));
        let (record, phase) = match resident {
            Some(resident) => (Arc::clone(&resident.record), resident.phase),
            None => {
                let found = tx.get_ref(QUEUES, self.key.as_bytes(), |record| {
                    record.map(|record| decode(record.value)).transpose()
                })??;
                let Some(record) = found else { return Ok(Outcome::Rollback(Loaded::NoQueue)) };
                let from = record.purged_below;
                (Arc::new(record), Phase::Messages(from))
            }
        };
        match phase {
            Phase::Loaded => Ok(Outcome::Rollback(Loaded::All)),
            Phase::Messages(from) => self.messages(tx, &record, from),
            Phase::Ids(table, after) => self.ids(tx, &record, table, after),
        }
    }
}

impl Load {
    fn messages(
        &self,
        tx: &mut Tx<'_>,
        record: &Arc<QueueRecord>,
        from: Sequence,
    ) -> Result<Outcome<Loaded>, Fault> {
        let mut slice = messages_from(tx, record, from)?;
        hide_from(tx, record, from, &mut slice)?;
        let phase = match slice.next {
            Some(next) => Phase::Messages(next),
            None if record.attributes.fifo.is_some() => Phase::Ids(DEDUP, None),
            None => Phase::Loaded,
        };
        let (key, record) = (self.key.clone(), Arc::clone(record));
        tx.then::<Queues>(move |queues, _| queues.find_or_add(&key, &record).loaded(&slice.found, phase));
        Ok(Outcome::Commit(if phase == Phase::Loaded { Loaded::All } else { Loaded::More }))
    }

    fn ids(
        &self,
        tx: &mut Tx<'_>,
        record: &Arc<QueueRecord>,
        table: TableId,
        after: Option<IdHash>,
    ) -> Result<Outcome<Loaded>, Fault> {
        let (found, next) = ids_after(tx, record, table, after)?;
        let phase = match next {
            Some(hash) => Phase::Ids(table, Some(hash)),
            None if table == DEDUP => Phase::Ids(ATTEMPTS, None),
            None => Phase::Loaded,
        };
        let (key, record) = (self.key.clone(), Arc::clone(record));
        tx.then::<Queues>(move |queues, _| queues.find_or_add(&key, &record).loaded_ids(found, phase));
        Ok(Outcome::Commit(if phase == Phase::Loaded { Loaded::All } else { Loaded::More }))
    }
}

/// The messages from a sequence on, as if all were ready.
fn messages_from(tx: &mut Tx<'_>, record: &QueueRecord, from: Sequence) -> Result<Slice, Fault> {
    let mut found = Vec::new();
    let mut damage = None;
    let start = message_key(record.id, from);
    let budget = LOAD_SLICE_COUNT as u64;
    let end =
        tx.scan(MESSAGES, Bound::Included(&start), Direction::Forward, budget, &mut |key, message| {
            let Some(sequence) = sequence_in(record.id, key) else { return ControlFlow::Break(()) };
            match front(message.value) {
                Ok(front) => {
                    let group = front.group.map(|name| GroupName::new(&record.handle_key, name));
                    found.push(Pushed { sequence, group, due_ms: None, in_flight: false });
                    ControlFlow::Continue(())
                }
                Err(fault) => {
                    damage = Some(fault);
                    ControlFlow::Break(())
                }
            }
        })?;
    if let Some(fault) = damage {
        return Err(fault);
    }
    let next = match end {
        ScanEnd::Done | ScanEnd::Stopped => None,
        ScanEnd::Continue(key) => sequence_in(record.id, &key).map(Sequence::next),
    };
    Ok(Slice { found, next })
}

/// Gives the messages of a slice that are not visible now their due time. The slice ends where too many states were looked at.
fn hide_from(tx: &mut Tx<'_>, record: &QueueRecord, from: Sequence, slice: &mut Slice) -> Result<(), Fault> {
    let now_ms = tx.now().0;
    let until = slice.next.unwrap_or(Sequence(u64::MAX));
    let mut hidden = Vec::new();
    let mut damage = None;
    let start = message_key(record.id, from);
    let budget = 2 * LOAD_SLICE_COUNT as u64;
    let end = tx.scan(STATES, Bound::Included(&start), Direction::Forward, budget, &mut |key, state| {
        let sequence = sequence_in(record.id, key).filter(|sequence| *sequence < until);
        let Some(sequence) = sequence else { return ControlFlow::Break(()) };
        match State::decode(state.value) {
            Ok(state) if state.is_due(now_ms) => {}
            Ok(state) => hidden.push((sequence, state.due_ms, state.receive_count > 0)),
            Err(fault) => {
                damage = Some(fault);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(fault) = damage {
        return Err(fault);
    }
    if let ScanEnd::Continue(key) = end
        && let Some(sequence) = sequence_in(record.id, &key).filter(|sequence| *sequence < until)
    {
        let next = sequence.next();
        slice.found.retain(|message| message.sequence < next);
        slice.next = Some(next);
    }
    let mut hidden = hidden.into_iter().peekable();
    for message in &mut slice.found {
        while hidden.next_if(|(sequence, ..)| *sequence < message.sequence).is_some() {}
        if let Some((_, due_ms, in_flight)) = hidden.next_if(|(sequence, ..)| *sequence == message.sequence) {
            (message.due_ms, message.in_flight) = (Some(due_ms), in_flight);
        }
    }
    Ok(())
}

/// The ids in a table behind a hash, and behind which to go on.
fn ids_after(
    tx: &mut Tx<'_>,
    record: &QueueRecord,
    table: TableId,
    after: Option<IdHash>,
) -> Result<(Vec<Remembered>, Option<IdHash>), Fault> {
    let first = id_key(record.id, &after.unwrap_or_default());
    let start = if after.is_some() { Bound::Excluded(&first[..]) } else { Bound::Included(&first[..]) };
    let hash_in = |key: &[u8]| -> Option<IdHash> {
        key.strip_prefix(&record.id.0.to_be_bytes()).and_then(|hash| hash.try_into().ok())
    };
    let mut found = Vec::new();
    let mut damage = None;
    let end = tx.scan(table, start, Direction::Forward, LOAD_SLICE_COUNT as u64, &mut |key, id| {
        let Some(hash) = hash_in(key) else { return ControlFlow::Break(()) };
        let expiry = match table {
            DEDUP => Deduplication::decode(id.value).map(|id| id.expiry_ms),
            _ => Attempt::decode(id.value).map(|id| id.expiry_ms),
        };
        match expiry {
            Ok(expiry_ms) => {
                found.push(Remembered { expiry_ms, table: table.0, hash });
                ControlFlow::Continue(())
            }
            Err(fault) => {
                damage = Some(fault);
                ControlFlow::Break(())
            }
        }
    })?;
    match (damage, end) {
        (Some(fault), _) => Err(fault),
        (None, ScanEnd::Continue(key)) => Ok((found, hash_in(&key))),
        (None, ScanEnd::Done | ScanEnd::Stopped) => Ok((found, None)),
    }
}
