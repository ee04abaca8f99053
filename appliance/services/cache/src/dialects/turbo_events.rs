//! What Turborepo tells after a run: which task's outputs it found where, and what that saved.
//! Invariant: a document is counted whole or not at all; it is read into sums, within a bound of bytes and of events, and no event
//! counts more time than `DURATION_MS_MAX`. Whoever may read may tell, so the figures are the clients' own account and are shown as
//! that, beside what was counted here.
//! Leaves to `cas`: adding up.

use std::fmt;

use cas::Told;
use http_types::StatusCode;
use plan::{Collected, Context, Plan};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::json;

use crate::call::{Shared, collect};
use crate::dialects::turbo::{DOCUMENT_BYTES_MAX, answer, is_hash, malformed};
use crate::refusal::Refusal;

const EVENT_COUNT_MAX: usize = 10_000;
/// No task takes longer than a day; what says so would drown all others.
const DURATION_MS_MAX: f64 = 24.0 * 60.0 * 60.0 * 1_000.0;

/// Answers POST `/events`.
pub fn start(call: Shared, _: &mut Context<'_>) -> Result<Plan, Refusal> {
    Ok(collect(call, DOCUMENT_BYTES_MAX, |call, cx, Collected { bytes, .. }| {
        let Sums(told) = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        call.cas.shared().ready(cx.store, cx.now)?;
        call.cas.count_told(&call.namespace, &told);
        Ok(answer(StatusCode::OK, &json!({})))
    }))
}

#[derive(Clone, Copy, Deserialize)]
enum Source {
    #[serde(rename = "LOCAL")]
    Local,
    #[serde(rename = "REMOTE")]
    Remote,
}

#[derive(Clone, Copy, Deserialize)]
enum Outcome {
    #[serde(rename = "HIT")]
    Hit,
    #[serde(rename = "MISS")]
    Miss,
}

/// One event; what else it says is passed over.
#[derive(Deserialize)]
struct Event {
    source: Source,
    event: Outcome,
    #[serde(deserialize_with = "hash")]
    #[allow(dead_code, reason = "only that it is one counts")]
    hash: (),
    /// How long the task took when it was run, in milliseconds: what a hit has saved.
    #[serde(default)]
    duration: Option<f64>,
}

fn hash<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    let text: std::borrow::Cow<'de, str> = Deserialize::deserialize(from)?;
    if is_hash(&text) { Ok(()) } else { Err(D::Error::custom("no hash")) }
}

/// A list of events, added up while it is read.
struct Sums(Told);

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Sums, D::Error> {
        from.deserialize_seq(Adding).map(Sums)
    }
}

struct Adding;

impl<'de> Visitor<'de> for Adding {
    type Value = Told;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<Told, A::Error> {
        let (mut told, mut count) = (Told::default(), 0);
        while let Some(event) = events.next_element::<Event>()? {
            count += 1;
            if count > EVENT_COUNT_MAX {
                return Err(A::Error::custom("too many events"));
            }
            add(&mut told, &event).ok_or_else(|| A::Error::custom("a negative duration"))?;
        }
        Ok(told)
    }
}

/// None: the event cannot be.
fn add(told: &mut Told, event: &Event) -> Option<()> {
    let duration = event.duration.unwrap_or(0.0);
    if duration < 0.0 {
        return None;
    }
    // In range, and without a fraction that anybody would miss.
    let ms = duration.min(DURATION_MS_MAX) as u64;
    let (hits, misses, saved_ms) = match event.source {
        Source::Local => (&mut told.local_hits, &mut told.local_misses, &mut told.local_saved_ms),
        Source::Remote => (&mut told.remote_hits, &mut told.remote_misses, &mut told.remote_saved_ms),
    };
    match event.event {
        Outcome::Hit => (*hits, *saved_ms) = (*hits + 1, *saved_ms + ms),
        Outcome::Miss => *misses += 1,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Option<Told> {
        serde_json::from_str(document).ok().map(|Sums(told)| told)
    }

    /// As turbo 2.11.11 sent it.
    const SENT: &str = r#"[{"sessionId":"d1f4","source":"LOCAL","event":"MISS","hash":"33c45188b9036e55","duration":0},
        {"sessionId":"d1f4","source":"REMOTE","event":"HIT","hash":"33c45188b9036e55","duration":206}]"#;

    #[test]
    fn events_are_added_up_by_where_something_was_found() {
        let told = Told { local_misses: 1, remote_hits: 1, remote_saved_ms: 206, ..Told::default() };
        assert_eq!(read(SENT), Some(told));
        let [local, without, fraction] = [
            r#"{"source":"LOCAL","event":"HIT","hash":"a","duration":1500}"#,
            r#"{"source":"REMOTE","event":"HIT","hash":"a"}"#,
            r#"{"duration":2.7,"hash":"a","event":"HIT","source":"REMOTE","x":[{}]}"#,
        ];
        let told = Told {
            local_hits: 1,
            local_saved_ms: 1_500,
            remote_hits: 2,
            remote_saved_ms: 2,
            ..Told::default()
        };
        assert_eq!(read(&format!("[{local},{without},{fraction}]")), Some(told));
        assert_eq!(read("[]"), Some(Told::default()));
        // A miss saves nothing, whatever it says.
        let missed = r#"[{"source":"REMOTE","event":"MISS","hash":"a","duration":9e9}]"#;
        assert_eq!(read(missed), Some(Told { remote_misses: 1, ..Told::default() }));
    }

    #[test]
    fn what_is_no_list_of_events_is_refused_whole() {
        let event = |field: &str, value: &str| {
            let fields =
                [("source", "\"LOCAL\""), ("event", "\"HIT\""), ("hash", "\"a\""), ("duration", "1")];
            let fields =
                fields.map(|(name, own)| format!("\"{name}\":{}", if name == field { value } else { own }));
            format!("[{{{}}}]", fields.join(","))
        };
        assert!(read(&event("", "")).is_some());
        for (field, value) in [
            ("source", "\"local\""),
            ("source", "1"),
            ("event", "\"FOUND\""),
            ("event", "null"),
            ("hash", "1"),
            ("hash", "\"a/b\""),
            ("hash", "\"..\""),
            ("hash", "\"\""),
            ("duration", "-1"),
            ("duration", "-1e308"),
            ("duration", "1e309"),
            ("duration", "\"1\""),
            ("duration", "NaN"),
        ] {
            assert_eq!(read(&event(field, value)), None, "{field}: {value}");
        }
        let one = event("", "");
        let half = one.trim_end_matches(']');
        for bad in ["", "{}", "null", "[1]", "[[]]", "[{}]", half, &format!("{one}x"), &"[".repeat(100_000)] {
            assert_eq!(read(bad), None, "{}", &bad[..bad.len().min(80)]);
        }
        let twice = r#"[{"source":"LOCAL","source":"LOCAL","event":"HIT","hash":"a"}]"#;
        assert_eq!(read(twice), None);
    }

    #[test]
    fn more_time_than_a_day_and_more_events_than_a_run_has_do_not_count() {
        let day = r#"{"source":"REMOTE","event":"HIT","hash":"a","duration":1e300}"#;
        let told = read(&format!("[{day}]")).expect("an event");
        assert_eq!(told.remote_saved_ms, 86_400_000);
        let many = |count: usize| format!("[{}]", vec![day; count].join(","));
        let told = read(&many(EVENT_COUNT_MAX)).expect("as many as there may be");
        assert_eq!(told.remote_saved_ms, 86_400_000 * 10_000);
        assert_eq!(read(&many(EVENT_COUNT_MAX + 1)), None);
    }
}
