//! Who has shown wrong tokens, by address, so that a guesser is slowed down.
//! Invariant: memory is bounded whatever comes; addresses that share a slot are only ever judged more carefully, and a key
//! that nobody knows decides which do.
//!
//! ```text
//! slot = failures u16 | second of the last one u48
//! ```

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use store::Timestamp;

/// Addresses that are told apart.
const SLOT_COUNT: usize = 4_096;
/// Wrong tokens that cost nothing: a build with a wrong one shows it many times.
const FREE_FAILURES: u16 = 20;
/// The longest wait.
const WAIT_SECONDS_MAX: u64 = 60;
/// After so long an address is a stranger again.
const FORGET_SECONDS: u64 = 600;
const SECOND_BITS: u32 = 48;

/// The table.
pub struct Backoff {
    slots: Box<[AtomicU64]>,
    key: RandomState,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { slots: (0..SLOT_COUNT).map(|_| AtomicU64::new(0)).collect(), key: RandomState::new() }
    }
}

impl Backoff {
    /// How many seconds an address must still wait; none: it may try.
    pub fn wait_seconds(&self, address: IpAddr, now: Timestamp) -> Option<u64> {
        let (failures, last) = unpack(self.slot(address).load(Ordering::Relaxed));
        let over = failures.checked_sub(FREE_FAILURES)?;
        let wait =
            1_u64.checked_shl(u32::from(over)).map_or(WAIT_SECONDS_MAX, |wait| wait.min(WAIT_SECONDS_MAX));
        (last + wait).checked_sub(now.0 / 1_000).filter(|left| (1..=WAIT_SECONDS_MAX).contains(left))
    }

    /// Counts a wrong token of an address that did not have to wait.
    pub fn failed(&self, address: IpAddr, now: Timestamp) {
        let second = now.0 / 1_000;
        let count = |slot| {
            let (failures, last) = unpack(slot);
            let is_forgotten = second.saturating_sub(last) > FORGET_SECONDS;
            let failures = if is_forgotten { 1 } else { failures.saturating_add(1) };
            Some(u64::from(failures) << SECOND_BITS | second & ((1 << SECOND_BITS) - 1))
        };
        self.slot(address)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
            .expect("the closure always gives a value");
    }

    fn slot(&self, address: IpAddr) -> &AtomicU64 {
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.key.hash_one(address),
            // Who has one address of a /64 has all of them.
            IpAddr::V6(address) => self.key.hash_one(&address.octets()[..8]),
        };
        &self.slots[hash as usize % SLOT_COUNT]
    }
}

fn unpack(slot: u64) -> (u16, u64) {
    ((slot >> SECOND_BITS) as u16, slot & ((1 << SECOND_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_is_forgotten() {
        let backoff = Backoff::default();
        let here = address("192.0.2.1");
        for _ in 1..FREE_FAILURES {
            backoff.failed(here, NOW);
            assert_eq!(backoff.wait_seconds(here, NOW), None);
        }
        let mut waits = Vec::new();
        let mut now = NOW;
        for _ in 0..8 {
            backoff.failed(here, now);
            let wait = backoff.wait_seconds(here, now).expect("waits");
            waits.push(wait);
            now = now.plus_ms(wait * 1_000);
            assert_eq!(backoff.wait_seconds(here, now), None, "after the wait one attempt is free");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let later = now.plus_ms((FORGET_SECONDS + 1) * 1_000);
        backoff.failed(here, later);
        assert_eq!(backoff.wait_seconds(here, later), None);
    }

    #[test]
    fn addresses_of_one_network_share_what_they_did_and_a_clock_that_goes_back_locks_nobody_out() {
        let backoff = Backoff::default();
        for _ in 0..2 * FREE_FAILURES {
            backoff.failed(address("2001:db8::1"), NOW);
        }
        assert!(backoff.wait_seconds(address("2001:db8::2"), NOW).is_some());
        // An hour ago the end of the wait would be too far away to be meant.
        assert_eq!(backoff.wait_seconds(address("2001:db8::1"), Timestamp(NOW.0 - 3_600_000)), None);
        for _ in 0..70_000 {
            backoff.failed(address("192.0.2.1"), NOW);
        }
        assert_eq!(backoff.wait_seconds(address("::ffff:192.0.2.1"), NOW), Some(WAIT_SECONDS_MAX));
    }
}
