//! Leases: what was promised to somebody stays for a while, without a write and without a hop.
//! Invariant: while a slot is leased, no digest of that slot is evicted; while it is condemned, nobody is promised anything of it.
//! What a slot says never comes back once it has changed, so that a compare-exchange sees every change between.
//! Leaves to evict.rs: what is condemned, and that the guard is held until the outcome is durable.
//!
//! ```text
//!   free (a second that has passed) --renew--> leased until a second --time--> free
//!     |  ^
//!     |  '-- dropped: no second, one free more --.
//!     '--------------- condemn ----------> CONDEMNED
//!
//!   slot   second until which it is leased u32 | how often it was set free u32
//! ```
//! Digests that share a slot share its lease, which keeps more than it must, never less.
//!
//! Why there is no window. A reader looks at the slot, takes its view, and then exchanges what it saw for its lease: it
//! succeeds only where nothing was condemned between, and from then on the owner's exchange sees the lease. A reader that looks
//! when the slot is free again (acquire) sees the durable state too that was stored before (release), so its view has no
//! blob. Where the lease that a reader saw runs on, nothing could be condemned since, and it exchanges nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ::store::Timestamp;

use crate::digest::Digest;

/// Slots at least.
const SLOT_COUNT_MIN: u64 = 1 << 16;
/// Slots at most: 32 MiB of memory once all are in use.
const SLOT_COUNT_MAX: u64 = 1 << 22;
/// Slots that get their memory together, when one of them is first leased.
const CHUNK_COUNT: usize = 4_096;
/// The blob size from which the number of slots is reckoned.
const BYTES_PER_SLOT: u64 = 8 * 1_024;
/// The mark of a slot of which something is being evicted.
const CONDEMNED: u64 = u64::MAX;
/// The last second that a slot may name: in the year 2106.
const SECOND_MAX: u32 = u32::MAX - 1;
/// A lease lasts this much longer than was asked for, so that a hot blob costs one write in so many seconds; less where leases are
/// short.
const SPARED_S_MAX: u32 = 30;
/// How often a slot may change under somebody who takes it by force. Who renews a lease meanwhile makes one try fail, which
/// happens to a slot once in many seconds.
const FORCE_COUNT_MAX: usize = 1_000;
/// Chunks that are looked at to reckon how much is leased: 65,536 slots.
const SAMPLE_COUNT: usize = 16;

/// The leases of all shards.
#[derive(Clone)]
pub struct LeaseTable {
    /// A chunk without memory holds zeros.
    chunks: Arc<[OnceLock<Box<[AtomicU64]>>]>,
}

/// What a slot said before a view was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen(u64);

impl Seen {
    /// Whether something of the slot is being evicted.
    #[must_use]
    pub fn is_condemned(self) -> bool {
        self.0 == CONDEMNED
    }

    /// Whether a lease runs at `now`.
    #[must_use]
    pub fn is_leased(self, now: Timestamp) -> bool {
        !self.is_condemned() && self.until() > second(now)
    }

    fn until(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same slot, leased until a second.
    fn leased(self, until: u32) -> u64 {
        u64::from(until) << 32 | self.0 & u64::from(u32::MAX)
    }

    /// The same slot, set free once more.
    fn freed(self) -> u64 {
        u64::from((self.0 as u32).wrapping_add(1))
    }
}

/// What became of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewed {
    /// What the view showed stays.
    Leased,
    /// The slot has changed since it was looked at: look again, with a newer view.
    Changed,
}

impl LeaseTable {
    /// A table for a content store of this size.
    #[must_use]
    pub fn new(max_bytes: u64) -> LeaseTable {
        let count = (max_bytes / BYTES_PER_SLOT).clamp(SLOT_COUNT_MIN, SLOT_COUNT_MAX).next_power_of_two();
        LeaseTable { chunks: (0..count as usize / CHUNK_COUNT).map(|_| OnceLock::new()).collect() }
    }

    fn slot_count(&self) -> usize {
        self.chunks.len() * CHUNK_COUNT
    }

    fn index(&self, digest: &Digest) -> usize {
        let last = digest.as_bytes().last_chunk().expect("a digest has 32 bytes");
        // The number of slots is a power of two.
        u32::from_le_bytes(*last) as usize & (self.slot_count() - 1)
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        let zeros = || (0..CHUNK_COUNT).map(|_| AtomicU64::new(0)).collect();
        &self.chunks[index / CHUNK_COUNT].get_or_init(zeros)[index % CHUNK_COUNT]
    }

    /// The state of a digest's slot; to be asked for before the view is taken that shows whether the blob is there.
    #[must_use]
    pub fn look(&self, digest: &Digest) -> Seen {
        let index = self.index(digest);
        // Memory that comes meanwhile is as a change that comes meanwhile: the exchange meets it.
        let chunk = self.chunks[index / CHUNK_COUNT].get();
        Seen(chunk.map_or(0, |slots| slots[index % CHUNK_COUNT].load(Ordering::Acquire)))
    }

    /// Leases a blob that a view showed which was taken after `seen`.
    #[must_use]
    pub fn renew(&self, digest: &Digest, seen: Seen, now: Timestamp, lease_s: u32) -> Renewed {
        if seen.is_condemned() {
            return Renewed::Changed;
        }
        // The second that has begun does not count, or a lease would be over before its period has passed.
        let until = second(now).saturating_add(lease_s).saturating_add(1).min(SECOND_MAX);
        if seen.until() >= until {
            // It was leased before the view was taken, so what the view shows was not evicted and will not be.
            return Renewed::Leased;
        }
        // Longer than was asked for, so that the next uses find it long enough.
        let leased = seen.leased(until.saturating_add(SPARED_S_MAX.min(lease_s / 16)).min(SECOND_MAX));
        let slot = self.slot(self.index(digest));
        match slot.compare_exchange(seen.0, leased, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Renewed::Leased,
            Err(_) => Renewed::Changed,
        }
    }

    /// Takes a slot for eviction, unless it is leased or condemned. It is free again when the guard is dropped: not before the
    /// outcome is durable or known to have failed.
    #[must_use]
    pub fn condemn(&self, digest: &Digest, now: Timestamp) -> Option<CondemnedSlot> {
        let seen = self.look(digest);
        if seen.is_condemned() || seen.is_leased(now) { None } else { self.condemn_seen(digest, seen) }
    }

    /// Takes a slot against any lease. Nothing while it is condemned already, or where it never stays as it was seen.
    #[must_use]
    pub fn condemn_by_force(&self, digest: &Digest) -> Option<CondemnedSlot> {
        for _ in 0..FORCE_COUNT_MAX {
            let seen = self.look(digest);
            if seen.is_condemned() {
                return None;
            }
            if let Some(condemned) = self.condemn_seen(digest, seen) {
                return Some(condemned);
            }
        }
        None
    }

    fn condemn_seen(&self, digest: &Digest, seen: Seen) -> Option<CondemnedSlot> {
        let index = self.index(digest);
        self.slot(index).compare_exchange(seen.0, CONDEMNED, Ordering::AcqRel, Ordering::Acquire).ok()?;
        // Another count than before: whoever looked at that sees the change.
        Some(CondemnedSlot { table: self.clone(), index, free_as: seen.freed() })
    }

    /// About how many slots are leased at `now`, and how many there are. Reckoned from [`SAMPLE_COUNT`] chunks of them, which are
    /// as good as any others, since digests spread evenly: a table with no more than those is counted exactly, of others a
    /// hundredth that is leased is met within a tenth of it.
    #[must_use]
    pub fn leased_count(&self, now: Timestamp) -> (u64, u64) {
        let is_leased = |word: &&AtomicU64| Seen(word.load(Ordering::Relaxed)).is_leased(now);
        // Both numbers are powers of two.
        let scale = self.chunks.len().div_ceil(SAMPLE_COUNT).max(1);
        let slots = self.chunks.iter().step_by(scale).filter_map(OnceLock::get).flatten();
        let leased = slots.filter(is_leased).count() * scale;
        (leased as u64, self.slot_count() as u64)
    }
}

/// A slot of which something is being evicted.
pub struct CondemnedSlot {
    table: LeaseTable,
    index: usize,
    free_as: u64,
}

impl CondemnedSlot {
    /// Whether this is the slot of a digest.
    #[must_use]
    pub fn holds(&self, digest: &Digest) -> bool {
        self.table.index(digest) == self.index
    }

    /// Leaves the slot condemned for the life of the process: the outcome is not known, and after a restart the blob may be
    /// gone.
    pub fn leave(mut self) {
        self.free_as = CONDEMNED;
    }
}

impl Drop for CondemnedSlot {
    fn drop(&mut self) {
        self.table.slot(self.index).store(self.free_as, Ordering::Release);
    }
}

fn second(at: Timestamp) -> u32 {
    u32::try_from(at.0 / 1_000).unwrap_or(SECOND_MAX).min(SECOND_MAX)
}

#[cfg(test)]
mod tests;
