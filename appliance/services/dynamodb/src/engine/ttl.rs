//! What is due: items whose time is over are deleted, tokens are forgotten.
//! Invariant: an item is deleted only if it says at that moment, under the attribute that its table names at that moment,
//! that its time is over, and no more than five years ago; all that follows from a delete follows, and its stream record
//! says who did it. An entry that does not tell the truth any more is taken away without its item.
//! Leaves to engine/apply.rs: what follows from a delete.
//!
//! Entries are found from a mark on, since deleted keys would be walked over again at each look otherwise, and now and then
//! from the very start: an item may be written with a time that is over, and a transaction may commit late.

use std::ops::Bound;

use plan::Context;
use store::{Direction, Fault, Operation, Outcome, ShardId, TableId, Timestamp, Tx};

use super::apply::put_effects;
use super::change_table::find_number_in;
use super::tick::{Background, Work, submit};
use crate::model::keys::Key;
use crate::model::table::{Table, TableNumber};
use crate::store::due::{DUE, Entry, entry_key, entry_of, expiry};
use crate::store::stream::Actor;
use crate::store::token::TokenRecord;
use crate::store::{ITEMS, TOKENS};
use crate::value::ItemRef;

/// Entries that one slice settles.
const SLICE_COUNT: usize = 100;
/// Bytes of items after whose deletion a slice ends: their old images are written to streams.
const SLICE_BYTES_MAX: usize = 1 << 20;
/// Keys that one look looks at.
const LOOK_EXAMINED_MAX: u64 = 10_000;
/// After this time everything is looked at from the very start again.
const WHOLE_LOOK_MS: u64 = 30_000;
/// Times that are further back are taken for something else than an expiry time.
const PAST_MS_MAX: u64 = 5 * 365 * 24 * 60 * 60 * 1_000;

/// Where to look.
#[derive(Default)]
pub struct Mark {
    /// Behind this key of DUE.
    after: Vec<u8>,
    /// From then on from the very start.
    whole_look: Timestamp,
}

/// The next slice on a shard, if something is due.
pub fn look(background: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let now = cx.now;
    let after = background.with(shard, |marks| {
        if marks.due.whole_look <= now {
            marks.due = Mark { after: Vec::new(), whole_look: now.plus_ms(WHOLE_LOOK_MS) };
        }
        marks.due.after.clone()
    });
    let start = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after.as_slice()) };
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(DUE, start, Direction::Forward);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut last = Vec::new();
    while keys.len() < SLICE_COUNT && scan.examined() < LOOK_EXAMINED_MAX {
        let Some((key, record)) = scan.step()? else { break };
        if entry_of(key)?.0 > now {
            break;
        }
        last.clear();
        last.extend_from_slice(key);
        if record.is_some() {
            keys.push(key.to_vec());
        }
    }
    let is_cut = keys.len() >= SLICE_COUNT || scan.examined() >= LOOK_EXAMINED_MAX;
    if keys.is_empty() {
        if !last.is_empty() {
            background.with(shard, |marks| marks.due.after = last);
        }
        let more: Work = Box::new(|cx, background, then| then(cx, &background, Ok(true)));
        return Ok(is_cut.then_some(more));
    }
    Ok(Some(submit(shard, Settle { now, keys }, move |marks, settled| {
        if let Some(last) = settled.last {
            marks.due.after = last;
        }
        is_cut || settled.is_cut
    })))
}

/// Settles entries that are due.
struct Settle {
    now: Timestamp,
    keys: Vec<Vec<u8>>,
}

struct Settled {
    /// The last entry that was settled.
    last: Option<Vec<u8>>,
    /// Not all were.
    is_cut: bool,
}

impl Settle {
    /// Settles one entry. Gives the bytes of the item that was deleted.
    fn settle(&self, tx: &mut Tx<'_>, known: &mut Known, key: &[u8]) -> Result<usize, Fault> {
        let (when, entry) = entry_of(key)?;
        match entry {
            Entry::Token(token) => {
                let record = tx.get_ref(TOKENS, token, |record| {
                    record.map(|record| TokenRecord::decode(record.value))
                })?;
                // A token that was used anew has a later entry of its own.
                if record.transpose()?.is_some_and(|record| record.expires <= self.now) {
                    tx.delete(TOKENS, token);
                }
            }
            Entry::Item(item_key) => {
                if let Some((table, item)) = self.expired(tx, known, when, item_key)? {
                    let item = ItemRef::new(&item)?;
                    let key = Key::of_stored(&table, item)?;
                    put_effects(tx, &table, &key, Some(item), None, Actor::TimeToLive)?;
                    tx.delete(DUE, &entry_key(when, entry));
                    return Ok(item.as_bytes().len());
                }
            }
        }
        tx.delete(DUE, key);
        Ok(0)
    }

    /// The item of an entry and its table, if it is to go.
    fn expired(
        &self,
        tx: &mut Tx<'_>,
        known: &mut Known,
        when: Timestamp,
        item_key: &[u8],
    ) -> Result<Option<(Table, Vec<u8>)>, Fault> {
        let Some(number) = item_key.first_chunk::<4>() else {
            return Err(Fault::corrupt("an entry of DUE names no table".into()));
        };
        let Some(table) = known.table(tx, TableNumber(u32::from_be_bytes(*number)))? else { return Ok(None) };
        let Some(setting) = table.time_to_live.clone() else { return Ok(None) };
        if when.plus_ms(PAST_MS_MAX) < self.now {
            return Ok(None);
        }
        let found = tx.get_ref(ITEMS, item_key, |record| record.map(|record| record.value.to_vec()))?;
        let Some(item) = found else { return Ok(None) };
        let is_true = expiry(ItemRef::new(&item)?, &setting.attribute) == Some(when);
        Ok(is_true.then_some((table, item)))
    }
}

/// The table of the last entry: many entries in a row are of one table.
#[derive(Default)]
struct Known {
    last: Option<(TableNumber, Option<Table>)>,
}

impl Known {
    fn table(&mut self, tx: &mut Tx<'_>, number: TableNumber) -> Result<Option<Table>, Fault> {
        if let Some((known, table)) = &self.last
            && *known == number
        {
            return Ok(table.clone());
        }
        let table = find_number_in(tx, number)?;
        self.last = Some((number, table.clone()));
        Ok(table)
    }
}

impl Operation for Settle {
    type Reply = Settled;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for key in &self.keys {
            match entry_of(key) {
                Ok((_, Entry::Item(item))) => declare(ITEMS, item),
                Ok((_, Entry::Token(token))) => declare(TOKENS, token),
                // Executing it says what is wrong.
                Err(_) => {}
            }
        }
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Settled>, Fault> {
        let mut known = Known::default();
        let mut bytes = 0;
        let mut count = 0;
        for key in &self.keys {
            bytes += self.settle(tx, &mut known, key)?;
            count += 1;
            if bytes >= SLICE_BYTES_MAX {
                break;
            }
        }
        let last = self.keys[..count].last().cloned();
        Ok(Outcome::Commit(Settled { last, is_cut: count < self.keys.len() }))
    }
}
