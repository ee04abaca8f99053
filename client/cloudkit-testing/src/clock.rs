//! What time it is for the cloud in memory, as an argument.
//! Invariant: time never goes back, and whoever waits for a time is woken when it has come.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What time it is.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> DateTime<Utc>;

    /// Returns when this time has come.
    async fn sleep_until(&self, time: DateTime<Utc>);
}

/// The time of the runtime: real, or virtual where a test has paused it (`tokio::time::pause`).
#[derive(Debug, Clone)]
pub struct TokioClock {
    began: DateTime<Utc>,
    /// When the first call came; before it there may be no runtime.
    origin: Arc<std::sync::OnceLock<Instant>>,
}

impl TokioClock {
    /// A clock that begins with the time of this machine.
    pub fn new() -> Self {
        Self { began: Utc::now(), origin: Arc::default() }
    }

    fn origin(&self) -> Instant {
        *self.origin.get_or_init(Instant::now)
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        later(self.began, self.origin().elapsed())
    }

    async fn sleep_until(&self, time: DateTime<Utc>) {
        let since = (time - self.began).to_std().unwrap_or_default();
        tokio::time::sleep_until(self.origin() + since).await;
    }
}

/// A clock that stands still until it is told to go on. Its clones are the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    now: Mutex<DateTime<Utc>>,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at the time of this machine.
    pub fn new() -> Self {
        Self::at(Utc::now())
    }

    /// A clock that stands at this time.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self { shared: Arc::new(Shared { now: Mutex::new(time), moved: Notify::new() }) }
    }

    /// Moves it on, and wakes those whose time has come.
    pub fn advance(&self, by: Duration) {
        {
            let mut now = self.lock();
            *now = later(*now, by);
        }
        self.shared.moved.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, DateTime<Utc>> {
        // A time is written whole, so that a panic elsewhere cannot leave half of one.
        self.shared.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.lock()
    }

    async fn sleep_until(&self, time: DateTime<Utc>) {
        loop {
            // Made before the look at the time: an advance in between is then not missed.
            let moved = self.shared.moved.notified();
            if self.now() >= time {
                return;
            }
            moved.await;
        }
    }
}

/// So much later; the last time that there is, where that is too far.
pub(crate) fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::new();
        let wanted = later(clock.now(), Duration::from_secs(10));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(wanted).await }
        });
        clock.advance(Duration::from_secs(9));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.now(), wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_a_paused_runtime_is_virtual() {
        let clock = TokioClock::new();
        let before = clock.now();
        clock.sleep_until(later(before, Duration::from_secs(3600))).await;
        assert!(clock.now() >= later(before, Duration::from_secs(3600)));
    }
}
