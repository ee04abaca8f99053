//! Bodies of requests: bytes that can be sent again, or a stream that cannot once its first byte is taken.
//! A stream goes out in the aws-chunked framing, whose trailer holds the CRC64NVME computed on the way; see `chunked.rs`.
//! Invariant: a body is as long as it said, or the request fails and its stream is reset.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use cloudkit_core::common::ByteStream;
use futures_core::Stream;

use crate::chunked::Chunked;
use crate::error::{Sent, WireError, WireKind};

/// What a caller gives to be sent.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes that are all there.
    Bytes(Bytes),
    /// Bytes that come one after the other.
    Stream(StreamBody),
}

impl Body {
    /// Bytes in it, where they are known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stream(stream) => stream.length(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        if bytes.is_empty() { Body::Empty } else { Body::Bytes(bytes) }
    }
}

/// A stream, and whether it was begun. The stream itself sees to it that it is as long as it says.
#[derive(Debug)]
pub struct StreamBody {
    stream: ByteStream,
    is_started: bool,
    witness: Option<ChecksumWitness>,
}

/// Learns the checksum of a stream once all of it was sent; of the last time, if it was sent several times.
#[derive(Clone, Debug, Default)]
pub struct ChecksumWitness(Arc<Mutex<Option<String>>>);

impl ChecksumWitness {
    /// CRC64NVME in base64; None until the stream ended.
    pub fn value(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, value: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.to_string());
    }
}

impl StreamBody {
    /// Of a stream of which nothing was read.
    pub fn new(stream: ByteStream) -> StreamBody {
        StreamBody { stream, is_started: false, witness: None }
    }

    /// The same, and somebody who learns its checksum.
    pub fn with_witness(mut self, witness: ChecksumWitness) -> StreamBody {
        self.witness = Some(witness);
        self
    }

    /// Tells the witness.
    pub(crate) fn note_checksum(&self, value: &str) {
        if let Some(witness) = &self.witness {
            witness.note(value);
        }
    }

    /// What stays behind while this one is sent: the same stream from its start, or one that cannot be sent.
    pub(crate) fn spare(&self) -> StreamBody {
        let witness = self.witness.clone();
        match self.stream.replay() {
            Some(stream) => StreamBody { stream, is_started: false, witness },
            None => StreamBody { stream: ByteStream::empty(), is_started: true, witness },
        }
    }

    /// Whether it was ever asked for a byte; then it cannot be sent again.
    pub fn is_started(&self) -> bool {
        self.is_started
    }

    /// Bytes in it, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.stream.length()
    }

    /// The next bytes, never none of them. Errors: the stream's, or that it is longer or shorter than it said.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        self.is_started = true;
        let next = std::task::ready!(Pin::new(&mut self.stream).poll_next(cx));
        Poll::Ready(next.map(|piece| {
            piece.map_err(|error| WireError::new(WireKind::Body, Sent::Maybe, error.to_string()))
        }))
    }
}

/// What goes onto the wire: a body in its framing.
#[derive(Debug, Default)]
pub enum Outgoing {
    /// Nothing.
    #[default]
    Empty,
    /// Plain bytes.
    Bytes(Bytes),
    /// A plain stream.
    Plain(StreamBody),
    /// A stream in aws-chunked.
    Chunked(Box<Chunked>),
}

/// Pieces that a large body of bytes is cut into, so that its progress can be seen.
const PIECE_BYTES: usize = 256 * 1024;

impl Outgoing {
    /// Whether nothing follows the head.
    pub fn is_empty(&self) -> bool {
        matches!(self, Outgoing::Empty)
    }

    /// Bytes on the wire, where they are known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Outgoing::Empty => Some(0),
            Outgoing::Bytes(bytes) => Some(bytes.len() as u64),
            Outgoing::Plain(stream) => stream.length(),
            Outgoing::Chunked(chunked) => chunked.encoded_length(),
        }
    }

    /// Whether it can be sent from its start: bytes always, a stream until it is asked for its first byte.
    pub fn is_fresh(&self) -> bool {
        match self {
            Outgoing::Empty | Outgoing::Bytes(_) => true,
            Outgoing::Plain(stream) => !stream.is_started(),
            Outgoing::Chunked(chunked) => !chunked.is_started(),
        }
    }

    /// The next piece and whether it is known to be the last one; None at the end.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(Bytes, bool), WireError>>> {
        match self {
            Outgoing::Empty => Poll::Ready(None),
            Outgoing::Bytes(bytes) => {
                if bytes.is_empty() {
                    return Poll::Ready(None);
                }
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                Poll::Ready(Some(Ok((piece, bytes.is_empty()))))
            }
            Outgoing::Plain(stream) => {
                stream.poll_next(cx).map(|next| next.map(|piece| piece.map(|piece| (piece, false))))
            }
            Outgoing::Chunked(chunked) => {
                chunked.poll_piece(cx).map(|next| next.map(|piece| piece.map(|piece| (piece, false))))
            }
        }
    }
}

/// A stream over pieces that are there, which can be read once.
#[cfg(test)]
pub fn stream_of(pieces: Vec<std::io::Result<Bytes>>, length: Option<u64>) -> StreamBody {
    struct Pieces(std::vec::IntoIter<std::io::Result<Bytes>>);
    impl Stream for Pieces {
        type Item = std::io::Result<Bytes>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next())
        }
    }
    StreamBody::new(ByteStream::from_io_stream(Pieces(pieces.into_iter()), length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn pieces(texts: &[&'static str], length: Option<u64>) -> Outgoing {
        let pieces = texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        Outgoing::Plain(stream_of(pieces, length))
    }

    async fn drain(body: &mut Outgoing) -> Result<Vec<u8>, WireError> {
        let mut all = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            all.extend_from_slice(&piece?.0);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_stream_is_as_long_as_it_says_or_fails() {
        let body = |length| pieces(&["ab", "", "cde"], length);
        assert_eq!(drain(&mut body(Some(5))).await.unwrap(), b"abcde");
        assert_eq!(drain(&mut body(None)).await.unwrap(), b"abcde");
        assert_eq!(drain(&mut body(Some(4))).await.expect_err("too long").kind(), WireKind::Body);
        assert_eq!(drain(&mut body(Some(6))).await.expect_err("too short").kind(), WireKind::Body);
    }

    #[tokio::test]
    async fn a_stream_can_be_sent_again_until_its_first_byte() {
        let mut body = pieces(&["ab"], None);
        assert!(body.is_fresh());
        drain(&mut body).await.unwrap();
        assert!(!body.is_fresh());
    }

    #[tokio::test]
    async fn large_bytes_come_in_pieces() {
        let mut body = Outgoing::Bytes(Bytes::from(vec![7; PIECE_BYTES + 1]));
        let first =
            poll_fn(|cx| body.poll_piece(cx)).await.expect("there is one").expect("bytes do not fail");
        assert_eq!((first.0.len(), first.1), (PIECE_BYTES, false));
        let last = poll_fn(|cx| body.poll_piece(cx)).await.expect("there is one").expect("bytes do not fail");
        assert_eq!((last.0.len(), last.1), (1, true));
    }
}
