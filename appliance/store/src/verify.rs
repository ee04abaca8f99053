//! `zerocloud verify`: an offline walk over a whole data directory. Every checksum of log, index values, packed segments and
//! extents; every pointer from a record to its bodies; what no record names; and the books of packed segments.
//! Invariant: it runs only while it holds the data directory's lock. It first reads the logs without writing; only if they
//! are sound it recovers as a start would, so that records that are not folded yet are walked too.
//! Leaves to the caller: printing, and the exit code.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use crate::body::{ExtentHeader, ExtentScan, FileKey, Files, Found, PackedScan, SegmentKind};
use crate::config::StoreConfig;
use crate::fault::Fault;
use crate::fold::{applied, packed_usage};
use crate::format::{Format, OpenError};
use crate::index::Index;
use crate::log::{self, LogConfig, LogReader};
use crate::open::Opened;
use crate::record::BodyRef;
use crate::recovery::index_dir;
use crate::shared::ShardShared;
use crate::tables::{DEAD, META, PACKED, dead_extent};
use crate::types::{BLOCK_BYTES, CHUNK_BYTES, Extent, ExtentId, ShardId, TableId};
use crate::view::{Direction, View};

/// Failures listed at most; more are only counted.
const FAILURES_LISTED_MAX: usize = 1_000;
/// Address space for reading an index offline.
const MAP_BYTES: usize = 1 << 40;

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Shards walked.
    pub shards: u64,
    /// Log batches whose checksums fit.
    pub batches: u64,
    /// Records decoded.
    pub records: u64,
    /// Bodies read in full and compared with their checksums.
    pub bodies: u64,
    /// Their bytes.
    pub body_bytes: u64,
    /// Extents that no record names; the running appliance gives them back.
    pub orphan_extents: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Extents that wait to be given back.
    pub dead_extents: u64,
    /// What is wrong, with file and offset or key; the first ones.
    pub failures: Vec<String>,
    /// All that is wrong.
    pub failure_count: u64,
}

impl Verified {
    fn fail(&mut self, what: String) {
        self.failure_count += 1;
        if self.failures.len() < FAILURES_LISTED_MAX {
            self.failures.push(what);
        }
    }
}

/// Walks a data directory. `progress` is called now and then with what is being done.
/// Errors: what keeps the walk from beginning; everything after that is in the report.
pub fn verify(
    config: &StoreConfig,
    random: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Verified, OpenError> {
    let mut report = Verified::default();
    {
        let _lock = crate::format::DataLock::take(&config.data)?;
        let Some(format) = Format::read(&config.disk, &config.data)? else {
            return Err(OpenError::Foreign(config.data.clone()));
        };
        for number in 0..format.shard_count {
            progress(&format!("log of {}", ShardId(number)));
            verify_log(config, format, ShardId(number), &mut report);
        }
        report.shards = u64::from(format.shard_count);
    }
    if report.failure_count > 0 {
        // Recovery would write to a log that needs a person first.
        return Ok(report);
    }
    let opened = Opened::open(config.clone(), true, random)?;
    let shared = opened.shared();
    let mut named = HashSet::new();
    for shard in &shared.shards {
        progress(&format!("records of {}", shard.id));
        if let Err(fault) = walk_records(shard, &shared.files, &mut named, &mut report) {
            report.fail(format!("{}: {fault}", shard.id));
        }
    }
    for shard in &shared.shards {
        progress(&format!("segments of {}", shard.id));
        if let Err(fault) = walk_segments(shard, &shared.files, &named, &mut report) {
            report.fail(format!("{}: {fault}", shard.id));
        }
    }
    opened.close();
    Ok(report)
}

fn verify_log(config: &StoreConfig, format: Format, id: ShardId, report: &mut Verified) {
    let log_config = LogConfig {
        segment_bytes: config.log_segment_bytes,
        batch_bytes_max: config.batch_bytes_max,
        ..LogConfig::new(config.data.join(id.to_string()).join("log"), format.directory, id)
    };
    let walked = Index::open(&index_dir(config, id), MAP_BYTES, 16, &mut |_, _| ())
        .and_then(|index| {
            for damaged in index.damaged() {
                report.fail(format!("{id}: {damaged}"));
            }
            applied(&index)
        })
        .and_then(|from| log::verify(&config.disk, &log_config, from));
    match walked {
        Ok(log) => {
            report.batches += log.batch_count;
            for failure in log.failures {
                report.fail(failure);
            }
        }
        Err(fault) => report.fail(format!("{id}: {fault}")),
    }
}

/// Every record of a shard and every body that it names.
fn walk_records(
    shard: &ShardShared,
    files: &Files,
    named: &mut HashSet<ExtentId>,
    report: &mut Verified,
) -> Result<(), Fault> {
    let view = View::take(shard, u64::MAX)?;
    let reader = shard.log.reader();
    let mut live: BTreeMap<u64, u64> = BTreeMap::new();
    for table in (0..=u8::MAX).map(TableId).filter(|table| *table != META && *table != PACKED) {
        let mut scan = view.scan(table, Bound::Unbounded, Direction::Forward);
        let mut damaged = 0;
        loop {
            let (key, record) = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(fault) => {
                    // The walk stands behind the record that could not be decoded.
                    report.fail(format!("{}: table {}: {fault}", shard.id, table.0));
                    damaged += 1;
                    // An error of the index itself comes again and again.
                    if damaged > FAILURES_LISTED_MAX {
                        break;
                    }
                    continue;
                }
            };
            report.records += 1;
            if table == DEAD {
                report.dead_extents += 1;
                named.extend(dead_extent(key));
            }
            for body in &record.bodies {
                note_body(shard.id, body, named, &mut live);
                match check_body(shard.id, body, files, &reader) {
                    Ok(bytes) => {
                        report.bodies += 1;
                        report.body_bytes += bytes;
                    }
                    Err(fault) => {
                        let key = String::from_utf8_lossy(key).into_owned();
                        report.fail(format!("{}: table {} key {key:?}: {fault}", shard.id, table.0));
                    }
                }
            }
        }
    }
    check_books(shard, &live, report)
}

fn note_body(shard: ShardId, body: &BodyRef, named: &mut HashSet<ExtentId>, live: &mut BTreeMap<u64, u64>) {
    match body {
        BodyRef::Extents(extents) => named.extend(extents.iter().map(|extent| extent.id)),
        BodyRef::Packed { shard: place, segment, length, .. } if *place == shard => {
            *live.entry(*segment).or_default() += u64::from(*length);
        }
        BodyRef::Packed { .. } | BodyRef::Inline(_) | BodyRef::Log { .. } => {}
    }
}

/// A segment may be removed when its books say that nothing lives in it, so they may never say too little.
fn check_books(shard: &ShardShared, live: &BTreeMap<u64, u64>, report: &mut Verified) -> Result<(), Fault> {
    let books = packed_usage(shard.index())?;
    for (segment, bytes) in live {
        let booked = books.get(segment).map_or(0, |books| books.live_bytes);
        // Records that are not folded yet can only make the books say more than what is found.
        if booked < *bytes {
            report.fail(format!(
                "{}: packed segment {segment} holds {bytes} live bytes, its books say {booked}",
                shard.id
            ));
        }
    }
    Ok(())
}

/// Reads a body and compares it with its checksums. Gives its length.
fn check_body(shard: ShardId, body: &BodyRef, files: &Files, log: &LogReader) -> Result<u64, Fault> {
    match body {
        BodyRef::Inline(_) => {}
        BodyRef::Log { position, length, crc } => {
            let mut bytes = vec![0; *length as usize];
            log.read_blocking(*position, &mut bytes)?;
            if hash::crc32c(&bytes) != *crc {
                return Err(Fault::corrupt(format!(
                    "{shard}: log segment {} offset {}: body checksum differs",
                    position.segment, position.offset
                )));
            }
        }
        BodyRef::Packed { shard, segment, offset, length, crc } => {
            let key = FileKey { kind: SegmentKind::Packed, shard: *shard, segment: *segment };
            let path = files.path(key);
            let mut bytes = vec![0; *length as usize];
            let file = files.open_blocking(key)?;
            let count = file
                .read_blocking(&mut bytes, u64::from(*offset))
                .map_err(|error| Fault::io("read", &path, u64::from(*offset), &error))?;
            if count < bytes.len() || hash::crc32c(&bytes) != *crc {
                return Err(Fault::corrupt(format!(
                    "{} offset {offset}: body checksum differs",
                    path.display()
                )));
            }
        }
        BodyRef::Extents(extents) => {
            for extent in extents {
                check_extent(extent, files)?;
            }
        }
    }
    Ok(body.length())
}

fn check_extent(extent: &Extent, files: &Files) -> Result<(), Fault> {
    let key = FileKey { kind: SegmentKind::Extents, shard: extent.id.shard, segment: extent.id.segment };
    let path = files.path(key);
    let file = files.open_blocking(key)?;
    let read = |length: usize, offset: u64| -> Result<ring::Buffer, Fault> {
        // Extents are read past the page cache, so buffer and length are whole blocks.
        let mut buffer = ring::Buffer::with_capacity(length);
        buffer.resize(length, 0);
        let count = file
            .read_blocking(&mut buffer, offset)
            .map_err(|error| Fault::io("read", &path, offset, &error))?;
        if count < length {
            return Err(Fault::corrupt(format!(
                "{} ends before offset {}",
                path.display(),
                offset + length as u64
            )));
        }
        Ok(buffer)
    };
    let start = u64::from(extent.id.offset);
    let block = read(BLOCK_BYTES, start)?;
    let header = ExtentHeader::decode_at(&block, files.directory_id(), extent.id)
        .map_err(|why| Fault::corrupt(format!("{} offset {start}: extent header: {why}", path.display())))?;
    if header.data_bytes != extent.data_bytes {
        return Err(Fault::corrupt(format!("{} offset {start}: extent length differs", path.display())));
    }
    for (number, crc) in header.chunk_crcs.iter().enumerate() {
        let done = number * CHUNK_BYTES;
        let length = (extent.data_bytes as usize - done).min(CHUNK_BYTES);
        let offset = start + (BLOCK_BYTES + done) as u64;
        let chunk = read(length.next_multiple_of(BLOCK_BYTES), offset)?;
        crate::body::extent::verify_chunk(&chunk[..length], *crc, &path, offset)?;
    }
    Ok(())
}

/// What lies in segments without a record, and entries of packed segments that do not match their own checksum.
fn walk_segments(
    shard: &ShardShared,
    files: &Files,
    named: &HashSet<ExtentId>,
    report: &mut Verified,
) -> Result<(), Fault> {
    for segment in files.segments(SegmentKind::Extents, shard.id)? {
        let scan = ExtentScan::open(files, shard.id, segment)?;
        for found in scan {
            match found? {
                Found::Extent(header) if !named.contains(&header.id) => {
                    report.orphan_extents += 1;
                    report.orphan_bytes += u64::from(header.data_bytes);
                }
                Found::Extent(_) | Found::Gap { .. } => {}
                Found::Damaged { offset, why } => {
                    let id = ExtentId { shard: shard.id, segment, offset };
                    // Damage that a record needs was reported with the record.
                    if !named.contains(&id) {
                        report.orphan_extents += 1;
                        crate::report(&format!(
                            "{} extents segment {segment} offset {offset}: {why}",
                            shard.id
                        ));
                    }
                }
            }
        }
    }
    for segment in files.segments(SegmentKind::Packed, shard.id)? {
        // The end of the segment that was open at a crash may be torn; what records name was read above.
        drop(PackedScan::open(files, shard.id, segment)?);
    }
    Ok(())
}
