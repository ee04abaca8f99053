//! What dialects of opaque values have in common: one value under one key, kept as a blob and a key record that names it.
//! Invariant: a hit is answered with the bytes that were stored under the key, or not at all; a value is there under its key only
//! after all of it is durable; the last writer wins, where the dialect does not say otherwise.
//! Leaves to each dialect: which paths are keys, which headers belong to a value, what a good answer looks like.

use ::store::Fault;
use cas::{Blob, KeyError, KeyHit, KeyName, Metadata, NewKey, Reference, Stored, Upload};
use http_types::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use plan::{Context, Plan, Reply, ReplyBody};
use tokens::Scope;

use crate::call::{Shared, settle};
use crate::dialects::proven;
use crate::refusal::{Form, Kind, Refusal, guard};

/// Bytes of a header that belongs to a value at most.
pub const HEADER_BYTES_MAX: usize = 1_024;
/// Bytes of a refused upload that are read, so that its sender gets to the answer. A longer one loses its connection.
const SWALLOW_BYTES_MAX: u64 = 1 << 30;
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Values may be replaced, so that nobody between us and the client may keep one.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("no-cache");

/// A value that is to come with the body of the request.
pub struct New {
    /// Under which key.
    pub key: KeyName,
    /// Headers of the upload that come back with the value.
    pub metadata: Metadata,
    /// Whether a value that is there stays.
    pub if_absent: bool,
}

/// Goes on with what became of an upload.
pub type Done = fn(&Shared, Result<Stored, Refusal>) -> Plan;

/// The name under which the content store knows a key of the dialect. Errors: `NotFound` for what is too long to be one.
pub fn name(call: &Shared, key: &str) -> Result<KeyName, Refusal> {
    KeyName::new(call.namespace, call.dialect(), key.as_bytes()).ok_or(Refusal::NotFound)
}

/// Whether a text is one to four segments of letters, digits and `. _ -`, none of which is a step to elsewhere.
#[must_use]
pub fn is_key(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_segment = |segment: &str| {
        !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(is_plain)
    };
    text.split('/').count() <= SEGMENT_COUNT_MAX && text.split('/').all(is_segment)
}

const SEGMENT_COUNT_MAX: usize = 4;

/// The headers of a request that belong to its value. Errors: one is longer than such a header may be, or no text.
pub fn metadata(call: &Shared, kept: &[&'static str]) -> Result<Metadata, Refusal> {
    let mut metadata = Metadata::new();
    for name in kept {
        let Some(value) = call.head.headers.get(*name) else { continue };
        match value.to_str() {
            Ok(text) if text.len() <= HEADER_BYTES_MAX => metadata.push(((*name).into(), text.into())),
            _ => {
                return Err(Refusal::Bad(
                    "InvalidHeader",
                    format!("The header {name} is too long or no text.").into(),
                ));
            }
        }
    }
    Ok(metadata)
}

/// When the bytes of a value are compared with its digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// While they leave: a long reply may be cut.
    Leaving,
    /// Before any of them leaves.
    Before,
}

/// Answers GET and HEAD of a key: its value, or a miss.
pub fn look_up(call: Shared, cx: &mut Context<'_>, key: &str, proof: Proof) -> Result<Plan, Refusal> {
    let name = name(&call, key)?;
    let cas = call.cas.clone();
    Ok(cas.key_get(cx, name, move |cx, found| settle(&call, value(&call, cx, found, proof))))
}

fn value(
    call: &Shared,
    cx: &mut Context<'_>,
    found: Result<Option<KeyHit>, Fault>,
    proof: Proof,
) -> Result<Plan, Refusal> {
    let hit = found?.ok_or(Refusal::NotFound)?;
    let mut headers = HeaderMap::with_capacity(hit.metadata.len() + 8);
    describe(&hit, &mut headers);
    // A dialect of opaque values writes no record without its blob.
    let blob = hit.first.ok_or(Refusal::Broken)?;
    if call.head.method == Method::HEAD {
        let body = ReplyBody::Head { length: blob.length };
        return Ok(Plan::Reply(Reply { status: StatusCode::OK, headers, body }));
    }
    if proof == Proof::Leaving {
        return Ok(Plan::Reply(whole(call, headers, blob)));
    }
    if blob.length > proven::SHORT_BYTES {
        // What is read to its end before it is sent takes as long as it takes: it is there.
        call.deadline.set(None);
    }
    let held = Shared::clone(call);
    Ok(proven::prove(&call.cas, cx, blob, move |_, proven| {
        let outcome = proven.map_err(Refusal::from).and_then(|blob| blob.ok_or(Refusal::NotFound));
        settle(&held, outcome.map(|blob| Plan::Reply(whole(&held, headers, blob))))
    }))
}

fn whole(call: &Shared, headers: HeaderMap, blob: Blob) -> Reply {
    let form = call.form;
    let body = call.cas.reply(blob, move |_| Refusal::NotFound.reply(&form));
    Reply { status: StatusCode::OK, headers, body }
}

/// The headers that came with a value, and those that every value has.
pub fn describe(hit: &KeyHit, headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, DEFAULT_TYPE);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    guard(headers);
    for (name, value) in &hit.metadata {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
    if let Some(reference) = hit.references.first()
        && let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", reference.digest))
    {
        headers.insert(header::ETAG, tag);
    }
}

/// Answers PUT of a key: receives the value and writes its record. An operation that comes here was let in as a reader: the
/// right to write is checked here, so that a refusal can be read by the client, which sends its body first.
pub fn store(call: Shared, cx: &mut Context<'_>, new: New, done: Done) -> Plan {
    if !call.may(Scope::CacheWrite) {
        return done(&call, Err(Refusal::Forbidden));
    }
    if let Some(refusal) = &call.throttled {
        return done(&call, Err(refusal.clone()));
    }
    let upload = Upload {
        ns: call.namespace,
        expected: None,
        length: call.announced_bytes(),
        filter: None,
        content_type: None,
        by: call.provenance(),
        prefix: bytes::Bytes::new(),
    };
    let cas = call.cas.clone();
    cas.receive(cx, upload, move |cx, stored| match stored {
        Err(error) => done(&call, Err(error.into())),
        Ok(stored) => {
            call.stored_bytes.set(stored.length);
            name_it(call, cx, new, stored, done)
        }
    })
}

fn name_it(call: Shared, cx: &mut Context<'_>, new: New, stored: Stored, done: Done) -> Plan {
    let New { key, metadata, if_absent } = new;
    let references = vec![Reference { digest: stored.digest, length: stored.length }];
    let record = NewKey { metadata, references, by: call.provenance(), if_absent, ..NewKey::default() };
    if !if_absent {
        return write(call, cx, key, record, stored, done);
    }
    // A record whose value is gone is in nobody's way: looking at it takes it away. The same value again is no other one.
    let cas = call.cas.clone();
    cas.key_head(cx, key.clone(), move |cx, found| match found {
        Ok(Some(hit)) if hit.references == record.references => done(&call, Ok(stored)),
        Ok(Some(_)) => done(&call, Err(KeyError::Exists.into())),
        Ok(None) => write(call, cx, key, record, stored, done),
        Err(fault) => done(&call, Err(fault.into())),
    })
}

fn write(
    call: Shared,
    cx: &mut Context<'_>,
    key: KeyName,
    record: NewKey,
    stored: Stored,
    done: Done,
) -> Plan {
    let cas = call.cas.clone();
    cas.key_put(cx, key, record, move |_, written| {
        done(&call, written.map(|()| stored).map_err(Refusal::from))
    })
}

/// Answers DELETE of a key: 204, or 404 where there was none.
pub fn remove(call: Shared, cx: &mut Context<'_>, key: &str) -> Result<Plan, Refusal> {
    let name = name(&call, key)?;
    let cas = call.cas.clone();
    Ok(cas.key_delete(cx, name, move |_, removed| {
        let outcome = removed.map_err(Refusal::from).and_then(|was_there| match was_there {
            true => Ok(Plan::Reply(Reply::empty(StatusCode::NO_CONTENT))),
            false => Err(Refusal::NotFound),
        });
        settle(&call, outcome)
    }))
}

/// The form of refusals of an upload that was let in as a reader.
#[must_use]
pub fn upload_form(call: &Shared) -> Form {
    Form { kind: Kind::Write, ..call.form }
}

/// Refuses an upload once its body is read, or the client has not begun to send one.
pub fn refuse_upload(call: &Shared, refusal: &Refusal) -> Plan {
    swallow(call, refusal.reply(&upload_form(call)))
}

/// Answers an upload after the rest of its body, which is dropped. The http layer reads little of a body that nobody wants and
/// then cuts the connection; a client that is still sending would see that and not the answer.
pub fn swallow(call: &Shared, mut reply: Reply) -> Plan {
    let is_long = call.announced_bytes().is_some_and(|bytes| bytes > SWALLOW_BYTES_MAX);
    if call.expects_continue() || is_long {
        return Plan::Reply(reply);
    }
    reply.headers.remove(header::CONNECTION);
    swallow_rest(reply, SWALLOW_BYTES_MAX)
}

fn swallow_rest(mut reply: Reply, left_bytes: u64) -> Plan {
    Plan::Next {
        then: Box::new(move |_, piece| match piece {
            Ok(None) => Plan::Reply(reply),
            Ok(Some(piece)) if piece.len() as u64 <= left_bytes => {
                swallow_rest(reply, left_bytes - piece.len() as u64)
            }
            Ok(Some(_)) | Err(_) => {
                reply.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                Plan::Reply(reply)
            }
        }),
    }
}

/// The good answer to an upload without anything to say, else the refusal.
pub fn stored_or_refused(call: &Shared, outcome: Result<Stored, Refusal>, status: StatusCode) -> Plan {
    match outcome {
        Ok(_) => {
            let mut reply = Reply::empty(status);
            guard(&mut reply.headers);
            Plan::Reply(reply)
        }
        Err(refusal) => refuse_upload(call, &refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_segments() {
        let fits = ["a", "73/48vsevb8", "ac/7348", "a.b-c_D", "1/2/3/4"];
        let others = [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.",
            "a b",
            "a%41",
            "é",
            "1/2/3/4/5",
            "a?b",
            "a\0",
        ];
        for text in fits {
            assert!(is_key(text), "{text}");
        }
        for text in others {
            assert!(!is_key(text), "{text}");
        }
    }
}
