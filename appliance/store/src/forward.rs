//! Copying forward: what still lives in a packed segment that is mostly dead is written anew, so that the segment empties.
//! Invariant: a body moves only if its record still points to the old place; the move is an operation like any other, so it
//! takes part in the order of all writes, and the old segment goes only when the index names nothing in it. A few moves are under
//! way at most, and no wait for one is without an end.
//! Leaves to fold.rs: finding such segments. Leaves to reclaim.rs: removing them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::body::{PackedEntry, PackedScan};
use crate::fault::Fault;
use crate::index::Index;
use crate::message::Message;
use crate::record::{BodyRef, Record};
use crate::shared::Shared;
use crate::store::{Answer, job};
use crate::tables::record_key;
use crate::tx::{Body, NewBody, Operation, Outcome, Tx};
use crate::types::{ShardId, TableId};

/// Body bytes in one operation.
const MOVE_BYTES_MAX: usize = 128 * 1024;
/// Moves under way: what they hold is in memory beside everything that is counted, and clients queue behind them.
const MOVE_COUNT_MAX: usize = 4;
/// Without an answer for so long the rest is left to a later fold. The owner may wait for room that only this thread gives back, so
/// it is not waited for without an end; but a move that meets an undecided transaction is answered sooner.
const MOVE_PATIENCE: Duration = Duration::from_secs(10);
/// How often a wait looks for an answer.
const MOVE_INTERVAL: Duration = Duration::from_millis(1);

struct Moved {
    table: TableId,
    key: Vec<u8>,
    old: BodyRef,
    new: NewBody,
}

/// Points records to new copies of their bodies.
struct Move {
    bodies: Vec<Moved>,
}

impl Operation for Move {
    /// Bytes of bodies that moved.
    type Reply = u64;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for moved in &self.bodies {
            declare(moved.table, &moved.key);
        }
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<u64>, Fault> {
        // All bodies of a record in one put: a record may have several in one segment.
        let mut by_record: BTreeMap<(u8, &[u8]), Vec<&Moved>> = BTreeMap::new();
        for moved in &self.bodies {
            by_record.entry((moved.table.0, &moved.key)).or_default().push(moved);
        }
        let mut moved_bytes = 0;
        for ((table, key), moves) in by_record {
            let Some(record) = tx.get(TableId(table), key)? else { continue };
            // A body that the record names twice stays: its copy could be adopted only once.
            let once = |body: &BodyRef| record.bodies.iter().filter(|other| *other == body).count() == 1;
            let copy = |body: &BodyRef| moves.iter().find(|moved| moved.old == *body && once(body));
            let copied = record.bodies.iter().filter(|body| copy(body).is_some());
            let bytes: u64 = copied.map(BodyRef::length).sum();
            if bytes == 0 {
                continue;
            }
            moved_bytes += bytes;
            let bodies = record
                .bodies
                .iter()
                .map(|body| match copy(body) {
                    Some(moved) => Body::New(moved.new.clone()),
                    None => Body::Kept(body.clone()),
                })
                .collect();
            tx.put(TableId(table), key, &record.value, bodies, false);
        }
        Ok(Outcome::Commit(moved_bytes))
    }
}

/// Has what lives in `segment` copied, about `bytes_max` of it, and says how much is copied, durably; nothing where nobody answers
/// any more, or the process stops. Blocks: for the space thread. Errors: `Fault::Corrupt` and `Fault::Io` of the segment; the
/// records are left as they are then.
pub(crate) fn copy_forward(
    shared: &Arc<Shared>,
    shard: ShardId,
    segment: u64,
    bytes_max: u64,
) -> Result<Option<u64>, Fault> {
    let index = shared.shard(shard).index();
    let mut scan = PackedScan::open(&shared.files, shard, segment)?;
    let is_closing = || shared.copying_is_over();
    let mut window = Window::new(&shared.shard(shard).mailbox, &is_closing, MOVE_PATIENCE);
    let mut round_bytes = 0_u64;
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    while let Some(entry) = scan.next() {
        if is_closing() {
            return Ok(None);
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(fault) => {
                // Its record says so too, to whoever reads it; the others can still move.
                crate::report(&format!("{shard}: copying forward: {fault}"));
                continue;
            }
        };
        if !lives(index, &entry)? {
            continue;
        }
        batch_bytes += entry.bytes.len();
        round_bytes += entry.bytes.len() as u64;
        batch.push(Moved {
            table: entry.table,
            key: entry.key.to_vec(),
            old: entry.body.clone(),
            new: NewBody::from_bytes(entry.bytes.to_vec()),
        });
        if batch_bytes >= MOVE_BYTES_MAX {
            if !window.send(std::mem::take(&mut batch)) {
                return Ok(None);
            }
            batch_bytes = 0;
        }
        if round_bytes >= bytes_max {
            break;
        }
    }
    let is_sent = batch.is_empty() || window.send(batch);
    Ok(if is_sent { window.end() } else { None })
}

/// Whether the index, as it was folded last, names this copy.
fn lives(index: &Index, entry: &PackedEntry<'_>) -> Result<bool, Fault> {
    let txn = index.read()?;
    let key = record_key(entry.table, entry.key);
    let record = index.get(&txn, &key).and_then(|found| found.map(Record::decode).transpose());
    match record {
        Ok(record) => Ok(record.is_some_and(|record| record.bodies.contains(&entry.body))),
        // Whoever reads the record hears of it; the others can still move.
        Err(Fault::Corrupt(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The moves that are under way, and what has come of the others.
struct Window<'a> {
    mailbox: &'a ring::Sender<Message>,
    is_closing: &'a dyn Fn() -> bool,
    patience: Duration,
    /// In the order in which they were sent, each with its bytes.
    under_way: VecDeque<(Answer<u64>, u64)>,
    moved_bytes: u64,
}

impl<'a> Window<'a> {
    fn new(
        mailbox: &'a ring::Sender<Message>,
        is_closing: &'a dyn Fn() -> bool,
        patience: Duration,
    ) -> Window<'a> {
        Window { mailbox, is_closing, patience, under_way: VecDeque::new(), moved_bytes: 0 }
    }

    /// Sends a move once there is room for it. `false`: nobody answers, and nothing more should be sent.
    fn send(&mut self, bodies: Vec<Moved>) -> bool {
        while self.under_way.len() >= MOVE_COUNT_MAX {
            if !self.await_one() {
                return false;
            }
        }
        let bytes = bodies.iter().map(|moved| moved.old.length()).sum();
        let (job, answer) = job(Move { bodies });
        self.under_way.push_back((answer, bytes));
        self.mailbox.send(Message::Job(job)).is_ok()
    }

    /// Waits for all that are under way; gives what has moved.
    fn end(mut self) -> Option<u64> {
        while !self.under_way.is_empty() {
            if !self.await_one() {
                return None;
            }
        }
        Some(self.moved_bytes)
    }

    /// Waits for the oldest one. `false`: it is not answered, or the shard takes no writes. A move that nobody waits for any more
    /// happens all the same, or not: it is tried again after a later fold.
    fn await_one(&mut self) -> bool {
        let Some((mut answer, bytes)) = self.under_way.pop_front() else { return true };
        let begun = Instant::now();
        loop {
            match answer.try_reply() {
                Some(Ok(moved_bytes)) => {
                    self.moved_bytes += moved_bytes;
                    return true;
                }
                // It will not go better another time.
                Some(Err(Fault::Corrupt(_) | Fault::Io { .. } | Fault::TooLarge { .. })) => return true,
                Some(Err(Fault::InDoubt | Fault::Full | Fault::Busy)) => {
                    // It may, so it counts as what is looked at again after the next fold.
                    self.moved_bytes += bytes;
                    return true;
                }
                Some(Err(Fault::ReadOnly(_) | Fault::Unknown(_) | Fault::Closed)) => return false,
                None if (self.is_closing)() || begun.elapsed() >= self.patience => return false,
                None => std::thread::sleep(MOVE_INTERVAL),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PATIENCE: Duration = Duration::ZERO;
    /// Longer than any test.
    const MUCH_PATIENCE: Duration = Duration::from_secs(3_600);

    fn bodies() -> Vec<Moved> {
        let old = BodyRef::Packed { shard: ShardId(0), segment: 1, offset: 0, length: 700, crc: 0 };
        vec![Moved { table: TableId(16), key: b"key".to_vec(), old, new: NewBody::from_bytes(vec![1; 700]) }]
    }

    fn take(mailbox: &mut ring::Receiver<Message>) -> Option<Box<dyn crate::message::Job>> {
        match mailbox.try_recv()? {
            Message::Job(job) => Some(job),
            _ => panic!("something else than a move"),
        }
    }

    #[test]
    fn no_more_than_a_few_moves_are_under_way() {
        let (mailbox, mut owner) = ring::mailbox::mailbox();
        let mut window = Window::new(&mailbox, &|| false, NO_PATIENCE);
        for _ in 0..MOVE_COUNT_MAX {
            assert!(window.send(bodies()));
        }
        let first = take(&mut owner).expect("is sent");
        first.complete(Err(Fault::InDoubt));
        assert!(window.send(bodies()), "there is room for one");
        assert!(!window.send(bodies()), "and not for another, of whom nobody is patient with");
        assert_eq!(std::iter::from_fn(|| take(&mut owner)).count(), MOVE_COUNT_MAX);
    }

    #[test]
    fn what_is_refused_for_now_counts_as_moved_and_what_is_refused_for_good_does_not() {
        let (mailbox, mut owner) = ring::mailbox::mailbox();
        let mut window = Window::new(&mailbox, &|| false, MUCH_PATIENCE);
        for fault in [Fault::InDoubt, Fault::TooLarge { bytes: 1 }, Fault::Busy] {
            assert!(window.send(bodies()));
            take(&mut owner).expect("is sent").complete(Err(fault));
        }
        assert_eq!(window.end(), Some(1_400));
    }

    #[test]
    fn a_wait_ends_when_the_owner_is_gone_or_stopped_or_the_process_stops_or_nobody_answers() {
        let wait = |is_closing: &dyn Fn() -> bool, patience, owner: &dyn Fn(Box<dyn crate::message::Job>)| {
            let (mailbox, mut receiver) = ring::mailbox::mailbox();
            let mut window = Window::new(&mailbox, is_closing, patience);
            assert!(window.send(bodies()));
            owner(take(&mut receiver).expect("is sent"));
            window.end()
        };
        let kept = std::cell::Cell::new(None);
        assert_eq!(wait(&|| false, MUCH_PATIENCE, &|job| drop(job)), None, "an owner that is gone");
        let stopped = Fault::ReadOnly("stopped".into());
        assert_eq!(wait(&|| false, MUCH_PATIENCE, &|job| job.complete(Err(stopped.clone()))), None);
        assert_eq!(wait(&|| true, MUCH_PATIENCE, &|job| kept.set(Some(job))), None, "the process stops");
        assert_eq!(wait(&|| false, NO_PATIENCE, &|job| kept.set(Some(job))), None, "nobody answers");
        // A mailbox that nobody reads any more: what is in it goes with its reader, whoever holds the other end.
        let (mailbox, receiver) = ring::mailbox::mailbox();
        let mut window = Window::new(&mailbox, &|| false, MUCH_PATIENCE);
        assert!(window.send(bodies()));
        drop(receiver);
        assert_eq!(window.end(), None);
        let mut window = Window::new(&mailbox, &|| false, MUCH_PATIENCE);
        assert!(!window.send(bodies()));
    }
}
