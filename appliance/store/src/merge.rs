//! One cut over all shards, and walks over all of them in one order.
//! Invariant: a transaction over shards is in all of the views or in none of them; keys come out sorted, each once,
//! since a key lives on one shard.

use std::ops::Bound;

use crate::fault::Fault;
use crate::record::Record;
use crate::shared::Shared;
use crate::types::{ShardId, TableId};
use crate::view::{Direction, Scan, View};

/// Attempts to find an instant at which no transaction over shards was being published.
const CUT_ATTEMPTS: u32 = 1_000;

/// One consistent cut over all shards.
pub struct Views<'s> {
    views: Vec<View<'s>>,
}

impl<'s> Views<'s> {
    /// Takes the cut. A commit that is published while the views are opened would be on one shard as plain values and on
    /// another not at all, so the counter is read before and after.
    pub(crate) fn take(shared: &'s Shared) -> Result<Views<'s>, Fault> {
        for _ in 0..CUT_ATTEMPTS {
            let commit = shared.commits.load();
            let views: Vec<View<'s>> =
                shared.shards.iter().map(|shard| View::take(shard, commit)).collect::<Result<_, _>>()?;
            if shared.commits.load() == commit {
                return Ok(Views { views });
            }
        }
        Err(Fault::InDoubt)
    }

    /// The view of one shard.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> &View<'s> {
        &self.views[usize::from(shard.0)]
    }

    /// Walks a table over all shards in key order.
    #[must_use]
    pub fn scan(&self, table: TableId, start: Bound<&[u8]>, direction: Direction) -> MergedScan<'_> {
        let scans = self.views.iter().map(|view| view.scan(table, start, direction)).collect();
        MergedScan::new(scans, direction)
    }
}

struct Head<'v> {
    key: &'v [u8],
    record: Record<'v>,
    scan: usize,
}

/// A walk over one table of all shards. A cursor that runs out is not asked again.
pub struct MergedScan<'v> {
    scans: Vec<Scan<'v>>,
    /// The next record of each shard that has one, sorted so that the nearest is last.
    heads: Vec<Head<'v>>,
    /// Shards whose next record is not known.
    unread: Vec<usize>,
    direction: Direction,
}

impl<'v> MergedScan<'v> {
    fn new(scans: Vec<Scan<'v>>, direction: Direction) -> MergedScan<'v> {
        let unread = (0..scans.len()).collect();
        MergedScan { heads: Vec::with_capacity(scans.len()), scans, unread, direction }
    }

    /// The next record: its shard, its key without the table byte, and the record.
    #[expect(clippy::should_implement_trait, reason = "a fault is not an item: the walk may go on behind it")]
    #[expect(clippy::type_complexity, reason = "end, fault and a record with its key are three answers")]
    pub fn next(&mut self) -> Result<Option<(ShardId, &'v [u8], Record<'v>)>, Fault> {
        while let Some(scan) = self.unread.pop() {
            if let Some((key, record)) = self.scans[scan].next()? {
                self.insert(Head { key, record, scan });
            }
        }
        let Some(head) = self.heads.pop() else { return Ok(None) };
        self.unread.push(head.scan);
        Ok(Some((ShardId(head.scan as u16), head.key, head.record)))
    }

    /// Goes on from another bound that lies ahead. Shards whose next record is not before it stay where they are.
    pub fn seek(&mut self, start: Bound<&[u8]>) {
        let direction = self.direction;
        let stands = |key: &[u8]| match (start, direction) {
            (Bound::Included(bound), Direction::Forward) => key >= bound,
            (Bound::Excluded(bound), Direction::Forward) => key > bound,
            (Bound::Included(bound), Direction::Backward) => key <= bound,
            (Bound::Excluded(bound), Direction::Backward) => key < bound,
            (Bound::Unbounded, _) => true,
        };
        let (keep, behind): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.heads).into_iter().partition(|head| stands(head.key));
        self.heads = keep;
        self.unread.extend(behind.into_iter().map(|head| head.scan));
        for scan in &self.unread {
            self.scans[*scan].seek(start);
        }
    }

    /// Keys that were looked at on all shards.
    #[must_use]
    pub fn examined(&self) -> u64 {
        self.scans.iter().map(Scan::examined).sum()
    }

    fn insert(&mut self, head: Head<'v>) {
        let direction = self.direction;
        let place = self.heads.partition_point(|other| match direction {
            Direction::Forward => other.key > head.key,
            Direction::Backward => other.key < head.key,
        });
        self.heads.insert(place, head);
    }
}
