//! Work that nobody asks for: one slice of each kind in a turn, for one shard of this core.
//! Invariant: each slice is one operation of bounded size; what is remembered here only saves looking again, and is found
//! anew after a restart.
//! Leaves to awaken.rs, retention.rs, move_tasks.rs and sweep.rs: what a slice does. To the node: when a turn is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http_types::StatusCode;
use plan::{Context, MORE_IS_DUE, Plan, Reply};
use store::{Fault, Operation, ShardId};

use super::{awaken, move_tasks, retention, sweep};

/// What one core remembers between turns.
#[derive(Default)]
pub struct Background {
    shards: RefCell<HashMap<ShardId, Marks>>,
}

/// What is remembered for one shard.
#[derive(Default)]
pub struct Marks {
    /// How far the queues are loaded after the start.
    pub awaken: awaken::Mark,
    /// How far the sweeps have come.
    pub sweeps: sweep::Marks,
    /// When the move tasks may go on.
    pub tasks: move_tasks::Marks,
}

/// What comes after a slice: whether more is due.
pub type Then = Box<dyn FnOnce(&mut Context<'_>, &Rc<Background>, Result<bool, Fault>) -> Plan>;

/// A slice that is due.
pub type Work = Box<dyn FnOnce(&mut Context<'_>, Rc<Background>, Then) -> Plan>;

/// Looks whether a slice is due.
type Look = fn(&Background, &Context<'_>, ShardId) -> Result<Option<Work>, Fault>;

/// The kinds of work, in the order in which a turn does them.
const LOOKS: &[Look] = &[awaken::look, retention::look, move_tasks::look, sweep::look];

/// Before a turn that follows at once: requests come first.
const BETWEEN_TURNS: Duration = Duration::from_millis(2);

impl Background {
    /// What is remembered for a shard.
    pub fn with<R>(&self, shard: ShardId, work: impl FnOnce(&mut Marks) -> R) -> R {
        work(self.shards.borrow_mut().entry(shard).or_default())
    }

    /// What is due on a shard of this core; the reply's status says whether to ask again at once.
    pub fn tick(self: &Rc<Background>, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        turn(cx, Rc::clone(self), shard, 0, Turn::default())
    }
}

/// What a turn has met so far.
#[derive(Clone, Copy, Default)]
struct Turn {
    has_worked: bool,
    more: bool,
    failed: bool,
}

/// Does what is due from the kind with number `first` on. Nothing when nothing was done at all.
fn turn(
    cx: &mut Context<'_>,
    background: Rc<Background>,
    shard: ShardId,
    first: usize,
    mut met: Turn,
) -> Option<Plan> {
    for (number, look) in LOOKS.iter().enumerate().skip(first) {
        match look(&background, cx, shard) {
            Ok(None) => {}
            Ok(Some(work)) => {
                met.has_worked = true;
                let then: Then = Box::new(move |cx, background, outcome| {
                    let met = Turn {
                        more: met.more || matches!(outcome, Ok(true)),
                        failed: met.failed || outcome.is_err(),
                        ..met
                    };
                    turn(cx, Rc::clone(background), shard, number + 1, met).unwrap_or_else(|| end(met))
                });
                return Some(work(cx, background, then));
            }
            Err(_) => met.failed = true,
        }
    }
    (met.has_worked || met.failed).then(|| end(met))
}

/// The end of a turn. One that failed is not tried again at once, or it would be tried without end.
fn end(met: Turn) -> Plan {
    match met {
        Turn { failed: true, .. } => Plan::Reply(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR)),
        Turn { more: true, .. } => Plan::wait(BETWEEN_TURNS, |_| Plan::Reply(Reply::empty(MORE_IS_DUE))),
        Turn { .. } => Plan::Reply(Reply::empty(StatusCode::OK)),
    }
}

/// A slice that is one operation; `note` remembers how it ended and says whether more is due.
pub fn submit<O, F>(shard: ShardId, operation: O, note: F) -> Work
where
    O: Operation,
    F: FnOnce(&mut Marks, O::Reply) -> bool + 'static,
{
    Box::new(move |_, background, then| {
        Plan::submit(shard, operation, move |cx, outcome| {
            let outcome = outcome.map(|reply| background.with(shard, |marks| note(marks, reply)));
            then(cx, &background, outcome)
        })
    })
}
