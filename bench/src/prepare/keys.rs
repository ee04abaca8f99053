//! Which key next: by turns, at equal chance, or by Zipf's law. Drawn before the clock.
//! Invariant: a number that was drawn is below the count; the same count and seed draw the same numbers.
//! Left to others: what a key is called.

use crate::load::schedule::SplitMix;

/// How often each key comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each once, in a scattered order; after the last the same order again.
    Unique,
    /// All at equal chance.
    Uniform,
    /// The key of rank r with a chance that falls as r to the power of minus `theta`. Which key has which rank is scattered,
    /// so that those that come often do not lie beside each other.
    Zipf {
        /// Above 0; the larger, the fewer keys take most of the draws.
        theta: f64,
    },
}

/// Draws key numbers.
pub struct Keys {
    scatter: Scatter,
    draw: Draw,
    random: SplitMix,
}

enum Draw {
    Unique {
        next: usize,
    },
    Uniform,
    /// The chance of this rank and all before it. A table costs 8 bytes a key and a search, and is exact, which the usual
    /// closed form is not for small counts.
    Zipf(Box<[f64]>),
}

impl Keys {
    /// Draws numbers below `count`, which is at least 1.
    pub fn new(distribution: Distribution, count: usize, seed: u64) -> Keys {
        assert!(count > 0, "the command line refuses to draw from nothing");
        let mut random = SplitMix(seed);
        let scatter = Scatter::new(count, &mut random);
        let draw = match distribution {
            Distribution::Unique => Draw::Unique { next: 0 },
            Distribution::Uniform => Draw::Uniform,
            Distribution::Zipf { theta } => Draw::Zipf(cumulative(count, theta)),
        };
        Keys { scatter, draw, random }
    }

    /// The next number.
    pub fn next(&mut self) -> usize {
        let count = self.scatter.count;
        match &mut self.draw {
            Draw::Unique { next } => {
                let index = *next;
                *next = (index + 1) % count;
                self.scatter.place(index)
            }
            Draw::Uniform => below(&mut self.random, count),
            Draw::Zipf(cumulative) => {
                let chance = self.random.unit();
                let rank = cumulative.partition_point(|up_to| *up_to <= chance);
                // The sum of all chances may be rounded to just below 1.
                self.scatter.place(rank.min(count - 1))
            }
        }
    }
}

/// A number below `count`.
pub fn below(random: &mut SplitMix, count: usize) -> usize {
    // The high half of a product instead of a remainder: no division, and no bias that could be seen (Lemire 2019).
    ((u128::from(random.next()) * count as u128) >> 64) as usize
}

fn cumulative(count: usize, theta: f64) -> Box<[f64]> {
    let mut sum = 0.0;
    let mut table: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-theta);
            sum
        })
        .collect();
    for up_to in &mut table {
        *up_to /= sum;
    }
    table.into()
}

/// A permutation of the numbers below `count`: a stride that shares no factor with the count, from a random start.
struct Scatter {
    count: usize,
    stride: usize,
    start: usize,
}

impl Scatter {
    fn new(count: usize, random: &mut SplitMix) -> Scatter {
        // About the golden section: neighbours end up far from each other.
        let mut stride = ((count as f64 * 0.618) as usize).max(1);
        while common_divisor(stride, count) > 1 {
            stride += 1;
        }
        Scatter { count, stride, start: below(random, count) }
    }

    fn place(&self, index: usize) -> usize {
        let place = index as u128 * self.stride as u128 + self.start as u128;
        (place % self.count as u128) as usize
    }
}

fn common_divisor(mut one: usize, mut other: usize) -> usize {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(distribution: Distribution, key_count: usize, draws: usize) -> Vec<usize> {
        let mut keys = Keys::new(distribution, key_count, 7);
        let mut counts = vec![0; key_count];
        for _ in 0..draws {
            counts[keys.next()] += 1;
        }
        counts
    }

    #[test]
    fn unique_gives_each_key_once_before_any_twice() {
        for key_count in [1, 2, 3, 10, 1_000, 4_096, 9_973] {
            assert!(counts(Distribution::Unique, key_count, key_count).iter().all(|count| *count == 1));
            assert!(counts(Distribution::Unique, key_count, 2 * key_count).iter().all(|count| *count == 2));
        }
    }

    #[test]
    fn unique_leaves_no_run_of_neighbours() {
        let mut keys = Keys::new(Distribution::Unique, 10_000, 1);
        let drawn: Vec<usize> = (0..1_000).map(|_| keys.next()).collect();
        assert!(drawn.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1_000));
    }

    #[test]
    fn uniform_gives_every_key_about_as_often() {
        let counts = counts(Distribution::Uniform, 100, 1_000_000);
        // 10,000 each; the standard deviation is 100.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
    }

    #[test]
    fn zipf_falls_with_the_rank_as_its_law_says() {
        let mut counts = counts(Distribution::Zipf { theta: 0.99 }, 1_000, 1_000_000);
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let sum: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-0.99)).sum();
        for rank in [1_usize, 2, 10, 100] {
            let expected = 1_000_000.0 * (rank as f64).powf(-0.99) / sum;
            let ratio = counts[rank - 1] as f64 / expected;
            assert!((0.9..1.1).contains(&ratio), "rank {rank}: {} for {expected:.0}", counts[rank - 1]);
        }
        // A tenth of the keys takes more than half of the draws.
        assert!(counts[..100].iter().sum::<usize>() > 500_000);
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        for distribution in [Distribution::Unique, Distribution::Uniform, Distribution::Zipf { theta: 0.99 }]
        {
            let drawn = |seed| {
                let mut keys = Keys::new(distribution, 10_000, seed);
                (0..100).map(|_| keys.next()).collect::<Vec<usize>>()
            };
            assert_eq!(drawn(3), drawn(3));
            assert_ne!(drawn(3), drawn(4));
        }
    }
}
