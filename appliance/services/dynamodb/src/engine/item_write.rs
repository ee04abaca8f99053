//! The write of one item: what may be written is decided on the shard that owns it, in the operation that writes it.
//! Invariant: a write is decided under the table's record as it is at that moment (its epoch), on the item as it is, and
//! its effects are those of apply.rs; a refused write has none.
//! Leaves to apply.rs: what a change writes. To transact.rs and batch.rs: several items.

use std::sync::Arc;
use std::time::Duration;

use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, Record, TableId, Tx};

use super::apply::{Measured, has_followers, put_effects, put_item};
use super::capacity::WriteCost;
use crate::expression::{Condition, Update, UpdateError};
use crate::model::keys::{Key, KeyError, check_index_keys};
use crate::model::limits::{COLLECTION_BYTES_MAX, ITEM_BYTES_MAX, STALE_ATTEMPTS_MAX};
use crate::model::table::Table;
use crate::store::stream::Actor;
use crate::store::table::{FENCE, decode_fence, fence_key};
use crate::store::{COLLECTIONS, ITEMS, collection_key};
use crate::value::path::Step;
use crate::value::{Item, ItemRef};

/// What is to become of an item.
#[derive(Clone)]
pub enum Action {
    /// It becomes this.
    Put(Item),
    /// It is changed.
    Update(Update),
    /// It goes away.
    Delete,
    /// It stays; only the condition counts.
    Check,
}

/// The write of one item.
#[derive(Clone)]
pub struct ItemWrite {
    /// The table, as it was when the request was checked.
    pub table: Arc<Table>,
    /// The item's key in that table.
    pub key: Key,
    /// What is to become of it.
    pub action: Action,
    /// What must hold before.
    pub condition: Option<Condition>,
    /// Whether `Done::old` is wanted.
    pub return_old: bool,
    /// Whether `Done::new` is wanted.
    pub return_new: bool,
    /// Whether `Written::ConditionFailed` is to hold the item.
    pub return_old_on_failure: bool,
}

/// How a write ended.
pub enum Written {
    /// It is durable.
    Done(Box<Done>),
    /// The condition does not hold, for this item if it was asked for and there is one.
    ConditionFailed(Option<Item>),
    /// It cannot be.
    Refused(Refusal),
}

/// What a write did.
pub struct Done {
    /// The item before, if it was asked for and there was one.
    pub old: Option<Item>,
    /// The item afterwards, if it was asked for and there is one.
    pub new: Option<Item>,
    /// The paths that an update touched.
    pub touched: Vec<Vec<Step>>,
    /// What it costs.
    pub cost: WriteCost,
}

/// Why a write cannot be.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// The update does not fit the item.
    Update(UpdateError),
    /// The finished item is too large.
    TooLarge {
        /// Made so by an update.
        update: bool,
    },
    /// The finished item cannot be in an index.
    Key(KeyError),
    /// The items of its partition key would be too many bytes.
    Collection,
    /// A transaction that is not decided holds the item.
    Conflict,
}

/// How an attempt to write ended.
pub enum Attempt {
    /// The table is not the one that the write was made for. Nothing happened; here is the write again.
    Stale(Box<ItemWrite>),
    /// It ended so.
    Written(Written),
}

/// The old item as far as it is still needed.
enum Before {
    Absent,
    Measured(Measured),
    Whole(Item),
}

enum After {
    /// What the action's Put says.
    Given,
    Made(Item),
    Gone,
    /// As before, be it absent.
    Kept,
}

/// What was decided on the item as it is.
enum Decision {
    Refuse(Written),
    Change { before: Before, after: After, touched: Vec<Vec<Step>> },
}

impl ItemWrite {
    /// A write without condition that returns nothing.
    #[must_use]
    pub fn new(table: Arc<Table>, key: Key, action: Action) -> ItemWrite {
        ItemWrite {
            table,
            key,
            action,
            condition: None,
            return_old: false,
            return_new: false,
            return_old_on_failure: false,
        }
    }

    /// Names the records that `attempt` looks at.
    pub(super) fn declare(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(FENCE, &fence_key(self.table.number));
        declare(ITEMS, self.key.store_key());
    }

    /// Decides and writes. Whoever calls has seen that the table is as this write has it. In a transaction over shards
    /// (`spans`) the item is held even if it stays as it is.
    /// Errors: `Fault::InDoubt` when a transaction that is decided is still being carried out, and those of the store.
    pub(super) fn run(&self, tx: &mut Tx<'_>, spans: bool) -> Result<Written, Fault> {
        let seen = tx.get_ref(ITEMS, self.key.store_key(), |record| self.look(record));
        let decision = match seen {
            Ok(decision) => decision?,
            Err(Fault::InDoubt) if tx.met_undecided() => return Ok(Written::Refused(Refusal::Conflict)),
            Err(fault) => return Err(fault),
        };
        let (before, after, touched) = match decision {
            Decision::Refuse(written) => return Ok(written),
            Decision::Change { before, after, touched } => (before, after, touched),
        };
        let old = match &before {
            Before::Whole(item) => Some(item.as_ref()),
            Before::Absent | Before::Measured(_) => None,
        };
        let new = match (&after, &self.action) {
            (After::Given, Action::Put(item)) | (After::Made(item), _) => Some(item.as_ref()),
            (After::Kept, _) => old,
            (After::Given | After::Gone, _) => None,
        };
        if let Some(refusal) = self.check_collection(tx, old, new)? {
            return Ok(Written::Refused(refusal));
        }
        if spans {
            // What a transaction only looked at must stay so until it is decided: two that each check what the other
            // writes would both commit. Nothing comes of it where the item is written anyway.
            tx.hold(ITEMS, self.key.store_key());
        }
        let cost = match &before {
            Before::Measured(measured) if matches!(after, After::Kept) => {
                WriteCost { old_bytes: measured.bytes, new_bytes: measured.bytes, ..WriteCost::default() }
            }
            Before::Measured(measured) => put_item(tx, &self.table, &self.key, Some(*measured), new)?,
            Before::Absent | Before::Whole(_) => {
                put_effects(tx, &self.table, &self.key, old, new, Actor::Client)?
            }
        };
        let new = new.filter(|_| self.return_new).map(Item::from_ref);
        let old = match before {
            Before::Whole(item) if self.return_old => Some(item),
            _ => None,
        };
        Ok(Written::Done(Box::new(Done { old, new, touched, cost })))
    }

    /// Decides on the stored item, in place.
    fn look(&self, record: Option<Record<'_>>) -> Result<Decision, Fault> {
        let old = record.as_ref().map(|record| ItemRef::new(record.value)).transpose()?;
        if let Some(old) = old {
            self.key.check_same(old)?;
        }
        let refuse = |refusal| Ok(Decision::Refuse(Written::Refused(refusal)));
        if let Action::Put(item) = &self.action {
            if let Err(error) = check_index_keys(&self.table, item.as_ref()) {
                return refuse(Refusal::Key(error));
            }
            if item.as_ref().aws_bytes() > ITEM_BYTES_MAX {
                return refuse(Refusal::TooLarge { update: false });
            }
        }
        if self.condition.as_ref().is_some_and(|condition| !condition.holds(old)) {
            let shown = old.filter(|_| self.return_old_on_failure).map(Item::from_ref);
            return Ok(Decision::Refuse(Written::ConditionFailed(shown)));
        }
        let mut touched = Vec::new();
        let after = match &self.action {
            Action::Put(_) => After::Given,
            Action::Delete => After::Gone,
            Action::Check => After::Kept,
            Action::Update(update) => {
                let updated = match update.apply(old, self.key.attributes()) {
                    Ok(updated) => updated,
                    Err(error) => return refuse(Refusal::Update(error)),
                };
                touched = updated.touched;
                match updated.item {
                    Some(item) => {
                        if let Err(error) = check_index_keys(&self.table, item.as_ref()) {
                            return refuse(Refusal::Key(error));
                        }
                        if item.as_ref().aws_bytes() > ITEM_BYTES_MAX {
                            return refuse(Refusal::TooLarge { update: true });
                        }
                        After::Made(item)
                    }
                    None => After::Kept,
                }
            }
        };
        let before = old.map_or(Before::Absent, |old| self.keep(old, &after));
        Ok(Decision::Change { before, after, touched })
    }

    /// Keeps of the old item what is needed once it is out of sight.
    fn keep(&self, old: ItemRef<'_>, after: &After) -> Before {
        let wants_new = self.return_new && matches!(after, After::Kept);
        if self.return_old || wants_new || has_followers(&self.table) {
            return Before::Whole(Item::from_ref(old));
        }
        let same = match (after, &self.action) {
            (After::Given, Action::Put(new)) | (After::Made(new), _) => new.as_bytes() == old.as_bytes(),
            (After::Given | After::Gone, _) => false,
            (After::Kept, _) => true,
        };
        Before::Measured(Measured { bytes: old.aws_bytes(), same })
    }

    /// In tables with a local index the items of one partition key have a bound.
    fn check_collection(
        &self,
        tx: &mut Tx<'_>,
        old: Option<ItemRef<'_>>,
        new: Option<ItemRef<'_>>,
    ) -> Result<Option<Refusal>, Fault> {
        if self.table.locals.is_empty() {
            return Ok(None);
        }
        let bytes = |item: Option<ItemRef<'_>>| item.map_or(0, |item| i64::from(item.aws_bytes()));
        let growth = bytes(new) - bytes(old);
        if growth <= 0 {
            return Ok(None);
        }
        let [held, _] = tx.counter(COLLECTIONS, &collection_key(self.table.number, self.key.hash()))?;
        Ok((held + growth > COLLECTION_BYTES_MAX).then_some(Refusal::Collection))
    }
}

/// Whether a table is on this shard as `table` says. Errors: `Fault::InDoubt` while it is being changed.
pub(super) fn is_current(tx: &mut Tx<'_>, table: &Table) -> Result<bool, Fault> {
    let epoch = tx.get_ref(FENCE, &fence_key(table.number), |record| {
        record.map(|record| decode_fence(record.value)).transpose()
    })??;
    Ok(epoch == Some(table.epoch))
}

impl Operation for ItemWrite {
    type Reply = Attempt;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.declare(declare);
    }

    fn frees(&self) -> bool {
        matches!(self.action, Action::Delete)
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Attempt>, Fault> {
        if !is_current(tx, &self.table)? {
            return Ok(Outcome::Rollback(Attempt::Stale(Box::new(self.clone()))));
        }
        let written = self.run(tx, false)?;
        Ok(match written {
            Written::Done(_) => Outcome::Commit(Attempt::Written(written)),
            Written::ConditionFailed(_) | Written::Refused(_) => Outcome::Rollback(Attempt::Written(written)),
        })
    }
}

/// Writes one item and goes on with the table under which it was written. If the table changed in between, `rekey` finds it
/// anew, checks the write against it and gives the key; its error ends the write.
/// Errors: those of `rekey`, those of the store, and `Fault::Busy` when the table changed every time.
pub fn write<E, K, T>(cx: &Context<'_>, write: ItemWrite, rekey: K, then: T) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<(Arc<Table>, Written), E>) -> Plan + 'static,
{
    attempt(cx, write, rekey, then, STALE_ATTEMPTS_MAX)
}

fn attempt<E, K, T>(cx: &Context<'_>, write: ItemWrite, rekey: K, then: T, attempts_left: u32) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<(Arc<Table>, Written), E>) -> Plan + 'static,
{
    let table = Arc::clone(&write.table);
    Plan::submit(write.key.shard(cx.store), write, move |cx, outcome| match outcome {
        Ok(Attempt::Written(written)) => then(cx, Ok((table, written))),
        // It waited for a transaction that is not decided, or not carried out, for as long as the store lets it.
        Err(Fault::InDoubt) => then(cx, Ok((table, Written::Refused(Refusal::Conflict)))),
        Err(fault) => then(cx, Err(E::from(fault))),
        Ok(Attempt::Stale(_)) if attempts_left == 0 => then(cx, Err(E::from(Fault::Busy))),
        Ok(Attempt::Stale(mut write)) => try_again(cx, attempts_left, move |cx| match rekey(cx, &write) {
            Ok((table, key)) => {
                write.table = table;
                write.key = key;
                attempt(cx, *write, rekey, then, attempts_left - 1)
            }
            Err(error) => then(cx, Err(error)),
        }),
    })
}

/// Goes on after a short wait that grows with the attempts and differs at random.
pub(super) fn try_again<F>(cx: &mut Context<'_>, attempts_left: u32, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    let tried = STALE_ATTEMPTS_MAX.saturating_sub(attempts_left).min(6);
    let wait_ms = 1 + (cx.random)() % (2_u64 << tried);
    Plan::wait(Duration::from_millis(wait_ms), then)
}
