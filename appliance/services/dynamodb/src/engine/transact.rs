//! Several items in one instant: TransactWriteItems and TransactGetItems.
//! Invariant: all writes of a transaction take effect or none, each decided on its item as it was before the transaction;
//! an item that only a condition looked at stays as it was until the transaction is decided. A token is written with the
//! effects that it stands for. What TransactGetItems reads was all there at one moment.
//! Leaves to the store: prepares and decisions. To item_write.rs: a single write.
//!
//! ```text
//! all items, and the token, on one shard: one operation      on several: one part for each, all or nothing
//! ```

use std::sync::Arc;

use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, ShardId, TableId, TransactFailure, Tx};

use super::batch::{are_current, renew};
use super::capacity::WriteCost;
use super::item_write::{Action, ItemWrite, Refusal, Written, try_again};
use super::read::get;
use crate::model::keys::Key;
use crate::model::limits::{CONFLICT_ATTEMPTS_MAX, TOKEN_LIFE_MS, TRANSACT_BYTES_MAX};
use crate::model::table::Table;
use crate::store::TOKENS;
use crate::store::due::{DUE, Entry, enter_token, entry_key};
use crate::store::token::TokenRecord;
use crate::value::{Item, ItemRef};

/// A ClientRequestToken.
#[derive(Clone)]
pub struct Token {
    /// Its key, see `store::token::token_key`.
    pub key: Vec<u8>,
    /// SHA-256 of the request without it.
    pub digest: [u8; 32],
}

/// How a transaction ended.
pub enum Transacted {
    /// It is durable; what each write costs, in their order.
    Done(Vec<WriteCost>),
    /// It was done before, under the same token; the bytes that each item has now.
    Replayed(Vec<u32>),
    /// The token was used for another request.
    Mismatch,
    /// Another request with this token is under way.
    InProgress,
    /// Nothing happened; a reason for each write that is to blame, in their order.
    Cancelled(Vec<Option<Reason>>),
    /// Nothing happened; the items are too many bytes.
    TooLarge,
}

/// Why a write cancelled its transaction.
pub enum Reason {
    /// Its condition does not hold, for this item if it was asked for and there is one.
    ConditionFailed(Option<Item>),
    /// It cannot be.
    Refused(Refusal),
}

/// Writes all items or none. They are distinct. `rekey` as for a single write.
/// Errors: those of `rekey`, and those of the store, after some of which it is not known whether it was done.
pub fn transact_write<E, K, T>(
    cx: &mut Context<'_>,
    writes: Vec<ItemWrite>,
    token: Option<Token>,
    rekey: K,
    then: T,
) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<Transacted, E>) -> Plan + 'static,
{
    let writes = writes.into_iter().map(Arc::new).collect();
    attempt(cx, Transaction { writes, token }, rekey, then, CONFLICT_ATTEMPTS_MAX)
}

struct Transaction {
    writes: Vec<Arc<ItemWrite>>,
    token: Option<Token>,
}

/// What came of one attempt.
enum Came {
    Ended(Transacted),
    /// A table changed: find it anew and try again.
    Stale,
    /// A part met a table or a token in the middle of a change: try again.
    Met,
}

fn attempt<E, K, T>(
    cx: &mut Context<'_>,
    transaction: Transaction,
    rekey: K,
    then: T,
    attempts_left: u32,
) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<Transacted, E>) -> Plan + 'static,
{
    let mut parts = transaction.parts(cx);
    if parts.len() == 1
        && let Some((shard, part)) = parts.pop()
    {
        return Plan::submit(shard, part, move |cx, outcome| {
            let came = match outcome {
                Ok(reply) => transaction.merge(cx, vec![reply]),
                Err(fault) => met(fault),
            };
            settle(cx, transaction, came, rekey, then, attempts_left)
        });
    }
    Plan::transact(parts, move |cx, outcome| {
        let came = match outcome {
            Ok(replies) => transaction.merge(cx, replies),
            Err(TransactFailure::Cancelled(replies)) => {
                transaction.merge(cx, replies.into_iter().map(|(_, reply)| reply).collect())
            }
            Err(TransactFailure::Conflict) => Ok(Came::Met),
            Err(TransactFailure::Fault(fault)) => met(fault),
        };
        settle(cx, transaction, came, rekey, then, attempts_left)
    })
}

fn met(fault: Fault) -> Result<Came, Fault> {
    match fault {
        Fault::InDoubt => Ok(Came::Met),
        Fault::TooLarge { .. } => Ok(Came::Ended(Transacted::TooLarge)),
        fault => Err(fault),
    }
}

fn settle<E, K, T>(
    cx: &mut Context<'_>,
    mut transaction: Transaction,
    came: Result<Came, Fault>,
    rekey: K,
    then: T,
    attempts_left: u32,
) -> Plan
where
    E: From<Fault> + 'static,
    K: Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), E> + 'static,
    T: FnOnce(&mut Context<'_>, Result<Transacted, E>) -> Plan + 'static,
{
    match came {
        Err(fault) => then(cx, Err(E::from(fault))),
        Ok(Came::Ended(ended)) => then(cx, Ok(ended)),
        Ok(Came::Stale) if attempts_left == 0 => then(cx, Err(E::from(Fault::Busy))),
        Ok(Came::Met) if attempts_left == 0 => {
            let ended = match transaction.token {
                Some(_) => Transacted::InProgress,
                None => Transacted::Cancelled(transaction.writes.iter().map(|_| Some(conflict())).collect()),
            };
            then(cx, Ok(ended))
        }
        Ok(Came::Stale | Came::Met) => try_again(cx, attempts_left, move |cx| {
            for write in &mut transaction.writes {
                if let Err(error) = renew(cx, write, &rekey) {
                    return then(cx, Err(error));
                }
            }
            attempt(cx, transaction, rekey, then, attempts_left - 1)
        }),
    }
}

fn conflict() -> Reason {
    Reason::Refused(Refusal::Conflict)
}

impl Transaction {
    /// One part for each shard that has an item, or the token.
    fn parts(&self, cx: &Context<'_>) -> Vec<(ShardId, TransactPart)> {
        let mut parts: Vec<(ShardId, TransactPart)> = Vec::new();
        let mut part_of = |shard: ShardId| {
            parts.iter().position(|(other, _)| *other == shard).unwrap_or_else(|| {
                parts.push((shard, TransactPart { writes: Vec::new(), token: None, spans: false }));
                parts.len() - 1
            })
        };
        let places: Vec<usize> = self.writes.iter().map(|write| part_of(write.key.shard(cx.store))).collect();
        let token_place = self.token.as_ref().map(|token| part_of(cx.store.place(&token.key)));
        for (number, (write, place)) in self.writes.iter().zip(places).enumerate() {
            parts[place].1.writes.push((number, Arc::clone(write)));
        }
        if let Some(place) = token_place {
            parts[place].1.token = self.token.clone();
        }
        let spans = parts.len() > 1;
        parts.iter_mut().for_each(|(_, part)| part.spans = spans);
        parts
    }

    /// Says what the parts' replies come to.
    fn merge(&self, cx: &Context<'_>, replies: Vec<PartReply>) -> Result<Came, Fault> {
        let mut costs: Vec<WriteCost> = self.writes.iter().map(|_| WriteCost::default()).collect();
        let mut reasons: Vec<Option<Reason>> = self.writes.iter().map(|_| None).collect();
        let (mut is_cancelled, mut is_stale, mut is_too_large) = (false, false, false);
        for reply in replies {
            match reply {
                // A token that is known says more than conditions, which the first call may have made false.
                PartReply::Replay => return Ok(Came::Ended(self.replayed(cx)?)),
                PartReply::Mismatch => return Ok(Came::Ended(Transacted::Mismatch)),
                PartReply::Stale => is_stale = true,
                PartReply::TooLarge => is_too_large = true,
                PartReply::Cancelled(found) => {
                    is_cancelled = true;
                    found.into_iter().for_each(|(number, reason)| reasons[number] = Some(reason));
                }
                PartReply::Done(found) => found.into_iter().for_each(|(number, cost)| costs[number] = cost),
            }
        }
        Ok(if is_stale {
            Came::Stale
        } else if is_cancelled {
            Came::Ended(Transacted::Cancelled(reasons))
        } else if is_too_large {
            Came::Ended(Transacted::TooLarge)
        } else {
            Came::Ended(Transacted::Done(costs))
        })
    }

    fn replayed(&self, cx: &Context<'_>) -> Result<Transacted, Fault> {
        let bytes = |item: Option<ItemRef<'_>>| item.map_or(0, |item| item.aws_bytes());
        let read = self.writes.iter().map(|write| get(cx, &write.key, bytes));
        Ok(Transacted::Replayed(read.collect::<Result<_, _>>()?))
    }
}

/// What a transaction does on one shard.
struct TransactPart {
    /// With their places in the request.
    writes: Vec<(usize, Arc<ItemWrite>)>,
    token: Option<Token>,
    /// There are other parts.
    spans: bool,
}

enum PartReply {
    Done(Vec<(usize, WriteCost)>),
    Cancelled(Vec<(usize, Reason)>),
    Stale,
    Replay,
    Mismatch,
    TooLarge,
}

impl Operation for TransactPart {
    type Reply = PartReply;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        if let Some(token) = &self.token {
            declare(TOKENS, &token.key);
        }
        self.writes.iter().for_each(|(_, write)| write.declare(declare));
    }

    fn frees(&self) -> bool {
        self.writes.iter().all(|(_, write)| matches!(write.action, Action::Delete))
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<PartReply>, Fault> {
        if !are_current(tx, self.writes.iter().map(|(_, write)| &*write.table))? {
            return Ok(Outcome::Rollback(PartReply::Stale));
        }
        if let Some(token) = &self.token
            && let Some(reply) = token.enter(tx)?
        {
            return Ok(Outcome::Rollback(reply));
        }
        let (mut costs, mut reasons, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (number, write) in &self.writes {
            match write.run(tx, self.spans)? {
                Written::Done(done) => {
                    bytes += u64::from(done.cost.old_bytes.max(done.cost.new_bytes));
                    costs.push((*number, done.cost));
                }
                Written::ConditionFailed(item) => reasons.push((*number, Reason::ConditionFailed(item))),
                Written::Refused(refusal) => reasons.push((*number, Reason::Refused(refusal))),
            }
        }
        Ok(if !reasons.is_empty() {
            Outcome::Rollback(PartReply::Cancelled(reasons))
        } else if bytes > TRANSACT_BYTES_MAX {
            Outcome::Rollback(PartReply::TooLarge)
        } else {
            Outcome::Commit(PartReply::Done(costs))
        })
    }
}

impl Token {
    /// Writes the token, unless it is known: then it says what that means.
    fn enter(&self, tx: &mut Tx<'_>) -> Result<Option<PartReply>, Fault> {
        let known = tx.get_ref(TOKENS, &self.key, |record| {
            record.map(|record| TokenRecord::decode(record.value)).transpose()
        })??;
        if let Some(known) = known {
            if tx.now() < known.expires {
                let is_same = known.digest == self.digest;
                return Ok(Some(if is_same { PartReply::Replay } else { PartReply::Mismatch }));
            }
            tx.delete(DUE, &entry_key(known.expires, Entry::Token(&self.key)));
        }
        let record = TokenRecord { digest: self.digest, expires: tx.now().plus_ms(TOKEN_LIFE_MS) };
        tx.put(TOKENS, &self.key, &record.encode(), Vec::new(), false);
        enter_token(tx, record.expires, &self.key);
        Ok(None)
    }
}

/// What TransactGetItems found.
pub enum Got {
    /// The items, in the order of their keys.
    Items(Vec<Option<Item>>),
    /// Together they are too many bytes.
    TooLarge,
}

/// Reads items as they all were at one moment. Errors: `Fault::InDoubt` when no such moment was found for too long, and
/// those of views.
pub fn transact_get(cx: &Context<'_>, keys: &[Key]) -> Result<Got, Fault> {
    let mut shards: Vec<ShardId> = keys.iter().map(|key| key.shard(cx.store)).collect();
    shards.sort_unstable();
    shards.dedup();
    let views = cx.store.view_instant(&shards)?;
    let (mut items, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        let item =
            super::read::get_in(views.shard(key.shard(cx.store)), key, |item| item.map(Item::from_ref))?;
        bytes += item.as_ref().map_or(0, |item| u64::from(item.as_ref().aws_bytes()));
        if bytes > TRANSACT_BYTES_MAX {
            return Ok(Got::TooLarge);
        }
        items.push(item);
    }
    Ok(Got::Items(items))
}
