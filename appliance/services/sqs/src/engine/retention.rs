//! What is too old: messages whose retention is over, and ids that FIFO queues need not remember any more.
//! Invariant: a message goes only if its retention, as its queue has it at that moment, is over at that moment; in flight,
//! delayed or ready makes no difference. A look begins where the last one found the oldest message, so that nothing that is
//! gone is walked over twice.
//! Leaves to the operations: not giving out a message that is too old but still there.
//!
//! Messages lie in the order in which they came, which is the order of their age but for dead letters of standard queues:
//! these keep the time at which they were sent first. They have an entry in EARLY, by that time.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Timestamp, Tx};

use super::refusal::Refusal;
use super::remove::{Removed, delete, removed};
use super::request::QueueRef;
use super::resident::{Queues, Resident, State as Messages};
use super::run::{QueueOperation, run};
use super::tick::{Background, Then, Work};
use crate::model::queue::{QueueId, QueueKey, QueueRecord, Sequence};
use crate::store::memory::{Attempt, Deduplication};
use crate::store::message::front;
use crate::store::{DEDUP, EARLY, MESSAGES, early_key, early_of, id_key, message_key, sequence_in};

/// Messages that one slice takes away.
const SLICE_COUNT: usize = 500;
/// Keys that one slice looks at, those that are gone already included.
const SLICE_EXAMINED_MAX: u64 = 4_000;
/// Queues that one turn looks at.
const QUEUES_PER_TURN: usize = 32;
/// FIFO queues are looked at this often at least: what they remember may be over though no message is.
const FIFO_LOOK_MS: u64 = 15 * 60 * 1_000;

/// When to look at which queue of a shard.
#[derive(Default)]
pub struct Watch {
    line: BTreeSet<(u64, QueueId)>,
    queues: HashMap<QueueId, Watched>,
}

#[derive(Clone)]
struct Watched {
    key: QueueKey,
    look_ms: u64,
    /// Where the next look begins.
    marks: Marks,
}

/// Below these nothing is left, so that what is gone is not walked over again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Marks {
    /// Among the messages.
    from: Sequence,
    /// Among the dead letters by their age.
    early: (u64, Sequence),
}

impl Watch {
    /// Looks at a queue at this time. A queue that is new here is looked at from its first message on.
    fn set(&mut self, id: QueueId, key: QueueKey, look_ms: u64, marks: Option<Marks>) {
        let watched = self.queues.entry(id).or_insert(Watched { key, look_ms, marks: Marks::default() });
        self.line.remove(&(watched.look_ms, id));
        watched.look_ms = look_ms;
        watched.marks = marks.unwrap_or(watched.marks);
        self.line.insert((look_ms, id));
    }

    fn remove(&mut self, id: QueueId) {
        if let Some(watched) = self.queues.remove(&id) {
            self.line.remove(&(watched.look_ms, id));
        }
    }

    /// A dead letter has come that is over at `over_ms`: the queue is looked at by then, and the look finds it.
    fn came(&mut self, id: QueueId, over_ms: u64, early: (u64, Sequence)) {
        let Some(watched) = self.queues.get_mut(&id) else { return };
        watched.marks.early = watched.marks.early.min(early);
        if over_ms < watched.look_ms {
            self.line.remove(&(watched.look_ms, id));
            watched.look_ms = over_ms;
            self.line.insert((over_ms, id));
        }
    }

    /// The queues that are to be looked at, the longest due ones first.
    fn due(&self, now: Timestamp) -> impl Iterator<Item = (QueueId, &Watched)> {
        let due = self.line.iter().take_while(move |(look_ms, _)| *look_ms <= now.0);
        due.filter_map(|(_, id)| self.queues.get(id).map(|watched| (*id, watched)))
    }
}

/// Looks at a queue from `look_ms` on: when it was made, found after a start, or has another retention.
pub fn watch(tx: &mut Tx<'_>, id: QueueId, key: QueueKey, look_ms: u64) {
    tx.then::<Watch>(move |watch, _| watch.set(id, key, look_ms, None));
}

/// Looks no more at a queue that is gone.
pub fn unwatch(tx: &mut Tx<'_>, id: QueueId) {
    tx.then::<Watch>(move |watch, _| watch.remove(id));
}

/// A message that is older than those before it has come into a queue.
pub fn came_early(tx: &mut Tx<'_>, record: &QueueRecord, kept_from_ms: u64, sequence: Sequence) {
    tx.put(EARLY, &early_key(record.id, kept_from_ms, sequence), &[], Vec::new(), true);
    let (id, over_ms) = (record.id, kept_from_ms.saturating_add(retention_ms(record)));
    tx.then::<Watch>(move |watch, _| watch.came(id, over_ms, (kept_from_ms, sequence)));
}

fn retention_ms(record: &QueueRecord) -> u64 {
    u64::from(record.attributes.retention_seconds) * 1_000
}

/// The next queues on a shard. Whether one is due only the shard knows.
pub fn look(_: &Background, _: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    Ok(Some(Box::new(move |_, background, then: Then| {
        Plan::submit(shard, Peek, move |cx, outcome| match outcome {
            Ok(due) => {
                let is_cut = due.len() >= QUEUES_PER_TURN;
                expire(cx, shard, due, Ok(is_cut), move |cx, outcome| then(cx, &background, outcome))
            }
            Err(fault) => then(cx, &background, Err(fault)),
        })
    })))
}

/// Looks at queues one after the other. One that cannot be read does not keep the others waiting.
fn expire<F>(
    cx: &mut Context<'_>,
    shard: ShardId,
    mut due: Vec<Expire>,
    met: Result<bool, Fault>,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
{
    let Some(next) = due.pop() else { return then(cx, met) };
    let (queue, id) = (QueueRef { shard, key: next.key.clone() }, next.id);
    run(queue, next, move |cx, outcome| match outcome {
        Ok(is_cut) => expire(cx, shard, due, met.map(|more| more || is_cut), then),
        Err(Refusal::NoQueue) => {
            Plan::submit(shard, Unwatch { id }, move |cx, _| expire(cx, shard, due, met, then))
        }
        Err(Refusal::Fault(fault)) => expire(cx, shard, due, met.and(Err(fault)), then),
        // Nothing else is refused to a look.
        Err(_) => expire(cx, shard, due, met, then),
    })
}

/// Which queues are to be looked at.
struct Peek;

impl Operation for Peek {
    type Reply = Vec<Expire>;

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Vec<Expire>>, Fault> {
        let Some(watch) = tx.resident::<Watch>() else { return Ok(Outcome::Rollback(Vec::new())) };
        let due = watch.due(tx.now()).take(QUEUES_PER_TURN);
        let looks = due.map(|(id, watched)| Expire { id, key: watched.key.clone(), marks: watched.marks });
        Ok(Outcome::Rollback(looks.collect()))
    }
}

/// Forgets a queue that is gone.
struct Unwatch {
    id: QueueId,
}

impl Operation for Unwatch {
    type Reply = ();

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        unwatch(tx, self.id);
        Ok(Outcome::Commit(()))
    }
}

/// One look at one queue.
struct Expire {
    id: QueueId,
    key: QueueKey,
    marks: Marks,
}

/// What a look found in a table.
#[derive(Default)]
struct Found {
    /// Messages that are too old.
    expired: Vec<Sequence>,
    /// The oldest one that is not, if the look came so far.
    next_ms: Option<u64>,
    /// There may be more that are too old.
    is_cut: bool,
}

impl Expire {
    /// Messages in their order that are too old, from `from` on, which is moved to where the next look begins.
    fn messages(tx: &mut Tx<'_>, record: &QueueRecord, from: &mut Sequence) -> Result<Found, Fault> {
        let (now_ms, retention_ms) = (tx.now().0, retention_ms(record));
        let mut found = Found::default();
        let mut damaged = None;
        let start = message_key(record.id, *from);
        let budget = SLICE_EXAMINED_MAX;
        let end =
            tx.scan(MESSAGES, Bound::Included(&start), Direction::Forward, budget, &mut |key, message| {
                let Some(sequence) = sequence_in(record.id, key) else { return ControlFlow::Break(()) };
                *from = sequence;
                match front(message.value) {
                    Ok(front) if front.kept_from_ms.saturating_add(retention_ms) > now_ms => {
                        found.next_ms = Some(front.kept_from_ms.saturating_add(retention_ms));
                        return ControlFlow::Break(());
                    }
                    Ok(_) => found.expired.push(sequence),
                    Err(fault) => damaged = Some(fault),
                }
                found.is_cut = found.expired.len() >= SLICE_COUNT;
                if found.is_cut || damaged.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        if let Some(fault) = damaged {
            return Err(fault);
        }
        if let ScanEnd::Continue(key) = end {
            found.is_cut = true;
            *from = sequence_in(record.id, &key).map_or(*from, Sequence::next);
        }
        Ok(found)
    }

    /// Dead letters that are too old, by the time of their first sending; the same. Gives the keys of their entries too.
    fn early(
        tx: &mut Tx<'_>,
        record: &QueueRecord,
        from: &mut (u64, Sequence),
    ) -> Result<(Found, Vec<Vec<u8>>), Fault> {
        let (now_ms, retention_ms) = (tx.now().0, retention_ms(record));
        let mut found = Found::default();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let start = early_key(record.id, from.0, from.1);
        let budget = SLICE_EXAMINED_MAX;
        let end = tx.scan(EARLY, Bound::Included(&start), Direction::Forward, budget, &mut |key, _| {
            let Some((kept_from_ms, sequence)) = early_of(record.id, key) else {
                return ControlFlow::Break(());
            };
            *from = (kept_from_ms, sequence);
            if kept_from_ms.saturating_add(retention_ms) > now_ms {
                found.next_ms = Some(kept_from_ms.saturating_add(retention_ms));
                return ControlFlow::Break(());
            }
            keys.push(key.to_vec());
            found.expired.push(sequence);
            found.is_cut = keys.len() >= SLICE_COUNT;
            if found.is_cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let ScanEnd::Continue(key) = end {
            found.is_cut = true;
            *from = early_of(record.id, &key).unwrap_or(*from);
        }
        Ok((found, keys))
    }

    /// Ids whose time is over. Gives when the next one's will be.
    fn forget(&self, tx: &mut Tx<'_>, key: &QueueKey, resident: &Resident) -> Result<Option<u64>, Fault> {
        let now = tx.now();
        let mut count = 0;
        for id in resident.forgettable(now).take(SLICE_COUNT) {
            let (table, key) = (TableId(id.table), id_key(resident.record.id, &id.hash));
            // An id that was used anew since has a later entry of its own.
            if expiry_ms(tx, table, &key)?.is_some_and(|expiry_ms| expiry_ms <= now.0) {
                tx.delete(table, &key);
            }
            count += 1;
        }
        if count > 0 {
            let (key, id) = (key.clone(), self.id);
            tx.then::<Queues>(move |queues, _| {
                if let Some(resident) = queues.find_mut(&key, id) {
                    resident.forgotten(count);
                }
            });
        }
        Ok(resident.forgettable(Timestamp(u64::MAX)).nth(count).map(|id| id.expiry_ms))
    }
}

/// Until when an id is remembered. Errors: `Fault::Corrupt`.
fn expiry_ms(tx: &mut Tx<'_>, table: TableId, key: &[u8]) -> Result<Option<u64>, Fault> {
    let read = |value: &[u8]| match table {
        DEDUP => Deduplication::decode(value).map(|id| id.expiry_ms),
        _ => Attempt::decode(value).map(|id| id.expiry_ms),
    };
    tx.get_ref(table, key, |record| record.map(|record| read(record.value)).transpose())?
}

impl QueueOperation for Expire {
    /// Whether there may be more to do.
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(MESSAGES, &message_key(self.id, self.marks.from));
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<bool>, Fault> {
        let record = &resident.record;
        let id = self.id;
        if record.id != id {
            // Another queue has the name.
            unwatch(tx, id);
            return Ok(Outcome::Commit(false));
        }
        // As they are now: a dead letter may have come since the queue was found to be due.
        let watched = tx.resident::<Watch>().and_then(|watch| watch.queues.get(&id));
        let mut marks = watched.map_or(self.marks, |watched| watched.marks);
        marks.from = marks.from.max(record.purged_below);
        let found = Expire::messages(tx, record, &mut marks.from)?;
        let (early, entries) = Expire::early(tx, record, &mut marks.early)?;
        let mut gone: Vec<Removed> = Vec::new();
        let mut expired: Vec<Sequence> = found.expired.iter().chain(&early.expired).copied().collect();
        expired.sort_unstable();
        expired.dedup();
        for sequence in expired.into_iter().filter(|sequence| *sequence >= record.purged_below) {
            gone.extend(delete(tx, record, sequence)?);
        }
        entries.iter().for_each(|entry| tx.delete(EARLY, entry));
        let forget_ms = self.forget(tx, key, resident)?;
        let now_ms = tx.now().0;
        let is_cut = found.is_cut || early.is_cut;
        // What is sent from now on is not over earlier than this.
        let last_ms = now_ms.saturating_add(retention_ms(record));
        let fifo_ms = record.attributes.fifo.map(|_| now_ms.saturating_add(FIFO_LOOK_MS));
        let times =
            [Some(last_ms), found.next_ms, early.next_ms, forget_ms, fifo_ms, is_cut.then_some(now_ms)];
        let look_ms = times.into_iter().flatten().min().unwrap_or(last_ms);
        if !gone.is_empty() {
            removed(tx, key, id, gone);
        }
        let key = key.clone();
        let watched = key.clone();
        tx.then::<Watch>(move |watch, _| watch.set(id, watched, look_ms, Some(marks)));
        tx.then::<Queues>(move |queues, _| {
            if let Some(Messages::Standard(queue)) = queues.find_mut(&key, id).map(Resident::state_mut) {
                queue.forget_below(marks.from.0);
            }
        });
        Ok(Outcome::Commit(is_cut || look_ms <= now_ms))
    }
}

#[cfg(test)]
mod tests {
    use aws::account::AccountId;

    use super::*;

    fn key(name: &str) -> QueueKey {
        QueueKey::new(AccountId::parse("000000000001").expect("digits"), name)
    }

    fn due(watch: &Watch, now_ms: u64) -> Vec<u64> {
        watch.due(Timestamp(now_ms)).map(|(id, _)| id.0).collect()
    }

    #[test]
    fn queues_are_looked_at_in_the_order_of_their_times() {
        let mut watch = Watch::default();
        watch.set(QueueId(1), key("a"), 30, None);
        watch.set(QueueId(2), key("b"), 10, None);
        watch.set(QueueId(3), key("c"), 20, None);
        assert_eq!((due(&watch, 9), due(&watch, 20), due(&watch, 30)), (vec![], vec![2, 3], vec![2, 3, 1]));
        let marks = Marks { from: Sequence(7), early: (20, Sequence(5)) };
        watch.set(QueueId(2), key("b"), 40, Some(marks));
        watch.remove(QueueId(3));
        assert_eq!(due(&watch, 100), [1, 2]);
        watch.set(QueueId(1), key("a"), 35, None);
        assert_eq!((due(&watch, 34), due(&watch, 35)), (vec![], vec![1]));
        assert_eq!(watch.queues[&QueueId(2)].marks, marks, "a look goes on where the last one came to");
    }

    #[test]
    fn a_dead_letter_is_looked_at_when_it_is_over_however_old_it_is() {
        let mut watch = Watch::default();
        let marks = Marks { from: Sequence(7), early: (20, Sequence(5)) };
        watch.set(QueueId(2), key("b"), 40, Some(marks));
        watch.came(QueueId(2), 50, (30, Sequence(8)));
        watch.came(QueueId(9), 1, (1, Sequence(9)));
        assert_eq!((due(&watch, 39), due(&watch, 40)), (vec![], vec![2]));
        assert_eq!(watch.queues[&QueueId(2)].marks, marks);
        watch.came(QueueId(2), 35, (15, Sequence(9)));
        assert_eq!((due(&watch, 34), due(&watch, 35)), (vec![], vec![2]));
        assert_eq!(watch.queues[&QueueId(2)].marks.early, (15, Sequence(9)));
    }
}
