//! Sleeping and time limits for tasks, measured by the reactor's clock.
//!
//! A reactor reads the clock once per turn, after the kernel has answered: `now` costs nothing and all tasks of a
//! turn agree on it.

use crate::core::Core;
use crate::slab::Key;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Sleeps longer than this are cut to it: `Instant` arithmetic must not overflow on a caller's `Duration::MAX`.
const SLEEP_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The time of the running turn.
///
/// # Panics
/// Outside a reactor.
pub fn now() -> Instant {
    Core::current().now.get()
}

/// Completes `duration` after the running turn began.
///
/// # Panics
/// Outside a reactor.
pub fn sleep(duration: Duration) -> Sleep {
    let core = Core::current();
    let deadline = core.now.get() + duration.min(SLEEP_MAX);
    Sleep { core, deadline, timer: None }
}

/// Completes at `deadline`, at once if that has passed.
///
/// # Panics
/// Outside a reactor.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { core: Core::current(), deadline, timer: None }
}

/// A timer as a future; made by `sleep` and `sleep_until`. Dropping it disarms it.
pub struct Sleep {
    core: Rc<Core>,
    deadline: Instant,
    timer: Option<Key>,
}

impl Sleep {
    /// When it completes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline; a completed sleep can be used again. The task must poll it again to be woken.
    pub fn reset(&mut self, deadline: Instant) {
        self.disarm();
        self.deadline = deadline;
    }

    fn disarm(&mut self) {
        if let Some(key) = self.timer.take() {
            let waker = self.core.timers.borrow_mut().remove(key);
            // Outside the borrow: dropping the last waker of a task may run that task's destructors.
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= self.core.now.get() {
            self.disarm();
            return Poll::Ready(());
        }
        if let Some(key) = self.timer {
            let updated = self.core.timers.borrow_mut().update(key, context.waker());
            if let Ok(former) = updated {
                drop(former);
                return Poll::Pending;
            }
        }
        let key = self.core.timers.borrow_mut().insert(self.deadline, context.waker().clone());
        self.timer = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// The time limit of `timeout` passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the time limit has passed")
    }
}

impl std::error::Error for Elapsed {}

/// Drives `future` for at most `limit`, then drops it.
///
/// # Errors
/// `Elapsed` if the future was still pending at the limit. A future that is ready at that very turn wins.
///
/// # Panics
/// Outside a reactor.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut limit = sleep(limit);
    poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut limit).poll(context).map(|()| Err(Elapsed))
    })
    .await
}
