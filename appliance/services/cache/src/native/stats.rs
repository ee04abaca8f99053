//! GET `/stats`: how often something was found, and what is kept.
//! Invariant: a caller learns of namespaces that it may read, and of no other.
//! Leaves to `cas`: counting.

use std::time::Duration;

use aws::Timestamp;
use cas::ScrubFigures;
use cas::figures::{Figures, NamespaceFigures};
use cas::stats::Window;
use cas::{Fetched, Told};
use http_types::StatusCode;
use plan::{Context, Plan};
use serde_json::{Map, Value, json};
use tokens::Scope;

use super::answer;
use crate::call::{Call, Shared};
use crate::refusal::{Kind, Refusal};
use crate::router::Operation;

/// GET.
pub static STATS: Operation = Operation::new("native_stats", Kind::Read, start);

/// The window of a question that names none.
const WINDOW_DEFAULT: &str = "7d";
/// Namespaces of one answer at most; those with the most bytes come first.
const NAMESPACE_COUNT_MAX: usize = 100;
/// Names of the list of what was fetched most.
const TOP_COUNT_MAX: usize = 10;

/// What an answer shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Metric {
    All,
    HitRate,
    Storage,
    Top,
}

impl Metric {
    fn parse(text: &str) -> Option<Metric> {
        match text {
            "hit-rate" => Some(Metric::HitRate),
            "storage" => Some(Metric::Storage),
            "top-packages" | "top" => Some(Metric::Top),
            _ => None,
        }
    }

    fn shows(self, part: Metric) -> bool {
        self == Metric::All || self == part
    }
}

fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let asked = call.parameter("window")?;
    let word = asked.as_deref().unwrap_or(WINDOW_DEFAULT);
    let window = Window::parse(word)
        .ok_or(Refusal::Bad("InvalidWindow", "A window is one of 1h, 24h, 7d and 30d.".into()))?;
    let metric = match call.parameter("metric")?.as_deref() {
        None => Metric::All,
        Some(text) => Metric::parse(text).ok_or(Refusal::Bad(
            "InvalidMetric",
            "A metric is one of hit-rate, storage and top-packages.".into(),
        ))?,
    };
    let is_of_all = is_of_all(&call)?;
    let figures = call.cas.figures(call.now);
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
    put("window", json!(word));
    put("namespace", if is_of_all { Value::Null } else { json!(call.namespace.as_str()) });
    if metric.shows(Metric::HitRate) {
        let only = (!is_of_all).then_some(&call.namespace);
        let counts = call.cas.counted(cx.store, call.now, window, only)?;
        let [hits, misses, sent, received, heads, questions, ..] = counts;
        let told = Told::of(&counts);
        put("hits", json!(hits));
        put("misses", json!(misses));
        put("hit_rate", rate(hits, misses));
        put("bytes_sent", json!(sent));
        put("bytes_received", json!(received));
        put("heads", json!(heads));
        put("missing_questions", json!(questions));
        put("clients", of_told(&told));
    }
    if metric.shows(Metric::Storage) {
        document.extend(storage(&call, &figures, is_of_all));
    }
    if metric.shows(Metric::Top) {
        let only = (!is_of_all).then_some(&call.namespace);
        let top = call.cas.most_fetched(only, TOP_COUNT_MAX);
        document.insert("top_packages".to_owned(), top.iter().map(of_fetched).collect());
    }
    Ok(Plan::Reply(answer(StatusCode::OK, &Value::Object(document))))
}

/// Whether the question is about the whole cache: it names no namespace, and the caller may read every one.
fn is_of_all(call: &Call) -> Result<bool, Refusal> {
    let names_one = call.parameter("ns")?.is_some_and(|ns| !ns.is_empty());
    let is_mounted = call.head.path.starts_with(crate::router::SHARED);
    Ok(!names_one && !is_mounted && call.principal.may_everywhere(Scope::CacheRead))
}

/// What clients found by their own account, here and on their own disks.
fn of_told(told: &Told) -> Value {
    let seconds = |ms: u64| ms / 1_000;
    json!({
        "local": {
            "hits": told.local_hits,
            "misses": told.local_misses,
            "saved_seconds": seconds(told.local_saved_ms),
        },
        "remote": {
            "hits": told.remote_hits,
            "misses": told.remote_misses,
            "saved_seconds": seconds(told.remote_saved_ms),
        },
    })
}

/// The part of lookups that found something; nothing where there were none.
fn rate(hits: u64, misses: u64) -> Value {
    let lookups = hits.saturating_add(misses);
    if lookups == 0 { Value::Null } else { json!(hits as f64 / lookups as f64) }
}

fn storage(call: &Call, figures: &Figures, is_of_all: bool) -> Map<String, Value> {
    let mut namespaces = call.cas.namespaces();
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
    if is_of_all {
        put("objects", json!(figures.objects));
        put("logical_bytes", json!(figures.logical_bytes));
        put("stored_bytes", json!(figures.stored_bytes));
        put("kept_bytes", json!(figures.kept_bytes));
        put("max_bytes", json!(figures.max_bytes));
        put("pinned_objects", json!(figures.pinned_objects));
        put("pinned_bytes", json!(figures.pinned_bytes));
        put("oldest_access", oldest(call, figures));
        put("corrupt", json!(figures.corrupt));
        let ScrubFigures { rounds, permille, began_ms, blobs, bytes, corrupt } = figures.scrub;
        put(
            "scrub",
            json!({
                "rounds": rounds,
                "round_began": (began_ms > 0).then(|| time(began_ms)),
                "round_progress": permille as f64 / 1e3,
                "blobs": blobs,
                "bytes": bytes,
                "corrupt": corrupt,
            }),
        );
    } else {
        namespaces.retain(|one| one.ns == call.namespace);
        let own = namespaces.first();
        let stored_bytes = own.map_or(0, |own| own.stored_bytes);
        let quota = own.and_then(|own| own.quota);
        put("objects", json!(own.map_or(0, |own| own.objects)));
        put("logical_bytes", json!(stored_bytes));
        put("stored_bytes", json!(stored_bytes));
        put("max_bytes", json!(quota.map_or(figures.max_bytes, |quota| quota.bytes)));
    }
    namespaces.truncate(NAMESPACE_COUNT_MAX);
    put("namespaces", namespaces.iter().map(|one| of_namespace(call, one)).collect());
    document
}

/// When what was not used for longest was used, as far as evictions have seen; nothing before there was one.
fn oldest(call: &Call, figures: &Figures) -> Value {
    if figures.oldest_access_seconds == 0 {
        return Value::Null;
    }
    let then_ms = call.now.0.saturating_sub(figures.oldest_access_seconds.saturating_mul(1_000));
    json!(time(then_ms))
}

/// A time in an answer.
#[must_use]
pub fn time(ms: u64) -> String {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)).to_iso8601()
}

/// Until there is a registry the most fetched are the clients' keys.
fn of_fetched(one: &Fetched) -> Value {
    json!({
        "name": format!("{}/{}", one.dialect.name(), one.name),
        "ns": one.ns.as_str(),
        "downloads": one.count,
    })
}

/// Whole ones, as they are set.
fn days(time: Duration) -> u64 {
    time.as_secs() / (24 * 60 * 60)
}

fn of_namespace(call: &Call, one: &NamespaceFigures) -> Value {
    let rate = call.config.rates.of(&one.ns).unwrap_or_default();
    let quota = one.quota.map(|quota| json!({ "bytes": quota.bytes, "objects": quota.objects }));
    json!({
        "ns": one.ns.as_str(),
        "objects": one.objects,
        "stored_bytes": one.stored_bytes,
        "quota": quota,
        "requests_per_second": rate.requests_per_second,
        "bytes_per_second": rate.bytes_per_second,
        "retention_days": days(one.retention),
        "max_age_days": one.max_age.map(days),
    })
}
