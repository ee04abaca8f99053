//! Steps whose result type the plan does not name: an operation on one shard, several beside each other,
//! a transaction over several.
//! Invariant: `then` runs exactly once, on the core that drives the plan, after the outcome is known.
//! Leaves to the store: when that is, and what is durable by then.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use store::{Fault, Operation, ShardId, Store, TableId, TransactFailure};

use crate::{Context, Plan};

/// What remains of a plan once a step is over.
pub type Resume = Box<dyn FnOnce(&mut Context<'_>) -> Plan>;

/// Asynchronous work that ends in the rest of the plan. Only the node runs it.
pub trait Step {
    /// Starts the work on the store of this core.
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>>;

    /// Whether the work is given up, and the plan with it, once the client has gone: for what waits until something happens
    /// that only this client is to see.
    fn ends_with_client(&self) -> bool {
        false
    }
}

/// One operation on one shard.
struct Submit<O, F> {
    shard: ShardId,
    operation: O,
    ends_with_client: bool,
    then: F,
}

impl<O, F> Step for Submit<O, F>
where
    O: Operation,
    F: FnOnce(&mut Context<'_>, Result<O::Reply, Fault>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Submit { shard, operation, then, .. } = *self;
        Box::pin(async move {
            let outcome = admit_and_submit(&store, shard, operation).await;
            let resume: Resume = Box::new(move |cx| then(cx, outcome));
            resume
        })
    }

    fn ends_with_client(&self) -> bool {
        self.ends_with_client
    }
}

/// A shard that is behind makes writers wait here, before their operation takes room in its queue.
async fn admit_and_submit<O: Operation>(
    store: &Store,
    shard: ShardId,
    operation: O,
) -> Result<O::Reply, Fault> {
    store.admit_operation(shard, &operation).await?;
    store.submit(shard, operation).await
}

/// Operations that share nothing but who waits for them.
struct Gather<O, F> {
    parts: Vec<(ShardId, O)>,
    then: F,
}

impl<O, F> Step for Gather<O, F>
where
    O: Operation,
    F: FnOnce(&mut Context<'_>, Vec<Result<O::Reply, Fault>>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Gather { parts, then } = *self;
        Box::pin(async move {
            let store = &store;
            let parts = parts.into_iter().map(|(shard, part)| admit_and_submit(store, shard, part));
            let outcomes = join(parts).await;
            let resume: Resume = Box::new(move |cx| then(cx, outcomes));
            resume
        })
    }
}

/// Waits for all of `futures` at once; what they give comes in their order.
pub(crate) async fn join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        // A gather has few parts, so that polling all of them at each wake costs less than a waker for each.
        for (future, result) in running.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *result = Some(value);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// Index pages on their way into memory.
struct Warm<F> {
    shard: ShardId,
    keys: Vec<(TableId, Vec<u8>)>,
    then: F,
}

impl<F> Step for Warm<F>
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Warm { shard, keys, then } = *self;
        Box::pin(async move {
            store.warm(shard, keys).await;
            let resume: Resume = Box::new(then);
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
        Plan::Step(Box::new(Submit { shard, operation, ends_with_client: false, then }))
    }

    /// As `submit`, for an operation that may wait (`Outcome::Wait`): it stops waiting when the client has gone, and then
    /// nothing follows. If it did not wait any more, it stands.
    pub fn submit_while_wanted<O, F>(shard: ShardId, operation: O, then: F) -> Plan
    where
        O: Operation,
        F: FnOnce(&mut Context<'_>, Result<O::Reply, Fault>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Submit { shard, operation, ends_with_client: true, then }))
    }

    /// Runs `parts` beside each other, each by itself: each is admitted, refused, durable or not as if it were alone. The
    /// outcomes come in the order of the parts, when all are known.
    pub fn gather<O, F>(parts: Vec<(ShardId, O)>, then: F) -> Plan
    where
        O: Operation,
        F: FnOnce(&mut Context<'_>, Vec<Result<O::Reply, Fault>>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Gather { parts, then }))
    }

    /// Brings the index pages of keys of a shard into memory, so that a view that `then` takes does not wait for the disk
    /// on the reactor. Costs a turn also where nothing is to be done: look at `Store::is_cold` first.
    pub fn warm<F>(shard: ShardId, keys: Vec<(TableId, Vec<u8>)>, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>) -> Plan + 'static,
    {
        Plan::Step(Box::new(Warm { shard, keys, then }))
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
