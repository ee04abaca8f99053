//! The log's fuzz entry: recovery and verification over arbitrary bytes.
//! Invariant: whatever the bytes are, nothing panics and memory stays bounded by the size of the segments.

use std::path::Path;
use std::sync::Arc;

use super::{Checkpoint, LogConfig, recover, verify};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, OpenMode};
use crate::types::{BLOCK_BYTES, DirectoryId, LogPosition, Lsn, ShardId};

/// Bytes of a fuzzed segment at most; more input goes to the next segment.
const SEGMENT_BYTES: usize = 16 * BLOCK_BYTES;
const PATH: &str = "/log";

/// What every fuzzed log is configured as.
#[must_use]
pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES as u32,
        batch_bytes_max: 4 * BLOCK_BYTES as u32,
        ..LogConfig::new(PATH.into(), DirectoryId([7; 16]), ShardId(1))
    }
}

/// Lays `data` out as segments 1, 2, .. and recovers them, from the start and from a checkpoint inside.
/// Recovering what a recovery left must give the same tail. Panics when the log does something it must not.
pub fn run(data: &[u8]) {
    let sim = SimDisk::new(1);
    sim.create_dir(Path::new(PATH)).expect("an empty disk has room");
    for (index, bytes) in data.chunks(SEGMENT_BYTES).enumerate() {
        let mode = OpenMode { create: true, write: true, direct: false };
        let file = sim.open(&config().segment_path(index as u64 + 1), mode).expect("an empty disk has room");
        file.write_blocking(bytes, 0).expect("an empty disk has room");
    }
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let inside = Checkpoint {
        lsn: Lsn(1),
        header_checksum: data.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)),
        position: LogPosition { segment: 1, offset: BLOCK_BYTES as u32 },
    };
    for from in [None, Some(inside)] {
        let mut payload_bytes = 0;
        let mut each = |batch: super::ReplayedBatch<'_>| {
            payload_bytes += batch.payload.len();
            Ok(())
        };
        let first = recover(&disk, &config(), from, &mut each).map(|recovered| recovered.tail);
        assert!(payload_bytes <= data.len(), "more was replayed than there is");
        let second = recover(&disk, &config(), from, &mut |_| Ok(())).map(|recovered| recovered.tail);
        match (first, second) {
            (Ok(first), Ok(second)) => assert_eq!(first, second, "recovery changed what it recovers"),
            (Err(_), Err(_)) => {}
            (first, second) => panic!("recovery is not repeatable: {first:?}, then {second:?}"),
        }
        verify(&disk, &config(), from).expect("verification reports and goes on");
    }
}
