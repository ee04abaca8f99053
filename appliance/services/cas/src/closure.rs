//! Which key records were found whole, so that a warm hit need not look at each of their blobs again.
//! Invariant: what is remembered of a version of a record is that all its blobs were leased; it counts for the first half of that
//! lease, and no longer once anything was taken away against a lease. What finds no room is not remembered, and nobody waits.
//! Leaves to keys.rs: looking at the blobs of all others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::store::{ShardId, Timestamp};

/// Records that are remembered at most: a quarter of a megabyte.
const SLOT_COUNT: usize = 4_096;
/// Looking at fewer references costs less than remembering them.
pub(crate) const REMEMBERED_COUNT_MIN: usize = 8;

/// The records that were found whole.
pub(crate) struct Checks {
    /// How often something was taken away against a lease.
    forced: AtomicU64,
    slots: Box<[Mutex<Option<Check>>]>,
}

/// A version of a key record: nonces are unique within a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub(crate) shard: ShardId,
    pub(crate) nonce: u128,
}

#[derive(Clone, Copy)]
struct Check {
    version: Version,
    moment: Moment,
}

/// When a check began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    at: Timestamp,
    forced: u64,
}

impl Default for Checks {
    fn default() -> Checks {
        let slots = (0..SLOT_COUNT).map(|_| Mutex::default()).collect();
        Checks { forced: AtomicU64::new(0), slots }
    }
}

impl Checks {
    /// To be asked for before the first blob of a record is looked at.
    pub(crate) fn begin(&self, now: Timestamp) -> Moment {
        Moment { at: now, forced: self.forced.load(Ordering::Acquire) }
    }

    /// Notes that all blobs of a record were leased since `moment`.
    pub(crate) fn remember(&self, version: Version, moment: Moment) {
        if let Ok(mut slot) = self.slot(&version).try_lock() {
            *slot = Some(Check { version, moment });
        }
    }

    /// Whether all blobs of a record are leased for a good while yet.
    pub(crate) fn holds(&self, version: Version, now: Timestamp, lease: Duration) -> bool {
        let Ok(slot) = self.slot(&version).try_lock() else { return false };
        let half_ms = u64::try_from(lease.as_millis() / 2).unwrap_or(u64::MAX);
        slot.is_some_and(|check| {
            let Moment { at, forced } = check.moment;
            // A clock that was set back tells nothing.
            let is_young = now >= at && now.0 < at.0.saturating_add(half_ms);
            check.version == version && is_young && forced == self.forced.load(Ordering::Acquire)
        })
    }

    /// To be called when something is taken away against a lease.
    pub(crate) fn forget_all(&self) {
        self.forced.fetch_add(1, Ordering::AcqRel);
    }

    fn slot(&self, version: &Version) -> &Mutex<Option<Check>> {
        // Numbers of records that are written one after the other differ in their last bits.
        let [batch, place] = [(version.nonce >> 64) as u64, version.nonce as u64];
        let mixed = batch.wrapping_mul(31).wrapping_add(place).wrapping_mul(31) ^ u64::from(version.shard.0);
        &self.slots[mixed as usize % SLOT_COUNT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const LEASE: Duration = Duration::from_secs(1_800);

    fn version(shard: u16, nonce: u128) -> Version {
        Version { shard: ShardId(shard), nonce }
    }

    #[test]
    fn a_check_counts_for_half_a_lease_and_for_its_own_version_alone() {
        let checks = Checks::default();
        let moment = checks.begin(NOW);
        checks.remember(version(1, 7), moment);
        assert!(checks.holds(version(1, 7), NOW, LEASE));
        assert!(checks.holds(version(1, 7), NOW.plus_ms(899_999), LEASE));
        assert!(!checks.holds(version(1, 7), NOW.plus_ms(900_000), LEASE));
        assert!(!checks.holds(version(1, 7), Timestamp(NOW.0 - 1), LEASE), "the clock was set back");
        assert!(!checks.holds(version(2, 7), NOW, LEASE) && !checks.holds(version(1, 8), NOW, LEASE));
    }

    #[test]
    fn a_check_that_began_before_something_was_taken_by_force_counts_no_longer() {
        let checks = Checks::default();
        let before = checks.begin(NOW);
        checks.remember(version(1, 1), before);
        checks.forget_all();
        assert!(!checks.holds(version(1, 1), NOW, LEASE));
        // The walk was under way meanwhile.
        checks.remember(version(1, 1), before);
        assert!(!checks.holds(version(1, 1), NOW, LEASE));
        checks.remember(version(1, 1), checks.begin(NOW));
        assert!(checks.holds(version(1, 1), NOW, LEASE));
    }

    #[test]
    fn records_that_follow_each_other_are_remembered_beside_each_other() {
        let checks = Checks::default();
        let moment = checks.begin(NOW);
        let versions = || (0..1_000).map(|number| version(0, ((number / 10) << 64) | (number % 10)));
        versions().for_each(|version| checks.remember(version, moment));
        let kept = versions().filter(|version| checks.holds(*version, NOW, LEASE)).count();
        assert!(kept > 900, "{kept} of 1,000");
    }
}
