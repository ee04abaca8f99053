//! A stream that first gives back bytes which were read too far, and notes when it last moved bytes.
//! Invariant: the prefix comes first and once.
//! Left to others: what silence means (`http2`).

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Tracked<S> {
    stream: S,
    prefix: Vec<u8>,
    times: Rc<Times>,
}

struct Times {
    read_at: Cell<Instant>,
    written_at: Cell<Instant>,
}

/// When a `Tracked` stream last moved bytes.
pub(crate) struct Activity {
    times: Rc<Times>,
}

impl Activity {
    pub(crate) fn read_at(&self) -> Instant {
        self.times.read_at.get()
    }

    pub(crate) fn written_at(&self) -> Instant {
        self.times.written_at.get()
    }
}

impl<S> Tracked<S> {
    pub(crate) fn new(stream: S, prefix: Vec<u8>) -> (Self, Activity) {
        let now = ring::now();
        let times = Rc::new(Times { read_at: Cell::new(now), written_at: Cell::new(now) });
        (Self { stream, prefix, times: Rc::clone(&times) }, Activity { times })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tracked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let length = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..length]);
            self.prefix.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if result.is_ready() {
            self.times.read_at.set(ring::now());
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> Tracked<S> {
    fn note_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.times.written_at.set(ring::now());
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tracked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
