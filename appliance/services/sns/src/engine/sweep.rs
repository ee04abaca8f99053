//! What is removed by and by: deduplication ids whose five minutes have passed, subscriptions of topics that were deleted,
//! and those that nobody has confirmed for three days.
//! Invariant: each piece of work is bounded, and what it leaves is found again by the next; nothing that counts is removed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};

use http_types::StatusCode;
use plan::{Context, MORE_IS_DUE, Plan, Reply};
use store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Timestamp, Tx};

use super::confirmation::give_up;
use crate::store::dedup::{decode, line_parts};
use crate::store::subscription::{self, topic_prefix};
use crate::store::topic::names_of;
use crate::store::{DEDUP, DEDUP_LINE, GONE, PENDING, SUBSCRIPTIONS, TOKENS, pending};

/// Records that one piece of work looks at.
const BUDGET_COUNT: u64 = 1_000;

/// What a core knows about the work of its shards.
#[derive(Default)]
pub struct Background {
    /// By shard: the entry of the line up to which everything is removed. A walk from the front would step over all that
    /// was removed and is not folded yet.
    swept: RefCell<HashMap<ShardId, Vec<u8>>>,
}

impl Background {
    /// The next piece of work on a shard; None: nothing is due.
    pub fn tick(self: &std::rc::Rc<Self>, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        let after = self.swept.borrow().get(&shard).cloned();
        // A shard that cannot be read is asked again by the next tick.
        let due = is_due(cx, shard, after.as_deref()).unwrap_or(false);
        if !due {
            return None;
        }
        let background = std::rc::Rc::clone(self);
        Some(Plan::submit(shard, Sweep { after }, move |_, outcome| match outcome {
            Ok(swept) => {
                if let Some(last) = swept.last {
                    background.swept.borrow_mut().insert(shard, last);
                }
                Plan::Reply(Reply::empty(if swept.more { MORE_IS_DUE } else { StatusCode::OK }))
            }
            Err(_) => Plan::Reply(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR)),
        }))
    }
}

fn is_due(cx: &Context<'_>, shard: ShardId, after: Option<&[u8]>) -> Result<bool, Fault> {
    let view = cx.store.view(shard)?;
    let mut line = view.scan(DEDUP_LINE, start(after), Direction::Forward);
    if let Some((key, _)) = line.next()?
        && line_parts(key)?.0 <= cx.now
    {
        return Ok(true);
    }
    if let Some((key, _)) = view.scan(PENDING, Bound::Unbounded, Direction::Forward).next()?
        && pending::line_parts(key)?.0 <= cx.now
    {
        return Ok(true);
    }
    Ok(view.scan(GONE, Bound::Unbounded, Direction::Forward).next()?.is_some())
}

fn start(after: Option<&[u8]>) -> Bound<&[u8]> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

/// One piece of work.
struct Sweep {
    after: Option<Vec<u8>>,
}

/// What it came to.
struct Swept {
    /// The last entry of the line that was removed.
    last: Option<Vec<u8>>,
    /// Whether there is more to do now.
    more: bool,
}

impl Operation for Sweep {
    type Reply = Swept;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(DEDUP_LINE, self.after.as_deref().unwrap_or_default());
        declare(GONE, &[]);
        declare(PENDING, &[]);
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Swept>, Fault> {
        let (last, more_ids) = self.expire(tx)?;
        let more_gone = remove_gone(tx)?;
        let more_pending = give_up(tx)?;
        Ok(Outcome::Commit(Swept { last, more: more_ids || more_gone || more_pending }))
    }
}

impl Sweep {
    /// Removes ids whose time has passed. Gives the last entry of the line, and whether there may be more.
    fn expire(&self, tx: &mut Tx<'_>) -> Result<(Option<Vec<u8>>, bool), Fault> {
        let now = tx.now();
        let mut due: Vec<Vec<u8>> = Vec::new();
        let mut damage = None;
        let end = tx.scan(
            DEDUP_LINE,
            start(self.after.as_deref()),
            Direction::Forward,
            BUDGET_COUNT,
            &mut |key, _| match line_parts(key) {
                Ok((expiry, _)) if expiry <= now => {
                    due.push(key.to_vec());
                    ControlFlow::Continue(())
                }
                Ok(_) => ControlFlow::Break(()),
                Err(fault) => {
                    damage = Some(fault);
                    ControlFlow::Break(())
                }
            },
        )?;
        if let Some(fault) = damage {
            return Err(fault);
        }
        for line in &due {
            let (expiry, key) = line_parts(line)?;
            if expires_then(tx, &key, expiry)? {
                tx.delete(DEDUP, &key);
            }
            tx.delete(DEDUP_LINE, line);
        }
        let more = matches!(end, ScanEnd::Continue(_));
        Ok((due.pop(), more))
    }
}

/// Whether the record of a deduplication id is the one that this entry of the line is about.
fn expires_then(tx: &mut Tx<'_>, key: &[u8], expiry: Timestamp) -> Result<bool, Fault> {
    let found = tx.get_ref(DEDUP, key, |record| record.map(|record| decode(record.value)))?;
    Ok(found.transpose()?.is_some_and(|taken| taken.expiry == expiry))
}

/// The key that says that the subscriptions of a deleted topic are to be removed.
#[must_use]
pub fn gone_key(account: &str, name: &str, topic: u64) -> Vec<u8> {
    let mut key = topic_prefix(account, name);
    key.extend_from_slice(&topic.to_be_bytes());
    key
}

/// Removes some subscriptions of one deleted topic; gives whether there is more to do.
fn remove_gone(tx: &mut Tx<'_>) -> Result<bool, Fault> {
    let mut gone = None;
    tx.scan(GONE, Bound::Unbounded, Direction::Forward, BUDGET_COUNT, &mut |key, _| {
        gone = Some(key.to_vec());
        ControlFlow::Break(())
    })?;
    let Some(gone) = gone else { return Ok(false) };
    let damaged = || Fault::corrupt("sns key of a deleted topic is too short".into());
    let (prefix, topic) = gone.split_last_chunk::<8>().ok_or_else(damaged)?;
    let topic = u64::from_be_bytes(*topic);
    names_of(prefix.strip_suffix(&[0]).ok_or_else(damaged)?)?;
    let mut keys = Vec::new();
    let mut damage = None;
    let end = tx.scan(
        SUBSCRIPTIONS,
        Bound::Included(prefix),
        Direction::Forward,
        // A topic of the same name that was made since may have as many.
        2 * crate::model::limits::SUBSCRIPTION_COUNT_MAX as u64,
        &mut |key, record| {
            if !key.starts_with(prefix) || keys.len() as u64 >= BUDGET_COUNT {
                return ControlFlow::Break(());
            }
            match subscription::decode(key, record.value) {
                Ok(found) if found.topic == topic => keys.push(key.to_vec()),
                Ok(_) => {}
                Err(fault) => {
                    damage = Some(fault);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        },
    )?;
    if let Some(fault) = damage {
        return Err(fault);
    }
    let is_whole = (keys.len() as u64) < BUDGET_COUNT && !matches!(end, ScanEnd::Continue(_));
    for key in keys {
        tx.delete(SUBSCRIPTIONS, &key);
        // Its token, if it was a web hook's, has the same key.
        tx.delete(TOKENS, &key);
    }
    if is_whole {
        tx.delete(GONE, &gone);
    }
    Ok(true)
}
