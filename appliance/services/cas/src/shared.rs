//! What all cores of the process know of the content store: settings, leases, totals of the store and of its namespaces.
//! Invariant: the totals are those of the counters in the store: they are read once, before the first operation of the process,
//! and from then on change with each operation, on the shard's owner, in the order of the operations.
//! Leaves to usage.rs: changing them. To room.rs: what is promised to uploads.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ::store::{Fault, Kept, ShardId, Store, Timestamp};

use crate::closure::Checks;
use crate::fetched;
use crate::gc::Jobs;
use crate::lease::LeaseTable;
use crate::namespace::Namespace;
use crate::planted::{self, Plant};
use crate::scrub;
use crate::settings::Settings;
use crate::stats::{Counters, Tally};
use crate::tick::Marks;
use crate::touch::Lanes;
use crate::usage;

/// Namespaces of a content store at most; a power of two. One more is refused as if its quota were used up.
pub const NAMESPACE_COUNT_MAX: usize = 4_096;

/// What all cores have in common.
pub struct Shared {
    /// What the operator decided.
    pub settings: Settings,
    /// What was promised.
    pub leases: LeaseTable,
    /// Key records that were found whole.
    pub(crate) checks: Checks,
    /// What happened since the start of the process.
    pub counters: Counters,
    /// What was used, and is not written yet.
    pub(crate) lanes: Lanes,
    /// Collections that somebody asked for.
    pub(crate) jobs: Jobs,
    /// What is fetched most.
    pub(crate) fetched: fetched::Tables,
    /// When an upload met a full disk last, in milliseconds; 0: never.
    disk_full_ms: AtomicU64,
    loaded: OnceLock<Loaded>,
}

/// What is known once the store was read.
pub(crate) struct Loaded {
    /// When this process began to use the store.
    started: Timestamp,
    shards: Box<[ShardState]>,
    pub(crate) namespaces: Namespaces,
    pub(crate) total: Total,
    /// What pins keep.
    pub(crate) pinned: Total,
    /// What is gone and takes room still.
    pub(crate) kept: Arc<Kept>,
    /// How many digests are blocked.
    pub(crate) blocked: AtomicU64,
    /// What was counted of all namespaces and not written yet.
    pub(crate) unwritten: Tally,
    /// More is stored than is wanted, and it is being evicted.
    pub(crate) is_evicting: AtomicBool,
}

/// How much there is of something, and how much is promised.
#[derive(Default)]
pub(crate) struct Total {
    pub(crate) objects: AtomicI64,
    pub(crate) stored_bytes: AtomicI64,
    pub(crate) reserved_bytes: AtomicU64,
    /// What is being taken away: it is not in the totals any more, and still on the disk until that is durable.
    pub(crate) leaving_objects: AtomicU64,
    pub(crate) leaving_bytes: AtomicU64,
}

impl Total {
    pub(crate) fn add(&self, objects: i64, bytes: i64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn objects(&self) -> u64 {
        u64::try_from(self.objects.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        u64::try_from(self.stored_bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What is stored or promised, or not durably gone.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.committed_bytes().saturating_add(self.leaving_bytes.load(Ordering::Acquire))
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving_bytes.load(Ordering::Acquire) > 0 || self.leaving_objects.load(Ordering::Acquire) > 0
    }

    /// What is stored and what is promised.
    pub(crate) fn committed_bytes(&self) -> u64 {
        self.stored_bytes().saturating_add(self.reserved_bytes.load(Ordering::Relaxed))
    }
}

/// What is known of one shard.
#[derive(Default)]
pub(crate) struct ShardState {
    /// What the work in the background remembers.
    marks: Mutex<Marks>,
    /// A slice of an eviction is under way: a second one would only look at the same.
    pub(crate) is_slicing: AtomicBool,
    /// The oldest second of use that an eviction left; 0: not known.
    pub(crate) oldest_second: AtomicU64,
    /// How far the scrubber is.
    pub(crate) scrub: scrub::Shown,
}

impl ShardState {
    /// Only the driver of the shard's background takes them, so that nobody waits.
    pub(crate) fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Of a store that was not read yet.
    #[must_use]
    pub fn new(settings: Settings) -> Shared {
        Shared {
            leases: LeaseTable::new(settings.max_bytes),
            settings,
            checks: Checks::default(),
            counters: Counters::default(),
            lanes: Lanes::default(),
            jobs: Jobs::default(),
            fetched: fetched::Tables::default(),
            disk_full_ms: AtomicU64::new(0),
            loaded: OnceLock::new(),
        }
    }

    /// Reads the totals, if that was not done yet. To be called before any operation is sent that changes them.
    /// Errors: those of a view.
    pub fn ready(&self, store: &Store, now: Timestamp) -> Result<(), Fault> {
        if self.loaded.get().is_none() {
            // Two cores may read beside each other; the first counts. Who sends an operation has seen that there is one, so what
            // another core reads later, with that operation in it, is dropped.
            let loaded = Loaded::read(store, now)?;
            drop(self.loaded.set(loaded));
        }
        Ok(())
    }

    /// What is known; nothing before `ready`.
    pub(crate) fn loaded(&self) -> Option<&Loaded> {
        self.loaded.get()
    }

    /// Bytes that are stored, what namespaces share once.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.loaded().map_or(0, |loaded| loaded.total.stored_bytes())
    }

    /// Bytes that are promised.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.loaded().map_or(0, |loaded| loaded.total.reserved_bytes.load(Ordering::Acquire))
    }

    /// Counts a blob whose bytes were not those of its digest.
    pub fn count_corrupt(&self) {
        self.counters.corrupt.fetch_add(1, Ordering::Relaxed);
    }

    /// Blobs since the start whose bytes were not those of their digest.
    #[must_use]
    pub fn corrupt_count(&self) -> u64 {
        self.counters.corrupt.load(Ordering::Relaxed)
    }

    /// An upload found the disk full: what makes room goes before leases that may be left from the process before.
    pub fn note_disk_full(&self, now: Timestamp) {
        self.disk_full_ms.store(now.0, Ordering::Relaxed);
    }

    /// When that was last; 0: never.
    pub(crate) fn disk_full_ms(&self) -> u64 {
        self.disk_full_ms.load(Ordering::Relaxed)
    }

    /// Notes what an upload failed by, where that is a full disk.
    pub(crate) fn note_fault(&self, now: Timestamp, fault: &Fault) {
        if matches!(fault, Fault::Full) {
            self.note_disk_full(now);
        }
    }

    /// Whether the disk was found full within the last lease period.
    pub(crate) fn is_disk_full(&self, now: Timestamp) -> bool {
        let at_ms = self.disk_full_ms();
        at_ms != 0 && now.0 < at_ms.saturating_add(self.lease_ms())
    }

    /// Whether leases may still run that the process before has given, of which nobody knows.
    pub(crate) fn is_in_grace(&self, now: Timestamp) -> bool {
        self.loaded().is_none_or(|loaded| now.0 < loaded.started.0.saturating_add(self.lease_ms()))
    }

    /// Whether anything may be evicted now.
    pub(crate) fn may_evict(&self, now: Timestamp) -> bool {
        !self.is_in_grace(now) || self.is_disk_full(now) || planted::is(Plant::GraceSkipped)
    }

    /// How long a lease lasts, as slots count it.
    pub(crate) fn lease_ms(&self) -> u64 {
        self.settings.lease.as_secs().saturating_mul(1_000)
    }
}

impl Loaded {
    fn read(store: &Store, now: Timestamp) -> Result<Loaded, Fault> {
        let loaded = Loaded {
            started: now,
            shards: store.shards().map(|_| ShardState::default()).collect(),
            namespaces: Namespaces::default(),
            total: Total::default(),
            pinned: Total::default(),
            kept: store.kept(),
            blocked: AtomicU64::new(0),
            unwritten: Tally::default(),
            is_evicting: AtomicBool::new(false),
        };
        usage::read(&loaded, store)?;
        Ok(loaded)
    }

    /// What of a limit may be stored, if what has gone leaves room that only time, or copying, gives back. It takes half of the
    /// limit at most, lest a small one has room for nothing.
    pub(crate) fn limit_bytes(&self, max_bytes: u64) -> u64 {
        max_bytes - self.kept.settled_bytes().min(max_bytes / 2)
    }

    /// What is stored or promised, or is not given back to the disk yet.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.total.taken_bytes().saturating_add(self.kept.dying_bytes())
    }

    pub(crate) fn shard(&self, shard: ShardId) -> &ShardState {
        &self.shards[usize::from(shard.0)]
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &ShardState> {
        self.shards.iter()
    }
}

/// What is known of one namespace.
pub(crate) struct NamespaceState {
    pub(crate) name: Namespace,
    pub(crate) total: Total,
    pub(crate) reserved_objects: AtomicU64,
    /// More is stored than its quota wants: bytes, objects.
    pub(crate) is_evicting_bytes: AtomicBool,
    pub(crate) is_evicting_objects: AtomicBool,
    /// What was counted and not written yet.
    pub(crate) tally: Tally,
}

impl NamespaceState {
    fn new(name: Namespace) -> NamespaceState {
        NamespaceState {
            name,
            total: Total::default(),
            reserved_objects: AtomicU64::new(0),
            is_evicting_bytes: AtomicBool::new(false),
            is_evicting_objects: AtomicBool::new(false),
            tally: Tally::default(),
        }
    }

    /// What there is or is promised, or not durably gone.
    pub(crate) fn taken_objects(&self) -> u64 {
        self.committed_objects().saturating_add(self.total.leaving_objects.load(Ordering::Acquire))
    }

    /// What there is and what is promised.
    pub(crate) fn committed_objects(&self) -> u64 {
        self.total.objects().saturating_add(self.reserved_objects.load(Ordering::Relaxed))
    }
}

/// The namespaces that were met, in a table that any core reads and extends without a lock. One stays until the process ends.
pub(crate) struct Namespaces {
    table: Box<[OnceLock<NamespaceState>]>,
}

impl Default for Namespaces {
    fn default() -> Namespaces {
        Namespaces { table: (0..NAMESPACE_COUNT_MAX).map(|_| OnceLock::new()).collect() }
    }
}

impl Namespaces {
    /// The state of a namespace that was met before.
    pub(crate) fn find(&self, name: &Namespace) -> Option<&NamespaceState> {
        let met = Namespaces::places(name).map_while(|place| self.table[place].get());
        met.into_iter().find(|state| state.name == *name)
    }

    /// The state of a namespace, made if it was not met before. Nothing when the table is full.
    pub(crate) fn get(&self, name: &Namespace) -> Option<&NamespaceState> {
        Namespaces::places(name).find_map(|place| {
            let state = self.table[place].get_or_init(|| NamespaceState::new(*name));
            (state.name == *name).then_some(state)
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &NamespaceState> {
        self.table.iter().filter_map(OnceLock::get)
    }

    /// Where a namespace may lie, in the order of looking.
    fn places(name: &Namespace) -> impl Iterator<Item = usize> + use<> {
        let first = hash::xxh3_64(name.as_bytes()) as usize;
        (0..NAMESPACE_COUNT_MAX).map(move |step| first.wrapping_add(step) & (NAMESPACE_COUNT_MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_found_again_and_one_too_many_has_no_place() {
        let namespaces = Namespaces::default();
        let name = |number: usize| Namespace::parse(format!("n{number}")).expect("legal");
        assert!(namespaces.find(&name(0)).is_none());
        for number in 0..NAMESPACE_COUNT_MAX {
            namespaces.get(&name(number)).expect("there is room").total.add(number as i64, 0);
        }
        assert!(namespaces.get(&name(NAMESPACE_COUNT_MAX)).is_none());
        assert!(namespaces.find(&name(NAMESPACE_COUNT_MAX)).is_none());
        for number in 0..NAMESPACE_COUNT_MAX {
            let found = namespaces.find(&name(number)).expect("met");
            assert_eq!(found.total.objects(), number as u64);
        }
        assert_eq!(namespaces.all().count(), NAMESPACE_COUNT_MAX);
    }
}
