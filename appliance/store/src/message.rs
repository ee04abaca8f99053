//! What reaches an owner, and who waits for what it did.
//! Invariant: whoever waits hears exactly once, by `complete` or by the end of its channel.
//! Leaves to owner.rs: when each is handled and told.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::fault::Fault;
use crate::fold::FoldReport;
use crate::transact::PrepareInfo;
use crate::tx::Tx;
use crate::types::{ExtentId, TableId, Timestamp};
use crate::wait::{WaitKey, Waited};

/// How the run of an operation ended.
pub(crate) enum Verdict {
    /// Its effects count.
    Commits,
    /// They do not.
    RollsBack,
    /// They do not, and it runs again.
    Waits { key: WaitKey, until: Timestamp },
}

/// A unit of work on its way through an owner, its type erased.
pub(crate) trait Job: Send {
    /// Names the keys that the operation will touch.
    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8]));
    /// Runs the operation and keeps its reply, if it has one.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<Verdict, Fault>;
    /// When the job first had to wait for a transaction, in attended time.
    fn parked_since(&mut self) -> &mut Option<Duration>;
    /// For what the job waits or waited last.
    fn waited(&mut self) -> &mut Option<Waited>;
    /// Nobody waits for the reply any more.
    fn is_abandoned(&self) -> bool;
    /// The effects are the participant's part of a transaction over shards.
    fn prepare_info(&self) -> Option<&PrepareInfo>;
    /// Hands the reply, or the fault, to whoever waits.
    fn complete(self: Box<Self>, outcome: Result<(), Fault>);
}

/// What reaches an owner.
pub(crate) enum Message {
    /// Execute an operation.
    Job(Box<dyn Job>),
    /// Make a prepared transaction's effects plain, or take them away.
    Resolve { id: u128, commit: bool, done: oneshot::Sender<Result<(), Fault>> },
    /// Run every waiter that is due and tell when what they did is durable.
    CatchUp { done: oneshot::Sender<Result<(), Fault>> },
    /// Every participant has resolved: the record of the transaction can go.
    Forget { id: u128 },
    /// The companion has folded, or could not.
    Folded(Result<FoldReport, Fault>),
    /// The companion has prepared log segments.
    SegmentsReady(Result<(), Fault>),
    /// The space of these extents was given back.
    Punched(Vec<ExtentId>),
}

/// Whom to tell that a batch is durable.
pub(crate) enum Waiter {
    Job(Box<dyn Job>),
    Done(oneshot::Sender<Result<(), Fault>>),
}

impl Waiter {
    pub(crate) fn complete(self, outcome: Result<(), Fault>) {
        match self {
            Waiter::Job(job) => job.complete(outcome),
            // The coordinator may be gone with its core; the resolution stands all the same.
            Waiter::Done(done) => drop(done.send(outcome)),
        }
    }
}
