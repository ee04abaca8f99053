//! The worker of a shard: takes what is due, makes the deliveries beside each other, and writes down what became of them.
//! Invariant: one worker for each shard, on the core that owns it; it ends when the shard closes. What it has not written
//! down happens again after the next start.
//! Leaves to operations.rs: what is due. To post.rs: one try.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use plan::{MORE_IS_DUE, Plan, Reply, Resume, Step};
use store::{Fault, Operation, ShardId, Store};

use super::address::Listeners;
use super::operations::{Claim, Ending, Job, Load, Settle};
use super::post::{Failure, Sender};
use crate::engine::dead_letter::Reason;
use crate::failures::Failures;

/// Pause after the store refused an operation.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// The deliveries of one core's shards.
pub struct Hooks {
    context: Rc<Deliverer>,
    workers: RefCell<HashMap<ShardId, ring::Task<()>>>,
}

/// What every delivery of a core needs.
struct Deliverer {
    sender: Sender,
    failures: Failures,
}

impl Hooks {
    /// For a service of this region. `listeners`: where this appliance listens, to which nothing is sent.
    #[must_use]
    pub fn new(region: &str, listeners: Listeners, failures: Failures) -> Rc<Hooks> {
        let sender = Sender::new(region.into(), listeners);
        Rc::new(Hooks { context: Rc::new(Deliverer { sender, failures }), workers: RefCell::default() })
    }

    /// Starts the worker of a shard that has none. From `Service::tick`.
    #[must_use]
    pub fn tick(self: &Rc<Self>, shard: ShardId) -> Option<Plan> {
        let is_running = self.workers.borrow().get(&shard).is_some_and(|worker| !worker.is_finished());
        if is_running {
            return None;
        }
        Some(Plan::Step(Box::new(Start { hooks: Rc::clone(self), shard })))
    }
}

struct Start {
    hooks: Rc<Hooks>,
    shard: ShardId,
}

impl Step for Start {
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Start { hooks, shard } = *self;
        Box::pin(async move {
            let worker = ring::spawn(work(Rc::clone(&hooks.context), store, shard));
            hooks.workers.borrow_mut().insert(shard, worker);
            // Other work of this tick may be due as well.
            let resume: Resume = Box::new(|_| Plan::Reply(Reply::empty(MORE_IS_DUE)));
            resume
        })
    }
}

async fn work(deliverer: Rc<Deliverer>, store: Store, shard: ShardId) {
    let mut after = None;
    loop {
        match submit(&store, shard, &mut || Load { after }).await {
            Some(Some(subscription)) => after = Some(subscription),
            Some(None) => break,
            None => return,
        }
    }
    let mut under_way: Vec<ring::Task<()>> = Vec::new();
    while let Some(jobs) = submit(&store, shard, &mut || Claim).await {
        under_way.retain(|task| !task.is_finished());
        for job in jobs {
            under_way.push(ring::spawn(deliver(Rc::clone(&deliverer), store.clone(), shard, job)));
        }
    }
}

async fn deliver(deliverer: Rc<Deliverer>, store: Store, shard: ShardId, job: Job) {
    let Job { place, bytes, work } = job;
    let ending = match &work {
        None => Ending::Over,
        Some(work) => match deliverer.sender.send(work, place.subscription).await {
            Ok(()) => Ending::Over,
            Err(Failure::Final { code, text }) => Ending::Failed(Reason { code, text }),
            Err(Failure::Passing { code, text }) => {
                match work.policy.delay_ms(work.failures.saturating_add(1)) {
                    Some(delay_ms) => Ending::Again { delay_ms },
                    None => Ending::Failed(Reason { code, text }),
                }
            }
        },
    };
    let region = deliverer.sender.region().into();
    let failures = deliverer.failures.clone();
    let settle = Settle { place, bytes, ending, region, failures };
    // None: the shard has closed, and the delivery is made again after the next start.
    let _: Option<()> = submit(&store, shard, &mut || settle.clone()).await;
}

/// Runs an operation until it succeeds. None: the store is closing.
async fn submit<O: Operation>(
    store: &Store,
    shard: ShardId,
    operation: &mut dyn FnMut() -> O,
) -> Option<O::Reply> {
    loop {
        let next = operation();
        let outcome = match store.admit_operation(shard, &next).await {
            Ok(()) => store.submit(shard, next).await,
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(reply) => return Some(reply),
            Err(Fault::Closed) => return None,
            // A disk that is full, a shard that is busy or refuses: all may pass, and nothing is lost by waiting.
            Err(_) => ring::sleep(FAULT_PAUSE).await,
        }
    }
}
