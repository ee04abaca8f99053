//! Taking away what is left of deleted and purged queues, a bounded slice at a time.
//! Invariant: nothing of a live queue is touched but messages below the sequence to which it was purged, and what is
//! remembered of them; a GONE record goes after all that it names.
//! Leaves to ops: writing the GONE record in the batch of the deletion or purge, from which on nobody sees the messages.
//!
//! Nothing can enter a range that was swept: a deleted queue's id is never used again, and sequences only rise.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};

use plan::Context;
use store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Tx};

use super::tick::{Background, Work, submit};
use crate::model::message::MessageId;
use crate::model::queue::QueueId;
use crate::store::gone::{Gone, gone_key, queue_of};
use crate::store::memory::{Attempt, Deduplication};
use crate::store::message::front;
use crate::store::{
    ACTIVE, ATTEMPTS, BODIES, DEDUP, EARLY, GONE, MESSAGES, STATES, TASKS, body_key, early_of, sequence_in,
};

/// Records that one slice takes away.
const SLICE_COUNT: usize = 500;
/// Keys that one slice looks at, those that are gone already included.
const SLICE_EXAMINED_MAX: u64 = 4_000;
/// The same of one look for what is to be swept.
const LOOK_EXAMINED_MAX: u64 = 4_000;

/// How far a sweep has come: which of the tables, and behind which key of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    table: usize,
    after: Vec<u8>,
}

/// The tables that hold records of a queue by its id. The bodies of purged messages go with the messages.
const TABLES: [TableId; 8] = [MESSAGES, BODIES, STATES, DEDUP, ATTEMPTS, EARLY, TASKS, ACTIVE];

/// What is remembered of the sweeps of a shard.
#[derive(Default)]
pub struct Marks {
    /// Looks begin at this key of GONE; those before it were swept, but for ones that came since.
    from: Vec<u8>,
    /// How far each sweep has come, by the keys of GONE.
    places: HashMap<Vec<u8>, Place>,
}

/// The next slice of a sweep on a shard, if one is due.
pub fn look(background: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let from = background.with(shard, |marks| marks.sweeps.from.clone());
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(GONE, Bound::Included(&from), Direction::Forward);
    let mut last = Vec::new();
    while scan.examined() < LOOK_EXAMINED_MAX {
        let Some((key, record)) = scan.step()? else {
            // The next look begins at the very start again.
            background.with(shard, |marks| marks.sweeps.from = Vec::new());
            return Ok(None);
        };
        last = key.to_vec();
        if let Some(record) = record {
            return slice(background, shard, last, record.value).map(Some);
        }
    }
    background.with(shard, |marks| marks.sweeps.from = last);
    Ok(Some(Box::new(|cx, background, then| then(cx, &background, Ok(true)))))
}

fn slice(background: &Background, shard: ShardId, key: Vec<u8>, value: &[u8]) -> Result<Work, Fault> {
    let (queue, gone) = (queue_of(&key)?, Gone::decode(value)?);
    let place = background.with(shard, |marks| {
        marks.sweeps.from.clone_from(&key);
        marks.sweeps.places.get(&key).cloned().unwrap_or_default()
    });
    Ok(submit(shard, Sweep { queue, gone, place }, move |marks, swept| {
        match swept {
            Swept::To(place) => marks.sweeps.places.insert(key, place),
            Swept::All => marks.sweeps.places.remove(&key),
        };
        // There may be another one behind it.
        true
    }))
}

/// One slice.
struct Sweep {
    queue: QueueId,
    gone: Gone,
    place: Place,
}

/// How a slice ended.
enum Swept {
    /// There may be more behind this place.
    To(Place),
    /// Nothing is left.
    All,
}

/// What is to become of a record.
enum Fate {
    Gone,
    /// It, and the body that lies beside it.
    GoneWithBody(MessageId),
    Kept,
    /// It and all behind it in this table are kept.
    End,
}

impl Sweep {
    /// What is to become of a record of this queue. One that cannot be read goes as if it were of a purged message.
    fn fate(&self, table: TableId, key: &[u8], value: &[u8]) -> Fate {
        let Gone::Below(below) = self.gone else { return Fate::Gone };
        let is_kept = match table {
            MESSAGES | STATES if sequence_in(self.queue, key).is_none_or(|sequence| sequence >= below) => {
                return Fate::End;
            }
            MESSAGES => match front(value) {
                Ok(front) if front.is_beside => return Fate::GoneWithBody(front.id),
                Ok(_) | Err(_) => false,
            },
            STATES => false,
            DEDUP => Deduplication::decode(value).is_ok_and(|first| first.sequence >= below),
            ATTEMPTS => Attempt::decode(value)
                .is_ok_and(|attempt| attempt.taken.iter().any(|(sequence, _)| *sequence >= below)),
            EARLY => early_of(self.queue, key).is_some_and(|(_, sequence)| sequence >= below),
            _ => true,
        };
        if is_kept { Fate::Kept } else { Fate::Gone }
    }

    /// Takes away records of one table from `after` on. Gives the key behind which to go on, or nothing at the end.
    fn sweep_table(&self, tx: &mut Tx<'_>, table: TableId, after: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let front = gone_key(self.queue);
        let start = if after.is_empty() { Bound::Included(&front[..]) } else { Bound::Excluded(after) };
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut bodies: Vec<MessageId> = Vec::new();
        let mut is_end = false;
        let end = tx.scan(table, start, Direction::Forward, SLICE_EXAMINED_MAX, &mut |key, record| {
            is_end = !key.starts_with(&front);
            if is_end {
                return ControlFlow::Break(());
            }
            match self.fate(table, key, record.value) {
                Fate::Gone => keys.push(key.to_vec()),
                Fate::GoneWithBody(message) => {
                    bodies.push(message);
                    keys.push(key.to_vec());
                }
                Fate::Kept => {}
                Fate::End => is_end = true,
            }
            let is_full = keys.len() >= SLICE_COUNT;
            if is_end || is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        for key in &keys {
            tx.delete(table, key);
        }
        for message in bodies {
            tx.delete(BODIES, &body_key(self.queue, message));
        }
        Ok(match end {
            ScanEnd::Continue(key) => Some(key),
            ScanEnd::Stopped if !is_end => keys.pop(),
            ScanEnd::Stopped | ScanEnd::Done => None,
        })
    }
}

impl Operation for Sweep {
    type Reply = Swept;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        let front = gone_key(self.queue);
        if let Some(table) = TABLES.get(self.place.table) {
            declare(*table, if self.place.after.is_empty() { &front } else { &self.place.after });
        }
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Swept>, Fault> {
        let key = gone_key(self.queue);
        let found = tx.get_ref(GONE, &key, |record| record.map(|record| Gone::decode(record.value)))?;
        match found.transpose()? {
            Some(gone) if gone == self.gone => {}
            // It was purged anew, or deleted: the sweep begins anew, too.
            Some(_) => return Ok(Outcome::Rollback(Swept::To(Place::default()))),
            None => return Ok(Outcome::Rollback(Swept::All)),
        }
        let mut after = self.place.after.clone();
        for (number, table) in TABLES.iter().enumerate().skip(self.place.table) {
            if let Some(after) = self.sweep_table(tx, *table, &after)? {
                return Ok(Outcome::Commit(Swept::To(Place { table: number, after })));
            }
            after.clear();
        }
        tx.delete(GONE, &key);
        Ok(Outcome::Commit(Swept::All))
    }
}
