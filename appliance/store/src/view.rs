//! Reading: one instant of one shard, taken without a lock from any thread, and walks over its keys.
//! Invariant: a view shows exactly the batches up to the LSN that was durable when it was taken, each wholly or not at
//! all, and the transactions over shards up to one commit number. It never lives across an await (it is `!Send`).
//! Leaves to merge.rs: several shards at once.
//!
//! Taking a view: load the overlays, begin the LMDB transaction, load the durable LSN, and start again if the overlays
//! were exchanged meanwhile. The overlays are exchanged before a fold begins and after it has ended, so LMDB holds
//! nothing newer than the overlays that shadow it.

use std::cmp::Ordering as KeyOrder;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::fault::Fault;
use crate::grace::Pinned;
use crate::index::ReadTxn;
use crate::overlay::{Cursor, Overlay};
use crate::planted::{self, Plant};
use crate::record::Record;
use crate::shared::ShardShared;
use crate::tables::record_key;
use crate::types::{Lsn, ShardId, TableId};

/// The overlays of a shard; replaced as a whole.
pub(crate) struct Overlays {
    /// Takes the effects of new batches.
    pub(crate) active: Arc<Overlay>,
    /// Is being folded.
    pub(crate) frozen: Option<Arc<Overlay>>,
}

/// The order of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// One instant of one shard.
pub struct View<'s> {
    overlays: Pinned<'s, Overlays>,
    txn: ReadTxn<'s>,
    shard: &'s ShardShared,
    at: Lsn,
    commit: u64,
}

impl<'s> View<'s> {
    /// Takes a view whose multi-shard transactions are those up to `commit`.
    pub(crate) fn take(shard: &'s ShardShared, commit: u64) -> Result<View<'s>, Fault> {
        shard.check_readable()?;
        loop {
            let overlays = shard.overlays.pinned();
            let txn = shard.index().read()?;
            let at = Lsn(shard.durable_lsn.load(Ordering::Acquire));
            if shard.overlays.is_current(&overlays) {
                return Ok(View { overlays, txn, shard, at, commit });
            }
        }
    }

    /// The shard that it shows.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard.id
    }

    /// Whether a view taken now would show no later batch.
    pub(crate) fn is_current(&self) -> bool {
        self.shard.durable_lsn.load(Ordering::Acquire) == self.at.0
    }

    /// As if the last batch were not durable yet.
    pub(crate) fn one_batch_back(mut self) -> View<'s> {
        self.at = Lsn(self.at.0.saturating_sub(1));
        self
    }

    /// Shows the transactions up to `commit` from now on: as if it were taken again, if it is current.
    pub(crate) fn advance_to(&mut self, commit: u64) {
        self.commit = commit;
    }

    /// The last batch that the view shows.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.at
    }

    /// The record of a key. Errors: `Fault::Corrupt` when it cannot be decoded or the index is damaged.
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Record<'_>>, Fault> {
        let key = record_key(table, key);
        let found = match self.get_in_overlays(&key) {
            Some(found) => found,
            None => self.shard.index().get(&self.txn, &key)?,
        };
        self.shard.check_readable()?;
        found.map(Record::decode).transpose()
    }

    /// As `get`, for a key that often has no record: one that the index never held costs no walk there, any other a little more
    /// than with `get`.
    pub fn get_if_known(&self, table: TableId, key: &[u8]) -> Result<Option<Record<'_>>, Fault> {
        let key = record_key(table, key);
        let found = match self.get_in_overlays(&key) {
            Some(found) => found,
            // The filter has every key that the index has and these overlays have not: a fold notes its keys before it takes its
            // overlay away.
            None => self.shard.index().get_if_known(&self.txn, &key)?,
        };
        self.shard.check_readable()?;
        found.map(Record::decode).transpose()
    }

    /// What the overlays say of a key; nothing where they say nothing.
    fn get_in_overlays(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let active = self.overlays.active.get(key, self.at, self.commit);
        let seen = active.or_else(|| self.overlays.frozen.as_ref()?.get(key, self.at, self.commit));
        seen.map(|seen| seen.value)
    }

    /// Walks the records of a table from a bound on.
    pub fn scan(&self, table: TableId, start: Bound<&[u8]>, direction: Direction) -> Scan<'_> {
        let layers = Layers {
            active: &self.overlays.active,
            frozen: self.overlays.frozen.as_deref(),
            shard: self.shard,
            txn: &self.txn,
        };
        Scan::new(layers, Visible { at: self.at, commit: self.commit }, table, start, direction)
    }
}

/// The three places where a record can be, newest first.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'v> {
    pub(crate) active: &'v Overlay,
    pub(crate) frozen: Option<&'v Overlay>,
    pub(crate) shard: &'v ShardShared,
    pub(crate) txn: &'v ReadTxn<'v>,
}

/// Which versions a walk shows.
#[derive(Clone, Copy)]
pub(crate) struct Visible {
    pub(crate) at: Lsn,
    pub(crate) commit: u64,
}

enum IndexWalk<'v> {
    Forward(heed::RoRange<'v, heed::types::Bytes, heed::types::Bytes>),
    Backward(heed::RoRevRange<'v, heed::types::Bytes, heed::types::Bytes>),
}

/// A walk over the visible records of one table of one shard.
pub struct Scan<'v> {
    layers: Layers<'v>,
    visible: Visible,
    table: TableId,
    direction: Direction,
    active: Cursor<'v>,
    frozen: Option<Cursor<'v>>,
    index: Option<IndexWalk<'v>>,
    index_head: Option<(&'v [u8], &'v [u8])>,
    /// The index's next value is damaged.
    index_fault: Option<Fault>,
    pending_seek: Option<Bound<Vec<u8>>>,
    examined: u64,
    /// The greatest LSN of a pending effect that the walk met; only walks of an owner meet any.
    pub(crate) looked_at: Lsn,
    /// Only walks of an owner stop at intents.
    in_doubt_stops: bool,
    /// The intent at which the walk stopped is not even decided.
    pub(crate) met_undecided: bool,
    unseen_stops: bool,
    met_unseen: bool,
}

impl<'v> Scan<'v> {
    pub(crate) fn new(
        layers: Layers<'v>,
        visible: Visible,
        table: TableId,
        start: Bound<&[u8]>,
        direction: Direction,
    ) -> Scan<'v> {
        let mut scan = Scan {
            active: layers.active.cursor(),
            frozen: layers.frozen.map(Overlay::cursor),
            layers,
            visible,
            table,
            direction,
            index: None,
            index_head: None,
            index_fault: None,
            pending_seek: None,
            examined: 0,
            looked_at: Lsn::ZERO,
            in_doubt_stops: false,
            met_undecided: false,
            unseen_stops: false,
            met_unseen: false,
        };
        scan.seek(start);
        scan
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.layers.shard.id
    }

    /// Makes the walk answer `Fault::InDoubt` at intents.
    pub(crate) fn stop_in_doubt(&mut self) {
        self.in_doubt_stops = true;
    }

    /// Makes the walk end in front of the first key with an effect of a transaction over shards that this view does not show
    /// and a later one may. For readers that go on from where they stopped and would miss what turns up behind them: an
    /// effect has the sequence of its prepare, but shows after the decision.
    pub fn stop_at_unseen(&mut self) {
        self.unseen_stops = !planted::is(Plant::IntentSkipped);
    }

    /// Whether the walk ended by `stop_at_unseen`; more may follow then.
    #[must_use]
    pub fn met_unseen(&self) -> bool {
        self.met_unseen
    }

    /// Goes on from another bound, in the same direction.
    pub fn seek(&mut self, start: Bound<&[u8]>) {
        self.met_unseen = false;
        let start = match (start, self.direction) {
            (Bound::Included(key), _) => Bound::Included(record_key(self.table, key)),
            (Bound::Excluded(key), _) => Bound::Excluded(record_key(self.table, key)),
            (Bound::Unbounded, Direction::Forward) => Bound::Included(vec![self.table.0]),
            (Bound::Unbounded, Direction::Backward) => Bound::Excluded(vec![self.table.0 + 1]),
        };
        self.pending_seek = Some(start);
    }

    /// Keys that were looked at, deleted ones included; what budgets count.
    #[must_use]
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// The next visible record: its key without the table byte, and the record.
    #[expect(clippy::should_implement_trait, reason = "a fault is not an item: the walk may go on behind it")]
    pub fn next(&mut self) -> Result<Option<(&'v [u8], Record<'v>)>, Fault> {
        while let Some((key, record)) = self.step()? {
            if let Some(record) = record {
                return Ok(Some((key, record)));
            }
        }
        Ok(None)
    }

    /// Looks at one key, which may have no visible record; `None` at the end. For callers with a budget.
    #[expect(
        clippy::type_complexity,
        reason = "end, a key without and a key with a record are three answers"
    )]
    pub fn step(&mut self) -> Result<Option<(&'v [u8], Option<Record<'v>>)>, Fault> {
        if let Some(start) = self.pending_seek.take() {
            self.index_fault = None;
            self.position(&start)?;
            // A damaged key beside the bound may have been one of those that the walk is to show.
            if let Bound::Included(key) | Bound::Excluded(key) = &start {
                self.layers.shard.index().check_absent(key)?;
            }
        }
        if let Some(fault) = self.index_fault.take() {
            // A caller that goes on steps over it.
            self.advance_index()?;
            return Err(fault);
        }
        let active_key = self.active.key().filter(|key| self.in_table(key));
        let frozen_key = self.frozen.as_ref().and_then(Cursor::key).filter(|key| self.in_table(key));
        let index_key = self.index_head.map(|(key, _)| key).filter(|key| self.in_table(key));
        let Some(key) = self.nearest([active_key, frozen_key, index_key]) else {
            self.layers.shard.check_readable()?;
            return Ok(None);
        };
        if self.unseen_stops && self.is_hidden(active_key == Some(key), frozen_key == Some(key)) {
            self.met_unseen = true;
        }
        if self.met_unseen {
            return Ok(None);
        }
        self.examined += 1;
        let mut decided: Option<Option<&'v [u8]>> = None;
        if active_key == Some(key) {
            self.stop_at_intent()?;
            decided = self.version(&self.active);
            self.looked_at = self.looked_at.max(self.pending_lsn(&self.active));
            Self::advance(&mut self.active, self.direction);
        }
        if frozen_key == Some(key)
            && let Some(cursor) = &self.frozen
        {
            if decided.is_none() {
                decided = self.version(cursor);
                self.looked_at = self.looked_at.max(self.pending_lsn(cursor));
            }
            if let Some(cursor) = &mut self.frozen {
                Self::advance(cursor, self.direction);
            }
        }
        if index_key == Some(key) {
            if decided.is_none() {
                decided = Some(self.index_head.map(|(_, value)| value));
            }
            self.advance_index()?;
        }
        match decided.flatten() {
            Some(encoded) => {
                self.layers.shard.check_readable()?;
                Ok(Some((&key[1..], Some(Record::decode(encoded)?))))
            }
            None => Ok(Some((&key[1..], None))),
        }
    }

    /// An intent stays where it was written when its resolution is in a later overlay, so both are asked.
    fn is_hidden(&self, in_active: bool, in_frozen: bool) -> bool {
        let hides = |cursor: &Cursor<'v>| cursor.hides(self.visible.at, self.visible.commit);
        (in_active && hides(&self.active)) || (in_frozen && self.frozen.as_ref().is_some_and(hides))
    }

    /// Every unresolved intent is in the active overlay: freezing carries them there.
    fn stop_at_intent(&mut self) -> Result<(), Fault> {
        if !self.in_doubt_stops {
            return Ok(());
        }
        match self.active.latest() {
            Some(latest) if latest.is_held() => {
                self.met_undecided = latest.is_undecided();
                Err(Fault::InDoubt)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What the version at a cursor says: nothing (look further down), deleted, or a record.
    fn version(&self, cursor: &Cursor<'v>) -> Option<Option<&'v [u8]>> {
        cursor.get(self.visible.at, self.visible.commit).map(|seen| seen.value)
    }

    fn pending_lsn(&self, cursor: &Cursor<'v>) -> Lsn {
        if self.in_doubt_stops { cursor.latest().map_or(Lsn::ZERO, |latest| latest.lsn) } else { Lsn::ZERO }
    }

    fn in_table(&self, key: &[u8]) -> bool {
        key.first() == Some(&self.table.0)
    }

    fn nearest(&self, keys: [Option<&'v [u8]>; 3]) -> Option<&'v [u8]> {
        let wanted = match self.direction {
            Direction::Forward => KeyOrder::Less,
            Direction::Backward => KeyOrder::Greater,
        };
        keys.into_iter().flatten().reduce(|best, key| if key.cmp(best) == wanted { key } else { best })
    }

    fn advance(cursor: &mut Cursor<'v>, direction: Direction) {
        match direction {
            Direction::Forward => cursor.next(),
            Direction::Backward => cursor.prev(),
        }
    }

    fn position(&mut self, start: &Bound<Vec<u8>>) -> Result<(), Fault> {
        let bound = match start {
            Bound::Included(key) => Bound::Included(key.as_slice()),
            Bound::Excluded(key) => Bound::Excluded(key.as_slice()),
            Bound::Unbounded => Bound::Unbounded,
        };
        Self::seek_cursor(&mut self.active, bound, self.direction);
        if let Some(cursor) = &mut self.frozen {
            Self::seek_cursor(cursor, bound, self.direction);
        }
        self.index = Some(match self.direction {
            Direction::Forward => {
                IndexWalk::Forward(self.layers.shard.index().range(self.layers.txn, bound)?)
            }
            Direction::Backward => {
                IndexWalk::Backward(self.layers.shard.index().rev_range(self.layers.txn, bound)?)
            }
        });
        self.advance_index()
    }

    fn seek_cursor(cursor: &mut Cursor<'v>, bound: Bound<&[u8]>, direction: Direction) {
        let (key, inclusive) = match bound {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => (&[][..], true),
        };
        match direction {
            Direction::Forward => {
                cursor.seek(key);
                if !inclusive && cursor.key() == Some(key) {
                    cursor.next();
                }
            }
            Direction::Backward => cursor.seek_before(key, inclusive),
        }
    }

    fn advance_index(&mut self) -> Result<(), Fault> {
        let item = match &mut self.index {
            Some(IndexWalk::Forward(walk)) => walk.next(),
            Some(IndexWalk::Backward(walk)) => walk.next(),
            None => None,
        };
        let index = self.layers.shard.index();
        self.index_head = None;
        if let Some((key, stored)) = item.transpose().map_err(|error| index.fault("walk", error))? {
            // Behind the table's last key the walk ends, unless a damaged key there may have been the table's last.
            if !self.in_table(key) {
                self.index_fault = index.check_absent(key).err();
                return Ok(());
            }
            match index.check(key, stored) {
                Ok(value) => self.index_head = Some((key, value)),
                // Told in its turn: the record at hand is sound.
                Err(fault) => self.index_fault = Some(fault),
            }
        }
        Ok(())
    }
}
