//! What happened: counters since the start, and hits and misses by time in two rings that outlive it.
//! Invariant: a lookup is counted in memory, without a lock; what was counted is written at most once a minute for each
//! namespace, on one shard; the rings hold a day of minutes and 90 days of hours. A crash loses what was not written yet.
//! Leaves to figures.rs: showing it. To tick.rs: when it is written.
//!
//! ```text
//! key    resolution u8 (0 minutes, 1 hours) | namespace, or nothing for all | 0 | bucket u32 | kind u8
//! value  counter; kind 0: hits, misses; 1: bytes sent, bytes received; 2: HEADs, questions for missing blobs; of what clients say that
//!        they found 3: hits, misses on their own disk, 4: hits, misses here, 5: milliseconds saved by the former, by the latter
//! ```

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Timestamp, Tx, View};
use plan::{Context, Plan};

use crate::Cas;
use crate::namespace::Namespace;
use crate::scrub::Done;
use crate::shared::Shared;
use crate::store::{STATS, minute_of};

/// The shard that has the rings.
pub(crate) const STATS_SHARD: ShardId = ShardId(0);
/// Minutes that the finer ring holds: a day.
const MINUTES_KEPT: u32 = 24 * 60;
/// Hours that the coarser ring holds: 90 days.
const HOURS_KEPT: u32 = 90 * 24;
/// Namespaces that one operation writes.
const ROW_COUNT: usize = 64;
/// Keys that one operation looks at for what is too old.
const PRUNE_COUNT: u64 = 512;

/// Why something was taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The limit of all.
    Size = 0,
    /// Not used for too long, or too old.
    Age = 1,
    /// The quota of its namespace.
    Quota = 2,
    /// Somebody asked for it.
    Admin = 3,
    /// Its bytes were wrong.
    Corrupt = 4,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Reason; 5] = [Reason::Size, Reason::Age, Reason::Quota, Reason::Admin, Reason::Corrupt];

    /// The word for it in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::Size => "size",
            Reason::Age => "age",
            Reason::Quota => "quota",
            Reason::Admin => "admin",
            Reason::Corrupt => "corrupt",
        }
    }
}

/// What a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// A key or a blob that was there.
    Hit,
    /// One that was not.
    Miss,
    /// A HEAD, whatever came of it.
    Head,
    /// Which of some blobs are missing.
    Missing,
}

/// What happened since the start of the process.
#[derive(Default)]
pub struct Counters {
    /// Everything that was looked for.
    pub tally: Tally,
    /// Blobs whose bytes were not those of their digest.
    pub corrupt: AtomicU64,
    /// Key records that were dropped because a blob of theirs was missing.
    pub closure_incomplete: AtomicU64,
    /// Requests that were refused because too much was under way.
    pub shed: AtomicU64,
    /// Milliseconds that collections took.
    pub gc_ms: AtomicU64,
    /// What the scrubber did.
    pub(crate) scrubbed: Done,
    evicted: [[AtomicU64; 2]; 5],
}

impl Counters {
    pub(crate) fn count_evicted(&self, reason: Reason, objects: u64, bytes: u64) {
        let [of_objects, of_bytes] = &self.evicted[reason as usize];
        of_objects.fetch_add(objects, Ordering::Relaxed);
        of_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Objects and bytes that were taken away.
    #[must_use]
    pub fn evicted(&self, reason: Reason) -> [u64; 2] {
        let [objects, bytes] = &self.evicted[reason as usize];
        [objects.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed)]
    }
}

/// Hits, misses, bytes sent, bytes received, HEADs, questions for missing blobs; then what clients told, as in [`Told`].
pub type Counts = [u64; COUNT];

const COUNT: usize = 12;
/// Kinds of counters in the rings, two numbers each.
const KIND_COUNT: u8 = COUNT as u8 / 2;
/// Where in `Counts` the part begins that clients told.
const TOLD: usize = 6;

/// What a client says that it found. Lookups here were counted when they were made: these are counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Found on its own disk.
    pub local_hits: u64,
    /// Not found there.
    pub local_misses: u64,
    /// Found here.
    pub remote_hits: u64,
    /// Not found here.
    pub remote_misses: u64,
    /// Milliseconds that its own disk has saved.
    pub local_saved_ms: u64,
    /// Milliseconds that this cache has saved.
    pub remote_saved_ms: u64,
}

impl Told {
    /// The part of counts that clients told.
    #[must_use]
    pub fn of(counts: &Counts) -> Told {
        let [.., local_hits, local_misses, remote_hits, remote_misses, local_saved_ms, remote_saved_ms] =
            *counts;
        Told { local_hits, local_misses, remote_hits, remote_misses, local_saved_ms, remote_saved_ms }
    }

    fn numbers(&self) -> [u64; COUNT - TOLD] {
        [
            self.local_hits,
            self.local_misses,
            self.remote_hits,
            self.remote_misses,
            self.local_saved_ms,
            self.remote_saved_ms,
        ]
    }
}

/// Counts that any core adds to.
#[derive(Default)]
pub struct Tally([AtomicU64; COUNT]);

impl Tally {
    fn count(&self, lookup: Lookup, bytes_out: u64) {
        let place = match lookup {
            Lookup::Hit => 0,
            Lookup::Miss => 1,
            Lookup::Head => 4,
            Lookup::Missing => 5,
        };
        self.0[place].fetch_add(1, Ordering::Relaxed);
        self.0[2].fetch_add(bytes_out, Ordering::Relaxed);
    }

    fn count_upload(&self, bytes: u64) {
        self.0[3].fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_told(&self, told: &Told) {
        for (count, more) in self.0[TOLD..].iter().zip(told.numbers()) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed))
    }

    fn take(&self) -> Counts {
        std::array::from_fn(|place| self.0[place].swap(0, Ordering::Relaxed))
    }

    fn put_back(&self, counts: Counts) {
        for (place, count) in counts.into_iter().enumerate() {
            self.0[place].fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Cas {
    /// Counts what a client of a namespace asked for, and the bytes of the answer. A namespace that never had anything is
    /// counted only among all.
    pub fn count(&self, ns: &Namespace, lookup: Lookup, bytes_out: u64) {
        self.each_tally(ns, |tally| tally.count(lookup, bytes_out));
    }

    /// Counts an upload that was stored.
    pub fn count_upload(&self, ns: &Namespace, bytes: u64) {
        self.each_tally(ns, |tally| tally.count_upload(bytes));
    }

    /// Counts what a client of a namespace says that it found.
    pub fn count_told(&self, ns: &Namespace, told: &Told) {
        self.each_tally(ns, |tally| tally.count_told(told));
    }

    fn each_tally(&self, ns: &Namespace, count: impl Fn(&Tally)) {
        count(&self.0.counters.tally);
        if let Some(loaded) = self.0.loaded() {
            count(&loaded.unwritten);
            if let Some(state) = loaded.namespaces.find(ns) {
                count(&state.tally);
            }
        }
    }
}

/// What one operation writes: counts of namespaces, and of all.
struct WriteCounts {
    rows: Vec<(Option<Namespace>, Counts)>,
    minute: u32,
    prune_after: Vec<u8>,
}

fn bucket_key(resolution: u8, ns: Option<&Namespace>, bucket: u32, kind: u8) -> Vec<u8> {
    let mut key = front(resolution, ns);
    key.extend_from_slice(&bucket.to_be_bytes());
    key.push(kind);
    key
}

fn front(resolution: u8, ns: Option<&Namespace>) -> Vec<u8> {
    let mut key = vec![resolution];
    key.extend_from_slice(ns.map_or(&[], Namespace::as_bytes));
    key.push(0);
    key
}

/// The resolution and the bucket that a key names.
fn read_key(key: &[u8]) -> Option<(u8, u32, u8)> {
    let (resolution, rest) = key.split_first()?;
    let (rest, tail) = rest.split_last_chunk::<5>()?;
    let [bucket @ .., kind] = tail;
    rest.ends_with(&[0]).then_some((*resolution, u32::from_be_bytes(*bucket), *kind))
}

/// Whether a bucket has left its ring.
fn is_old(resolution: u8, bucket: u32, minute: u32) -> bool {
    match resolution {
        0 => bucket.saturating_add(MINUTES_KEPT) <= minute,
        _ => bucket.saturating_add(HOURS_KEPT) <= minute / 60,
    }
}

impl Operation for WriteCounts {
    /// Where to go on looking for what is too old.
    type Reply = Vec<u8>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for (ns, _) in &self.rows {
            declare(STATS, &bucket_key(0, ns.as_ref(), self.minute, 0));
        }
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Vec<u8>>, Fault> {
        for (ns, counts) in &self.rows {
            for (kind, pair) in counts.chunks_exact(2).enumerate() {
                let change = [pair[0], pair[1]].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
                if change == [0, 0] {
                    continue;
                }
                tx.add(STATS, &bucket_key(0, ns.as_ref(), self.minute, kind as u8), change)?;
                tx.add(STATS, &bucket_key(1, ns.as_ref(), self.minute / 60, kind as u8), change)?;
            }
        }
        let mut old = Vec::new();
        let start = Bound::Excluded(&self.prune_after[..]);
        let end = tx.scan(STATS, start, Direction::Forward, PRUNE_COUNT, &mut |key, _| {
            if read_key(key).is_none_or(|(resolution, bucket, _)| is_old(resolution, bucket, self.minute)) {
                old.push(key.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        old.iter().for_each(|key| tx.delete(STATS, key));
        Ok(Outcome::Commit(match end {
            ScanEnd::Continue(key) => key,
            ScanEnd::Stopped | ScanEnd::Done => Vec::new(),
        }))
    }
}

/// What was counted since it was written last, and is to be written now.
pub(crate) fn take(shared: &Shared) -> Vec<(Option<Namespace>, Counts)> {
    let Some(loaded) = shared.loaded() else { return Vec::new() };
    let mut rows = vec![(None, loaded.unwritten.take())];
    rows.extend(loaded.namespaces.all().map(|state| (Some(state.name), state.tally.take())));
    rows.retain(|(_, counts)| *counts != [0; COUNT]);
    rows
}

/// Writes what was counted, `ROW_COUNT` namespaces in each operation; gives where to go on pruning. What could not be written
/// is kept for the next time.
pub(crate) fn write<F>(
    minute: u32,
    shared: Arc<Shared>,
    mut rows: Vec<(Option<Namespace>, Counts)>,
    prune_after: Vec<u8>,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<u8>, Fault>) -> Plan + 'static,
{
    let now: Vec<_> = rows.drain(..rows.len().min(ROW_COUNT)).collect();
    let operation = WriteCounts { rows: now.clone(), minute, prune_after };
    Plan::submit(STATS_SHARD, operation, move |cx, outcome| match outcome {
        Ok(prune_after) if !rows.is_empty() => write(minute, shared, rows, prune_after, then),
        Ok(prune_after) => then(cx, Ok(prune_after)),
        Err(fault) => {
            for (ns, counts) in now.into_iter().chain(rows) {
                let Some(loaded) = shared.loaded() else { continue };
                match ns {
                    None => loaded.unwritten.put_back(counts),
                    Some(ns) => {
                        if let Some(state) = loaded.namespaces.find(&ns) {
                            state.tally.put_back(counts);
                        }
                    }
                }
            }
            then(cx, Err(fault))
        }
    })
}

/// How far back a sum goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// The last 60 minutes.
    Hour,
    /// The last 24 hours.
    Day,
    /// The last 7 days.
    Week,
    /// The last 30 days.
    Month,
}

impl Window {
    /// The window of a word of the API.
    #[must_use]
    pub fn parse(text: &str) -> Option<Window> {
        match text {
            "1h" => Some(Window::Hour),
            "24h" => Some(Window::Day),
            "7d" => Some(Window::Week),
            "30d" => Some(Window::Month),
            _ => None,
        }
    }

    /// The resolution of the ring, and how many of its buckets.
    fn buckets(self) -> (u8, u32) {
        match self {
            Window::Hour => (0, 60),
            Window::Day => (1, 24),
            Window::Week => (1, 7 * 24),
            Window::Month => (1, 30 * 24),
        }
    }
}

/// What the rings hold of a window, and what was counted since. Errors: those of the view.
pub(crate) fn sum(
    shared: &Shared,
    view: &View<'_>,
    now: Timestamp,
    window: Window,
    ns: Option<&Namespace>,
) -> Result<Counts, Fault> {
    let mut counts: Counts = match (shared.loaded(), ns) {
        (None, _) => [0; COUNT],
        (Some(loaded), None) => loaded.unwritten.counts(),
        (Some(loaded), Some(ns)) => {
            loaded.namespaces.find(ns).map_or([0; COUNT], |state| state.tally.counts())
        }
    };
    let (resolution, bucket_count) = window.buckets();
    let current = if resolution == 0 { minute_of(now) } else { minute_of(now) / 60 };
    let first = current.saturating_sub(bucket_count - 1);
    let front = front(resolution, ns);
    let start = bucket_key(resolution, ns, first, 0);
    let mut scan = view.scan(STATS, Bound::Included(&start), Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        if !key.starts_with(&front) {
            break;
        }
        let Some((_, _, kind @ 0..KIND_COUNT)) = read_key(key) else { continue };
        let pair = ::store::counter::decode(record.value)?.map(|sum| u64::try_from(sum).unwrap_or(0));
        let place = 2 * usize::from(kind);
        counts[place] += pair[0];
        counts[place + 1] += pair[1];
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_rings_come_back_and_no_namespace_begins_another() {
        let ns = |text| Namespace::parse(text).expect("legal");
        for (resolution, name, bucket, kind) in [(0, None, 0, 0), (1, Some(ns("ci")), u32::MAX, 2)] {
            let key = bucket_key(resolution, name.as_ref(), bucket, kind);
            assert_eq!(read_key(&key), Some((resolution, bucket, kind)));
        }
        assert!(!bucket_key(0, Some(&ns("ci-main")), 1, 0).starts_with(&front(0, Some(&ns("ci")))));
        assert!(!bucket_key(0, Some(&ns("ci")), 1, 0).starts_with(&front(0, None)));
        assert_eq!(read_key(&[0, 1]), None);
    }

    #[test]
    fn buckets_leave_their_rings_after_a_day_and_after_90_days() {
        let minute = 30_000_000;
        assert!(is_old(0, minute - MINUTES_KEPT, minute) && !is_old(0, minute - MINUTES_KEPT + 1, minute));
        assert!(
            is_old(1, minute / 60 - HOURS_KEPT, minute) && !is_old(1, minute / 60 - HOURS_KEPT + 1, minute)
        );
    }

    #[test]
    fn what_could_not_be_written_is_counted_still() {
        let tally = Tally::default();
        tally.count(Lookup::Hit, 7);
        tally.count(Lookup::Miss, 0);
        let taken = tally.take();
        assert_eq!((&taken[..TOLD], tally.counts()), (&[1, 1, 7, 0, 0, 0][..], [0; COUNT]));
        tally.count(Lookup::Head, 0);
        let told = Told { local_hits: 5, remote_saved_ms: 9, ..Told::default() };
        tally.count_told(&told);
        tally.put_back(taken);
        assert_eq!(tally.counts(), [1, 1, 7, 0, 1, 0, 5, 0, 0, 0, 0, 9]);
        assert_eq!(Told::of(&tally.counts()), told);
    }
}
