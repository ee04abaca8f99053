//! What happened: latencies, service times, delays of our own, counts over time, and errors.
//!
//! Three times are kept apart, each in a histogram of three digits from 1 us to 10 min:
//! latency = answered - intended (what a caller feels), service = answered - sent (what the server took, and all that a
//! closed loop can see), delay = sent - max(intended, lane free) (what this program itself was late).
//! Invariant: a request belongs to the run if it was intended between the warm-up's end and the run's end, however late
//! its answer came; one that never came counts as an error, and its latency up to the run's last moment as well.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::schedule::Nanos;

/// Larger times are recorded as this one.
const NANOS_MAX: u64 = 600_000_000_000;
const DIGITS: u8 = 3;
/// The width of a point in the plots over time.
pub const SLICE: Duration = Duration::from_millis(100);
/// A run has at most so many points; longer ones add what is left to the last.
const SLICES_MAX: usize = 36_000;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection could be made.
    Connect,
    /// The connection broke, or was closed before the answer was whole.
    Broken,
    /// No whole answer within the time limit.
    Timeout,
    /// The answer is none of the protocol, or not what its head announced.
    Malformed,
    /// Another status than the scenario expects.
    Status(u16),
    /// The server said no, in a protocol that has no statuses.
    Refused,
    /// A good status with another body than the scenario expects.
    Content,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect => f.write_str("no connection"),
            Failure::Broken => f.write_str("connection broken"),
            Failure::Timeout => f.write_str("timed out"),
            Failure::Malformed => f.write_str("malformed answer"),
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Refused => f.write_str("refused"),
            Failure::Content => f.write_str("wrong content"),
        }
    }
}

/// The times of one request.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When it was to leave.
    pub intended: Nanos,
    /// When its lane was free to send it.
    pub free: Nanos,
    /// When it left.
    pub sent: Nanos,
    /// When its answer was whole, or was given up.
    pub done: Nanos,
}

/// What completed in one slice of time.
#[derive(Clone, Copy, Default)]
pub struct Slice {
    /// Good answers.
    pub good_count: u64,
    /// Failures.
    pub failed_count: u64,
    /// The longest latency, in nanoseconds.
    pub slowest: u64,
}

/// Collects the requests of one worker; workers are added up at the end.
pub struct Recorder {
    window: (Nanos, Nanos),
    /// From the intended time.
    pub latency: Histogram<u64>,
    /// From the time of sending.
    pub service: Histogram<u64>,
    /// Of this program.
    pub delay: Histogram<u64>,
    /// By the time of the answer, from the run's beginning, warm-up included.
    pub slices: Vec<Slice>,
    /// Good answers, warm-up included.
    pub good_count: u64,
    /// Failures, warm-up included.
    pub failed_count: u64,
    /// How many of each kind, with the first one's words.
    pub failures: BTreeMap<Failure, (u64, String)>,
    /// Good answers that came within the window: the throughput's numerator.
    pub in_window_count: u64,
    /// Bytes of their bodies, both ways.
    pub body_bytes: u64,
    /// Connections that the server closed between requests and that were made anew.
    pub reconnect_count: u64,
    /// Whether there was nothing left to send before the run's end.
    pub ran_out: bool,
}

impl Recorder {
    /// A recorder that counts requests intended from `from` to `until`.
    pub fn new(from: Nanos, until: Nanos) -> Recorder {
        let histogram = || {
            Histogram::new_with_bounds(1_000, NANOS_MAX, DIGITS)
                .expect("the bounds are constants that it takes")
        };
        let slices = (until.0 / SLICE.as_nanos() as u64) as usize + 1;
        Recorder {
            window: (from, until),
            latency: histogram(),
            service: histogram(),
            delay: histogram(),
            slices: vec![Slice::default(); slices.min(SLICES_MAX)],
            good_count: 0,
            failed_count: 0,
            failures: BTreeMap::new(),
            in_window_count: 0,
            body_bytes: 0,
            reconnect_count: 0,
            ran_out: false,
        }
    }

    /// Records a good answer.
    pub fn good(&mut self, times: Times, body_bytes: u64) {
        self.good_count += 1;
        let (from, until) = self.window;
        let slice = self.slice(times.done);
        slice.good_count += 1;
        slice.slowest = slice.slowest.max(times.done.since(times.intended));
        if times.done >= from && times.done < until {
            self.in_window_count += 1;
            self.body_bytes += body_bytes;
        }
        self.count_times(times);
    }

    /// Records a failure. Failures of the warm-up count too: they void a run just as well.
    pub fn failed(&mut self, times: Times, failure: Failure, words: impl FnOnce() -> String) {
        self.failed_count += 1;
        self.slice(times.done).failed_count += 1;
        self.count_times(times);
        self.failures.entry(failure).or_insert_with(|| (0, words())).0 += 1;
    }

    /// Adds what another worker recorded in the same window.
    pub fn add(&mut self, other: Recorder) {
        let merge = "histograms of equal bounds can be added";
        self.latency.add(&other.latency).expect(merge);
        self.service.add(&other.service).expect(merge);
        self.delay.add(&other.delay).expect(merge);
        for (slice, more) in self.slices.iter_mut().zip(&other.slices) {
            slice.good_count += more.good_count;
            slice.failed_count += more.failed_count;
            slice.slowest = slice.slowest.max(more.slowest);
        }
        for (failure, (count, words)) in other.failures {
            self.failures.entry(failure).or_insert((0, words)).0 += count;
        }
        self.good_count += other.good_count;
        self.failed_count += other.failed_count;
        self.in_window_count += other.in_window_count;
        self.body_bytes += other.body_bytes;
        self.reconnect_count += other.reconnect_count;
        self.ran_out |= other.ran_out;
    }

    fn count_times(&mut self, times: Times) {
        let (from, until) = self.window;
        if times.intended < from || times.intended >= until {
            return;
        }
        self.latency.saturating_record(times.done.since(times.intended));
        self.service.saturating_record(times.done.since(times.sent));
        self.delay.saturating_record(times.sent.since(times.intended.max(times.free)));
    }

    fn slice(&mut self, at: Nanos) -> &mut Slice {
        let index = (at.0 / SLICE.as_nanos() as u64) as usize;
        let last = self.slices.len() - 1;
        &mut self.slices[index.min(last)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn times(intended: u64, sent: u64, done: u64) -> Times {
        Times { intended: Nanos(intended), free: Nanos(sent), sent: Nanos(sent), done: Nanos(done) }
    }

    #[test]
    fn a_stall_of_the_server_shows_in_latency_and_not_in_service_time() {
        let mut recorder = Recorder::new(Nanos::ZERO, Nanos(1_000 * MS));
        // One connection, 1000 requests a second, answered in 0.1 ms but for one stall of 500 ms: the 499 requests that
        // were to leave during it leave one after the other behind it.
        let mut free = 0;
        for index in 0..1000 {
            let intended = index * MS;
            let sent = intended.max(free);
            free = sent + if index == 100 { 500 * MS } else { MS / 10 };
            recorder.good(times(intended, sent, free), 0);
        }
        assert!(recorder.service.value_at_quantile(0.99) < 2 * MS);
        assert!(recorder.latency.value_at_quantile(0.99) > 400 * MS);
        assert!(recorder.delay.max() < 2_000, "a busy connection is not our delay");
    }

    #[test]
    fn the_warm_up_does_not_count_but_its_failures_do() {
        let mut recorder = Recorder::new(Nanos(100 * MS), Nanos(200 * MS));
        recorder.good(times(50 * MS, 50 * MS, 51 * MS), 10);
        recorder.good(times(150 * MS, 150 * MS, 151 * MS), 10);
        recorder.failed(times(10 * MS, 10 * MS, 11 * MS), Failure::Status(503), || "SlowDown".to_owned());
        assert_eq!((recorder.latency.len(), recorder.in_window_count, recorder.body_bytes), (1, 1, 10));
        assert_eq!(recorder.failures[&Failure::Status(503)], (1, "SlowDown".to_owned()));
    }
}
