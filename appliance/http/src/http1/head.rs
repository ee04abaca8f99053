//! The head of an HTTP/1 request: where it ends, what it says, and how the body after it is framed.
//!
//! Invariant: a head that two implementations could frame differently is refused (RFC 9112 sections 5.1, 6.1, 6.3 and
//! 11.2): bare CR, bare LF, folded lines, blanks before a colon, Content-Length twice or beside Transfer-Encoding, any
//! coding but `chunked`. The target is kept byte for byte.
//! Left to others: reading and deadlines (`connection`).

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::str;

use bytes::Bytes;
use http_types::header::{HeaderName, HeaderValue};
use http_types::{HeaderMap, Method, header};

use crate::{BodyLength, Limits, Refusal, RequestHead, Version};

/// A head, understood.
#[derive(Debug)]
pub(crate) struct ParsedHead {
    pub(crate) head: RequestHead,
    pub(crate) framing: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

/// Fields that fit on the stack while parsing; `Limits::header_count_max` may not exceed it.
pub(crate) const HEADER_COUNT_CEILING: usize = 256;

/// Looks for the end of a head in `buffer`, of which the first `scanned` bytes were looked at before. Gives the length
/// of the head with its empty line, or `None` if more bytes must come. Bounds are enforced on the way.
pub(crate) fn find_end(buffer: &[u8], scanned: usize, limits: &Limits) -> Result<Option<usize>, Refusal> {
    match buffer.first() {
        // A TLS hello or noise will never contain a line end: answer now instead of waiting for one.
        Some(&first) if first != b'\r' && !is_token_byte(first) => {
            return Err(Refusal::Malformed("the request does not begin with a method"));
        }
        _ => {}
    }
    let window = &buffer[..buffer.len().min(limits.head_bytes_max)];
    let start = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
    for offset in memchr::memchr_iter(b'\n', window.get(scanned..).unwrap_or_default()) {
        let line_feed = scanned + offset;
        if line_feed == 0 || window[line_feed - 1] != b'\r' {
            return Err(Refusal::Malformed("a bare LF in the head"));
        }
        if line_feed == start + 1 {
            return Err(Refusal::Malformed("an empty request line"));
        }
        if line_feed >= start + 3 && window[line_feed - 3..=line_feed] == *b"\r\n\r\n" {
            check_request_line(&window[start..=line_feed], limits)?;
            return Ok(Some(line_feed + 1));
        }
    }
    check_request_line(&window[start..], limits)?;
    if buffer.len() >= limits.head_bytes_max { Err(Refusal::HeadTooLarge) } else { Ok(None) }
}

fn check_request_line(window: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if window.len() <= limits.request_line_bytes_max {
        return Ok(());
    }
    match memchr::memchr(b'\n', &window[..limits.request_line_bytes_max]) {
        Some(_) => Ok(()),
        None => Err(Refusal::TargetTooLong),
    }
}

/// Parses a whole head as found by `find_end`.
pub(crate) fn parse(
    raw: &Bytes,
    limits: &Limits,
    peer: SocketAddr,
    tls: bool,
) -> Result<ParsedHead, Refusal> {
    // RFC 9112 section 2.2: one empty line before the request line is tolerated.
    let raw = if raw.starts_with(b"\r\n") { raw.slice(2..) } else { raw.clone() };
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_COUNT_CEILING];
    let count = limits.header_count_max.min(HEADER_COUNT_CEILING);
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&raw, &mut slots[..count]) {
        Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
        Ok(_) => return Err(Refusal::Malformed("the head does not end where its empty line is")),
        Err(error) => return Err(refusal_of(error, &raw)),
    }
    let version = if request.version == Some(0) { Version::H10 } else { Version::H11 };
    let method = request.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed("the method"))?;
    let fields = Fields::read(request.headers, &raw, version)?;
    let target = Target::parse(request.path.unwrap_or_default(), &method)?;
    fields.finish(method, target, version, peer, tls, limits)
}

fn refusal_of(error: httparse::Error, raw: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::Malformed("a field name, or a blank beside it"),
        httparse::Error::HeaderValue => Refusal::Malformed("a field value"),
        httparse::Error::NewLine => Refusal::Malformed("a line end"),
        httparse::Error::TooManyHeaders => Refusal::HeadTooLarge,
        httparse::Error::Version if names_a_version(raw) => Refusal::UnknownVersion,
        _ => Refusal::Malformed("the request line"),
    }
}

/// Whether the request line is three words of which the last is `HTTP/` digit `.` digit.
fn names_a_version(raw: &[u8]) -> bool {
    let line = raw.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(name), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let named = matches!(name, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit());
    named && is_token(method) && !target.is_empty()
}

/// The fields, with what framing and connection handling need of them picked out.
struct Fields {
    headers: HeaderMap,
    length: Option<u64>,
    chunked: bool,
    host: Option<String>,
    connection_close: bool,
    connection_keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn read(parsed: &[httparse::Header<'_>], raw: &Bytes, version: Version) -> Result<Self, Refusal> {
        let mut fields = Self {
            headers: HeaderMap::with_capacity(parsed.len()),
            length: None,
            chunked: false,
            host: None,
            connection_close: false,
            connection_keep_alive: false,
            expects_continue: false,
        };
        for field in parsed {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| Refusal::Malformed("a field name"))?;
            let value = HeaderValue::from_maybe_shared(raw.slice_ref(field.value))
                .map_err(|_| Refusal::Malformed("a field value"))?;
            if SPECIAL_LENGTHS.contains(&field.name.len()) {
                fields.note(&name, field.value, version)?;
            }
            fields.headers.append(name, value);
        }
        if fields.chunked && fields.length.is_some() {
            return Err(Refusal::Malformed("Content-Length beside Transfer-Encoding"));
        }
        Ok(fields)
    }

    fn note(&mut self, name: &HeaderName, value: &[u8], version: Version) -> Result<(), Refusal> {
        if *name == header::CONTENT_LENGTH {
            let length = parse_length(value).ok_or(Refusal::Malformed("Content-Length"))?;
            // RFC 9112 section 6.3 lets equal duplicates pass; a proxy in front may have read them otherwise.
            if self.length.replace(length).is_some() {
                return Err(Refusal::Malformed("Content-Length more than once"));
            }
        } else if *name == header::TRANSFER_ENCODING {
            self.note_transfer_coding(value, version)?;
        } else if *name == header::HOST {
            let host = parse_host(value).ok_or(Refusal::Malformed("Host"))?;
            if self.host.replace(host.to_owned()).is_some() {
                return Err(Refusal::Malformed("Host more than once"));
            }
        } else if *name == header::CONNECTION {
            for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                self.connection_close |= token.eq_ignore_ascii_case(b"close");
                self.connection_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if *name == header::EXPECT && version != Version::H10 {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::UnknownExpectation);
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    fn note_transfer_coding(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        // RFC 9112 section 6.1: Transfer-Encoding in an HTTP/1.0 message means faulty framing.
        if version == Version::H10 || self.chunked {
            return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0, or more than once"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let known = value.split(|&byte| byte == b',').all(|coding| is_token(coding.trim_ascii()));
        let mentions_chunked = value.windows(7).any(|window| window.eq_ignore_ascii_case(b"chunked"));
        if known && !mentions_chunked {
            return Err(Refusal::NotImplemented("the only transfer coding served is chunked"));
        }
        Err(Refusal::Malformed("Transfer-Encoding other than chunked"))
    }

    fn finish(
        mut self,
        method: Method,
        target: Target,
        version: Version,
        peer: SocketAddr,
        tls: bool,
        limits: &Limits,
    ) -> Result<ParsedHead, Refusal> {
        if self.host.is_none() && version == Version::H11 {
            return Err(Refusal::Malformed("Host is missing"));
        }
        if let Some(authority) = &target.authority {
            // RFC 9112 section 3.2.2: the authority of the target replaces Host.
            let value = HeaderValue::from_str(authority).map_err(|_| Refusal::Malformed("the target"))?;
            self.headers.insert(header::HOST, value);
        }
        if self.length.is_some_and(|length| length > limits.body_bytes_max) {
            return Err(Refusal::BodyTooLarge);
        }
        let framing = match (self.chunked, self.length) {
            (true, _) => BodyLength::Unknown,
            (false, Some(length)) => BodyLength::Known(length),
            (false, None) => BodyLength::None,
        };
        let keep_alive = !self.connection_close && (version == Version::H11 || self.connection_keep_alive);
        let has_body = !matches!(framing, BodyLength::None | BodyLength::Known(0));
        let authority = target.authority.or(self.host).filter(|authority| !authority.is_empty());
        let Target { path, query, .. } = target;
        let headers = self.headers;
        let head = RequestHead { method, path, query, headers, version, authority, tls, peer };
        Ok(ParsedHead { head, framing, keep_alive, expects_continue: self.expects_continue && has_body })
    }
}

/// How long the names are that `Fields::note` knows, so that most others are told apart at once.
const SPECIAL_LENGTHS: [usize; 5] =
    ["host".len(), "expect".len(), "connection".len(), "content-length".len(), "transfer-encoding".len()];

/// The three target forms that an origin server meets (RFC 9112 section 3.2).
struct Target {
    path: String,
    query: Option<String>,
    authority: Option<String>,
}

impl Target {
    fn parse(raw: &str, method: &Method) -> Result<Self, Refusal> {
        if *method == Method::CONNECT {
            return Err(Refusal::NotImplemented("CONNECT is not served"));
        }
        if raw.starts_with('/') {
            return Ok(Self::split(raw, None));
        }
        if raw == "*" && *method == Method::OPTIONS {
            return Ok(Self { path: raw.to_owned(), query: None, authority: None });
        }
        let rest = strip_scheme(raw).ok_or(Refusal::Malformed("the request target"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || parse_host(authority.as_bytes()).is_none() {
            return Err(Refusal::Malformed("the authority of the request target"));
        }
        Ok(Self::split(path, Some(authority.to_owned())))
    }

    fn split(raw: &str, authority: Option<String>) -> Self {
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (raw, None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        Self { path, query, authority }
    }
}

fn strip_scheme(raw: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = raw.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// `1*DIGIT` that fits 64 bits: no sign, no list, no blank.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

/// A host with an optional port, by the characters that RFC 3986 allows there, without userinfo. May be empty.
pub(crate) fn parse_host(value: &[u8]) -> Option<&str> {
    if !value.iter().all(|byte| HOST_BYTES[usize::from(*byte)]) {
        return None;
    }
    str::from_utf8(value).ok()
}

/// What a host may hold. RFC 3986 has the comma, too, by which a list of hosts would pass for one.
const HOST_BYTES: [bool; 256] = set_of(b"-._~!$&'()*+;=%[]:");

/// The letters and digits of ASCII, and these.
const fn set_of(others: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < set.len() {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        set[others[place] as usize] = true;
        place += 1;
    }
    set
}

/// A byte that may stand in a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

const TOKEN_BYTES: [bool; 256] = set_of(b"!#$%&'*+-.^_`|~");

fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().copied().all(is_token_byte)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
