//! Taking away what is left of dropped tables and indexes, a bounded slice at a time.
//! Invariant: nothing of a live table is touched; what a dropped table had is gone from a shard before its DROPPED record
//! is, so that its number is not drawn again earlier.
//! Leaves to finish.rs: taking an index that was swept everywhere out of its table's record. To trim.rs: streams.
//!
//! Nothing can enter a range that was swept: writes find no fence, or one of a later epoch. Only a transaction that was
//! prepared before the drop still holds keys, and a scan that meets one waits for its end.

use std::ops::{Bound, ControlFlow};

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Tx};

use super::tick::{Background, Work, submit};
use crate::model::table::{IndexNumber, TableNumber};
use crate::store::due::{self, DUE, Entry};
use crate::store::pending::{BACKFILL, DROPPED, Dropped, dropped_key, dropped_of};
use crate::store::{COLLECTIONS, GLOBAL, ITEMS, LOCAL, STATS};

/// Records that one slice takes away.
const SLICE_COUNT: usize = 500;
/// Keys that one slice looks at, those that are gone already included.
const SLICE_EXAMINED_MAX: u64 = 4_000;
/// Bytes of keys that one slice takes away; a batch of the store holds several times as much.
const SLICE_BYTES_MAX: usize = 512 << 10;
/// DROPPED records that one look passes over because they wait for other shards.
const LOOK_EXAMINED_MAX: u64 = 1_000;

/// How far a sweep has come: which of the ranges, and behind which key of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    range: usize,
    after: Vec<u8>,
}

/// The next slice of a sweep on a shard, if one is due.
pub fn look(background: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(DROPPED, Bound::Unbounded, Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        let dropped = Dropped::decode(record.value)?;
        if !dropped.done {
            let key = key.to_vec();
            let place = background.with(shard, |marks| marks.sweeps.get(&key).cloned().unwrap_or_default());
            let (table, index) = dropped_of(&key)?;
            return Ok(Some(submit(shard, Sweep { table, index, dropped, place }, move |marks, swept| {
                match swept {
                    Swept::To(place) => marks.sweeps.insert(key, place),
                    Swept::All => marks.sweeps.remove(&key),
                };
                // There may be another one behind it.
                true
            })));
        }
        if scan.examined() > LOOK_EXAMINED_MAX {
            break;
        }
    }
    Ok(None)
}

/// Sweeps an index that was just dropped by one slice on every shard, so that a small one is gone at once. `then` hears
/// whether nothing is left anywhere.
pub fn at_once<F>(cx: &Context<'_>, table: TableNumber, index: IndexNumber, dropped: Dropped, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, bool) -> Plan + 'static,
{
    let sweep = Sweep { table, index: Some(index), dropped, place: Place::default() };
    let parts: Vec<(ShardId, Sweep)> = cx.store.shards().map(|shard| (shard, sweep.clone())).collect();
    Plan::gather(parts, move |cx, outcomes| {
        // A shard that could not go on goes on in its own turn.
        let is_done = outcomes.iter().all(|outcome| matches!(outcome, Ok(Swept::All)));
        then(cx, is_done)
    })
}

/// One slice.
#[derive(Clone)]
struct Sweep {
    table: TableNumber,
    index: Option<IndexNumber>,
    dropped: Dropped,
    place: Place,
}

/// How a slice ended.
enum Swept {
    /// There may be more behind this place.
    To(Place),
    /// Nothing is left.
    All,
}

impl Sweep {
    /// What is swept, in order: each table of the store and the front of the keys. Items come first, since transactions
    /// that were prepared before the drop hold some, and what else they write comes with these.
    fn ranges(&self) -> Vec<(TableId, Vec<u8>)> {
        let front = dropped_key(self.table, self.index);
        let tables: &[TableId] = match self.index {
            None => &[ITEMS, LOCAL, GLOBAL, COLLECTIONS, STATS, BACKFILL],
            Some(_) => &[LOCAL, GLOBAL, STATS],
        };
        tables.iter().map(|table| (*table, front.clone())).collect()
    }

    /// Takes away one range from `after` on. Gives the key behind which to go on, or nothing at the range's end.
    fn sweep_range(
        &self,
        tx: &mut Tx<'_>,
        table: TableId,
        front: &[u8],
        after: &[u8],
    ) -> Result<Option<Vec<u8>>, Fault> {
        let start = if after.is_empty() { Bound::Included(front) } else { Bound::Excluded(after) };
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        let mut is_end = false;
        let mut damaged = None;
        let end = tx.scan(table, start, Direction::Forward, SLICE_EXAMINED_MAX, &mut |key, record| {
            if !key.starts_with(front) {
                is_end = true;
                return ControlFlow::Break(());
            }
            if let Some(attribute) = self.dropped.expiry.as_deref().filter(|_| table == ITEMS) {
                match due::expiry_of_stored(record.value, attribute) {
                    Ok(Some(when)) => entries.push(due::entry_key(when, Entry::Item(key))),
                    Ok(None) => {}
                    Err(fault) => {
                        damaged = Some(fault);
                        return ControlFlow::Break(());
                    }
                }
            }
            bytes += key.len();
            keys.push(key.to_vec());
            if keys.len() >= SLICE_COUNT || bytes >= SLICE_BYTES_MAX {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(fault) = damaged {
            return Err(fault);
        }
        for key in &keys {
            tx.delete(table, key);
        }
        for entry in &entries {
            tx.delete(DUE, entry);
        }
        Ok(match end {
            ScanEnd::Continue(key) => Some(key),
            ScanEnd::Stopped if !is_end => keys.pop(),
            ScanEnd::Stopped | ScanEnd::Done => None,
        })
    }

    /// Says that nothing is left: of an index in its record, of a table by taking its records away.
    fn finish(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let front = dropped_key(self.table, self.index);
        if self.index.is_some() {
            // It may have been taken away with its table meanwhile.
            if tx.get(DROPPED, &front)?.is_some() {
                let done = Dropped { done: true, ..self.dropped.clone() };
                tx.put(DROPPED, &front, &done.encode(), Vec::new(), false);
            }
            return Ok(());
        }
        let mut keys: Vec<Vec<u8>> = Vec::new();
        tx.scan(DROPPED, Bound::Included(&front), Direction::Forward, u64::MAX, &mut |key, _| {
            if !key.starts_with(&front) {
                return ControlFlow::Break(());
            }
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        for key in &keys {
            tx.delete(DROPPED, key);
        }
        Ok(())
    }
}

impl Operation for Sweep {
    type Reply = Swept;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        if let Some((table, front)) = self.ranges().get(self.place.range) {
            declare(*table, if self.place.after.is_empty() { front } else { &self.place.after });
        }
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Swept>, Fault> {
        let ranges = self.ranges();
        let mut after = self.place.after.clone();
        for (number, (table, front)) in ranges.iter().enumerate().skip(self.place.range) {
            if let Some(after) = self.sweep_range(tx, *table, front, &after)? {
                return Ok(Outcome::Commit(Swept::To(Place { range: number, after })));
            }
            after.clear();
        }
        self.finish(tx)?;
        Ok(Outcome::Commit(Swept::All))
    }
}
