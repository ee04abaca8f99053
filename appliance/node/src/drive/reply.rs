//! Replies on their way out.
//! Invariant: every byte that leaves was verified by the store. A fault before the head becomes an error reply; a fault
//! behind it cuts the answer short, so that the client can tell. Never wrong bytes, never silence.
//! Leaves to http: framing and pace.

use std::collections::VecDeque;
use std::time::Instant;

use aws::request_id::{HostId, JsonRequestId, RequestId};
use bytes::Bytes;
use http::{Responder, ResponseHead, SendError};
use http_types::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use plan::{Piece, Reply, ReplyBody};
use store::{BodyStream, Fault, Store};

use super::Host;
use super::verified::{self, Wanted};

/// What became of a reply.
#[derive(Debug)]
pub struct Sent {
    /// The status that left.
    pub status: StatusCode,
    /// Body bytes that left.
    pub bytes: u64,
    /// When the first byte was handed over.
    pub first_byte: Instant,
    /// Why the answer was cut short, if it was.
    pub trouble: Option<Trouble>,
}

/// Why an answer was not sent whole.
#[derive(Debug)]
pub enum Trouble {
    /// The client.
    Client(SendError),
    /// The store.
    Store(Fault),
}

/// The identifiers of one request, in the form of its service.
pub enum Ids {
    /// S3's, and what has no form of its own.
    S3 {
        /// `x-amz-request-id`.
        request: RequestId,
        /// `x-amz-id-2`.
        host: HostId,
    },
    /// A JSON service's.
    Json {
        /// `x-amzn-RequestId`.
        request: JsonRequestId,
    },
    /// A service's that calls requests by UUIDs, also in its documents.
    Uuid {
        /// `x-amzn-RequestId`.
        request: RequestId,
    },
    /// A service's that is not Amazon's.
    Plain {
        /// `x-request-id`, a UUID.
        request: RequestId,
    },
}

/// Headers that a reply gets here.
const STAMPED_COUNT: usize = 3;

impl Ids {
    /// The id that the client sees and the log names.
    pub fn shown(&self) -> &str {
        match self {
            Ids::S3 { request, .. } => request,
            Ids::Json { request } => request,
            Ids::Uuid { request } | Ids::Plain { request } => request,
        }
    }

    /// Adds the headers that every reply has.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        let value = |text: &str| HeaderValue::from_str(text).expect("ids are letters, digits, + / and =");
        headers.reserve(STAMPED_COUNT);
        match self {
            Ids::S3 { request, host } => {
                headers.insert(HeaderName::from_static("x-amz-request-id"), value(request));
                headers.insert(HeaderName::from_static("x-amz-id-2"), value(host));
            }
            Ids::Json { .. } | Ids::Uuid { .. } => {
                headers.insert(HeaderName::from_static("x-amzn-requestid"), value(self.shown()));
            }
            Ids::Plain { .. } => {
                headers.insert(HeaderName::from_static("x-request-id"), value(self.shown()));
            }
        }
        headers.insert(header::SERVER, HeaderValue::from_static("ZeroCloud"));
    }
}

/// Sends a reply. `host` drives what a body that turns out wrong asks for; there is none before the core has its store.
pub async fn send(
    host: Option<&impl Host>,
    method: &Method,
    ids: &Ids,
    reply: Reply,
    responder: Responder,
) -> Sent {
    let length = reply.length();
    let Reply { status, mut headers, body } = reply;
    ids.stamp(&mut headers);
    let head = ResponseHead { status, headers };
    match (body, host) {
        (ReplyBody::Pieces { pieces, .. }, Some(host)) if *method != Method::HEAD => {
            stored(Source::new(host.store(), pieces), head, length, ids, responder).await
        }
        (ReplyBody::Verified { piece, sha256, mismatch, late }, Some(host)) if *method != Method::HEAD => {
            verified::send(host, Wanted { piece, sha256, mismatch, late }, head, ids, responder).await
        }
        (ReplyBody::Bytes(bytes), _) if *method != Method::HEAD => whole(head, bytes, responder).await,
        (ReplyBody::Empty, _) => whole(head, Bytes::new(), responder).await,
        (
            ReplyBody::Pieces { .. }
            | ReplyBody::Verified { .. }
            | ReplyBody::Bytes(_)
            | ReplyBody::Head { .. },
            _,
        ) => {
            let mut head = head;
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            whole(head, Bytes::new(), responder).await
        }
    }
}

pub(super) async fn whole(head: ResponseHead, body: Bytes, responder: Responder) -> Sent {
    let (status, bytes, first_byte) = (head.status, body.len() as u64, Instant::now());
    match responder.send(head, body).await {
        Ok(()) => Sent { status, bytes, first_byte, trouble: None },
        Err(error) => Sent { status, bytes: 0, first_byte, trouble: Some(Trouble::Client(error)) },
    }
}

/// Pieces of stored bodies as one stream.
struct Source<'a> {
    store: &'a Store,
    pieces: VecDeque<Piece>,
    /// The piece being read. Its pin is dropped with it, after its stream.
    current: Option<(BodyStream, Piece, u64)>,
}

impl<'a> Source<'a> {
    fn new(store: &'a Store, pieces: Vec<Piece>) -> Source<'a> {
        Source { store, pieces: pieces.into(), current: None }
    }

    /// The next verified bytes; None behind the last piece. Errors: the store's, and a body shorter than its record says.
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        loop {
            if let Some((stream, _piece, missing)) = &mut self.current {
                match stream.next().await {
                    Some(Ok(data)) => {
                        *missing = missing.saturating_sub(data.len() as u64);
                        return Some(Ok(data));
                    }
                    Some(Err(fault)) => return Some(Err(fault)),
                    None if *missing > 0 => {
                        return Some(Err(Fault::corrupt(format!("a stored body is {missing} bytes short"))));
                    }
                    None => self.current = None,
                }
            }
            let piece = self.pieces.pop_front()?;
            let stream = self.store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
            let length = piece.length;
            self.current = Some((stream, piece, length));
        }
    }
}

/// Sends what lies in the store. The common small object is one run of bytes; the futures of all else are boxed, since
/// each request's future has room for the largest of its parts.
async fn stored(
    mut source: Source<'_>,
    head: ResponseHead,
    length: u64,
    ids: &Ids,
    responder: Responder,
) -> Sent {
    // The first bytes before the head: damage that shows at once is an error that a client understands.
    let first = match source.next().await {
        None => Bytes::new(),
        Some(Err(fault)) => {
            let sent = Box::pin(whole_error(ids, responder)).await;
            return Sent { trouble: Some(Trouble::Store(fault)), ..sent };
        }
        Some(Ok(first)) => first,
    };
    if first.len() as u64 == length {
        return whole(head, first, responder).await;
    }
    Box::pin(stream(source, first, head, length, responder)).await
}

async fn stream(
    mut source: Source<'_>,
    first: Bytes,
    head: ResponseHead,
    length: u64,
    responder: Responder,
) -> Sent {
    let mut sent = Sent { status: head.status, bytes: 0, first_byte: Instant::now(), trouble: None };
    let mut writer = match responder.start(head, Some(length)).await {
        Ok(writer) => writer,
        Err(error) => return Sent { trouble: Some(Trouble::Client(error)), ..sent },
    };
    let mut next = Some(Ok(first));
    while let Some(piece) = next {
        let data = match piece {
            Ok(data) => data,
            Err(fault) => {
                writer.abort();
                return Sent { trouble: Some(Trouble::Store(fault)), ..sent };
            }
        };
        let count = data.len() as u64;
        if let Err(error) = writer.write(data).await {
            return Sent { trouble: Some(Trouble::Client(error)), ..sent };
        }
        sent.bytes += count;
        next = source.next().await;
    }
    // A sum of pieces that differs from the announced length is caught here and cuts the answer short.
    if let Err(error) = writer.finish().await {
        sent.trouble = Some(Trouble::Client(error));
    }
    sent
}

/// 500 for stored bytes that cannot be read. The reason goes to the log, not to the client.
pub(super) async fn whole_error(ids: &Ids, responder: Responder) -> Sent {
    const CODE: &str = "InternalError";
    const TEXT: &str = "We encountered an internal error. Please try again.";
    let mut head = ResponseHead::new(StatusCode::INTERNAL_SERVER_ERROR);
    ids.stamp(&mut head.headers);
    let (content_type, body) = match ids {
        Ids::S3 { request, host } => {
            let error = aws::ErrorReply::new(CODE, 500, TEXT);
            ("application/xml", error.to_xml(None, request, host))
        }
        Ids::Json { .. } | Ids::Uuid { .. } => {
            let error = serde_json::json!({ "__type": CODE, "message": TEXT });
            ("application/x-amz-json-1.0", error.to_string().into_bytes())
        }
        Ids::Plain { request } => {
            let error = serde_json::json!({
                "error": { "code": CODE, "message": TEXT, "request_id": request.as_str() }
            });
            ("application/json", error.to_string().into_bytes())
        }
    };
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    whole(head, body.into(), responder).await
}
