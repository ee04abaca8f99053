//! What a changed item writes: itself, its index entries, its expiry, its stream record, and the totals it is part of.
//! Invariant: this is the one place that writes ITEMS, LOCAL, GLOBAL, DUE of items, STREAM, STATS and COLLECTIONS for a
//! changed item, all in the operation that changes it, so that no batch holds one without the others.
//! Leaves to item_write.rs: whether the item may change. To backfill.rs: entries of an index that is being filled.

use store::{Fault, Tx};

use super::capacity::{WriteCost, index_units};
use super::entry::IndexOf;
use crate::model::keys::Key;
use crate::model::table::{IndexNumber, IndexState, Table};
use crate::store::index_key::place;
use crate::store::stream::Actor;
use crate::store::{COLLECTIONS, ITEMS, STATS, TABLE_ITSELF, collection_key, due, stats_key, stream};
use crate::value::ItemRef;

/// What an item was, where nothing but the item follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// Bytes as AWS counts them.
    pub bytes: u32,
    /// Its encoding is that of the item that follows.
    pub same: bool,
}

/// Whether more than the item itself follows from a change in this table.
#[must_use]
pub fn has_followers(table: &Table) -> bool {
    !table.locals.is_empty()
        || !table.globals.is_empty()
        || table.time_to_live.is_some()
        || table.stream.as_ref().is_some_and(|stream| stream.enabled)
}

/// Writes all that follows from an item's change from `old` to `new`; what they have in common stays untouched.
/// Errors: those of the transaction.
pub fn put_effects(
    tx: &mut Tx<'_>,
    table: &Table,
    key: &Key,
    old: Option<ItemRef<'_>>,
    new: Option<ItemRef<'_>>,
    by: Actor,
) -> Result<WriteCost, Fault> {
    let same = |old: ItemRef<'_>| new.is_some_and(|new| new.as_bytes() == old.as_bytes());
    let measured = old.map(|old| Measured { bytes: old.aws_bytes(), same: same(old) });
    let mut cost = put_item(tx, table, key, measured, new)?;
    if !table.locals.is_empty() {
        let collection = collection_key(table.number, key.hash());
        let change = i64::from(cost.new_bytes) - i64::from(cost.old_bytes);
        if change != 0 {
            tx.add(COLLECTIONS, &collection, [change, 0])?;
        }
        let [bytes, _] = tx.counter(COLLECTIONS, &collection)?;
        cost.collection_bytes = Some(u64::try_from(bytes).unwrap_or(0));
    }
    if measured.map_or(new.is_none(), |old| old.same) {
        return Ok(cost);
    }
    for index in IndexOf::all(table).filter(|index| index.index.state != IndexState::Deleting) {
        let units = move_entry(tx, table, index, key, old, new)?;
        if units > 0 {
            cost.indexes.push((index.index.number, units));
        }
    }
    due::move_entry(tx, table, key.store_key(), old, new);
    stream::append(tx, table, key.attributes(), old, new, by)?;
    Ok(cost)
}

/// The part of `put_effects` that every table has: the item and the table's totals.
pub(super) fn put_item(
    tx: &mut Tx<'_>,
    table: &Table,
    key: &Key,
    old: Option<Measured>,
    new: Option<ItemRef<'_>>,
) -> Result<WriteCost, Fault> {
    let old_bytes = old.map_or(0, |old| old.bytes);
    let new_bytes = new.map_or(0, |new| new.aws_bytes());
    match new {
        Some(_) if old.is_some_and(|old| old.same) => {}
        Some(new) => tx.put(ITEMS, key.store_key(), new.as_bytes(), Vec::new(), false),
        None if old.is_some() => tx.delete(ITEMS, key.store_key()),
        None => {}
    }
    let items = i64::from(new.is_some()) - i64::from(old.is_some());
    count(tx, table, TABLE_ITSELF, [items, i64::from(new_bytes) - i64::from(old_bytes)])?;
    Ok(WriteCost { old_bytes, new_bytes, ..WriteCost::default() })
}

/// Moves an item's entry in one index. Gives the write units.
fn move_entry(
    tx: &mut Tx<'_>,
    table: &Table,
    index: IndexOf<'_>,
    key: &Key,
    old: Option<ItemRef<'_>>,
    new: Option<ItemRef<'_>>,
) -> Result<u32, Fault> {
    let old = old.and_then(|item| Some((index.entry_key(table, key, item)?, item)));
    let new = new.and_then(|item| Some((index.entry_key(table, key, item)?, item)));
    // An index that is being filled may not have the entry of an item from before: filling it counts that one.
    let had = match &old {
        Some((entry, _)) if index.index.state == IndexState::Creating => {
            tx.get_ref(index.store_table(), entry, |record| record.is_some())?
        }
        Some(_) => true,
        None => false,
    };
    let bytes = |item: ItemRef<'_>| index.projected_bytes(table, item);
    let old_bytes = old.as_ref().map(|(_, item)| bytes(*item));
    let new_bytes = new.as_ref().map(|(_, item)| bytes(*item));
    let moved = match (&old, &new) {
        (Some((old, _)), Some((new, _))) => old != new,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    };
    if moved {
        if let Some((entry, _)) = &old {
            tx.delete(index.store_table(), entry);
        }
        if let Some((entry, _)) = &new {
            tx.put(index.store_table(), entry, &place(key.sort()), Vec::new(), false);
        }
    }
    if moved || had {
        let held = old_bytes.filter(|_| had);
        let items = i64::from(new.is_some()) - i64::from(had);
        let change = i64::from(new_bytes.unwrap_or(0)) - i64::from(held.unwrap_or(0));
        count(tx, table, index.index.number, [items, change])?;
    }
    let changed = match (&old, &new) {
        (Some((_, old)), Some((_, new))) => !index.shows_the_same(table, *old, *new),
        _ => moved,
    };
    Ok(index_units(old_bytes, new_bytes, moved, changed))
}

/// Adds to the totals of a table or an index.
pub fn count(tx: &mut Tx<'_>, table: &Table, index: IndexNumber, change: [i64; 2]) -> Result<(), Fault> {
    if change == [0, 0] {
        return Ok(());
    }
    tx.add(STATS, &stats_key(table.number, index), change)
}
