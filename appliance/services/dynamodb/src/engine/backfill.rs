//! Filling an index that was added to a table that has items, and entering the expiry times of items that were there
//! before a table got an expiry attribute.
//! Invariant: from the commit of the change on every write of the table maintains the index by itself; a slice enters what
//! items say at that moment, on the shard's own thread, so it is right whatever was written since. Where it goes on is
//! written in the slice's batch.
//! Leaves to finish.rs: what follows once every shard is done.
//!
//! A transaction that was prepared before the change holds its keys, and a scan that meets one waits for its end.

use std::ops::{Bound, ControlFlow};

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Timestamp, Tx};

use super::apply::count;
use super::change_table::find_number_in;
use super::entry::IndexOf;
use super::tick::{Background, Work, submit};
use crate::model::keys::Key;
use crate::model::table::{IndexNumber, IndexState, Table, TableNumber};
use crate::store::ITEMS;
use crate::store::due::{self, DUE, Entry};
use crate::store::index_key::place;
use crate::store::pending::{BACKFILL, EXPIRY_TIMES, Progress, backfill_key, backfill_of};
use crate::value::ItemRef;

/// Items that one slice looks at.
const SLICE_COUNT: usize = 200;
/// Bytes of items that one slice looks at.
const SLICE_BYTES_MAX: usize = 1 << 20;
/// Keys that one slice looks at, deleted ones included.
const SLICE_EXAMINED_MAX: u64 = 2_000;
/// BACKFILL records that one look passes over because they wait for other shards.
const LOOK_EXAMINED_MAX: u64 = 1_000;

/// The next slice on a shard, if one is due.
pub fn look(_: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(BACKFILL, Bound::Unbounded, Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        if !Progress::decode(record.value)?.done {
            let (table, index) = backfill_of(key)?;
            let fill = Fill { table, index };
            // There may be another one behind it, unless this one cannot go on: then its table is on its way out.
            return Ok(Some(submit(shard, fill, |_, filled| !matches!(filled, Filled::Idle))));
        }
        if scan.examined() > LOOK_EXAMINED_MAX {
            break;
        }
    }
    Ok(None)
}

/// Does one slice on every shard, so that a small table has its index at once. `then` hears whether all are done.
pub fn at_once<F>(cx: &Context<'_>, table: TableNumber, index: IndexNumber, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, bool) -> Plan + 'static,
{
    let parts: Vec<(ShardId, Fill)> = cx.store.shards().map(|shard| (shard, Fill { table, index })).collect();
    Plan::gather(parts, move |cx, outcomes| {
        // A shard that could not go on goes on in its own turn.
        let is_done = outcomes.iter().all(|outcome| matches!(outcome, Ok(Filled::All)));
        then(cx, is_done)
    })
}

/// One slice.
struct Fill {
    table: TableNumber,
    index: IndexNumber,
}

/// How a slice ended.
enum Filled {
    /// There may be more.
    Part,
    /// This shard is done.
    All,
    /// There is nothing to do here any more.
    Idle,
}

/// What a slice found to enter.
#[derive(Default)]
struct Entries {
    /// Of an index: the entry, its value, and how many bytes the index shows of the item.
    index: Vec<(Vec<u8>, Vec<u8>, u32)>,
    /// Keys of DUE.
    due: Vec<Vec<u8>>,
}

/// What is filled.
enum Target<'t> {
    Index(IndexOf<'t>),
    Expiry(&'t str),
}

impl Fill {
    fn target<'t>(&self, table: &'t Table) -> Option<Target<'t>> {
        if self.index == EXPIRY_TIMES {
            return table.time_to_live.as_ref().map(|setting| Target::Expiry(&setting.attribute));
        }
        let index = IndexOf::find(table, self.index)?;
        (index.index.state == IndexState::Creating).then_some(Target::Index(index))
    }

    /// Looks at items from behind `cursor` on. Gives what they enter, and the key behind which to go on if there may be more.
    fn collect(
        &self,
        tx: &mut Tx<'_>,
        table: &Table,
        target: &Target<'_>,
        cursor: &[u8],
    ) -> Result<(Entries, Option<Vec<u8>>), Fault> {
        let front = self.table.0.to_be_bytes();
        let start = if cursor.is_empty() { Bound::Included(&front[..]) } else { Bound::Excluded(cursor) };
        let mut entries = Entries::default();
        let (mut items, mut bytes) = (0, 0);
        let mut last: Option<Vec<u8>> = None;
        let mut damaged = None;
        let end = tx.scan(ITEMS, start, Direction::Forward, SLICE_EXAMINED_MAX, &mut |key, record| {
            if !key.starts_with(&front) {
                return ControlFlow::Break(());
            }
            if let Err(fault) = enter(&mut entries, table, target, key, record.value) {
                damaged = Some(fault);
                return ControlFlow::Break(());
            }
            items += 1;
            bytes += record.value.len();
            if items >= SLICE_COUNT || bytes >= SLICE_BYTES_MAX {
                last = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(fault) = damaged {
            return Err(fault);
        }
        Ok(match end {
            ScanEnd::Continue(key) => (entries, Some(key)),
            ScanEnd::Stopped | ScanEnd::Done => (entries, last),
        })
    }

    fn write(
        &self,
        tx: &mut Tx<'_>,
        table: &Table,
        target: &Target<'_>,
        entries: Entries,
    ) -> Result<(), Fault> {
        let mut added = [0, 0];
        if let Target::Index(index) = target {
            let store_table = index.store_table();
            for (key, value, bytes) in entries.index {
                // A write since the change has entered and counted it.
                if tx.get_ref(store_table, &key, |record| record.is_none())? {
                    tx.put(store_table, &key, &value, Vec::new(), false);
                    added = [added[0] + 1, added[1] + i64::from(bytes)];
                }
            }
            count(tx, table, self.index, added)?;
        }
        for key in entries.due {
            tx.put(DUE, &key, &[], Vec::new(), false);
        }
        Ok(())
    }
}

/// Adds what one item enters.
fn enter(
    entries: &mut Entries,
    table: &Table,
    target: &Target<'_>,
    item_key: &[u8],
    value: &[u8],
) -> Result<(), Fault> {
    let item = ItemRef::new(value)?;
    match target {
        Target::Index(index) => {
            let key = Key::of_stored(table, item)?;
            if let Some(entry) = index.entry_key(table, &key, item) {
                entries.index.push((entry, place(key.sort()), index.projected_bytes(table, item)));
            }
        }
        Target::Expiry(attribute) => {
            let when: Option<Timestamp> = due::expiry(item, attribute);
            entries.due.extend(when.map(|when| due::entry_key(when, Entry::Item(item_key))));
        }
    }
    Ok(())
}

impl Operation for Fill {
    type Reply = Filled;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BACKFILL, &backfill_key(self.table, self.index));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Filled>, Fault> {
        let key = backfill_key(self.table, self.index);
        let progress =
            tx.get_ref(BACKFILL, &key, |record| record.map(|record| Progress::decode(record.value)))?;
        let progress = match progress.transpose()? {
            None => return Ok(Outcome::Rollback(Filled::Idle)),
            Some(Progress { done: true, .. }) => return Ok(Outcome::Rollback(Filled::All)),
            Some(progress) => progress,
        };
        let Some(table) = find_number_in(tx, self.table)? else {
            // The sweep of the table takes the record of its progress too.
            return Ok(Outcome::Rollback(Filled::Idle));
        };
        let Some(target) = self.target(&table) else {
            return Ok(Outcome::Rollback(Filled::Idle));
        };
        let (entries, after) = self.collect(tx, &table, &target, &progress.cursor)?;
        self.write(tx, &table, &target, entries)?;
        let is_done = after.is_none();
        if is_done && self.index == EXPIRY_TIMES {
            // Nobody waits for the other shards here.
            tx.delete(BACKFILL, &key);
            return Ok(Outcome::Commit(Filled::All));
        }
        let progress = Progress { done: is_done, cursor: after.unwrap_or_default() };
        tx.put(BACKFILL, &key, &progress.encode(), Vec::new(), false);
        Ok(Outcome::Commit(if is_done { Filled::All } else { Filled::Part }))
    }
}
