//! A body that goes on where it broke: its rest is asked for from the first byte that is missing, and the checksum runs over all of it.
//! Invariant: bytes come once and in order; who reopens says by If-Match that they are still those of the same object.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::checksum::Check;
use crate::error::{Sent, WireError, WireKind};
use crate::reply::ReplyBody;

/// A body on its way.
pub type Reopening = Pin<Box<dyn Future<Output = Result<ReplyBody, WireError>> + Send>>;

/// Asks for the rest of a body.
pub trait Reopen: Send {
    /// The body from `offset` on, counted from the first byte of the first one. Errors: no rest to be had; they end the download.
    fn reopen(&mut self, offset: u64) -> Reopening;
}

/// A body of which breaks are mended.
pub struct Download {
    body: ReplyBody,
    check: Option<Check>,
    reopen: Box<dyn Reopen>,
    reopening: Option<Reopening>,
    given: u64,
    length: Option<u64>,
    breaks_left: u32,
    is_ended: bool,
}

/// Breaks without a byte between them, until the last one is told.
const BREAKS_MAX: u32 = 3;

impl Download {
    /// Of a body whose whole is compared with `check`.
    pub fn new(body: ReplyBody, check: Option<Check>, reopen: Box<dyn Reopen>) -> Download {
        Download {
            length: body.expected(),
            body,
            check,
            reopen,
            reopening: None,
            given: 0,
            breaks_left: BREAKS_MAX,
            is_ended: false,
        }
    }

    /// Bytes that came so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    fn fail(&mut self, error: WireError) -> Poll<Option<Result<Bytes, WireError>>> {
        self.is_ended = true;
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self) -> Poll<Option<Result<Bytes, WireError>>> {
        self.is_ended = true;
        match self.check.take().map(|check| check.finish()) {
            Some(Err(words)) => self.fail(WireError::new(WireKind::Checksum, Sent::Maybe, words)),
            Some(Ok(())) | None => Poll::Ready(None),
        }
    }
}

/// Whether the rest may come over another stream.
fn is_break(error: &WireError) -> bool {
    matches!(error.kind(), WireKind::Closed | WireKind::Reset | WireKind::Stalled | WireKind::Protocol)
}

impl Stream for Download {
    type Item = Result<Bytes, WireError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.is_ended {
                return Poll::Ready(None);
            }
            if let Some(reopening) = &mut this.reopening {
                let reopened = std::task::ready!(reopening.as_mut().poll(cx));
                this.reopening = None;
                match reopened {
                    Ok(body) => this.body = body,
                    Err(error) => return this.fail(error),
                }
            }
            match std::task::ready!(this.body.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    this.given += bytes.len() as u64;
                    this.breaks_left = BREAKS_MAX;
                    if let Some(check) = &mut this.check {
                        check.update(&bytes);
                    }
                    return Poll::Ready(Some(Ok(bytes)));
                }
                // All bytes are here; only the end of the stream was not said any more.
                Some(Err(error)) if is_break(&error) && this.length == Some(this.given) => return this.end(),
                Some(Err(error)) if is_break(&error) && this.breaks_left > 0 => {
                    this.breaks_left -= 1;
                    this.reopening = Some(this.reopen.reopen(this.given));
                }
                Some(Err(error)) => return this.fail(error),
                None => return this.end(),
            }
        }
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Download({} bytes so far)", self.given)
    }
}
