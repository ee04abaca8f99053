//! One HTTP/2 stream as the exchange that a handler sees.
//!
//! Invariant: flow-control capacity goes back to the client only for bytes that the handler took, and bytes go to `h2`
//! only within the capacity that it granted; so a stream holds one window and one staged piece at most.
//! Left to others: the connection's frames and idle time (`connection`).

use std::cell::{OnceCell, RefCell};
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_types::{HeaderValue, Response, StatusCode, header};

use crate::core::Core;
use crate::exchange::{Exchange, Payload, Settlement};
use crate::http1::remove_ours;
use crate::pace::Pace;
use crate::watch::Watch;
use crate::{BodyError, ResponseHead, SendError, date};

pub(crate) struct StreamExchange {
    state: RefCell<State>,
    core: Rc<Core>,
    /// Made at the first wait; most streams never wait.
    read_watch: OnceCell<Watch>,
    write_watch: OnceCell<Watch>,
}

struct State {
    respond: SendResponse<Bytes>,
    incoming: Incoming,
    must_continue: bool,
    received_bytes: u64,
    is_head: bool,
    answer: Answer,
    staged: Bytes,
    /// END_STREAM goes out with the last staged byte.
    ends_with_staged: bool,
    settled: Option<Settlement>,
    settled_waker: Option<Waker>,
    read_pace: Pace,
    write_pace: Pace,
}

enum Incoming {
    Open(RecvStream),
    Done,
    Failed(BodyError),
}

enum Answer {
    Unsent,
    /// `left_bytes` of the announced length, if one was.
    Open {
        send: SendStream<Bytes>,
        left_bytes: Option<u64>,
    },
    /// END_STREAM was sent, or nothing may follow the head.
    Ended,
    Failed(SendError),
}

impl StreamExchange {
    pub(crate) fn new(
        core: &Rc<Core>,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        is_head: bool,
        expects_continue: bool,
    ) -> Rc<Self> {
        let incoming = if body.is_end_stream() { Incoming::Done } else { Incoming::Open(body) };
        Rc::new(Self {
            state: RefCell::new(State {
                respond,
                incoming,
                must_continue: expects_continue,
                received_bytes: 0,
                is_head,
                answer: Answer::Unsent,
                staged: Bytes::new(),
                ends_with_staged: false,
                settled: None,
                settled_waker: None,
                read_pace: Pace::default(),
                write_pace: Pace::default(),
            }),
            core: Rc::clone(core),
            read_watch: OnceCell::new(),
            write_watch: OnceCell::new(),
        })
    }

    /// Ready when the handler's side is over, also where its responder outlived its future.
    pub(crate) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.settled.is_some() {
            return Poll::Ready(());
        }
        state.settled_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the stream on our side. `h2` resets it with NO_ERROR if the client is still sending (RFC 9113 8.1).
    pub(crate) fn close(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.settled == Some(Settlement::Unanswered) {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            if state.respond.send_response(response, true).is_err() {
                state.respond.send_reset(Reason::INTERNAL_ERROR);
            }
        }
        state.answer = Answer::Failed(SendError::Closed);
        state.incoming = Incoming::Failed(BodyError::Closed);
        state.staged = Bytes::new();
    }

    /// Notes a wait and gives its deadline's verdict.
    fn wait(
        &self,
        watch: &OnceCell<Watch>,
        pace: &mut Pace,
        idle_max: Duration,
        cx: &mut Context<'_>,
    ) -> Result<(), Elapsed> {
        let now: Instant = ring::now();
        let deadline = pace.wait(now, idle_max, &self.core.limits);
        if deadline <= now {
            return Err(Elapsed);
        }
        watch.get_or_init(|| self.core.watches.watch()).arm(deadline, cx.waker());
        Ok(())
    }
}

/// A wait on the client took too long.
struct Elapsed;

impl Exchange for StreamExchange {
    fn poll_body(&self, _turn: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let state = &mut *self.state.borrow_mut();
        if mem::take(&mut state.must_continue) && matches!(state.answer, Answer::Unsent) {
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            if state.respond.send_informational(interim).is_err() {
                state.incoming = Incoming::Failed(BodyError::Closed);
            }
        }
        loop {
            let stream = match &mut state.incoming {
                Incoming::Done => return Poll::Ready(None),
                Incoming::Failed(error) => return Poll::Ready(Some(Err(*error))),
                Incoming::Open(stream) => stream,
            };
            let error = match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() => continue,
                Poll::Ready(Some(Ok(data))) => {
                    state.received_bytes += data.len() as u64;
                    state.read_pace.progress(ring::now(), data.len());
                    if let Some(watch) = self.read_watch.get() {
                        watch.disarm();
                    }
                    let released = stream.flow_control().release_capacity(data.len());
                    if state.received_bytes > self.core.limits.body_bytes_max {
                        BodyError::TooLarge
                    } else if released.is_err() {
                        BodyError::Closed
                    } else {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(None) => {
                    if let Some(watch) = self.read_watch.get() {
                        watch.disarm();
                    }
                    state.incoming = Incoming::Done;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => BodyError::Closed,
                Poll::Pending => {
                    let idle_max = self.core.limits.body_idle;
                    match self.wait(&self.read_watch, &mut state.read_pace, idle_max, cx) {
                        Ok(()) => return Poll::Pending,
                        Err(Elapsed) => BodyError::TimedOut,
                    }
                }
            };
            state.incoming = Incoming::Failed(error);
        }
    }

    fn begin(&self, _turn: u64, head: ResponseHead, payload: Payload) -> Result<(), SendError> {
        let state = &mut *self.state.borrow_mut();
        match state.answer {
            Answer::Unsent if !head.status.is_informational() => {}
            Answer::Failed(error) => return Err(error),
            _ => return Err(SendError::InvalidHead),
        }
        let bodyless =
            state.is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = match &payload {
            Payload::Whole(body) => Some(body.len() as u64),
            Payload::Stream(length) => *length,
        };
        let response = response_of(head, length, bodyless);
        let (data, whole) = match payload {
            Payload::Whole(data) => (data, true),
            Payload::Stream(length) => (Bytes::new(), length == Some(0)),
        };
        let ends = bodyless || (whole && data.is_empty());
        let Ok(send) = state.respond.send_response(response, ends) else {
            state.answer = Answer::Failed(SendError::Closed);
            return Err(SendError::Closed);
        };
        if ends {
            state.answer = Answer::Ended;
        } else {
            state.ends_with_staged = whole;
            state.answer = Answer::Open { send, left_bytes: if whole { Some(0) } else { length } };
            state.staged = data;
        }
        Ok(())
    }

    fn stage(&self, _turn: u64, data: Bytes) -> Result<(), SendError> {
        let state = &mut *self.state.borrow_mut();
        assert!(state.staged.is_empty(), "one piece is staged at a time");
        match &mut state.answer {
            Answer::Open { left_bytes, .. } => {
                if let Some(left) = left_bytes {
                    *left = left.checked_sub(data.len() as u64).ok_or(SendError::LengthMismatch)?;
                    state.ends_with_staged = *left == 0;
                }
                state.staged = data;
                Ok(())
            }
            // A HEAD answer drops its body; one of announced length 0 may have an empty one.
            Answer::Ended if state.is_head || data.is_empty() => Ok(()),
            Answer::Ended => Err(SendError::LengthMismatch),
            Answer::Unsent => Err(SendError::InvalidHead),
            Answer::Failed(error) => Err(*error),
        }
    }

    fn finish(&self, _turn: u64) -> Result<(), SendError> {
        let state = &mut *self.state.borrow_mut();
        match &mut state.answer {
            Answer::Open { left_bytes: Some(1..), .. } => Err(SendError::LengthMismatch),
            Answer::Open { send, .. } => {
                let sent = send.send_data(Bytes::new(), true).map_err(|_| SendError::Closed);
                state.answer = Answer::Ended;
                sent
            }
            Answer::Ended => Ok(()),
            Answer::Unsent => Err(SendError::InvalidHead),
            Answer::Failed(error) => Err(*error),
        }
    }

    fn poll_sent(&self, _turn: u64, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let state = &mut *self.state.borrow_mut();
        let error = match ready!(self.poll_staged(state, cx)) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(error) => error,
        };
        if error == SendError::TimedOut {
            state.respond.send_reset(Reason::CANCEL);
        }
        state.answer = Answer::Failed(error);
        state.staged = Bytes::new();
        Poll::Ready(Err(error))
    }

    fn poll_gone(&self, _turn: u64, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        match &mut state.answer {
            Answer::Unsent => state.respond.poll_reset(cx).map(|_| ()),
            _ => Poll::Ready(()),
        }
    }

    fn settle(&self, _turn: u64, settlement: Settlement) {
        let mut state = self.state.borrow_mut();
        state.settled = Some(settlement);
        if settlement == Settlement::Aborted {
            state.respond.send_reset(Reason::INTERNAL_ERROR);
            state.answer = Answer::Failed(SendError::Closed);
            state.staged = Bytes::new();
        }
        let waker = state.settled_waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl StreamExchange {
    fn poll_staged(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        while !state.staged.is_empty() {
            let Answer::Open { send, .. } = &mut state.answer else {
                return Poll::Ready(Err(SendError::Closed));
            };
            send.reserve_capacity(state.staged.len());
            if send.capacity() == 0 {
                match send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(_) => return Poll::Ready(Err(SendError::Closed)),
                    Poll::Pending => {
                        let idle_max = self.core.limits.write_stall;
                        let waiting = self.wait(&self.write_watch, &mut state.write_pace, idle_max, cx);
                        return match waiting {
                            Ok(()) => Poll::Pending,
                            Err(Elapsed) => Poll::Ready(Err(SendError::TimedOut)),
                        };
                    }
                }
            }
            let data = state.staged.split_to(send.capacity().min(state.staged.len()));
            if data.is_empty() {
                continue;
            }
            state.write_pace.progress(ring::now(), data.len());
            let ends = state.ends_with_staged && state.staged.is_empty();
            if send.send_data(data, ends).is_err() {
                return Poll::Ready(Err(SendError::Closed));
            }
            if ends {
                state.answer = Answer::Ended;
            }
        }
        if let Some(watch) = self.write_watch.get() {
            watch.disarm();
        }
        match &state.answer {
            Answer::Failed(error) => Poll::Ready(Err(*error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// The head as `h2` takes it. The handler's own map goes out, without the fields that are ours to say.
fn response_of(head: ResponseHead, length: Option<u64>, bodyless: bool) -> Response<()> {
    let ResponseHead { status, mut headers } = head;
    let length = match length {
        _ if status == StatusCode::NO_CONTENT => None,
        Some(1..) => length.map(HeaderValue::from),
        _ if bodyless => headers.get(header::CONTENT_LENGTH).cloned(),
        length => length.map(HeaderValue::from),
    };
    remove_ours(&mut headers);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    if !headers.contains_key(header::DATE) {
        headers.insert(header::DATE, date::current_value(ring::now()));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
