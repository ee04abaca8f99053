//! Turborepo's remote cache, as version 2.11.11 speaks it: packed outputs under 16 hexadecimal digits.
//! Invariant: what an upload said of its artifact comes back with it: without its tag a client that signs counts a miss. Every body
//! is JSON, since the client says nothing but "cannot parse" to anything else.
//! Leaves to `opaque`: keeping values. To the router: `slug` and `teamId`, which name the namespace.
//!
//! ```text
//! GET      /v8/artifacts/status     200 {"status":"enabled"}
//! GET HEAD /v8/artifacts/{hash}     200 with x-artifact-tag and x-artifact-duration, or 404
//! PUT      /v8/artifacts/{hash}     202 {"urls":[..]}
//! POST     /v8/artifacts            {"hashes":[..]} -> 200 {hash: {"size","taskDurationMs","tag"} or null}
//! POST     /v8/artifacts/events     200 {}
//! OPTIONS  any of them              204, what a browser or `--preflight` asks
//! ```

use std::rc::Rc;

use cas::{KeyHit, Stored};
use http_types::{HeaderValue, Method, StatusCode, header};
use plan::{Collected, Context, Plan, Reply};
use serde_json::{Map, Value, json};

use crate::call::{Shared, collect, settle};
use crate::dialects::opaque::{self, New, Proof};
use crate::dialects::turbo_events;
use crate::refusal::{Kind, Refusal, guard};
use crate::router::{Found, Operation};

static STATUS: Operation = Operation::new("turbo_status", Kind::Read, status);
static GET: Operation = Operation::new("turbo_get", Kind::Lookup, get);
static HEAD: Operation = Operation::new("turbo_head", Kind::Lookup, get);
// Let in as a reader; `opaque::store` checks the right to write.
static PUT: Operation = Operation::new("turbo_put", Kind::Lookup, put);
static QUERY: Operation = Operation::new("turbo_query", Kind::Lookup, query);
static EVENTS: Operation = Operation::new("turbo_events", Kind::Lookup, turbo_events::start);
static PREFLIGHT: Operation = Operation::new("turbo_preflight", Kind::Lookup, preflight);

/// How all its paths begin.
pub const ROOT: &str = "/v8/artifacts";
const TAG: &str = "x-artifact-tag";
const DURATION: &str = "x-artifact-duration";
/// Headers that come back with an artifact.
const KEPT: &[&str] = &["content-type", DURATION, TAG, "x-artifact-dirty-hash", "x-artifact-sha"];
/// Of a list of hashes, or of events.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const HASH_COUNT_MAX: usize = 1_000;

/// Finds an operation by its method and path.
pub fn find(method: &Method, rest: &str) -> Found {
    let Some(rest) = rest.strip_prefix(ROOT) else { return Found::Nothing };
    let (allowed, found) = match rest {
        "" | "/" => ("POST, OPTIONS", (*method == Method::POST).then_some(&QUERY)),
        "/status" => ("GET, OPTIONS", (*method == Method::GET).then_some(&STATUS)),
        "/events" => ("POST, OPTIONS", (*method == Method::POST).then_some(&EVENTS)),
        _ if !rest.strip_prefix('/').is_some_and(is_hash) => return Found::Nothing,
        _ => (
            "GET, HEAD, PUT, OPTIONS",
            match *method {
                Method::GET => Some(&GET),
                Method::HEAD => Some(&HEAD),
                Method::PUT => Some(&PUT),
                _ => None,
            },
        ),
    };
    match found {
        Some(operation) => Found::Operation(operation),
        None if *method == Method::OPTIONS => Found::Operation(&PREFLIGHT),
        None => Found::WrongMethod(allowed),
    }
}

/// Whether a text may be the hash of an artifact.
pub fn is_hash(text: &str) -> bool {
    opaque::is_key(text) && !text.contains('/')
}

/// The hash in the path of an artifact.
fn hash(call: &Shared) -> &str {
    call.rest().strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default()
}

fn status(_: Shared, _: &mut Context<'_>) -> Result<Plan, Refusal> {
    Ok(answer(StatusCode::OK, &json!({ "status": "enabled" })))
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = hash(&call).to_owned();
    opaque::look_up(call, cx, &key, Proof::Leaving)
}

fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let new = New {
        key: opaque::name(&call, hash(&call))?,
        metadata: opaque::metadata(&call, KEPT)?,
        if_absent: false,
    };
    Ok(opaque::store(call, cx, new, stored))
}

fn stored(call: &Shared, outcome: Result<Stored, Refusal>) -> Plan {
    match outcome {
        Ok(_) => answer(StatusCode::ACCEPTED, &json!({ "urls": [url(call)] })),
        Err(refusal) => opaque::refuse_upload(call, &refusal),
    }
}

/// Where the artifact of a request is, as the client called us.
fn url(call: &Shared) -> String {
    let head = &call.head;
    let scheme = if head.tls { "https" } else { "http" };
    let query = head.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{}{}{query}", head.authority.as_deref().unwrap_or_default(), head.path)
}

/// What browsers and `turbo --preflight` ask. No origin is allowed: this is no cache for pages.
fn preflight(_: Shared, _: &mut Context<'_>) -> Result<Plan, Refusal> {
    let mut reply = Reply::empty(StatusCode::NO_CONTENT);
    guard(&mut reply.headers);
    let headers = &mut reply.headers;
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, POST, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Content-Type, User-Agent, x-artifact-duration, x-artifact-tag, x-artifact-dirty-hash, x-artifact-sha",
        ),
    );
    Ok(Plan::Reply(reply))
}

/// Which of many artifacts there are.
fn query(call: Shared, _: &mut Context<'_>) -> Result<Plan, Refusal> {
    Ok(collect(call, DOCUMENT_BYTES_MAX, |call, cx, Collected { bytes, .. }| {
        let hashes = hashes(&bytes)?;
        Ok(look_at(Shared::clone(call), cx, hashes.into(), 0, Map::new()))
    }))
}

fn hashes(document: &[u8]) -> Result<Vec<String>, Refusal> {
    let document: Value = serde_json::from_slice(document).map_err(|_| malformed())?;
    let list =
        document["hashes"].as_array().filter(|list| list.len() <= HASH_COUNT_MAX).ok_or_else(malformed)?;
    let text =
        |hash: &Value| hash.as_str().filter(|hash| is_hash(hash)).map(str::to_owned).ok_or_else(malformed);
    list.iter().map(text).collect()
}

/// Looks at the artifacts of a list from one on, and answers when all are done.
fn look_at(
    call: Shared,
    cx: &mut Context<'_>,
    hashes: Rc<[String]>,
    index: usize,
    mut found: Map<String, Value>,
) -> Plan {
    let Some(hash) = hashes.get(index) else { return answer(StatusCode::OK, &Value::Object(found)) };
    let key = match opaque::name(&call, hash) {
        Ok(key) => key,
        Err(refusal) => return call.refuse(&refusal),
    };
    let cas = call.cas.clone();
    cas.key_head(cx, key, move |_, hit| {
        let outcome = hit.map_err(Refusal::from).map(|hit| {
            found.insert(hashes[index].clone(), hit.as_ref().map_or(Value::Null, artifact));
            let held = Shared::clone(&call);
            // A turn for each, so that a long list keeps nobody waiting, and is no recursion.
            Plan::Pause(Box::new(move |cx, ()| look_at(held, cx, hashes, index + 1, found)))
        });
        settle(&call, outcome)
    })
}

/// What a list says of an artifact.
fn artifact(hit: &KeyHit) -> Value {
    let header =
        |wanted: &str| hit.metadata.iter().find(|(name, _)| **name == *wanted).map(|(_, value)| &**value);
    let duration_ms: u64 = header(DURATION).and_then(|text| text.parse().ok()).unwrap_or(0);
    let size: u64 = hit.references.iter().map(|reference| reference.length).sum();
    let mut artifact = json!({ "size": size, "taskDurationMs": duration_ms });
    if let Some(tag) = header(TAG) {
        artifact["tag"] = tag.into();
    }
    artifact
}

/// A good answer.
pub fn answer(status: StatusCode, document: &Value) -> Plan {
    let mut reply = Reply::bytes(status, "application/json", document.to_string());
    guard(&mut reply.headers);
    Plan::Reply(reply)
}

/// What is answered to a document that is none of the dialect's.
pub fn malformed() -> Refusal {
    Refusal::Bad("bad_request", "The document is malformed, or longer than one may be.".into())
}

#[cfg(test)]
mod tests {
    use cas::{Digest, Reference};

    use super::*;
    use crate::dialects::tests::{Seen, found};

    /// As turbo 2.11.11 sent them, and what its API names besides.
    #[test]
    fn requests_of_the_client_find_their_operations() {
        let seen = [
            ("GET", "/v8/artifacts/status", Seen::Operation("turbo_status")),
            ("GET", "/v8/artifacts/33c45188b9036e55", Seen::Operation("turbo_get")),
            ("PUT", "/v8/artifacts/33c45188b9036e55", Seen::Operation("turbo_put")),
            ("POST", "/v8/artifacts/events", Seen::Operation("turbo_events")),
            ("HEAD", "/v8/artifacts/33c45188b9036e55", Seen::Operation("turbo_head")),
            ("POST", "/v8/artifacts", Seen::Operation("turbo_query")),
            ("OPTIONS", "/v8/artifacts/33c45188b9036e55", Seen::Operation("turbo_preflight")),
            ("OPTIONS", "/v8/artifacts/events", Seen::Operation("turbo_preflight")),
            ("DELETE", "/v8/artifacts/33c45188b9036e55", Seen::WrongMethod),
            ("PUT", "/v8/artifacts/status", Seen::WrongMethod),
            ("GET", "/v8/artifacts", Seen::WrongMethod),
            ("GET", "/v8/artifacts/a/b", Seen::Nothing),
            ("GET", "/v8/artifacts/..", Seen::Nothing),
            ("GET", "/v8/artifactsé", Seen::Nothing),
            ("GET", "/33c45188b9036e55", Seen::Nothing),
        ];
        found(find, &seen);
    }

    #[test]
    fn a_list_of_hashes_is_read_within_its_bounds() {
        assert_eq!(
            hashes(br#"{"hashes":["33c45188b9036e55","a"]}"#).ok(),
            Some(vec!["33c45188b9036e55".into(), "a".into()])
        );
        assert_eq!(hashes(br#"{"hashes":[]}"#).ok(), Some(Vec::new()));
        let many = json!({ "hashes": vec!["a"; HASH_COUNT_MAX + 1] }).to_string();
        for bad in ["", "[]", "{}", r#"{"hashes":[1]}"#, r#"{"hashes":["a/b"]}"#, r#"{"hashes":"a"}"#, &many]
        {
            assert!(hashes(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_says_what_the_upload_said() {
        let hit = |metadata: &[(&str, &str)]| KeyHit {
            value: bytes::Bytes::new(),
            metadata: metadata.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            references: vec![Reference { digest: Digest::of(b"x"), length: 325 }],
            first: None,
            created_ms: 0,
            by: cas::Provenance::default(),
        };
        assert_eq!(artifact(&hit(&[])), json!({ "size": 325, "taskDurationMs": 0 }));
        let said = hit(&[(DURATION, "206"), (TAG, "+Mj73dv052aAe2tDBw7M1N/5UkVxw5VToPygTYM2XY4=")]);
        let expected = json!({ "size": 325, "taskDurationMs": 206, "tag": "+Mj73dv052aAe2tDBw7M1N/5UkVxw5VToPygTYM2XY4=" });
        assert_eq!(artifact(&said), expected);
    }
}
