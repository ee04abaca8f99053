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
    /// What is dead in each packed segment.
    segments: Mutex<BTreeMap<u64, u64>>,
    /// The sum of those, and what a shard that stopped will never give back.
    settled_bytes: AtomicU64,
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
        let dying = |shard: &OfShard| {
            shard.dying_small_bytes.load(Ordering::Acquire) + shard.dying_large_bytes.load(Ordering::Acquire)
        };
        self.shards.iter().map(dying).sum()
    }

    /// Bytes of dead bodies in packed segments in which others live, or which somebody reads.
    #[must_use]
    pub fn settled_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.settled_bytes.load(Ordering::Acquire)).sum()
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

    /// A fold has booked the small bodies that died before it: so much is dead in each segment now.
    pub(crate) fn folded(&self, shard: ShardId, small_bytes: u64, segments: BTreeMap<u64, u64>) {
        let shard = self.of(shard);
        shard.settled_bytes.store(segments.values().sum(), Ordering::Release);
        *lock(&shard.segments) = segments;
        subtract(&shard.dying_small_bytes, small_bytes);
    }

    /// Extents of so many bytes were given back.
    pub(crate) fn punched(&self, shard: ShardId, large_bytes: u64) {
        subtract(&self.of(shard).dying_large_bytes, large_bytes);
    }

    /// The file of a packed segment is gone.
    pub(crate) fn removed(&self, shard: ShardId, segment: u64) {
        let shard = self.of(shard);
        let mut segments = lock(&shard.segments);
        if let Some(bytes) = segments.remove(&segment) {
            subtract(&shard.settled_bytes, bytes);
        }
    }

    /// The shard takes no more writes: what was dying stays until the next start.
    pub(crate) fn stopped(&self, shard: ShardId) {
        let shard = self.of(shard);
        let dying = shard.dying_small_bytes.swap(0, Ordering::AcqRel)
            + shard.dying_large_bytes.swap(0, Ordering::AcqRel);
        shard.settled_bytes.fetch_add(dying, Ordering::AcqRel);
    }

    fn of(&self, shard: ShardId) -> &OfShard {
        &self.shards[usize::from(shard.0)]
    }
}

/// Not below nothing: what was dying when a shard stopped has been moved.
fn subtract(figure: &AtomicU64, bytes: u64) {
    let lower = |now: u64| Some(now.saturating_sub(bytes));
    let _was: Result<u64, u64> = figure.fetch_update(Ordering::AcqRel, Ordering::Acquire, lower);
}
