//! An HTTP/1 connection: the stream, the turn that is being served, and the exchange that the handler sees.
//!
//! Invariant: the stream is read by one party at a time: by `poll_head` between turns, by the handler's body during
//! one, by `poll_discard` after it. Between requests the connection holds no buffer of its own.
//! Left to others: the order of these steps (`serve`), framing (`turn`, `head`, `chunked`).

use std::cell::RefCell;
use std::io::Write;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;

use crate::core::Core;
use crate::exchange::{Exchange, Payload, Settlement};
use crate::http1::bulk;
use crate::http1::encode::{self, Framing, Persistence};
use crate::http1::head::{self, ParsedHead};
use crate::http1::outgoing::Outgoing;
use crate::http1::turn::{Expect, Incoming, Turn};
use crate::pace::Pace;
use crate::server::Stream;
use crate::watch::Watch;
use crate::{BodyError, Refusal, Request, RequestBody, Responder, ResponseHead, SendError, date};

pub(crate) struct Connection<S> {
    state: RefCell<State<S>>,
    read_watch: Watch,
    write_watch: Watch,
    core: Rc<Core>,
    peer: SocketAddr,
    tls: bool,
}

struct State<S> {
    stream: S,
    /// The part of a head that came before the rest of it.
    partial: Vec<u8>,
    /// How much of `partial` was searched for the end of the head.
    scanned: usize,
    head_deadline: Option<Instant>,
    out: Outgoing,
    /// Names the current turn; calls for another one are late.
    turn_number: u64,
    turn: Turn,
    /// The stream cannot be written any more.
    broken: bool,
}

impl<S: Stream> Connection<S> {
    /// `partial` are the bytes that were read while the protocol was being told apart.
    pub(crate) fn new(stream: S, partial: Vec<u8>, core: &Rc<Core>, peer: SocketAddr, tls: bool) -> Rc<Self> {
        let head_time = core.limits.head_time;
        let head_deadline = (!partial.is_empty()).then(|| ring::now() + head_time);
        Rc::new(Self {
            state: RefCell::new(State {
                stream,
                partial,
                scanned: 0,
                head_deadline,
                out: Outgoing::default(),
                turn_number: 0,
                turn: Turn::none(),
                broken: false,
            }),
            read_watch: core.watches.watch(),
            write_watch: core.watches.watch(),
            core: Rc::clone(core),
            peer,
            tls,
        })
    }

    /// The next request head; `None` when the connection ends without one.
    pub(crate) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Option<ParsedHead>, Refusal>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let buffer = match Pin::new(&mut state.stream).poll_fill_buf(cx) {
                Poll::Pending => return self.wait_for_head(state.partial.is_empty(), state, cx),
                Poll::Ready(Ok(buffer)) if !buffer.is_empty() => buffer,
                Poll::Ready(_) => return Poll::Ready(Ok(None)),
            };
            let before = state.partial.len();
            if before == 0 {
                if let Some(end) = head::find_end(buffer, 0, &self.core.limits)? {
                    let raw = Bytes::copy_from_slice(&buffer[..end]);
                    Pin::new(&mut state.stream).consume(end);
                    return Poll::Ready(self.parse(&raw));
                }
                state.head_deadline = Some(ring::now() + self.core.limits.head_time);
            }
            // find_end has refused a partial head as long as its bound, so there is room for one byte at least.
            let taken = buffer.len().min(self.core.limits.head_bytes_max - before);
            state.partial.extend_from_slice(&buffer[..taken]);
            if let Some(end) = head::find_end(&state.partial, state.scanned, &self.core.limits)? {
                Pin::new(&mut state.stream).consume(end - before);
                state.partial.truncate(end);
                state.scanned = 0;
                return Poll::Ready(self.parse(&mem::take(&mut state.partial).into()));
            }
            state.scanned = state.partial.len();
            Pin::new(&mut state.stream).consume(taken);
        }
    }

    fn parse(&self, raw: &Bytes) -> Result<Option<ParsedHead>, Refusal> {
        self.read_watch.disarm();
        head::parse(raw, &self.core.limits, self.peer, self.tls).map(Some)
    }

    fn wait_for_head(
        &self,
        idle: bool,
        state: &mut State<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<ParsedHead>, Refusal>> {
        let limits = &self.core.limits;
        let patience = if state.turn_number == 0 { limits.first_byte } else { limits.idle };
        let now = ring::now();
        let deadline = *state.head_deadline.get_or_insert(now + patience);
        if deadline <= now {
            // RFC 9110 section 15.5.9: 408 is for a request that began. Who never began is not owed an answer, and
            // might take one for the answer to the request that it is sending right now.
            return Poll::Ready(if idle { Ok(None) } else { Err(Refusal::HeadTimeout) });
        }
        // A request that has begun is read in a drain as ever.
        let deadline = if idle { self.core.idle_until(deadline) } else { deadline };
        if deadline <= now {
            return Poll::Ready(Ok(None));
        }
        self.read_watch.arm(deadline, cx.waker());
        Poll::Pending
    }

    /// Begins the turn of a request.
    pub(crate) fn open(self: &Rc<Self>, parsed: ParsedHead) -> Request {
        let state = &mut *self.state.borrow_mut();
        state.turn_number += 1;
        state.head_deadline = None;
        state.turn = Turn::new(&parsed, &self.core.limits);
        let exchange: Rc<dyn Exchange> = Rc::<Self>::clone(self);
        let body_exchange = Rc::clone(&exchange);
        let body =
            RequestBody::from_wire(parsed.framing, parsed.expects_continue, body_exchange, state.turn_number);
        Request { head: parsed.head, body, responder: Responder::new(exchange, state.turn_number) }
    }

    /// Ready when the handler's side of the turn is over, also where its responder outlived its future.
    pub(crate) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<Settlement> {
        let mut state = self.state.borrow_mut();
        match state.turn.settled {
            Some(settlement) => Poll::Ready(settlement),
            None => {
                state.turn.settled_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the connection may serve another request, as far as the answer is concerned.
    pub(crate) fn keeps(&self) -> bool {
        let state = self.state.borrow();
        state.turn.keep_alive && !state.broken
    }

    /// Whether the stream still takes bytes.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.borrow().broken
    }

    /// Drops what was staged and not sent: the client sees the answer end short.
    pub(crate) fn cut_short(&self) {
        self.state.borrow_mut().out.clear();
    }

    /// Ends the turn, so that a body or responder that the handler leaked touches nothing from now on.
    pub(crate) fn close_turn(&self) {
        let mut state = self.state.borrow_mut();
        state.turn_number += 1;
    }

    /// Reads what the handler left of the body, up to `budget` bytes, until `deadline`. Ready with whether the next
    /// request begins at the next byte.
    pub(crate) fn poll_discard(
        &self,
        cx: &mut Context<'_>,
        budget: &mut u64,
        deadline: Instant,
    ) -> Poll<bool> {
        let state = &mut *self.state.borrow_mut();
        loop {
            match state.turn.body {
                Incoming::Done => return Poll::Ready(true),
                Incoming::Failed(_) => return Poll::Ready(false),
                Incoming::Length(_) | Incoming::Chunked(_) => {}
            }
            let buffer = match Pin::new(&mut state.stream).poll_fill_buf(cx) {
                Poll::Ready(Ok(buffer)) if !buffer.is_empty() => buffer,
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending if deadline <= ring::now() => return Poll::Ready(false),
                Poll::Pending => {
                    self.read_watch.arm(deadline, cx.waker());
                    return Poll::Pending;
                }
            };
            let Ok((used, _)) = state.turn.take_body(buffer, &self.core.limits) else {
                return Poll::Ready(false);
            };
            Pin::new(&mut state.stream).consume(used);
            match budget.checked_sub(used as u64) {
                Some(left) => *budget = left,
                None => return Poll::Ready(false),
            }
        }
    }

    /// Stages an answer of the connection's own, after which it closes.
    pub(crate) fn stage_last_words(&self, head: &ResponseHead, body: Bytes) {
        let state = &mut *self.state.borrow_mut();
        state.turn.keep_alive = false;
        state.turn.write_pace = Pace::default();
        let framing = Framing::Length(body.len() as u64);
        encode::encode(state.out.head(), head, framing, Persistence::Close, &date::current(ring::now()));
        state.out.stage(body, b"");
    }

    /// Answers 500 for a responder that was dropped, in the form that the request allows.
    pub(crate) fn stage_failure(&self, head: &ResponseHead) {
        let state = &mut *self.state.borrow_mut();
        state.turn.keep_alive = false;
        if let Ok((framing, persistence, body)) =
            state.turn.begin(head, Payload::Whole(Bytes::new()), false, &self.core.limits)
        {
            encode::encode(state.out.head(), head, framing, persistence, &date::current(ring::now()));
            state.out.stage(body, b"");
        }
    }

    /// Sends what is staged and then the end of our side.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let state = &mut *self.state.borrow_mut();
        ready!(self.poll_drain(state, cx))?;
        match Pin::new(&mut state.stream).poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|_| SendError::Closed)),
            Poll::Pending => self.wait_for_room(state, cx),
        }
    }

    /// Reads and drops what the client still sends, until it closes, `budget` is used up or `deadline` passes.
    /// Closing earlier would make the kernel reset the connection, and the client might lose our last answer.
    pub(crate) fn poll_linger(&self, cx: &mut Context<'_>, budget: &mut u64, deadline: Instant) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let length = match Pin::new(&mut state.stream).poll_fill_buf(cx) {
                Poll::Ready(Ok(buffer)) if !buffer.is_empty() => buffer.len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if deadline <= ring::now() => return Poll::Ready(()),
                Poll::Pending => {
                    self.read_watch.arm(deadline, cx.waker());
                    return Poll::Pending;
                }
            };
            Pin::new(&mut state.stream).consume(length);
            *budget = budget.saturating_sub(length as u64);
            if *budget == 0 {
                return Poll::Ready(());
            }
        }
    }

    fn poll_drain(&self, state: &mut State<S>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if state.broken {
            return Poll::Ready(Err(SendError::Closed));
        }
        let State { out, stream, turn, .. } = state;
        let pace = &mut turn.write_pace;
        match out.poll_drain(stream, cx, |written| pace.progress(ring::now(), written)) {
            Poll::Ready(Ok(())) => {
                self.write_watch.disarm();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => {
                state.broken = true;
                Poll::Ready(Err(SendError::Closed))
            }
            Poll::Pending => self.wait_for_room(state, cx),
        }
    }

    fn wait_for_room(&self, state: &mut State<S>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let (now, limits) = (ring::now(), &self.core.limits);
        let deadline = state.turn.write_pace.wait(now, limits.write_stall, limits);
        if deadline <= now {
            state.broken = true;
            return Poll::Ready(Err(SendError::TimedOut));
        }
        self.write_watch.arm(deadline, cx.waker());
        Poll::Pending
    }

    /// Sends `100 Continue` before the first read of a body whose sender waits for it.
    fn poll_continue(&self, state: &mut State<S>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match state.turn.expect {
            Expect::Declined => return Poll::Ready(Err(BodyError::Closed)),
            Expect::Waiting => {
                state.turn.expect = Expect::Told;
                state.out.head().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            Expect::Told => {}
        }
        if state.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // What is staged may also be the handler's answer; a client that does not read it must not stop the body.
        match self.poll_drain(state, cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Err(BodyError::Closed)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Body bytes from what the stream has read ahead; empty where those were framing only.
    fn poll_buffered(&self, state: &mut State<S>, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        let buffer = match ready!(Pin::new(&mut state.stream).poll_fill_buf(cx)) {
            Ok(buffer) if !buffer.is_empty() => buffer,
            _ => return Poll::Ready(Err(BodyError::Closed)),
        };
        let (used, data) = state.turn.take_body(buffer, &self.core.limits)?;
        Pin::new(&mut state.stream).consume(used);
        Poll::Ready(Ok(data))
    }

    fn wait_for_body(
        &self,
        state: &mut State<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (now, limits) = (ring::now(), &self.core.limits);
        let deadline = state.turn.read_pace.wait(now, limits.body_idle, limits);
        if deadline <= now {
            return Poll::Ready(Some(Err(state.turn.fail(BodyError::TimedOut))));
        }
        self.read_watch.arm(deadline, cx.waker());
        Poll::Pending
    }
}

impl<S: Stream> Exchange for Connection<S> {
    fn poll_body(&self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let state = &mut *self.state.borrow_mut();
        if state.turn_number != turn {
            return Poll::Ready(Some(Err(BodyError::Closed)));
        }
        match state.turn.body {
            Incoming::Done => return Poll::Ready(None),
            Incoming::Failed(error) => return Poll::Ready(Some(Err(error))),
            Incoming::Length(_) | Incoming::Chunked(_) => {}
        }
        if let Err(error) = ready!(self.poll_continue(state, cx)) {
            return Poll::Ready(Some(Err(state.turn.fail(error))));
        }
        loop {
            let piece = match state.turn.bulk_bytes() {
                Some(limit) => bulk::poll_piece(&mut state.stream, cx, limit).map(|piece| {
                    let data = piece.ok().filter(|data| !data.is_empty()).ok_or(BodyError::Closed)?;
                    state.turn.take_bulk(&data, &self.core.limits)?;
                    Ok(data)
                }),
                None => self.poll_buffered(state, cx),
            };
            match piece {
                Poll::Pending => return self.wait_for_body(state, cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(state.turn.fail(error)))),
                Poll::Ready(Ok(data)) if !data.is_empty() => {
                    state.turn.read_pace.progress(ring::now(), data.len());
                    self.read_watch.disarm();
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Ok(_)) => {}
            }
            if state.turn.body_is_done() {
                self.read_watch.disarm();
                return Poll::Ready(None);
            }
        }
    }

    fn begin(&self, turn: u64, head: ResponseHead, payload: Payload) -> Result<(), SendError> {
        let state = &mut *self.state.borrow_mut();
        state.check(turn)?;
        // Turns are numbered twice per request: once opened, once closed.
        let may_keep = !self.core.is_draining() && turn / 2 + 1 < self.core.limits.requests_per_connection;
        let (framing, persistence, body) = state.turn.begin(&head, payload, may_keep, &self.core.limits)?;
        encode::encode(state.out.head(), &head, framing, persistence, &date::current(ring::now()));
        state.out.stage(body, b"");
        Ok(())
    }

    fn stage(&self, turn: u64, data: Bytes) -> Result<(), SendError> {
        let state = &mut *self.state.borrow_mut();
        state.check(turn)?;
        if let Some((is_chunk, tail)) = state.turn.write(data.len())? {
            if is_chunk {
                write!(state.out.head(), "{:x}\r\n", data.len()).expect("a Vec takes every write");
            }
            state.out.stage(data, tail);
        }
        Ok(())
    }

    fn finish(&self, turn: u64) -> Result<(), SendError> {
        let state = &mut *self.state.borrow_mut();
        state.check(turn)?;
        let end = state.turn.finish()?;
        if !end.is_empty() {
            state.out.stage(Bytes::new(), end);
        }
        Ok(())
    }

    fn poll_sent(&self, turn: u64, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let state = &mut *self.state.borrow_mut();
        state.check(turn)?;
        if state.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(state, cx)
    }

    fn poll_gone(&self, turn: u64, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        if state.turn_number != turn || state.broken {
            return Poll::Ready(());
        }
        if !state.turn.body_is_done() {
            return Poll::Pending;
        }
        match Pin::new(&mut state.stream).poll_fill_buf(cx) {
            Poll::Ready(Ok(buffer)) if !buffer.is_empty() => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn settle(&self, turn: u64, settlement: Settlement) {
        let mut state = self.state.borrow_mut();
        if state.turn_number == turn {
            state.turn.settled = Some(settlement);
            let waker = state.turn.settled_waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// What a connection allocates for itself.
#[cfg(test)]
pub(crate) fn connection_bytes<S>() -> usize {
    size_of::<Connection<S>>()
}

impl<S> State<S> {
    fn check(&self, turn: u64) -> Result<(), SendError> {
        if self.turn_number == turn && !self.broken { Ok(()) } else { Err(SendError::Closed) }
    }
}
