//! Changing what is said of a table: its record and its fence, in one transaction over all shards.
//! Invariant: of racing changes of one record each is decided on what the one before it wrote; a number that a table has,
//! or that still has something to sweep, is not given to another.
//! Leaves to ops: what a change is, and in which words it is refused. To sweep.rs and backfill.rs: what follows from it.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ShardId, TableId, TransactFailure, Tx, View};

use crate::model::table::{Epoch, Table, TableNumber};
use crate::store::pending::DROPPED;
use crate::store::table::{
    FENCE, TABLES, decode, encode, encode_fence, fence_key, table_key, table_key_in_fence,
};

/// Transactions that are tried before a change is given up: about six seconds with the waits between them.
pub const ATTEMPTS_MAX: u32 = 128;
/// The longest wait between two attempts doubles up to this.
const WAIT_MS_MAX: u64 = 96;

/// A table by name, as the first shard shows it. Errors: `Fault::Corrupt` and what a view answers.
pub fn find(cx: &Context<'_>, account: &str, name: &str) -> Result<Option<Table>, Fault> {
    find_key(cx, &table_key(account, name))
}

/// The same by the key of its record.
pub fn find_key(cx: &Context<'_>, key: &[u8]) -> Result<Option<Table>, Fault> {
    let Some(shard) = cx.store.shards().next() else { return Ok(None) };
    let view = cx.store.view(shard)?;
    view.get(TABLES, key)?.map(|record| decode(record.value)).transpose()
}

/// The table with a number, as a view shows it. Errors: `Fault::Corrupt`.
pub fn find_number(view: &View<'_>, number: TableNumber) -> Result<Option<Table>, Fault> {
    let Some(fence) = view.get(FENCE, &fence_key(number))? else { return Ok(None) };
    let key = table_key_in_fence(fence.value)?;
    let found = view.get(TABLES, key)?.map(|record| decode(record.value)).transpose()?;
    Ok(found.filter(|table| table.number == number))
}

/// The table with a number, as an operation finds it. Errors: as `Tx::get`.
pub fn find_number_in(tx: &mut Tx<'_>, number: TableNumber) -> Result<Option<Table>, Fault> {
    let key = tx.get_ref(FENCE, &fence_key(number), |record| {
        record.map(|record| table_key_in_fence(record.value).map(<[u8]>::to_vec)).transpose()
    })??;
    let Some(key) = key else { return Ok(None) };
    let found =
        tx.get_ref(TABLES, &key, |record| record.map(|record| decode(record.value)).transpose())??;
    Ok(found.filter(|table| table.number == number))
}

/// Another record that a change writes on every shard.
#[derive(Clone, Debug)]
pub struct Also {
    /// Where.
    pub table: TableId,
    /// Which.
    pub key: Vec<u8>,
    /// What; nothing takes the record away.
    pub value: Option<Vec<u8>>,
    /// The change is decided anew if there is such a record already.
    pub is_new: bool,
}

impl Also {
    /// Sets a record.
    #[must_use]
    pub fn put(table: TableId, key: Vec<u8>, value: Vec<u8>) -> Also {
        Also { table, key, value: Some(value), is_new: false }
    }

    /// Takes a record away.
    #[must_use]
    pub fn delete(table: TableId, key: Vec<u8>) -> Also {
        Also { table, key, value: None, is_new: false }
    }
}

/// What is to become of a table.
pub enum Decision<R> {
    /// Nothing is written.
    Keep(R),
    /// The record becomes this; `change` counts the epoch.
    Write(Box<Table>, Vec<Also>, R),
    /// The record goes away.
    Drop(Vec<Also>, R),
}

/// Decides on the record as it is and writes the decision, again and again until nobody was in between. `decide` may be
/// called several times. Errors: those of `decide`, and `Fault::Busy` when others were always in between.
pub fn change<R, E, D, T>(cx: &mut Context<'_>, key: Vec<u8>, decide: D, then: T) -> Plan
where
    R: 'static,
    E: From<Fault> + 'static,
    D: Fn(&mut Context<'_>, Option<Table>) -> Result<Decision<R>, E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<R, E>) -> Plan + 'static,
{
    attempt(cx, key, decide, then, ATTEMPTS_MAX)
}

fn attempt<R, E, D, T>(cx: &mut Context<'_>, key: Vec<u8>, decide: D, then: T, attempts_left: u32) -> Plan
where
    R: 'static,
    E: From<Fault> + 'static,
    D: Fn(&mut Context<'_>, Option<Table>) -> Result<Decision<R>, E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<R, E>) -> Plan + 'static,
{
    let decided = find_key(cx, &key).map_err(E::from).and_then(|found| {
        let before = found.as_ref().map(|table| (table.number, table.epoch));
        let decision = decide(cx, found)?;
        Ok((before, decision))
    });
    let (part, reply) = match decided {
        Ok((_, Decision::Keep(reply))) => return then(cx, Ok(reply)),
        Ok((before, decision)) => match ChangeTable::new(&key, before, decision) {
            Some(made) => made,
            // There is nothing to drop.
            None => return then(cx, Err(Fault::Busy.into())),
        },
        Err(error) => return then(cx, Err(error)),
    };
    let parts: Vec<(ShardId, ChangeTable)> = cx.store.shards().map(|shard| (shard, part.clone())).collect();
    Plan::transact(parts, move |cx, outcome| match outcome {
        Ok(_) => then(cx, Ok(reply)),
        Err(
            TransactFailure::Cancelled(_)
            | TransactFailure::Conflict
            | TransactFailure::Fault(Fault::InDoubt),
        ) => {
            if attempts_left <= 1 {
                return then(cx, Err(Fault::Busy.into()));
            }
            try_again(cx, attempts_left, move |cx| attempt(cx, key, decide, then, attempts_left - 1))
        }
        Err(TransactFailure::Fault(fault)) => then(cx, Err(fault.into())),
    })
}

/// Waits differ at random and grow, so that many that change one table at once get through one after the other.
fn try_again<F>(cx: &mut Context<'_>, attempts_left: u32, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    let tried = ATTEMPTS_MAX.saturating_sub(attempts_left).min(6);
    let wait_ms = 1 + (cx.random)() % (2_u64 << tried).min(WAIT_MS_MAX);
    Plan::wait(Duration::from_millis(wait_ms), then)
}

/// One shard's part of a change.
#[derive(Clone)]
struct ChangeTable {
    key: Arc<[u8]>,
    before: Option<(TableNumber, Epoch)>,
    number: TableNumber,
    /// The new record and its epoch; nothing: the table goes.
    after: Option<(Arc<[u8]>, Epoch)>,
    also: Arc<[Also]>,
}

/// What a shard found.
enum Changed {
    Yes,
    /// The record is not the one on which the change was decided, or the number is not free.
    Otherwise,
}

impl ChangeTable {
    /// Nothing when a table is to go that is not there.
    fn new<R>(
        key: &[u8],
        before: Option<(TableNumber, Epoch)>,
        decision: Decision<R>,
    ) -> Option<(ChangeTable, R)> {
        let (number, after, also, reply) = match decision {
            Decision::Keep(_) => return None,
            Decision::Drop(also, reply) => (before?.0, None, also, reply),
            Decision::Write(mut table, also, reply) => {
                table.epoch = before.map_or(Epoch(1), |(_, epoch)| Epoch(epoch.0 + 1));
                (table.number, Some((encode(&table).into(), table.epoch)), also, reply)
            }
        };
        Some((ChangeTable { key: key.into(), before, number, after, also: also.into() }, reply))
    }

    /// Whether the shard is as it was when the change was decided.
    fn is_as_before(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let found = tx.get(TABLES, &self.key)?.map(|record| decode(&record.value)).transpose()?;
        if found.map(|table| (table.number, table.epoch)) != self.before {
            return Ok(false);
        }
        if self.before.is_none() && !is_free(tx, self.number)? {
            return Ok(false);
        }
        for also in self.also.iter().filter(|also| also.is_new) {
            if tx.get(also.table, &also.key)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether no table has this number, and no dropped one has left anything under it.
fn is_free(tx: &mut Tx<'_>, number: TableNumber) -> Result<bool, Fault> {
    let key = fence_key(number);
    if tx.get(FENCE, &key)?.is_some() {
        return Ok(false);
    }
    let mut is_free = true;
    tx.scan(DROPPED, Bound::Included(&key), Direction::Forward, u64::MAX, &mut |found, _| {
        is_free = !found.starts_with(&key);
        ControlFlow::Break(())
    })?;
    Ok(is_free)
}

impl Operation for ChangeTable {
    type Reply = Changed;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLES, &self.key);
        declare(FENCE, &fence_key(self.number));
    }

    fn frees(&self) -> bool {
        self.after.is_none()
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Changed>, Fault> {
        if !self.is_as_before(tx)? {
            return Ok(Outcome::Rollback(Changed::Otherwise));
        }
        let fence = fence_key(self.number);
        match &self.after {
            Some((record, epoch)) => {
                tx.put(TABLES, &self.key, record, Vec::new(), false);
                tx.put(FENCE, &fence, &encode_fence(*epoch, &self.key), Vec::new(), false);
            }
            None => {
                tx.delete(TABLES, &self.key);
                tx.delete(FENCE, &fence);
            }
        }
        for also in self.also.iter() {
            match &also.value {
                Some(value) => tx.put(also.table, &also.key, value, Vec::new(), false),
                None => tx.delete(also.table, &also.key),
            }
        }
        Ok(Outcome::Commit(Changed::Yes))
    }
}
