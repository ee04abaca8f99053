//! When requests are due: the intended times of an open loop, as plain arithmetic on a clock that the caller reads.
//!
//! Invariant: the n-th intended time depends on n, the rate and the seed alone, never on how the server or this program
//! kept up. That is what makes a stall visible: whoever is late sends at once, and its latency counts from here.
//! Nothing is queued: requests that are overdue are those between `next` and now, so any backlog takes no memory.
//! Left to others: waiting (pacer.rs) and recording (recorder.rs).

use std::time::Duration;

/// A point in time, in nanoseconds since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The run's beginning.
    #[cfg(test)]
    pub const ZERO: Nanos = Nanos(0);

    /// The time that `duration` after the beginning is.
    pub fn from_duration(duration: Duration) -> Nanos {
        Nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// With exponential distances, as independent callers arrive.
    Poisson,
}

/// The intended times of one worker's requests.
pub struct Schedule {
    arrivals: Arrivals,
    /// Requests per second.
    rate: f64,
    random: SplitMix,
    index: u64,
    first: Nanos,
    next: Nanos,
    end: Nanos,
}

impl Schedule {
    /// A schedule of `rate` requests per second from `first` to `end`. `rate` is positive.
    pub fn new(arrivals: Arrivals, rate: f64, first: Nanos, end: Nanos, seed: u64) -> Schedule {
        assert!(rate.is_finite() && rate > 0.0, "the command line refuses other rates");
        Schedule { arrivals, rate, random: SplitMix(seed), index: 0, first, next: first, end }
    }

    /// The next intended time if it has come. Each is given once; once the run's end has passed, none is: what is overdue
    /// then was never sent, and `overdue` says how much that is.
    pub fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let due = self.next;
        if due > now || self.is_over(now) {
            return None;
        }
        self.index += 1;
        self.next = match self.arrivals {
            // From the index, not by addition: a rounded distance would drift by a percent in seconds.
            Arrivals::Even => Nanos(self.first.0 + (self.index as f64 * 1e9 / self.rate) as u64),
            Arrivals::Poisson => {
                let distance = -(1.0 - self.random.unit()).ln() * 1e9 / self.rate;
                Nanos(due.0 + distance as u64)
            }
        };
        Some(due)
    }

    /// The next intended time.
    pub fn next(&self) -> Nanos {
        self.next
    }

    /// Whether nothing more is given: all were taken, or the end has passed.
    pub fn is_over(&self, now: Nanos) -> bool {
        // Who is woken for the last request may come microseconds late.
        const GRACE: u64 = 1_000_000;
        self.next >= self.end || now.0 >= self.end.0 + GRACE
    }

    /// How many were due by `now` and not taken; for Poisson arrivals an estimate by the rate.
    pub fn overdue(&self, now: Nanos) -> u64 {
        let until = now.min(self.end);
        (until.since(self.next) as f64 * self.rate / 1e9) as u64
    }
}

/// A small generator of random numbers (Steele, Lea, Flood 2014): the same seed gives the same run.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_even_schedule_gives_rate_times_duration_and_does_not_drift() {
        // 150,007 per second has no whole distance in nanoseconds.
        let mut schedule = Schedule::new(Arrivals::Even, 150_007.0, Nanos::ZERO, Nanos(10 * SECOND), 1);
        let mut last = Nanos::ZERO;
        let mut count = 0_u64;
        while let Some(due) = schedule.take(schedule.next()) {
            last = due;
            count += 1;
        }
        assert!((count as i64 - 1_500_070).abs() <= 1, "{count}");
        assert!(last.0 > 10 * SECOND - 10_000);
    }

    #[test]
    fn a_stall_of_the_caller_leaves_the_intended_times_as_they_were() {
        let mut schedule = Schedule::new(Arrivals::Even, 1000.0, Nanos::ZERO, Nanos(SECOND), 1);
        assert_eq!(schedule.take(Nanos::ZERO), Some(Nanos::ZERO));
        // Nobody asks for 100 ms: the next hundred are due, at their own times, one after the other.
        let now = Nanos(100_000_000);
        assert_eq!(schedule.overdue(now), 99);
        for index in 1..=100 {
            assert_eq!(schedule.take(now), Some(Nanos(index * 1_000_000)));
        }
        assert_eq!(schedule.take(now), None);
        assert_eq!(schedule.next(), Nanos(101_000_000));
    }

    #[test]
    fn what_is_overdue_at_the_end_is_not_sent_but_counted() {
        let mut schedule = Schedule::new(Arrivals::Even, 1000.0, Nanos::ZERO, Nanos(SECOND), 1);
        for _ in 0..900 {
            schedule.take(Nanos(SECOND)).expect("due");
        }
        let late = Nanos(2 * SECOND);
        assert_eq!((schedule.take(late), schedule.is_over(late), schedule.overdue(late)), (None, true, 100));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_repeat_by_seed() {
        let times = |seed| {
            let mut schedule =
                Schedule::new(Arrivals::Poisson, 50_000.0, Nanos::ZERO, Nanos(10 * SECOND), seed);
            std::iter::from_fn(move || schedule.take(schedule.next())).collect::<Vec<_>>()
        };
        let one = times(7);
        assert!((one.len() as f64 / 500_000.0 - 1.0).abs() < 0.01, "{}", one.len());
        assert_eq!(one, times(7));
    }
}
