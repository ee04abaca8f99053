//! Taking one thing away, or moving it in the order of use, inside of an operation on its shard.
//! Invariant: the slot of a blob is condemned before its entry goes; an entry and its place in the order of use go together, and
//! the last entry takes the blob with it.
//! Leaves to its callers: what may go, and the totals.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::store::{Direction, Fault, ScanEnd, Timestamp, Tx};

use crate::corrupt::Aside;
use crate::digest::Digest;
use crate::lease::CondemnedSlot;
use crate::namespace::{KeyName, Namespace};
use crate::order::Order;
use crate::planted::{self, Plant};
use crate::shared::Shared;
use crate::store::blob::BlobRecord;
use crate::store::entry::Entry;
use crate::store::key::KeyRecord;
use crate::store::{
    ACCESS, BLOBS, ENTRIES, EntryKey, KEYS, QUARANTINE, blob_access_key, key_access_key, key_key,
    stored_bytes,
};
use crate::usage::{count_of_namespace, count_of_shard};

/// The slots that an operation has condemned, shared with the plan that hears the outcome.
pub(crate) type Condemned = Arc<Mutex<Vec<CondemnedSlot>>>;

/// They are used by the operation first and by its plan then, so that nobody waits.
pub(crate) fn slots(condemned: &Condemned) -> MutexGuard<'_, Vec<CondemnedSlot>> {
    condemned.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears the outcome of an operation that has condemned slots. Where it is not known they stay condemned: after a restart the
/// blobs may be gone.
pub(crate) fn settle<T>(condemned: &Condemned, outcome: &Result<T, Fault>) {
    let slots = std::mem::take(&mut *slots(condemned));
    if matches!(outcome, Err(Fault::Unknown(_))) {
        slots.into_iter().for_each(CondemnedSlot::leave);
    }
}

/// Condemns the slot of a digest. False: it is leased at `now`, or condemned by another operation.
#[must_use = "what is not condemned stays"]
pub(crate) fn condemn(shared: &Shared, condemned: &Condemned, digest: &Digest, now: Timestamp) -> bool {
    let mut slots = slots(condemned);
    if slots.iter().any(|slot| slot.holds(digest)) {
        return true;
    }
    let slot = if planted::is(Plant::LeaseIgnored) {
        shared.checks.forget_all();
        shared.leases.condemn_by_force(digest)
    } else {
        shared.leases.condemn(digest, now)
    };
    let is_condemned = slot.is_some();
    slots.extend(slot);
    is_condemned
}

/// What something took on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// What its namespace has less.
    pub(crate) bytes: u64,
    /// Whether the shard has as much less.
    pub(crate) freed: bool,
}

/// What an operation takes away, in all.
#[derive(Default)]
pub(crate) struct Totals {
    namespaces: BTreeMap<Namespace, [i64; 2]>,
    shard: [i64; 2],
}

impl Totals {
    pub(crate) fn note(&mut self, ns: &Namespace, taken: Taken) {
        let bytes = i64::try_from(taken.bytes).unwrap_or(i64::MAX);
        let totals = self.namespaces.entry(*ns).or_default();
        *totals = [totals[0] - 1, totals[1] - bytes];
        if taken.freed {
            self.shard = [self.shard[0] - 1, self.shard[1] - bytes];
        }
    }

    /// Tells the counters; until `leaving` is dropped the room is nobody else's. Errors: those of `tx`.
    pub(crate) fn write(
        &self,
        tx: &mut Tx<'_>,
        shared: &Arc<Shared>,
        leaving: &Arc<Leaving>,
    ) -> Result<(), Fault> {
        let (namespaces, shard, leaving) = (self.namespaces.clone(), self.shard, Arc::clone(leaving));
        tx.then::<Order>(move |_, _| leaving.note(namespaces, shard));
        for (ns, [objects, bytes]) in &self.namespaces {
            count_of_namespace(tx, shared, ns, *objects, *bytes)?;
        }
        count_of_shard(tx, shared, self.shard[0], self.shard[1])
    }
}

/// What an operation takes away, on the disk until its outcome is known: shared by the operation, which the store drops then,
/// and the plan that hears of it.
pub(crate) struct Leaving {
    shared: Arc<Shared>,
    noted: Mutex<Vec<(Option<Namespace>, [u64; 2])>>,
}

impl Leaving {
    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Leaving> {
        Arc::new(Leaving { shared: Arc::clone(shared), noted: Mutex::default() })
    }

    fn note(&self, namespaces: BTreeMap<Namespace, [i64; 2]>, shard: [i64; 2]) {
        let less = |totals: [i64; 2]| totals.map(i64::unsigned_abs);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push((None, less(shard)));
        noted.extend(namespaces.into_iter().map(|(ns, totals)| (Some(ns), less(totals))));
        noted.iter().for_each(|(ns, totals)| self.count(ns.as_ref(), *totals, AtomicU64::fetch_add));
    }

    fn count(
        &self,
        ns: Option<&Namespace>,
        [objects, bytes]: [u64; 2],
        add: fn(&AtomicU64, u64, Ordering) -> u64,
    ) {
        let Some(loaded) = self.shared.loaded() else { return };
        let total = match ns {
            None => Some(&loaded.total),
            Some(ns) => loaded.namespaces.find(ns).map(|state| &state.total),
        };
        if let Some(total) = total {
            add(&total.leaving_objects, objects, Ordering::AcqRel);
            add(&total.leaving_bytes, bytes, Ordering::AcqRel);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let noted = std::mem::take(self.noted.get_mut().unwrap_or_else(PoisonError::into_inner));
        noted.iter().for_each(|(ns, totals)| self.count(ns.as_ref(), *totals, AtomicU64::fetch_sub));
    }
}

/// What would come of taking an entry away. Errors: those of `tx`.
pub(crate) fn look_at_entry(tx: &mut Tx<'_>, ns: &Namespace, digest: &Digest) -> Result<Taken, Fault> {
    let length = |value: &[u8]| BlobRecord::decode(value).ok().map(|blob| blob.length);
    let there = tx.get_ref(BLOBS, digest.as_bytes(), |record| record.map(|record| length(record.value)))?;
    let is_shared = has_other_entry(tx, ns, digest)? && !planted::is(Plant::SharedBlobTaken);
    let freed = there.is_some() && !is_shared;
    let length = match there.flatten() {
        Some(length) => Some(length),
        // The blob was put aside, or its record is damaged.
        None => tx.get_ref(QUARANTINE, digest.as_bytes(), |record| {
            record.and_then(|found| Aside::decode(found.value).ok()).map(|aside| aside.length)
        })?,
    };
    Ok(Taken { bytes: stored_bytes(length.unwrap_or(0)), freed })
}

/// Takes an entry away, and its blob if nobody else has it. Errors: those of `tx`.
pub(crate) fn take_entry(
    tx: &mut Tx<'_>,
    ns: &Namespace,
    second: u32,
    digest: &Digest,
) -> Result<Taken, Fault> {
    let taken = look_at_entry(tx, ns, digest)?;
    tx.delete(ENTRIES, EntryKey::new(digest, ns).as_bytes());
    tx.delete(ACCESS, &blob_access_key(ns, second, digest));
    if taken.freed {
        tx.delete(BLOBS, digest.as_bytes());
    }
    Ok(taken)
}

/// Whether another namespace has the blob.
fn has_other_entry(tx: &mut Tx<'_>, ns: &Namespace, digest: &Digest) -> Result<bool, Fault> {
    /// Keys behind the digest's may all have been deleted: the walk over them ends after one.
    const BUDGET: u64 = 2;
    let mut after = digest.as_bytes().to_vec();
    loop {
        let mut found = false;
        let end = tx.scan(ENTRIES, Bound::Excluded(&after), Direction::Forward, BUDGET, &mut |key, _| {
            match key.strip_prefix(digest.as_bytes()) {
                Some(other) if other == ns.as_bytes() => return ControlFlow::Continue(()),
                Some(_) => found = true,
                None => {}
            }
            ControlFlow::Break(())
        })?;
        match end {
            ScanEnd::Continue(key) if key.starts_with(digest.as_bytes()) && !found => after = key,
            ScanEnd::Continue(_) | ScanEnd::Stopped | ScanEnd::Done => return Ok(found),
        }
    }
}

/// Moves an entry in the order of use; a damaged one stays where it is. Errors: those of `tx`.
pub(crate) fn move_entry(tx: &mut Tx<'_>, ns: &Namespace, digest: &Digest, second: u32) -> Result<(), Fault> {
    let key = EntryKey::new(digest, ns);
    let found =
        tx.get_ref(ENTRIES, key.as_bytes(), |record| record.map(|record| Entry::decode(record.value)))?;
    let Some(Ok(entry)) = found else { return Ok(()) };
    tx.delete(ACCESS, &blob_access_key(ns, entry.access_second, digest));
    tx.put(ACCESS, &blob_access_key(ns, second, digest), &[], Vec::new(), false);
    let entry = Entry { access_second: second, ..entry };
    tx.put(ENTRIES, key.as_bytes(), &entry.encode(), Vec::new(), false);
    Ok(())
}

/// Moves a key record in the order of use. Minutes of this century all take four bytes, so it stays as long as it was.
/// Errors: as `move_entry`.
pub(crate) fn move_key(tx: &mut Tx<'_>, name: &KeyName, second: u32) -> Result<(), Fault> {
    let key = key_key(name);
    let found = tx.get_ref(KEYS, &key, |record| record.map(|record| KeyRecord::decode(record.value)))?;
    let Some(Ok(record)) = found else { return Ok(()) };
    tx.delete(ACCESS, &key_access_key(name, record.access_second));
    tx.put(ACCESS, &key_access_key(name, second), &[], Vec::new(), false);
    let record = KeyRecord { access_second: second, ..record };
    tx.put(KEYS, &key, &record.encode(), Vec::new(), false);
    Ok(())
}
