//! How a body becomes parts, and how it is cut.
//! Invariant: at most 10,000 parts, each within the bounds of S3, and no more of the body in memory than the part that is filling.

use bytes::{Bytes, BytesMut};
use cloudkit_core::common::{ByteStream, CloudResult};

/// How large each part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartPlan {
    first_bytes: u64,
    /// All parts are alike, as the whole is known; otherwise they grow.
    is_even: bool,
}

impl PartPlan {
    /// Of a body's length, where it is known, and the caller's wish.
    pub fn new(wanted_bytes: Option<u64>, length: Option<u64>) -> PartPlan {
        let first_bytes = wanted_bytes.unwrap_or(PART_BYTES).clamp(PART_BYTES_MIN, PART_BYTES_MAX);
        match length {
            Some(length) => {
                let needed = length.div_ceil(PART_COUNT_MAX).next_multiple_of(MIB);
                PartPlan { first_bytes: first_bytes.max(needed), is_even: true }
            }
            None => PartPlan { first_bytes, is_even: false },
        }
    }

    /// Bytes of part `number`, counted from 1. Those of a body of unknown length double with every 1,000 parts: 10,000 of them
    /// hold more than any object may have.
    pub fn bytes_of(&self, number: u64) -> usize {
        let steps = if self.is_even { 0 } else { (number.max(1) - 1) / PARTS_PER_STEP };
        let grown = (0..steps).fold(self.first_bytes, |bytes, _| bytes.saturating_mul(2));
        usize::try_from(grown.min(PART_BYTES_MAX)).unwrap_or(usize::MAX)
    }
}

/// Cuts a body into parts.
#[derive(Debug)]
pub(super) struct Cutter {
    body: ByteStream,
    /// What came and belongs to the next part.
    rest: Bytes,
}

impl Cutter {
    /// From the body's next byte on.
    pub fn new(body: ByteStream) -> Cutter {
        Cutter { body, rest: Bytes::new() }
    }

    /// The next `bytes`, fewer only at the end; none of them after it. Errors: the body's.
    pub async fn part(&mut self, bytes: usize) -> CloudResult<Bytes> {
        let mut filling = BytesMut::new();
        while self.is_filled().await? {
            let piece = self.rest.split_to(self.rest.len().min(bytes - filling.len()));
            // A piece that is a part needs no copy.
            if filling.is_empty() && piece.len() == bytes {
                return Ok(piece);
            }
            filling.extend_from_slice(&piece);
            if filling.len() == bytes {
                break;
            }
        }
        Ok(filling.freeze())
    }

    /// Whether something follows.
    pub async fn is_filled(&mut self) -> CloudResult<bool> {
        while self.rest.is_empty() {
            match self.body.next().await.transpose()? {
                Some(piece) => self.rest = piece,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

const MIB: u64 = 1024 * 1024;
/// A part unless the caller wishes otherwise.
const PART_BYTES: u64 = 16 * MIB;
/// Source: "Multipart upload limits", S3 user guide.
const PART_BYTES_MIN: u64 = 5 * MIB;
const PART_BYTES_MAX: u64 = 5 * 1024 * MIB;
/// Parts of one object.
pub(super) const PART_COUNT_MAX: u64 = 10_000;
const PARTS_PER_STEP: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_object() {
        let terabytes = 5 * 1024 * 1024 * MIB;
        for length in [0, 1, PART_BYTES, PART_BYTES + 1, terabytes] {
            let plan = PartPlan::new(None, Some(length));
            assert!(plan.bytes_of(1) as u64 * PART_COUNT_MAX >= length);
            assert_eq!(plan.bytes_of(1), plan.bytes_of(PART_COUNT_MAX));
        }
        let plan = PartPlan::new(None, None);
        let all: u64 = (1..=PART_COUNT_MAX).map(|number| plan.bytes_of(number) as u64).sum();
        assert!(all >= terabytes);
        assert_eq!(PartPlan::new(Some(1), None).bytes_of(1) as u64, PART_BYTES_MIN);
    }

    #[tokio::test]
    async fn a_body_is_cut_without_a_byte_missing() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for pieces in [1, 7, 100, 9_999, 10_000] {
            let stream = ByteStream::from_reader(std::io::Cursor::new(bytes.clone()), None);
            let whole = ByteStream::from(bytes.clone());
            for body in [stream, whole] {
                let mut cutter = Cutter::new(body);
                let mut seen = Vec::new();
                loop {
                    let part = cutter.part(pieces).await.expect("it is read");
                    if part.is_empty() {
                        break;
                    }
                    assert!(part.len() == pieces || !cutter.is_filled().await.expect("it is read"));
                    seen.extend_from_slice(&part);
                }
                assert!(seen == bytes, "parts of {pieces}");
            }
        }
    }
}
