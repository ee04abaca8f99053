//! Seeded chance: one seed gives one sequence of numbers, on every machine. Not for secrets.

/// A sequence of numbers that looks random: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one below `bound`; 0 for the bound 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is bound / 2^64, which no test can see.
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// True with this probability, of 0.0 to 1.0.
    pub fn happens(&mut self, probability: f64) -> bool {
        // 53 bits, as many as a float holds exactly.
        ((self.number() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }

    /// So many hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.below(16) as usize])).collect()
    }

    /// A text in the form of a UUID.
    pub fn uuid(&mut self) -> String {
        let groups = [8, 4, 4, 4, 12].map(|digits| self.hex(digits));
        groups.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn one_seed_gives_one_sequence() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            [chance.number(), chance.number(), chance.below(10)]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        // The first number of the seed 0 in the published generator.
        assert_eq!(Chance::new(0).number(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn a_probability_of_none_and_of_all_are_exact() {
        let mut chance = Chance::new(1);
        assert!((0..1_000).all(|_| !chance.happens(0.0) && chance.happens(1.0)));
        assert_eq!(chance.pick::<u8>(&[]), None);
    }
}
