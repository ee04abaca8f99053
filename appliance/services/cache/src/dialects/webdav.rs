//! WebDAV (RFC 4918) as far as a cache needs it, which is how sccache 0.16.0 keeps its values: files in collections.
//! Invariant: every collection exists, always, so that no client has to make one; a path that ends in `/` is a collection and never
//! a value.
//! Leaves to `opaque`: keeping values.
//!
//! ```text
//! /a/b/c/<64 hex>   GET, HEAD  200 or 404    PUT  201    DELETE  204 or 404    PROPFIND  207 or 404
//! /a/b/             PROPFIND, depth 0  207               MKCOL  405, since it is there
//! .sccache_check    a value as any other: at its start sccache reads it, and writes it to learn whether it may
//! ```

use std::borrow::Cow;

use aws::xml::Writer;
use aws::{Timestamp, uri};
use cas::KeyHit;
use http_types::{HeaderName, HeaderValue, Method, StatusCode, header};
use plan::{Context, Plan, Reply};

use crate::call::{Shared, settle};
use crate::dialects::opaque::{self, New, Proof};
use crate::refusal::{Kind, Refusal, guard, name};
use crate::router::{Found, Operation};

static GET: Operation = Operation::new("webdav_get", Kind::Lookup, get);
static HEAD: Operation = Operation::new("webdav_head", Kind::Lookup, get);
// Let in as a reader; `opaque::store` checks the right to write.
static PUT: Operation = Operation::new("webdav_put", Kind::Lookup, put);
static DELETE: Operation = Operation::new("webdav_delete", Kind::Write, delete);
static PROPFIND: Operation = Operation::new("webdav_propfind", Kind::Lookup, propfind);
static MKCOL: Operation = Operation::new("webdav_mkcol", Kind::Lookup, mkcol);
static OPTIONS: Operation = Operation::new("webdav_options", Kind::Lookup, options);

const OF_VALUES: &str = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND";
const OF_COLLECTIONS: &str = "OPTIONS, PROPFIND";
/// Headers that come back with a value.
const KEPT: &[&str] = &["content-type"];
const DEPTH: &str = "depth";
const DAV: HeaderName = name("dav");
const XML: &str = "application/xml; charset=utf-8";

/// Finds an operation by its method and the path behind the mount.
pub fn find(method: &Method, rest: &str) -> Found {
    let Some(path) = Path::read(rest) else { return Found::Nothing };
    match (method.as_str(), path) {
        ("PROPFIND", _) => Found::Operation(&PROPFIND),
        ("OPTIONS", _) => Found::Operation(&OPTIONS),
        ("MKCOL", _) => Found::Operation(&MKCOL),
        (_, Path::Collection) => Found::WrongMethod(OF_COLLECTIONS),
        ("GET", _) => Found::Operation(&GET),
        ("HEAD", _) => Found::Operation(&HEAD),
        ("PUT", _) => Found::Operation(&PUT),
        ("DELETE", _) => Found::Operation(&DELETE),
        _ => Found::WrongMethod(OF_VALUES),
    }
}

/// What a path names.
#[derive(PartialEq, Eq, Debug)]
enum Path<'p> {
    /// A place for values. It exists.
    Collection,
    /// A value, by its decoded path.
    Value(Cow<'p, str>),
}

impl Path<'_> {
    /// Reads a path as sent. None: it names nothing, or steps out of where it is.
    fn read(rest: &str) -> Option<Path<'_>> {
        let text = uri::decode_path(rest.strip_prefix('/')?).ok()?;
        let is_collection = text.is_empty() || text.ends_with('/');
        let mut segments = text.strip_suffix('/').unwrap_or(&text).split('/');
        let is_good = |segment: &str| !segment.is_empty() && !matches!(segment, "." | "..");
        if text.bytes().any(|byte| byte.is_ascii_control()) || !(text.is_empty() || segments.all(is_good)) {
            return None;
        }
        Some(if is_collection { Path::Collection } else { Path::Value(text) })
    }

    /// The key of a value. Errors: `NotFound` for a collection.
    fn key(rest: &str) -> Result<Cow<'_, str>, Refusal> {
        match Path::read(rest) {
            Some(Path::Value(key)) => Ok(key),
            Some(Path::Collection) | None => Err(Refusal::NotFound),
        }
    }
}

fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = Path::key(call.rest())?.into_owned();
    opaque::look_up(call, cx, &key, Proof::Leaving)
}

fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let new = New {
        key: opaque::name(&call, &Path::key(call.rest())?)?,
        metadata: opaque::metadata(&call, KEPT)?,
        if_absent: false,
    };
    Ok(opaque::store(call, cx, new, |call, outcome| {
        opaque::stored_or_refused(call, outcome, StatusCode::CREATED)
    }))
}

fn delete(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    let key = Path::key(call.rest())?.into_owned();
    opaque::remove(call, cx, &key)
}

fn options(_: Shared, _: &mut Context<'_>) -> Result<Plan, Refusal> {
    let mut reply = Reply::empty(StatusCode::OK);
    guard(&mut reply.headers);
    // RFC 4918 18.1: class 1 alone, since there are no locks.
    reply.headers.insert(DAV, HeaderValue::from_static("1"));
    reply
        .headers
        .insert(header::ALLOW, HeaderValue::from_static("OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, MKCOL"));
    Ok(Plan::Reply(reply))
}

fn mkcol(_: Shared, _: &mut Context<'_>) -> Result<Plan, Refusal> {
    // RFC 4918 9.3.1: 405 where there is a resource already.
    Err(Refusal::WrongMethod(OF_COLLECTIONS))
}

/// The body, which names properties, is not looked at: all that we have are few.
fn propfind(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Refusal> {
    // RFC 4918 9.1: without the header the depth is infinity.
    if call.header(DEPTH) != Some("0") {
        return Err(Refusal::NotBuilt("PROPFIND of a depth other than 0"));
    }
    let key = match Path::read(call.rest()).ok_or(Refusal::NotFound)? {
        Path::Collection => {
            return Ok(Plan::Reply(multistatus(&call.head.path, call.now.0, None)));
        }
        Path::Value(key) => opaque::name(&call, &key)?,
    };
    let cas = call.cas.clone();
    Ok(cas.key_head(cx, key, move |_, found| {
        let outcome = found.map_err(Refusal::from).and_then(|hit| hit.ok_or(Refusal::NotFound));
        settle(
            &call,
            outcome.map(|hit| Plan::Reply(multistatus(&call.head.path, hit.created_ms, Some(&hit)))),
        )
    }))
}

/// The properties of one resource: of a value, else of a collection.
fn multistatus(path: &str, modified_ms: u64, value: Option<&KeyHit>) -> Reply {
    let mut xml = Writer::with_capacity(512 + path.len());
    xml.declaration();
    xml.open_with("D:multistatus", &[("xmlns:D", "DAV:")]);
    xml.open("D:response");
    xml.text("D:href", path);
    xml.open("D:propstat");
    xml.open("D:prop");
    match value.and_then(|hit| hit.references.first()) {
        Some(reference) => {
            xml.empty("D:resourcetype");
            xml.number("D:getcontentlength", reference.length);
            xml.quoted("D:getetag", &reference.digest.to_string());
        }
        None => {
            xml.open("D:resourcetype");
            xml.empty("D:collection");
            xml.close("D:resourcetype");
        }
    }
    let modified = Timestamp(i64::try_from(modified_ms).unwrap_or(i64::MAX));
    xml.text("D:getlastmodified", &modified.to_http());
    xml.close("D:prop");
    xml.text("D:status", "HTTP/1.1 200 OK");
    xml.close("D:propstat");
    xml.close("D:response");
    xml.close("D:multistatus");
    let mut reply = Reply::bytes(StatusCode::MULTI_STATUS, XML, xml.into_bytes());
    guard(&mut reply.headers);
    reply
}

#[cfg(test)]
mod tests {
    use cas::{Digest, Reference};

    use super::*;
    use crate::dialects::tests::{Seen, found};

    /// As sccache 0.16.0 sent them, behind the mount, and what other clients of WebDAV may send.
    #[test]
    fn requests_of_the_client_find_their_operations() {
        let key = "/e/3/3/e3337c3ee4d2bc2a473190f11fab6d239bedb6dbbbae458a91b53f11c887b944";
        let seen = [
            ("GET", "/.sccache_check", Seen::Operation("webdav_get")),
            ("PROPFIND", "/", Seen::Operation("webdav_propfind")),
            ("PUT", "/.sccache_check", Seen::Operation("webdav_put")),
            ("GET", key, Seen::Operation("webdav_get")),
            ("PROPFIND", "/e/3/3/", Seen::Operation("webdav_propfind")),
            ("MKCOL", "/e/3/3/", Seen::Operation("webdav_mkcol")),
            ("PUT", key, Seen::Operation("webdav_put")),
            ("PUT", "/pre/x/.sccache_check", Seen::Operation("webdav_put")),
            ("HEAD", key, Seen::Operation("webdav_head")),
            ("DELETE", key, Seen::Operation("webdav_delete")),
            ("PROPFIND", key, Seen::Operation("webdav_propfind")),
            ("OPTIONS", "/", Seen::Operation("webdav_options")),
            ("LOCK", key, Seen::WrongMethod),
            ("GET", "/e/", Seen::WrongMethod),
            ("PUT", "/", Seen::WrongMethod),
            ("DELETE", "/e/", Seen::WrongMethod),
            ("GET", "/../x", Seen::Nothing),
            ("GET", "/a/%2e%2e/x", Seen::Nothing),
            ("GET", "/a//x", Seen::Nothing),
            ("GET", "/a%00", Seen::Nothing),
            ("GET", "/a%zz", Seen::Nothing),
        ];
        found(find, &seen);
    }

    #[test]
    fn two_spellings_of_a_path_are_one_key() {
        assert_eq!(Path::key("/a/b%2Dc").ok(), Path::key("/a/b-c").ok());
        assert_eq!(Path::read("/"), Some(Path::Collection));
        assert_eq!(Path::read("/a/"), Some(Path::Collection));
        assert!(Path::key("/a/").is_err());
    }

    fn text(reply: Reply) -> String {
        assert_eq!(reply.status, StatusCode::MULTI_STATUS);
        let plan::ReplyBody::Bytes(bytes) = reply.body else { panic!("a document") };
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_collection_and_a_value_have_their_properties() {
        let now = 784_111_777_000;
        let collection = text(multistatus("/m/a&b/", now, None));
        assert_eq!(
            collection,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>/m/a&amp;b/</D:href>\
             <D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>\
             <D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified></D:prop>\
             <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
        );
        let hit = KeyHit {
            value: bytes::Bytes::new(),
            metadata: Vec::new(),
            references: vec![Reference { digest: Digest::of(b"x"), length: 13 }],
            first: None,
            created_ms: 0,
            by: cas::Provenance::default(),
        };
        let value = text(multistatus("/m/x", now, Some(&hit)));
        assert!(value.contains("<D:resourcetype/><D:getcontentlength>13</D:getcontentlength>"), "{value}");
        assert!(
            value.contains(&format!("<D:getetag>&quot;{}&quot;</D:getetag>", Digest::of(b"x"))),
            "{value}"
        );
    }
}
