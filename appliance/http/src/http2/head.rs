//! An HTTP/2 request head as the handler sees it.
//! Invariant: `:authority` and `host` never disagree in a head that leaves here.
//! Left to others: what RFC 9113 section 8 calls malformed, which `h2` refuses.

use std::net::SocketAddr;

use h2::RecvStream;
use http_types::{HeaderMap, HeaderValue, Method, Request, header};

use crate::http1::{parse_host, parse_length};
use crate::{BodyLength, Limits, Refusal, RequestHead, Version};

pub(crate) struct ReadHead {
    pub(crate) head: RequestHead,
    pub(crate) length: BodyLength,
    pub(crate) expects_continue: bool,
}

pub(crate) fn read(
    request: Request<()>,
    body: &RecvStream,
    limits: &Limits,
    peer: SocketAddr,
    tls: bool,
) -> Result<ReadHead, Refusal> {
    let (parts, ()) = request.into_parts();
    let mut headers = parts.headers;
    if headers.len() > limits.header_count_max {
        return Err(Refusal::HeadTooLarge);
    }
    if parts.method == Method::CONNECT {
        return Err(Refusal::NotImplemented("CONNECT is not served"));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() > limits.request_line_bytes_max {
        return Err(Refusal::TargetTooLong);
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    };
    let authority = read_authority(parts.uri.authority().map(|authority| authority.as_str()), &mut headers)?;
    let length = read_length(&headers, body, limits)?;
    let expects_continue = match headers.get(header::EXPECT) {
        None => false,
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => !body.is_end_stream(),
        Some(_) => return Err(Refusal::UnknownExpectation),
    };
    let version = Version::H2;
    let head = RequestHead { method: parts.method, path, query, headers, version, authority, tls, peer };
    Ok(ReadHead { head, length, expects_continue })
}

/// RFC 9113 section 8.3.1: `host` must not differ from `:authority`; it is filled in from there.
fn read_authority(pseudo: Option<&str>, headers: &mut HeaderMap) -> Result<Option<String>, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(parse_host(host.as_bytes()).ok_or(Refusal::Malformed("host"))?.to_owned()),
        (Some(_), Some(_)) => return Err(Refusal::Malformed("host more than once")),
    };
    match (pseudo, host) {
        (Some(pseudo), Some(host)) if !pseudo.eq_ignore_ascii_case(&host) => {
            Err(Refusal::Malformed("host differs from :authority"))
        }
        (Some(pseudo), None) => {
            parse_host(pseudo.as_bytes()).ok_or(Refusal::Malformed(":authority"))?;
            let value = HeaderValue::from_str(pseudo).map_err(|_| Refusal::Malformed(":authority"))?;
            headers.insert(header::HOST, value);
            Ok(Some(pseudo.to_owned()))
        }
        (_, host) => Ok(host.filter(|host| !host.is_empty())),
    }
}

fn read_length(headers: &HeaderMap, body: &RecvStream, limits: &Limits) -> Result<BodyLength, Refusal> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let announced = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(value), None) => {
            Some(parse_length(value.as_bytes()).ok_or(Refusal::Malformed("content-length"))?)
        }
        (Some(_), Some(_)) => return Err(Refusal::Malformed("content-length more than once")),
    };
    match announced {
        Some(length) if length > limits.body_bytes_max => Err(Refusal::BodyTooLarge),
        Some(length) => Ok(BodyLength::Known(length)),
        None if body.is_end_stream() => Ok(BodyLength::None),
        None => Ok(BodyLength::Unknown),
    }
}
