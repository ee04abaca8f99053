//! The time that operations see, and the clock of tests, which stands still until it is moved.
//! Invariant: the time of a shard never goes back, and it goes on while the system's clock stands behind it.
//! Leaves to wait.rs: who is woken at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::types::Timestamp;

/// Where a store takes the time from.
#[derive(Clone, Default, Debug)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that a test moves.
    Manual(ManualClock),
}

impl Clock {
    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::from_system_clock(),
            Clock::Manual(manual) => manual.now(),
        }
    }
}

/// A clock for tests in virtual time. Clones are the same clock; any thread may move it.
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: Arc<watch::Sender<Timestamp>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> ManualClock {
        ManualClock { time: Arc::new(watch::Sender::new(start)) }
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    /// Moves the clock forward by whole milliseconds and wakes whoever waits for a time that has come by that. They have
    /// run when `Store::catch_up` is over.
    pub fn advance(&self, duration: Duration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.time.send_modify(|time| *time = time.plus_ms(ms));
    }

    /// Hears of every move.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Timestamp> {
        self.time.subscribe()
    }
}

/// The time of one shard.
pub(crate) struct ShardClock {
    clock: Clock,
    last_us: u64,
    /// When `last_us` was found, by the reactor's clock.
    found: Option<Instant>,
}

impl ShardClock {
    pub(crate) fn new(clock: Clock) -> ShardClock {
        ShardClock { clock, last_us: 0, found: None }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time, never less than before.
    pub(crate) fn now(&mut self) -> Timestamp {
        match &self.clock {
            Clock::System => self.follow(system_us(), ring::now()),
            Clock::Manual(manual) => self.last_us = self.last_us.max(manual.now().0.saturating_mul(1_000)),
        }
        Timestamp(self.last_us / 1_000)
    }

    /// Follows a clock that shows `wall_us`. While it stands far behind, after it was set back, this one goes on a little
    /// slower than time passes, until the other has come up: what is to happen in half a minute still happens in about that.
    /// `now` is the turn's and may be long past when `wall_us` is read, so that it counts only then.
    fn follow(&mut self, wall_us: u64, now: Instant) {
        let elapsed = self.found.map_or(Duration::ZERO, |found| now.saturating_duration_since(found));
        self.found = Some(now);
        if wall_us >= self.last_us {
            self.last_us = wall_us;
        } else if self.last_us - wall_us > STAND_US_MAX {
            let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            self.last_us = self.last_us.saturating_add(elapsed_us / 8 * 7);
        }
    }
}

/// A clock that was set back by no more than this is waited for.
const STAND_US_MAX: u64 = 100_000;

/// Notices that the system's clock was set, for the whole process.
pub(crate) struct StepWatch {
    started: Instant,
    /// The system's clock minus the time since `started`, in microseconds; `UNKNOWN` before the first look.
    offset_us: AtomicI64,
    count: AtomicU64,
}

const UNKNOWN: i64 = i64::MIN;
/// A clock that was set by more than this is worth a word.
const STEP_MAX: Duration = Duration::from_secs(60);

impl StepWatch {
    pub(crate) fn new() -> StepWatch {
        StepWatch { started: Instant::now(), offset_us: AtomicI64::new(UNKNOWN), count: AtomicU64::new(0) }
    }

    /// How often it was set.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What an operator should hear, once for each step, whichever shard looks first.
    pub(crate) fn look(&self, now: Instant) -> Option<String> {
        self.compare(system_us(), now)
    }

    fn compare(&self, wall_us: u64, now: Instant) -> Option<String> {
        let since_us = now.saturating_duration_since(self.started).as_micros();
        let offset_us = i64::try_from(i128::from(wall_us) - since_us.cast_signed()).unwrap_or(i64::MAX);
        let known_us = self.offset_us.load(Ordering::Relaxed);
        let exchange =
            self.offset_us.compare_exchange(known_us, offset_us, Ordering::Relaxed, Ordering::Relaxed);
        if exchange.is_err() || known_us == UNKNOWN {
            return None;
        }
        let step = Duration::from_micros(offset_us.abs_diff(known_us));
        if step <= STEP_MAX {
            return None;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(if offset_us > known_us {
            format!(
                "the system's clock was set forward by {} s: what was to happen meanwhile happens now",
                step.as_secs()
            )
        } else {
            format!(
                "the system's clock was set back by {} s: the shards' clocks go on until it has come up",
                step.as_secs()
            )
        })
    }
}

fn system_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn the_time_of_a_shard_goes_on_while_the_systems_clock_stands_behind_it() {
        let mut clock = ShardClock::new(Clock::System);
        let start = Instant::now();
        let mut read = |wall_s: u64, after_s: u64| {
            clock.follow(wall_s * SECOND_US, start + Duration::from_secs(after_s));
            clock.last_us / SECOND_US
        };
        assert_eq!(read(5_000, 0), 5_000);
        assert_eq!(read(5_010, 10), 5_010);
        assert_eq!(read(4_000, 10), 5_010, "set back: no step back");
        assert_eq!(read(4_008, 18), 5_017, "seven eighths of the time that passes");
        assert_eq!(read(4_016, 26), 5_024);
        assert_eq!(read(6_000, 34), 6_000, "set forward: followed at once");
    }

    #[test]
    fn the_time_of_a_shard_is_the_systems_however_late_in_a_turn_it_is_read() {
        let mut clock = ShardClock::new(Clock::System);
        let start = Instant::now();
        let begun = |ms: u64| start + Duration::from_millis(ms);
        let wall_us = |ms: u64| 100 * SECOND_US + ms * 1_000;
        clock.follow(wall_us(80), begun(0));
        clock.follow(wall_us(90), begun(85));
        assert_eq!(clock.last_us, wall_us(90));
        // A breath back is waited for: what a turn took already must not be counted once more.
        clock.follow(wall_us(170), begun(90));
        clock.follow(wall_us(169), begun(168));
        assert_eq!(clock.last_us, wall_us(170));
        clock.follow(wall_us(171), begun(171));
        assert_eq!(clock.last_us, wall_us(171));
    }

    #[test]
    fn many_short_turns_add_up_to_time_that_passes() {
        let mut clock = ShardClock::new(Clock::System);
        let start = Instant::now();
        clock.follow(100 * SECOND_US, start);
        for turn in 1..=8_000 {
            clock.follow(0, start + Duration::from_micros(turn * 125));
        }
        let passed_us = clock.last_us - 100 * SECOND_US;
        assert!((SECOND_US * 6 / 8..=SECOND_US * 7 / 8).contains(&passed_us), "{passed_us} us");
    }

    #[test]
    fn a_step_of_the_systems_clock_is_said_once() {
        let watch = StepWatch::new();
        let at = |seconds: u64| watch.started + Duration::from_secs(seconds);
        let words = |wall_s: u64, now| watch.compare(wall_s * SECOND_US, now);
        assert_eq!(words(1_000_000, at(0)), None);
        assert_eq!(words(1_003_600, at(3_600)), None, "an hour that passed is no step");
        assert_eq!(words(1_003_660, at(3_601)), None, "59 seconds are no step");
        assert!(words(1_003_800, at(3_602)).expect("a step").contains("forward by 139 s"));
        assert_eq!(words(1_003_801, at(3_603)), None, "said once");
        assert!(words(1_000_000, at(3_604)).expect("a step").contains("back by 3802 s"));
        assert_eq!(watch.count(), 2);
    }

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let manual = ManualClock::new(Timestamp(50));
        let clock = Clock::Manual(manual.clone());
        assert_eq!(clock.now(), Timestamp(50));
        manual.advance(Duration::from_millis(7));
        assert_eq!(clock.now(), Timestamp(57));
        manual.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp(u64::MAX));
    }
}
