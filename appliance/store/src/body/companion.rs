//! The way off the reactor: work that may block (creation, allocation, truncation, opening) runs on the companion.
//! Invariant: a job is run once or dropped; whoever waits for it learns which.
//! Leaves to the shard: the companion thread itself.

use tokio::sync::oneshot;

use crate::fault::Fault;

/// A thread, or a few, for blocking work. The shard supplies it.
pub trait Companion: Send + Sync + 'static {
    /// Runs a job soon, elsewhere. A companion that is shutting down may drop it.
    fn run(&self, job: Box<dyn FnOnce() + Send>);
}

/// Runs blocking work on the companion and waits for its result without blocking the core.
/// Errors: `Fault::Closed` when the companion dropped the work.
pub async fn run_blocking<T: Send + 'static>(
    companion: &dyn Companion,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let (answer, result) = oneshot::channel();
    companion.run(Box::new(move || {
        // Whoever asked may have gone away; the work is done all the same and its result has no reader.
        drop(answer.send(work()));
    }));
    result.await.map_err(|_| Fault::Closed)
}
