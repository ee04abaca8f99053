//! Random numbers that a seed brings back.

#![allow(dead_code, reason = "each test binary uses its own part")]

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// The seed of a run: the variable's, or this one.
pub fn seed_or(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The seed of a run: the variable's, or a new one.
pub fn seed(variable: &str) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    let given = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| RandomState::new().hash_one(1_u8))
}
