//! How an operation reaches its queue: on the queue's shard, once the queue is loaded.
//! Invariant: an operation sees a loaded queue or does nothing; whoever meets one that is not loaded loads it and begins anew.
//! Leaves to the operations: what happens there. To load.rs: one slice of loading.

use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::load::{Load, Loaded};
use super::refusal::Refusal;
use super::request::QueueRef;
use super::resident::{Queues, Resident};
use crate::model::queue::QueueKey;
use crate::store::QUEUES;

/// An operation on a queue that is loaded.
pub trait QueueOperation: Send + 'static {
    /// What its caller gets.
    type Reply: Send + 'static;

    /// Names further keys that it will touch, as in `store::Operation`.
    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    /// As in `store::Operation`.
    fn frees(&self) -> bool {
        false
    }

    /// Whether it may end in `Outcome::Wait`.
    fn may_wait(&self) -> bool {
        false
    }

    /// As in `store::Operation`; `resident` is the queue.
    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<Self::Reply>, Fault>;
}

struct OnQueue<O> {
    key: QueueKey,
    /// Given back when the queue is not loaded.
    operation: Option<O>,
}

enum Answer<O: QueueOperation> {
    Done(O::Reply),
    NotLoaded(O),
}

impl<O: QueueOperation> Operation for OnQueue<O> {
    type Reply = Answer<O>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(QUEUES, self.key.as_bytes());
        if let Some(operation) = &self.operation {
            operation.keys(declare);
        }
    }

    fn frees(&self) -> bool {
        self.operation.as_ref().is_some_and(QueueOperation::frees)
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Answer<O>>, Fault> {
        let resident = tx.resident::<Queues>().and_then(|queues| queues.find(&self.key));
        let Some(resident) = resident.filter(|resident| resident.is_loaded()) else {
            // After a rollback it is not run again, so it can be given away.
            let operation = self.operation.take().expect("it is given away once, and not run after that");
            return Ok(Outcome::Rollback(Answer::NotLoaded(operation)));
        };
        let operation = self.operation.as_mut().expect("it was not given away");
        Ok(match operation.execute(tx, &self.key, resident)? {
            Outcome::Commit(reply) => Outcome::Commit(Answer::Done(reply)),
            Outcome::Rollback(reply) => Outcome::Rollback(Answer::Done(reply)),
            Outcome::Wait { key, until } => Outcome::Wait { key, until },
        })
    }
}

/// Runs an operation on its queue and goes on with its reply. Refusals: there is no such queue; the store failed.
pub fn run<O, F>(queue: QueueRef, operation: O, then: F) -> Plan
where
    O: QueueOperation,
    F: FnOnce(&mut Context<'_>, Result<O::Reply, Refusal>) -> Plan + 'static,
{
    let may_wait = operation.may_wait();
    let on_queue = OnQueue { key: queue.key.clone(), operation: Some(operation) };
    let shard = queue.shard;
    let then = move |cx: &mut Context<'_>, outcome| match outcome {
        Ok(Answer::Done(reply)) => then(cx, Ok(reply)),
        Ok(Answer::NotLoaded(operation)) => load(queue.clone(), move |cx, loaded| match loaded {
            Ok(true) => run(queue, operation, then),
            Ok(false) => then(cx, Err(Refusal::NoQueue)),
            Err(fault) => then(cx, Err(fault.into())),
        }),
        Err(fault) => then(cx, Err(Refusal::from(fault))),
    };
    if may_wait {
        Plan::submit_while_wanted(shard, on_queue, then)
    } else {
        Plan::submit(shard, on_queue, then)
    }
}

/// Loads a queue, slice by slice, and goes on with whether there is one.
pub fn load<F>(queue: QueueRef, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
{
    Plan::submit(queue.shard, Load { key: queue.key.clone() }, move |cx, outcome| match outcome {
        Ok(Loaded::More) => load(queue, then),
        Ok(Loaded::All) => then(cx, Ok(true)),
        Ok(Loaded::NoQueue) => then(cx, Ok(false)),
        Err(fault) => then(cx, Err(fault)),
    })
}
