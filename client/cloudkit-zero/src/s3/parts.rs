//! How a body becomes parts, and how it is cut.
//! Invariant: at most 10,000 parts, each within the bounds of S3, and no more of the body in memory than the part that is filling.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use cloudkit_core::common::{ByteStream, CloudError, CloudResult};
use futures_core::Stream;

/// How large each part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartPlan {
    first_bytes: u64,
    /// All parts are alike, as the whole is known; otherwise they grow.
    is_even: bool,
}

impl PartPlan {
    /// Of a body's length, where it is known, and the caller's wish.
    pub fn new(wanted_bytes: Option<u64>, length: Option<u64>) -> PartPlan {
        let first_bytes = wanted_bytes.unwrap_or(PART_BYTES).clamp(PART_BYTES_MIN, PART_BYTES_MAX);
        match length {
            // Rounded up to a MiB, so that the last part is not the only odd one.
            Some(length) => {
                let needed = length.div_ceil(PART_COUNT_MAX).next_multiple_of(MIB);
                PartPlan { first_bytes: first_bytes.max(needed), is_even: true }
            }
            None => PartPlan { first_bytes, is_even: false },
        }
    }

    /// Bytes of the first part; a body of no more is sent at once.
    pub fn first_bytes(&self) -> u64 {
        self.first_bytes
    }

    /// Bytes of part `number`, counted from 1. Of a body of unknown length they grow by three quarters with every 1,000 parts:
    /// from 16 MiB, 10,000 of them hold 5.4 TiB, more than any object may have.
    pub fn bytes_of(&self, number: u64) -> u64 {
        if self.is_even {
            return self.first_bytes;
        }
        let steps = (number.max(1) - 1) / PARTS_PER_STEP;
        let grown = (0..steps).fold(self.first_bytes, |bytes, _| bytes.saturating_mul(7) / 4);
        grown.min(PART_BYTES_MAX)
    }
}

/// What is put: bytes that the caller holds, or a stream.
#[derive(Debug)]
pub enum Source<'a> {
    /// All there.
    Slice(&'a [u8]),
    /// On its way.
    Stream(ByteStream),
}

impl Source<'_> {
    /// Bytes in it, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Source::Slice(bytes) => Some(bytes.len() as u64),
            Source::Stream(stream) => stream.length().map(|length| length - stream.given().min(length)),
        }
    }
}

/// Cuts a source into parts.
#[derive(Debug)]
pub struct Cutter<'a> {
    source: Source<'a>,
    /// What came and belongs to the next part.
    rest: Bytes,
    filling: BytesMut,
    is_ended: bool,
}

impl<'a> Cutter<'a> {
    /// From the source's next byte on.
    pub fn new(source: Source<'a>) -> Cutter<'a> {
        Cutter { source, rest: Bytes::new(), filling: BytesMut::new(), is_ended: false }
    }

    /// The next `bytes`, fewer only at the end; none of them after it. Errors: the source's. Asked again after `Pending`, it goes on.
    pub fn poll_part(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<CloudResult<Bytes>> {
        if let Source::Slice(slice) = &mut self.source {
            let (part, after) = slice.split_at(slice.len().min(bytes));
            *slice = after;
            return Poll::Ready(Ok(Bytes::copy_from_slice(part)));
        }
        loop {
            let missing = bytes - self.filling.len();
            if self.rest.len() >= missing || (self.is_ended && self.filling.is_empty()) {
                let piece = self.rest.split_to(self.rest.len().min(missing));
                // A piece that is a part needs no copy.
                if self.filling.is_empty() {
                    return Poll::Ready(Ok(piece));
                }
                self.filling.extend_from_slice(&piece);
                return Poll::Ready(Ok(std::mem::take(&mut self.filling).freeze()));
            }
            if self.is_ended {
                return Poll::Ready(Ok(std::mem::take(&mut self.filling).freeze()));
            }
            if !self.rest.is_empty() {
                if self.filling.capacity() == 0 {
                    self.filling.reserve(self.part_bytes_ahead(bytes));
                }
                self.filling.extend_from_slice(&std::mem::take(&mut self.rest));
            }
            match ready!(self.poll_piece(cx)) {
                Some(piece) => self.rest = piece?,
                None => self.is_ended = true,
            }
        }
    }

    /// As `poll_part`.
    pub async fn part(&mut self, bytes: usize) -> CloudResult<Bytes> {
        std::future::poll_fn(|cx| self.poll_part(cx, bytes)).await
    }

    /// Whether nothing follows; asks the source for its next piece if need be. Errors: the source's.
    pub async fn is_at_end(&mut self) -> CloudResult<bool> {
        if let Source::Slice(slice) = &self.source {
            return Ok(slice.is_empty());
        }
        if self.rest.is_empty() && !self.is_ended {
            match std::future::poll_fn(|cx| self.poll_piece(cx)).await {
                Some(piece) => self.rest = piece?,
                None => self.is_ended = true,
            }
        }
        Ok(self.is_ended && self.rest.is_empty())
    }

    /// No more than what can still come, or where nobody knows, than what most parts have: a small body takes no large buffer.
    fn part_bytes_ahead(&self, bytes: usize) -> usize {
        let ahead = self.source.length().map_or(4 * PART_BYTES, |length| length + self.rest.len() as u64);
        usize::try_from(ahead).map_or(bytes, |ahead| ahead.min(bytes))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<CloudResult<Bytes>>> {
        match &mut self.source {
            Source::Stream(stream) => Pin::new(stream).poll_next(cx),
            Source::Slice(_) => Poll::Ready(None),
        }
    }
}

/// The refusal of a body that no object can hold.
pub fn too_long() -> CloudError {
    CloudError::Validation("the body is longer than any object may be".into())
}

const MIB: u64 = 1024 * 1024;
/// Bytes of a part, and of the largest body that is sent at once.
pub const PART_BYTES: u64 = 16 * MIB;
/// S3 takes no smaller part but the last.
pub const PART_BYTES_MIN: u64 = 5 * MIB;
/// S3 takes no larger part.
pub const PART_BYTES_MAX: u64 = 5 * 1024 * MIB;
/// S3 takes no more parts.
pub const PART_COUNT_MAX: u64 = 10_000;
const PARTS_PER_STEP: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * MIB;

    #[test]
    fn ten_thousand_parts_hold_every_object() {
        for length in [0, 1, PART_BYTES, 5 * 1024 * MIB, 160_000 * MIB + 1, OBJECT_BYTES_MAX] {
            let plan = PartPlan::new(None, Some(length));
            let bytes = plan.bytes_of(1);
            assert!(length.div_ceil(bytes) <= PART_COUNT_MAX, "{length}");
            assert_eq!((bytes, bytes % MIB), (plan.bytes_of(9_999), 0));
        }
        let plan = PartPlan::new(None, None);
        let all: u64 = (1..=PART_COUNT_MAX).map(|number| plan.bytes_of(number)).sum();
        assert!(all >= OBJECT_BYTES_MAX, "{all}");
        assert!(plan.bytes_of(PART_COUNT_MAX) <= PART_BYTES_MAX);
        // What most streams need stays small.
        assert_eq!(
            (plan.bytes_of(1), plan.bytes_of(1_000), plan.bytes_of(1_001)),
            (PART_BYTES, PART_BYTES, 28 * MIB)
        );
    }

    #[test]
    fn a_wish_is_kept_within_the_bounds() {
        assert_eq!(PartPlan::new(Some(1), None).first_bytes(), PART_BYTES_MIN);
        assert_eq!(PartPlan::new(Some(u64::MAX), None).first_bytes(), PART_BYTES_MAX);
        assert_eq!(PartPlan::new(Some(6 * MIB), Some(100 * MIB)).first_bytes(), 6 * MIB);
        assert_eq!(PartPlan::new(Some(6 * MIB), Some(100_000 * MIB)).first_bytes(), 10 * MIB);
        assert_eq!(PartPlan::new(Some(PART_BYTES_MAX), None).bytes_of(5_000), PART_BYTES_MAX);
    }

    /// A stream of pieces of these lengths, whose bytes count on.
    fn stream(lengths: &[usize]) -> (Vec<u8>, ByteStream) {
        let all: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|index| index as u8).collect();
        let mut rest = Bytes::from(all.clone());
        let pieces: Vec<_> = lengths.iter().map(|length| Ok(rest.split_to(*length))).collect();
        struct Pieces(std::vec::IntoIter<CloudResult<Bytes>>);
        impl Stream for Pieces {
            type Item = CloudResult<Bytes>;
            fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                Poll::Ready(self.0.next())
            }
        }
        (all, ByteStream::from_stream(Pieces(pieces.into_iter()), None))
    }

    #[tokio::test]
    async fn parts_are_full_but_the_last_and_hold_the_body_in_order() {
        for lengths in
            [&[][..], &[1], &[10], &[11], &[30], &[3, 3, 3, 3], &[25, 1, 1, 40, 2], &[10, 10], &[9, 2, 9]]
        {
            for slices in [false, true] {
                let (all, stream) = stream(lengths);
                let source = if slices { Source::Slice(&all) } else { Source::Stream(stream) };
                let mut cutter = Cutter::new(source);
                let mut found = Vec::new();
                loop {
                    let part = cutter.part(10).await.expect("the source does not fail");
                    let is_at_end = cutter.is_at_end().await.expect("the source does not fail");
                    assert!(part.len() == 10 || is_at_end, "{lengths:?}");
                    found.extend_from_slice(&part);
                    if is_at_end {
                        break;
                    }
                    assert!(found.len() < all.len(), "{lengths:?}");
                }
                assert_eq!(found, all, "{lengths:?}");
                assert!(cutter.part(10).await.expect("it ended").is_empty());
            }
        }
    }

    #[tokio::test]
    async fn an_error_of_the_source_is_told_and_not_taken_for_the_end() {
        let broken = ByteStream::from_stream(
            ItemsOnce(Some(Err(CloudError::Io(std::io::Error::other("disk"))))),
            None,
        );
        let mut cutter = Cutter::new(Source::Stream(broken));
        assert!(matches!(cutter.part(10).await, Err(CloudError::Io(_))));
    }

    struct ItemsOnce(Option<CloudResult<Bytes>>);

    impl Stream for ItemsOnce {
        type Item = CloudResult<Bytes>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take())
        }
    }
}
