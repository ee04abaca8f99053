//! A connection of HTTP/2 and the exchanges on it, on h2 directly: a small request is one lock of the connection's state, no
//! task, no channel, and its frames leave together with those of its neighbours when the connection's task runs next.
//!
//! Invariants: a dropped exchange resets its stream and gives its place back; capacity to send is asked for only with bytes in
//! hand, and the connection's window grows with its streams, so that no stream that stands still holds up another.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http_types::{Request, Response};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::body::Outgoing;
use crate::connect::{Io, Opening, Watch};
use crate::error::{Sent, WireError, WireKind};

/// Bytes in flight to a stream before its reader takes them.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes in flight to a connection, while that covers the windows of its streams.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The window's largest value is 2^31-1 (RFC 9113 6.9.1); this leaves room for what is on the way.
const CONNECTION_WINDOW_BYTES_MAX: u32 = 1024 * 1024 * 1024;
/// Bytes that h2 may hold of one stream's body before they are on the wire.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
/// Largest list of headers taken.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// Up to here a body is handed over at once and waits in the connection for the peer's window.
const SMALL_BODY_BYTES: usize = 64 * 1024;
/// A connection that brought no byte for this long is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(20);
/// How long the sign may take.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// The bounds of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// From the last byte of the request to the head of the answer.
    pub head: Duration,
    /// How long a body may stand still, in both directions.
    pub stall: Duration,
    /// The end of the whole call.
    pub deadline: Option<Instant>,
}

impl Default for Waits {
    fn default() -> Self {
        Waits { head: Duration::from_secs(60), stall: Duration::from_secs(20), deadline: None }
    }
}

/// A connection; its task ends when this and all its exchanges are gone.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    shared: Arc<Shared>,
}

/// What the connection's task, its exchanges and the pool know of it.
#[derive(Debug)]
pub struct Shared {
    streams: AtomicUsize,
    bytes: AtomicU64,
    /// The most streams that there were; the window follows it.
    streams_peak: AtomicUsize,
    is_closed: AtomicBool,
    watch: Arc<Watch>,
}

/// Why there is no HTTP/2 connection.
#[derive(Debug)]
pub enum Refusal {
    /// The peer answered in text: it speaks HTTP/1.
    Text,
    /// The peer hung up without a word: it goes away, or takes the preface for nonsense.
    Silence,
    /// Something else.
    Failed(WireError),
}

impl Connection {
    /// Shakes hands and waits for the peer's first bytes. The caller bounds the time.
    pub async fn open(io: Io) -> Result<Connection, Refusal> {
        let watch = io.watch();
        let fail = |error: &h2::Error| WireError::of_h2(error).with_sent(Sent::No);
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| if error.is_io() { Refusal::Silence } else { Refusal::Failed(fail(&error)) })?;
        poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            match (watch.opening(), polled) {
                (Opening::Text, _) => Poll::Ready(Err(Refusal::Text)),
                (Opening::Silent, Poll::Ready(_)) => Poll::Ready(Err(Refusal::Silence)),
                (Opening::Frames, Poll::Ready(Err(error))) => Poll::Ready(Err(Refusal::Failed(fail(&error)))),
                (Opening::Frames, Poll::Ready(Ok(()))) => {
                    let words = "the peer closed the connection at once";
                    Poll::Ready(Err(Refusal::Failed(WireError::new(WireKind::Closed, Sent::No, words))))
                }
                (Opening::Frames, Poll::Pending) => Poll::Ready(Ok(())),
                (Opening::Silent, Poll::Pending) => Poll::Pending,
            }
        })
        .await?;
        let shared = Arc::new(Shared {
            streams: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            streams_peak: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            watch,
        });
        let ping = connection.ping_pong();
        let driver = tokio::spawn(drive(connection, shared.clone())).abort_handle();
        if let Some(ping) = ping {
            tokio::spawn(keep_alive(ping, shared.clone(), driver));
        }
        Ok(Connection { sender, shared })
    }

    /// What others know of it.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A place for one exchange, and for `weight` bytes that it will move.
    pub fn lease(self: &Arc<Self>, weight: u64) -> StreamLease {
        let streams = self.shared.streams.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.streams_peak.fetch_max(streams, Ordering::Relaxed);
        self.shared.bytes.fetch_add(weight, Ordering::Relaxed);
        StreamLease { connection: self.clone(), weight }
    }
}

impl Shared {
    /// Streams in flight.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Bytes in flight, as far as they were told.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether no further request can begin.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// One stream's window for each stream and one for what is read meanwhile.
    fn window_bytes(&self) -> u32 {
        let streams = u32::try_from(self.streams_peak.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let wanted = streams.saturating_add(1).saturating_mul(STREAM_WINDOW_BYTES);
        wanted.clamp(CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES_MAX)
    }
}

/// Says that the connection is gone however its task ends.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn drive(mut connection: h2::client::Connection<Io, Bytes>, shared: Arc<Shared>) {
    let closing = Closing(shared);
    let mut window = CONNECTION_WINDOW_BYTES;
    // The end is told to each exchange by its own stream.
    drop(
        poll_fn(|cx| {
            let wanted = closing.0.window_bytes();
            if wanted > window {
                connection.set_target_window_size(wanted);
                window = wanted;
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await,
    );
}

/// Asks for a sign of life whenever nothing came for a while, and ends the connection that gives none.
async fn keep_alive(mut ping: h2::PingPong, shared: Arc<Shared>, driver: AbortHandle) {
    let mut seen = shared.watch.reads();
    loop {
        tokio::time::sleep(PING_AFTER).await;
        if shared.is_closed() {
            return;
        }
        let reads = shared.watch.reads();
        if reads == seen {
            match tokio::time::timeout(PONG_WITHIN, ping.ping(h2::Ping::opaque())).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => {
                    driver.abort();
                    return;
                }
            }
        }
        seen = shared.watch.reads();
    }
}

/// A place on a connection; dropping it gives the place back.
#[derive(Debug)]
pub struct StreamLease {
    connection: Arc<Connection>,
    weight: u64,
}

impl StreamLease {
    /// Tells of bytes that will be moved beside those that were told before.
    pub fn add_weight(&mut self, bytes: u64) {
        self.weight += bytes;
        self.connection.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The connection.
    pub fn shared(&self) -> &Shared {
        &self.connection.shared
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.connection.shared.streams.fetch_sub(1, Ordering::Relaxed);
        self.connection.shared.bytes.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// Sends a request and waits for the head of its answer. What is left of a stream in `body` is not sent once the head is there.
/// Errors: as they say; `NotProcessed` when the peer did not begin.
pub async fn exchange(
    lease: &StreamLease,
    request: Request<()>,
    body: &mut Outgoing,
    waits: &Waits,
) -> Result<Response<RecvStream>, WireError> {
    let mut sender = lease.connection.sender.clone();
    // A fresh handle has no stream of its own that it could wait for: this is the connection's state, at once.
    let ready = poll_fn(|cx| sender.poll_ready(cx)).await;
    let begun = ready.and_then(|()| sender.send_request(request, body.is_empty()));
    let (response, mut out) = begun.map_err(|error| {
        // The pool does not give it out again.
        lease.shared().close();
        WireError::new(WireKind::NotProcessed, Sent::No, error.to_string())
    })?;
    let mut whole;
    let source = match body {
        Outgoing::Empty => None,
        Outgoing::Bytes(bytes) if bytes.len() <= SMALL_BODY_BYTES => {
            // An error means that the stream is over, and the answer says why.
            drop(out.send_data(bytes.clone(), true));
            None
        }
        Outgoing::Bytes(bytes) => {
            whole = Outgoing::Bytes(bytes.clone());
            Some(&mut whole)
        }
        Outgoing::Plain(_) | Outgoing::Chunked(_) => Some(body),
    };
    let pump =
        source.map(|source| Pump { out, source, piece: Bytes::new(), is_last: false, moved: Instant::now() });
    wait_for_head(response, pump, waits).await
}

async fn wait_for_head(
    mut response: ResponseFuture,
    mut pump: Option<Pump<'_>>,
    waits: &Waits,
) -> Result<Response<RecvStream>, WireError> {
    let within = if pump.is_some() { waits.stall } else { waits.head };
    let begin = Instant::now();
    let bound = |at: Instant| waits.deadline.map_or(at, |deadline| at.min(deadline));
    let mut timer = pin!(tokio::time::sleep_until(bound(begin + within)));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut response).poll(cx) {
            return Poll::Ready(answer.map_err(|error| WireError::of_h2(&error)));
        }
        if let Some(sending) = &mut pump
            && let Poll::Ready(sent) = sending.poll(cx)
        {
            if let Err(error) = sent {
                return Poll::Ready(Err(error));
            }
            pump = None;
            timer.as_mut().reset(bound(Instant::now() + waits.head));
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if waits.deadline.is_some_and(|deadline| now >= deadline) {
                let error = late(WireKind::Deadline, "the time of the call is over");
                return Poll::Ready(Err(error.with_waited(now - begin)));
            }
            match &pump {
                None => {
                    let error = late(WireKind::AttemptTimeout, "the peer did not answer");
                    return Poll::Ready(Err(error.with_waited(waits.head)));
                }
                Some(sending) if sending.moved + waits.stall <= now => {
                    let error = late(WireKind::Stalled, "the peer takes no more of the body");
                    return Poll::Ready(Err(error.with_waited(waits.stall)));
                }
                Some(sending) => timer.as_mut().reset(bound(sending.moved + waits.stall)),
            }
        }
        Poll::Pending
    })
    .await
}

fn late(kind: WireKind, words: &str) -> WireError {
    WireError::new(kind, Sent::Maybe, words)
}

/// Moves a body into a stream as the peer gives room.
struct Pump<'a> {
    out: SendStream<Bytes>,
    source: &'a mut Outgoing,
    piece: Bytes,
    is_last: bool,
    /// When a byte moved last, or the caller had none to move.
    moved: Instant,
}

impl Pump<'_> {
    /// Ready once the whole body is handed over, or the peer wants no more of it: then the answer says why.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        loop {
            if self.piece.is_empty() {
                if self.is_last {
                    return Poll::Ready(Ok(()));
                }
                let next = self.source.poll_piece(cx);
                // Time that the caller's stream takes is not the peer's.
                self.moved = Instant::now();
                match std::task::ready!(next) {
                    Some(Ok((piece, is_last))) => (self.piece, self.is_last) = (piece, is_last),
                    Some(Err(error)) => {
                        self.out.send_reset(h2::Reason::CANCEL);
                        return Poll::Ready(Err(error));
                    }
                    None => {
                        drop(self.out.send_data(Bytes::new(), true));
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            self.out.reserve_capacity(self.piece.len());
            let mut room = self.out.capacity();
            if room == 0 {
                match std::task::ready!(self.out.poll_capacity(cx)) {
                    Some(Ok(capacity)) => room = capacity,
                    Some(Err(_)) | None => return Poll::Ready(Ok(())),
                }
            }
            let part = self.piece.split_to(room.min(self.piece.len()));
            if part.is_empty() {
                continue;
            }
            let ends = self.is_last && self.piece.is_empty();
            self.moved = Instant::now();
            if self.out.send_data(part, ends).is_err() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The next bytes of an answer's body; None at its end. What is taken makes room in both windows.
pub fn poll_data(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
    match std::task::ready!(stream.poll_data(cx)) {
        Some(Ok(bytes)) => {
            // An error means that the stream is over; what came is good.
            drop(stream.flow_control().release_capacity(bytes.len()));
            Poll::Ready(Some(Ok(bytes)))
        }
        Some(Err(error)) => Poll::Ready(Some(Err(WireError::of_h2(&error).with_sent(Sent::Maybe)))),
        None => Poll::Ready(None),
    }
}
