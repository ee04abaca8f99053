//! Answers that are worth nothing when they come late, and what is answered instead.
//! Invariant: what is done counts, however late it is; only what is not done by its time is given up.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::Reply;

/// By when the first byte of a reply has to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline(Instant);

/// What is answered when the first byte is not there in time.
pub struct Late {
    /// By when.
    pub deadline: Deadline,
    /// Instead.
    pub then: Box<dyn FnOnce() -> Reply>,
}

impl Deadline {
    /// So long after the running turn of the reactor began.
    ///
    /// # Panics
    /// Outside a reactor.
    #[must_use]
    pub fn after(duration: Duration) -> Deadline {
        Deadline(ring::now() + duration)
    }

    /// What `work` comes to. None: it is not done by the deadline, and is dropped.
    pub async fn of<T>(self, mut work: impl Future<Output = T> + Unpin) -> Option<T> {
        let mut sleep = None;
        let done = poll_fn(|cx| {
            if let Poll::Ready(value) = Pin::new(&mut work).poll(cx) {
                return Poll::Ready(Some(value));
            }
            let sleep = sleep.get_or_insert_with(|| ring::sleep_until(self.0));
            Pin::new(sleep).poll(cx).map(|()| None)
        });
        let done = done.await;
        if done.is_some() {
            return done;
        }
        // A thread that stood still meets its timers before what has come meanwhile, which is not late by its own fault.
        for _ in 0..TURN_COUNT {
            ring::yield_now().await;
        }
        poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut work).poll(cx) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            })
        })
        .await
    }
}

/// Turns of the loop within which what has come is handed out.
const TURN_COUNT: usize = 2;

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn on_reactor<T>(work: impl Future<Output = T>) -> T {
        ring::Reactor::new(&ring::ReactorConfig::default()).expect("reactor").block_on(work)
    }

    #[test]
    fn what_is_done_counts_however_late_and_what_is_not_is_given_up() {
        on_reactor(async {
            let over = Deadline::after(Duration::ZERO);
            assert_eq!(over.of(ready(7)).await, Some(7));
            assert_eq!(over.of(pending::<u8>()).await, None);
            let soon = Deadline::after(Duration::from_millis(1));
            assert_eq!(soon.of(pending::<u8>()).await, None);
        });
    }

    #[test]
    fn what_comes_within_a_turn_after_the_deadline_is_not_late() {
        on_reactor(async {
            let over = Deadline::after(Duration::ZERO);
            assert_eq!(over.of(Box::pin(async { ring::yield_now().await })).await, Some(()));
        });
    }

    #[test]
    fn what_takes_its_time_within_the_deadline_is_waited_for() {
        on_reactor(async {
            let far = Deadline::after(Duration::from_secs(600));
            assert_eq!(far.of(Box::pin(ring::sleep(Duration::from_millis(5)))).await, Some(()));
        });
    }
}
