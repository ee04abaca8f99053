//! Bytes on their way to the client: one staged piece, written in as few calls as the stream takes.
//! Invariant: at most one piece is staged, so what a slow client makes us hold is one piece of the handler's choosing.
//! Left to others: deadlines, and what the bytes mean (`connection`).

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

thread_local! {
    /// The buffer for heads that is not in use: a connection holds one only while it has something to send.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that grew beyond this, by one huge head, is freed instead of kept.
const SPARE_BYTES_MAX: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Outgoing {
    head: Vec<u8>,
    head_sent: usize,
    body: Bytes,
    tail: &'static [u8],
    unflushed: bool,
}

impl Outgoing {
    /// The buffer of what goes out before the staged body; append only.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        if self.head.capacity() == 0 {
            self.head = SPARE.take();
        }
        self.unflushed = true;
        &mut self.head
    }

    /// Stages a body and what follows it. The former body must be sent.
    pub(crate) fn stage(&mut self, body: Bytes, tail: &'static [u8]) {
        assert!(self.body.is_empty() && self.tail.is_empty(), "one piece is staged at a time");
        self.body = body;
        self.tail = tail;
        self.unflushed = true;
    }

    /// Drops what is not yet sent.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.len() == self.head_sent && self.body.is_empty() && self.tail.is_empty() && !self.unflushed
    }

    /// Writes and flushes everything. `progress` is told of each successful write.
    pub(crate) fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        mut progress: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        loop {
            let head = &self.head[self.head_sent..];
            if head.is_empty() && self.body.is_empty() && self.tail.is_empty() {
                break;
            }
            let slices = [IoSlice::new(head), IoSlice::new(&self.body), IoSlice::new(self.tail)];
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            progress(written);
            self.advance(written);
        }
        if self.head.capacity() > 0 {
            let mut head = mem::take(&mut self.head);
            self.head_sent = 0;
            if head.capacity() <= SPARE_BYTES_MAX {
                head.clear();
                SPARE.set(head);
            }
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let from_head = written.min(self.head.len() - self.head_sent);
        self.head_sent += from_head;
        let from_body = (written - from_head).min(self.body.len());
        self.body.advance(from_body);
        self.tail = &self.tail[written - from_head - from_body..];
        if self.body.is_empty() {
            // Lets go of the handler's buffer as soon as its last byte is taken.
            self.body = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes one byte per call and then refuses one call.
    struct Dribble(Vec<u8>, bool);

    impl AsyncWrite for Dribble {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.1 = !self.1;
            if self.1 {
                return Poll::Pending;
            }
            self.0.push(buf[0]);
            Poll::Ready(Ok(1))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn partial_writes_keep_the_order_and_lose_nothing() {
        let mut stream = Dribble(Vec::new(), false);
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Outgoing::default();
        out.head().extend_from_slice(b"head ");
        out.stage(Bytes::from_static(b"body"), b" tail");
        let mut moved = 0;
        while out.poll_drain(&mut stream, &mut cx, |n| moved += n).is_pending() {}
        assert_eq!((stream.0.as_slice(), moved, out.is_empty()), (&b"head body tail"[..], 14, true));
    }
}
