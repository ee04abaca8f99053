//! Drives plans: does what a service asked for, and hands it each result, until the plan is a reply.
//! Invariant: closures of a service run between awaits, never across one; dropping the drive frees everything.

pub mod collect;
pub mod intake;
pub mod kept;
pub mod lanes;
pub mod receive;
pub mod reply;
#[cfg(test)]
pub mod testing;
mod verified;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use http_types::StatusCode;
use plan::{Collected, Context, Plan, Reply, Resume};
use store::Store;

use intake::Intake;
use kept::Kept;
use lanes::Lanes;

/// What a plan needs from its core.
pub trait Host {
    /// The shards.
    fn store(&self) -> &Store;
    /// MD5 for many uploads.
    fn lanes(&self) -> &Lanes;
    /// Small bodies that are read often.
    fn kept(&self) -> &Kept;
    /// Ready once nobody waits for the answer any more; maybe never.
    fn client_gone(&self) -> impl Future<Output = ()>;
    /// Runs one closure of a service with what it may use.
    fn with_context<R>(&self, run: impl FnOnce(&mut Context<'_>) -> R) -> R;
}

/// Runs a plan to its reply.
pub async fn drive(host: &impl Host, mut plan: Plan, intake: &mut Intake) -> Reply {
    loop {
        plan = match plan {
            Plan::Reply(reply) => return reply,
            Plan::Collect { limit_bytes, then } => {
                let body = intake.collect(limit_bytes).await;
                let body = body.map(|bytes| Collected { bytes, trailers: intake.take_trailers() });
                host.with_context(|cx| then(cx, body))
            }
            Plan::Next { then } => {
                let piece = intake.next().await;
                host.with_context(|cx| then(cx, piece))
            }
            // Boxed: these two are large and rarer than the rest, and a future is as large as its largest part.
            Plan::Receive(receive, then) => {
                let received = Box::pin(receive::receive(host, intake, receive)).await;
                host.with_context(|cx| then(cx, received))
            }
            Plan::Copy(copy, then) => {
                let received = Box::pin(receive::copy(host.store(), host.lanes(), copy)).await;
                host.with_context(|cx| then(cx, received))
            }
            Plan::Step(step) if step.ends_with_client() => {
                let work = step.run(host.store().clone());
                match until_gone(host, work).await {
                    Some(resume) => host.with_context(resume),
                    // Nobody reads it.
                    None => return Reply::empty(StatusCode::BAD_REQUEST),
                }
            }
            Plan::Step(step) => {
                let resume = step.run(host.store().clone()).await;
                host.with_context(resume)
            }
            Plan::Pause(then) => {
                ring::yield_now().await;
                host.with_context(|cx| then(cx, ()))
            }
        };
    }
}

/// What `work` gives; none when the client went away before that, and the work with it.
async fn until_gone(host: &impl Host, mut work: Pin<Box<dyn Future<Output = Resume>>>) -> Option<Resume> {
    let mut gone = pin!(host.client_gone());
    poll_fn(|cx| {
        if let Poll::Ready(resume) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(resume));
        }
        gone.as_mut().poll(cx).map(|()| None)
    })
    .await
}
