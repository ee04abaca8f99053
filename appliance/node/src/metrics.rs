//! Counters, one set per core, merged when somebody asks.
//! Invariant: a core writes only its own counters, so counting costs two plain memory accesses and no lock; a scrape
//! reads them from any thread. The number of rows is bounded, since names are words of the program, never of a client.

pub mod cache;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A number that one thread changes and any thread reads.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning core calls this: two writers would lose counts.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes `count` back, for numbers that go up and down.
    pub fn subtract(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    /// Replaces the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency buckets in microseconds; one more bucket holds the rest.
const BUCKETS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Rows of one core at most: operations of all services. What comes beyond is counted in the row "other".
const ROWS_MAX: usize = 512;

/// The row of what found no row of its own.
const OTHER: (&str, &str) = ("all", "other");

/// What one operation of one service did on one core.
#[derive(Default)]
struct Row {
    name: OnceLock<(&'static str, &'static str)>,
    /// By the first digit of the status, 1 to 5.
    statuses: [Counter; 6],
    received_bytes: Counter,
    sent_bytes: Counter,
    buckets: [Counter; BUCKETS_US.len() + 1],
    total_us: Counter,
}

/// How long something took, how often.
#[derive(Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_US.len() + 1],
    total_us: Counter,
}

impl Histogram {
    /// Counts one.
    pub fn count(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BUCKETS_US.partition_point(|bound| *bound < us)].add(1);
        self.total_us.add(us);
    }
}

/// The counters of one core.
pub struct CoreMetrics {
    rows: Box<[Row]>,
    rows_used: AtomicUsize,
    /// Requests being handled.
    pub in_flight: Counter,
    /// Requests refused because their signature or form was wrong.
    pub refused: Counter,
    /// Answers cut short because stored bytes could not be read or the client left.
    pub aborted: Counter,
    /// From the head of a request to the build cache that reads to the first byte of the answer.
    pub first_byte: Histogram,
    /// When this core's loop last ran its clock, in milliseconds since the process began.
    pub heartbeat_ms: Counter,
    /// Figures that the core copies here once a second, each with its name and help.
    gauges: OnceLock<Vec<(&'static Gauge, Counter)>>,
}

/// A figure that is copied from somewhere else.
#[derive(Debug)]
pub struct Gauge {
    /// The metric's name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// "counter" or "gauge".
    pub kind: &'static str,
}

impl CoreMetrics {
    /// All zero.
    pub fn new() -> Arc<CoreMetrics> {
        Arc::new(CoreMetrics {
            rows: (0..ROWS_MAX).map(|_| Row::default()).collect(),
            rows_used: AtomicUsize::new(0),
            in_flight: Counter::default(),
            refused: Counter::default(),
            aborted: Counter::default(),
            first_byte: Histogram::default(),
            heartbeat_ms: Counter::default(),
            gauges: OnceLock::new(),
        })
    }

    /// Copies figures in. The set of names is that of the first call.
    pub fn publish(&self, figures: &[(&'static Gauge, u64)]) {
        let gauges = self
            .gauges
            .get_or_init(|| figures.iter().map(|(gauge, _)| (*gauge, Counter::default())).collect());
        for ((_, counter), (_, value)) in gauges.iter().zip(figures) {
            counter.set(*value);
        }
    }
}

/// A core's way to its rows.
pub struct Rows {
    metrics: Arc<CoreMetrics>,
    /// The names of the rows in use, in the order of the rows.
    names: RefCell<Vec<(&'static str, &'static str)>>,
}

/// What one request did.
pub struct Sample {
    /// The service.
    pub service: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Body bytes that came.
    pub received_bytes: u64,
    /// Body bytes that left.
    pub sent_bytes: u64,
    /// From the head's arrival to the reply's end.
    pub took: Duration,
}

impl Rows {
    /// The rows of this core.
    pub fn new(metrics: Arc<CoreMetrics>) -> Rows {
        Rows { metrics, names: RefCell::default() }
    }

    /// The counters of this core.
    pub fn core(&self) -> &CoreMetrics {
        &self.metrics
    }

    /// Counts one request.
    pub fn count(&self, sample: &Sample) {
        let row = &self.metrics.rows[self.row(sample.service, sample.operation)];
        row.statuses[usize::from(sample.status / 100).min(5)].add(1);
        row.received_bytes.add(sample.received_bytes);
        row.sent_bytes.add(sample.sent_bytes);
        let us = u64::try_from(sample.took.as_micros()).unwrap_or(u64::MAX);
        row.buckets[BUCKETS_US.partition_point(|bound| *bound < us)].add(1);
        row.total_us.add(us);
    }

    fn row(&self, service: &'static str, operation: &'static str) -> usize {
        let mut names = self.names.borrow_mut();
        // Names are words of the program, so nearly always they are the very same bytes: comparing addresses finds them
        // without reading them. A word that the linker holds twice is found by its text.
        let same = |known: &(&'static str, &'static str)| {
            std::ptr::eq(known.0, service) && std::ptr::eq(known.1, operation)
        };
        let found = names.iter().position(same);
        if let Some(row) = found.or_else(|| names.iter().position(|known| *known == (service, operation))) {
            return row;
        }
        let used = self.metrics.rows_used.load(Ordering::Relaxed);
        // The last row is kept for whatever comes after the others are taken.
        if used + 1 >= ROWS_MAX && (service, operation) != OTHER {
            drop(names);
            return self.row(OTHER.0, OTHER.1);
        }
        self.metrics.rows[used].name.set((service, operation)).expect("rows are taken in order, once each");
        // The name is there before the count says so: a scrape reads the count first.
        self.metrics.rows_used.store(used + 1, Ordering::Release);
        names.push((service, operation));
        used
    }
}

#[derive(Default, Clone)]
struct Merged {
    statuses: [u64; 6],
    received_bytes: u64,
    sent_bytes: u64,
    buckets: [u64; BUCKETS_US.len() + 1],
    total_us: u64,
}

/// Writes Prometheus text. One label per line at most comes from a list of ours, so nothing needs escaping.
pub struct Text {
    out: String,
}

impl Text {
    /// Nothing yet.
    pub fn new() -> Text {
        Text { out: String::with_capacity(16 * 1024) }
    }

    /// Introduces a metric.
    pub fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One line; `labels` is written as it is.
    pub fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let line = if labels.is_empty() {
            format!("{name} {value}\n")
        } else {
            format!("{name}{{{labels}}} {value}\n")
        };
        self.out.push_str(&line);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }
}

/// Writes the counters of all cores.
pub fn render(cores: &[Arc<CoreMetrics>], text: &mut Text) {
    let merged = merge(cores);
    text.head(
        "zerocloud_requests_total",
        "Requests answered, by service, operation and class of status.",
        "counter",
    );
    for ((service, operation), row) in &merged {
        for (class, count) in row.statuses.iter().enumerate().filter(|(_, count)| **count > 0) {
            let labels = format!("service=\"{service}\",operation=\"{operation}\",status=\"{class}xx\"");
            text.line("zerocloud_requests_total", &labels, count);
        }
    }
    for (name, help, value) in [
        (
            "zerocloud_request_body_bytes_total",
            "Body bytes received.",
            (|row| row.received_bytes) as fn(&Merged) -> u64,
        ),
        ("zerocloud_response_body_bytes_total", "Body bytes sent.", |row| row.sent_bytes),
    ] {
        text.head(name, help, "counter");
        for ((service, operation), row) in &merged {
            text.line(name, &format!("service=\"{service}\",operation=\"{operation}\""), value(row));
        }
    }
    render_latency(&merged, text);
    render_cores(cores, text);
}

fn merge(cores: &[Arc<CoreMetrics>]) -> Vec<((&'static str, &'static str), Merged)> {
    let mut merged: std::collections::BTreeMap<_, Merged> = std::collections::BTreeMap::new();
    for core in cores {
        let used = core.rows_used.load(Ordering::Acquire);
        for row in &core.rows[..used] {
            let name = *row.name.get().expect("set before the row was counted as used");
            let sum = merged.entry(name).or_default();
            for (total, counter) in sum.statuses.iter_mut().zip(&row.statuses) {
                *total += counter.get();
            }
            for (total, counter) in sum.buckets.iter_mut().zip(&row.buckets) {
                *total += counter.get();
            }
            sum.received_bytes += row.received_bytes.get();
            sum.sent_bytes += row.sent_bytes.get();
            sum.total_us += row.total_us.get();
        }
    }
    merged.into_iter().collect()
}

fn render_latency(merged: &[((&'static str, &'static str), Merged)], text: &mut Text) {
    let name = "zerocloud_request_duration_seconds";
    text.head(name, "From the request head's arrival to the end of the reply.", "histogram");
    let bucket = format!("{name}_bucket");
    for ((service, operation), row) in merged {
        let labels = format!("service=\"{service}\",operation=\"{operation}\"");
        let mut count = 0;
        for (index, in_bucket) in row.buckets.iter().enumerate() {
            count += in_bucket;
            let bound =
                BUCKETS_US.get(index).map_or("+Inf".to_string(), |us| format!("{}", *us as f64 / 1e6));
            text.line(&bucket, &format!("{labels},le=\"{bound}\""), count);
        }
        text.line(&format!("{name}_sum"), &labels, row.total_us as f64 / 1e6);
        text.line(&format!("{name}_count"), &labels, count);
    }
}

fn render_cores(cores: &[Arc<CoreMetrics>], text: &mut Text) {
    type Figure = fn(&CoreMetrics) -> u64;
    let own: [(&str, &str, &str, Figure); 3] = [
        ("zerocloud_requests_in_flight", "Requests being handled.", "gauge", |core| core.in_flight.get()),
        (
            "zerocloud_requests_refused_total",
            "Requests refused before a service saw them.",
            "counter",
            |core| core.refused.get(),
        ),
        ("zerocloud_responses_aborted_total", "Replies cut short.", "counter", |core| core.aborted.get()),
    ];
    for (name, help, kind, value) in own {
        text.head(name, help, kind);
        for (index, core) in cores.iter().enumerate() {
            text.line(name, &format!("core=\"{index}\""), value(core));
        }
    }
    let Some(names) = cores.iter().find_map(|core| core.gauges.get()) else { return };
    for (position, (gauge, _)) in names.iter().enumerate() {
        text.head(gauge.name, gauge.help, gauge.kind);
        for (index, core) in cores.iter().enumerate() {
            if let Some((_, counter)) = core.gauges.get().and_then(|gauges| gauges.get(position)) {
                text.line(gauge.name, &format!("core=\"{index}\""), counter.get());
            }
        }
    }
}

/// Writes how many published messages were dropped, by where they were meant for.
pub fn render_dropped(counts: &[(Box<str>, u64)], text: &mut Text) {
    let name = "aws_sns_dropped_messages";
    text.head(name, "Published messages that nobody took, by the ARN or host of their endpoint.", "counter");
    for (endpoint, count) in counts {
        // What would end the label: an endpoint is a client's text.
        let endpoint: String =
            endpoint.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
        text.line(name, &format!("endpoint=\"{endpoint}\""), count);
    }
}

/// Writes what each shard says of itself.
pub fn render_shards(shards: &[store::ShardStatus], text: &mut Text) {
    type Figure = fn(&store::ShardStatus) -> u64;
    let figures: [(&str, &str, &str, Figure); 14] = [
        ("zerocloud_shard_writable", "1 when the shard acknowledges writes.", "gauge", |s| {
            u64::from(s.trouble.is_none())
        }),
        ("zerocloud_shard_durable_lsn", "The last durable batch.", "counter", |s| s.durable_lsn.0),
        (
            "zerocloud_shard_applied_lsn",
            "The last durable batch up to which nothing waits for a fold.",
            "counter",
            |s| s.applied_lsn.0,
        ),
        ("zerocloud_shard_overlay_bytes", "Bytes that are not folded yet.", "gauge", |s| s.overlay_bytes),
        ("zerocloud_shard_overlay_entries", "Entries that are not folded yet.", "gauge", |s| {
            s.overlay_entries
        }),
        ("zerocloud_shard_queued", "Operations that wait for their turn.", "gauge", |s| s.queued),
        ("zerocloud_shard_waiting", "Operations that wait to be woken.", "gauge", |s| s.waiting),
        ("zerocloud_shard_batches_total", "Batches written.", "counter", |s| s.batches),
        ("zerocloud_shard_batch_bytes_total", "Bytes in these batches.", "counter", |s| s.batch_bytes),
        ("zerocloud_shard_operations_total", "Operations executed.", "counter", |s| s.operations),
        ("zerocloud_shard_folds_total", "Folds into the index.", "counter", |s| s.folds),
        ("zerocloud_shard_folded_entries_total", "Entries folded.", "counter", |s| s.folded_entries),
        ("zerocloud_shard_fold_microseconds_total", "Time spent folding.", "counter", |s| s.fold_micros),
        ("zerocloud_shard_log_stalls_total", "Times without a ready log segment.", "counter", |s| {
            s.log_stalls
        }),
    ];
    for (name, help, kind, value) in figures {
        text.head(name, help, kind);
        for shard in shards {
            text.line(name, &format!("shard=\"{}\"", shard.shard.0), value(shard));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(operation: &'static str, status: u16, us: u64) -> Sample {
        Sample {
            service: "s3",
            operation,
            status,
            received_bytes: 10,
            sent_bytes: 20,
            took: Duration::from_micros(us),
        }
    }

    #[test]
    fn counters_of_all_cores_are_added_up() {
        let cores = [CoreMetrics::new(), CoreMetrics::new()];
        for core in &cores {
            let rows = Rows::new(core.clone());
            rows.count(&sample("GetObject", 200, 90));
            rows.count(&sample("GetObject", 404, 300));
            rows.count(&sample("PutObject", 200, 11_000_000));
        }
        let mut text = Text::new();
        render(&cores, &mut text);
        let text = text.finish();
        assert!(
            text.contains(
                "zerocloud_requests_total{service=\"s3\",operation=\"GetObject\",status=\"2xx\"} 2\n"
            )
        );
        assert!(
            text.contains(
                "zerocloud_requests_total{service=\"s3\",operation=\"GetObject\",status=\"4xx\"} 2\n"
            )
        );
        assert!(text.contains("operation=\"GetObject\",le=\"0.0001\"} 2\n"));
        assert!(text.contains("operation=\"GetObject\",le=\"0.0005\"} 4\n"));
        assert!(text.contains("operation=\"PutObject\",le=\"10\"} 0\n"));
        assert!(text.contains("operation=\"PutObject\",le=\"+Inf\"} 2\n"));
        assert!(
            text.contains(
                "zerocloud_request_duration_seconds_sum{service=\"s3\",operation=\"PutObject\"} 22\n"
            )
        );
        assert!(
            text.contains("zerocloud_response_body_bytes_total{service=\"s3\",operation=\"GetObject\"} 80\n")
        );
    }

    #[test]
    fn every_line_is_prometheus_text() {
        static GAUGE: Gauge =
            Gauge { name: "zerocloud_ring_turns_total", help: "Loop turns.", kind: "counter" };
        let core = CoreMetrics::new();
        core.publish(&[(&GAUGE, 7)]);
        Rows::new(core.clone()).count(&sample("GetObject", 200, 90));
        let mut text = Text::new();
        render(&[core], &mut text);
        for line in text.finish().lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            let name = series.split('{').next().expect("a name");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{line}"
            );
        }
    }

    #[test]
    fn rows_beyond_the_bound_share_one() {
        let core = CoreMetrics::new();
        let rows = Rows::new(core.clone());
        for number in 0..2 * ROWS_MAX {
            let name: &'static str = Box::leak(format!("Operation{number}").into_boxed_str());
            rows.count(&sample(name, 200, 1));
        }
        let mut text = Text::new();
        render(&[core], &mut text);
        let text = text.finish();
        let line = text
            .lines()
            .find(|line| line.contains("service=\"all\",operation=\"other\",status"))
            .expect("the shared row");
        assert!(line.ends_with(&format!(" {}", 2 * ROWS_MAX - (ROWS_MAX - 1))), "{line}");
    }
}
