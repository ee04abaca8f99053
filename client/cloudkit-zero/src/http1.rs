//! Exchanges with a peer that speaks HTTP/1 only, on hyper: one at a time per connection, which is kept for the next one.
//! Invariant: a connection goes back to the idle ones only after the whole answer was read.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_types::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::body::Outgoing;
use crate::connect::Io;
use crate::error::{Sent, WireError, WireKind};
use crate::http2::Waits;

/// Connections that wait for the next request.
#[derive(Debug, Default)]
pub struct Idle(Mutex<Vec<SendRequest<Sending>>>);

/// More are closed instead of kept.
const IDLE_COUNT_MAX: usize = 64;

impl Idle {
    /// The one that was used last, if one is still open.
    pub fn take(&self) -> Option<SendRequest<Sending>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        idle.pop()
    }

    fn give(&self, sender: SendRequest<Sending>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_COUNT_MAX {
            idle.push(sender);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Shakes hands, which sends nothing yet.
pub async fn open(io: Io) -> Result<SendRequest<Sending>, WireError> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(Adapter { io, scratch: vec![0; SCRATCH_BYTES] })
            .await
            .map_err(|error| WireError::of_http1(&error).with_sent(Sent::No))?;
    // Its end is told to the exchange that is on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// A connection in use, and the right to use one.
#[derive(Debug)]
pub struct Lease {
    /// None once it was given back.
    pub sender: Option<SendRequest<Sending>>,
    /// Where it goes.
    pub idle: Arc<Idle>,
    /// Of the pool's.
    pub permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The answer was read to its end.
    pub fn give_back(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.idle.give(sender);
        }
    }
}

/// A request's body on its way through hyper.
#[derive(Debug)]
pub struct Sending {
    body: Outgoing,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    pieces: AtomicU64,
    is_done: AtomicBool,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        let polled = self.body.poll_piece(cx);
        // A pending source counts as progress, too: its time is not the peer's.
        self.progress.pieces.fetch_add(1, Ordering::Relaxed);
        match std::task::ready!(polled) {
            Some(Ok((piece, _))) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                self.progress.is_done.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Outgoing::Empty)
            || matches!(&self.body, Outgoing::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Sends a request and waits for the head of its answer. A body that hyper did not begin with is put back.
pub async fn exchange(
    lease: &mut Lease,
    request: Request<()>,
    body: &mut Outgoing,
    waits: &Waits,
) -> Result<Response<Incoming>, WireError> {
    let Some(sender) = &mut lease.sender else {
        return Err(WireError::new(WireKind::Closed, Sent::No, "the connection was given back"));
    };
    if let Err(error) = sender.ready().await {
        return Err(WireError::new(WireKind::NotProcessed, Sent::No, error.to_string()));
    }
    let progress = Arc::new(Progress::default());
    let outgoing = match body {
        Outgoing::Empty => Outgoing::Empty,
        Outgoing::Bytes(bytes) => Outgoing::Bytes(bytes.clone()),
        Outgoing::Plain(_) | Outgoing::Chunked(_) => std::mem::take(body),
    };
    let is_streamed = body.is_empty() && !outgoing.is_empty();
    if outgoing.is_empty() {
        progress.is_done.store(true, Ordering::Relaxed);
    }
    let request = request.map(|()| Sending { body: outgoing, progress: progress.clone() });
    let sending = sender.try_send_request(request);
    match bounded(sending, &progress, waits).await? {
        Ok(answer) => Ok(answer),
        Err(mut error) => Err(match error.take_message() {
            // It lies as it was given: hyper wrote nothing of it.
            Some(request) => {
                if is_streamed {
                    *body = request.into_body().body;
                }
                WireError::new(WireKind::NotProcessed, Sent::No, error.error().to_string())
            }
            None => WireError::of_http1(error.error()),
        }),
    }
}

/// Waits for `sending` under the bounds: those of a body while it moves, then that of a head.
async fn bounded<F: Future>(sending: F, progress: &Progress, waits: &Waits) -> Result<F::Output, WireError> {
    let bound = |at: Instant| waits.deadline.map_or(at, |deadline| at.min(deadline));
    let late = |kind, words: &str| WireError::new(kind, Sent::Maybe, words);
    let mut sending = pin!(sending);
    let mut seen = progress.pieces.load(Ordering::Relaxed);
    let mut was_done = progress.is_done.load(Ordering::Relaxed);
    let mut until = Instant::now() + if was_done { waits.head } else { waits.stall };
    loop {
        if let Ok(output) = tokio::time::timeout_at(bound(until), sending.as_mut()).await {
            return Ok(output);
        }
        let now = Instant::now();
        if waits.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(late(WireKind::Deadline, "the time of the call is over"));
        }
        let (pieces, is_done) =
            (progress.pieces.load(Ordering::Relaxed), progress.is_done.load(Ordering::Relaxed));
        if is_done && !was_done {
            until = now + waits.head;
        } else if is_done {
            return Err(late(WireKind::AttemptTimeout, "the peer did not answer"));
        } else if pieces == seen {
            return Err(late(WireKind::Stalled, "the peer takes no more of the body"));
        } else {
            until = now + waits.stall;
        }
        (seen, was_done) = (pieces, is_done);
    }
}

/// The next bytes of an answer's body; None at its end.
pub fn poll_data(incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
    loop {
        return match std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => Poll::Ready(Some(Ok(bytes))),
                // Trailers say nothing that is used.
                Err(_) => continue,
            },
            Some(Err(error)) => Poll::Ready(Some(Err(WireError::of_http1(&error)))),
            None => Poll::Ready(None),
        };
    }
}

/// hyper's view of a connection. A read goes through `scratch`, because hyper's buffer cannot be lent to tokio without `unsafe`.
struct Adapter {
    io: Io,
    scratch: Vec<u8>,
}

const SCRATCH_BYTES: usize = 64 * 1024;

impl hyper::rt::Read for Adapter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let length = buf.remaining().min(this.scratch.len());
        let mut into = ReadBuf::new(&mut this.scratch[..length]);
        std::task::ready!(Pin::new(&mut this.io).poll_read(cx, &mut into))?;
        buf.put_slice(into.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Adapter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
