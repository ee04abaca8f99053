//! Large bodies of known length, received straight into the pieces that the handler gets.
//!
//! Through the stream's own buffer each byte is copied twice more and comes in small pieces. Here the stream receives
//! into the piece itself, and as much as is there leaves in one. Pieces lie in page-aligned buffers, the one that was
//! given back last first: its memory is in the processor's cache, and a store can write a whole one to disk as it is.
//!
//! Invariant: a piece takes at most twice the memory of its data, so what a handler keeps of a body is what it cost.
//! Left to others: the framing that says how much may be read (`turn`).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use ring::Buffer;
use tokio::io::{AsyncRead, ReadBuf};

/// The longest piece, and the shortest rest of a body for which this pays. Pieces of many uploads are hashed together
/// at the end of a turn: they should still be in the processor's cache then.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

thread_local! {
    /// The buffer that no connection is filling: an idle or waiting connection holds none.
    static SPARE: Cell<Buffer> = const { Cell::new(Buffer::new()) };
}

/// The bytes that are there, at most `limit` of them, which is at most `PIECE_BYTES`; empty at the end of the stream.
pub(crate) fn poll_piece<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    limit: usize,
) -> Poll<io::Result<Bytes>> {
    debug_assert!((1..=PIECE_BYTES).contains(&limit));
    let mut buffer = SPARE.take();
    buffer.expose(PIECE_BYTES);
    let mut room = ReadBuf::new(&mut buffer[..limit]);
    let ended = loop {
        let before = room.filled().len();
        match Pin::new(&mut *stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) if room.remaining() > 0 && room.filled().len() > before => {}
            other => break other,
        }
    };
    let length = room.filled().len();
    let piece = if length >= PIECE_BYTES / 2 {
        buffer.truncate(length);
        Bytes::from_owner(std::mem::take(&mut buffer))
    } else {
        Bytes::copy_from_slice(&buffer[..length])
    };
    SPARE.set(buffer);
    if !piece.is_empty() {
        // An end or an error behind it shows again at the next call.
        return Poll::Ready(Ok(piece));
    }
    ended.map_ok(|()| piece)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

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
            match poll_piece(&mut stream, &mut cx, PIECE_BYTES.min(total - received.len())) {
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
            if let Poll::Ready(Ok(piece)) = poll_piece(&mut stream, &mut cx, PIECE_BYTES) {
                seen.push(piece.len());
            }
        }
        assert_eq!(seen[0], 10);
        assert_eq!(seen.last(), Some(&0));
    }
}
