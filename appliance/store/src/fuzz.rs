//! Targets for fuzzing what lies on the disk: each takes any bytes and panics if an invariant of a format does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them; an ordinary test replays `corpus/` and mutations of it.
//! No fuzzer finds a right checksum, so the targets mend those of bytes that have the form of something, which reaches
//! the code behind them; every format's own tests show that wrong checksums are refused.

use std::path::Path;
use std::sync::Arc;

use crate::body::extent::{self, span_bytes};
use crate::body::{ExtentHeader, ExtentScan, FileKey, Files, Found, PackedScan, SegmentKind, packed};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, OpenMode};
use crate::effect::{self, Effect, Items};
use crate::fault::Fault;
use crate::format::{self, OpenError};
use crate::log::format::{BatchHeader, HEADER_BYTES, checksum_of};
use crate::log::{Checkpoint, segment};
use crate::outbox::{Head, Message};
use crate::placement::{Placement, SLOT_COUNT, slot_of};
use crate::record::{BodyRef, Record};
use crate::tables::{dead_extent, dead_key};
use crate::transact::PreparedContent;
use crate::types::{BLOCK_BYTES, DirectoryId, ShardId};

pub use crate::log::fuzz::{run as log, script as batches};

const DIRECTORY: DirectoryId = DirectoryId(*b"a data directory");
const SHARD: ShardId = ShardId(3);

/// What lies behind keys and in the payload of batches: whatever is understood can be encoded and reads the same again.
pub fn records(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        let mut again = Vec::new();
        Record::encode(record.value, &record.bodies, &mut again);
        // A varint may come with more bytes than it needs; ours never do.
        assert!(again.len() <= data.len() && again.ends_with(record.value));
        assert_eq!(Record::decode(&again).ok().as_ref(), Some(&record));
        for body in &record.bodies {
            assert!(body.length() <= u64::from(u32::MAX) * data.len() as u64);
        }
    }
    if let Ok(content) = PreparedContent::decode(data) {
        let again = content.encode();
        assert!(again.len() <= data.len());
        assert_eq!(PreparedContent::decode(&again).ok().as_ref(), Some(&content));
    }
    let mut items = Items::new(data);
    let mut again = Vec::new();
    let mut effects = Vec::new();
    while let Ok(Some(effect)) = items.next_effect() {
        match effect {
            Effect::Put { key, record, fresh } => effect::encode_put(key, record, fresh, &mut again),
            Effect::Delete { key } => effect::encode_delete(key, &mut again),
            Effect::Counter { key, record } => {
                let record = record.try_into().expect("a counter's record has its length");
                effect::encode_counter(key, record, &mut again);
            }
        }
        effects.push(effect);
    }
    assert!(again.len() <= data.len());
    let mut items = Items::new(&again);
    for effect in effects {
        assert_eq!(items.next_effect().ok(), Some(Some(effect)));
    }
    assert_eq!(items.next_effect().ok(), Some(None));
}

/// The small formats with a fixed place: batch headers, checkpoints, FORMAT, the store's own keys, file names.
pub fn headers(data: &[u8]) {
    batch_header(data);
    format_file(data);
    if let Ok(checkpoint) = Checkpoint::decode(data) {
        assert_eq!(checkpoint.encode(), *data);
    }
    if let Some(id) = dead_extent(data) {
        assert_eq!(dead_key(id), *data);
    }
    if let Ok(name) = std::str::from_utf8(data)
        && let Some(sequence) = segment::parse_file_name(name)
    {
        assert_eq!(segment::file_name(sequence), name);
    }
    let (key, value) = data.split_at(data.len().min(16));
    if let Ok(message) = Head::decode(SHARD, key, value).map(Message::of) {
        let mut again = message.target.0.to_le_bytes().to_vec();
        again.push(message.topic.0);
        again.extend_from_slice(&message.payload);
        assert_eq!(again, value);
        assert_eq!(message.note_key()[2..], *key);
    }
    let shard_count = data.first_chunk().map_or(1, |bytes| u16::from_le_bytes(*bytes) % SLOT_COUNT + 1);
    let slot = slot_of(data);
    assert!(slot < SLOT_COUNT && Placement::new(shard_count).shard_of_slot(slot).0 < shard_count);
}

fn batch_header(data: &[u8]) {
    let Some(found) = data.first_chunk::<HEADER_BYTES>() else { return };
    let mut mended = *found;
    let crc = hash::crc32c(&mended[..HEADER_BYTES - 4]);
    mended[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    assert!(BatchHeader::decode(found).is_err() || *found == mended, "a wrong checksum was believed");
    let Ok(header) = BatchHeader::decode(&mended) else { return };
    let again = header.encode();
    assert_eq!(again[..84], mended[..84]);
    assert_eq!(BatchHeader::decode(&again), Ok(header));
    let behind = header.checkpoint(checksum_of(&again));
    assert!(behind.position.offset >= header.position.offset && header.padded_bytes() > 0);
}

fn format_file(data: &[u8]) {
    let path = Path::new("/data");
    let mut mended = data.to_vec();
    mended.extend_from_slice(format!("crc {:08x}\n", hash::crc32c(data)).as_bytes());
    for bytes in [data, &mended] {
        match format::parse(bytes, path) {
            Ok(format) => {
                let again = format::parse(format.text().as_bytes(), path).expect("our own text");
                assert_eq!(again, format);
                assert!(format.shard_count > 0);
            }
            Err(error) => assert!(
                matches!(error, OpenError::Newer { .. } | OpenError::Fault(Fault::Corrupt(_))),
                "{error:?}"
            ),
        }
    }
}

/// A packed segment: the walk finds every entry that a walk over the bytes in memory finds, and no other.
pub fn packed(data: &[u8]) {
    packed::fuzz(data);
    let key = FileKey { kind: SegmentKind::Packed, shard: SHARD, segment: 1 };
    let files = files_with(key, data);
    if let Ok(mut scan) = PackedScan::open(&files, SHARD, 1) {
        while scan.next().is_some() {}
        assert!(scan.offset() as usize <= data.len());
    }
    let mut bytes = data.to_vec();
    let expected = packed::mend(&mut bytes, DIRECTORY, key);
    let files = files_with(key, &bytes);
    let mut scan = PackedScan::open(&files, SHARD, 1).expect("the file is there");
    let mut at = 0;
    for [key_start, body_start, end] in expected {
        assert_eq!(scan.offset() as usize, at);
        let found = scan.next().expect("the entry is there");
        let body = &bytes[body_start..end];
        match found {
            Ok(entry) => {
                assert_eq!((entry.key, entry.bytes), (&bytes[key_start..body_start], body));
                let (offset, length, crc) = (body_start as u32, body.len() as u32, hash::crc32c(body));
                let place = BodyRef::Packed { shard: SHARD, segment: 1, offset, length, crc };
                assert_eq!(entry.body, place);
            }
            Err(Fault::Corrupt(_)) => assert_eq!(bytes[at + 5] % 2, 1, "a sound body was refused"),
            Err(fault) => panic!("{fault}"),
        }
        at = end;
    }
    while let Some(found) = scan.next() {
        assert!(found.is_err(), "an entry that the bytes do not have");
    }
}

/// An extents segment: what the walk finds lies without overlap or hole, and is what a walk over the blocks finds. Each
/// run of the input is the front of one block; runs that begin evenly are taken for headers and made to belong here.
pub fn extents(data: &[u8]) {
    let mut bytes = Vec::new();
    let mut model = Vec::new();
    for run in data.chunks(EXTENT_RUN_BYTES) {
        let offset = bytes.len() as u32;
        let mut block = block_of(run, offset);
        extent::fuzz(&block);
        bytes.append(&mut block);
    }
    let (mut at, mut gap) = (0, 0);
    while at < bytes.len() {
        let block = &bytes[at..at + BLOCK_BYTES];
        if !extent::has_magic(block) {
            at += BLOCK_BYTES;
            continue;
        }
        if gap < at {
            model.push(Found::Gap { offset: gap as u32, length: (at - gap) as u32 });
        }
        let id = crate::types::ExtentId { shard: SHARD, segment: 1, offset: at as u32 };
        match ExtentHeader::decode_at(block, DIRECTORY, id) {
            Ok(header) => {
                assert!(header.span_bytes >= span_bytes(header.data_bytes));
                at += header.span_bytes as usize;
                model.push(Found::Extent(Box::new(header)));
            }
            Err(why) => {
                model.push(Found::Damaged { offset: at as u32, why });
                at += BLOCK_BYTES;
            }
        }
        gap = at;
    }
    if gap < bytes.len() {
        model.push(Found::Gap { offset: gap as u32, length: (bytes.len() - gap) as u32 });
    }
    let key = FileKey { kind: SegmentKind::Extents, shard: SHARD, segment: 1 };
    let files = files_with(key, &bytes);
    let scan = ExtentScan::open(&files, SHARD, 1).expect("the file is there");
    let found: Vec<_> = scan.map(|found| found.expect("a simulated disk reads")).collect();
    assert_eq!(found, model);
}

fn block_of(run: &[u8], offset: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    let front = run.get(1..).unwrap_or_default();
    block[..front.len()].copy_from_slice(front);
    if run[0].is_multiple_of(2) {
        block[..8].copy_from_slice(b"ZCEXTENT");
        block[14..16].copy_from_slice(&SHARD.0.to_le_bytes());
        block[16..32].copy_from_slice(&DIRECTORY.0);
        block[32..40].copy_from_slice(&1_u64.to_le_bytes());
        block[40..44].copy_from_slice(&offset.to_le_bytes());
    }
    if run[0] % 4 < 2 {
        extent::mend(&mut block);
    }
    block
}

/// A simulated disk with one segment on it.
fn files_with(key: FileKey, bytes: &[u8]) -> Files {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let files = Files::new(Arc::clone(&disk), Path::new("/data"), DIRECTORY, 4);
    for directory in [Path::new("/data"), &files.shard_dir(SHARD), &files.segment_dir(key.kind, SHARD)] {
        disk.create_dir(directory).expect("an empty disk has room");
    }
    let mode = OpenMode { create: true, write: true, direct: false };
    let file = disk.open(&files.path(key), mode).expect("an empty disk has room");
    file.write_blocking(bytes, 0).expect("an empty disk has room");
    files
}

/// Bytes of the input that make one block: a choice, and a header up to its first checksums.
const EXTENT_RUN_BYTES: usize = 73;

#[cfg(test)]
mod tests;
