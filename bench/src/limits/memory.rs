//! Copies in memory: what every copy of a body costs at least.
//! Invariant: figures are per CPU time, of ours and of the tool's: `mbw` reads the clock on the wall around each copy, so its
//! own figures hold whatever else ran on the core.

use std::hint::black_box;
use std::time::Duration;

use super::tools::Tool;
use super::{Limit, Place, limit, median, tools};
use crate::load::run::thread_cpu;

const MIB: usize = 1 << 20;
/// Copied by the tool per second of measuring: not more than a core copies, and enough for ticks of 10 ms.
const MIB_PER_SECOND: f64 = 8192.0;

/// A copy that memory has to give, and one that the caches can.
///
/// # Errors
/// None: a copy cannot fail.
pub fn measure(place: &Place<'_>, say: &mut dyn FnMut(Limit)) -> Result<(), String> {
    for mebibytes in [256, 1] {
        say(one(place, mebibytes)?);
    }
    Ok(())
}

fn one(place: &Place<'_>, mebibytes: usize) -> Result<Limit, String> {
    let copies = (place.seconds * MIB_PER_SECOND / mebibytes as f64).ceil() as usize + 1;
    let (few, many) = (tools::mbw(mebibytes, 1), tools::mbw(mebibytes, copies));
    let ours = || Ok(copy(mebibytes * MIB, place.seconds));
    // What the blocks cost until they are there is in both runs, and most of it is the kernel's.
    let user = |tool: &Tool| Ok::<f64, String>(tool.run(place.server_core, "")?.cpu.user.as_secs_f64());
    let theirs = || {
        let seconds = user(&many)? - user(&few)?;
        let bytes = ((copies - 1) * mebibytes * MIB) as f64;
        if seconds > 0.0 { Ok(bytes / seconds) } else { Err(many.not_understood()) }
    };
    let (own, outside) = place.in_turns(ours, theirs)?;
    let name = format!("memcpy, {mebibytes} MiB");
    let limit = limit(&name, "bytes/s", median(own), &many, outside.map(median));
    let how = "mbw's figure is made of its CPU time, less that of a run of one copy.";
    Ok(Limit { note: limit.tool.is_some().then(|| how.to_owned()), ..limit })
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
