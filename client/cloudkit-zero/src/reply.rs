//! An answer and its body, which comes as its reader takes it.
//! Invariant: a body that is not whole ends with an error, never with silence: too short, standing still, or with another
//! checksum than was said. Dropping it before its end resets the stream, or closes the connection of HTTP/1.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_types::{HeaderMap, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, Sleep};

use crate::checksum::Check;
use crate::error::{Sent, WireError, WireKind};
use crate::http1;
use crate::http2::{self, StreamLease, Waits};

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Of its head.
    pub status: StatusCode,
    /// Of its head.
    pub headers: HeaderMap,
    /// What follows.
    pub body: ReplyBody,
}

/// The body of an answer.
pub struct ReplyBody {
    source: Source,
    received: u64,
    /// Of `content-length`, unless the answer is to HEAD.
    expected: Option<u64>,
    check: Option<Check>,
    stall: Duration,
    deadline: Option<Instant>,
    /// Runs while nothing comes.
    timer: Option<Pin<Box<Sleep>>>,
}

enum Source {
    Ended,
    Http2 {
        stream: h2::RecvStream,
        /// Gives its place back when the body goes.
        _lease: StreamLease,
    },
    Http1(Incoming, Box<http1::Lease>),
}

impl Reply {
    /// Of an HTTP/2 exchange.
    pub fn of_http2(
        answer: http_types::Response<h2::RecvStream>,
        mut lease: StreamLease,
        is_head: bool,
        waits: &Waits,
    ) -> Reply {
        let (parts, stream) = answer.into_parts();
        let expected = expected_length(&parts.headers, is_head);
        let source = if stream.is_end_stream() {
            Source::Ended
        } else {
            lease.add_weight(expected.unwrap_or(0));
            Source::Http2 { stream, _lease: lease }
        };
        Reply { status: parts.status, headers: parts.headers, body: ReplyBody::new(source, expected, waits) }
    }

    /// Of an HTTP/1 exchange.
    pub fn of_http1(
        answer: http_types::Response<Incoming>,
        mut lease: http1::Lease,
        is_head: bool,
        waits: &Waits,
    ) -> Reply {
        let (parts, incoming) = answer.into_parts();
        let expected = expected_length(&parts.headers, is_head);
        let source = if incoming.is_end_stream() {
            lease.give_back();
            Source::Ended
        } else {
            Source::Http1(incoming, Box::new(lease))
        };
        Reply { status: parts.status, headers: parts.headers, body: ReplyBody::new(source, expected, waits) }
    }
}

fn expected_length(headers: &HeaderMap, is_head: bool) -> Option<u64> {
    if is_head {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl ReplyBody {
    fn new(source: Source, expected: Option<u64>, waits: &Waits) -> ReplyBody {
        ReplyBody {
            source,
            received: 0,
            expected,
            check: None,
            stall: waits.stall,
            deadline: waits.deadline,
            timer: None,
        }
    }

    /// Compares the whole body with `check` at its end.
    pub fn verify(&mut self, check: Option<Check>) {
        self.check = check;
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes in all, where the head said so.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// The next bytes; None at the end. After an error there is nothing more.
    /// Errors: Closed, Reset, Protocol, Stalled, Deadline, Checksum.
    pub async fn data(&mut self) -> Option<Result<Bytes, WireError>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// The same, for streams.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        let polled = match &mut self.source {
            // An answer without any body still has to be as long as it says.
            Source::Ended => Poll::Ready(None),
            Source::Http2 { stream, .. } => http2::poll_data(stream, cx),
            Source::Http1(incoming, _) => http1::poll_data(incoming, cx),
        };
        match polled {
            Poll::Ready(Some(Ok(bytes))) => {
                self.timer = None;
                self.received += bytes.len() as u64;
                if let Some(check) = &mut self.check {
                    check.update(&bytes);
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.fail(error)))),
            Poll::Ready(None) => Poll::Ready(self.end().err().map(Err)),
            Poll::Pending => self.poll_timer(cx),
        }
    }

    /// All of it. Errors: those of `data`, and Answer for more than `bytes_max`.
    pub async fn collect(&mut self, bytes_max: usize) -> Result<Bytes, WireError> {
        let Some(first) = self.data().await.transpose()? else { return Ok(Bytes::new()) };
        let too_large = || {
            let words = format!("the body has more than {bytes_max} bytes");
            WireError::new(WireKind::Answer, Sent::Maybe, words)
        };
        // Most answers are one piece, which needs no copy.
        let Some(second) = self.data().await.transpose()? else {
            return if first.len() > bytes_max { Err(too_large()) } else { Ok(first) };
        };
        let told = self.expected.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut all = BytesMut::with_capacity(told.min(bytes_max).max(first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(bytes) = self.data().await.transpose()? {
            if all.len() + bytes.len() > bytes_max {
                return Err(self.fail(too_large()));
            }
            all.extend_from_slice(&bytes);
        }
        if all.len() > bytes_max { Err(too_large()) } else { Ok(all.freeze()) }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        let stall = self.stall;
        let deadline = self.deadline;
        let timer = self.timer.get_or_insert_with(|| {
            let until = Instant::now() + stall;
            Box::pin(tokio::time::sleep_until(deadline.map_or(until, |deadline| until.min(deadline))))
        });
        std::task::ready!(timer.as_mut().poll(cx));
        let error = if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            WireError::new(WireKind::Deadline, Sent::Maybe, "the time of the call is over")
        } else {
            WireError::new(WireKind::Stalled, Sent::Maybe, format!("no byte of the body for {stall:?}"))
        };
        Poll::Ready(Some(Err(self.fail(error))))
    }

    /// Lets the stream go: nothing follows an error.
    fn fail(&mut self, error: WireError) -> WireError {
        self.source = Source::Ended;
        self.expected = None;
        self.check = None;
        self.timer = None;
        error
    }

    fn end(&mut self) -> Result<(), WireError> {
        if let Source::Http1(_, lease) = &mut self.source {
            lease.give_back();
        }
        self.source = Source::Ended;
        self.timer = None;
        let received = self.received;
        if let Some(expected) = self.expected.take()
            && expected != received
        {
            self.check = None;
            let words = format!("the body ended after {received} of {expected} bytes");
            return Err(WireError::new(WireKind::Closed, Sent::Maybe, words));
        }
        match self.check.take().map(|check| check.finish()) {
            Some(Err(words)) => Err(WireError::new(WireKind::Checksum, Sent::Maybe, words)),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Stream for ReplyBody {
    type Item = Result<Bytes, WireError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_data(cx)
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyBody({} of {:?} bytes)", self.received, self.expected)
    }
}
