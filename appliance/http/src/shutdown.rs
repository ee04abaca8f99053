//! The signal that a server should end, given once for all cores.
//! Invariant: whoever asks after `begin` sees it; whoever waits is woken.
//! Left to others: what ending means (`server`).

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A signal that any thread may give and every core's server waits for. Clones are the same signal.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    deadline: OnceLock<Instant>,
    /// One per accept loop, and for whoever else has to know.
    waiting: Mutex<Vec<Waker>>,
}

impl Shutdown {
    /// A signal not yet given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal: stop accepting, and finish within `patience` what is under way. The first call counts.
    pub fn begin(&self, patience: Duration) {
        if self.inner.deadline.set(Instant::now() + patience).is_ok() {
            let waiting = std::mem::take(&mut *self.lock());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.inner.deadline.get().is_some()
    }

    /// Waits until the signal is given; gives the instant by which everything should be over.
    pub async fn begun(&self) -> Instant {
        poll_fn(|cx| self.poll_begun(cx)).await
    }

    /// Ready with the instant by which everything should be over, once the signal was given.
    pub(crate) fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut waiting = self.lock();
        // Asked under the lock: begin sets the deadline before it takes the wakers.
        match self.inner.deadline.get() {
            Some(deadline) => Poll::Ready(*deadline),
            None => {
                if !waiting.iter().any(|other| other.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        // A list of wakers is whole between any two of its operations.
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
