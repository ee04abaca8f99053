//! HTTP/2 from the client's side.
//! Invariant: received bytes are released as the caller takes them.
//! Left to others: which connection is used (`client`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http_types::{Request, Uri, Version, header};

use super::{ClientError, RequestTo};
use crate::http1::is_ours;
use crate::tracked::Tracked;
use crate::{ResponseHead, Stream};

const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// The sending half of a connection that a task of its own drives.
#[derive(Clone)]
pub(super) struct Sender {
    requests: SendRequest<Bytes>,
    closed: Rc<Cell<bool>>,
}

/// A call on a stream of its own. Dropping it resets the stream if it has not ended.
pub struct Call {
    state: RefCell<State>,
}

struct State {
    send: SendStream<Bytes>,
    left_bytes: Option<u64>,
    ended: bool,
    staged: Bytes,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
}

impl Sender {
    pub(super) async fn handshake(stream: Box<dyn Stream>) -> Result<Self, ClientError> {
        let (stream, _) = Tracked::new(stream, Vec::new());
        let mut builder = Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false);
        let (requests, connection) = Box::pin(builder.handshake::<_, Bytes>(stream)).await?;
        let closed = Rc::new(Cell::new(false));
        let note = Rc::clone(&closed);
        ring::spawn(async move {
            // Its error is told to each call on the connection.
            connection.await.ok();
            note.set(true);
        })
        .detach();
        Ok(Self { requests, closed })
    }

    /// Whether the connection's task still runs.
    pub(super) fn is_open(&self) -> bool {
        !self.closed.get()
    }

    pub(super) async fn begin(
        self,
        request: &RequestTo,
        length: Option<u64>,
        first: Bytes,
        tls: bool,
    ) -> Result<Call, ClientError> {
        let uri = Uri::builder()
            .scheme(if tls { "https" } else { "http" })
            .authority(request.authority.as_str())
            .path_and_query(request.target.as_str())
            .build()
            .map_err(|_| ClientError::Misuse("the target or the authority"))?;
        let mut head = Request::new(());
        *head.method_mut() = request.method.clone();
        *head.uri_mut() = uri;
        *head.version_mut() = Version::HTTP_2;
        for (name, value) in request.headers.iter().filter(|(name, _)| !is_ours(name)) {
            head.headers_mut().append(name, value.clone());
        }
        if let Some(length @ 1..) = length {
            head.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        let left_bytes = match length {
            Some(length) => Some(
                length
                    .checked_sub(first.len() as u64)
                    .ok_or(ClientError::Misuse("more body than announced"))?,
            ),
            None => None,
        };
        let mut requests = self.requests.ready().await?;
        let ended = length == Some(0);
        let (response, send) = requests.send_request(head, ended)?;
        let (response, body) = (Some(response), None);
        Ok(Call { state: RefCell::new(State { send, left_bytes, ended, staged: first, response, body }) })
    }
}

impl Call {
    pub(super) async fn write(&self, data: Bytes) -> Result<(), ClientError> {
        poll_fn(|cx| self.state.borrow_mut().poll_staged(false, cx)).await?;
        {
            let state = &mut *self.state.borrow_mut();
            if let Some(left) = &mut state.left_bytes {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or(ClientError::Misuse("more body than announced"))?;
            }
            state.staged = data;
        }
        poll_fn(|cx| self.state.borrow_mut().poll_staged(false, cx)).await
    }

    pub(super) async fn finish(&self) -> Result<(), ClientError> {
        if self.state.borrow().left_bytes.is_some_and(|left| left > 0) {
            return Err(ClientError::Misuse("less body than announced"));
        }
        poll_fn(|cx| self.state.borrow_mut().poll_staged(true, cx)).await?;
        let state = &mut *self.state.borrow_mut();
        if !state.ended {
            state.ended = true;
            state.send.send_data(Bytes::new(), true)?;
        }
        Ok(())
    }

    pub(super) fn poll_response(&self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ClientError>> {
        let state = &mut *self.state.borrow_mut();
        let Some(response) = &mut state.response else {
            return Poll::Ready(Err(ClientError::Misuse("the answer was taken")));
        };
        let (parts, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
        state.response = None;
        state.body = Some(body);
        Poll::Ready(Ok(ResponseHead { status: parts.status, headers: parts.headers }))
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ClientError>>> {
        let state = &mut *self.state.borrow_mut();
        let Some(body) = &mut state.body else {
            return Poll::Ready(Some(Err(ClientError::Misuse("the body before the head"))));
        };
        match ready!(body.poll_data(cx)) {
            None => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len())?;
                Poll::Ready(Some(Ok(data)))
            }
        }
    }
}

impl State {
    /// Hands the staged piece over as capacity comes; `last` puts END_STREAM on it.
    fn poll_staged(&mut self, last: bool, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        while !self.staged.is_empty() {
            self.send.reserve_capacity(self.staged.len());
            if self.send.capacity() == 0 {
                match ready!(self.send.poll_capacity(cx)) {
                    Some(capacity) => {
                        capacity?;
                    }
                    None => return Poll::Ready(Err(ClientError::Closed)),
                }
            }
            let data = self.staged.split_to(self.send.capacity().min(self.staged.len()));
            if data.is_empty() {
                continue;
            }
            self.ended = last && self.staged.is_empty();
            self.send.send_data(data, self.ended)?;
        }
        Poll::Ready(Ok(()))
    }
}
