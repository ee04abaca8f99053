//! The log's fuzz entries: recovery and verification over arbitrary bytes, and over chains of batches with damage.
//! Invariant: whatever the bytes are, nothing panics and memory stays bounded by the size of the segments.

use std::path::Path;
use std::sync::Arc;

use super::format::{self, BatchHeader};
use super::{Checkpoint, LogConfig, recover, verify};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, OpenMode};
use crate::types::{BLOCK_BYTES, DirectoryId, LogPosition, Lsn, ShardId, Timestamp};

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
    let disk = disk_with(data);
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

fn disk_with(data: &[u8]) -> Arc<dyn Disk> {
    let sim = SimDisk::new(1);
    sim.create_dir(Path::new(PATH)).expect("an empty disk has room");
    for (index, bytes) in data.chunks(SEGMENT_BYTES).enumerate() {
        let mode = OpenMode { create: true, write: true, direct: false };
        let file = sim.open(&config().segment_path(index as u64 + 1), mode).expect("an empty disk has room");
        file.write_blocking(bytes, 0).expect("an empty disk has room");
    }
    Arc::new(sim)
}

/// Builds a log by a script and recovers it: each run of the input is a batch behind the one before, with the damage that
/// it asks for. A log without damage is replayed whole, and damage never makes a batch that was not written.
pub fn script(data: &[u8]) {
    let config = config();
    let mut disk = vec![0; SEGMENT_BYTES];
    let mut last = Checkpoint::START;
    let mut payloads = Vec::new();
    let mut sound = true;
    for run in data.chunks(RUN_BYTES).take(RUN_COUNT_MAX) {
        let mut step = [0; RUN_BYTES];
        step[..run.len()].copy_from_slice(run);
        let payload = vec![step[1]; usize::from(u16::from_le_bytes([step[2], step[3]])) % PAYLOAD_BYTES_MAX];
        let room = SEGMENT_BYTES - last.position.offset as usize;
        if step[0] & NEXT_SEGMENT != 0 || room < 2 * BLOCK_BYTES + payload.len() {
            last.position = LogPosition { segment: last.position.segment + 1, offset: 0 };
            disk.resize(disk.len() + SEGMENT_BYTES, 0);
        }
        let header = header_behind(&config, last, &payload, step[4]);
        let mut bytes = header.encode();
        if step[0] & PATCH != 0 {
            // Patched and sealed again, so that the change is believed.
            bytes[usize::from(step[5]) % 84] ^= step[6];
            let crc = hash::crc32c(&bytes[..format::HEADER_BYTES - 4]);
            bytes[format::HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
            sound &= step[6] == 0;
        }
        let at = (last.position.segment - 1) as usize * SEGMENT_BYTES + last.position.offset as usize;
        if step[0] & LOST == 0 {
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
            disk[at + bytes.len()..][..payload.len()].copy_from_slice(&payload);
        }
        if step[0] & FLIP != 0 {
            disk[at + usize::from(step[7]) % (format::HEADER_BYTES + payload.len())] ^= step[6];
        }
        sound &= step[0] & (LOST | FLIP) == 0;
        last = header.checkpoint(format::checksum_of(&bytes));
        payloads.push(payload);
    }
    run(&disk);
    let replayed = replay(&disk);
    assert!(replayed.as_ref().is_none_or(|replayed| replayed.len() <= payloads.len()));
    if sound {
        assert_eq!(replayed, Some(payloads), "batches were lost");
    }
}

fn header_behind(config: &LogConfig, last: Checkpoint, payload: &[u8], behind: u8) -> BatchHeader {
    BatchHeader {
        directory: config.directory,
        shard: config.shard,
        lsn: last.lsn.next(),
        durable_lsn: Lsn(last.lsn.0 - u64::from(behind % 2).min(last.lsn.0)),
        epoch: 1,
        time: Timestamp(0),
        position: last.position,
        previous_checksum: last.header_checksum,
        payload_bytes: payload.len() as u32,
        payload_crc: hash::crc32c(payload),
    }
}

/// The payloads that recovery gives; none where it refuses the log.
fn replay(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut payloads = Vec::new();
    let mut each = |batch: super::ReplayedBatch<'_>| {
        payloads.push(batch.payload.to_vec());
        Ok(())
    };
    recover(&disk_with(data), &config(), None, &mut each).is_ok().then_some(payloads)
}

/// Bytes of one step of a script: what, byte of the payload, its length, durable LSN, where and what to patch, where to flip.
const RUN_BYTES: usize = 8;
/// Batches of a script at most.
const RUN_COUNT_MAX: usize = 32;
const PAYLOAD_BYTES_MAX: usize = 2 * BLOCK_BYTES;
const NEXT_SEGMENT: u8 = 1;
const PATCH: u8 = 2;
const LOST: u8 = 4;
const FLIP: u8 = 8;
