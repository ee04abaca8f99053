//! Digests and checksums on one core: what each byte of a body costs before it is anywhere.

use std::hint::black_box;
use std::time::Duration;

use super::{LARGE_BYTES, Limit, Place, tools};
use crate::load::run::thread_cpu;

const UNIT: &str = "bytes/s";
/// Uploads side by side.
const LANES: usize = 16;

/// Every digest that S3 asks for.
///
/// # Errors
/// None: a digest cannot fail.
pub fn measure(place: &Place<'_>, say: &mut dyn FnMut(Limit)) -> Result<(), String> {
    let piece = vec![b'h'; LARGE_BYTES];
    let (seconds, core) = (place.seconds, place.server_core);
    let with_openssl = |name: &str, digest: &str, work: &mut dyn FnMut(&[u8])| {
        let tool = tools::openssl(digest, seconds);
        let theirs = || tool.figure(core, "", tools::openssl_rate);
        place.beside(name, UNIT, || Ok(rate(&piece, seconds, work)), &tool, theirs)
    };
    let mut md5 = hash::Md5State::new();
    say(with_openssl("MD5, one body", "md5", &mut |piece| hash::md5_update_many(&mut [(&mut md5, piece)]))?);
    let why = "no packaged tool makes several MD5 at once";
    say(place.alone("MD5, 16 bodies side by side", UNIT, || md5_lanes(seconds), why));
    say(with_openssl("SHA-1", "sha1", &mut |piece| {
        let mut sha = hash::Sha1::new();
        sha.update(piece);
        keep(sha.finish());
    })?);
    say(with_openssl("SHA-256", "sha256", &mut |piece| keep(hash::sha256(piece)))?);
    let mut checksum = |name: &str, work: &dyn Fn(&[u8])| {
        let why = "no packaged tool measures it";
        say(place.alone(name, UNIT, || rate(&piece, seconds, &mut |piece| work(piece)), why));
    };
    checksum("CRC-32", &|piece| keep(hash::crc32(piece)));
    checksum("CRC-32C", &|piece| keep(hash::crc32c(piece)));
    checksum("CRC-64/NVME", &|piece| keep(hash::crc64nvme(piece)));
    let (tool, mut work) = (tools::xxhsum(), |piece: &[u8]| keep(hash::xxh3_64(piece)));
    let theirs = || tool.figure(core, "", tools::xxhsum_rate);
    let xxh3 = place.beside("XXH3-64", UNIT, || Ok(rate(&piece, seconds, &mut work)), &tool, theirs)?;
    say(Limit { note: vectors(xxh3.agrees), ..xxh3 });
    Ok(())
}

/// Why `xxhsum` is ahead, where it is: it looks for vector instructions when it runs, and our crate when it is built.
fn vectors(agrees: Option<bool>) -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    if agrees == Some(false) && !cfg!(target_feature = "avx2") && std::arch::is_x86_feature_detected!("avx2")
    {
        let words = "xxhsum chooses AVX2 or AVX-512 when it runs; ours has the instructions that it was built for, SSE2.";
        return Some(words.to_owned());
    }
    let _ = agrees;
    None
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
    let pieces = vec![vec![b'm'; LARGE_BYTES / 4]; LANES];
    let mut states: Vec<hash::Md5State> = (0..LANES).map(|_| hash::Md5State::new()).collect();
    let mut done = |_: &[u8]| {
        let mut jobs: Vec<(&mut hash::Md5State, &[u8])> =
            states.iter_mut().zip(&pieces).map(|(state, piece)| (state, piece.as_slice())).collect();
        hash::md5_update_many(&mut jobs);
    };
    // All lanes together are what one round moves.
    rate(&vec![0; LANES * LARGE_BYTES / 4], seconds, &mut done)
}
