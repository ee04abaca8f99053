//! The time that a core attended to its shard: how long somebody has waited there, for one who gives up.
//! Invariant: what lies between two ticks counts as two tick intervals at most. Whoever waits on a core that stood still, and
//! whatever he waits for, which may have stood still with it, has what was left of his patience afterwards.

use std::time::{Duration, Instant};

use crate::owner::TICK_INTERVAL;

/// Runs while ticks come.
pub(crate) struct Attended {
    ticked_at: Instant,
    /// Until then.
    passed: Duration,
}

impl Attended {
    /// Begins to run.
    pub(crate) fn new(now: Instant) -> Attended {
        Attended { ticked_at: now, passed: Duration::ZERO }
    }

    /// What has passed so far.
    pub(crate) fn at(&self, now: Instant) -> Duration {
        self.passed + now.saturating_duration_since(self.ticked_at).min(2 * TICK_INTERVAL)
    }

    /// A tick.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.passed = self.at(now);
        self.ticked_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_runs_with_the_clock_while_ticks_come() {
        let begun = Instant::now();
        let mut attended = Attended::new(begun);
        for tick in 1..=10 {
            attended.tick(begun + tick * SECOND);
            assert_eq!(attended.at(begun + tick * SECOND), tick * SECOND);
        }
        assert_eq!(attended.at(begun + 10 * SECOND + SECOND / 2), 10 * SECOND + SECOND / 2);
    }

    #[test]
    fn a_core_that_stood_still_has_not_attended_before_its_tick_and_behind_it() {
        let begun = Instant::now();
        let mut attended = Attended::new(begun);
        attended.tick(begun + SECOND);
        let goes_on = begun + 60 * SECOND;
        assert_eq!(attended.at(goes_on), 3 * SECOND);
        attended.tick(goes_on);
        assert_eq!(attended.at(goes_on + SECOND), 4 * SECOND);
        // Of an instant before the tick, as the running turn of a reactor may have it.
        assert_eq!(attended.at(begun), 3 * SECOND);
    }
}
