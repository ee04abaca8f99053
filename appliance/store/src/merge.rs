//! One cut over all shards, one instant of some, and walks over all of them in one order.
//! Invariant: a transaction over shards is in all of the views or in none of them; keys come out sorted, each once,
//! since a key lives on one shard.

use std::ops::Bound;

use crate::fault::Fault;
use crate::planted::{self, Plant};
use crate::record::Record;
use crate::shared::Shared;
use crate::types::{ShardId, TableId};
use crate::view::{Direction, Scan, View};

/// Attempts to find an instant at which no transaction over shards was being published.
const CUT_ATTEMPTS: u32 = 1_000;

/// Attempts to find an instant at which nothing was being published on the shards of a view.
const INSTANT_ATTEMPTS: u32 = 10_000;

/// One consistent cut over all shards, or one instant of some.
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

    /// Takes views that are all of one instant: between two looks at the commit counter and at every durable LSN nothing
    /// has changed, so that each view was the newest one of its shard at the end of the first look. A view that is not any
    /// more is taken again by itself: with many busy shards all of them would never be quiet for as long as all views take.
    pub(crate) fn take_instant(shared: &'s Shared, shards: &[ShardId]) -> Result<Views<'s>, Fault> {
        Views::take_instant_beside(shared, shards, &mut |_| ())
    }

    /// `taken` hears of every view of the first look, so that a test can have something written in between.
    fn take_instant_beside(
        shared: &'s Shared,
        shards: &[ShardId],
        taken: &mut dyn FnMut(ShardId),
    ) -> Result<Views<'s>, Fault> {
        let mut commit = shared.commits.load();
        let mut views: Vec<View<'s>> = Vec::with_capacity(shards.len());
        for shard in shards {
            if !views.iter().any(|view| view.shard() == *shard) {
                views.push(View::take(shared.shard(*shard), commit)?);
                taken(*shard);
            }
        }
        if planted::is(Plant::CutNotInstant) {
            return Ok(Views { views });
        }
        for _ in 0..INSTANT_ATTEMPTS {
            let now = shared.commits.load();
            let mut has_moved = now != commit;
            commit = now;
            for view in &mut views {
                view.advance_to(commit);
                if !view.is_current() {
                    *view = View::take(shared.shard(view.shard()), commit)?;
                    has_moved = true;
                }
            }
            if !has_moved {
                return Ok(Views { views });
            }
        }
        Err(Fault::InDoubt)
    }

    /// The view of one shard.
    ///
    /// # Panics
    /// When the views were taken of other shards.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> &View<'s> {
        let at_its_place = self.views.get(usize::from(shard.0)).filter(|view| view.shard() == shard);
        let anywhere = || self.views.iter().find(|view| view.shard() == shard);
        at_its_place.or_else(anywhere).expect("the caller named the shards of these views")
    }

    /// Walks a table over all shards of these views in key order.
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
        Ok(Some((self.scans[head.scan].shard(), head.key, head.record)))
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::open::Opened;
    use crate::tx::{Operation, Outcome, Tx};
    use crate::{Store, StoreConfig};

    const TABLE: TableId = TableId(16);

    struct Put;

    impl Operation for Put {
        type Reply = ();

        fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

        fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
            tx.put(TABLE, b"k", b"v", Vec::new(), false);
            Ok(Outcome::Commit(()))
        }
    }

    fn opened(name: &str) -> (Opened, std::path::PathBuf) {
        let index_root = std::env::temp_dir().join(format!("zerocloud-{name}-{}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&index_root));
        let mut config = StoreConfig::new("/data".into(), 2, Arc::new(SimDisk::new(1)));
        config.index_root = index_root.clone();
        config.map_bytes_total = 1 << 30;
        config.ballast_bytes = 0;
        (Opened::open(config, false, 1).expect("opens"), index_root)
    }

    #[test]
    fn a_write_between_two_views_of_an_instant_is_in_both_or_in_none() {
        let (opened, index_root) = opened("instant");
        let opened = Arc::new(opened);
        // Writes on both shards, one after the other, each time it is asked to, and says when both are acknowledged.
        let (ask, asked) = mpsc::channel::<()>();
        let (say, said) = mpsc::channel();
        let writer = {
            let opened = Arc::clone(&opened);
            std::thread::spawn(move || {
                let mut reactor = ring::Reactor::new(&ring::ReactorConfig::default()).expect("reactor");
                reactor.block_on(async {
                    let store: Store = opened.start_core(0, 1, 1).expect("starts");
                    say.send(()).expect("heard");
                    while asked.recv().is_ok() {
                        for shard in [ShardId(0), ShardId(1)] {
                            store.submit(shard, Put).await.expect("acknowledged");
                        }
                        say.send(()).expect("heard");
                    }
                });
                drop(reactor);
            })
        };
        said.recv().expect("started");
        let shared = Arc::clone(opened.shared());
        let views = Views::take_instant_beside(&shared, &[ShardId(0), ShardId(1)], &mut |shard| {
            if shard == ShardId(0) {
                ask.send(()).expect("heard");
                said.recv().expect("written");
            }
        });
        let views = views.expect("an instant");
        let shown =
            [0, 1].map(|shard| views.shard(ShardId(shard)).get(TABLE, b"k").expect("reads").is_some());
        assert_eq!(shown, [true, true], "the second write without the first");
        drop(views);
        drop((ask, shared));
        writer.join().expect("the writer ended well");
        Arc::into_inner(opened).expect("all have let go").close();
        std::fs::remove_dir_all(index_root).expect("removed");
    }
}
