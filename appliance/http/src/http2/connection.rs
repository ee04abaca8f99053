//! The life of an HTTP/2 connection: handshake, streams, idle time, GOAWAY.
//!
//! Invariant: at most `h2_streams_max` handlers run per connection, those of streams that the client has reset
//! included. At that bound no further stream is taken, and what the client opens and resets meanwhile counts against
//! `h2_pending_resets_max` (the attack of CVE-2023-44487).
//! Left to others: the single stream (`stream`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http_types::{Method, Request};

use crate::core::Core;
use crate::exchange::Exchange;
use crate::http2::head;
use crate::http2::stream::StreamExchange;
use crate::server::Stream;
use crate::tracked::{Activity, Tracked};
use crate::watch::Watch;
use crate::{Handler, Refusal, RequestBody, Responder};

/// Serves a connection whose client speaks HTTP/2. `prefix` holds what was already read of its preface.
pub(crate) async fn serve<S: Stream, H: Handler>(
    stream: S,
    prefix: Vec<u8>,
    handler: H,
    core: Rc<Core>,
    peer: SocketAddr,
    tls: bool,
) {
    let (stream, activity) = Tracked::new(stream, prefix);
    let Some(connection) = handshake(stream, &core).await else { return };
    let mut driver = Driver {
        connection,
        activity,
        watch: core.watches.watch(),
        handlers: Rc::default(),
        core: Rc::clone(&core),
        idle_since: None,
        going_away: false,
        keep_alive: KeepAlive::default(),
    };
    while let Some((request, respond)) = poll_fn(|cx| driver.poll_next(cx)).await {
        let (stream, request) = open_stream(request, respond, &core, peer, tls);
        // A task of its own, so that it outlives the connection where the client leaves early.
        ring::spawn(run_stream(stream, request, handler.clone(), driver.handlers.enter())).detach();
    }
    let handlers = Rc::clone(&driver.handlers);
    drop(driver);
    // The connection counts as open until its last handler is done, so that a drain waits for writes under way.
    poll_fn(|cx| {
        handlers.note_waker(cx.waker());
        if handlers.count.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn handshake<S: Stream>(
    stream: Tracked<S>,
    core: &Rc<Core>,
) -> Option<h2::server::Connection<Tracked<S>, Bytes>> {
    let limits = &core.limits;
    let mut builder = Builder::new();
    builder
        .initial_window_size(limits.h2_stream_window_bytes)
        .initial_connection_window_size(limits.h2_connection_window_bytes)
        .max_frame_size(limits.h2_frame_bytes_max)
        .max_header_list_size(limits.head_bytes_max.try_into().unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.h2_streams_max)
        .max_send_buffer_size(limits.h2_send_buffer_bytes)
        .max_pending_accept_reset_streams(limits.h2_pending_resets_max)
        .max_local_error_reset_streams(Some(limits.h2_local_resets_max));
    let mut handshake = Box::pin(builder.handshake(stream));
    let watch = core.watches.watch();
    let deadline = ring::now() + limits.first_byte;
    poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(connection) => Poll::Ready(connection.ok()),
        Poll::Pending if deadline <= ring::now() => Poll::Ready(None),
        Poll::Pending => {
            watch.arm(deadline, cx.waker());
            Poll::Pending
        }
    })
    .await
}

/// Begins the exchange of a stream, and hands the request to `handler` or refuses it.
async fn run_stream<H: Handler>(
    stream: Rc<StreamExchange>,
    request: Result<crate::Request, (Refusal, Responder)>,
    handler: H,
    guard: HandlerGuard,
) {
    match request {
        Ok(request) => handler.call(request).await,
        Err((refusal, responder)) => {
            let (head, body) = handler.refuse(refusal);
            // Where this fails the client has reset the stream that it sent malformed: nobody is left to tell.
            Box::pin(responder.send(head, body)).await.ok();
        }
    }
    poll_fn(|cx| stream.poll_settled(cx)).await;
    stream.close();
    drop(guard);
}

/// The exchange of a stream that was accepted, and its request, or why there is none.
fn open_stream(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    core: &Rc<Core>,
    peer: SocketAddr,
    tls: bool,
) -> (Rc<StreamExchange>, Result<crate::Request, (Refusal, Responder)>) {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let read = head::read(Request::from_parts(parts, ()), &body, &core.limits, peer, tls);
    let expects_continue = read.as_ref().is_ok_and(|read| read.expects_continue);
    let stream = StreamExchange::new(core, body, respond, is_head, expects_continue);
    let exchange: Rc<dyn Exchange> = Rc::<StreamExchange>::clone(&stream);
    let responder = Responder::new(Rc::clone(&exchange), 0);
    let request = match read {
        Ok(head::ReadHead { head, length, .. }) => {
            let body = RequestBody::from_wire(length, expects_continue, exchange, 0);
            Ok(crate::Request { head, body, responder })
        }
        Err(refusal) => Err((refusal, responder)),
    };
    (stream, request)
}

/// Drives the connection between requests.
struct Driver<S: Stream> {
    connection: h2::server::Connection<Tracked<S>, Bytes>,
    activity: Activity,
    watch: Watch,
    handlers: Rc<Handlers>,
    core: Rc<Core>,
    /// Since when no handler runs.
    idle_since: Option<Instant>,
    going_away: bool,
    keep_alive: KeepAlive,
}

impl<S: Stream> Driver<S> {
    /// The next request, or `None` when the connection is over.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Request<RecvStream>, SendResponse<Bytes>)>> {
        self.handlers.note_waker(cx.waker());
        loop {
            if self.core.is_draining() {
                self.go_away();
            }
            if self.handlers.count.get() < self.core.limits.h2_streams_max as usize {
                match self.connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok(accepted))) => {
                        self.idle_since = None;
                        return Poll::Ready(Some(accepted));
                    }
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            } else if self.connection.poll_closed(cx).is_ready() {
                return Poll::Ready(None);
            }
            let now = ring::now();
            let deadline = match self.deadline(now, cx) {
                Some(deadline) if deadline > now => Some(deadline),
                // Time passed. Say goodbye first; the second time the client had its chance.
                Some(_) if self.going_away || self.handlers.count.get() > 0 => return Poll::Ready(None),
                Some(_) => {
                    self.go_away();
                    continue;
                }
                None => None,
            };
            self.watch.listen(cx.waker());
            match deadline {
                Some(deadline) => self.watch.arm(deadline, cx.waker()),
                None => self.watch.disarm(),
            }
            return Poll::Pending;
        }
    }

    fn go_away(&mut self) {
        if !self.going_away {
            self.going_away = true;
            self.connection.graceful_shutdown();
            if self.idle_since.is_some() {
                self.idle_since = Some(ring::now());
            }
        }
    }

    fn deadline(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        let limits = &self.core.limits;
        if self.handlers.count.get() > 0 {
            self.idle_since = None;
            let interval = limits.h2_ping_interval?;
            return self.keep_alive.deadline(
                now,
                interval,
                &self.activity,
                || self.connection.ping_pong(),
                cx,
            );
        }
        let mut since = *self.idle_since.get_or_insert(now);
        if self.connection.has_streams() {
            // Handlers are done, but what they said is still on its way: progress counts as activity.
            since = since.max(self.activity.written_at());
        }
        Some(since + if self.going_away { limits.write_stall } else { limits.idle })
    }
}

/// Asks a silent client for a sign of life.
#[derive(Default)]
struct KeepAlive {
    ping_pong: Option<PingPong>,
    asked_at: Option<Instant>,
}

impl KeepAlive {
    /// When the client must have been heard of, or must be asked. In the past: it did not answer.
    fn deadline(
        &mut self,
        now: Instant,
        interval: Duration,
        activity: &Activity,
        take: impl FnOnce() -> Option<PingPong>,
        cx: &mut Context<'_>,
    ) -> Option<Instant> {
        if self.ping_pong.is_none() {
            self.ping_pong = take();
        }
        let ping_pong = self.ping_pong.as_mut()?;
        if self.asked_at.is_some() && ping_pong.poll_pong(cx).is_ready() {
            self.asked_at = None;
        }
        if let Some(asked_at) = self.asked_at {
            return Some(asked_at + interval);
        }
        let due = activity.read_at() + interval;
        if due > now {
            return Some(due);
        }
        ping_pong.send_ping(Ping::opaque()).ok()?;
        self.asked_at = Some(now);
        // The frame leaves with the next poll of the connection, and the pong must find our waker.
        cx.waker().wake_by_ref();
        Some(now + interval)
    }
}

/// The handlers that run for one connection.
#[derive(Default)]
struct Handlers {
    count: Cell<usize>,
    driver: RefCell<Option<Waker>>,
}

impl Handlers {
    fn enter(self: &Rc<Self>) -> HandlerGuard {
        self.count.set(self.count.get() + 1);
        HandlerGuard { handlers: Rc::clone(self) }
    }

    fn note_waker(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|noted| noted.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }
}

struct HandlerGuard {
    handlers: Rc<Handlers>,
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        self.handlers.count.set(self.handlers.count.get() - 1);
        let waker = self.handlers.driver.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
