//! Several items at once, each by itself: BatchGetItem and BatchWriteItem.
//! Invariant: each write is decided and durable as if it were alone; one that was not done is named, and has no effect.
//! Leaves to item_write.rs: a single write. To wire: which of them are told as unprocessed.

use std::sync::Arc;

use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, ShardId, TableId, Tx, View};

use super::item_write::{Action, Done, ItemWrite, Refusal, Written, is_current, try_again};
use super::read::{cold, get_in, warm};
use crate::model::keys::Key;
use crate::model::limits::{BATCH_GET_BYTES_MAX, BYTES_PER_TURN_MAX, ITEM_BYTES_MAX, STALE_ATTEMPTS_MAX};
use crate::model::table::{StreamView, Table};
use crate::value::{Item, ItemRef};

/// Items that a read of several looks at before it lets others run.
const ITEMS_PER_TURN_MAX: usize = 64;
/// Bytes that the writes of one part of a batch may come to, so that it fits into a batch of the log.
const PART_BYTES_MAX: u64 = 2 << 20;

/// Reads items in the order of their keys' list and shows each to `each`, with its place in the list, until 16 MB are read.
/// Goes on with how many of the keys were read; the others are left for another request. Errors: `Fault::Corrupt`.
pub fn batch_get<S, E, T>(cx: &mut Context<'_>, keys: Vec<Key>, state: S, each: E, then: T) -> Plan
where
    S: 'static,
    E: FnMut(&mut S, usize, Option<ItemRef<'_>>) + 'static,
    T: FnOnce(&mut Context<'_>, S, Result<usize, Fault>) -> Plan + 'static,
{
    begin_turn(cx, BatchRead { keys, read_count: 0, bytes: 0, state, each }, then)
}

struct BatchRead<S, E> {
    keys: Vec<Key>,
    read_count: usize,
    bytes: u64,
    state: S,
    each: E,
}

fn read_on<S, E, T>(cx: &mut Context<'_>, mut batch: BatchRead<S, E>, then: T) -> Plan
where
    S: 'static,
    E: FnMut(&mut S, usize, Option<ItemRef<'_>>) + 'static,
    T: FnOnce(&mut Context<'_>, S, Result<usize, Fault>) -> Plan + 'static,
{
    match batch.turn(cx) {
        Ok(true) => then(cx, batch.state, Ok(batch.read_count)),
        Ok(false) => Plan::Pause(Box::new(move |cx, ()| begin_turn(cx, batch, then))),
        Err(fault) => then(cx, batch.state, Err(fault)),
    }
}

/// Reads on, once what is to be read in this turn is in memory.
fn begin_turn<S, E, T>(cx: &mut Context<'_>, batch: BatchRead<S, E>, then: T) -> Plan
where
    S: 'static,
    E: FnMut(&mut S, usize, Option<ItemRef<'_>>) + 'static,
    T: FnOnce(&mut Context<'_>, S, Result<usize, Fault>) -> Plan + 'static,
{
    let cold = cold(cx, batch.keys.iter().skip(batch.read_count).take(ITEMS_PER_TURN_MAX));
    match cold.is_empty() {
        true => read_on(cx, batch, then),
        false => warm(cx, cold, move |cx| read_on(cx, batch, then)),
    }
}

impl<S, E> BatchRead<S, E>
where
    E: FnMut(&mut S, usize, Option<ItemRef<'_>>),
{
    /// Reads on until the batch is complete or this turn's budget is spent; says whether it is complete.
    fn turn(&mut self, cx: &Context<'_>) -> Result<bool, Fault> {
        let mut views: Vec<(ShardId, View<'_>)> = Vec::new();
        let turn_bytes_max = self.bytes + BYTES_PER_TURN_MAX;
        let turn_count_max = self.read_count + ITEMS_PER_TURN_MAX;
        while let Some(key) = self.keys.get(self.read_count) {
            if self.read_count >= turn_count_max || self.bytes >= turn_bytes_max {
                return Ok(false);
            }
            let shard = key.shard(cx.store);
            let view = match views.iter().position(|(other, _)| *other == shard) {
                Some(place) => &views[place].1,
                None => {
                    views.push((shard, cx.store.view(shard)?));
                    &views[views.len() - 1].1
                }
            };
            let (bytes, count) = (self.bytes, self.read_count);
            let is_full = get_in(view, key, |item| {
                let item_bytes = item.map_or(0, |item| u64::from(item.aws_bytes()));
                if bytes + item_bytes > BATCH_GET_BYTES_MAX {
                    return true;
                }
                self.bytes += item_bytes;
                (self.each)(&mut self.state, count, item);
                false
            })?;
            if is_full {
                return Ok(true);
            }
            self.read_count += 1;
        }
        Ok(true)
    }
}

/// How one write of a batch ended.
pub enum Wrote {
    /// It is durable.
    Done(Box<Done>),
    /// The condition does not hold, for this item if it was asked for and there is one.
    ConditionFailed(Option<Item>),
    /// It cannot be.
    Refused(Refusal),
    /// It was not done and may be tried again: its shard is behind or full, or a transaction holds its item.
    Later,
}

/// Writes items beside each other and goes on with how each ended, in their order. `rekey` as for a single write.
/// Errors: those of `rekey`, and faults after which it is not known whether a write was done.
pub fn batch_write<E, K, T>(cx: &mut Context<'_>, writes: Vec<ItemWrite>, rekey: K, then: T) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<Vec<Wrote>, E>) -> Plan + 'static,
{
    let batch = BatchWrite {
        open: (0..writes.len()).collect(),
        ended: writes.iter().map(|_| None).collect(),
        writes: writes.into_iter().map(Arc::new).collect(),
        apart: false,
    };
    write_on(cx, batch, rekey, then, STALE_ATTEMPTS_MAX)
}

struct BatchWrite {
    writes: Vec<Arc<ItemWrite>>,
    ended: Vec<Option<Wrote>>,
    /// Those that have not ended.
    open: Vec<usize>,
    /// Each in a part of its own, since together they did not fit into a batch of the log.
    apart: bool,
}

fn write_on<E, K, T>(
    cx: &mut Context<'_>,
    mut batch: BatchWrite,
    rekey: K,
    then: T,
    attempts_left: u32,
) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<Vec<Wrote>, E>) -> Plan + 'static,
{
    let parts = batch.parts(cx);
    let members: Vec<Vec<usize>> =
        parts.iter().map(|(_, part)| part.writes.iter().map(|(place, _)| *place).collect()).collect();
    Plan::gather(parts, move |cx, outcomes| {
        let again = match batch.settle(members, outcomes) {
            Ok(again) => again,
            Err(fault) => return then(cx, Err(fault.into())),
        };
        if again.is_empty() {
            let ended = batch.ended.into_iter().map(|wrote| wrote.unwrap_or(Wrote::Later)).collect();
            return then(cx, Ok(ended));
        }
        if attempts_left == 0 {
            return then(cx, Err(E::from(Fault::Busy)));
        }
        batch.open = again;
        try_again(cx, attempts_left, move |cx| match batch.renew(cx, &rekey) {
            Ok(()) => write_on(cx, batch, rekey, then, attempts_left - 1),
            Err(error) => then(cx, Err(error)),
        })
    })
}

impl BatchWrite {
    /// One part for each shard, or several where they would be too large for one.
    fn parts(&self, cx: &Context<'_>) -> Vec<(ShardId, BatchPart)> {
        let mut parts: Vec<(ShardId, u64, BatchPart)> = Vec::new();
        for place in &self.open {
            let write = &self.writes[*place];
            let (shard, bytes) = (write.key.shard(cx.store), effect_bytes(write));
            let fits = |(other, held, _): &&mut (ShardId, u64, BatchPart)| {
                *other == shard && !self.apart && *held + bytes <= PART_BYTES_MAX
            };
            let entry = (*place, Arc::clone(write));
            match parts.iter_mut().find(|part| fits(part)) {
                Some((_, held, part)) => {
                    *held += bytes;
                    part.writes.push(entry);
                }
                None => parts.push((shard, bytes, BatchPart { writes: vec![entry] })),
            }
        }
        parts.into_iter().map(|(shard, _, part)| (shard, part)).collect()
    }

    /// Notes how the parts ended. Gives those writes that are to be tried again at once.
    fn settle(
        &mut self,
        members: Vec<Vec<usize>>,
        outcomes: Vec<Result<PartReply, Fault>>,
    ) -> Result<Vec<usize>, Fault> {
        let mut again = Vec::new();
        for (members, outcome) in members.into_iter().zip(outcomes) {
            match outcome {
                Ok(PartReply::Ended(ended)) => {
                    for (place, written) in ended {
                        self.ended[place] = Some(match written {
                            Written::Done(done) => Wrote::Done(done),
                            Written::Refused(Refusal::Conflict) => Wrote::Later,
                            Written::Refused(refusal) => Wrote::Refused(refusal),
                            Written::ConditionFailed(item) => Wrote::ConditionFailed(item),
                        });
                    }
                }
                Ok(PartReply::Stale) => again.extend(members),
                Err(Fault::TooLarge { .. }) if members.len() > 1 => {
                    self.apart = true;
                    again.extend(members);
                }
                Err(Fault::Busy | Fault::Full | Fault::InDoubt) => {
                    members.into_iter().for_each(|place| self.ended[place] = Some(Wrote::Later));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(again)
    }

    /// Finds the tables of the open writes anew.
    fn renew<E, K>(&mut self, cx: &mut Context<'_>, rekey: &K) -> Result<(), E>
    where
        K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E>,
    {
        for place in &self.open {
            renew(cx, &mut self.writes[*place], rekey)?;
        }
        Ok(())
    }
}

/// Finds the table of a write anew.
pub(super) fn renew<E, K>(cx: &mut Context<'_>, write: &mut Arc<ItemWrite>, rekey: &K) -> Result<(), E>
where
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E>,
{
    let (table, key) = rekey(cx, write)?;
    let write = Arc::make_mut(write);
    write.table = table;
    write.key = key;
    Ok(())
}

/// About how many bytes a write puts into the log.
fn effect_bytes(write: &ItemWrite) -> u64 {
    let new_bytes = match &write.action {
        Action::Put(item) => item.as_bytes().len() as u64,
        Action::Update(_) => u64::from(ITEM_BYTES_MAX),
        Action::Delete | Action::Check => 0,
    };
    let view = write.table.stream.as_ref().filter(|stream| stream.enabled).map(|stream| stream.view);
    let images = match view {
        None | Some(StreamView::KeysOnly) => 0,
        Some(StreamView::NewImage) => new_bytes,
        Some(StreamView::OldImage) => u64::from(ITEM_BYTES_MAX),
        Some(StreamView::NewAndOldImages) => new_bytes + u64::from(ITEM_BYTES_MAX),
    };
    new_bytes + images + write.key.store_key().len() as u64 + 64
}

/// The writes of a batch on one shard.
struct BatchPart {
    writes: Vec<(usize, Arc<ItemWrite>)>,
}

enum PartReply {
    /// A table is another than a write says. Nothing happened.
    Stale,
    Ended(Vec<(usize, Written)>),
}

impl Operation for BatchPart {
    type Reply = PartReply;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.writes.iter().for_each(|(_, write)| write.declare(declare));
    }

    fn frees(&self) -> bool {
        self.writes.iter().all(|(_, write)| matches!(write.action, Action::Delete))
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<PartReply>, Fault> {
        if !are_current(tx, self.writes.iter().map(|(_, write)| &*write.table))? {
            return Ok(Outcome::Rollback(PartReply::Stale));
        }
        let mut ended = Vec::with_capacity(self.writes.len());
        for (place, write) in &self.writes {
            ended.push((*place, write.run(tx, false)?));
        }
        Ok(Outcome::Commit(PartReply::Ended(ended)))
    }
}

/// Whether all these tables are on this shard as they say; each is looked at once.
pub(super) fn are_current<'t>(
    tx: &mut Tx<'_>,
    tables: impl Iterator<Item = &'t Table>,
) -> Result<bool, Fault> {
    let mut seen: Vec<(_, _)> = Vec::new();
    for table in tables {
        if seen.contains(&(table.number, table.epoch)) {
            continue;
        }
        if !is_current(tx, table)? {
            return Ok(false);
        }
        seen.push((table.number, table.epoch));
    }
    Ok(true)
}
