//! What happens after a fold to space that nobody needs: dead extents, empty packed segments, orphans.
//! Invariant: only what the index, as committed, names as dead is given back, after grace and when no stream pins it.
//! Leaves to body/reclaim.rs: the punching itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::body::extent::span_bytes;
use crate::body::packed::trim_after_kill;
use crate::body::{Reclaimed, Reclaimer, SegmentKind};
use crate::companion::lock;
use crate::fault::Fault;
use crate::fold::{FoldReport, Sparse, packed_usage};
use crate::forward::copy_forward;
use crate::record::Record;
use crate::shared::Shared;
use crate::sweep::{Named, Sweep};
use crate::tables::{DEAD, dead_extent};
use crate::types::{Extent, ExtentId, Lsn, ShardId};

/// Dead extents given back after one fold at most, so that one round stays short.
const DEAD_COUNT_MAX: usize = 10_000;

/// Of each kind of packed segments: body bytes that are copied forward after one fold, about, and segments that are read for it, so
/// that copying never takes over the shard and one round stays short.
const FORWARD_BYTES_MAX: u64 = 16 << 20;
const FORWARD_COUNT_MAX: usize = 8;

/// The reclaiming state of one shard; lives on its space thread.
pub(crate) struct ReclaimState {
    pub(crate) reclaimer: Reclaimer,
    /// Packed segments that were empty while somebody still read them.
    pub(crate) emptied: Vec<u64>,
    pub(crate) forwarded: Forwarded,
    /// The first packed segment of this run.
    pub(crate) first_packed: u64,
    /// Packed segments whose files are gone; the next fold takes them out of the books.
    pub(crate) gone: Arc<Mutex<Vec<u64>>>,
    /// Of passing tables: extents of which a fold has heard and that were not punched yet, no more than this.
    pub(crate) folded_large_bytes: u64,
}

impl ReclaimState {
    /// Gives back what the last fold left behind; names the extents whose `DEAD` entries may go.
    pub(crate) fn run(
        &mut self,
        shared: &Arc<Shared>,
        shard: ShardId,
        report: FoldReport,
    ) -> Result<Vec<ExtentId>, Fault> {
        self.folded_large_bytes += report.died_large_bytes;
        let dead = read_dead(shared, shard)?;
        let reclaimed = self.reclaimer.punch(&dead);
        self.count_punched(shared, shard, dead.len(), &reclaimed);
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
        // The last one of each kind may have been open.
        let is_of = |segment: &u64, is_passing| {
            books.get(segment).is_some_and(|books| books.head_bytes.is_some() == is_passing)
        };
        let last_of = |is_passing| earlier.iter().rev().find(|segment| is_of(segment, is_passing)).copied();
        let last: BTreeSet<u64> =
            [earlier.last().copied(), last_of(false), last_of(true)].into_iter().flatten().collect();
        for segment in last {
            if let Err(fault) = trim_after_kill(&shared.files, shard, segment) {
                crate::report(&format!("{shard}: tidying after the start failed: {fault}"));
            }
        }
        // What an earlier run left dead counts before anything new is taken. Where a file has gone the next fold hears of it.
        let dead = earlier.iter().filter_map(|segment| Some((*segment, books.get(segment)?.dead_bytes())));
        shared.kept.found(shard, dead.filter(|(_, bytes)| *bytes > 0).collect());
        earlier.retain(|segment| !books.contains_key(segment));
        self.emptied.extend(earlier);
        match named {
            Some(named) => Sweep::new(named, &shared.files, shard, first).map(Some),
            None => self.reclaimer.trim_unsealed(shard).map(|()| None),
        }
    }

    /// Takes off what was given back of extents that passing tables named: all but what is dead still, whoever named it.
    fn count_punched(&mut self, shared: &Shared, shard: ShardId, dead_count: usize, reclaimed: &Reclaimed) {
        let bytes =
            |extents: &[Extent]| extents.iter().map(|one| u64::from(span_bytes(one.data_bytes))).sum();
        let folded = self.folded_large_bytes;
        let left: u64 = match dead_count {
            // There are more than those that were looked at.
            DEAD_COUNT_MAX => folded.saturating_sub(bytes(&reclaimed.done)),
            _ => folded.min(bytes(&reclaimed.kept)),
        };
        shared.kept.punched(shard, folded - left);
        self.folded_large_bytes = left;
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
        self.remove_packed(shared, shard)?;
        self.forward(shared, shard, &report.sparse_packed, report.checkpoint.lsn);
        Ok(())
    }

    /// Copies forward what lives in sparse segments. One that cannot be read is no reason to leave the others alone.
    fn forward(&mut self, shared: &Arc<Shared>, shard: ShardId, sparse: &[Sparse], folded: Lsn) {
        self.forwarded.begin(sparse);
        for is_passing in [true, false] {
            let mut left = FORWARD_BYTES_MAX;
            let due = self.forwarded.due(sparse, is_passing, folded);
            for one in due.into_iter().take(FORWARD_COUNT_MAX) {
                if left == 0 || shared.copying_is_over() {
                    break;
                }
                let copied_bytes = match copy_forward(shared, shard, one.segment, left) {
                    Ok(Some(copied_bytes)) => copied_bytes,
                    // The owner has no time, or no more time: this one and the others are for a later fold.
                    Ok(None) => return,
                    Err(fault) => {
                        crate::report(&format!("{shard}: copying forward: {fault}"));
                        0
                    }
                };
                left = left.saturating_sub(copied_bytes);
                // What was answered is durable, so the copies are in no later batch.
                let lsn = Lsn(shared.shard(shard).durable_lsn.load(Ordering::Acquire));
                self.forwarded.note(one, copied_bytes, lsn);
            }
        }
    }

    /// A segment without live bytes is not named by the index, and by no overlay either: what an operation could keep of
    /// it would have been live at the last fold. Views that are older than that fold are gone after grace.
    fn remove_packed(&mut self, shared: &Shared, shard: ShardId) -> Result<(), Fault> {
        let mut kept = Vec::new();
        for segment in std::mem::take(&mut self.emptied) {
            // Each waits for readers; the next start finds them empty again.
            if shared.is_closing() {
                kept.push(segment);
            } else if self.reclaimer.remove_packed(shard, segment)? {
                lock(&self.gone).push(segment);
                shared.kept.removed(shard, segment);
            } else {
                kept.push(segment);
            }
        }
        self.emptied = kept;
        Ok(())
    }
}

/// Sparse packed segments that were copied forward.
#[derive(Default)]
pub(crate) struct Forwarded(BTreeMap<u64, Copied>);

/// What came of the last time.
struct Copied {
    live_bytes: u64,
    copied_bytes: u64,
    /// No copy is in a later batch: a fold that ends before it may not have seen them all.
    lsn: Lsn,
}

impl Forwarded {
    /// A fold has found these; what is no longer sparse, or no longer there, is forgotten.
    fn begin(&mut self, sparse: &[Sparse]) {
        let found: BTreeSet<u64> = sparse.iter().map(|one| one.segment).collect();
        self.0.retain(|segment, _| found.contains(segment));
    }

    /// Those of a kind that are worth reading after a fold that ended with `folded`, the ones in which least lives first: they give
    /// back most for what is copied.
    fn due(&self, sparse: &[Sparse], is_passing: bool, folded: Lsn) -> Vec<Sparse> {
        let is_due = |one: &&Sparse| match self.0.get(&one.segment) {
            None => true,
            // Nothing in it could move, as where a record has gone to another key with its body, or it could not be read.
            Some(Copied { copied_bytes: 0, live_bytes, .. }) => one.live_bytes <= live_bytes / 2,
            Some(copied) => folded >= copied.lsn,
        };
        let mut due: Vec<Sparse> =
            sparse.iter().filter(|one| one.is_passing == is_passing).filter(is_due).copied().collect();
        due.sort_by_key(|one| (one.live_bytes, one.segment));
        due
    }

    fn note(&mut self, one: Sparse, copied_bytes: u64, lsn: Lsn) {
        self.0.insert(one.segment, Copied { live_bytes: one.live_bytes, copied_bytes, lsn });
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptiest_go_first_and_none_before_its_copies_are_folded() {
        let one = |segment, live_bytes| Sparse { segment, live_bytes, is_passing: true };
        let mut forwarded = Forwarded::default();
        // After a fold up to one batch, those that are due; what is copied then is in batches up to 10 later.
        let mut due = |folded: u64, sparse: &[Sparse], copied: &[(usize, u64)]| {
            forwarded.begin(sparse);
            let due: Vec<u64> =
                forwarded.due(sparse, true, Lsn(folded)).iter().map(|one| one.segment).collect();
            copied.iter().for_each(|(place, bytes)| forwarded.note(sparse[*place], *bytes, Lsn(folded + 10)));
            due
        };
        let ordinary = Sparse { is_passing: false, ..one(9, 1) };
        let first = [one(1, 10), one(2, 5), one(3, 7), ordinary];
        assert_eq!(due(20, &first, &[(1, 4), (2, 0)]), [2, 3, 1], "of this kind, the emptiest first");
        // A death in the second one changes nothing: its copies are under way, however many folds were before them.
        for folded in [20, 21, 29] {
            assert_eq!(due(folded, &[one(1, 10), one(2, 4), one(3, 7)], &[]), [1]);
        }
        assert_eq!(due(30, &[one(1, 10), one(2, 1), one(3, 7)], &[]), [2, 1], "a byte of it is left");
        assert_eq!(
            due(40, &[one(3, 4)], &[]),
            [] as [u64; 0],
            "nothing could move, and about as much is left"
        );
        assert_eq!(due(50, &[one(3, 3)], &[]), [3]);
        due(60, &[], &[]);
        assert_eq!(due(70, &[one(2, 5)], &[]), [2], "forgotten once it was not sparse");
    }
}
