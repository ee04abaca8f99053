//! Steps whose result type the plan does not name: an operation on one shard, a transaction over several.
//! Invariant: `then` runs exactly once, on the core that drives the plan, after the outcome is known.
//! Leaves to the store: when that is, and what is durable by then.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use store::{Fault, Operation, ShardId, Store, TransactFailure};

use crate::{Context, Plan};

/// What remains of a plan once a step is over.
pub type Resume = Box<dyn FnOnce(&mut Context<'_>) -> Plan>;

/// Asynchronous work that ends in the rest of the plan. Only the node runs it.
pub trait Step {
    /// Starts the work on the store of this core.
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>>;
}

/// One operation on one shard.
struct Submit<O, F> {
    shard: ShardId,
    operation: O,
    then: F,
}

impl<O, F> Step for Submit<O, F>
where
    O: Operation,
    F: FnOnce(&mut Context<'_>, Result<O::Reply, Fault>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Submit { shard, operation, then } = *self;
        Box::pin(async move {
            // A shard that is behind makes writers wait here, before their operation takes room in its queue.
            let outcome = match store.admit_operation(shard, &operation).await {
                Ok(()) => store.submit(shard, operation).await,
                Err(fault) => Err(fault),
            };
            let resume: Resume = Box::new(move |cx| then(cx, outcome));
            resume
        })
    }
}

/// Operations on several shards, all or nothing.
struct Transact<O, F> {
    parts: Vec<(ShardId, O)>,
    then: F,
}

impl<O, F> Step for Transact<O, F>
where
    O: Operation,
    F: FnOnce(&mut Context<'_>, Result<Vec<O::Reply>, TransactFailure<O::Reply>>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Transact { parts, then } = *self;
        Box::pin(async move {
            for (shard, operation) in &parts {
                if let Err(fault) = store.admit_operation(*shard, operation).await {
                    let resume: Resume = Box::new(move |cx| then(cx, Err(TransactFailure::Fault(fault))));
                    return resume;
                }
            }
            let outcome = store.transact(parts).await;
            let resume: Resume = Box::new(move |cx| then(cx, outcome));
            resume
        })
    }
}

/// Room for a write that is about to come.
struct Admit<F> {
    shard: ShardId,
    then: F,
}

impl<F> Step for Admit<F>
where
    F: FnOnce(&mut Context<'_>, Result<(), Fault>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Admit { shard, then } = *self;
        Box::pin(async move {
            let outcome = store.admit(shard).await;
            let resume: Resume = Box::new(move |cx| then(cx, outcome));
            resume
        })
    }
}

/// Time that passes.
struct Wait<F> {
    duration: Duration,
    then: F,
}

impl<F> Step for Wait<F>
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    fn run(self: Box<Self>, _store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Wait { duration, then } = *self;
        Box::pin(async move {
            ring::sleep(duration).await;
            let resume: Resume = Box::new(then);
            resume
        })
    }
}

impl Plan {
    /// Goes on once `duration` has passed. For what has to be tried again after others are done; a plan that only gives
    /// others a turn is a `Pause`.
    pub fn wait<F>(duration: Duration, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Wait { duration, then }))
    }

    /// Waits until `shard` has room for writes. `submit`, `transact`, `Receive` and `Copy` do this by themselves; it is
    /// for services that refuse early.
    pub fn admit<F>(shard: ShardId, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(), Fault>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Admit { shard, then }))
    }

    /// Runs `operation` on the shard that owns its partition key and goes on with its reply, which is durable then.
    pub fn submit<O, F>(shard: ShardId, operation: O, then: F) -> Plan
    where
        O: Operation,
        F: FnOnce(&mut Context<'_>, Result<O::Reply, Fault>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Submit { shard, operation, then }))
    }

    /// Runs all `parts` or none. A part that rolls back cancels the others.
    pub fn transact<O, F>(parts: Vec<(ShardId, O)>, then: F) -> Plan
    where
        O: Operation,
        F: FnOnce(&mut Context<'_>, Result<Vec<O::Reply>, TransactFailure<O::Reply>>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Transact { parts, then }))
    }
}
