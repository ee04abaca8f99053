//! Replies: documents, the headers of an object, dates, and metadata that HTTP cannot carry as it is.
//! Invariant: GET and HEAD of one version carry the same headers, whatever they leave out of the body.

use std::borrow::Cow;

use aws::Timestamp;
use aws::encoding::base64;
use aws::uri::encode_path;
use aws::xml::Writer;
use http_types::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use plan::{Reply, ReplyBody};

use crate::model::checksum::describe;
use crate::model::object::STORAGE_CLASS_DEFAULT;
use crate::model::{Checksum, Etag, SystemHeader};
use crate::store::record::VersionRecord;
use crate::wire::query::Query;

/// A document with status 200.
#[must_use]
pub fn xml(body: Vec<u8>) -> Reply {
    Reply::bytes(StatusCode::OK, "application/xml", body)
}

/// 200 without a body.
#[must_use]
pub fn ok() -> Reply {
    Reply::empty(StatusCode::OK)
}

/// 204.
#[must_use]
pub fn no_content() -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
}

/// Adds a header whose value is text that came from a valid header or is made of ASCII.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    set_bytes(headers, HeaderName::from_static(name), value.as_bytes());
}

fn set_bytes(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
}

/// A time in XML.
#[must_use]
pub fn iso(ms: u64) -> String {
    timestamp(ms).to_iso8601()
}

/// A time in a header.
#[must_use]
pub fn http_date(ms: u64) -> String {
    timestamp(ms).to_http()
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Headers that describe a version: its content, its tag, its times, its metadata. `shows_version`: the bucket keeps or
/// kept versions.
#[must_use]
pub fn object_headers(record: &VersionRecord, shows_version: bool) -> HeaderMap {
    let attributes = &record.attributes;
    // With room for what the node and a ranged reply add, so that the map never grows.
    let mut headers = HeaderMap::with_capacity(attributes.headers.len() + attributes.metadata.len() + 12);
    for (kind, value) in &attributes.headers {
        set_bytes(&mut headers, kind.header_name().clone(), &carried(value));
    }
    for (name, value) in &attributes.metadata {
        if let Ok(name) = HeaderName::from_bytes(format!("x-amz-meta-{name}").as_bytes()) {
            set_bytes(&mut headers, name, &carried(value));
        }
    }
    set_bytes(&mut headers, header::ETAG, record.etag.quoted().as_bytes());
    set_bytes(&mut headers, header::LAST_MODIFIED, http_date(record.modified_ms).as_bytes());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if attributes.storage_class != STORAGE_CLASS_DEFAULT {
        set(&mut headers, "x-amz-storage-class", &attributes.storage_class);
    }
    if !attributes.tags.is_empty() {
        set(&mut headers, "x-amz-tagging-count", &attributes.tags.pairs().len().to_string());
    }
    if shows_version {
        set(&mut headers, "x-amz-version-id", &record.id().to_string());
    }
    headers
}

/// What 304 repeats of a version's headers (RFC 9110 15.4.5).
#[must_use]
pub fn not_modified(record: &VersionRecord, shows_version: bool) -> Reply {
    let all = object_headers(record, shows_version);
    let mut reply = Reply::empty(StatusCode::NOT_MODIFIED);
    for name in ["etag", "last-modified", "cache-control", "expires", "x-amz-version-id"] {
        if let Some(value) = all.get(name) {
            reply.headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    reply
}

/// Adds a checksum and its type.
pub fn set_checksum(headers: &mut HeaderMap, checksum: &Checksum, part_count: u16) {
    set(headers, describe(checksum.algorithm).header, &checksum.text(part_count));
    set(headers, "x-amz-checksum-type", checksum.kind.name());
}

/// Writes the element of a checksum and its type.
pub fn write_checksum(writer: &mut Writer, checksum: &Checksum, part_count: u16) {
    writer.text(describe(checksum.algorithm).element, &checksum.text(part_count));
    writer.text("ChecksumType", checksum.kind.name());
}

/// Writes an entity tag with its quotes.
pub fn write_etag(writer: &mut Writer, etag: &Etag) {
    writer.quoted("ETag", &etag.to_string());
}

/// Replaces headers by what a signed request's `response-*` parameters say.
pub fn override_headers(headers: &mut HeaderMap, query: &Query) {
    if query.is_empty() {
        return;
    }
    for (kind, _, parameter_name) in SystemHeader::ALL {
        if parameter_name.is_empty() {
            continue;
        }
        if let Some(value) = query.get(parameter_name) {
            set_bytes(headers, kind.header_name().clone(), value.as_bytes());
        }
    }
}

/// A header value as HTTP can carry it: ASCII as it is, anything else as an RFC 2047 word. Bytes that are not UTF-8 are
/// taken for Latin-1, which HTTP headers once were.
fn carried(value: &[u8]) -> Cow<'_, [u8]> {
    if value.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\t') {
        return Cow::Borrowed(value);
    }
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    };
    Cow::Owned(format!("=?UTF-8?B?{}?=", base64(text.as_bytes())).into_bytes())
}

/// Writes names of a listing, percent-coded where the client asked for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Names {
    /// Whether `encoding-type=url` was given.
    pub is_url_encoded: bool,
}

impl Names {
    /// `<element>name</element>`.
    pub fn write(self, writer: &mut Writer, element: &str, name: &str) {
        if self.is_url_encoded {
            writer.text(element, &encode_path(name));
        } else {
            writer.text(element, name);
        }
    }
}

/// Takes the body away and keeps its length, for HEAD.
#[must_use]
pub fn head_only(mut reply: Reply) -> Reply {
    let length = reply.length();
    reply.body = ReplyBody::Head { length };
    reply
}

/// Location header of a new resource.
pub fn set_location(headers: &mut HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(header::LOCATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_headers_hold_what_the_record_holds() {
        let record = crate::store::record::tests::sample();
        let headers = object_headers(&record, true);
        let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        assert_eq!(text("content-type").as_deref(), Some("text/plain"));
        assert_eq!(text("x-amz-version-id").as_deref(), Some("null"));
        assert_eq!(text("x-amz-tagging-count").as_deref(), Some("1"));
        assert_eq!(text("last-modified").as_deref(), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert_eq!(text("etag"), Some(record.etag.quoted()));
        assert_eq!(text("x-amz-storage-class"), None);
        assert!(object_headers(&record, false).get("x-amz-version-id").is_none());
        assert!(not_modified(&record, false).headers.get("x-amz-tagging-count").is_none());
    }

    #[test]
    fn metadata_beyond_ascii_leaves_as_an_encoded_word() {
        assert_eq!(*carried(b"plain \t value"), *b"plain \t value");
        assert_eq!(*carried("é".as_bytes()), *b"=?UTF-8?B?w6k=?=");
        assert_eq!(*carried(&[0xe9]), *b"=?UTF-8?B?w6k=?=");
    }
}
