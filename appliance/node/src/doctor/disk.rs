//! What the doctor says about the data directory and the disk below it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use store::disk::{Disk, RealDisk};
use store::{Format, OpenError};

use super::Finding;
use crate::config::Config;
use crate::machine::{self, FileSystemKind};

const BLOCK_BYTES: usize = 4_096;
/// The scratch file's size; 16 MiB are written twice at most.
const SCRATCH_BYTES: u64 = 16 << 20;
/// How often the sync is timed.
const SYNC_COUNT: usize = 64;
/// A sync that is faster than any disk's flush without a power-loss protected cache.
const SYNC_HONEST_MIN: Duration = Duration::from_micros(30);
/// A sync that makes every write slow.
const SYNC_SLOW: Duration = Duration::from_millis(10);
const ROOM_FAIL_BYTES: u64 = 256 << 20;
const ROOM_WARN_BYTES: u64 = 4 << 30;
const INODES_WARN: u64 = 10_000;

/// The directory itself.
pub fn directory(config: &Config) -> Finding {
    let data = &config.data;
    let shown = data.display();
    let Ok(metadata) = std::fs::metadata(data) else {
        return Finding::good("data", format!("{shown} is not there yet; the first start makes it"));
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    match Format::read(&disk, data) {
        Err(error @ (OpenError::Foreign(_) | OpenError::Newer { .. })) => {
            return Finding::fail(
                "data",
                error.to_string(),
                "the node cannot start",
                "name another directory with --data",
            );
        }
        Err(error) => {
            return Finding::fail(
                "data",
                error.to_string(),
                "the node cannot start",
                "give this user access to the directory",
            );
        }
        Ok(_) => {}
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Finding::warn(
            "data",
            format!("{shown} has mode {mode:04o}"),
            "others can list or read what is stored",
            format!("chmod 700 {shown}"),
        );
    }
    Finding::good("data", format!("{shown}"))
}

/// What it lies on.
pub fn file_system(config: &Config) -> Finding {
    let found = match machine::file_system(&config.data) {
        Ok(found) => found,
        Err(error) => {
            return Finding::fail(
                "file system",
                format!("cannot be asked: {error}"),
                "the node cannot start",
                "give this user access",
            );
        }
    };
    match found.kind {
        FileSystemKind::Local => Finding::good("file system", found.name),
        FileSystemKind::Unsafe => Finding::fail(
            "file system",
            found.name,
            "locks and maps do not hold there; acknowledged writes may be lost",
            "put the data on a local disk",
        ),
        FileSystemKind::Memory => Finding::warn(
            "file system",
            found.name,
            "everything is gone when the machine stops",
            "put the data on a disk",
        ),
        FileSystemKind::Layer => Finding::warn(
            "file system",
            found.name,
            "everything is gone with the container",
            "mount a volume for the data",
        ),
        FileSystemKind::Unknown => Finding::warn(
            "file system",
            "of an unknown kind",
            "nothing is known about its locks and syncs",
            "use ext4 or xfs",
        ),
    }
}

/// Free space and inodes.
pub fn room(config: &Config) -> Vec<Finding> {
    let room = match machine::room(&config.data) {
        Ok(room) => room,
        Err(error) => {
            return vec![Finding::fail(
                "space",
                format!("cannot be asked: {error}"),
                "nothing can be said about it",
                "give this user access",
            )];
        }
    };
    let shown = format!("{} MiB free of {} MiB", room.free_bytes >> 20, room.total_bytes >> 20);
    let why = "a full disk refuses every write but deletes";
    let space = match room.free_bytes {
        free if free < ROOM_FAIL_BYTES => {
            Finding::fail("space", shown, why, "free space or give the data a larger disk")
        }
        free if free < ROOM_WARN_BYTES => {
            Finding::warn("space", shown, why, "free space or give the data a larger disk")
        }
        _ => Finding::good("space", shown),
    };
    let inodes = match room.free_inodes {
        Some(free) if free < INODES_WARN => Finding::warn(
            "inodes",
            format!("{free} free"),
            "segments are files; without inodes none can be made",
            "make the file system anew with more inodes",
        ),
        Some(free) => Finding::good("inodes", format!("{free} free")),
        None => Finding::good("inodes", "without bound"),
    };
    vec![space, inodes]
}

/// A file that is gone when the trial is over.
struct Scratch {
    file: File,
    path: PathBuf,
}

impl Scratch {
    fn new(beside: &Path) -> std::io::Result<Scratch> {
        let path = beside.join(format!(".zerocloud-doctor-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Scratch { file, path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// What only trying tells: direct I/O, hole punching, honest syncs.
pub fn trials(config: &Config) -> Vec<Finding> {
    let beside = machine::existing_ancestor(&config.data);
    let scratch = match Scratch::new(&beside) {
        Ok(scratch) => scratch,
        Err(error) => {
            let finding = format!("no file can be made in {}: {error}", beside.display());
            return vec![Finding::fail(
                "write",
                finding,
                "the node cannot start",
                "give this user write access",
            )];
        }
    };
    let mut block = ring::Buffer::with_capacity(BLOCK_BYTES);
    block.resize(BLOCK_BYTES, 0x5a);
    vec![direct_io(&scratch, &block), holes(&scratch, &beside), sync(&scratch, &block, config)]
}

fn direct_io(scratch: &Scratch, block: &[u8]) -> Finding {
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
    let opened = OpenOptions::new().write(true).custom_flags(flags).open(&scratch.path);
    match opened.and_then(|file| file.write_all_at(block, 0)) {
        Ok(()) => Finding::good("direct I/O", "works"),
        Err(error) => Finding::warn(
            "direct I/O",
            format!("refused: {error}"),
            "large bodies go through the page cache, which costs memory and copies",
            "use ext4, xfs or btrfs on a disk",
        ),
    }
}

fn holes(scratch: &Scratch, beside: &Path) -> Finding {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let tried = fallocate(&scratch.file, FallocateFlags::empty(), 0, SCRATCH_BYTES)
        .and_then(|()| fallocate(&scratch.file, punch, 0, BLOCK_BYTES as u64));
    match tried {
        Ok(()) => Finding::good("discard", device_discard(beside)),
        Err(error) => Finding::warn(
            "discard",
            format!("holes cannot be punched: {error}"),
            "the space of deleted objects does not come back",
            "use ext4, xfs or btrfs",
        ),
    }
}

/// What the block device below says about discards.
fn device_discard(beside: &Path) -> String {
    let queue = queue_of(beside);
    let bytes = queue.and_then(|queue| std::fs::read_to_string(queue.join("discard_max_bytes")).ok());
    match bytes.as_deref().map(str::trim) {
        None => "holes can be punched; the device cannot be asked".into(),
        Some("0") => "holes can be punched; the device takes no discards, which is fine".into(),
        Some(_) => "holes can be punched and reach the device with fstrim or mount -o discard".into(),
    }
}

fn queue_of(path: &Path) -> Option<PathBuf> {
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let base = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // A partition has no queue of its own; its disk, one level up, has.
    [base.join("queue"), base.join("../queue")].into_iter().find(|queue| queue.exists())
}

fn sync(scratch: &Scratch, block: &[u8], config: &Config) -> Finding {
    let median = match median_sync(scratch, block) {
        Ok(median) => median,
        Err(error) => {
            return Finding::fail(
                "sync",
                format!("fdatasync failed: {error}"),
                "nothing can be acknowledged",
                "look at the kernel's log (dmesg) for the disk",
            );
        }
    };
    let shown = format!("fdatasync takes {} us (median of {SYNC_COUNT})", median.as_micros());
    let kind = machine::file_system(&config.data).map(|found| found.kind);
    if median < SYNC_HONEST_MIN && !matches!(kind, Ok(FileSystemKind::Memory)) {
        return Finding::warn(
            "sync",
            shown,
            "no disk flushes so fast without a cache that survives power loss; if it has none, it lies, and a power cut loses acknowledged writes",
            "in a virtual machine set the disk's cache to none or writeback, never unsafe; else check for power-loss protection",
        );
    }
    if median > SYNC_SLOW {
        return Finding::warn(
            "sync",
            shown,
            "every write waits for it",
            "use a solid-state disk, or one with a power-loss protected cache",
        );
    }
    Finding::good("sync", shown)
}

fn median_sync(scratch: &Scratch, block: &[u8]) -> std::io::Result<Duration> {
    let file = &scratch.file;
    // Written once before, so that the timed writes change no metadata.
    for index in 0..SYNC_COUNT {
        file.write_all_at(block, (index * BLOCK_BYTES) as u64)?;
    }
    file.sync_all()?;
    let mut times = Vec::with_capacity(SYNC_COUNT);
    for index in 0..SYNC_COUNT {
        file.write_all_at(block, (index * BLOCK_BYTES) as u64)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNC_COUNT / 2])
}
