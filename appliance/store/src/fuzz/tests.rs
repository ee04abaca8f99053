//! Replays `corpus/` through the fuzz targets, each file as it is and in mutations that the seed decides.

use std::path::PathBuf;

use super::*;
type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 5] = [
    ("batches", batches),
    ("extents", extents),
    ("headers", headers),
    ("packed", packed),
    ("records", records),
];
/// Mutations of each file.
const MUTATION_COUNT: usize = 4;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "corpus", target].iter().collect();
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the corpus is there")
        .map(|entry| entry.expect("lists").path())
        .map(|path| (path.clone(), std::fs::read(path).expect("reads")))
        .collect();
    files.sort();
    assert!(files.len() >= 4, "the corpus of {target} is missing");
    files
}

fn mutate(random: &mut Random, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn neither_the_corpus_nor_its_mutations_break_an_invariant() {
    let mut random = Random(0x5eed_0003);
    for (name, target) in TARGETS {
        for (path, input) in corpus(name) {
            for round in 0..=MUTATION_COUNT {
                let bytes = if round == 0 { input.clone() } else { mutate(&mut random, &input) };
                let caught = std::panic::catch_unwind(|| target(&bytes));
                assert!(caught.is_ok(), "{} in round {round}: {bytes:02x?}", path.display());
            }
        }
    }
}

/// splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
