//! What the disk gives through the ring: an append with sync as the log does it, large writes and reads as bodies are
//! moved, random reads as a cold index has them.
//! Invariant: every file is written once before it is measured, so no figure holds the cost of allocating blocks; the
//! outside tool works on the same file.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::Buffer;

use super::tools::Fio;
use super::{Limit, Place, limit};

/// A batch of 64 records of 1 KiB with their heads.
const BATCH_BYTES: usize = 68 << 10;
const LARGE_BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = 4 << 10;
const FILE_BYTES: usize = 1 << 30;

/// One way to use a file.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    mode: &'static str,
    block_bytes: usize,
    depth: usize,
    is_direct: bool,
    syncs: bool,
}

const WAYS: [Way; 4] = [
    Way {
        name: "append of 68 KiB with sync",
        mode: "write",
        block_bytes: BATCH_BYTES,
        depth: 1,
        is_direct: false,
        syncs: true,
    },
    Way {
        name: "write of 1 MiB, 8 at once",
        mode: "write",
        block_bytes: LARGE_BYTES,
        depth: 8,
        is_direct: true,
        syncs: false,
    },
    Way {
        name: "read of 1 MiB, 8 at once",
        mode: "read",
        block_bytes: LARGE_BYTES,
        depth: 8,
        is_direct: true,
        syncs: false,
    },
    Way {
        name: "random read of 4 KiB, 32 at once",
        mode: "randread",
        block_bytes: BLOCK_BYTES,
        depth: 32,
        is_direct: true,
        syncs: false,
    },
];

/// Measures all ways on one file.
///
/// # Errors
/// In words: the disk, or the ring, refuses.
pub fn measure(place: &Place<'_>) -> Result<Vec<Limit>, String> {
    let path = place.directory.join(format!("zerobench-limit-{}", std::process::id()));
    let _file = Removed(path.clone());
    let config = ring::ReactorConfig { core: Some(place.server_core), ..ring::ReactorConfig::default() };
    let mut reactor = ring::Reactor::new(&config).map_err(|error| format!("the ring: {error}"))?;
    prewrite(&mut reactor, &path)?;
    let mut limits = Vec::new();
    for way in WAYS {
        let ours = rate(&mut reactor, &path, way, place.seconds)?;
        let Way { mode, block_bytes, depth, is_direct, syncs, .. } = way;
        let fio = Fio { mode, block_bytes, depth, is_direct, syncs };
        limits.push(limit(way.name, "1/s", ours, fio.rate(place.server_core, &path, place.seconds)));
    }
    Ok(limits)
}

/// A file that goes when its measurements are over.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn open(path: &Path, is_direct: bool) -> Result<Rc<ring::fs::File>, String> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    if is_direct {
        options.custom_flags(i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or(0));
    }
    let file: File = options.open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Rc::new(ring::fs::File::from_std(file)))
}

fn prewrite(reactor: &mut ring::Reactor, path: &Path) -> Result<(), String> {
    let file = open(path, true)?;
    reactor
        .block_on(async {
            let mut buffer = Buffer::from(&vec![b'd'; LARGE_BYTES][..]);
            for offset in (0..FILE_BYTES).step_by(LARGE_BYTES) {
                let (result, back) = file.write_at(buffer, offset as u64).await;
                result?;
                buffer = back;
            }
            file.sync_data().await
        })
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Operations per second.
fn rate(reactor: &mut ring::Reactor, path: &Path, way: Way, seconds: f64) -> Result<f64, String> {
    let file = open(path, way.is_direct)?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(seconds);
    let next = Rc::new(Cell::new(0_u64));
    let blocks = (FILE_BYTES / way.block_bytes) as u64;
    let done = reactor.block_on(async {
        let mut lanes = Vec::new();
        for _ in 0..way.depth {
            let (file, next) = (Rc::clone(&file), Rc::clone(&next));
            lanes.push(ring::spawn(async move {
                let mut buffer = Buffer::from(&vec![b'd'; way.block_bytes][..]);
                let mut count = 0_u64;
                while Instant::now() < end {
                    let number = next.replace(next.get() + 1);
                    let block = if way.mode == "randread" { scattered(number) } else { number } % blocks;
                    let offset = block * way.block_bytes as u64;
                    buffer = operate(&file, way, offset, buffer).await?;
                    count += 1;
                }
                Ok::<u64, std::io::Error>(count)
            }));
        }
        let mut done = 0;
        for lane in lanes {
            done += lane.await?;
        }
        Ok::<u64, std::io::Error>(done)
    });
    let done = done.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

async fn operate(file: &ring::fs::File, way: Way, offset: u64, buffer: Buffer) -> std::io::Result<Buffer> {
    if way.syncs {
        let (result, buffer) = file.write_at_sync(buffer, offset).await;
        return result.map(|()| buffer);
    }
    if way.mode == "write" {
        let (result, buffer) = file.write_at(buffer, offset).await;
        return result.map(|()| buffer);
    }
    let (result, buffer) = file.read_at(buffer, offset, way.block_bytes).await;
    result.map(|_| buffer)
}

/// Numbers in an order that no read-ahead guesses.
fn scattered(number: u64) -> u64 {
    crate::load::schedule::SplitMix(number).next()
}
