//! Copies in memory: what every copy of a body costs at least.

use std::hint::black_box;
use std::time::Duration;

use super::{Limit, Place, limit, tools};
use crate::load::run::thread_cpu;

const MIB: usize = 1 << 20;

/// A copy that memory has to give, and one that the caches can.
pub fn measure(place: &Place<'_>) -> Vec<Limit> {
    let large = limit(
        "memcpy, 256 MiB",
        "bytes/s",
        copy(256 * MIB, place.seconds),
        tools::mbw(place.server_core, 256),
    );
    let reason =
        "mbw copies no less than it is given, and its smallest block does not stay in a cache".to_owned();
    vec![large, limit("memcpy, 1 MiB", "bytes/s", copy(MIB, place.seconds), Err(reason))]
}

fn copy(bytes: usize, seconds: f64) -> f64 {
    let (from, mut to) = (vec![1_u8; bytes], vec![2_u8; bytes]);
    let begun = thread_cpu();
    let mut copied = 0_u64;
    loop {
        black_box(&mut to).copy_from_slice(black_box(&from));
        copied += bytes as u64;
        let used = thread_cpu().saturating_sub(begun);
        if used >= Duration::from_secs_f64(seconds) {
            return copied as f64 / used.as_secs_f64();
        }
    }
}
