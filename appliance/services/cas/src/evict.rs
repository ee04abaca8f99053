//! One slice of an eviction: the least recently used of a shard go, oldest first, a bounded number of them.
//! Invariant: nothing goes that is leased, pinned, or was uploaded within one lease period; the slot of a blob is condemned
//! before its deletion is staged, and set free when the outcome is known. A blob goes with its last entry. What is in use
//! although it lies among the oldest is moved to the newest, so that no walk meets it again and again.
//! Leaves to order.rs: where a walk begins. To gone.rs: taking one away. To tick.rs, room.rs and gc.rs: when there is one, and how much is to go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Timestamp, Tx};
use plan::{Context, Plan};

use crate::digest::Digest;
use crate::gone::{
    Condemned, Leaving, Taken, Totals, condemn, look_at_entry, move_entry, move_key, settle, slots,
    take_entry,
};
use crate::namespace::{Dialect, KeyName, Namespace};
use crate::order::{Order, Place};
use crate::pins;
use crate::planted::{self, Plant};
use crate::retention;
use crate::shared::Shared;
use crate::stats::Reason;
use crate::store::entry::EntryHead;
use crate::store::key::{KeyHead, key_stored_bytes};
use crate::store::{
    ACCESS, ENTRIES, EntryKey, KEYS, KIND_BLOB, KIND_KEY, key_access_key, key_key, second_of,
};

/// Places in the order of use that one slice looks at.
const SLICE_COUNT: usize = 160;
/// Keys that one slice looks at, those that are gone already included.
const SLICE_EXAMINED_MAX: u64 = 2_000;

/// What is to go.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) reason: Reason,
    /// The time by which leases and pins are judged: that of the plan, as readers and clients reckon it. The shard's own may be
    /// ahead of it, where the system's clock was set back, and leases would be over too early by that.
    pub(crate) now: Timestamp,
    /// Of this namespace alone.
    pub(crate) ns: Option<Namespace>,
    /// Only what was last used before this second.
    pub(crate) before_second: u32,
    /// No more than so many bytes: of the namespace, if there is one, else of the shard.
    pub(crate) bytes: u64,
    /// No more than so many objects, likewise.
    pub(crate) objects: u64,
    /// Only counts, from here on.
    pub(crate) dry: Option<Walk>,
}

/// Where a walk that only counts goes on.
#[derive(Clone, Debug)]
pub(crate) enum Walk {
    Begin,
    From(Order),
}

/// What a slice came to.
#[derive(Clone, Default, Debug)]
pub(crate) struct Evicted {
    pub(crate) objects: u64,
    /// Bytes of the shard that are free now.
    pub(crate) bytes: u64,
    /// Bytes that namespaces have less.
    pub(crate) bytes_of_namespaces: u64,
    pub(crate) kept_leased: u64,
    pub(crate) kept_pinned: u64,
    /// There may be more that is to go.
    pub(crate) more: bool,
    /// Where a dry run goes on.
    pub(crate) order: Option<Order>,
}

/// A slice under way.
pub(crate) struct Evict {
    pub(crate) shared: Arc<Shared>,
    pub(crate) rules: Rules,
    pub(crate) condemned: Condemned,
    pub(crate) leaving: Arc<Leaving>,
}

/// What was decided of a place in the order of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It is taken away, or would be.
    Gone,
    /// It is in use, or pinned, and lies among the newest now.
    Moved,
    /// It stays where it is; a later slice looks again.
    Left,
}

/// What this run of the operation has done.
#[derive(Default)]
struct Run {
    evicted: Evicted,
    totals: Totals,
    /// Where later slices begin, before what was left.
    lefts: BTreeMap<Namespace, Place>,
    moved: BTreeSet<Namespace>,
    looked_at: usize,
    examined: u64,
}

impl Operation for Evict {
    type Reply = Evicted;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        if let Some(ns) = &self.rules.ns {
            declare(ACCESS, ns.as_bytes());
        }
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Evicted>, Fault> {
        // Of a run before this one, of which nothing stands.
        slots(&self.condemned).clear();
        let mut order = match &self.rules.dry {
            Some(Walk::From(order)) => order.clone(),
            Some(Walk::Begin) | None => Order::of(tx)?,
        };
        if matches!(self.rules.dry, Some(Walk::Begin)) {
            order.begin_anew();
        }
        let mut run = Run::default();
        run.evicted.more = self.walk(tx, &mut order, &mut run)?;
        if self.rules.dry.is_some() {
            run.evicted.order = Some(order);
            return Ok(Outcome::Rollback(run.evicted));
        }
        let second = second_of(tx.now());
        std::mem::take(&mut run.lefts).into_iter().for_each(|(ns, place)| order.set(&ns, place));
        run.moved.iter().for_each(|ns| order.came(ns, second));
        let (oldest, shared, shard) = (order.oldest_second(), Arc::clone(&self.shared), tx.shard());
        tx.then::<Order>(move |resident, _| {
            *resident = order;
            if let Some(loaded) = shared.loaded() {
                loaded.shard(shard).oldest_second.store(u64::from(oldest.unwrap_or(0)), Ordering::Relaxed);
            }
        });
        if !planted::is(Plant::UsageForgotten) {
            run.totals.write(tx, &self.shared, &self.leaving)?;
        }
        if planted::is(Plant::SlotFreedEarly) {
            slots(&self.condemned).clear();
        }
        Ok(Outcome::Commit(run.evicted))
    }
}

impl Evict {
    /// Walks over the oldest of the shard until enough is gone or the slice is full. Gives whether there may be more to do.
    fn walk(&self, tx: &mut Tx<'_>, order: &mut Order, run: &mut Run) -> Result<bool, Fault> {
        let may = |ns: &Namespace| retention::is_for(&self.rules, &self.shared.settings, ns);
        while let Some((ns, next)) = order.oldest(may) {
            let place = order.place(&ns);
            if place.second >= self.rules.before_second || self.has_enough(run) {
                return Ok(false);
            }
            if run.looked_at >= SLICE_COUNT || run.examined >= SLICE_EXAMINED_MAX {
                // What was left only now is not looked at again at once.
                return Ok(run.lefts.is_empty() || run.evicted.objects > 0);
            }
            let until = next.min(self.rules.before_second.saturating_sub(1));
            let (found, mut passed) = oldest_of(tx, run, &ns, &place, until)?;
            // A namespace that has nothing takes its time too.
            run.looked_at += usize::from(found.is_empty());
            let mut last = place;
            for Found { key, second, named } in found {
                if self.has_enough(run) {
                    passed = last;
                    break;
                }
                run.looked_at += 1;
                let verdict = match named {
                    Some(Named::Blob(digest)) => self.judge_blob(tx, run, &ns, second, &digest)?,
                    Some(Named::Key(name)) => self.judge_key(tx, run, &name, second)?,
                    None => None,
                };
                match verdict {
                    // It names nothing, or what it names lies elsewhere.
                    None if self.rules.dry.is_none() => tx.delete(ACCESS, &key),
                    None | Some(Verdict::Gone) => {}
                    Some(Verdict::Moved) => {
                        run.moved.insert(ns);
                    }
                    Some(Verdict::Left) => {
                        run.lefts.entry(ns).or_insert_with(|| last.clone());
                    }
                }
                last = Place { second, after: key };
            }
            order.set(&ns, passed);
        }
        Ok(false)
    }

    fn has_enough(&self, run: &Run) -> bool {
        let bytes = match self.rules.ns {
            Some(_) => run.evicted.bytes_of_namespaces,
            None => run.evicted.bytes,
        };
        bytes >= self.rules.bytes || run.evicted.objects >= self.rules.objects
    }

    /// Decides on an entry and does it. Nothing when it does not lie here.
    fn judge_blob(
        &self,
        tx: &mut Tx<'_>,
        run: &mut Run,
        ns: &Namespace,
        second: u32,
        digest: &Digest,
    ) -> Result<Option<Verdict>, Fault> {
        let key = EntryKey::new(digest, ns);
        // Of a damaged one nothing is known that could keep it.
        let head = tx.get_ref(ENTRIES, key.as_bytes(), |record| {
            record.map(|record| match EntryHead::decode(record.value) {
                Ok(head) => (head.fresh_ms, head.access_second),
                Err(_) => (0, second),
            })
        })?;
        let Some((fresh_ms, _)) = head.filter(|(_, lies_in)| *lies_in == second) else { return Ok(None) };
        let now = self.rules.now.min(tx.now());
        if fresh_ms.saturating_add(self.shared.lease_ms()) > now.0 && !planted::is(Plant::FreshEvicted) {
            return Ok(Some(Verdict::Left));
        }
        let is_leased = self.shared.leases.look(digest).is_leased(now) && !planted::is(Plant::LeaseIgnored);
        run.evicted.kept_leased += u64::from(is_leased);
        let is_pinned = !is_leased && pins::is_pinned(tx, &self.shared, key.as_bytes(), self.rules.now)?;
        run.evicted.kept_pinned += u64::from(is_pinned);
        if is_leased || is_pinned {
            return self.keep(tx, second, |tx, second_now| move_entry(tx, ns, digest, second_now));
        }
        if self.rules.dry.is_none() && !condemn(&self.shared, &self.condemned, digest, now) {
            return Ok(Some(Verdict::Left));
        }
        self.take_blob(tx, run, ns, second, digest)?;
        Ok(Some(Verdict::Gone))
    }

    fn take_blob(
        &self,
        tx: &mut Tx<'_>,
        run: &mut Run,
        ns: &Namespace,
        second: u32,
        digest: &Digest,
    ) -> Result<(), Fault> {
        let taken = if self.rules.dry.is_none() {
            take_entry(tx, ns, second, digest)?
        } else {
            look_at_entry(tx, ns, digest)?
        };
        run.note(ns, taken);
        Ok(())
    }

    /// Decides on a key record and does it. Nothing when it does not lie here.
    fn judge_key(
        &self,
        tx: &mut Tx<'_>,
        run: &mut Run,
        name: &KeyName,
        second: u32,
    ) -> Result<Option<Verdict>, Fault> {
        let key = key_key(name);
        let head = tx.get_ref(KEYS, &key, |record| {
            record.map(|record| match KeyHead::decode(record.value) {
                Ok(head) => (head.created_ms, head.access_second, record.value.len()),
                Err(_) => (0, second, record.value.len()),
            })
        })?;
        let Some((created_ms, _, length)) = head.filter(|(_, lies_in, _)| *lies_in == second) else {
            return Ok(None);
        };
        if created_ms.saturating_add(self.shared.lease_ms()) > self.rules.now.0 {
            return Ok(Some(Verdict::Left));
        }
        if pins::is_pinned(tx, &self.shared, &key, self.rules.now)? {
            run.evicted.kept_pinned += 1;
            return self.keep(tx, second, |tx, second_now| move_key(tx, name, second_now));
        }
        if self.rules.dry.is_none() {
            tx.delete(KEYS, &key);
            tx.delete(ACCESS, &key_access_key(name, second));
        }
        let bytes = key_stored_bytes(key.len(), length);
        run.note(name.ns(), Taken { bytes, freed: true });
        Ok(Some(Verdict::Gone))
    }

    /// Moves what is kept among the newest, unless it lies there.
    fn keep(
        &self,
        tx: &mut Tx<'_>,
        second: u32,
        move_it: impl FnOnce(&mut Tx<'_>, u32) -> Result<(), Fault>,
    ) -> Result<Option<Verdict>, Fault> {
        let second_now = second_of(tx.now());
        if second_now == second || self.rules.dry.is_some() {
            return Ok(Some(Verdict::Left));
        }
        move_it(tx, second_now)?;
        Ok(Some(Verdict::Moved))
    }
}

impl Run {
    fn note(&mut self, ns: &Namespace, taken: Taken) {
        self.totals.note(ns, taken);
        self.evicted.objects += 1;
        self.evicted.bytes_of_namespaces += taken.bytes;
        if taken.freed {
            self.evicted.bytes += taken.bytes;
        }
    }
}

/// A place in the order of use, and what it names, if that can be read.
struct Found {
    key: Vec<u8>,
    second: u32,
    named: Option<Named>,
}

/// What a place in the order of use names.
enum Named {
    Blob(Digest),
    Key(KeyName),
}

/// The oldest of a namespace from a place on, up to a second; and the place behind them.
fn oldest_of(
    tx: &mut Tx<'_>,
    run: &mut Run,
    ns: &Namespace,
    place: &Place,
    until: u32,
) -> Result<(Vec<Found>, Place), Fault> {
    let front = [ns.as_bytes(), &[0]].concat();
    let first = [front.as_slice(), &place.second.to_be_bytes()].concat();
    let start =
        if place.after.is_empty() { Bound::Included(&first[..]) } else { Bound::Excluded(&place.after[..]) };
    let (mut found, mut beyond) = (Vec::new(), None);
    let count = SLICE_COUNT.saturating_sub(run.looked_at).max(1);
    let budget = SLICE_EXAMINED_MAX.saturating_sub(run.examined).max(1);
    let end = tx.scan(ACCESS, start, Direction::Forward, budget, &mut |key, _| {
        let Some((second, named)) = read_place(ns, key) else {
            return ControlFlow::Break(());
        };
        if second > until {
            beyond = Some(second);
            return ControlFlow::Break(());
        }
        found.push(Found { key: key.to_vec(), second, named });
        if found.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    run.examined += found.len() as u64;
    let behind = match (end, beyond, found.last()) {
        (_, Some(second), _) => Place { second, after: Vec::new() },
        (ScanEnd::Stopped, None, Some(last)) if found.len() >= count => {
            Place { second: last.second, after: last.key.clone() }
        }
        (ScanEnd::Continue(key), ..) => {
            run.examined += budget;
            match read_place(ns, &key) {
                Some((second, _)) => Place { second, after: key },
                None => Place::NOTHING,
            }
        }
        (ScanEnd::Stopped | ScanEnd::Done, ..) => Place::NOTHING,
    };
    Ok((found, behind))
}

/// Reads a key of the order of use of a namespace. Nothing when it is another's; no name where that cannot be read.
fn read_place(ns: &Namespace, key: &[u8]) -> Option<(u32, Option<Named>)> {
    let rest = key.strip_prefix(ns.as_bytes())?.strip_prefix(&[0])?;
    let (second, rest) = rest.split_first_chunk::<4>()?;
    let named = match rest.split_first()? {
        (&KIND_BLOB, digest) => digest.try_into().ok().map(|digest| Named::Blob(Digest::new(digest))),
        (&KIND_KEY, [dialect, key @ ..]) => {
            Dialect::from_byte(*dialect).and_then(|dialect| KeyName::new(*ns, dialect, key)).map(Named::Key)
        }
        _ => None,
    };
    Some((u32::from_be_bytes(*second), named))
}

/// A slice of these rules on a shard, and what it came to. Slots are settled by then.
pub(crate) fn slice<F>(shared: &Arc<Shared>, shard: ShardId, rules: Rules, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Evicted, Fault>) -> Plan + 'static,
{
    let condemned = Condemned::default();
    let is_dry = rules.dry.is_some();
    let reason = rules.reason;
    let leaving = Leaving::new(shared);
    let operation = Evict {
        shared: Arc::clone(shared),
        rules,
        condemned: Arc::clone(&condemned),
        leaving: Arc::clone(&leaving),
    };
    let shared = Arc::clone(shared);
    Plan::submit(shard, operation, move |cx, outcome| {
        settle(&condemned, &outcome);
        drop(leaving);
        if let (Ok(evicted), false) = (&outcome, is_dry) {
            shared.counters.count_evicted(reason, evicted.objects, evicted.bytes);
        }
        then(cx, outcome)
    })
}
