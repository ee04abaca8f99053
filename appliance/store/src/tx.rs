//! What an operation sees and does while it runs on the shard that owns its key.
//! Invariant: an operation sees every effect before it, pending ones included, and its own; if it fails or rolls back,
//! none of its effects exist. The bodies that its effects no longer name are released with them.
//! Leaves to owner.rs: putting the effects into a batch.

mod body;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};

pub use self::body::{Body, NewBody};
use crate::body::extent::span_bytes;
use crate::counter::{self, Counting};
use crate::fault::Fault;
use crate::index::ReadTxn;
use crate::kept::Died;
use crate::overlay::Overlay;
use crate::placement::Placement;
use crate::planted::{self, Plant};
use crate::record::{BodyRef, Record};
use crate::resident::{Change, Residents};
use crate::shared::ShardShared;
use crate::tables::{DUE, record_key};
use crate::types::{Lsn, ShardId, TableId, Timestamp, VALUE_BYTES_MAX};
use crate::view::{Direction, Layers, Scan, Visible};
use crate::wait::WaitKey;

/// A unit of work that runs synchronously on one shard. It is dropped before its caller has the outcome.
pub trait Operation: Send + 'static {
    /// What the caller gets when the operation's effects, and all that it looked at, are durable.
    type Reply: Send + 'static;

    /// Names every key and every start of a range that `execute` will touch, so that a cold index is read ahead.
    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8]));

    /// Whether it takes away more than it writes: such an operation is admitted on a full disk too, where it is what makes
    /// room again.
    fn frees(&self) -> bool {
        false
    }

    /// Decides and writes. It may be called again: when a key was in doubt, when the batch had no room left, when it waited.
    /// So it must not give its own data away, and changes residents by `Tx::then` only.
    /// Errors: pass on those of `tx`; nothing of this operation happens then.
    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault>;
}

/// How an operation ended.
pub enum Outcome<R> {
    /// Keep the effects.
    Commit(R),
    /// Drop the effects; the reply still waits for what was looked at.
    Rollback(R),
    /// Drop the effects and run again: when the key is woken, or at `until`, which has passed then. Whose caller has gone away
    /// meanwhile is dropped. Not for a part of a transaction over shards.
    Wait {
        /// What it waits for.
        key: WaitKey,
        /// When it runs again at the latest.
        until: Timestamp,
    },
}

/// A record with bytes of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnedRecord {
    /// The service's bytes.
    pub value: Vec<u8>,
    /// The record's bodies.
    pub bodies: Vec<BodyRef>,
}

/// How a bounded scan ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScanEnd {
    /// The range has no more keys.
    Done,
    /// The callback broke off.
    Stopped,
    /// The budget was spent; go on behind this key.
    Continue(Vec<u8>),
}

/// A write that waits for its operation to succeed.
pub(crate) struct Staged {
    pub(crate) key: Vec<u8>,
    /// Nothing: the key is deleted.
    pub(crate) record: Option<StagedRecord>,
    pub(crate) fresh: bool,
    /// What was added to a counter; the record is then what it comes to.
    pub(crate) change: Option<[i64; 2]>,
}

pub(crate) struct StagedRecord {
    pub(crate) value: Vec<u8>,
    pub(crate) bodies: Vec<Body>,
}

/// What an operation leaves behind.
pub(crate) struct Effects {
    pub(crate) staged: Vec<Staged>,
    /// Keys that belong to the transaction over shards until it is decided.
    pub(crate) held: Vec<Vec<u8>>,
    /// Bodies of the records that the staged writes replace or remove.
    pub(crate) replaced: Vec<BodyRef>,
    /// About what those of passing tables took of the disk.
    pub(crate) died: Died,
}

/// The inputs that are not data: clock, randomness, and the number of the batch.
pub(crate) struct TxInputs {
    pub(crate) now: Timestamp,
    pub(crate) random: u64,
    pub(crate) lsn: Lsn,
    pub(crate) first_position: u64,
    pub(crate) placement: Placement,
    pub(crate) waits_end: bool,
}

/// The state of a shard as one operation sees it.
pub struct Tx<'a> {
    shard: &'a ShardShared,
    active: &'a Overlay,
    frozen: Option<&'a Overlay>,
    counting: &'a Counting,
    residents: &'a Residents,
    txn: ReadTxn<'a>,
    staged: Vec<Staged>,
    /// Keys that stay as they are until the transaction is decided.
    holds: Vec<Vec<u8>>,
    /// Keys read so far and the bodies of their records, if there are any, so that releasing them needs no second look.
    read: Vec<(Vec<u8>, Vec<BodyRef>)>,
    looked_at: Lsn,
    /// What the residents rest on that were looked at.
    residents_rest_on: Cell<Lsn>,
    changes: Vec<Change>,
    alarms: Vec<(WaitKey, Timestamp)>,
    met_undecided: bool,
    pub(crate) inputs: TxInputs,
    positions_used: u64,
}

/// Records whose bodies a transaction remembers; beyond that it looks again.
const READ_MEMORY_COUNT: usize = 32;
/// What a packed body takes beside its bytes, about.
const PACKED_HEAD_BYTES: u64 = 64;

impl<'a> Tx<'a> {
    pub(crate) fn new(
        shard: &'a ShardShared,
        active: &'a Overlay,
        frozen: Option<&'a Overlay>,
        counting: &'a Counting,
        residents: &'a Residents,
        inputs: TxInputs,
    ) -> Result<Tx<'a>, Fault> {
        Ok(Tx {
            txn: shard.index().read()?,
            shard,
            active,
            frozen,
            counting,
            residents,
            staged: Vec::new(),
            holds: Vec::new(),
            read: Vec::new(),
            looked_at: Lsn::ZERO,
            residents_rest_on: Cell::new(Lsn::ZERO),
            changes: Vec::new(),
            alarms: Vec::new(),
            met_undecided: false,
            inputs,
            positions_used: 0,
        })
    }

    /// The time at which this operation runs.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inputs.now
    }

    /// The shard on which this operation runs.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard.id
    }

    /// A random number (SplitMix64 over the turn's seed).
    pub fn random(&mut self) -> u64 {
        self.inputs.random = self.inputs.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.inputs.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number greater than every number that a committed operation of this shard ever got.
    pub fn next_sequence(&mut self) -> u128 {
        let position = self.inputs.first_position + self.positions_used;
        self.positions_used += 1;
        (u128::from(self.inputs.lsn.0) << 64) | u128::from(position)
    }

    /// The record of a key. Errors: `Fault::InDoubt` when a transaction that is not resolved yet holds the key.
    pub fn get(&mut self, table: TableId, key: &[u8]) -> Result<Option<OwnedRecord>, Fault> {
        self.get_ref(table, key, |record| {
            record.map(|record| OwnedRecord { value: record.value.to_vec(), bodies: record.bodies })
        })
    }

    /// Shows the record of a key to `look`, in place, and gives what that makes of it. Errors: as `get`.
    pub fn get_ref<R>(
        &mut self,
        table: TableId,
        key: &[u8],
        look: impl FnOnce(Option<Record<'_>>) -> R,
    ) -> Result<R, Fault> {
        let key = record_key(table, key);
        if let Some(staged) = self.staged.iter().rev().find(|staged| staged.key == key) {
            let new = |record: &StagedRecord| record.bodies.iter().any(|body| matches!(body, Body::New(_)));
            if staged.record.as_ref().is_some_and(new) {
                // Its bodies have no place yet; a record without them would lose them when it is put again.
                return Err(Fault::corrupt(
                    "an operation reads back a record to which it put a new body".into(),
                ));
            }
            return Ok(look(staged.record.as_ref().map(staged_record)));
        }
        let found = self.get_committed(&key)?;
        let bodies = found.as_ref().map_or_else(Vec::new, |record| record.bodies.clone());
        let seen = look(found);
        if self.read.len() < READ_MEMORY_COUNT && !self.shard.is_bodyless(&key) {
            self.read.push((key, bodies));
        }
        Ok(seen)
    }

    /// Whether the transaction at which a `get` or `scan` of this operation last answered `Fault::InDoubt` is not even
    /// decided. A decided one is resolved within a batch, so an operation that passes that fault on does not wait long.
    #[must_use]
    pub fn met_undecided(&self) -> bool {
        self.met_undecided
    }

    /// Walks records in key order until the callback breaks or `budget_examined` keys were looked at.
    pub fn scan(
        &mut self,
        table: TableId,
        start: Bound<&[u8]>,
        direction: Direction,
        budget_examined: u64,
        each: &mut dyn FnMut(&[u8], Record<'_>) -> ControlFlow<()>,
    ) -> Result<ScanEnd, Fault> {
        if self.counting.of_table(table).next().is_some() {
            self.looked_at = self.looked_at.max(self.inputs.lsn);
        }
        let own = self.own_writes(table, start, direction);
        let mut own = own.iter().peekable();
        let layers = Layers { active: self.active, frozen: self.frozen, shard: self.shard, txn: &self.txn };
        let all = Visible { at: Lsn::MAX, commit: u64::MAX };
        let mut scan = Scan::new(layers, all, table, start, direction);
        scan.stop_in_doubt();
        // The last key that was looked at, returned or not: a budget spent on deleted keys must lead on too.
        let mut last = Vec::new();
        let mut head = None;
        let mut more = true;
        let end = loop {
            if head.is_none() && more {
                if scan.examined() >= budget_examined && !last.is_empty() {
                    break ScanEnd::Continue(last);
                }
                match scan.step() {
                    Ok(Some((key, record))) => head = Some((key, record)),
                    Ok(None) => more = false,
                    Err(fault) => {
                        if matches!(fault, Fault::InDoubt) {
                            self.met_undecided = scan.met_undecided;
                        }
                        return Err(fault);
                    }
                }
            }
            let own_is_next = match (own.peek(), &head) {
                (None, None) => break ScanEnd::Done,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((key, _)), Some((other, _))) if direction == Direction::Forward => {
                    key.as_slice() <= *other
                }
                (Some((key, _)), Some((other, _))) => key.as_slice() >= *other,
            };
            let (key, own_record, found) = if own_is_next {
                let Some((key, record)) = own.next() else { break ScanEnd::Done };
                if head.as_ref().is_some_and(|(other, _)| *other == key.as_slice()) {
                    head = None;
                }
                (key.as_slice(), record.as_ref(), None)
            } else {
                let Some((key, record)) = head.take() else { break ScanEnd::Done };
                (key, None, record)
            };
            last.clear();
            last.extend_from_slice(key);
            if let Some(record) = own_record.cloned().or(found)
                && each(key, record).is_break()
            {
                break ScanEnd::Stopped;
            }
        };
        self.looked_at = self.looked_at.max(scan.looked_at);
        Ok(end)
    }

    /// Sets the record of a key. `fresh`: the service knows that the key has none.
    ///
    /// # Panics
    /// When the value is longer than `VALUE_BYTES_MAX`, which services bound, and when the table is one without bodies and
    /// there is one.
    pub fn put(&mut self, table: TableId, key: &[u8], value: &[u8], bodies: Vec<Body>, fresh: bool) {
        assert!(value.len() <= VALUE_BYTES_MAX, "a service handed in a value of {} bytes", value.len());
        let key = record_key(table, key);
        assert!(bodies.is_empty() || !self.shard.is_bodyless(&key), "a body in table {}", table.0);
        let record = StagedRecord { value: value.to_vec(), bodies };
        self.staged.push(Staged { key, record: Some(record), fresh, change: None });
    }

    /// Sets the value of a counter, to which `change` was added; nothing when it has come to nothing.
    pub(crate) fn stage_counter(
        &mut self,
        table: TableId,
        key: &[u8],
        value: Option<Vec<u8>>,
        change: [i64; 2],
    ) {
        let record = value.map(|value| StagedRecord { value, bodies: Vec::new() });
        self.staged.push(Staged { key: record_key(table, key), record, fresh: false, change: Some(change) });
    }

    /// Removes the record of a key, if there is one.
    pub fn delete(&mut self, table: TableId, key: &[u8]) {
        self.staged.push(Staged { key: record_key(table, key), record: None, fresh: false, change: None });
    }

    /// Keeps the key as it is until the transaction over shards in which this operation takes part is decided, for a
    /// decision that rests on it: others that write the key wait, or hear `Fault::InDoubt`. An operation by itself needs
    /// none, since nothing comes between what it reads and what it writes.
    pub fn hold(&mut self, table: TableId, key: &[u8]) {
        self.holds.push(record_key(table, key));
    }

    /// Enters a key into the due index.
    pub fn due(&mut self, at: Timestamp, table: TableId, key: &[u8]) {
        self.put(DUE, &due_key(at, table, key), &[], Vec::new(), false);
    }

    /// Takes a key out of the due index.
    pub fn undue(&mut self, at: Timestamp, table: TableId, key: &[u8]) {
        self.delete(DUE, &due_key(at, table, key));
    }

    /// What is due by `now`, earliest first, at most `count_max`: time, table and key. Taking an entry out is `undue`.
    pub fn due_until(
        &mut self,
        now: Timestamp,
        count_max: usize,
    ) -> Result<Vec<(Timestamp, TableId, Vec<u8>)>, Fault> {
        let mut due = Vec::new();
        let mut damaged = false;
        let budget = u64::MAX;
        self.scan(DUE, Bound::Unbounded, Direction::Forward, budget, &mut |key, _| {
            let Some((at, [table, key @ ..])) = key.split_first_chunk::<8>() else {
                damaged = true;
                return ControlFlow::Break(());
            };
            let at = Timestamp(u64::from_be_bytes(*at));
            if at > now || due.len() >= count_max {
                return ControlFlow::Break(());
            }
            due.push((at, TableId(*table), key.to_vec()));
            ControlFlow::Continue(())
        })?;
        if damaged { Err(Fault::corrupt("a DUE key is too short".into())) } else { Ok(due) }
    }

    /// Whether the index as a whole can be read.
    pub(crate) fn is_readable(&self) -> bool {
        self.shard.check_readable().is_ok()
    }

    pub(crate) fn looked_at(&self) -> Lsn {
        self.looked_at.max(self.residents_rest_on.get())
    }

    pub(crate) fn residents(&self) -> &'a Residents {
        self.residents
    }

    /// The reply waits for the batch `at` too.
    pub(crate) fn rest_on(&self, at: Lsn) {
        if !planted::is(Plant::ResidentTrusted) {
            self.residents_rest_on.set(self.residents_rest_on.get().max(at));
        }
    }

    pub(crate) fn stage_change(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn stage_alarm(&mut self, key: WaitKey, at: Timestamp) {
        self.alarms.push((key, at));
    }

    pub(crate) fn take_alarms(&mut self) -> Vec<(WaitKey, Timestamp)> {
        std::mem::take(&mut self.alarms)
    }

    pub(crate) fn positions_used(&self) -> u64 {
        self.positions_used
    }

    /// Takes out the last write of each key, and the bodies of what they replace. The keys that are held count in a
    /// transaction over shards (`prepares`).
    pub(crate) fn take_effects(&mut self, prepares: bool) -> Result<Effects, Fault> {
        let staged = last_of_each(std::mem::take(&mut self.staged));
        let mut held = std::mem::take(&mut self.holds);
        if !prepares || planted::is(Plant::HoldSkipped) {
            held.clear();
        }
        // What is written is held by that.
        held.retain(|key| staged.iter().all(|write| write.key != *key));
        held.sort_unstable();
        held.dedup();
        for key in &held {
            self.check_free(key)?;
        }
        let mut replaced = Vec::new();
        let mut died = Died::default();
        for write in staged.iter().filter(|write| !write.fresh && write.change.is_none()) {
            if self.shard.is_bodyless(&write.key) {
                self.check_free(&write.key)?;
                continue;
            }
            let first = replaced.len();
            match self.read.iter().position(|(key, _)| *key == write.key) {
                Some(place) => replaced.append(&mut self.read[place].1),
                None => match self.get_committed(&write.key) {
                    Ok(Some(record)) => replaced.extend(record.bodies),
                    Ok(None) => {}
                    // Whoever replaces or deletes a rotten record without reading it mends it; its bodies become orphans.
                    Err(Fault::Corrupt(_)) => {}
                    Err(fault) => return Err(fault),
                },
            }
            if self.shard.is_passing(&write.key) {
                replaced[first..].iter().for_each(|body| died.add(self.taken(body)));
            }
        }
        // What moves to another record, or stays in its own, is not dead.
        for write in staged.iter().filter(|write| self.shard.is_passing(&write.key)) {
            for body in write.record.iter().flat_map(|record| &record.bodies) {
                let Body::Kept(body) = body else { continue };
                died.take(self.taken(body));
            }
        }
        Ok(Effects { staged, held, replaced, died })
    }

    /// About what a body takes of the disk, or will once the fold under way ends.
    fn taken(&self, body: &BodyRef) -> Died {
        match body {
            BodyRef::Inline(_) => Died::default(),
            BodyRef::Log { .. } if self.frozen.is_none() => Died::default(),
            BodyRef::Log { .. } | BodyRef::Packed { .. } => {
                Died { small_bytes: body.length() + PACKED_HEAD_BYTES, large_bytes: 0 }
            }
            BodyRef::Extents(extents) => Died {
                small_bytes: 0,
                large_bytes: extents.iter().map(|extent| u64::from(span_bytes(extent.data_bytes))).sum(),
            },
        }
    }

    /// Errors: `Fault::InDoubt` when a transaction holds the key. Every intent that is not resolved is in the active
    /// overlay, so nothing else is looked at.
    fn check_free(&mut self, key: &[u8]) -> Result<(), Fault> {
        match self.active.latest(key) {
            Some(latest) if latest.is_held() => {
                self.met_undecided = latest.is_undecided();
                Err(Fault::InDoubt)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The record under a whole key, apart from what this operation wrote itself.
    fn get_committed(&mut self, key: &[u8]) -> Result<Option<Record<'_>>, Fault> {
        if let Some(counter) = self.counting.get(key) {
            self.looked_at = self.looked_at.max(self.inputs.lsn);
            return Ok(counter);
        }
        for overlay in [Some(self.active), self.frozen].into_iter().flatten() {
            let Some(latest) = overlay.latest(key) else { continue };
            if latest.is_held() {
                self.met_undecided = latest.is_undecided();
                return Err(Fault::InDoubt);
            }
            self.looked_at = self.looked_at.max(latest.lsn);
            return latest.value().map(Record::decode).transpose();
        }
        self.shard.index().get_if_known(&self.txn, key)?.map(Record::decode).transpose()
    }

    /// What this operation wrote, and what the filling batch has made of counters, which no overlay has yet.
    fn own_writes(
        &self,
        table: TableId,
        start: Bound<&[u8]>,
        direction: Direction,
    ) -> Vec<(Vec<u8>, Option<Record<'_>>)> {
        let is_inside = |key: &[u8]| match (start, direction) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(bound), Direction::Forward) => key >= bound,
            (Bound::Excluded(bound), Direction::Forward) => key > bound,
            (Bound::Included(bound), Direction::Backward) => key <= bound,
            (Bound::Excluded(bound), Direction::Backward) => key < bound,
        };
        let mut own = BTreeMap::new();
        for (key, record) in self.counting.of_table(table).filter(|(key, _)| is_inside(&key[1..])) {
            own.insert(key[1..].to_vec(), record);
        }
        for staged in self.staged.iter().filter(|staged| staged.key[0] == table.0) {
            if is_inside(&staged.key[1..]) {
                own.insert(staged.key[1..].to_vec(), staged.record.as_ref().map(staged_record));
            }
        }
        match direction {
            Direction::Forward => own.into_iter().collect(),
            Direction::Backward => own.into_iter().rev().collect(),
        }
    }
}

/// The last write of each key, at the place of the first. What is added to a counter after it was put or deleted is a put.
fn last_of_each(staged: Vec<Staged>) -> Vec<Staged> {
    let mut last: Vec<Staged> = Vec::with_capacity(staged.len());
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let few = staged.len() <= 8;
    for write in staged {
        let place = if few {
            last.iter().position(|other| other.key == write.key)
        } else {
            places.get(&write.key).copied()
        };
        match place {
            Some(place) => {
                let Staged { fresh, change: before, .. } = last[place];
                let change = write.change.zip(before).map(|(change, before)| counter::added(before, change));
                last[place] = Staged { fresh, change, ..write };
            }
            None => {
                if !few {
                    places.insert(write.key.clone(), last.len());
                }
                last.push(write);
            }
        }
    }
    last
}

fn due_key(at: Timestamp, table: TableId, key: &[u8]) -> Vec<u8> {
    let mut due = Vec::with_capacity(9 + key.len());
    due.extend_from_slice(&at.0.to_be_bytes());
    due.push(table.0);
    due.extend_from_slice(key);
    due
}

/// A staged record as a later scan of the same operation sees it: without its new bodies, which have no place yet.
fn staged_record(staged: &StagedRecord) -> Record<'_> {
    let bodies = staged.bodies.iter().filter_map(|body| match body {
        Body::Kept(body) => Some(body.clone()),
        Body::New(_) => None,
    });
    Record { value: &staged.value, bodies: bodies.collect() }
}
