//! What happens after a fold to space that nobody needs: dead extents, empty packed segments, the blocks of dead bodies in
//! those of passing tables, orphans.
//! Invariant: only what the index, as committed, names as dead is given back, after grace and when no stream pins it.
//! Leaves to body/reclaim.rs: the punching itself.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use crate::body::packed::trim_after_kill;
use crate::body::{Reclaimer, SegmentKind};
use crate::companion::lock;
use crate::fault::Fault;
use crate::fold::{Books, FoldReport, packed_usage};
use crate::forward::copy_forward;
use crate::hollow::{Died, Hollows};
use crate::planted::{self, Plant};
use crate::record::Record;
use crate::shared::Shared;
use crate::sweep::{Named, Sweep};
use crate::tables::{DEAD, dead_extent};
use crate::types::{Extent, ExtentId, ShardId};

/// Dead extents given back after one fold at most, so that one round stays short.
const DEAD_COUNT_MAX: usize = 10_000;

/// The reclaiming state of one shard; lives on its space thread.
pub(crate) struct ReclaimState {
    pub(crate) reclaimer: Reclaimer,
    /// Packed segments that were empty while somebody still read them.
    pub(crate) emptied: Vec<u64>,
    /// The packed segment that was copied forward last.
    pub(crate) forwarded: u64,
    /// The first packed segment of this run.
    pub(crate) first_packed: u64,
    /// Packed segments whose files are gone; the next fold takes them out of the books.
    pub(crate) gone: Arc<Mutex<Vec<u64>>>,
    /// What is dead in segments of passing tables.
    pub(crate) hollows: Hollows,
    /// What such segments took of the disk when they were looked at last.
    pub(crate) sizes: BTreeMap<u64, Size>,
    /// The last of them then, which may be open.
    pub(crate) newest: Option<u64>,
}

/// What a packed segment takes of the disk.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    allocated_bytes: u64,
    /// Of the file, holes included.
    length: u64,
    /// Booked when that was measured.
    total_bytes: u64,
}

impl Size {
    /// What is allocated beyond what lives.
    fn kept_bytes(&self, books: &Books) -> u64 {
        // Headers and keys live with their bodies. What a fold left that was cut off is no part of them.
        let heads = self.length.saturating_sub(books.total_bytes).min(books.total_bytes / HEADS_PART);
        let live = u128::from(books.live_bytes) * u128::from(books.total_bytes + heads);
        let live = u64::try_from(live / u128::from(books.total_bytes.max(1))).unwrap_or(u64::MAX);
        self.allocated_bytes.saturating_sub(live)
    }
}

impl ReclaimState {
    /// Gives back what the last fold left behind; names the extents whose `DEAD` entries may go.
    pub(crate) fn run(
        &mut self,
        shared: &Arc<Shared>,
        shard: ShardId,
        report: FoldReport,
    ) -> Result<Vec<ExtentId>, Fault> {
        let died_bytes = report.died_bytes;
        let outcome = self.give_back(shared, shard, report);
        // Where it cannot be measured what was measured last stands.
        let kept = self.measure(shared, shard).ok().map(|measured| measured.kept_bytes);
        shared.kept.settle(shard, died_bytes, kept);
        outcome
    }

    fn give_back(
        &mut self,
        shared: &Arc<Shared>,
        shard: ShardId,
        report: FoldReport,
    ) -> Result<Vec<ExtentId>, Fault> {
        let dead = read_dead(shared, shard)?;
        let reclaimed = self.reclaimer.punch(&dead);
        // What is done is told even if the rest fails: entries of `DEAD` that stay for ever would hide later ones.
        if let Err(fault) = self.tidy_segments(shared, shard, report)
            && shared.shard(shard).check_readable().is_ok()
        {
            crate::report(&format!(
                "{shard}: giving space back failed, tried again after the next fold: {fault}"
            ));
        }
        match reclaimed.fault {
            Some(fault) if reclaimed.done.is_empty() => Err(fault),
            Some(_) | None => Ok(reclaimed.done.iter().map(|extent| extent.id).collect()),
        }
    }

    /// Finds what an earlier run left to nobody: packed segments that no fold ever booked go with the next fold; the sweep of
    /// the extents segments is for the caller to run. Errors: `Fault::Io` of the listings.
    pub(crate) fn tidy_after_start(
        &mut self,
        shared: &Shared,
        shard: ShardId,
        named: Option<Arc<Named>>,
    ) -> Result<Option<Sweep>, Fault> {
        let first = self.reclaimer.look_at_segments(shard)?;
        let packed = shared.files.segments(SegmentKind::Packed, shard)?;
        let books = packed_usage(shared.shard(shard).index())?;
        let mut earlier: Vec<u64> =
            packed.into_iter().filter(|segment| *segment < self.first_packed).collect();
        let trimmed = earlier.last().map_or(Ok(()), |last| trim_after_kill(&shared.files, shard, *last));
        if let Err(fault) = trimmed {
            crate::report(&format!("{shard}: tidying after the start failed: {fault}"));
        }
        earlier.retain(|segment| !books.contains_key(segment));
        self.emptied.extend(earlier);
        // What an earlier run left in segments counts before anything new is taken. Where it cannot be measured the first fold
        // does it.
        let kept = self.measure(shared, shard).ok().map(|measured| measured.kept_bytes);
        shared.kept.settle(shard, 0, kept);
        match named {
            Some(named) => Sweep::new(named, &shared.files, shard, first).map(Some),
            None => self.reclaimer.trim_unsealed(shard).map(|()| None),
        }
    }

    fn tidy_segments(
        &mut self,
        shared: &Arc<Shared>,
        shard: ShardId,
        report: FoldReport,
    ) -> Result<(), Fault> {
        self.reclaimer.punch_orphans()?;
        self.reclaimer.remove_empty()?;
        self.emptied.extend(report.empty_packed);
        self.emptied.sort_unstable();
        self.emptied.dedup();
        self.emptied.iter().for_each(|segment| self.hollows.forget(*segment));
        self.remove_packed(shard)?;
        self.hollow(shard, report.died)?;
        let mut sparse = report.sparse_packed;
        sparse.extend(self.measure(shared, shard)?.hollow);
        sparse.sort_unstable();
        // In turn: a segment whose records moved to other keys is found sparse again and again.
        let next = sparse.iter().find(|segment| **segment > self.forwarded).or(sparse.first());
        if let Some(segment) = next {
            self.forwarded = *segment;
            copy_forward(shared, shard, *segment)?;
        }
        Ok(())
    }

    /// Punches the blocks of what died, as far as nobody reads it.
    fn hollow(&mut self, shard: ShardId, died: Vec<Died>) -> Result<(), Fault> {
        self.hollows.note(died);
        if self.hollows.is_idle() {
            return Ok(());
        }
        let pinned = if planted::is(Plant::ReaderHollowed) {
            HashSet::new()
        } else {
            self.reclaimer.pinned_in_packed(shard)
        };
        let mut outcome = Ok(());
        for plan in self.hollows.plan(&pinned) {
            match self.reclaimer.punch_packed(shard, plan.segment, &plan.blocks) {
                Ok(()) => {
                    self.sizes.remove(&plan.segment);
                    self.hollows.done(plan);
                }
                Err(fault) => {
                    self.hollows.failed(plan);
                    outcome = outcome.and(Err(fault));
                }
            }
        }
        outcome
    }

    /// Looks at what segments of passing tables take beside what lives in them. Errors: `Fault::Io`, those of the index.
    fn measure(&mut self, shared: &Shared, shard: ShardId) -> Result<Measured, Fault> {
        let mut books = packed_usage(shared.shard(shard).index())?;
        let gone = lock(&self.gone).clone();
        books.retain(|segment, books| books.is_passing && !gone.contains(segment));
        self.sizes.retain(|segment, _| books.contains_key(segment));
        self.hollows.keep_only(|segment| books.contains_key(&segment));
        let last = std::mem::replace(&mut self.newest, books.keys().next_back().copied());
        let (mut kept_bytes, mut live_bytes, mut hollow) = (0, 0, Vec::new());
        for (segment, books) in &books {
            let is_open = self.newest == Some(*segment);
            let known = self.sizes.get(segment).copied();
            // What is sealed changes only by being punched.
            let known = known
                .filter(|size| size.total_bytes == books.total_bytes && !is_open && last != Some(*segment));
            let size = match known {
                Some(size) => size,
                None => {
                    let [allocated_bytes, length] = self.reclaimer.measure_packed(shard, *segment)?;
                    Size { allocated_bytes, length, total_bytes: books.total_bytes }
                }
            };
            self.sizes.insert(*segment, size);
            let kept = size.kept_bytes(books);
            kept_bytes += kept;
            live_bytes += books.live_bytes;
            if !is_open && kept > size.allocated_bytes / HOLLOW_PART && books.live_bytes > 0 {
                hollow.push(*segment);
            }
        }
        if kept_bytes < live_bytes / KEPT_PART {
            hollow.clear();
        }
        Ok(Measured { kept_bytes, hollow })
    }

    /// A segment without live bytes is not named by the index, and by no overlay either: what an operation could keep of
    /// it would have been live at the last fold. Views that are older than that fold are gone after grace.
    fn remove_packed(&mut self, shard: ShardId) -> Result<(), Fault> {
        let mut kept = Vec::new();
        for segment in std::mem::take(&mut self.emptied) {
            if self.reclaimer.remove_packed(shard, segment)? {
                lock(&self.gone).push(segment);
            } else {
                kept.push(segment);
            }
        }
        self.emptied = kept;
        Ok(())
    }
}

/// What segments of passing tables came to.
struct Measured {
    /// Beside what lives.
    kept_bytes: u64,
    /// Segments that are to be copied forward, since punching leaves too much of them.
    hollow: Vec<u64>,
}

/// Heads and keys are at most this part of the bodies that are packed, which have more than 512 bytes.
const HEADS_PART: u64 = 4;
/// A segment of which more than this part is dead and cannot be punched is copied forward: two bytes for each that it frees.
const HOLLOW_PART: u64 = 3;
/// Nothing is, while all of it is less than this part of what lives.
const KEPT_PART: u64 = 32;

fn read_dead(shared: &Shared, shard: ShardId) -> Result<Vec<Extent>, Fault> {
    let index = shared.shard(shard).index();
    let txn = index.read()?;
    let start = [DEAD.0];
    let mut dead = Vec::new();
    for item in index.range(&txn, Bound::Included(&start[..]))? {
        let (key, value) = item.map_err(|error| index.fault("walk", error))?;
        if key[0] != DEAD.0 || dead.len() == DEAD_COUNT_MAX {
            break;
        }
        let id = dead_extent(&key[1..]).ok_or_else(|| Fault::corrupt("a DEAD key names no extent".into()))?;
        let record = Record::decode(index.check(key, value)?)?;
        let data_bytes = <[u8; 4]>::try_from(record.value)
            .map_err(|_| Fault::corrupt("a DEAD record has no length".into()))?;
        dead.push(Extent { id, data_bytes: u32::from_le_bytes(data_bytes) });
    }
    Ok(dead)
}
