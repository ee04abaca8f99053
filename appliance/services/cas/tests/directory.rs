//! The limit is one of the disk: what bodies take there, the dead ones included, stays below it while all is written over.

mod background;
mod driver;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use background::{pass, settings};
use cas::PutError;
use driver::{BEGINNING, Stop, TempDir, World, ns, seed, store_config, with_store};
use store::ManualClock;

const LIMIT: u64 = 4 << 20;
/// Bytes of all uploads together: the cache is filled several times.
const WRITTEN: u64 = 3 * LIMIT;
/// stat(2): `st_blocks` are of this size on every file system.
const BLOCK_BYTES: u64 = 512;

/// What the files of bodies take of the disk.
fn taken(directory: &Path) -> u64 {
    let mut bytes = 0;
    for shard in ["shard-000", "shard-001"] {
        for kind in ["packed", "extents"] {
            let Ok(files) = std::fs::read_dir(directory.join(shard).join(kind)) else { continue };
            // One that goes meanwhile takes nothing.
            bytes += files
                .flatten()
                .filter_map(|file| file.metadata().ok())
                .map(|file| file.blocks())
                .sum::<u64>();
        }
    }
    bytes * BLOCK_BYTES
}

/// Stores a blob, once what stands in its way was given back. The store folds by itself meanwhile.
async fn put(world: &World, bytes: &[u8]) {
    let mut seconds = 0;
    loop {
        match world.put(ns("a"), bytes).await {
            Ok(_) => return,
            Err(PutError::Full) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(seconds < 10_000, "there is no room for good: {:?}", world.cas.figures(world.clock.now()));
        pass(world, 1).await;
        seconds += 1;
    }
}

#[test]
fn bodies_dead_and_alive_stay_below_the_limit_while_all_is_written_over() {
    let directory = TempDir::new("directory");
    let clock = ManualClock::new(BEGINNING);
    let mut config = store_config(&directory.0, &clock);
    config.passing = cas::PASSING;
    config.passing_segment_bytes = 128 << 10;
    // Else each second of this test waits for one of the disk's.
    config.limits.fold_entries = 60;
    with_store(config, Stop::Drained, &clock, settings(LIMIT), |world| {
        let directory = directory.0.clone();
        async move {
            // Leases of a process before this one.
            pass(&world, 120).await;
            let mut state = seed() | 1;
            let (mut written, mut most, mut number) = (0, 0, 0_u64);
            while written < WRITTEN {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut bytes = vec![state as u8; 1_024 + (state >> 40) as usize % (15 * 1_024)];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                number += 1;
                put(&world, &bytes).await;
                written += bytes.len() as u64;
                pass(&world, 1).await;
                most = most.max(taken(&directory));
            }
            let figures = world.cas.figures(world.clock.now());
            println!("{number} blobs, {written} bytes, at most {most} of {LIMIT} on the disk; {figures:?}");
            assert!(most <= LIMIT + LIMIT / 100, "{most} bytes of {LIMIT}");
            // Else the limit was kept by keeping nothing.
            assert!(most >= LIMIT / 4 * 3, "only {most} bytes of {LIMIT}");
        }
    });
}
