//! Megabytes per second of what bounds an upload: MD5 in 1 to 16 lanes, SHA-256, the CRCs, XXH3.
//! Run: `cargo bench -p zerocloud-hash --bench hash`

use std::hint::black_box;
use std::time::Instant;

use hash::{Algorithm, Digest, Md5, md5_update_many};
use md5::Digest as _;

/// One ready piece of an upload.
const PIECE_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 9;
/// Bytes hashed per sample.
const SAMPLE_BYTES: usize = 8 * 1024 * 1024;

fn main() {
    let pieces: Vec<Vec<u8>> = (0..16_u8).map(|index| vec![index; PIECE_BYTES]).collect();
    println!(
        "pieces of {PIECE_BYTES} bytes, median and best of {ROUNDS}; the processor has {} MD5 lanes",
        hash::lane_count()
    );
    for lane_count in [1, 2, 3, 4, 6, 8, 12, 16] {
        let mut states = vec![Md5::new(); lane_count];
        report(&format!("md5 x{lane_count}"), lane_count * PIECE_BYTES, || {
            let mut jobs: Vec<(&mut Md5, &[u8])> =
                states.iter_mut().zip(&pieces).map(|(state, piece)| (state, &piece[..])).collect();
            md5_update_many(&mut jobs);
        });
    }
    let mut md5 = Md5::new();
    report("md5 update", PIECE_BYTES, || md5.update(&pieces[0]));
    let mut other = md5::Md5::new();
    report("md-5 crate", PIECE_BYTES, || other.update(&pieces[0]));
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::Md5) {
        let mut digest = Digest::new(algorithm);
        report(algorithm.name(), PIECE_BYTES, || digest.update(&pieces[0]));
    }
}

fn report(name: &str, bytes: usize, mut work: impl FnMut()) {
    let repetitions = SAMPLE_BYTES / bytes;
    let mut samples: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..repetitions {
                work();
                black_box(());
            }
            (repetitions * bytes) as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    println!("{name:>12} {:9.0} {:9.0} MB/s", samples[ROUNDS / 2], samples[ROUNDS - 1]);
}
