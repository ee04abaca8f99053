//! The shard's log: chained batches in prewritten segments. The durability point of every write.
//! Invariant: a batch counts only if it names its predecessor, lies where it says, and its checksums fit; what was
//! acknowledged is found again by `recover`, or its loss is a named error.
//! Leaves to the shard: what a payload means, when a segment is no longer needed, and who is told that a batch is durable.
//!
//! The owner core drives [`LogWriter`]; a companion thread drives [`SegmentSupply::refill`]; any core reads through
//! [`LogReader`]; [`recover`] runs before any of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fault::Fault;
use crate::types::{BLOCK_BYTES, DirectoryId, LogPosition, Lsn, ShardId};

pub mod files;
pub mod format;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(test)]
mod lab;
pub mod scan;
pub mod segment;
pub mod verify;
mod window;
pub mod writer;

pub use files::{LogFiles, LogReader};
pub use scan::{Recovered, Rejected, ReplayedBatch, recover};
pub use segment::{Segment, SegmentSupply};
pub use verify::{VerifyReport, verify};
pub use writer::{BatchBuilder, LogFull, LogWriter, WrittenBatch};

/// Size of a segment file in production.
pub const SEGMENT_BYTES: u32 = 32 * 1024 * 1024;
/// Bytes of disk that one batch may take, header and padding included.
pub const BATCH_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// The part of a segment that a large batch may take, in eighths: 24 MiB in production.
const LARGE_BATCH_EIGHTHS: u32 = 6;
/// Segment files of one shard at most: 2 GiB of log. Beyond it the writer meets `LogFull` until a segment is retired.
pub const SEGMENT_COUNT_MAX: usize = 64;
/// Segments that lie ready ahead of the writer.
pub const SPARE_COUNT: usize = 2;

/// Whose log this is, where it lies and how large its parts are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `data/shard-NNN/log`.
    pub path: Arc<Path>,
    /// The data directory's identity.
    pub directory: DirectoryId,
    /// The shard.
    pub shard: ShardId,
    /// Bytes of a new segment; a multiple of 4,096.
    pub segment_bytes: u32,
    /// Bytes of a batch on disk, unless one operation needs more; a multiple of 4,096, at most `segment_bytes`. A segment is
    /// left when less than this is free in it.
    pub batch_bytes_max: u32,
    /// Segment files at most, spares included.
    pub segment_count_max: usize,
    /// Segments kept ready.
    pub spare_count: usize,
}

impl LogConfig {
    /// The production sizes.
    #[must_use]
    pub fn new(path: PathBuf, directory: DirectoryId, shard: ShardId) -> LogConfig {
        LogConfig {
            path: path.into(),
            directory,
            shard,
            segment_bytes: SEGMENT_BYTES,
            batch_bytes_max: BATCH_BYTES_MAX,
            segment_count_max: SEGMENT_COUNT_MAX,
            spare_count: SPARE_COUNT,
        }
    }

    /// Stops the process on sizes that the log cannot work with: they are constants of ours, never a user's.
    pub(crate) fn check(&self) {
        let block = BLOCK_BYTES as u32;
        assert!(self.segment_bytes.is_multiple_of(block) && self.batch_bytes_max.is_multiple_of(block));
        assert!(self.batch_bytes_max >= block && self.batch_bytes_max <= self.segment_bytes);
        assert!(self.batch_bytes_max as usize <= format::PAYLOAD_BYTES_MAX);
        assert!(self.spare_count >= 1 && self.segment_count_max > self.spare_count);
    }

    /// Payload bytes of the largest batch there is: one that was opened for an operation that fits into no other.
    #[must_use]
    pub fn large_payload_bytes_max(&self) -> usize {
        let block = BLOCK_BYTES as u32;
        let large = self.segment_bytes / 8 * LARGE_BATCH_EIGHTHS / block * block;
        large.max(self.batch_bytes_max) as usize - format::HEADER_BYTES
    }

    /// The file of a segment.
    #[must_use]
    pub fn segment_path(&self, sequence: u64) -> PathBuf {
        self.path.join(segment::file_name(sequence))
    }
}

/// A batch, as its successor and the index name it. The index stores it in the transaction that applies the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The batch.
    pub lsn: Lsn,
    /// Its header checksum, which the next batch names.
    pub header_checksum: u32,
    /// Right behind it. The next batch starts there, or at the start of the next segment.
    pub position: LogPosition,
}

impl Checkpoint {
    /// Before the first batch of a new log.
    pub const START: Checkpoint =
        Checkpoint { lsn: Lsn::ZERO, header_checksum: 0, position: LogPosition { segment: 1, offset: 0 } };
    /// Bytes of the encoding.
    pub const ENCODED_BYTES: usize = 24;

    /// lsn u64 | segment u64 | offset u32 | header checksum u32, little-endian.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[0..8].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.header_checksum.to_le_bytes());
        bytes
    }

    /// Errors: `Fault::Corrupt` when `bytes` is not an encoding.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, Fault> {
        let mut reader = crate::record::Reader { rest: bytes };
        let lsn = Lsn(reader.u64()?);
        let position = LogPosition { segment: reader.u64()?, offset: reader.u32()? };
        let header_checksum = reader.u32()?;
        if !reader.rest.is_empty() || !position.offset.is_multiple_of(BLOCK_BYTES as u32) {
            return Err(Fault::corrupt("the log checkpoint in the index is not an encoding of one".into()));
        }
        Ok(Checkpoint { lsn, header_checksum, position })
    }
}

/// The end of the log as recovery found it: the last accepted batch. The writer goes on from here.
pub type Tail = Checkpoint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_round_trips() {
        let checkpoint = Checkpoint {
            lsn: Lsn(77),
            header_checksum: 0xdead_beef,
            position: LogPosition { segment: 9, offset: 40_960 },
        };
        assert_eq!(Checkpoint::decode(&checkpoint.encode()).expect("decodes"), checkpoint);
        assert!(Checkpoint::decode(&checkpoint.encode()[..23]).is_err());
    }
}
