//! What passing tables still take of the disk though nothing names it: bodies that died and were not given back yet, and those
//! in packed segments in which others live.
//! Invariant: never less than there is, but for what died within the part of the log that a start replays. A small body that
//! died counts as dying until the fold that sees it, from then on as dead in its segment until that is gone; a large one counts
//! as dying until its extents are punched.
//! Leaves to owner.rs, fold.rs and reclaim.rs: the counting. To a service: keeping its limit with it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::companion::lock;
use crate::types::ShardId;

/// The figures of all shards. They outlive the store, and then say what was last.
pub struct Kept {
    shards: Box<[OfShard]>,
}

#[derive(Default)]
struct OfShard {
    dying_small_bytes: AtomicU64,
    dying_large_bytes: AtomicU64,
    /// What is dead in each packed segment; nothing before it was said for the first time.
    segments: Mutex<Option<BTreeMap<u64, u64>>>,
    /// The sum of those, changed under their lock.
    segments_bytes: AtomicU64,
    /// The shard takes no more writes: what is dying stays until the next start, but for what a fold under way still books.
    is_stopped: AtomicBool,
    is_wanted: AtomicBool,
}

/// Bytes of bodies that died.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Died {
    /// In packed segments, or on the way there.
    pub(crate) small_bytes: u64,
    /// In extents.
    pub(crate) large_bytes: u64,
}

impl Died {
    pub(crate) fn is_none(self) -> bool {
        self == Died::default()
    }

    pub(crate) fn add(&mut self, other: Died) {
        self.small_bytes += other.small_bytes;
        self.large_bytes += other.large_bytes;
    }

    pub(crate) fn take(&mut self, other: Died) {
        self.small_bytes = self.small_bytes.saturating_sub(other.small_bytes);
        self.large_bytes = self.large_bytes.saturating_sub(other.large_bytes);
    }
}

impl Kept {
    pub(crate) fn new(shard_count: usize) -> Kept {
        Kept { shards: (0..shard_count).map(|_| OfShard::default()).collect() }
    }

    /// Bytes of bodies whose records are gone, and which the next fold, or what follows it, takes care of.
    #[must_use]
    pub fn dying_bytes(&self) -> u64 {
        let dying = |shard: &OfShard| if shard.is_stopped() { 0 } else { shard.dying_bytes() };
        self.shards.iter().map(dying).sum()
    }

    /// Bytes of dead bodies in packed segments in which others live, or which somebody reads, and of those that a shard that
    /// stopped keeps.
    #[must_use]
    pub fn settled_bytes(&self) -> u64 {
        let settled = |shard: &OfShard| {
            let kept_bytes = if shard.is_stopped() { shard.dying_bytes() } else { 0 };
            kept_bytes + shard.segments_bytes.load(Ordering::Acquire)
        };
        self.shards.iter().map(settled).sum()
    }

    /// Has every shard fold what is older than a second, so that what died is given back.
    pub fn want(&self) {
        self.shards.iter().for_each(|shard| shard.is_wanted.store(true, Ordering::Relaxed));
    }

    pub(crate) fn is_wanted(&self, shard: ShardId) -> bool {
        self.of(shard).is_wanted.load(Ordering::Relaxed)
    }

    /// The overlays were exchanged, and a fold begins.
    pub(crate) fn answer(&self, shard: ShardId) {
        self.of(shard).is_wanted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn died(&self, shard: ShardId, died: Died) {
        let shard = self.of(shard);
        shard.dying_small_bytes.fetch_add(died.small_bytes, Ordering::AcqRel);
        shard.dying_large_bytes.fetch_add(died.large_bytes, Ordering::AcqRel);
    }

    /// A start found so much dead in each segment. A fold that was sooner knows better.
    pub(crate) fn found(&self, shard: ShardId, segments: BTreeMap<u64, u64>) {
        let shard = self.of(shard);
        let mut known = lock(&shard.segments);
        if known.is_none() {
            shard.say(&mut known, segments);
        }
    }

    /// A fold has booked the small bodies that died before it: so much is dead in each segment now.
    pub(crate) fn folded(&self, shard: ShardId, small_bytes: u64, segments: BTreeMap<u64, u64>) {
        let shard = self.of(shard);
        shard.say(&mut lock(&shard.segments), segments);
        // Only now: what is counted twice in between is not missed.
        subtract(&shard.dying_small_bytes, small_bytes);
    }

    /// Extents of so many bytes were given back.
    pub(crate) fn punched(&self, shard: ShardId, large_bytes: u64) {
        subtract(&self.of(shard).dying_large_bytes, large_bytes);
    }

    /// The file of a packed segment is gone.
    pub(crate) fn removed(&self, shard: ShardId, segment: u64) {
        let shard = self.of(shard);
        let mut known = lock(&shard.segments);
        if let Some(mut segments) = known.take() {
            segments.remove(&segment);
            shard.say(&mut known, segments);
        }
    }

    /// The shard takes no more writes: what is dying stays until the next start.
    pub(crate) fn stopped(&self, shard: ShardId) {
        self.of(shard).is_stopped.store(true, Ordering::Release);
    }

    fn of(&self, shard: ShardId) -> &OfShard {
        &self.shards[usize::from(shard.0)]
    }
}

impl OfShard {
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    fn dying_bytes(&self) -> u64 {
        self.dying_small_bytes.load(Ordering::Acquire) + self.dying_large_bytes.load(Ordering::Acquire)
    }

    /// `known` is locked, so that the sum is always that of the segments that were said last.
    fn say(&self, known: &mut Option<BTreeMap<u64, u64>>, segments: BTreeMap<u64, u64>) {
        self.segments_bytes.store(segments.values().sum(), Ordering::Release);
        *known = Some(segments);
    }
}

/// Not below nothing: a figure that wrapped would leave no room for anything.
fn subtract(figure: &AtomicU64, bytes: u64) {
    let lower = |now: u64| Some(now.saturating_sub(bytes));
    let _was: Result<u64, u64> = figure.fetch_update(Ordering::AcqRel, Ordering::Acquire, lower);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(0);

    #[test]
    fn what_was_dying_when_a_shard_stopped_stays_counted_beside_what_a_fold_still_books() {
        let kept = Kept::new(2);
        kept.died(SHARD, Died { small_bytes: 50, large_bytes: 700 });
        kept.died(ShardId(1), Died { small_bytes: 1, large_bytes: 0 });
        assert_eq!((kept.dying_bytes(), kept.settled_bytes()), (751, 0));
        kept.stopped(SHARD);
        assert_eq!((kept.dying_bytes(), kept.settled_bytes()), (1, 750));
        // It was under way: it has seen the death of some.
        kept.folded(SHARD, 20, BTreeMap::from([(3, 20), (4, 5)]));
        assert_eq!((kept.dying_bytes(), kept.settled_bytes()), (1, 30 + 700 + 25));
        kept.punched(SHARD, 600);
        kept.removed(SHARD, 3);
        assert_eq!((kept.dying_bytes(), kept.settled_bytes()), (1, 30 + 100 + 5));
    }

    #[test]
    fn a_segment_that_goes_while_a_fold_speaks_is_taken_off_once() {
        let kept = Kept::new(1);
        let both = std::sync::Barrier::new(2);
        for _ in 0..ROUNDS {
            kept.folded(SHARD, 0, BTreeMap::from([(1, 10), (2, 5)]));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    kept.removed(SHARD, 1);
                });
                both.wait();
                // It has heard that the first one goes.
                kept.folded(SHARD, 0, BTreeMap::from([(2, 5)]));
            });
            assert_eq!(kept.settled_bytes(), 5);
        }
    }

    #[test]
    fn what_a_start_finds_counts_unless_a_fold_has_spoken() {
        let kept = Kept::new(1);
        kept.found(SHARD, BTreeMap::from([(1, 10)]));
        assert_eq!(kept.settled_bytes(), 10);
        kept.folded(SHARD, 0, BTreeMap::from([(1, 12), (2, 3)]));
        kept.found(SHARD, BTreeMap::from([(1, 10)]));
        assert_eq!(kept.settled_bytes(), 15);
    }

    const ROUNDS: u32 = if cfg!(miri) { 20 } else { 2_000 };
}
