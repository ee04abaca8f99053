//! What passing tables still take of the disk though nothing names it: bodies that died and were not given back yet, and what
//! they leave in segments in which others live.
//! Invariant: never less than there is, but for what died within the part of the log that a start replays; a body that died
//! counts as dying from the operation that released it until the fold and the reclaiming behind it have seen it.
//! Leaves to owner.rs and reclaim.rs: the counting. To a service: keeping its limit with it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::types::ShardId;

/// The figures of all shards. They outlive the store, and then say what was last.
pub struct Kept {
    shards: Box<[OfShard]>,
}

#[derive(Default)]
struct OfShard {
    dying_bytes: AtomicU64,
    settled_bytes: AtomicU64,
    is_wanted: AtomicBool,
}

impl Kept {
    pub(crate) fn new(shard_count: usize) -> Kept {
        Kept { shards: (0..shard_count).map(|_| OfShard::default()).collect() }
    }

    /// Bytes of bodies whose records are gone, and which the next fold and what follows it give back.
    #[must_use]
    pub fn dying_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.dying_bytes.load(Ordering::Acquire)).sum()
    }

    /// Bytes that stayed when all was given back that could be: the ends of bodies that share a block with one that lives, and
    /// those that somebody reads.
    #[must_use]
    pub fn settled_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.settled_bytes.load(Ordering::Acquire)).sum()
    }

    /// Has every shard fold what is older than a second, so that what died is given back.
    pub fn want(&self) {
        self.shards.iter().for_each(|shard| shard.is_wanted.store(true, Ordering::Relaxed));
    }

    pub(crate) fn is_wanted(&self, shard: ShardId) -> bool {
        let shard = self.of(shard);
        shard.is_wanted.load(Ordering::Relaxed) && shard.dying_bytes.load(Ordering::Relaxed) > 0
    }

    /// A fold begins.
    pub(crate) fn answer(&self, shard: ShardId) {
        self.of(shard).is_wanted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn died(&self, shard: ShardId, bytes: u64) {
        self.of(shard).dying_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// What a fold has seen die is given back, or counts among what stays.
    pub(crate) fn settle(&self, shard: ShardId, died_bytes: u64, settled_bytes: Option<u64>) {
        if let Some(bytes) = settled_bytes {
            self.of(shard).settled_bytes.store(bytes, Ordering::Release);
        }
        self.of(shard).dying_bytes.fetch_sub(died_bytes, Ordering::AcqRel);
    }

    fn of(&self, shard: ShardId) -> &OfShard {
        &self.shards[usize::from(shard.0)]
    }
}
