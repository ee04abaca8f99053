//! One request and its answer, seen from the handler's side of the wire: the trait that HTTP/1, HTTP/2 and the
//! in-memory exchange implement.
//!
//! Invariant: calls that name an earlier `turn` than the current one touch nothing and report `Closed`. A connection
//! is one long-lived exchange with many turns, so a body that a handler leaked cannot read the next request's bytes.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::{BodyError, Request, RequestBody, RequestHead, Responder, ResponseHead, SendError};

/// What follows a response head.
#[derive(Debug)]
pub(crate) enum Payload {
    /// The whole body; `finish` comes next.
    Whole(Bytes),
    /// A body in pieces, of the given length if known.
    Stream(Option<u64>),
}

/// How an exchange ended on the handler's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The answer is complete.
    Finished,
    /// The answer stops before its end.
    Aborted,
    /// The responder was dropped without an answer.
    Unanswered,
}

/// The operations behind `RequestBody`, `Responder` and `ResponseWriter`. At most one piece is staged at a time:
/// `poll_sent` must have been ready before `stage` or `finish`.
pub(crate) trait Exchange {
    /// The next piece of the request body.
    fn poll_body(&self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;
    /// Stages the response head, and the body if that is whole.
    fn begin(&self, turn: u64, head: ResponseHead, payload: Payload) -> Result<(), SendError>;
    /// Stages a piece of the body.
    fn stage(&self, turn: u64, data: Bytes) -> Result<(), SendError>;
    /// Stages the end of the body.
    fn finish(&self, turn: u64) -> Result<(), SendError>;
    /// Ready when nothing is staged any more.
    fn poll_sent(&self, turn: u64, cx: &mut Context<'_>) -> Poll<Result<(), SendError>>;
    /// Ready when the client is known to be gone.
    fn poll_gone(&self, turn: u64, cx: &mut Context<'_>) -> Poll<()>;
    /// Ends the turn on the response side. Called once per turn.
    fn settle(&self, turn: u64, settlement: Settlement);
}

/// An answer as it was given, for handlers that are called without a connection.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status and fields as the handler gave them.
    pub head: ResponseHead,
    /// The body, as far as it was written.
    pub body: Bytes,
    /// Whether the body came to its end.
    pub complete: bool,
}

#[derive(Default)]
struct Memory {
    state: RefCell<MemoryState>,
}

#[derive(Default)]
struct MemoryState {
    head: Option<ResponseHead>,
    body: BytesMut,
    expected_bytes: Option<u64>,
    settled: Option<Settlement>,
    waker: Option<Waker>,
}

/// Makes a request without a connection and the future of its answer, for tests and in-process calls.
/// The future resolves to `None` if the responder is dropped unanswered.
#[must_use]
pub fn detached_request(head: RequestHead, body: RequestBody) -> (Request, ReplyFuture) {
    let memory = Rc::new(Memory::default());
    let exchange: Rc<dyn Exchange> = Rc::<Memory>::clone(&memory);
    let request = Request { head, body, responder: Responder::new(exchange, 0) };
    (request, ReplyFuture { memory })
}

/// The answer to a detached request.
pub struct ReplyFuture {
    memory: Rc<Memory>,
}

impl Future for ReplyFuture {
    type Output = Option<Reply>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.memory.state.borrow_mut();
        let Some(settled) = state.settled else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let body = state.body.split().freeze();
        let complete = settled == Settlement::Finished;
        Poll::Ready(state.head.take().map(|head| Reply { head, body, complete }))
    }
}

impl Exchange for Memory {
    fn poll_body(&self, _turn: u64, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        // Detached bodies are buffered ones and never ask their exchange.
        Poll::Ready(None)
    }

    fn begin(&self, _turn: u64, head: ResponseHead, payload: Payload) -> Result<(), SendError> {
        let mut state = self.state.borrow_mut();
        state.head = Some(head);
        match payload {
            Payload::Whole(body) => state.body.extend_from_slice(&body),
            Payload::Stream(length) => state.expected_bytes = length,
        }
        Ok(())
    }

    fn stage(&self, _turn: u64, data: Bytes) -> Result<(), SendError> {
        let mut state = self.state.borrow_mut();
        state.body.extend_from_slice(&data);
        match state.expected_bytes {
            Some(expected) if state.body.len() as u64 > expected => Err(SendError::LengthMismatch),
            _ => Ok(()),
        }
    }

    fn finish(&self, _turn: u64) -> Result<(), SendError> {
        let state = self.state.borrow();
        match state.expected_bytes {
            Some(expected) if state.body.len() as u64 != expected => Err(SendError::LengthMismatch),
            _ => Ok(()),
        }
    }

    fn poll_sent(&self, _turn: u64, _cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&self, _turn: u64, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn settle(&self, _turn: u64, settlement: Settlement) {
        let mut state = self.state.borrow_mut();
        state.settled = Some(settlement);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}
