//! GET, HEAD, PUT and DELETE of `/actions/{key}`: the outputs of an action under a key of 64 hexadecimal digits.
//!
//! ```text
//! {"outputs":[{"path":"a/b","hash":"<64 hex>","size":5,"mode":420}], "metadata":{"name":"text"}}
//! ```
//! Invariant: a record is stored only when all its outputs are there, and found only while they are. What is given back is what was
//! understood: other members are refused.
//! Leaves to clients: what a key is, and what paths are relative to.

use std::collections::BTreeMap;

use cas::{Dialect, Digest, KeyError, KeyHit, KeyName, NewKey, Reference};
use http_types::{HeaderMap, HeaderValue, Method, StatusCode, header};
use plan::{Context, Plan, Reply, ReplyBody};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{name, range};
use crate::action::{REFERENCES_MAX, RESULT_BYTES_MAX, closure::Closure, walk};
use crate::call::{Call, Shared, collect, settle};
use crate::refusal::{Kind, Refusal, guard, head_only};
use crate::router::Operation;

/// GET.
pub static GET: Operation = Operation::new("native_get_action", Kind::Lookup, get);
/// HEAD.
pub static HEAD: Operation = Operation::new("native_head_action", Kind::Lookup, get);
/// PUT.
pub static PUT: Operation = Operation::new("native_put_action", Kind::Write, put);
/// DELETE.
pub static DELETE: Operation = Operation::new("native_delete_action", Kind::Write, delete);

/// How the paths of actions begin.
pub const PREFIX: &str = "/actions/";
/// What such a path allows.
pub const METHODS: &str = "GET, HEAD, PUT, DELETE";

/// Characters of an output's path at most.
const PATH_BYTES_MAX: usize = 4096;
/// Pairs of metadata at most.
const METADATA_COUNT_MAX: usize = 64;
/// Characters of a name in it at most.
const NAME_BYTES_MAX: usize = 128;
/// Characters of a value in it at most.
const VALUE_BYTES_MAX: usize = 4096;

/// A record.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    outputs: Vec<Output>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Output {
    path: String,
    hash: String,
    size: u64,
    /// Permission bits. None: the client's usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
}

/// The largest mode: permissions with set-user-ID, set-group-ID and sticky bit.
const MODE_MAX: u32 = 0o7777;

fn key(call: &Call) -> Result<KeyName, Refusal> {
    let key = call.rest().strip_prefix(PREFIX).unwrap_or_default();
    let malformed = || Refusal::Bad("InvalidKey", "A key is 64 lower-case hexadecimal digits.".into());
    let digest = Digest::parse(key).ok_or_else(malformed)?;
    KeyName::new(call.namespace, Dialect::Native, digest.text()).ok_or_else(malformed)
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let name = key(&call)?;
    let cas = call.cas.clone();
    Ok(cas.key_get(cx, name, move |_cx, found| {
        let outcome = found.map_err(Refusal::from).and_then(|hit| hit.ok_or(Refusal::NotFound));
        settle(&call, outcome.map(|hit| Plan::Reply(record(&call, hit))))
    }))
}

fn record(call: &Call, hit: KeyHit) -> Reply {
    let tag = format!("\"{}\"", Digest::of(&hit.value));
    let is_known = call.header("if-none-match").is_some_and(|header| range::names(header, &tag));
    let mut reply = match is_known {
        true => Reply { status: StatusCode::NOT_MODIFIED, headers: HeaderMap::new(), body: ReplyBody::Empty },
        false => Reply::bytes(StatusCode::OK, "application/json", hit.value),
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        reply.headers.insert(header::ETAG, tag);
    }
    // Another record may come under the key.
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    guard(&mut reply.headers);
    if call.head.method == Method::HEAD && !is_known { head_only(reply) } else { reply }
}

fn put(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let name = key(&call)?;
    let if_absent = match call.header("if-none-match").map(str::trim) {
        None => false,
        Some("*") => true,
        Some(_) => {
            return Err(Refusal::Bad(
                "InvalidHeader",
                "If-None-Match of an upload is `*` or not there.".into(),
            ));
        }
    };
    if call.announced_bytes().is_some_and(|bytes| bytes > RESULT_BYTES_MAX as u64) {
        return Err(Refusal::TooLarge);
    }
    Ok(collect(call, RESULT_BYTES_MAX, move |call, cx, body| {
        let record: Record = super::document(&body.bytes)?;
        let references = references(&record)?;
        let value = serde_json::to_vec(&record).map_err(|_| Refusal::Broken)?;
        let output_count = record.outputs.len();
        let new =
            NewKey { value: value.into(), references, by: call.provenance(), if_absent, ..NewKey::default() };
        let (cas, call) = (call.cas.clone(), Shared::clone(call));
        Ok(cas.key_put(cx, name, new, move |_cx, written| {
            let outcome = written.map_err(|error| match error {
                KeyError::Exists => Refusal::ConditionFailed,
                error => Refusal::from(error),
            });
            let reply = || super::answer(StatusCode::CREATED, &json!({"outputs": output_count}));
            settle(&call, outcome.map(|()| Plan::Reply(reply())))
        }))
    }))
}

/// The blobs that a record names. Errors: it is not what a record may be.
fn references(record: &Record) -> Result<Vec<Reference>, Refusal> {
    let invalid = |why: &'static str| Refusal::Bad("InvalidAction", why.into());
    if record.outputs.len() > REFERENCES_MAX {
        return Err(invalid("An action has at most 10000 outputs."));
    }
    let is_small = record.metadata.len() <= METADATA_COUNT_MAX
        && record.metadata.iter().all(|(name, value)| {
            (1..=NAME_BYTES_MAX).contains(&name.len()) && value.len() <= VALUE_BYTES_MAX
        });
    if !is_small {
        return Err(invalid("Metadata is at most 64 pairs of 128 and 4096 characters."));
    }
    let mut closure = Closure::default();
    for output in &record.outputs {
        if !is_relative(&output.path) {
            return Err(invalid("An output's path is relative, without empty segments, `.` and `..`."));
        }
        if output.mode.is_some_and(|mode| mode > MODE_MAX) {
            return Err(invalid("An output's mode is at most 4095."));
        }
        let digest = Digest::parse(&output.hash).ok_or_else(name::invalid)?;
        let blob =
            crate::action::checked(Reference { digest, length: output.size }).map_err(walk::refusal)?;
        closure.add_blob(blob).map_err(walk::refusal)?;
    }
    Ok(closure.into_references())
}

/// Whether a path stays below where a client puts it.
fn is_relative(path: &str) -> bool {
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
    path.len() <= PATH_BYTES_MAX && !path.contains(['\0', '\\']) && path.split('/').all(is_segment)
}

fn delete(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let name = key(&call)?;
    let cas = call.cas.clone();
    Ok(cas.key_delete(cx, name, move |_cx, removed| {
        let outcome = removed.map_err(Refusal::from).and_then(|was_there| match was_there {
            true => Ok(Plan::Reply(Reply::empty(StatusCode::NO_CONTENT))),
            false => Err(Refusal::NotFound),
        });
        settle(&call, outcome)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Reference>, Refusal> {
        super::super::document::<Record>(text.as_bytes()).and_then(|record| references(&record))
    }

    fn output(path: &str, hash: &str, size: u64) -> String {
        format!(r#"{{"outputs":[{{"path":"{path}","hash":"{hash}","size":{size},"mode":420}}]}}"#)
    }

    #[test]
    fn a_record_names_its_outputs_and_not_the_empty_one() {
        let hash = Digest::of(b"x").to_string();
        assert_eq!(
            read(&output("a/b", &hash, 1)).unwrap(),
            [Reference { digest: Digest::of(b"x"), length: 1 }]
        );
        assert_eq!(read(&output("a/b", &Digest::of(b"").to_string(), 0)).unwrap(), []);
        assert!(read(r#"{"outputs":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let hash = Digest::of(b"x").to_string();
        for path in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\\\b", "a\\u0000"] {
            assert!(read(&output(path, &hash, 1)).is_err(), "{path}");
        }
        assert!(read(&output(&"a".repeat(PATH_BYTES_MAX + 1), &hash, 1)).is_err());
    }

    #[test]
    fn other_documents_are_refused() {
        let hash = Digest::of(b"x").to_string();
        let metadata = |pairs: String| format!(r#"{{"outputs":[],"metadata":{{{pairs}}}}}"#);
        let many: Vec<String> = (0..=METADATA_COUNT_MAX).map(|index| format!(r#""{index}":"""#)).collect();
        let texts = [
            String::new(),
            "[]".into(),
            "{}".into(),
            output("a", &hash.to_uppercase(), 1),
            output("a", &hash[1..], 1),
            output("a", &hash, 0),
            output("a", &hash, 1).replace("420", "4096"),
            output("a", &hash, 1).replace("420", "-1"),
            output("a", &hash, 1).replace("mode", "more"),
            metadata(many.join(",")),
            metadata(format!(r#""{}":"""#, "n".repeat(NAME_BYTES_MAX + 1))),
            metadata(r#""":"x""#.into()),
            metadata(r#""a":7"#.into()),
        ];
        for text in texts {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
