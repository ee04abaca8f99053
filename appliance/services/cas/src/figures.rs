//! What is shown of the content store: the numbers behind the metrics, and the statistics of the API.
//! Invariant: no figure is read from more than counters in memory, the rings, and a bounded part of the slots of the leases.
//! Leaves to its users: names, units of their own, JSON.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::store::{Fault, Store, Timestamp};

use crate::Cas;
use crate::namespace::Namespace;
use crate::scrub::{self, ScrubFigures};
use crate::settings::Quota;
use crate::stats::{self, Counts, Reason, STATS_SHARD, Told, Window};

/// The numbers behind the metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Lookups since the start that found something.
    pub hits: u64,
    /// Lookups since the start that found nothing.
    pub misses: u64,
    /// Bytes sent since the start.
    pub bytes_out: u64,
    /// Bytes stored by uploads since the start.
    pub bytes_in: u64,
    /// Blobs and key records; a blob that namespaces share counts once.
    pub objects: u64,
    /// Bytes of all namespaces, each with all that it has.
    pub logical_bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// Bytes on the disk of what is gone: the next fold sees to them, or they lie in segments in which others live.
    pub kept_bytes: u64,
    /// Bytes that are promised to uploads under way.
    pub reserved_bytes: u64,
    /// The limit.
    pub max_bytes: u64,
    /// Objects and bytes that were taken away, in the order of `Reason::ALL`.
    pub evicted: [[u64; 2]; 5],
    /// Seconds since the oldest use of anything, by what the last evictions met; 0 before there was one.
    pub oldest_access_seconds: u64,
    /// About how many bytes are leased: the leased part of the slots that were looked at, of all that is stored. What was uploaded
    /// within a lease period and not asked for since is not among them.
    pub leased_bytes: u64,
    /// Bytes that pins keep.
    pub pinned_bytes: u64,
    /// Pins.
    pub pinned_objects: u64,
    /// Key records that were dropped because a blob of theirs was missing.
    pub closure_incomplete: u64,
    /// Blobs whose bytes were not those of their digest.
    pub corrupt: u64,
    /// Requests that were refused because too much was under way.
    pub shed: u64,
    /// Milliseconds that collections took.
    pub gc_ms: u64,
    /// What the scrubber did.
    pub scrub: ScrubFigures,
    /// What clients say that they found.
    pub told: Told,
}

/// What one namespace has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamespaceFigures {
    /// Its name.
    pub ns: Namespace,
    /// Its entries and key records.
    pub objects: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Its bounds, if it has some of its own.
    pub quota: Option<Quota>,
    /// Without a use for how long its things stay.
    pub retention: Duration,
    /// How long they stay at most.
    pub max_age: Option<Duration>,
}

impl Cas {
    /// The numbers as they are now. Looks at 65,536 slots of the leases at most.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        let shared = &self.0;
        let counts = shared.counters.tally.counts();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut figures = Figures {
            hits: counts[0],
            misses: counts[1],
            bytes_out: counts[2],
            bytes_in: counts[3],
            max_bytes: shared.settings.max_bytes,
            evicted: Reason::ALL.map(|reason| shared.counters.evicted(reason)),
            closure_incomplete: load(&shared.counters.closure_incomplete),
            corrupt: load(&shared.counters.corrupt),
            shed: load(&shared.counters.shed),
            gc_ms: load(&shared.counters.gc_ms),
            scrub: scrub::figures(shared),
            told: Told::of(&counts),
            ..Figures::default()
        };
        let Some(loaded) = shared.loaded() else { return figures };
        figures.objects = loaded.total.objects();
        figures.stored_bytes = loaded.total.stored_bytes();
        figures.kept_bytes = loaded.kept.dying_bytes() + loaded.kept.settled_bytes();
        figures.reserved_bytes = load(&loaded.total.reserved_bytes);
        figures.logical_bytes = loaded.namespaces.all().map(|state| state.total.stored_bytes()).sum();
        figures.pinned_bytes = loaded.pinned.stored_bytes();
        figures.pinned_objects = loaded.pinned.objects();
        let oldest =
            loaded.shards().map(|shard| load(&shard.oldest_second)).filter(|second| *second > 0).min();
        figures.oldest_access_seconds = oldest.map_or(0, |second| (now.0 / 1_000).saturating_sub(second));
        let (leased_count, _) = shared.leases.leased_count(now);
        let mean_bytes = figures.stored_bytes / figures.objects.max(1);
        figures.leased_bytes = leased_count.saturating_mul(mean_bytes).min(figures.stored_bytes);
        figures
    }

    /// What the namespaces have, those with the most bytes first.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceFigures> {
        let Some(loaded) = self.0.loaded() else { return Vec::new() };
        let mut all: Vec<NamespaceFigures> = loaded
            .namespaces
            .all()
            .map(|state| NamespaceFigures {
                ns: state.name,
                objects: state.total.objects(),
                stored_bytes: state.total.stored_bytes(),
                quota: self.0.settings.quotas.get(&state.name).copied(),
                retention: self.0.settings.retention_of(&state.name),
                max_age: self.0.settings.max_age_of(&state.name),
            })
            .collect();
        all.sort_unstable_by(|one, other| {
            other.stored_bytes.cmp(&one.stored_bytes).then_with(|| one.ns.cmp(&other.ns))
        });
        all
    }

    /// What was counted within a window, of one namespace or of all. Errors: those of a view.
    pub fn counted(
        &self,
        store: &Store,
        now: Timestamp,
        window: Window,
        ns: Option<&Namespace>,
    ) -> Result<Counts, Fault> {
        self.0.ready(store, now)?;
        let view = store.view(STATS_SHARD)?;
        stats::sum(&self.0, &view, now, window, ns)
    }
}
