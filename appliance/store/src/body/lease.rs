//! Who answers for an extent between its allocation and its record: a lease. A lease that ends without a record puts
//! the room on the list of orphans, which the reclaimer punches.
//! Invariant: room that was handed out is in a record, in a lease, or among the orphans; never in two of them.
//! Leaves to ../sweep.rs: orphans of an earlier run of the process, which no list remembers.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::{Extent, ShardId};

use super::extent::span_bytes;

/// A run of bytes in an extents segment that belongs to no body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// In whose directory the segment lies.
    pub shard: ShardId,
    /// The segment.
    pub segment: u64,
    /// First byte, a multiple of 4,096.
    pub offset: u32,
    /// Number of bytes, a multiple of 4,096.
    pub length: u32,
}

impl Run {
    /// The room of an extent.
    #[must_use]
    pub fn of(extent: &Extent) -> Run {
        let length = span_bytes(extent.data_bytes);
        Run { shard: extent.id.shard, segment: extent.id.segment, offset: extent.id.offset, length }
    }
}

/// Room to be punched, from all cores of the process.
#[derive(Clone, Default)]
pub struct Orphans {
    list: Arc<Mutex<List>>,
}

#[derive(Default)]
struct List {
    runs: Vec<Run>,
    /// Runs that found the list full; they wait for a scan.
    lost: u64,
}

impl Orphans {
    /// An empty list.
    #[must_use]
    pub fn new() -> Orphans {
        Orphans::default()
    }

    /// Adds a run. A full list forgets it: then only a scan finds it again, and `lost` says so.
    pub fn push(&self, run: Run) {
        let mut list = self.lock();
        if list.runs.len() >= ORPHANS_MAX {
            list.lost += 1;
        } else if run.length > 0 {
            list.runs.push(run);
        }
    }

    /// Takes all runs off the list.
    #[must_use]
    pub fn take(&self) -> Vec<Run> {
        std::mem::take(&mut self.lock().runs)
    }

    /// How many runs wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().runs.len()
    }

    /// How many runs were forgotten because the list was full.
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // Every step leaves the list whole.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The room of a body that is being written. The writer and its write in flight share it, so that an abandoned body
/// becomes an orphan only when nothing can write into it any more: a punch before the last write would free nothing.
pub(super) struct Lease {
    runs: RefCell<Vec<Run>>,
    orphans: Orphans,
}

impl Lease {
    pub(super) fn new(orphans: Orphans) -> Lease {
        Lease { runs: RefCell::default(), orphans }
    }

    /// Answers for another extent's room.
    pub(super) fn add(&self, run: Run) {
        self.runs.borrow_mut().push(run);
    }

    /// The last extent gave room back or turned out shorter.
    pub(super) fn shorten_last(&self, length: u32) {
        if let Some(last) = self.runs.borrow_mut().last_mut() {
            last.length = length;
        }
    }

    /// Ends the lease without orphans: someone else answers now.
    pub(super) fn disarm(&self) {
        self.runs.borrow_mut().clear();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for run in self.runs.get_mut().drain(..) {
            self.orphans.push(run);
        }
    }
}

/// 24 bytes each: 1.5 MiB. Aborted uploads between two passes of the reclaimer do not come near it.
const ORPHANS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_forgets_and_says_so() {
        let orphans = Orphans::new();
        for index in 0..ORPHANS_MAX as u64 + 3 {
            orphans.push(Run { shard: ShardId(0), segment: index, offset: 0, length: 4096 });
        }
        assert_eq!((orphans.count(), orphans.lost_count()), (ORPHANS_MAX, 3));
        assert_eq!(orphans.take().len(), ORPHANS_MAX);
        assert_eq!(orphans.count(), 0);
    }
}
