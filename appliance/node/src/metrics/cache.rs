//! The build cache in Prometheus' text: by the names that other caches of its kind have, and by ours.
//! Invariant: labels are words of the program and names of namespaces, of which there are `NAMESPACES_MAX` at most and then
//! `other`; never a key, a digest or a token.
//! Leaves to the parent: counting requests. To `cas`: what is stored.

use std::sync::Arc;

use cache::rate::Bound;
use cas::figures::Figures;
use cas::stats::{Reason, Told};
use store::Timestamp;

use super::{BUCKETS_US, CoreMetrics, Merged, Text, merge};
use crate::services::Shared;

/// Namespaces that have a line of their own.
const NAMESPACES_MAX: usize = 100;
/// The service's name in the rows.
pub const SERVICE: &str = "cache";

/// What the content store and the judge of tokens say of themselves.
pub struct Kept {
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Metric, help, kind and value of each figure that has no label.
    pub plain: Vec<(&'static str, &'static str, &'static str, f64)>,
    /// Objects and bytes that were taken away, by reason.
    pub evicted: Vec<(&'static str, [u64; 2])>,
    /// Namespaces with the bytes that they hold and may hold, those with the most first.
    pub namespaces: Vec<(String, u64, Option<u64>)>,
    /// Refused credentials by reason.
    pub denied: Vec<(&'static str, u64)>,
    /// Requests beyond what a namespace or an address may have at once, by which bound.
    pub throttled: Vec<(&'static str, u64)>,
    /// What clients say that they found.
    pub told: Told,
}

impl Kept {
    /// As it is now.
    pub fn of(shared: &Shared, now: Timestamp) -> Kept {
        let figures = shared.cas.figures(now);
        let namespaces = shared.cas.namespaces().into_iter().map(|one| {
            let quota = one.quota.map(|quota| quota.bytes).filter(|bytes| *bytes < u64::MAX);
            (one.ns.as_str().to_owned(), one.stored_bytes, quota)
        });
        Kept {
            hits: figures.hits,
            misses: figures.misses,
            plain: plain(&figures),
            evicted: Reason::ALL
                .iter()
                .zip(figures.evicted)
                .map(|(reason, counts)| (reason.name(), counts))
                .collect(),
            namespaces: namespaces.collect(),
            denied: shared.tokens.denied().to_vec(),
            throttled: Bound::ALL.map(Bound::name).into_iter().zip(shared.rates.refused()).collect(),
            told: figures.told,
        }
    }
}

/// The figures without a label.
fn plain(figures: &Figures) -> Vec<(&'static str, &'static str, &'static str, f64)> {
    let gauge = |name, help, value: u64| (name, help, "gauge", value as f64);
    let counter = |name, help, value: u64| (name, help, "counter", value as f64);
    vec![
        gauge("zim_cache_size_bytes", "Bytes that the build cache stores.", figures.stored_bytes),
        gauge(
            "zerocloud_cache_objects",
            "Blobs and keys; a blob that namespaces share is one.",
            figures.objects,
        ),
        gauge(
            "zerocloud_cache_logical_bytes",
            "Bytes of all namespaces, each with all that it has.",
            figures.logical_bytes,
        ),
        gauge("zerocloud_cache_stored_bytes", "Bytes that the build cache stores.", figures.stored_bytes),
        gauge(
            "zerocloud_cache_kept_bytes",
            "Bytes on the disk of what is gone from the build cache.",
            figures.kept_bytes,
        ),
        gauge(
            "zerocloud_cache_reserved_bytes",
            "Bytes promised to uploads under way.",
            figures.reserved_bytes,
        ),
        gauge("zerocloud_cache_max_bytes", "Bytes that it may store.", figures.max_bytes),
        gauge(
            "zerocloud_cache_oldest_access_seconds",
            "Since the oldest last use, as evictions met it; 0 before there was one.",
            figures.oldest_access_seconds,
        ),
        gauge(
            "zerocloud_cache_leased_bytes",
            "About how many bytes are leased to clients, reckoned from a part of the leases.",
            figures.leased_bytes,
        ),
        gauge("zerocloud_cache_pinned_bytes", "Bytes that pins keep.", figures.pinned_bytes),
        counter(
            "zerocloud_cache_closure_incomplete_total",
            "Keys that were dropped since a blob of theirs was missing.",
            figures.closure_incomplete,
        ),
        counter(
            "zerocloud_cache_corrupt_total",
            "Blobs whose bytes were not those of their digest.",
            figures.corrupt,
        ),
        counter(
            "zerocloud_cache_scrub_rounds_total",
            "Times that every blob was read again, over all starts.",
            figures.scrub.rounds,
        ),
        (
            "zerocloud_cache_scrub_round_ratio",
            "How far the round under way is.",
            "gauge",
            figures.scrub.permille as f64 / 1e3,
        ),
        (
            "zerocloud_cache_scrub_round_began_timestamp_seconds",
            "When it began, in seconds since 1970; 0 before it has. What was stored then is read once it ends.",
            "gauge",
            figures.scrub.began_ms as f64 / 1e3,
        ),
        counter(
            "zerocloud_cache_scrub_blobs_total",
            "Blobs that were read and compared with their digest without anybody asking.",
            figures.scrub.blobs,
        ),
        counter("zerocloud_cache_scrub_bytes_total", "Bytes that were read for it.", figures.scrub.bytes),
        counter("zerocloud_cache_scrub_corrupt_total", "Blobs that it found damaged.", figures.scrub.corrupt),
        counter("zerocloud_cache_shed_total", "Requests refused since too much was under way.", figures.shed),
        ("zerocloud_cache_gc_seconds", "Time that collections took.", "counter", figures.gc_ms as f64 / 1e3),
    ]
}

/// Writes all of it.
pub fn render(cores: &[Arc<CoreMetrics>], kept: &Kept, text: &mut Text) {
    let name = "zim_cache_hits_total";
    text.head(name, "Lookups of keys, by whether they found something.", "counter");
    text.line(name, "status=\"hit\"", kept.hits);
    text.line(name, "status=\"miss\"", kept.misses);
    for (name, help, kind, value) in &kept.plain {
        text.head(name, help, kind);
        text.line(name, "", value);
    }
    render_evicted(kept, text);
    render_namespaces(kept, text);
    let name = "zerocloud_auth_denied_total";
    text.head(name, "Requests to the build cache that were not let in.", "counter");
    for (reason, count) in &kept.denied {
        text.line(name, &format!("reason=\"{reason}\""), count);
    }
    let name = "zerocloud_cache_throttled_total";
    text.head(name, "Requests beyond what a namespace or an address may have at once.", "counter");
    for (bound, count) in &kept.throttled {
        text.line(name, &format!("bound=\"{bound}\""), count);
    }
    render_told(&kept.told, text);
    render_first_byte(cores, text);
    render_requests(&merge(cores), text);
}

fn render_first_byte(cores: &[Arc<CoreMetrics>], text: &mut Text) {
    let name = "zerocloud_cache_first_byte_seconds";
    text.head(name, "From the head of a GET or HEAD to the first byte of the answer.", "histogram");
    let mut count = 0;
    for place in 0..=BUCKETS_US.len() {
        count += cores.iter().map(|core| core.first_byte.buckets[place].get()).sum::<u64>();
        let bound = BUCKETS_US.get(place).map_or("+Inf".to_string(), |us| format!("{}", *us as f64 / 1e6));
        text.line("zerocloud_cache_first_byte_seconds_bucket", &format!("le=\"{bound}\""), count);
    }
    let total_us: u64 = cores.iter().map(|core| core.first_byte.total_us.get()).sum();
    text.line("zerocloud_cache_first_byte_seconds_sum", "", total_us as f64 / 1e6);
    text.line("zerocloud_cache_first_byte_seconds_count", "", count);
}

fn render_told(told: &Told, text: &mut Text) {
    let name = "zerocloud_cache_client_events_total";
    text.head(name, "What clients say that they found, on their own disks and here.", "counter");
    for (source, event, count) in [
        ("local", "hit", told.local_hits),
        ("local", "miss", told.local_misses),
        ("remote", "hit", told.remote_hits),
        ("remote", "miss", told.remote_misses),
    ] {
        text.line(name, &format!("source=\"{source}\",event=\"{event}\""), count);
    }
    let name = "zerocloud_cache_client_saved_seconds_total";
    text.head(name, "Time of tasks that clients did not have to run again, by their own account.", "counter");
    text.line(name, "source=\"local\"", told.local_saved_ms as f64 / 1e3);
    text.line(name, "source=\"remote\"", told.remote_saved_ms as f64 / 1e3);
}

fn render_evicted(kept: &Kept, text: &mut Text) {
    for (place, name, help) in [
        (0, "zerocloud_cache_evicted_total", "Objects that were taken away."),
        (1, "zerocloud_cache_evicted_bytes_total", "Bytes that were taken away."),
    ] {
        text.head(name, help, "counter");
        for (reason, counts) in &kept.evicted {
            text.line(name, &format!("reason=\"{reason}\""), counts[place]);
        }
    }
}

fn render_namespaces(kept: &Kept, text: &mut Text) {
    let name = "zerocloud_cache_namespace_bytes";
    text.head(name, "Bytes that namespaces hold, each with all that it has.", "gauge");
    let own = kept.namespaces.len().min(NAMESPACES_MAX);
    let (own, others) = kept.namespaces.split_at(own);
    for (namespace, bytes, _) in own {
        text.line(name, &format!("ns=\"{namespace}\""), bytes);
    }
    if !others.is_empty() {
        text.line(name, "ns=\"other\"", others.iter().map(|(_, bytes, _)| bytes).sum::<u64>());
    }
    let name = "zerocloud_cache_quota_bytes";
    text.head(name, "Bytes that namespaces may hold.", "gauge");
    let bounded = kept.namespaces.iter().filter_map(|(namespace, _, quota)| Some((namespace, (*quota)?)));
    for (namespace, bytes) in bounded.take(NAMESPACES_MAX) {
        text.line(name, &format!("ns=\"{namespace}\""), bytes);
    }
}

/// Dialect and operation of a row: the first word is the dialect.
fn labels_of(operation: &str) -> String {
    let (dialect, op) = operation.split_once('_').unwrap_or(("other", operation));
    format!("dialect=\"{dialect}\",op=\"{op}\"")
}

fn render_requests(rows: &[((&'static str, &'static str), Merged)], text: &mut Text) {
    let rows: Vec<(String, &Merged)> = rows
        .iter()
        .filter(|((service, _), _)| *service == SERVICE)
        .map(|((_, operation), row)| (labels_of(operation), row))
        .collect();
    let name = "zerocloud_cache_requests_total";
    text.head(name, "Requests answered, by dialect, operation and class of status.", "counter");
    for (labels, row) in &rows {
        for (class, count) in row.statuses.iter().enumerate().filter(|(_, count)| **count > 0) {
            text.line(name, &format!("{labels},code=\"{class}xx\""), count);
        }
    }
    let name = "zerocloud_cache_bytes_total";
    text.head(name, "Body bytes, by dialect, operation and direction.", "counter");
    for (labels, row) in &rows {
        text.line(name, &format!("{labels},direction=\"in\""), row.received_bytes);
        text.line(name, &format!("{labels},direction=\"out\""), row.sent_bytes);
    }
    let name = "zerocloud_cache_request_seconds";
    text.head(name, "From the request head's arrival to the end of the reply.", "histogram");
    for (labels, row) in &rows {
        let mut count = 0;
        for (index, in_bucket) in row.buckets.iter().enumerate() {
            count += in_bucket;
            let bound =
                BUCKETS_US.get(index).map_or("+Inf".to_string(), |us| format!("{}", *us as f64 / 1e6));
            text.line("zerocloud_cache_request_seconds_bucket", &format!("{labels},le=\"{bound}\""), count);
        }
        text.line("zerocloud_cache_request_seconds_sum", labels, row.total_us as f64 / 1e6);
        text.line("zerocloud_cache_request_seconds_count", labels, count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Rows, Sample};

    #[test]
    fn namespaces_beyond_the_bound_share_a_line() {
        let namespaces = (0..150_u64).map(|number| (format!("n{number}"), 150 - number, Some(7))).collect();
        let kept = Kept {
            hits: 3,
            misses: 1,
            plain: vec![("zim_cache_size_bytes", "Bytes.", "gauge", 5.0)],
            evicted: vec![("size", [2, 20])],
            namespaces,
            denied: vec![("no_token", 4)],
            throttled: vec![("bandwidth", 6)],
            told: Told { remote_hits: 8, remote_saved_ms: 1_500, ..Told::default() },
        };
        let core = CoreMetrics::new();
        let rows = Rows::new(core.clone());
        for (operation, status) in [("ccache_get", 200), ("ccache_get", 404), ("refused", 401)] {
            let took = Duration::from_micros(90);
            rows.count(&Sample {
                service: "cache",
                operation,
                status,
                received_bytes: 1,
                sent_bytes: 2,
                took,
            });
        }
        core.first_byte.count(Duration::from_micros(90));
        core.first_byte.count(Duration::from_millis(251));
        let mut text = Text::new();
        render(&[core], &kept, &mut text);
        let text = text.finish();
        for line in [
            "zim_cache_hits_total{status=\"hit\"} 3",
            "zim_cache_hits_total{status=\"miss\"} 1",
            "zim_cache_size_bytes 5",
            "zerocloud_cache_evicted_total{reason=\"size\"} 2",
            "zerocloud_cache_evicted_bytes_total{reason=\"size\"} 20",
            "zerocloud_cache_namespace_bytes{ns=\"n99\"} 51",
            "zerocloud_cache_namespace_bytes{ns=\"other\"} 1275",
            "zerocloud_cache_quota_bytes{ns=\"n99\"} 7",
            "zerocloud_auth_denied_total{reason=\"no_token\"} 4",
            "zerocloud_cache_first_byte_seconds_bucket{le=\"0.25\"} 1",
            "zerocloud_cache_first_byte_seconds_bucket{le=\"0.5\"} 2",
            "zerocloud_cache_first_byte_seconds_count 2",
            "zerocloud_cache_throttled_total{bound=\"bandwidth\"} 6",
            "zerocloud_cache_client_events_total{source=\"remote\",event=\"hit\"} 8",
            "zerocloud_cache_client_saved_seconds_total{source=\"remote\"} 1.5",
            "zerocloud_cache_requests_total{dialect=\"ccache\",op=\"get\",code=\"2xx\"} 1",
            "zerocloud_cache_requests_total{dialect=\"other\",op=\"refused\",code=\"4xx\"} 1",
            "zerocloud_cache_bytes_total{dialect=\"ccache\",op=\"get\",direction=\"out\"} 4",
            "zerocloud_cache_request_seconds_count{dialect=\"ccache\",op=\"get\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("ns=\"n100\""));
        assert_eq!(text.matches("# TYPE zerocloud_cache_requests_total").count(), 1);
    }
}
