//! What the disk gives through the ring: large writes and reads as bodies are moved, random reads as a cold index has them.
//! (The log's append is append.rs'.)
//! Invariant: every file is written once before it is measured, so no figure holds the cost of allocating blocks; the
//! outside tool works on the same file, in turns with ours.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::Buffer;

use super::tools::Fio;
use super::{DEVICE_READ, DEVICE_WRITE, LARGE_BYTES, Limit, Place, append};
use crate::load::schedule::SplitMix;

const BLOCK_BYTES: usize = 4 << 10;
/// The file that all limits use.
pub const FILE_BYTES: usize = 1 << 30;

/// One way to use a file past the page cache.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    mode: &'static str,
    block_bytes: usize,
    depth: usize,
    /// Figures are of bytes, not of operations.
    counts_bytes: bool,
}

/// All at random places: bodies that are moved side by side lie apart.
const WAYS: [Way; 3] = [
    Way { name: DEVICE_WRITE, mode: "randwrite", block_bytes: LARGE_BYTES, depth: 8, counts_bytes: true },
    Way { name: DEVICE_READ, mode: "randread", block_bytes: LARGE_BYTES, depth: 8, counts_bytes: true },
    Way {
        name: "random read of 4 KiB, 32 at once",
        mode: "randread",
        block_bytes: BLOCK_BYTES,
        depth: 32,
        counts_bytes: false,
    },
];

/// Measures appends of each size, and all ways, on one file.
///
/// # Errors
/// In words: the disk, or the ring, refuses.
pub fn measure(place: &Place<'_>, say: &mut dyn FnMut(Limit)) -> Result<(), String> {
    let path = place.directory.join(format!("zerobench-limit-{}", std::process::id()));
    let _file = Removed(path.clone());
    let config = ring::ReactorConfig { core: Some(place.server_core), ..ring::ReactorConfig::default() };
    let mut reactor = ring::Reactor::new(&config).map_err(|error| format!("the ring: {error}"))?;
    let of_path = |error: io::Error| format!("{}: {error}", path.display());
    prewrite(&mut reactor, &path).map_err(of_path)?;
    for value_bytes in place.value_bytes {
        say(append::measure(place, &mut reactor, &path, *value_bytes)?);
    }
    for way in WAYS {
        let Way { mode, block_bytes, depth, .. } = way;
        let fio = Fio { mode, block_bytes, depth, is_direct: true, syncs: false };
        let (unit, factor) = if way.counts_bytes { ("bytes/s", block_bytes as f64) } else { ("1/s", 1.0) };
        let ours = || Ok(rate(&mut reactor, &path, way, place.seconds).map_err(of_path)? * factor);
        let theirs = || Ok(fio.rate(place.server_core, &path, place.seconds)? * factor);
        say(place.beside(way.name, unit, ours, &fio.tool(place.seconds), theirs)?);
    }
    Ok(())
}

/// A file that goes when its measurements are over.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// The file, which is made if it is not there.
///
/// # Errors
/// What the system says.
pub fn open(path: &Path, is_direct: bool) -> io::Result<Rc<ring::fs::File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    if is_direct {
        options.custom_flags(i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or(0));
    }
    let file: File = options.open(path)?;
    Ok(Rc::new(ring::fs::File::from_std(file)))
}

/// Bytes that no layer below can make smaller.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut numbers = SplitMix(bytes as u64);
    let words = std::iter::repeat_with(|| numbers.next().to_le_bytes());
    words.flatten().take(bytes).collect()
}

fn prewrite(reactor: &mut ring::Reactor, path: &Path) -> io::Result<()> {
    let file = open(path, true)?;
    reactor.block_on(async {
        let mut buffer = Buffer::from(&noise(LARGE_BYTES)[..]);
        for offset in (0..FILE_BYTES).step_by(LARGE_BYTES) {
            let (result, back) = file.write_at(buffer, offset as u64).await;
            result?;
            buffer = back;
        }
        file.sync_data().await
    })
}

/// Operations per second.
fn rate(reactor: &mut ring::Reactor, path: &Path, way: Way, seconds: f64) -> io::Result<f64> {
    let file = open(path, true)?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(seconds);
    let next = Rc::new(Cell::new(0_u64));
    let blocks = (FILE_BYTES / way.block_bytes) as u64;
    let done = reactor.block_on(async {
        let mut lanes = Vec::new();
        for _ in 0..way.depth {
            let (file, next) = (Rc::clone(&file), Rc::clone(&next));
            lanes.push(ring::spawn(async move {
                let mut buffer = Buffer::from(&noise(way.block_bytes)[..]);
                let mut count = 0_u64;
                while Instant::now() < end {
                    let number = next.replace(next.get() + 1);
                    let offset = scattered(number) % blocks * way.block_bytes as u64;
                    buffer = operate(&file, way, offset, buffer).await?;
                    count += 1;
                }
                Ok::<u64, io::Error>(count)
            }));
        }
        let mut done = 0;
        for lane in lanes {
            done += lane.await?;
        }
        Ok::<u64, io::Error>(done)
    })?;
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

async fn operate(file: &ring::fs::File, way: Way, offset: u64, buffer: Buffer) -> io::Result<Buffer> {
    if way.mode == "randwrite" {
        let (result, buffer) = file.write_at(buffer, offset).await;
        return result.map(|()| buffer);
    }
    let (result, buffer) = file.read_at(buffer, offset, way.block_bytes).await;
    result.map(|_| buffer)
}

/// Numbers in an order that no read-ahead guesses, and in which neighbours are not asked for together: the kernel would make
/// one large request of them, and fewer would be in flight than are said to be.
fn scattered(number: u64) -> u64 {
    SplitMix(number).next()
}
