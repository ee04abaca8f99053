//! GET, HEAD and PUT of `/objects/{hash}`.
//! Invariant: what leaves is what the digest in the path names, and the headers of GET and HEAD are the same. An upload is
//! looked at in this order: token, right, name, coding, size, presence, body.

use std::rc::Rc;

use cas::store::stored_bytes;
use cas::{Blob, Digest, Upload};
use http_types::{HeaderMap, HeaderValue, Method, StatusCode, header};
use plan::{Context, Plan, Reply, ReplyBody};
use serde_json::json;

use super::coding::Coding;
use super::name;
use super::range::{self, Span, Wanted};
use crate::call::{Call, Shared, find, receive, settle};
use crate::refusal::{self, Kind, Refusal};
use crate::router::Operation;

/// GET.
pub static GET: Operation = Operation::new("native_get_object", Kind::Lookup, get);
/// HEAD.
pub static HEAD: Operation = Operation::new("native_head_object", Kind::Lookup, get);
/// PUT.
pub static PUT: Operation = Operation::new("native_put_object", Kind::Write, put);

/// How the paths of objects begin.
pub const PREFIX: &str = "/objects/";
/// What GET of an object allows.
pub const METHODS: &str = "GET, HEAD, PUT";

/// Of a body that nobody needs, so much is read before the connection is closed.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// Where an upload names no media type.
const TYPE_DEFAULT: &str = "application/octet-stream";
/// A longer media type is not kept.
const TYPE_BYTES_MAX: usize = 255;
/// The number of bytes of an object, whatever of it a reply carries.
const SIZE: header::HeaderName = refusal::name("x-digest-sizebytes");

fn digest(call: &Call) -> Result<Digest, Refusal> {
    name::of_path(call.rest().strip_prefix(PREFIX).unwrap_or_default()).and_then(name::digest)
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let digest = digest(&call)?;
    Ok(find(&call, cx, digest, |call, _cx, found| {
        let blob = found.ok_or(Refusal::NotFound)?;
        reply(call, blob).map(Plan::Reply)
    }))
}

/// The reply to GET or HEAD of a blob: all of it, a part, or that the client has it. Errors: `RangeOutside`.
pub fn reply(call: &Shared, blob: Blob) -> Result<Reply, Refusal> {
    let tag = Tag::of(&blob.digest);
    let mut headers = headers(&blob, &tag);
    if call.header("if-none-match").is_some_and(|header| range::names(header, tag.as_str())) {
        headers.remove(header::CONTENT_TYPE);
        return Ok(Reply { status: StatusCode::NOT_MODIFIED, headers, body: ReplyBody::Empty });
    }
    if call.head.method == Method::HEAD {
        let body = ReplyBody::Head { length: blob.length };
        return Ok(Reply { status: StatusCode::OK, headers, body });
    }
    // RFC 9110 13.1.5: a range that is asked of another version means the whole. A date never is a strong validator here.
    let is_meant = call.header("if-range").is_none_or(|header| header.trim() == tag.as_str());
    let wanted = match call.header("range") {
        Some(text) if is_meant => range::wanted(text, blob.length),
        _ => Wanted::Whole,
    };
    match wanted {
        Wanted::Whole => Ok(whole(call, blob, StatusCode::OK, headers)),
        Wanted::Outside => Err(Refusal::RangeOutside { length: blob.length }),
        Wanted::Part(span) => {
            let last = span.start + span.length - 1;
            let text = format!("bytes {}-{last}/{}", span.start, blob.length);
            set(&mut headers, header::CONTENT_RANGE, &text);
            // The whole as a range is still compared with its digest.
            if span.length == blob.length {
                return Ok(whole(call, blob, StatusCode::PARTIAL_CONTENT, headers));
            }
            Ok(part(call, blob, span, headers))
        }
    }
}

fn whole(call: &Shared, blob: Blob, status: StatusCode, headers: HeaderMap) -> Reply {
    let form = call.form;
    // Bytes that are not those of the digest are put aside, and then the object is absent.
    let body = call.cas.reply(blob, move |_cx| Refusal::NotFound.reply(&form));
    Reply { status, headers, body }
}

fn part(call: &Shared, blob: Blob, span: Span, headers: HeaderMap) -> Reply {
    let form = call.form;
    let miss = move |_cx: &mut Context<'_>| Refusal::NotFound.reply(&form);
    let body = call.cas.reply_part(blob, span.start, span.length, miss);
    Reply { status: StatusCode::PARTIAL_CONTENT, headers, body }
}

/// A strong entity tag: the digest in quotes.
struct Tag([u8; TAG_BYTES]);

const TAG_BYTES: usize = cas::digest::DIGEST_TEXT_BYTES + 2;

impl Tag {
    fn of(digest: &Digest) -> Tag {
        let mut text = [b'"'; TAG_BYTES];
        text[1..TAG_BYTES - 1].copy_from_slice(&digest.text());
        Tag(text)
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("quotes and hexadecimal digits are ASCII")
    }
}

/// The headers of an object.
fn headers(blob: &Blob, tag: &Tag) -> HeaderMap {
    // With room for what the node adds, so that the map never grows.
    let mut headers = HeaderMap::with_capacity(12);
    let media_type = blob.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    let media_type = media_type.unwrap_or(HeaderValue::from_static(TYPE_DEFAULT));
    headers.insert(header::CONTENT_TYPE, media_type);
    set(&mut headers, header::ETAG, tag.as_str());
    let forever = HeaderValue::from_static("private, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, forever);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(SIZE, HeaderValue::from(blob.length));
    refusal::guard(&mut headers);
    headers
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let digest = digest(&call)?;
    let coding = Coding::parse(call.head.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    if call.head.headers.get_all(header::CONTENT_ENCODING).iter().count() > 1 {
        return Err(Refusal::UnknownCoding);
    }
    let length = call.announced_bytes().filter(|_| coding == Coding::Identity);
    if length.is_some_and(|length| length > call.cas.settings().object_bytes_max) {
        return Err(Refusal::TooLarge);
    }
    Ok(find(&call, cx, digest, move |call, cx, found| match found {
        Some(blob) => Ok(present(call, &blob)),
        None => Ok(store(call, cx, digest, coding, length)),
    }))
}

/// Answers an upload of what the namespace has. A client that waits for a word is spared the body; of others, a short body
/// is read so that the connection can be used again.
fn present(call: &Shared, blob: &Blob) -> Plan {
    let reply = done(StatusCode::OK, &blob.digest, blob.length, stored_bytes(blob.length), false);
    if call.expects_continue() || call.announced_bytes() == Some(0) {
        return Plan::Reply(reply);
    }
    drain(Rc::clone(call), 0, reply)
}

fn drain(call: Shared, drained_bytes: usize, reply: Reply) -> Plan {
    Plan::Next {
        then: Box::new(move |_cx, piece| match piece {
            Ok(None) => Plan::Reply(reply),
            Ok(Some(piece)) => {
                let drained_bytes = drained_bytes + piece.len();
                if drained_bytes >= DRAIN_BYTES_MAX {
                    return Plan::Reply(reply.with(header::CONNECTION, HeaderValue::from_static("close")));
                }
                drain(call, drained_bytes, reply)
            }
            Err(failure) => settle(&call, Err(Refusal::from(failure))),
        }),
    }
}

fn store(call: &Shared, cx: &mut Context<'_>, digest: Digest, coding: Coding, length: Option<u64>) -> Plan {
    let upload = Upload {
        ns: call.namespace,
        expected: Some(digest),
        length,
        filter: coding.filter(),
        content_type: media_type(call),
        by: call.provenance(),
        prefix: bytes::Bytes::new(),
    };
    receive(call, cx, upload, |_call, _cx, stored| {
        let status = if stored.new { StatusCode::CREATED } else { StatusCode::OK };
        let reply = done(status, &stored.digest, stored.length, stored.stored_bytes, stored.new);
        Ok(Plan::Reply(reply))
    })
}

/// The media type that an upload names, where it is one that is kept.
fn media_type(call: &Call) -> Option<Box<str>> {
    let text = call.header("content-type")?.trim();
    let is_kept = !text.is_empty() && text.len() <= TYPE_BYTES_MAX && text != TYPE_DEFAULT;
    is_kept.then(|| text.into())
}

/// The reply to an upload that is there.
fn done(status: StatusCode, digest: &Digest, length: u64, stored_bytes: u64, is_new: bool) -> Reply {
    let document = json!({
        "hash": digest.to_string(),
        "size": length,
        "stored": stored_bytes,
        "new": is_new,
    });
    let mut reply = Reply::bytes(status, "application/json", document.to_string());
    set(&mut reply.headers, header::ETAG, Tag::of(digest).as_str());
    reply.headers.insert(SIZE, HeaderValue::from(length));
    refusal::guard(&mut reply.headers);
    reply
}
