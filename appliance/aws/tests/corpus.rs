//! Replays `corpus/` through the fuzz targets, each file as it is and in many mutations.
//!
//! Random; a failure prints its seed, and `AWS_TEST_SEED=<seed> cargo test -p zerocloud-aws --test corpus`
//! replays it. What a fuzzer finds becomes a file of the corpus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod harness;

use std::path::PathBuf;

use aws::fuzz;
use aws::payload::PayloadMode;
use harness::Random;

/// Spread over the files of a target; `AWS_TEST_MUTATIONS` asks for more.
const MUTATIONS_OF_TARGET: usize = 3_000;
type Target = fn(&[u8]);
const TARGETS: [(&str, Target); 9] = [
    ("captured", fuzz::request),
    ("authorization", fuzz::authorization),
    ("presigned", fuzz::presigned),
    ("chunked", fuzz::chunked),
    ("canonical", fuzz::canonical),
    ("grants", fuzz::grants),
    ("policy", fuzz::policy),
    ("xml", fuzz::xml),
    ("dates", fuzz::dates),
];

fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "corpus", kind].iter().collect();
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Changes, drops, doubles or splices a few bytes.
fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.pick(b"\0\r\n;:=&<>/%+0fZ \xc3\xff"),
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
                let from = random.below(other.len().max(1)).min(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn no_input_breaks_an_invariant() {
    let seed = harness::seed();
    let random = &mut Random::new(seed);
    let mutation_count =
        std::env::var("AWS_TEST_MUTATIONS").map_or(MUTATIONS_OF_TARGET, |text| text.parse().unwrap());
    for (kind, target) in TARGETS {
        let files = files(kind);
        assert!(files.len() >= 4, "the corpus of {kind} is there");
        for (name, input) in &files {
            let run = |what: &str, bytes: &[u8]| {
                let result = std::panic::catch_unwind(|| target(bytes));
                let text = String::from_utf8_lossy(bytes);
                assert!(result.is_ok(), "AWS_TEST_SEED={seed} {name} {what}: {text:?}");
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

#[test]
fn the_signed_bodies_of_the_corpus_are_right() {
    // Otherwise the chunk target would only ever see refusals.
    for (name, mode) in [
        ("unsigned", PayloadMode::StreamingUnsignedTrailer),
        ("signed", PayloadMode::StreamingSigned),
        ("signed_trailer", PayloadMode::StreamingSignedTrailer),
        ("minio", PayloadMode::StreamingSignedTrailer),
        ("empty", PayloadMode::StreamingSigned),
    ] {
        let all = files("chunked");
        let (_, bytes) = all.iter().find(|(path, _)| path.ends_with(&format!("/{name}"))).unwrap();
        let (_, result) = fuzz::decode(mode, &bytes[2..], |_| 7);
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}
