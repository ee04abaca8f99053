//! Digests and checksums on one core: what each byte of a body costs before it is anywhere.

use std::hint::black_box;
use std::time::Duration;

use super::{Limit, Place, limit, tools};
use crate::load::run::thread_cpu;

/// A piece of a body, as the node hashes it.
const PIECE_BYTES: usize = 1 << 20;
/// Uploads side by side.
const LANES: usize = 16;

/// Every digest that S3 asks for.
pub fn measure(place: &Place<'_>) -> Vec<Limit> {
    let piece = vec![b'h'; PIECE_BYTES];
    let rate = |work: &mut dyn FnMut(&[u8])| rate(&piece, place.seconds, work);
    let none = |what: &str| Err(format!("no tool is packaged that measures {what}"));
    let core = place.server_core;
    let mut md5 = hash::Md5State::new();
    let one_lane = rate(&mut |piece| hash::md5_update_many(&mut [(&mut md5, piece)]));
    vec![
        limit("MD5, one body", "bytes/s", one_lane, tools::openssl(core, "md5")),
        limit("MD5, 16 bodies side by side", "bytes/s", md5_lanes(place.seconds), none("many MD5 at once")),
        limit(
            "SHA-256",
            "bytes/s",
            rate(&mut |piece| keep(hash::sha256(piece))),
            tools::openssl(core, "sha256"),
        ),
        limit("CRC32C", "bytes/s", rate(&mut |piece| keep(hash::crc32c(piece))), none("CRC32C")),
        limit("XXH3-64", "bytes/s", rate(&mut |piece| keep(hash::xxh3_64(piece))), tools::xxhsum(core)),
    ]
}

/// The result is used as far as the compiler knows.
fn keep<T>(value: T) {
    black_box(value);
}

/// Per second of CPU time, as `openssl` counts: another process on the core is no limit of the digest's.
fn rate(piece: &[u8], seconds: f64, work: &mut dyn FnMut(&[u8])) -> f64 {
    let begun = thread_cpu();
    let mut bytes = 0_u64;
    loop {
        work(black_box(piece));
        bytes += piece.len() as u64;
        let used = thread_cpu().saturating_sub(begun);
        if used >= Duration::from_secs_f64(seconds) {
            return bytes as f64 / used.as_secs_f64();
        }
    }
}

/// Each body has memory of its own, or all would read the same lines of the cache.
fn md5_lanes(seconds: f64) -> f64 {
    let pieces = vec![vec![b'm'; PIECE_BYTES / 4]; LANES];
    let mut states: Vec<hash::Md5State> = (0..LANES).map(|_| hash::Md5State::new()).collect();
    let mut done = |_: &[u8]| {
        let mut jobs: Vec<(&mut hash::Md5State, &[u8])> =
            states.iter_mut().zip(&pieces).map(|(state, piece)| (state, piece.as_slice())).collect();
        hash::md5_update_many(&mut jobs);
    };
    // All lanes together are what one round moves.
    rate(&vec![0; LANES * PIECE_BYTES / 4], seconds, &mut done)
}
