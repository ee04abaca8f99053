//! The values that pass between the wire and a handler: heads, lengths, errors, and the handler's trait.
//! Invariant: a `RequestHead` exists only for a message whose framing was unambiguous.
//! Left to others: how the bytes are read (`http1`, `http2`) and answered (`respond`).

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http_types::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{RequestBody, Responder};

/// The protocol version that a request arrived under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no `100 Continue`, the connection closes unless the client asked otherwise.
    H10,
    /// HTTP/1.1 (RFC 9112).
    H11,
    /// HTTP/2 (RFC 9113).
    H2,
}

/// Everything of a request that comes before its body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, extension methods included.
    pub method: Method,
    /// The path as sent: percent-encoding, dots and double slashes untouched. `*` for `OPTIONS *`.
    pub path: String,
    /// What followed the first `?`, as sent; `Some("")` where the target ended in a bare `?`.
    pub query: Option<String>,
    /// The fields, names in lower case, values as bytes, repeated fields in order. Over HTTP/2 `host` is filled in from
    /// `:authority`, since signatures cover it under that name.
    pub headers: HeaderMap,
    /// The version of the message.
    pub version: Version,
    /// `Host`, `:authority`, or the authority of an absolute-form target, which wins over `Host` (RFC 9112 3.2.2).
    pub authority: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The other end of the connection.
    pub peer: SocketAddr,
}

/// One request, ready to be handled.
#[derive(Debug)]
pub struct Request {
    /// Method, target, fields.
    pub head: RequestHead,
    /// The body, read as the handler asks for it.
    pub body: RequestBody,
    /// The one way to answer.
    pub responder: Responder,
}

/// The status and fields of an answer.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// A final status, 200 to 599.
    pub status: StatusCode,
    /// The fields. Framing fields (`content-length`, `transfer-encoding`, `connection`) are the crate's business and
    /// ignored here, with two exceptions: `connection: close` closes after the answer, and `content-length` stands
    /// where an answer has no body of its own (HEAD, 304). `date` is added where absent.
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// A head with a status and no fields.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}

/// How long a request's body is, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The message has no body.
    None,
    /// Exactly this many bytes were announced.
    Known(u64),
    /// The end shows only when it comes: chunked coding, or HTTP/2 without `content-length`.
    Unknown,
}

/// Why a request body ended before its end. After any of these the rest of the body is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer closed or reset the connection or the stream, or the exchange is over.
    Closed,
    /// The peer sent too slowly; 408 is the fitting answer.
    TimedOut,
    /// The body's framing is broken; 400 is the fitting answer.
    Malformed(&'static str),
    /// More bytes than `Limits::body_bytes_max`; 413 is the fitting answer.
    TooLarge,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the request body was cut off"),
            Self::TimedOut => f.write_str("the request body came too slowly"),
            Self::Malformed(what) => write!(f, "the request body is malformed: {what}"),
            Self::TooLarge => f.write_str("the request body is too large"),
        }
    }
}

impl Error for BodyError {}

/// Why an answer could not be handed to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The peer closed or reset the connection or the stream, or the exchange is over.
    Closed,
    /// The peer took the answer too slowly, and the connection or stream was given up.
    TimedOut,
    /// The body did not match the length that its head announced; the answer was cut short.
    LengthMismatch,
    /// The head cannot be sent: not a final status, or fields that the protocol version forbids.
    InvalidHead,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the client is gone",
            Self::TimedOut => "the client took the answer too slowly",
            Self::LengthMismatch => "the answer's body differs from its announced length",
            Self::InvalidHead => "the answer's head cannot be sent",
        })
    }
}

impl Error for SendError {}

/// A request that never became one: what the connection answers by itself before it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the message is malformed or ambiguous, and why.
    Malformed(&'static str),
    /// 408: the head did not arrive in time.
    HeadTimeout,
    /// 414: the request line is over its bound.
    TargetTooLong,
    /// 417: an expectation other than `100-continue`.
    UnknownExpectation,
    /// 413: the announced length is over `Limits::body_bytes_max`.
    BodyTooLarge,
    /// 431: the head is over its bound in bytes or fields.
    HeadTooLarge,
    /// 501: a transfer coding other than `chunked`, or a method that only proxies have.
    NotImplemented(&'static str),
    /// 505: neither HTTP/1.0 nor HTTP/1.1.
    UnknownVersion,
}

impl Refusal {
    /// The status that this refusal is answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::UnknownVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    /// One sentence for whoever reads the answer.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::NotImplemented(reason) => reason,
            Self::HeadTimeout => "the request head did not arrive in time",
            Self::TargetTooLong => "the request line is too long",
            Self::UnknownExpectation => "the only expectation served is 100-continue",
            Self::BodyTooLarge => "the request body is too large",
            Self::HeadTooLarge => "the request head is too large",
            Self::UnknownVersion => "the protocol version is not HTTP/1.0, HTTP/1.1 or HTTP/2",
        }
    }
}

/// What answers requests. Cloned per connection; its futures stay on their core.
pub trait Handler: Clone + 'static {
    /// Handles one request. The future runs to its end also when the client goes away. A request whose responder is
    /// dropped unanswered gets a 500.
    fn call(&self, request: Request) -> impl Future<Output = ()>;

    /// The answer to a message that never became a request. The default is the status with one line of text.
    fn refuse(&self, refusal: Refusal) -> (ResponseHead, Bytes) {
        let mut head = ResponseHead::new(refusal.status());
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        (head, Bytes::from_static(refusal.reason().as_bytes()))
    }
}
