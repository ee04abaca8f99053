//! Response heads as HTTP/1 bytes.
//! Invariant: exactly one way of framing leaves here per message, decided by us and never by the handler's fields.
//! Left to others: which framing that is (`connection`).

use std::io::Write;

use http_types::HeaderMap;
use http_types::header::{self, HeaderName};

use crate::ResponseHead;
use crate::date::DateText;

/// How the end of a response body shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection closes (HTTP/1.0 without a length).
    UntilClose,
    /// No body follows. The length, if the handler gave one, tells what a GET would have had.
    Bodyless { handler_length: bool },
}

/// What the `Connection` field says, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// HTTP/1.1's default: stays open.
    Default,
    /// `keep-alive`, which HTTP/1.0 clients need to see.
    KeepAlive,
    /// `close`.
    Close,
}

/// Appends the head with its empty line.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    framing: Framing,
    persistence: Persistence,
    date: &DateText,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let keeps_length = framing == Framing::Bodyless { handler_length: true };
    for (name, value) in &head.headers {
        if is_ours(name) && !(keeps_length && *name == header::CONTENT_LENGTH) {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !head.headers.contains_key(header::DATE) {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::Length(length) => {
            write!(out, "content-length: {length}\r\n").expect("a Vec takes every write");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::UntilClose | Framing::Bodyless { .. } => {}
    }
    match persistence {
        Persistence::Default => {}
        Persistence::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields of one connection or of the framing, which a handler does not set.
const OURS: [&str; 6] =
    ["content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "proxy-connection"];

/// Whether a field is one of them.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    OURS.iter().any(|ours| ours.len() == name.len() && *ours == name)
}

/// Takes them out of what a handler gave, which hardly ever holds one.
pub(crate) fn remove_ours(headers: &mut HeaderMap) {
    if headers.keys().any(is_ours) {
        for name in OURS {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn handler_fields_cannot_change_the_framing() {
        let mut head = ResponseHead::new(StatusCode::OK);
        for name in ["content-length", "transfer-encoding", "connection", "keep-alive", "x-kept"] {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static("5"));
        }
        let mut out = Vec::new();
        let date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        encode(&mut out, &head, Framing::Length(3), Persistence::Close, &date);
        let expected = "HTTP/1.1 200 OK\r\nx-kept: 5\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
            content-length: 3\r\nconnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
