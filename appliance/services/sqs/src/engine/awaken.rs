//! After a start: every queue of a shard is loaded, a few at a time, so that the first request of each finds it ready, and
//! retention goes on.
//! Invariant: a queue that was there at the start is watched; one that is made later is watched by whoever makes it.
//! Leaves to load.rs: loading one. To requests: loading the one that they need at once.

use std::ops::Bound;

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ShardId, TableId, Tx};

use super::request::QueueRef;
use super::retention;
use super::run::load;
use super::tick::{Background, Then, Work};
use crate::model::queue::{QueueId, QueueKey};
use crate::store::QUEUES;
use crate::store::queue::identity;

/// Queues that one turn loads.
const QUEUES_PER_TURN: usize = 64;
/// Keys that one look looks at, those that are gone already included.
const LOOK_EXAMINED_MAX: u64 = 4_000;

/// How far the queues of a shard are loaded.
#[derive(Default)]
pub struct Mark {
    after: Vec<u8>,
    is_done: bool,
}

/// The next queues of a shard.
pub fn look(background: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let (is_done, after) = background.with(shard, |marks| (marks.awaken.is_done, marks.awaken.after.clone()));
    if is_done {
        return Ok(None);
    }
    let view = cx.store.view(shard)?;
    let start = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after.as_slice()) };
    let mut scan = view.scan(QUEUES, start, Direction::Forward);
    let mut found: Vec<(QueueId, QueueKey)> = Vec::new();
    let mut mark = Mark { after, is_done: false };
    while found.len() < QUEUES_PER_TURN && scan.examined() < LOOK_EXAMINED_MAX {
        let Some((key, record)) = scan.step()? else {
            mark.is_done = true;
            break;
        };
        mark.after = key.to_vec();
        // One that cannot be read is told of to whoever asks for it, and does not keep the others waiting.
        if let Some((record, queue)) = record.zip(QueueKey::parse(key))
            && let Ok((id, _)) = identity(record.value)
        {
            found.push((id, queue));
        }
    }
    Ok(Some(Box::new(move |_, background, then: Then| {
        Plan::submit(shard, WatchAll { queues: found.clone() }, move |cx, outcome| match outcome {
            Ok(()) => load_all(cx, shard, found, move |cx, outcome| {
                let outcome = outcome.map(|()| {
                    let more = !mark.is_done;
                    background.with(shard, |marks| marks.awaken = mark);
                    more
                });
                then(cx, &background, outcome)
            }),
            Err(fault) => then(cx, &background, Err(fault)),
        })
    })))
}

/// Loads queues one after the other.
fn load_all<F>(cx: &mut Context<'_>, shard: ShardId, mut queues: Vec<(QueueId, QueueKey)>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<(), Fault>) -> Plan + 'static,
{
    let Some((_, key)) = queues.pop() else { return then(cx, Ok(())) };
    load(QueueRef { shard, key }, move |cx, outcome| match outcome {
        Ok(_) | Err(Fault::Corrupt(_)) => load_all(cx, shard, queues, then),
        Err(fault) => then(cx, Err(fault)),
    })
}

/// Begins to watch queues that a start found.
struct WatchAll {
    queues: Vec<(QueueId, QueueKey)>,
}

impl Operation for WatchAll {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.queues.iter().for_each(|(_, key)| declare(QUEUES, key.as_bytes()));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let now_ms = tx.now().0;
        for (id, key) in &self.queues {
            // One that was deleted since is found out by its first look.
            retention::watch(tx, *id, key.clone(), now_ms);
        }
        Ok(Outcome::Commit(()))
    }
}
