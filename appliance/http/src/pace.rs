//! How fast a peer moves the bytes of one body, counted only while we wait for it.
//! Invariant: time that the handler spends is never held against the client.
//! Left to others: waking up at the deadline (`watch`).

use std::time::{Duration, Instant};

use crate::Limits;

/// The account of one body in one direction.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    waiting_since: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Notes that the peer must move next, and gives the instant at which patience ends: after `idle_max` without any
    /// progress, or when the average falls below the minimum.
    pub(crate) fn wait(&mut self, now: Instant, idle_max: Duration, limits: &Limits) -> Instant {
        let since = *self.waiting_since.get_or_insert(now);
        let earned_seconds = self.bytes / limits.rate_bytes_per_second_min.max(1);
        let credit =
            limits.rate_grace.saturating_add(Duration::from_secs(earned_seconds.min(CREDIT_SECONDS_MAX)));
        since + idle_max.min(credit.saturating_sub(self.waited))
    }

    /// Notes that the peer moved `bytes`.
    pub(crate) fn progress(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes += bytes as u64;
    }
}

/// Keeps instants from overflowing; nobody waits a year.
const CREDIT_SECONDS_MAX: u64 = 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            rate_bytes_per_second_min: 100,
            rate_grace: Duration::from_secs(10),
            body_idle: Duration::from_secs(5),
            ..Limits::default()
        }
    }

    #[test]
    fn a_silent_peer_is_given_the_idle_time() {
        let (limits, start) = (limits(), Instant::now());
        let mut pace = Pace::default();
        let deadline = pace.wait(start, limits.body_idle, &limits);
        assert_eq!(deadline, start + Duration::from_secs(5));
        // Asking again later does not move it.
        assert_eq!(pace.wait(start + Duration::from_secs(2), limits.body_idle, &limits), deadline);
    }

    #[test]
    fn a_dribbling_peer_runs_out_of_grace() {
        let (limits, start) = (limits(), Instant::now());
        let (mut pace, mut now) = (Pace::default(), start);
        loop {
            let deadline = pace.wait(now, limits.body_idle, &limits);
            let arrival = now + Duration::from_secs(4);
            if deadline < arrival {
                break;
            }
            now = arrival;
            pace.progress(now, 1);
        }
        assert!(now - start <= limits.rate_grace);
    }

    #[test]
    fn a_fast_peer_and_a_slow_handler_never_run_out() {
        let (limits, mut now) = (limits(), Instant::now());
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert_eq!(pace.wait(now, limits.body_idle, &limits), now + limits.body_idle);
            now += Duration::from_secs(1);
            pace.progress(now, 200);
            now += Duration::from_secs(3_600);
        }
    }
}
