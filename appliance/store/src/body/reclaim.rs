//! Giving space back: dead and orphaned extents are punched in merged runs, empty segments are removed.
//! Invariant: nothing is punched while a record can be found that names it, while somebody pins it, or while its
//! segment is open; and the segment with the highest number stays, so that numbers never come back.
//! Leaves to the shard: the `dead` table, and taking entries out of it when they are done.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::extent::span_bytes;
use super::files::{FileKey, Files, SegmentKind};
use super::lease::{Orphans, Run};
use super::pins::{PinKey, Pins};
use super::scan::{ExtentScan, Found};
use super::segments::{OpenSegments, extents_key};
use crate::disk::DiskFile;
use crate::fault::Fault;
use crate::types::{Extent, ShardId};

/// What a reclaimer is made of.
pub struct ReclaimerParts {
    /// The data directory's files.
    pub files: Arc<Files>,
    /// Who reads what.
    pub pins: Pins,
    /// Which segments are written.
    pub open: OpenSegments,
    /// Room that belongs to nobody.
    pub orphans: Orphans,
    /// Waits until no view can still find a record that was removed before the call.
    pub grace: Box<dyn Fn() + Send>,
    /// Sleeps: between punches, so that they do not hold up the log.
    pub pause: Box<dyn Fn(Duration) + Send>,
    /// How long after each punch or slice: `PUNCH_PAUSE` unless configured otherwise.
    pub punch_pause: Duration,
    /// Whether the process is stopping, which does not wait for what the next start can do.
    pub is_closing: Box<dyn Fn() -> bool + Send>,
}

/// Gives space back. Blocks: it belongs to the companion.
pub struct Reclaimer {
    parts: ReclaimerParts,
    /// Orphans whose segment is still open.
    waiting: Vec<Run>,
    /// Segments that lost something and may be empty now.
    thinned: BTreeSet<(ShardId, u64)>,
}

/// What became of a list of dead extents.
#[derive(Debug, Default)]
pub struct Reclaimed {
    /// Punched, or gone already: their entries may leave the `dead` table.
    pub done: Vec<Extent>,
    /// Pinned, or in an open segment, or the disk refused, or the process stops: to be tried again.
    pub kept: Vec<Extent>,
    /// The first thing that the disk refused.
    pub fault: Option<Fault>,
}

impl Reclaimer {
    /// A reclaimer with nothing to do.
    #[must_use]
    pub fn new(parts: ReclaimerParts) -> Reclaimer {
        Reclaimer { parts, waiting: Vec::new(), thinned: BTreeSet::new() }
    }

    /// Punches extents whose entry in the `dead` table is durable. Waits for grace first.
    pub fn punch(&mut self, dead: &[Extent]) -> Reclaimed {
        let mut outcome = Reclaimed::default();
        if dead.is_empty() {
            return outcome;
        }
        // In this order: whoever found the record before grace ended has pinned by then.
        (self.parts.grace)();
        let (mut free, mut kept) = (Vec::new(), Vec::new());
        for extent in dead {
            let pinned = self.parts.pins.is_pinned(PinKey::extent(extent.id));
            let open = self.parts.open.is_open(extent.id.shard, extent.id.segment);
            if pinned || open { kept.push(*extent) } else { free.push(*extent) }
        }
        outcome.kept = kept;
        free.sort_unstable_by_key(Run::of);
        let runs = merge(free.iter().map(Run::of).collect());
        let mut refused = Vec::new();
        for of_segment in runs.chunk_by(same_segment) {
            if let Err(fault) = self.punch_runs(of_segment, &mut refused) {
                outcome.fault.get_or_insert(fault);
            }
        }
        for extent in free {
            let kept = refused.iter().any(|run| covers(run, &extent));
            if kept { outcome.kept.push(extent) } else { outcome.done.push(extent) }
        }
        outcome
    }

    /// Punches what writers left behind. No grace and no pins: nobody could ever find it. Errors: the first thing
    /// that the disk refused; what it refused is tried again at the next call.
    pub fn punch_orphans(&mut self) -> Result<(), Fault> {
        let mut runs = std::mem::take(&mut self.waiting);
        runs.extend(self.parts.orphans.take());
        runs.sort_unstable();
        let mut first_fault = None;
        let mut refused = Vec::new();
        for of_segment in merge(runs).chunk_by(same_segment) {
            if self.parts.open.is_open(of_segment[0].shard, of_segment[0].segment) {
                self.waiting.extend(of_segment);
            } else if let Err(fault) = self.punch_runs(of_segment, &mut refused) {
                first_fault.get_or_insert(fault);
            }
        }
        self.waiting.extend(refused);
        first_fault.map_or(Ok(()), Err)
    }

    /// Removes extents segments that are sealed and empty, among those that lost something since the last call.
    /// Gives the number removed. Errors: the first thing that the disk refused.
    pub fn remove_empty(&mut self) -> Result<u64, Fault> {
        let mut removed = 0;
        let mut outcome = Ok(());
        for (shard, segment) in std::mem::take(&mut self.thinned) {
            if (self.parts.is_closing)() {
                self.thinned.insert((shard, segment));
                continue;
            }
            match self.remove_if_empty(shard, segment) {
                Ok(Removal::Done) => removed += 1,
                Ok(Removal::InUse) => {}
                Ok(Removal::Later) => {
                    self.thinned.insert((shard, segment));
                }
                Err(fault) => {
                    self.thinned.insert((shard, segment));
                    outcome = outcome.and(Err(fault));
                }
            }
        }
        outcome.map(|()| removed)
    }

    /// After a start: has the segments of earlier runs looked at by the next `remove_empty`. Gives the first segment of this
    /// run, if it writes here. Errors: `Fault::Io`.
    pub fn look_at_segments(&mut self, shard: ShardId) -> Result<Option<u64>, Fault> {
        let segments = self.segments_of_earlier_runs(shard)?;
        self.thinned.extend(segments.into_iter().map(|segment| (shard, segment)));
        Ok(self.parts.open.first_of_this_run(shard))
    }

    fn segments_of_earlier_runs(&self, shard: ShardId) -> Result<Vec<u64>, Fault> {
        let first = self.parts.open.first_of_this_run(shard);
        let mut segments = self.parts.files.segments(SegmentKind::Extents, shard)?;
        segments.retain(|segment| first.is_none_or(|first| *segment < first));
        Ok(segments)
    }

    /// Cuts the last segments of earlier runs off behind their last extent: what can be done where it is not known which
    /// extents live. A segment with a damaged header is left alone. Errors: `Fault::Io`.
    pub fn trim_unsealed(&mut self, shard: ShardId) -> Result<(), Fault> {
        for segment in self.segments_of_earlier_runs(shard)?.iter().rev().take(UNSEALED_MAX) {
            self.trim(shard, *segment)?;
        }
        Ok(())
    }

    fn trim(&self, shard: ShardId, segment: u64) -> Result<(), Fault> {
        let mut end = 0;
        for found in ExtentScan::open(&self.parts.files, shard, segment)? {
            match found? {
                Found::Extent(header) => {
                    end = u64::from(header.id.offset) + u64::from(span_bytes(header.data_bytes));
                }
                Found::Damaged { .. } => return Ok(()),
                Found::Gap { .. } => {}
            }
        }
        let key = extents_key(shard, segment);
        let file = self.parts.files.open_to_write(key, false)?;
        self.shorten(&*file, &self.parts.files.path(key), end)
    }

    /// Gives back all room of a segment of an earlier run but that of `live`, which is sorted, and makes that durable. Gives
    /// the number of bytes. Errors: `Fault::Io`; `Fault::Closed` when the process is stopping.
    pub fn sweep(&mut self, shard: ShardId, segment: u64, live: &[Run]) -> Result<u64, Fault> {
        let key = extents_key(shard, segment);
        let file = match self.parts.files.open_to_write(key, false) {
            Ok(file) => file,
            // Empty, and removed meanwhile.
            Err(fault) if is_missing(&fault) => return Ok(0),
            Err(fault) => return Err(fault),
        };
        let path = self.parts.files.path(key);
        let before = allocated(&*file, &path)?;
        let mut end = 0;
        for run in live {
            if (self.parts.is_closing)() {
                return Err(Fault::Closed);
            }
            let start = u64::from(run.offset);
            if start > end {
                self.punch_range(&*file, &path, end, start)?;
            }
            end = end.max(start + u64::from(run.length));
        }
        self.shorten(&*file, &path, end)?;
        // Also where nothing was left to do: a run that was killed may have punched and not synced.
        file.sync_blocking().map_err(|error| Fault::io("fdatasync", &path, 0, &error))?;
        self.thinned.insert((shard, segment));
        Ok(before.saturating_sub(allocated(&*file, &path)?))
    }

    /// Removes a packed segment in which nothing lives any more. Waits for grace first. `false`: somebody reads it, or
    /// it is the newest one; try again later. Errors: `Fault::Io`.
    pub fn remove_packed(&mut self, shard: ShardId, segment: u64) -> Result<bool, Fault> {
        (self.parts.grace)();
        if self.parts.pins.is_pinned(PinKey::packed(shard, segment)) {
            return Ok(false);
        }
        let key = FileKey { kind: SegmentKind::Packed, shard, segment };
        if self.is_newest(key)? {
            return Ok(false);
        }
        match self.parts.files.open_to_write(key, false) {
            Ok(file) => self.remove_file(key, &*file).map(|()| true),
            Err(fault) if is_missing(&fault) => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    /// Punches runs of one segment and makes that durable: a punch that a power failure undid would be nobody's to repeat.
    /// What failed, or what a process that stops leaves, is put on the list. Errors: the first failure.
    fn punch_runs(&mut self, runs: &[Run], refused: &mut Vec<Run>) -> Result<(), Fault> {
        if (self.parts.is_closing)() {
            refused.extend(runs);
            return Ok(());
        }
        let (shard, segment) = (runs[0].shard, runs[0].segment);
        let key = extents_key(shard, segment);
        let path = self.parts.files.path(key);
        // Not through the table of open files: those are for readers.
        let file = match self.parts.files.open_to_write(key, false) {
            Ok(file) => file,
            // Removed in an earlier life, with its entries still in `dead`.
            Err(fault) if is_missing(&fault) => return Ok(()),
            Err(fault) => {
                refused.extend(runs);
                return Err(fault);
            }
        };
        let mut outcome = Ok(());
        for (place, run) in runs.iter().enumerate() {
            if (self.parts.is_closing)() {
                refused.extend(&runs[place..]);
                break;
            }
            let start = u64::from(run.offset);
            let punched = self.punch_range(&*file, &path, start, start + u64::from(run.length));
            if punched.is_err() {
                refused.push(*run);
            }
            outcome = outcome.and(punched);
        }
        if let Err(error) = file.sync_blocking() {
            refused.extend(runs);
            outcome = outcome.and(Err(Fault::io("fdatasync", &path, 0, &error)));
        }
        self.thinned.insert((shard, segment));
        outcome
    }

    /// Punches in slices, with a pause behind each that gave something back.
    fn punch_range(&self, file: &dyn DiskFile, path: &Path, mut offset: u64, end: u64) -> Result<(), Fault> {
        let mut before = allocated(file, path)?;
        while offset < end {
            let length = SLICE_BYTES.min(end - offset);
            file.punch(offset, length).map_err(|error| Fault::io("punch", path, offset, &error))?;
            offset += length;
            let after = allocated(file, path)?;
            if after < before {
                (self.parts.pause)(self.parts.punch_pause);
            }
            before = after;
        }
        Ok(())
    }

    /// Cuts a file off at `end`, in slices: what has many holes would hold the file system's journal for seconds. A file
    /// that ends there is cut all the same, for that may not be durable.
    fn shorten(&self, file: &dyn DiskFile, path: &Path, end: u64) -> Result<(), Fault> {
        let mut length = file.length().map_err(|error| Fault::io("stat", path, 0, &error))?;
        while length >= end {
            length = length.saturating_sub(SLICE_BYTES).max(end);
            file.truncate(length).map_err(|error| Fault::io("truncate", path, length, &error))?;
            if length == end {
                break;
            }
            (self.parts.pause)(self.parts.punch_pause);
        }
        Ok(())
    }

    fn remove_if_empty(&self, shard: ShardId, segment: u64) -> Result<Removal, Fault> {
        if self.parts.open.is_open(shard, segment) {
            return Ok(Removal::Later);
        }
        let key = extents_key(shard, segment);
        let file = match self.parts.files.open_to_write(key, false) {
            Ok(file) => file,
            Err(fault) if is_missing(&fault) => return Ok(Removal::InUse),
            Err(fault) => return Err(fault),
        };
        let path = self.parts.files.path(key);
        // A body, live or just being written, has blocks. A file without any holds nothing, whatever a count says.
        if allocated(&*file, &path)? > 0 {
            return Ok(Removal::InUse);
        }
        if self.is_newest(key)? {
            return Ok(Removal::Later);
        }
        self.remove_file(key, &*file).map(|()| Removal::Done)
    }

    /// Whether it has the highest number of those that stay: a segment that is open may turn out never to be used, and its
    /// file then goes with its number.
    fn is_newest(&self, key: FileKey) -> Result<bool, Fault> {
        let segments = self.parts.files.segments(key.kind, key.shard)?;
        let stays =
            |segment: &u64| key.kind != SegmentKind::Extents || !self.parts.open.is_open(key.shard, *segment);
        Ok(segments.into_iter().rfind(stays).is_none_or(|last| last <= key.segment))
    }

    /// Shortens it to nothing first: the unlink of a file with 65,000 holes holds the journal for seconds.
    fn remove_file(&self, key: FileKey, file: &dyn DiskFile) -> Result<(), Fault> {
        let path = self.parts.files.path(key);
        self.parts.files.forget(key);
        self.shorten(file, &path, 0)?;
        self.parts.files.disk().remove(&path).map_err(|error| Fault::io("unlink", &path, 0, &error))
    }
}

enum Removal {
    Done,
    /// Something is in it: the next punch brings it up again.
    InUse,
    /// Open, or the newest.
    Later,
}

fn allocated(file: &dyn DiskFile, path: &Path) -> Result<u64, Fault> {
    file.allocated_bytes().map_err(|error| Fault::io("stat", path, 0, &error))
}

fn is_missing(fault: &Fault) -> bool {
    matches!(fault, Fault::Io { errno: libc::ENOENT, .. })
}

fn same_segment(one: &Run, other: &Run) -> bool {
    (one.shard, one.segment) == (other.shard, other.segment)
}

fn covers(run: &Run, extent: &Extent) -> bool {
    let one = Run::of(extent);
    one.shard == run.shard
        && one.segment == run.segment
        && one.offset >= run.offset
        && u64::from(one.offset) < u64::from(run.offset) + u64::from(run.length)
}

/// Joins sorted runs that touch or overlap.
fn merge(runs: Vec<Run>) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::new();
    for run in runs {
        if let Some(last) = merged.last_mut()
            && (last.shard, last.segment) == (run.shard, run.segment)
            && u64::from(run.offset) <= u64::from(last.offset) + u64::from(last.length)
        {
            let end = (run.offset + run.length).max(last.offset + last.length);
            last.length = end - last.offset;
        } else {
            merged.push(run);
        }
    }
    merged
}

/// 500 punches a second at most: at 825 a log's syncs kept their median.
pub const PUNCH_PAUSE: Duration = Duration::from_millis(2);
/// Segments of a shard that can have a long unused tail after a crash: the current one and its spare, and one more.
const UNSEALED_MAX: usize = 3;
/// One punch or truncation takes this much at most.
const SLICE_BYTES: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod unit {
    use super::*;

    fn run(segment: u64, offset: u32, length: u32) -> Run {
        Run { shard: ShardId(0), segment, offset, length }
    }

    #[test]
    fn runs_merge_where_they_touch_and_only_within_a_segment() {
        let merged = merge(vec![run(1, 0, 8), run(1, 8, 8), run(1, 12, 2), run(1, 20, 4), run(2, 24, 4)]);
        assert_eq!(merged, [run(1, 0, 16), run(1, 20, 4), run(2, 24, 4)]);
    }
}
