//! What follows once every shard has filled or swept an index: the table's record says so.
//! Invariant: an index is read from only after every shard has filled it, and leaves the record only after every shard has
//! swept it, so that what the record does not name has nothing stored.
//!
//! The first shard's core does this for all: what it looks at is on every shard.

use std::ops::Bound;

use plan::{Context, Plan};
use store::{Direction, Fault, ShardId, TableId};

use super::change_table::{Also, Decision, change, find_number};
use super::tick::{Background, Work};
use crate::model::schema;
use crate::model::table::{IndexNumber, IndexState, Table, TableNumber};
use crate::store::pending::{
    BACKFILL, DROPPED, Dropped, EXPIRY_TIMES, Progress, backfill_key, backfill_of, dropped_key, dropped_of,
};
use crate::store::table::table_key;

/// Records that one look looks at.
const LOOK_EXAMINED_MAX: u64 = 1_000;

/// What became of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every shard has filled it.
    Filled,
    /// Every shard has swept it.
    Swept,
}

/// The change of a table's record that is due, if one is.
pub fn look(_: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    if cx.store.shards().next() != Some(shard) {
        return Ok(None);
    }
    let Some((table, index, outcome)) = find(cx, shard)? else { return Ok(None) };
    let view = cx.store.view(shard)?;
    // Without a record the table is on its way out, and these records with it.
    let Some(found) = find_number(&view, table)? else { return Ok(None) };
    drop(view);
    let work: Work = Box::new(move |cx, background, then| {
        conclude(cx, &found, index, outcome, move |cx, done| then(cx, &background, done.map(|()| true)))
    });
    Ok(Some(work))
}

/// The first index that every shard is done with. What is done stays done, so that the shards need not be looked at in one
/// instant.
fn find(cx: &Context<'_>, shard: ShardId) -> Result<Option<(TableNumber, IndexNumber, Outcome)>, Fault> {
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(BACKFILL, Bound::Unbounded, Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        let (table, index) = backfill_of(key)?;
        let is_done = |value: &[u8]| Progress::decode(value).map(|progress| progress.done);
        if index != EXPIRY_TIMES
            && is_done(record.value)?
            && find_number(&view, table)?.is_some()
            && everywhere(cx, BACKFILL, key, is_done)?
        {
            return Ok(Some((table, index, Outcome::Filled)));
        }
        if scan.examined() > LOOK_EXAMINED_MAX {
            break;
        }
    }
    let mut scan = view.scan(DROPPED, Bound::Unbounded, Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        let (table, index) = dropped_of(key)?;
        let is_done = |value: &[u8]| Dropped::decode(value).map(|dropped| dropped.done);
        if let Some(index) = index
            && is_done(record.value)?
            && find_number(&view, table)?.is_some()
            && everywhere(cx, DROPPED, key, is_done)?
        {
            return Ok(Some((table, index, Outcome::Swept)));
        }
        if scan.examined() > LOOK_EXAMINED_MAX {
            break;
        }
    }
    Ok(None)
}

/// Whether the record of a key says on every shard that it is done.
fn everywhere(
    cx: &Context<'_>,
    table: TableId,
    key: &[u8],
    is_done: impl Fn(&[u8]) -> Result<bool, Fault>,
) -> Result<bool, Fault> {
    for shard in cx.store.shards() {
        let view = cx.store.view(shard)?;
        let Some(record) = view.get(table, key)? else { return Ok(false) };
        if !is_done(record.value)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes what became of an index into its table's record. A table or index that is gone needs nothing.
pub fn conclude<F>(cx: &mut Context<'_>, table: &Table, index: IndexNumber, outcome: Outcome, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<(), Fault>) -> Plan + 'static,
{
    let number = table.number;
    let decide = move |_: &mut Context<'_>, found: Option<Table>| -> Result<Decision<()>, Fault> {
        let Some(mut table) = found.filter(|table| table.number == number) else {
            return Ok(Decision::Keep(()));
        };
        let Some(place) = table.globals.iter().position(|global| global.number == index) else {
            return Ok(Decision::Keep(()));
        };
        let also = match (outcome, table.globals[place].state) {
            (Outcome::Filled, IndexState::Creating) => {
                table.globals[place].state = IndexState::Active;
                Also::delete(BACKFILL, backfill_key(number, index).to_vec())
            }
            (Outcome::Swept, IndexState::Deleting) => {
                table.globals.remove(place);
                table.definitions =
                    schema::needed(&table.definitions, &table.key, &table.locals, &table.globals);
                Also::delete(DROPPED, dropped_key(number, Some(index)))
            }
            _ => return Ok(Decision::Keep(())),
        };
        Ok(Decision::Write(Box::new(table), vec![also], ()))
    };
    change(cx, table_key(&table.account, &table.name), decide, then)
}
