//! What a run of the process that did not end properly left in extents segments: bodies without a record, and room that was
//! reserved. No list of it survives, so a start notes every extent that some record names and gives all other room of the
//! sealed segments back while it serves.
//! Invariant: nothing is given back that a record of any shard names when recovery ends, in the index or in the replayed log;
//! so there is no sweep unless every shard came through recovery whole. A segment is swept once.
//! Leaves to body/reclaim.rs: punching; to lease.rs: what is abandoned while the process runs.
//!
//! ```text
//! shard-NNN/SWEPT   first segment that no sweep has seen, decimal | space | CRC32C of the digits, 8 hex digits | newline
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::body::{Files, Reclaimer, Run, SegmentKind};
use crate::disk::{OpenMode, replace};
use crate::fault::Fault;
use crate::planted::{self, Plant};
use crate::record::{BodyRef, Record, may_name_extents};
use crate::shared::Shared;
use crate::tables::{DEAD, META, PACKED, dead_extent};
use crate::types::{EXTENT_DATA_BYTES_MAX, Extent, ShardId};

/// Extents noted at a start at most, all shards together: 24 bytes each. Those of the highest segments are left to the next start.
const NAMED_COUNT_MAX: usize = 4 << 20;
const MARK_NAME: &str = "SWEPT";
const MARK_BYTES_MAX: usize = 64;

/// The extents of unswept segments that one shard's records name; `join` makes it those of all shards.
#[derive(Debug)]
pub(crate) struct Named {
    /// Per directory of a shard the first segment that no sweep has seen.
    marks: Arc<[u64]>,
    count_max: usize,
    runs: Vec<Run>,
    /// Segments from this one on are left to the next start.
    ceiling: u64,
    /// Something could not be read, so nobody knows what it names.
    unsure: bool,
}

impl Named {
    /// Nothing noted yet. `marks` has one entry per shard.
    pub(crate) fn new(marks: Arc<[u64]>) -> Named {
        let count_max = NAMED_COUNT_MAX / marks.len().max(1);
        Named { marks, count_max, runs: Vec::new(), ceiling: u64::MAX, unsure: false }
    }

    /// Notes what an entry of the index, or one that the log puts there, names.
    pub(crate) fn note(&mut self, key: &[u8], encoded: &[u8]) {
        let Some((table, rest)) = key.split_first() else { return };
        if *table == DEAD.0 {
            match dead(rest, encoded) {
                Some(extent) => self.push(extent),
                None => self.unsure = true,
            }
            return;
        }
        if *table == META.0 || *table == PACKED.0 || !may_name_extents(encoded) {
            return;
        }
        let Ok(record) = Record::decode(encoded) else {
            self.unsure = true;
            return;
        };
        for body in record.bodies {
            if let BodyRef::Extents(extents) = body {
                extents.into_iter().for_each(|extent| self.push(extent));
            }
        }
    }

    /// As `note`, for what the log's tail puts over the index.
    pub(crate) fn note_replayed(&mut self, key: &[u8], encoded: &[u8]) {
        if !planted::is(Plant::SweepMissesLog) {
            self.note(key, encoded);
        }
    }

    /// A part of the shard cannot be read.
    pub(crate) fn doubt(&mut self) {
        self.unsure = true;
    }

    fn push(&mut self, extent: Extent) {
        if extent.data_bytes > EXTENT_DATA_BYTES_MAX {
            self.unsure = true;
            return;
        }
        let mark = self.marks.get(usize::from(extent.id.shard.0)).copied().unwrap_or(u64::MAX);
        if extent.id.segment < mark || extent.id.segment >= self.ceiling {
            return;
        }
        if self.runs.len() == self.count_max {
            self.thin();
        }
        if extent.id.segment < self.ceiling {
            self.runs.push(Run::of(&extent));
        }
    }

    /// Makes room: first what was noted twice goes, then the upper half of the segments.
    fn thin(&mut self) {
        self.sort();
        if self.runs.len() > self.count_max / 2 {
            self.ceiling = self.runs[self.runs.len() / 2].segment;
            self.runs.retain(|run| run.segment < self.ceiling);
        }
    }

    fn sort(&mut self) {
        self.runs.sort_unstable_by_key(|run| (run.segment, run.shard, run.offset, run.length));
        self.runs.dedup();
    }

    /// What all shards name together. `None`: one of them does not know.
    pub(crate) fn join(all: Vec<Named>) -> Option<Named> {
        let ceiling = all.iter().map(|named| named.ceiling).min()?;
        if all.iter().any(|named| named.unsure) {
            return None;
        }
        let mut all = all.into_iter();
        let mut joined = all.next()?;
        joined.runs.extend(all.flat_map(|named| named.runs));
        joined.ceiling = ceiling;
        joined.runs.retain(|run| run.segment < ceiling);
        joined.sort();
        Some(joined)
    }

    fn of_segment(&self, shard: ShardId, segment: u64) -> &[Run] {
        let from = self.runs.partition_point(|run| (run.segment, run.shard) < (segment, shard));
        let to = self.runs.partition_point(|run| (run.segment, run.shard) <= (segment, shard));
        &self.runs[from..to]
    }
}

/// The extent that an entry of `DEAD` names.
fn dead(key: &[u8], encoded: &[u8]) -> Option<Extent> {
    let record = Record::decode(encoded).ok()?;
    Some(Extent { id: dead_extent(key)?, data_bytes: u32::from_le_bytes(record.value.try_into().ok()?) })
}

/// The sweep over one shard's directory: one segment a step, so that the space thread can do other things in between.
pub(crate) struct Sweep {
    named: Arc<Named>,
    shard: ShardId,
    /// The last one first.
    segments: Vec<u64>,
    /// What the mark says when all of them are done.
    end: u64,
    given_back: u64,
}

impl Sweep {
    /// A sweep over what is sealed. `first_of_this_run`: from this segment on the present run writes, if it does here.
    /// Errors: `Fault::Io` of the listing.
    pub(crate) fn new(
        named: Arc<Named>,
        files: &Files,
        shard: ShardId,
        first_of_this_run: Option<u64>,
    ) -> Result<Sweep, Fault> {
        let mark = named.marks[usize::from(shard.0)];
        let mut segments = files.segments(SegmentKind::Extents, shard)?;
        // Without a segment there is nothing to mark, nor a directory to sync.
        let end = segments
            .last()
            .map_or(mark, |last| first_of_this_run.unwrap_or(last.saturating_add(1)).min(named.ceiling));
        segments.retain(|segment| (mark..end).contains(segment));
        segments.reverse();
        Ok(Sweep { named, shard, segments, end, given_back: 0 })
    }

    /// Sweeps one segment. `false`: nothing is left to do. A segment that the disk refuses is left to the next start, with
    /// those behind it. Errors: `Fault::Io` of the mark; `Fault::Closed` when the process is stopping.
    pub(crate) fn step(&mut self, shared: &Shared, reclaimer: &mut Reclaimer) -> Result<bool, Fault> {
        if shared.is_closing() {
            return Err(Fault::Closed);
        }
        if let Some(segment) = self.segments.pop() {
            let live = self.named.of_segment(self.shard, segment);
            match reclaimer.sweep(self.shard, segment, live) {
                Ok(bytes) => self.given_back += bytes,
                Err(Fault::Closed) => return Err(Fault::Closed),
                Err(fault) => {
                    self.end = self.end.min(segment);
                    crate::report(&format!("{}: tidying after the start failed: {fault}", self.shard));
                }
            }
            return Ok(true);
        }
        if self.end > self.named.marks[usize::from(self.shard.0)] {
            // A name that only a cache holds may go, and its number then comes again: below the mark it would not be swept.
            shared.files.sync_segment_dir(SegmentKind::Extents, self.shard)?;
            let path = mark_path(&shared.files, self.shard);
            replace(&**shared.files.disk(), &path, mark_text(self.end).as_bytes())?;
        }
        if self.given_back > 0 {
            crate::report(&format!(
                "{}: gave back {} bytes that the last run had left to nobody",
                self.shard, self.given_back
            ));
        }
        Ok(false)
    }
}

/// The marks of all shards. A mark that is missing or damaged counts as none: the sweep then looks at everything.
pub(crate) fn read_marks(files: &Files, shard_count: u16) -> Arc<[u64]> {
    (0..shard_count).map(|number| read_mark(files, &mark_path(files, ShardId(number))).unwrap_or(0)).collect()
}

fn mark_path(files: &Files, shard: ShardId) -> PathBuf {
    files.shard_dir(shard).join(MARK_NAME)
}

fn read_mark(files: &Files, path: &Path) -> Option<u64> {
    let file = files.disk().open(path, OpenMode::default()).ok()?;
    let mut bytes = [0; MARK_BYTES_MAX];
    let count = file.read_blocking(&mut bytes, 0).ok()?;
    parse_mark(&bytes[..count])
}

fn parse_mark(bytes: &[u8]) -> Option<u64> {
    let (digits, _) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    let segment = digits.parse().ok()?;
    (mark_text(segment).as_bytes() == bytes).then_some(segment)
}

fn mark_text(segment: u64) -> String {
    let digits = segment.to_string();
    format!("{digits} {:08x}\n", hash::crc32c(digits.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{dead_key, record_key};
    use crate::types::{ExtentId, TableId};

    fn extent(shard: u16, segment: u64, offset: u32) -> Extent {
        Extent { id: ExtentId { shard: ShardId(shard), segment, offset }, data_bytes: 40_000 }
    }

    fn record(extents: Vec<Extent>) -> Vec<u8> {
        let mut encoded = Vec::new();
        Record::encode(b"value", &[BodyRef::EMPTY, BodyRef::Extents(extents)], &mut encoded);
        encoded
    }

    fn offsets(named: &Named, shard: u16, segment: u64) -> Vec<u32> {
        named.of_segment(ShardId(shard), segment).iter().map(|run| run.offset).collect()
    }

    #[test]
    fn records_and_dead_entries_of_unswept_segments_are_noted_once() {
        let mut named = Named::new(Arc::from([3, 0]));
        let key = record_key(TableId(16), b"key");
        named.note(&key, &record(vec![extent(0, 2, 0), extent(0, 3, 8192), extent(1, 1, 4096)]));
        named.note(&key, &record(vec![extent(0, 3, 8192), extent(0, 3, 0), extent(9, 3, 0)]));
        let gone = extent(0, 4, 4096);
        let mut value = Vec::new();
        Record::encode(&gone.data_bytes.to_le_bytes(), &[], &mut value);
        named.note(&record_key(DEAD, &dead_key(gone.id)), &value);
        named.note(&record_key(META, b"applied"), b"no record at all");
        let named = Named::join(vec![named]).expect("nothing is in doubt");
        assert_eq!(offsets(&named, 0, 3), [0, 8192]);
        assert_eq!(offsets(&named, 1, 1), [4096]);
        assert_eq!(offsets(&named, 0, 4), [4096]);
        assert_eq!(named.runs.len(), 4, "swept segments and unknown shards are left out");
    }

    #[test]
    fn what_cannot_be_read_keeps_all_shards_from_being_swept() {
        let fresh = || Named::new(Arc::from([0, 0]));
        let key = record_key(TableId(16), b"key");
        let mut torn = record(vec![extent(0, 1, 0)]);
        torn.truncate(10);
        let huge = Extent { data_bytes: EXTENT_DATA_BYTES_MAX + 1, ..extent(0, 1, 0) };
        let mut cases = [fresh(), fresh(), fresh(), fresh()];
        cases[0].note(&key, &torn);
        cases[1].note(&key, &record(vec![huge]));
        cases[2].note(&record_key(DEAD, b"short"), &record(Vec::new()));
        cases[3].doubt();
        for case in cases {
            assert!(Named::join(vec![fresh(), case]).is_none());
        }
    }

    #[test]
    fn a_list_that_is_full_leaves_the_highest_segments_to_the_next_start() {
        let mut named = Named::new(Arc::from([0]));
        named.count_max = 10;
        let key = record_key(TableId(16), b"key");
        for turn in 0..3 {
            for segment in (1..=20).rev() {
                named.note(&key, &record(vec![extent(0, segment, turn * 65_536)]));
            }
        }
        let other = Named { ceiling: 7, ..Named::new(Arc::from([0])) };
        let ceiling = named.ceiling;
        assert!(ceiling > 1 && ceiling < 20, "{ceiling}");
        let named = Named::join(vec![named, other]).expect("joins");
        assert_eq!(named.ceiling, ceiling.min(7));
        for segment in 1..named.ceiling {
            assert_eq!(offsets(&named, 0, segment), [0, 65_536, 131_072], "segment {segment}");
        }
        assert_eq!(offsets(&named, 0, named.ceiling), []);
    }

    #[test]
    fn a_mark_with_any_flipped_bit_counts_as_none() {
        for segment in [0, 7, u64::MAX] {
            let text = mark_text(segment).into_bytes();
            assert_eq!(parse_mark(&text), Some(segment));
            for bit in 0..text.len() * 8 {
                let mut damaged = text.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(parse_mark(&damaged), None, "bit {bit}");
            }
        }
        assert_eq!(parse_mark(b""), None);
    }
}
