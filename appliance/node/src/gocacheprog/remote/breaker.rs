//! When the appliance is asked, and how long it is waited for.
//!
//! ```text
//! closed --3 failures in a row, or `failed_wait` lost to failures--> open --30 s--> probing
//!   ^                                                                   ^               |
//!   +------------------------------ success ----------------------------|---------------+
//!                                                                       +--- failure ---+
//! ```
//! Invariant: while it is not closed nobody waits: look-ups are misses at once, and a probe runs beside the build. All waits that end
//! in failures together stay near `Limits::failed_wait`, so a dead or slow appliance costs a build less than a second.
//! Leaves to worker.rs: the clock and what a failure is.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 3;
/// How long it stays open before a probe.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// What an answer gets at least when failures have used up their time.
pub const FIRST_BYTE_MIN: Duration = Duration::from_millis(100);
/// What timers and the way through this program may add to a wait.
const SLACK: Duration = Duration::from_millis(50);

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Making a connection, TLS included; and finding the address.
    pub connect: Duration,
    /// The first byte of an answer.
    pub first_byte: Duration,
    /// All failures of a run together, before the appliance is taken for dead, however few they were.
    pub failed_wait: Duration,
    /// A body, beside a second for each MiB.
    pub body_base: Duration,
    /// The uploads that are not through when the build has ended.
    pub join: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_millis(250),
            first_byte: Duration::from_secs(1),
            failed_wait: Duration::from_millis(850),
            body_base: Duration::from_secs(1),
            join: Duration::from_secs(5),
        }
    }
}

/// The state.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    failure_count: u32,
    failed_wait: Duration,
    open_until: Option<Instant>,
    is_probing: bool,
}

/// What to do with a look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Ask, and wait.
    Ask,
    /// A miss; but ask, to learn whether the appliance is there again.
    MissAndProbe,
    /// A miss.
    Miss,
}

impl Breaker {
    /// A closed one.
    pub fn new(limits: Limits) -> Breaker {
        Breaker { limits, failure_count: 0, failed_wait: Duration::ZERO, open_until: None, is_probing: false }
    }

    /// What to do at `now`.
    pub fn way(&mut self, now: Instant) -> Way {
        match self.open_until {
            None => Way::Ask,
            Some(until) if now >= until && !self.is_probing => {
                self.is_probing = true;
                Way::MissAndProbe
            }
            Some(_) => Way::Miss,
        }
    }

    /// Whether requests may be sent that nobody waits for.
    pub fn is_closed(&self) -> bool {
        self.open_until.is_none()
    }

    /// How long the first byte of an answer may take.
    pub fn first_byte_max(&self) -> Duration {
        let left = self.limits.failed_wait.saturating_sub(self.failed_wait);
        left.min(self.limits.first_byte).max(FIRST_BYTE_MIN)
    }

    /// The appliance answered.
    pub fn succeeded(&mut self) {
        self.failure_count = 0;
        self.open_until = None;
        self.is_probing = false;
    }

    /// It did not, and `waited` was lost by the one who asked.
    pub fn failed(&mut self, now: Instant, waited: Duration) {
        self.failure_count += 1;
        self.failed_wait += waited;
        let is_spent = self.failed_wait + SLACK >= self.limits.failed_wait;
        if self.is_probing || self.failure_count >= FAILURES_MAX || is_spent {
            self.open_until = Some(now + OPEN_FOR);
            self.is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it_for_thirty_seconds() {
        let (mut breaker, start) = (Breaker::new(Limits::default()), Instant::now());
        for _ in 0..2 {
            breaker.failed(start, Duration::ZERO);
            assert_eq!(breaker.way(start), Way::Ask);
        }
        breaker.failed(start, Duration::ZERO);
        assert!(!breaker.is_closed());
        assert_eq!(breaker.way(start + OPEN_FOR - Duration::from_millis(1)), Way::Miss);
        assert_eq!(breaker.way(start + OPEN_FOR), Way::MissAndProbe);
        assert_eq!(breaker.way(start + OPEN_FOR), Way::Miss, "one probe is enough");
    }

    #[test]
    fn successes_in_between_keep_it_closed() {
        let (mut breaker, start) = (Breaker::new(Limits::default()), Instant::now());
        for _ in 0..10 {
            breaker.failed(start, Duration::ZERO);
            breaker.failed(start, Duration::ZERO);
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_probe_decides_alone() {
        let (mut breaker, start) = (Breaker::new(Limits::default()), Instant::now());
        for _ in 0..3 {
            breaker.failed(start, Duration::ZERO);
        }
        let later = start + OPEN_FOR;
        assert_eq!(breaker.way(later), Way::MissAndProbe);
        breaker.failed(later, Duration::ZERO);
        assert_eq!(breaker.way(later + OPEN_FOR - Duration::from_millis(1)), Way::Miss);
        assert_eq!(breaker.way(later + OPEN_FOR), Way::MissAndProbe);
        breaker.succeeded();
        assert_eq!(breaker.way(later + OPEN_FOR), Way::Ask);
    }

    #[test]
    fn all_that_failures_cost_stays_below_a_second() {
        let (mut breaker, mut now) = (Breaker::new(Limits::default()), Instant::now());
        let mut lost = Duration::ZERO;
        while breaker.way(now) == Way::Ask {
            let wait = breaker.first_byte_max();
            now += wait;
            lost += wait;
            breaker.failed(now, wait);
        }
        assert!(lost < Duration::from_secs(1), "{lost:?}");
    }
}
