//! Which keys the index cannot hold: a blocked Bloom filter over all keys that it holds or held, so that an operation on a new
//! key does not walk down the tree to find nothing.
//! Invariant: a key that was added is never said to be absent. Keys are added by whoever puts them into the index, before the
//! commit; an operation asks only behind the overlays, which have a key until its fold has ended.
//! Leaves to index.rs: adding. A key that was deleted stays until the next start, when the filter is made anew.
//!
//! ```text
//! level 0 | level 1 | ...     each four times as large as the one before; a full one is left as it is and the next begun
//! level = blocks of 512 bits, one cache line; a key sets PROBES bits of one block
//! ```

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bits set for a key.
const PROBES: u32 = 6;
/// Bits of a level for each key that it is to take: one absent key in a hundred is not told.
const BITS_PER_KEY: u64 = 10;
const WORDS_PER_BLOCK: usize = 8;
const BLOCK_BITS: u64 = 512;
/// Keys that the first level takes at least: 80 KiB.
const FIRST_KEY_COUNT: u64 = 64 * 1024;
const GROWTH: u64 = 4;
/// Keys of a shard beyond which it has no filter, which would take more than 80 MiB.
const KEY_COUNT_MAX: u64 = 64 << 20;
/// Enough to get from the first level to the last.
const LEVEL_COUNT_MAX: usize = 6;

/// One cache line, so that a look costs one miss.
#[repr(align(64))]
struct Block([AtomicU64; WORDS_PER_BLOCK]);

struct Level {
    blocks: Box<[Block]>,
    key_count_max: u64,
}

/// One writer adds, any thread asks.
pub(crate) struct KeyFilter {
    levels: [OnceLock<Level>; LEVEL_COUNT_MAX],
    /// Levels in use; 0: no filter, every key may be there.
    level_count: AtomicUsize,
    /// Keys that set a bit of the last level.
    in_last: AtomicU64,
}

impl KeyFilter {
    /// A filter that expects so many keys.
    pub(crate) fn new(key_count: u64) -> KeyFilter {
        let filter = KeyFilter::without();
        filter.begin_level(0, key_count.max(FIRST_KEY_COUNT));
        filter
    }

    /// No filter.
    pub(crate) fn without() -> KeyFilter {
        KeyFilter {
            levels: [const { OnceLock::new() }; LEVEL_COUNT_MAX],
            level_count: AtomicUsize::new(0),
            in_last: AtomicU64::new(0),
        }
    }

    /// Notes a key that the index is about to hold. Called by one thread at a time.
    pub(crate) fn add(&self, key: &[u8]) {
        let count = self.level_count.load(Ordering::Relaxed);
        let Some(last) = count.checked_sub(1) else { return };
        let Some(level) = self.levels[last].get() else { return };
        let hash = hash::xxh3_64(key);
        // What an earlier level says to be there is told already.
        if self.levels[..last].iter().flat_map(OnceLock::get).any(|level| level.may_hold(hash)) {
            return;
        }
        if level.set(hash) {
            let keys = self.in_last.load(Ordering::Relaxed) + 1;
            self.in_last.store(keys, Ordering::Relaxed);
            if keys >= level.key_count_max {
                self.begin_level(count, level.key_count_max * GROWTH);
            }
        }
    }

    /// `false`: the index never held the key since its start.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        let count = self.level_count.load(Ordering::Acquire);
        if count == 0 {
            return true;
        }
        let hash = hash::xxh3_64(key);
        self.levels[..count].iter().flat_map(OnceLock::get).any(|level| level.may_hold(hash))
    }

    /// Begins a level, or gives the filter up where that would be too large.
    fn begin_level(&self, number: usize, key_count: u64) {
        if number >= LEVEL_COUNT_MAX || key_count > KEY_COUNT_MAX {
            return self.level_count.store(0, Ordering::Release);
        }
        let blocks = (key_count * BITS_PER_KEY).div_ceil(BLOCK_BITS);
        let level = Level {
            blocks: (0..blocks).map(|_| Block([const { AtomicU64::new(0) }; WORDS_PER_BLOCK])).collect(),
            key_count_max: key_count,
        };
        assert!(self.levels[number].set(level).is_ok(), "a level is begun once, by the one who adds");
        self.in_last.store(0, Ordering::Relaxed);
        // Release: whoever counts the level finds it whole.
        self.level_count.store(number + 1, Ordering::Release);
    }
}

impl Level {
    /// Sets the bits of a key; whether one was new.
    fn set(&self, hash: u64) -> bool {
        let block = self.block(hash);
        let mut is_new = false;
        for (word, bit) in probes(hash) {
            let before = block.0[word].load(Ordering::Relaxed);
            is_new |= before & bit == 0;
            // Only one thread writes.
            block.0[word].store(before | bit, Ordering::Relaxed);
        }
        is_new
    }

    fn may_hold(&self, hash: u64) -> bool {
        let block = self.block(hash);
        probes(hash).all(|(word, bit)| block.0[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// By the upper half of the hash; `probes` takes the rest.
    fn block(&self, hash: u64) -> &Block {
        let place = (u128::from(hash) * self.blocks.len() as u128) >> 64;
        &self.blocks[place as usize]
    }
}

/// Word and bit of each probe within a block.
fn probes(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    // The block comes from the hash's highest bits; mixed again, so that keys of one block differ in their probes.
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| {
        let place = (mixed >> (probe * 9)) as usize % BLOCK_BITS as usize;
        (place / 64, 1 << (place % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Vec<u8> {
        [b"\x2atable".as_slice(), &number.to_be_bytes()].concat()
    }

    #[test]
    fn a_key_that_was_added_is_never_absent_over_all_levels() {
        let filter = KeyFilter::new(0);
        let count = 5 * FIRST_KEY_COUNT;
        for number in 0..count {
            filter.add(&key(number));
        }
        assert_eq!(filter.level_count.load(Ordering::Relaxed), 2);
        assert!((0..count).all(|number| filter.may_hold(&key(number))));
    }

    #[test]
    fn few_keys_that_were_not_added_may_be_there() {
        let filter = KeyFilter::new(0);
        for number in 0..FIRST_KEY_COUNT {
            filter.add(&key(number));
        }
        let asked = FIRST_KEY_COUNT..3 * FIRST_KEY_COUNT;
        let total = asked.end - asked.start;
        let wrong = asked.filter(|number| filter.may_hold(&key(*number))).count() as u64;
        assert!(wrong * 40 < total, "{wrong} of {total} absent keys are not told");
    }

    #[test]
    fn a_filter_that_would_be_too_large_says_that_every_key_may_be_there() {
        assert!(KeyFilter::new(KEY_COUNT_MAX + 1).may_hold(b"k"));
        assert!(KeyFilter::without().may_hold(b"k"));
        let filter = KeyFilter::new(0);
        assert!(!filter.may_hold(b"k"));
        filter.begin_level(LEVEL_COUNT_MAX, 1);
        filter.add(b"k");
        assert!(filter.may_hold(b"k") && filter.may_hold(b"another"));
    }
}
