//! Room on the disk that is spoken for: what the folds of all shards still have to write before anything can be given back.
//! Invariant: nobody but a fold takes blocks (a log segment, a segment for large bodies) that would leave less than that.
//! Leaves to the companions: measuring what a fold needs. To the index and the ballast: room that is a fold's own.
//!
//! A fold that finds no room is a dead end: what was deleted cannot be given back, and the log cannot go on. So everything
//! that can be refused is refused before that.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::SHARD_COUNT_MAX;
use crate::disk::Disk;
use crate::fault::Fault;
use crate::types::ShardId;

/// What each shard's folds still need, in bytes.
pub struct Room {
    promised: [AtomicU64; SHARD_COUNT_MAX as usize],
}

impl Default for Room {
    fn default() -> Room {
        Room { promised: [const { AtomicU64::new(0) }; SHARD_COUNT_MAX as usize] }
    }
}

impl Room {
    /// From now on a shard's folds need so much.
    pub fn promise(&self, shard: ShardId, bytes: u64) {
        self.promised[usize::from(shard.0)].store(bytes, Ordering::Relaxed);
    }

    /// What the folds of all shards need together.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.promised.iter().map(|shard| shard.load(Ordering::Relaxed)).sum()
    }

    /// What may be taken in `dir` by others than folds. A file system that does not say counts as having room; a write that
    /// fails says it then.
    #[must_use]
    pub fn free_for_all(&self, disk: &dyn Disk, dir: &Path) -> u64 {
        disk.free_bytes(dir).map_or(u64::MAX, |free| free.saturating_sub(self.promised()))
    }

    /// Whether somebody else than a fold may take so much. Errors: `Fault::Full`.
    pub fn check(&self, disk: &dyn Disk, dir: &Path, bytes: u64) -> Result<(), Fault> {
        if self.free_for_all(disk, dir) < bytes { Err(Fault::Full) } else { Ok(()) }
    }
}

/// What a shard holds in memory and in its log that no fold has written yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unfolded {
    pub(crate) entries: u64,
    /// Of the overlays' arenas.
    pub(crate) overlay_bytes: u64,
    /// Of the log since the oldest of them, bodies included.
    pub(crate) log_bytes: u64,
}

/// Bytes that a fold may need beyond those that are free within the index. It may write a page for each entry, yet not more
/// than all pages once and what is new twice, since a page that splits is half full; and every body that is in the log.
pub(crate) fn fold_bytes(unfolded: Unfolded, index_used_bytes: u64, index_free_bytes: u64) -> u64 {
    let touched = unfolded.entries.saturating_mul(TOUCHED_BYTES);
    let at_most = index_used_bytes.saturating_add(2 * unfolded.overlay_bytes);
    touched.min(at_most).saturating_sub(index_free_bytes).saturating_add(unfolded.log_bytes)
}

/// A leaf, and a part of the branches above it.
const TOUCHED_BYTES: u64 = 4096 + 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn what_folds_need_is_refused_to_others() {
        let (room, disk) = (Room::default(), RealDisk);
        let dir = std::env::temp_dir();
        let free = disk.free_bytes(&dir).expect("says");
        // Others use the disk meanwhile: the margins are wide.
        room.check(&disk, &dir, free / 2).expect("nothing is promised");
        room.promise(ShardId(3), free / 2);
        room.promise(ShardId(4), free);
        assert!(matches!(room.check(&disk, &dir, 1), Err(Fault::Full)));
        room.promise(ShardId(4), 0);
        room.check(&disk, &dir, free / 8).expect("the rest is free");
        assert!(matches!(room.check(&disk, &dir, free / 4 * 3), Err(Fault::Full)));
    }

    #[test]
    fn a_fold_needs_a_page_for_each_entry_but_not_more_than_there_are() {
        let few = Unfolded { entries: 10, overlay_bytes: 1_000, log_bytes: 500 };
        assert_eq!(fold_bytes(few, 1 << 30, 0), 10 * TOUCHED_BYTES + 500);
        assert_eq!(fold_bytes(few, 1 << 30, 1 << 20), 500, "free pages of the index are taken first");
        let many = Unfolded { entries: 1_000_000, overlay_bytes: 1 << 20, log_bytes: 0 };
        assert_eq!(fold_bytes(many, 1 << 20, 0), 3 << 20);
    }
}
