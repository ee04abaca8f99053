//! Replies as bytes: media type, compression, checksum, and the document of an error.
//! Invariant: `x-amz-crc32` covers the bytes as they are sent, after compression; clients drop a reply where it does not.
//! Leaves to the node: request ids, Date, Server, Content-Length.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use http_types::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http_types::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use plan::{Reply, ReplyBody};

use super::error::{Error, ErrorName};
use crate::json::{self, DecompressError};

/// The two media types of the protocol. A reply has the request's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// `application/x-amz-json-1.0`
    Amazon,
    /// `application/json`
    Plain,
}

/// What a reply may be compressed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// Nothing.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Deflate,
}

/// What the head of a request says about the form of the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// Its media type.
    pub media: Media,
    /// Its compression, if it is long.
    pub coding: Coding,
}

/// A reply is compressed from this length on, as AWS does.
pub const COMPRESSED_BYTES_MIN: usize = 4_096;

static CRC32: HeaderName = HeaderName::from_static("x-amz-crc32");
const NO_BODY_CRC32: HeaderValue = HeaderValue::from_static("0");
/// Amazon's answer to what is not the protocol at all.
const NOT_THE_PROTOCOL: &str = "<UnknownOperationException/>\n";

impl Media {
    /// The media type of a request; None where it is not the protocol's.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Media> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let base = value.split(';').next().unwrap_or_default().trim();
        if base.eq_ignore_ascii_case("application/x-amz-json-1.0") {
            Some(Media::Amazon)
        } else if base.eq_ignore_ascii_case("application/json") {
            Some(Media::Plain)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Media::Amazon => "application/x-amz-json-1.0",
            Media::Plain => "application/json",
        }
    }
}

impl Coding {
    /// The first coding that the client takes and we have.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Coding {
        let Some(value) = headers.get(ACCEPT_ENCODING) else { return Coding::Identity };
        let Ok(value) = value.to_str() else { return Coding::Identity };
        for offer in value.split(',') {
            let mut parts = offer.split(';');
            let name = parts.next().unwrap_or_default().trim();
            // RFC 9110 12.4.2: a weight of nothing but zeros excludes.
            let is_excluded = parts.any(|part| {
                part.trim()
                    .strip_prefix("q=")
                    .is_some_and(|q| q.starts_with('0') && q.bytes().all(|byte| matches!(byte, b'0' | b'.')))
            });
            match name {
                _ if is_excluded => {}
                "gzip" | "*" => return Coding::Gzip,
                "deflate" => return Coding::Deflate,
                _ => {}
            }
        }
        Coding::Identity
    }
}

impl Form {
    /// The form that a request asks for; the media type is Amazon's where it named neither.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Form {
        Form { media: Media::of(headers).unwrap_or(Media::Amazon), coding: Coding::accepted(headers) }
    }

    /// 200 with a document.
    #[must_use]
    pub fn document(self, body: Vec<u8>) -> Reply {
        self.render(StatusCode::OK, body)
    }

    /// 200 without a body: what some operations answer.
    #[must_use]
    pub fn nothing(self) -> Reply {
        let mut reply = Reply::empty(StatusCode::OK);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media.name()));
        reply.headers.insert(CRC32.clone(), NO_BODY_CRC32);
        reply
    }

    /// The reply for an error.
    #[must_use]
    pub fn error(self, error: &Error) -> Reply {
        let status =
            StatusCode::from_u16(error.name.spelling().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status {
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => Reply::empty(status),
            _ => self.render(status, error.to_json()),
        }
    }

    fn render(self, status: StatusCode, body: Vec<u8>) -> Reply {
        let packed = if body.len() >= COMPRESSED_BYTES_MIN { compress(self.coding, &body) } else { None };
        let coding = packed.as_ref().map(|(name, _)| *name);
        let body = packed.map_or(body, |(_, packed)| packed);
        let crc = hash::crc32(&body);
        let mut reply = Reply::bytes(status, self.media.name(), body);
        if let Some(coding) = coding {
            reply.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        reply.headers.insert(CRC32.clone(), HeaderValue::from(crc));
        reply
    }
}

fn compress(coding: Coding, body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    match coding {
        Coding::Identity => None,
        Coding::Gzip => Some(("gzip", json::compress(body))),
        Coding::Deflate => {
            // The fast level: what is saved on the way must not be lost on this core.
            let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
            // Writing into a Vec does not fail; if it did, the plain form would be right too.
            encoder.write_all(body).ok()?;
            Some(("deflate", encoder.finish().ok()?))
        }
    }
}

/// The body of a request, decoded where it was compressed, and no longer than `bytes_max`.
pub fn decoded_body(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Bytes, Error> {
    let coding =
        headers.get(CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or("unknown"));
    match coding.trim() {
        "" | "identity" | "aws-chunked" => {
            if body.len() > bytes_max {
                return Err(Error::new(ErrorName::RequestTooLarge, ""));
            }
            Ok(body)
        }
        "gzip" => match json::decompress(&body, bytes_max) {
            Ok(decoded) => Ok(decoded.into()),
            Err(DecompressError::TooLarge) => Err(Error::new(ErrorName::RequestTooLarge, "")),
            Err(DecompressError::Malformed) => Err(Error::not_json()),
        },
        _ => Err(Error::not_json()),
    }
}

/// 404 for what is not the protocol: another method, another media type.
#[must_use]
pub fn not_the_protocol() -> Reply {
    with_crc32(Reply::bytes(StatusCode::NOT_FOUND, "text/xml", NOT_THE_PROTOCOL))
}

/// The answer to those who look whether the service is there.
#[must_use]
pub fn healthy(region: &str) -> Reply {
    with_crc32(Reply::bytes(
        StatusCode::OK,
        "text/plain",
        format!("healthy: dynamodb.{region}.amazonaws.com "),
    ))
}

fn with_crc32(mut reply: Reply) -> Reply {
    if let ReplyBody::Bytes(bytes) = &reply.body {
        let crc = hash::crc32(bytes);
        reply.headers.insert(CRC32.clone(), HeaderValue::from(crc));
    }
    reply
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn bytes(reply: &Reply) -> &[u8] {
        match &reply.body {
            ReplyBody::Bytes(bytes) => bytes,
            _ => b"",
        }
    }

    #[test]
    fn the_first_coding_that_is_not_excluded_is_taken() {
        let cases = [
            ("gzip", Coding::Gzip),
            ("identity", Coding::Identity),
            ("deflate, gzip", Coding::Deflate),
            ("gzip;q=0, deflate;q=0.5", Coding::Deflate),
            ("br, *", Coding::Gzip),
            ("gzip;q=0.000", Coding::Identity),
            ("", Coding::Identity),
        ];
        for (value, coding) in cases {
            assert_eq!(Coding::accepted(&headers(&[("accept-encoding", value)])), coding, "{value}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), Coding::Identity);
    }

    #[test]
    fn a_reply_has_the_media_type_of_its_request_and_the_checksum_of_what_is_sent() {
        let form = Form::of(&headers(&[("content-type", "application/json; charset=utf-8")]));
        let reply = form.document(b"{}".to_vec());
        assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
        assert_eq!(reply.headers["x-amz-crc32"], "2745614147");
        let not_found = not_the_protocol();
        assert_eq!(
            (not_found.length(), &not_found.headers["x-amz-crc32"]),
            (29, &HeaderValue::from_static("3552371480"))
        );
    }

    #[test]
    fn long_replies_are_compressed_for_those_who_take_it() {
        let long = vec![b'a'; COMPRESSED_BYTES_MIN];
        for (accepted, coding) in [("gzip", "gzip"), ("deflate", "deflate")] {
            let form = Form::of(&headers(&[("accept-encoding", accepted)]));
            let reply = form.document(long.clone());
            assert_eq!(reply.headers[CONTENT_ENCODING], coding);
            assert_eq!(reply.headers["x-amz-crc32"], hash::crc32(bytes(&reply)).to_string());
            let mut plain = Vec::new();
            match accepted {
                "gzip" => MultiGzDecoder::new(bytes(&reply)).read_to_end(&mut plain),
                _ => flate2::read::ZlibDecoder::new(bytes(&reply)).read_to_end(&mut plain),
            }
            .expect("decodes");
            assert_eq!(plain, long);
            assert!(form.document(long[1..].to_vec()).headers.get(CONTENT_ENCODING).is_none());
        }
        let form = Form::of(&HeaderMap::new());
        assert_eq!(bytes(&form.document(long.clone())), long);
    }

    #[test]
    fn a_compressed_request_is_bounded_by_its_decoded_length() {
        let packed = Bytes::from(json::compress(&vec![b' '; 100_000]));
        let gzip = headers(&[("content-encoding", "gzip")]);
        let decoded = decoded_body(&gzip, packed.clone(), 100_000).expect("fits");
        assert_eq!(decoded.len(), 100_000);
        let error = decoded_body(&gzip, packed.clone(), 99_999).expect_err("too long");
        assert_eq!(error.name, ErrorName::RequestTooLarge);
        let cut = decoded_body(&gzip, packed.slice(..packed.len() / 2), 1 << 20).expect_err("cut");
        assert_eq!(cut.name, ErrorName::Serialization);
        let other = headers(&[("content-encoding", "br")]);
        assert_eq!(
            decoded_body(&other, packed, 1 << 20).expect_err("unknown").name,
            ErrorName::Serialization
        );
    }

    #[test]
    fn an_error_is_a_type_and_a_text() {
        let form = Form::of(&HeaderMap::new());
        let reply = form.error(&Error::validation("a \"b\"\n"));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            std::str::from_utf8(bytes(&reply)).expect("UTF-8"),
            r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"a \"b\"\n"}"#
        );
        let reply = form.error(&Error::unknown_operation());
        assert_eq!(bytes(&reply), br#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#);
        let reply = form.error(&Error::new(ErrorName::RequestTooLarge, ""));
        assert_eq!((reply.status.as_u16(), reply.length()), (413, 0));
    }
}
