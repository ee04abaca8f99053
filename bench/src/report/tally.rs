//! From measurements to a report: adds up the rounds of a peer, and sets peers beside each other.
//! Invariant: a round that failed in any way voids its peer, and no ratio is taken of a void peer or against one.

use hdrhistogram::Histogram;

use super::json::{FailureKind, Fit, Peer, Point, Round, Summary, Values, rounded};
use crate::load::recorder::SLICE;
use crate::load::run::Measured;

/// Points of the curve per nine, and at most: six nines are more than any run's requests can show.
const POINTS_PER_NINE: u32 = 20;
const POINTS_MAX: u32 = 6 * POINTS_PER_NINE;
/// Rounding must not make a whole of it.
const SHARE_MAX: f64 = 0.999_999;
const NANOS_PER_MICRO: f64 = 1e3;

/// What else went on in a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// Not yet written to the machine's disks when it began.
    pub dirty_bytes: Option<u64>,
    /// CPU time that the other servers took per second.
    pub others_cpu_share: Option<f64>,
}

/// What is known of one peer so far.
pub struct Tally {
    peer: Peer,
    latency: Option<Histogram<u64>>,
}

impl Tally {
    /// Of `peer`, which names it and has no rounds yet.
    pub fn new(peer: Peer) -> Tally {
        Tally { peer, latency: None }
    }

    /// Notes how its setting reads, and the flushes of the disk per write where they were counted.
    pub fn know(&mut self, evidence: String, syncs_per_write: Option<f64>) {
        self.peer.evidence = evidence;
        self.peer.syncs_per_write = syncs_per_write.map(rounded);
    }

    /// Adds a round. The first that does not count voids the peer.
    pub fn add(&mut self, measured: &Measured, around: Around) {
        let latency = &measured.recorder.latency;
        match &mut self.latency {
            None => self.latency = Some(latency.clone()),
            Some(sum) => sum.add(latency).expect("histograms of equal bounds can be added"),
        }
        self.peer.rounds.push(round(measured, around));
        if let Some(reason) = measured.void() {
            self.void(reason);
        }
    }

    /// Voids the peer, for the first reason given.
    pub fn void(&mut self, reason: String) {
        self.peer.void.get_or_insert(reason);
    }

    /// Whether no round was added.
    pub fn is_empty(&self) -> bool {
        self.peer.rounds.is_empty()
    }

    fn peer(&self) -> Peer {
        let rounds = &self.peer.rounds;
        let each = |of: fn(&Round) -> f64| Values(rounds.iter().map(of).collect());
        let failures = rounds.iter().flat_map(|round| &round.failures);
        Peer {
            curve: self.latency.as_ref().map_or_else(Vec::new, curve),
            summary: Summary {
                rate: each(|round| round.rate),
                ratio: None,
                p50_us: each(|round| round.p50_us),
                p90_us: each(|round| round.p90_us),
                p99_us: each(|round| round.p99_us),
                p999_us: each(|round| round.p999_us),
                cpu_us: Values(rounds.iter().filter_map(|round| round.cpu_us).collect()),
                peak_bytes: rounds.iter().filter_map(|round| round.peak_bytes).max(),
                error_count: failures.map(|failure| failure.count).sum(),
                limit_rate: None,
                limit_share: None,
            },
            ..self.peer.clone()
        }
    }
}

/// The peers of a report: each summed up, with its ratio to the first and its share of the limit that fits the load.
pub fn peers(tallies: &[Tally], fit: Option<&Fit>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = tallies.iter().map(Tally::peer).collect();
    let base = peers.first().filter(|peer| counts(peer) && tallies.len() > 1);
    let base = base.map(|peer| peer.summary.rate.clone());
    for peer in peers.iter_mut().filter(|peer| counts(peer)) {
        // A limit of synced writes is none for a server that answers before its writes are on the disk.
        let limit = fit.filter(|fit| fit.holds_for(peer)).and_then(|fit| fit.rate);
        let summary = &mut peer.summary;
        summary.ratio = base.as_ref().and_then(|base| ratio(&summary.rate, base));
        summary.limit_rate = limit;
        summary.limit_share = limit.and_then(|limit| Some(rounded(summary.rate.median()? / limit)));
    }
    peers
}

fn counts(peer: &Peer) -> bool {
    peer.void.is_none() && peer.not_run.is_none()
}

/// Round by round, since what slows one turn of the machine slows its neighbour too.
fn ratio(rate: &Values, base: &Values) -> Option<Values> {
    let pairs = rate.0.iter().zip(&base.0).filter(|(_, base)| **base > 0.0);
    let ratios: Vec<f64> = pairs.map(|(rate, base)| rounded(rate / base)).collect();
    (!ratios.is_empty()).then_some(Values(ratios))
}

fn round(measured: &Measured, around: Around) -> Round {
    let recorder = &measured.recorder;
    let at = |histogram: &Histogram<u64>, share| micros(histogram.value_at_quantile(share));
    let per_answer = |seconds: f64| rounded(seconds * 1e6 / (recorder.in_window_count.max(1) as f64));
    let usage = measured.usage.as_ref();
    let failures = recorder.failures.iter().map(|(failure, (count, first))| FailureKind {
        kind: failure.to_string(),
        count: *count,
        first: first.clone(),
    });
    Round {
        rate: rounded(measured.rate()),
        good_count: recorder.good_count,
        failures: failures.collect(),
        unsent_count: measured.unsent_count,
        reconnect_count: recorder.reconnect_count,
        p50_us: at(&recorder.latency, 0.5),
        p90_us: at(&recorder.latency, 0.9),
        p99_us: at(&recorder.latency, 0.99),
        p999_us: at(&recorder.latency, 0.999),
        max_us: micros(recorder.latency.max()),
        service_p99_us: at(&recorder.service, 0.99),
        delay_p99_us: at(&recorder.delay, 0.99),
        cpu_us: usage.map(|usage| per_answer(usage.cpu().as_secs_f64())),
        cpu_user_us: usage.map(|usage| per_answer(usage.user.as_secs_f64())),
        peak_bytes: usage.map(|usage| usage.peak_bytes),
        body_bytes: recorder.body_bytes,
        generator_cpu_share: rounded(measured.generator_share),
        dirty_bytes: around.dirty_bytes,
        others_cpu_share: around.others_cpu_share.map(rounded),
        slice_seconds: SLICE.as_secs_f64(),
        good_counts: recorder.slices.iter().map(|slice| slice.good_count).collect(),
        notes: measured.notes.clone(),
        slowest_us: recorder.slices.iter().map(|slice| micros(slice.slowest)).collect(),
    }
}

/// Twenty points for each nine, up to the last that the number of requests can show, and the slowest request.
fn curve(latency: &Histogram<u64>) -> Vec<Point> {
    let count = latency.len() as f64;
    if latency.is_empty() {
        return Vec::new();
    }
    let point =
        |share: f64| Point { share: rounded(share), latency_us: micros(latency.value_at_quantile(share)) };
    let tails = (0..POINTS_MAX).map(|index| 10_f64.powf(-f64::from(index) / f64::from(POINTS_PER_NINE)));
    let mut points: Vec<Point> =
        tails.take_while(|tail| tail * count > 1.0).map(|tail| point(1.0 - tail)).collect();
    let last = rounded(1.0 - 1.0 / count).min(SHARE_MAX);
    points.push(Point { share: last, latency_us: micros(latency.max()) });
    points
}

fn micros(nanos: u64) -> f64 {
    rounded(nanos as f64 / NANOS_PER_MICRO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::recorder::{Failure, Recorder, Times};
    use crate::load::schedule::Nanos;

    const MS: u64 = 1_000_000;

    /// A round of a second in which `count` requests took 1 ms each.
    fn measured(count: u64) -> Measured {
        let mut recorder = Recorder::new(Nanos::ZERO, Nanos(1_000 * MS));
        for index in 0..count {
            let sent = Nanos(index * 900 * MS / count);
            recorder.good(Times { intended: sent, free: sent, sent, done: Nanos(sent.0 + MS) }, 100);
        }
        Measured {
            recorder,
            unsent_count: 0,
            seconds: 1.0,
            usage: None,
            generator_share: 0.1,
            ended_early: None,
            notes: Vec::new(),
            refuted: None,
        }
    }

    fn tally(counts: &[u64]) -> Tally {
        let mut tally = Tally::new(Peer::default());
        counts.iter().for_each(|count| tally.add(&measured(*count), Around::default()));
        tally
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        let peers = peers(&[tally(&[100, 200, 400]), tally(&[200, 400, 800])], None);
        assert_eq!(peers[0].summary.ratio, Some(Values(vec![1.0; 3])));
        assert_eq!(peers[1].summary.ratio.as_ref().and_then(Values::spread), Some([2.0; 3]));
    }

    #[test]
    fn an_error_in_one_round_voids_the_row_and_every_ratio_that_would_need_it() {
        let mut bad = measured(100);
        let at = Nanos(MS);
        let times = Times { intended: at, free: at, sent: at, done: at };
        bad.recorder.failed(times, Failure::Status(503), || "SlowDown".to_owned());
        let mut void = tally(&[100]);
        void.add(&bad, Around::default());
        let beside = peers(&[tally(&[100, 100]), void], None);
        assert!(beside[0].summary.ratio.is_some() && beside[1].summary.ratio.is_none());
        assert!(beside[1].void.as_ref().is_some_and(|reason| reason.contains("SlowDown")));
        assert_eq!((beside[1].summary.error_count, beside[1].rounds.len()), (1, 2));
        let mut first = tally(&[]);
        first.add(&bad, Around::default());
        assert!(peers(&[first, tally(&[100])], None)[1].summary.ratio.is_none());
    }

    #[test]
    fn the_curve_rises_over_about_a_hundred_points_and_ends_with_the_slowest_request() {
        let mut latency = measured(100_000).recorder.latency;
        latency.record(7_000 * MS).expect("within bounds");
        let points = curve(&latency);
        assert!((90..=121).contains(&points.len()), "{}", points.len());
        assert!(points.is_sorted_by(|a, b| a.share <= b.share && a.latency_us <= b.latency_us));
        assert!(points.last().is_some_and(|last| last.share < 1.0 && last.latency_us > 6.9e6));
    }

    #[test]
    fn a_share_is_taken_of_the_limit_that_fits_and_of_no_other() {
        let fit = |rate, is_synced| Fit {
            limit: "a limit".to_owned(),
            rate,
            is_synced,
            is_of_http: !is_synced,
            reason: None,
        };
        let share = |fit: &Fit| peers(&[tally(&[100])], Some(fit))[0].summary.limit_share;
        assert_eq!(share(&fit(Some(200.0), false)), Some(0.5));
        assert_eq!(share(&fit(None, false)), None);
        let mut lossy = tally(&[100]);
        lossy.peer.durable = Some(false);
        let both = peers(&[tally(&[100]), lossy], Some(&fit(Some(200.0), true)));
        assert_eq!((both[0].summary.limit_share, both[1].summary.limit_share), (Some(0.5), None));
        let mut other = tally(&[100]);
        other.peer.speaks = Some("RESP 2".to_owned());
        let both = peers(&[tally(&[100]), other], Some(&fit(Some(200.0), false)));
        assert_eq!((both[0].summary.limit_share, both[1].summary.limit_share), (Some(0.5), None));
    }
}
