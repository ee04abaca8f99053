//! Replays `corpus/` through the fuzz targets, each file as it is and in many mutations.
//!
//! Random; a failure prints its seed, and `CACHE_TEST_SEED=<seed> cargo test -p zerocloud-cache --lib fuzz` replays
//! it. What a fuzzer finds becomes a file of the corpus.

use std::path::PathBuf;

use super::TARGETS;

/// Spread over the files of a target; `CACHE_TEST_MUTATIONS` asks for more.
const MUTATIONS_OF_TARGET: usize = 1_600;

/// xorshift64*, which is random enough to change bytes with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

fn seed() -> u64 {
    match std::env::var("CACHE_TEST_SEED") {
        Ok(text) => text.parse().expect("the seed is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64 | 1,
    }
}

fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "corpus", kind].iter().collect();
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("the corpus is there")
        .map(|entry| entry.expect("lists").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("reads")))
        .collect();
    files.sort();
    files
}

/// Changes, drops, doubles or splices a few bytes.
fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    const ODD: &[u8] = b"\0\n\":,[]{}\\0123456789abcdef.+-=&%/? \x01\x08\x7f\x80\xc0\xff";
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = ODD[random.below(ODD.len())],
            2 => bytes.truncate(at),
            3 => {
                bytes.remove(at);
            }
            4 => {
                let end = (at + random.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from.min(other.len())..]);
            }
        }
    }
    bytes
}

#[test]
fn no_input_breaks_an_invariant() {
    let seed = seed();
    let random = &mut Random(seed);
    let mutation_count = std::env::var("CACHE_TEST_MUTATIONS")
        .map_or(MUTATIONS_OF_TARGET, |text| text.parse().expect("the count is a number"));
    for (kind, target) in TARGETS {
        let files = files(kind);
        assert!(files.len() >= 4, "the corpus of {kind} is there");
        for (name, input) in &files {
            let run = |what: &str, bytes: &[u8]| {
                let result = std::panic::catch_unwind(|| target(bytes));
                let text = String::from_utf8_lossy(bytes);
                assert!(result.is_ok(), "CACHE_TEST_SEED={seed} {name} {what}: {text:?}");
            };
            run("as it is", input);
            for _ in 0..mutation_count.div_ceil(files.len()) {
                let other = &files[random.below(files.len())].1;
                let mutated = mutate(random, input, other);
                run("mutated", &mutated);
            }
        }
    }
}
