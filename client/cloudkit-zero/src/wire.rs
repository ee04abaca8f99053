//! One request, one answer: takes a place in the pool, sends, and bounds the wait. Sends nothing twice; retry.rs decides about that.

use std::sync::Arc;

use bytes::Bytes;
use http_types::uri::PathAndQuery;
use http_types::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use tokio::time::Instant;

use crate::body::Outgoing;
use crate::error::{Sent, WireError, WireKind};
use crate::http1;
use crate::http2::{self, Waits};
use crate::pool::{Leased, Pool};
use crate::reply::Reply;

/// What is sent beside the body.
#[derive(Debug)]
pub struct Head {
    /// GET, PUT ..
    pub method: Method,
    /// Encoded, with its query.
    pub path_and_query: Bytes,
    /// Signed already. `host` is not among them.
    pub headers: HeaderMap,
    /// Bytes that the answer will have, as far as the caller knows; they choose the connection.
    pub answer_bytes: u64,
}

/// Sends `head` and `body` and gives the head of the answer. `body` is fresh again after an error that says `Sent::No`, unless it is
/// a stream that was begun.
/// Errors: of the connection, of the waits, of the protocol; an HTTP status is no error here.
pub async fn send(
    pool: &Arc<Pool>,
    head: Head,
    body: &mut Outgoing,
    waits: &Waits,
) -> Result<Reply, WireError> {
    let weight = body.length().unwrap_or(crate::pool::LARGE_BODY_BYTES) + head.answer_bytes;
    let leased = match waits.deadline {
        None => pool.lease(weight).await?,
        Some(deadline) if deadline <= Instant::now() => return Err(too_late()),
        Some(deadline) => {
            tokio::time::timeout_at(deadline, pool.lease(weight)).await.map_err(|_| too_late())??
        }
    };
    let is_head = head.method == Method::HEAD;
    match leased {
        Leased::Http2(lease) => {
            let request = request_of(pool, head, body, true)?;
            let answer = http2::exchange(&lease, request, body, waits).await?;
            Ok(Reply::of_http2(answer, lease, is_head, waits))
        }
        Leased::Http1(mut lease) => {
            let request = request_of(pool, head, body, false)?;
            match http1::exchange(&mut lease, request, body, waits).await {
                Ok(answer) => Ok(Reply::of_http1(answer, lease, is_head, waits)),
                Err(error) => {
                    if matches!(error.kind(), WireKind::Protocol) {
                        pool.forget_http1();
                    }
                    Err(error)
                }
            }
        }
    }
}

fn too_late() -> WireError {
    WireError::new(WireKind::Deadline, Sent::No, "the time of the call was over before it was sent")
}

fn request_of(pool: &Pool, head: Head, body: &Outgoing, is_http2: bool) -> Result<Request<()>, WireError> {
    let target = pool.connector().target();
    let unfit = |_| WireError::config("the path holds a byte that no request can carry");
    let path = PathAndQuery::from_maybe_shared(head.path_and_query).map_err(unfit)?;
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.headers_mut() = head.headers;
    if is_http2 {
        let mut parts = http_types::uri::Parts::default();
        parts.scheme = Some(target.scheme());
        parts.authority = Some(target.authority.clone());
        parts.path_and_query = Some(path);
        *request.uri_mut() =
            Uri::from_parts(parts).map_err(|_| WireError::config("the path cannot be sent"))?;
        *request.version_mut() = http_types::Version::HTTP_2;
        // RFC 9110 8.6: where a body is expected, that there is none is said, too. S3 refuses a PUT that does not.
        let expects_body = matches!(*request.method(), Method::PUT | Method::POST);
        if (expects_body || !body.is_empty())
            && let Some(length) = body.length()
        {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    } else {
        *request.uri_mut() = Uri::from(path);
        let host = HeaderValue::from_str(target.authority.as_str())
            .map_err(|_| WireError::config("the endpoint cannot be named in a header"))?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}
