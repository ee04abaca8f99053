//! Large bodies of known length, received straight into the pieces that the handler gets.
//!
//! Through the stream's own buffer each byte is copied twice more and comes in small pieces. Here the stream receives
//! into the piece itself, and as much as is there leaves in one.
//!
//! Invariant: a piece takes at most twice the memory of its data, so what a handler keeps of a body is what it cost.
//! Left to others: the framing that says how much may be read (`turn`).

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest piece, and the shortest rest of a body for which this pays. Pieces of many uploads are hashed together
/// at the end of a turn: they should still be in the processor's cache then.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

thread_local! {
    /// The buffer that no connection is filling: an idle or waiting connection holds none.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// The bytes that are there, at most `left` of them; empty at the end of the stream.
pub(crate) fn poll_piece<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    left: u64,
) -> Poll<io::Result<Bytes>> {
    let limit = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
    let mut buffer = SPARE.take();
    buffer.reserve(limit);
    let ended = loop {
        let room = limit - buffer.len();
        if room == 0 {
            break Poll::Pending;
        }
        let mut limited = (&mut buffer).limit(room);
        match pin!(stream.read_buf(&mut limited)).poll(cx) {
            Poll::Ready(Ok(1..)) => {}
            other => break other,
        }
    };
    let piece = if buffer.len() >= PIECE_BYTES / 2 {
        buffer.split().freeze()
    } else {
        let copy = Bytes::copy_from_slice(&buffer);
        buffer.clear();
        copy
    };
    SPARE.set(buffer);
    if !piece.is_empty() {
        // An end or an error behind it shows again at the next call.
        return Poll::Ready(Ok(piece));
    }
    ended.map_ok(|_| piece)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::*;

    /// Gives one run of bytes per call; nothing in between, and the end after the last.
    struct Runs(Vec<usize>, u8);

    impl AsyncRead for Runs {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Some(run) = self.0.first_mut() else { return Poll::Ready(Ok(())) };
            let length = (*run).min(buffer.remaining());
            *run -= length;
            if length == 0 {
                self.0.remove(0);
                return Poll::Pending;
            }
            for _ in 0..length {
                self.1 = self.1.wrapping_add(1);
                let next = self.1;
                buffer.put_slice(&[next]);
            }
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn pieces_keep_every_byte_in_order_and_stop_at_what_is_left() {
        let total = 5 * PIECE_BYTES / 2 + 7;
        let mut stream = Runs(vec![1, PIECE_BYTES + 3, 100, PIECE_BYTES / 2 + 1, 3 * PIECE_BYTES], 0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut received = Vec::new();
        while received.len() < total {
            match poll_piece(&mut stream, &mut cx, (total - received.len()) as u64) {
                Poll::Ready(Ok(piece)) => {
                    assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
                    received.extend_from_slice(&piece);
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => {}
            }
        }
        assert_eq!(received.len(), total);
        assert!(received.iter().enumerate().all(|(index, byte)| *byte == (index + 1) as u8));
    }

    #[test]
    fn the_end_shows_after_the_last_piece() {
        let mut stream = Runs(vec![10], 0);
        stream.0.push(0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        for _ in 0..6 {
            if let Poll::Ready(Ok(piece)) = poll_piece(&mut stream, &mut cx, 1 << 20) {
                seen.push(piece.len());
            }
        }
        assert_eq!(seen[0], 10);
        assert_eq!(seen.last(), Some(&0));
    }
}
