//! What the machine can do by itself: append and sync, write and read large files, hash.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::Buffer;

/// One write of the large-file loops, as the node's pieces are.
const PIECE_BYTES: usize = 256 << 10;
/// Operations in flight per file.
const PIECES_AHEAD: usize = 4;

/// Writes of `bytes` with a linked fdatasync into a file that was written before, one after the other: per second.
pub fn append(reactor: &mut ring::Reactor, directory: &Path, bytes: usize, seconds: f64) -> f64 {
    const FILE_BYTES: usize = 64 << 20;
    let path = directory.join("append");
    let file = direct(&path);
    let file = ring::fs::File::from_std(file);
    let rate = reactor.block_on(async {
        let zeros = Buffer::from(&vec![0; 1 << 20][..]);
        let mut zeros = Some(zeros);
        for offset in (0..FILE_BYTES).step_by(1 << 20) {
            let (result, back) = file.write_at(zeros.take().unwrap(), offset as u64).await;
            result.unwrap();
            zeros = Some(back);
        }
        file.sync_data().await.unwrap();
        let (mut buffer, mut count) = (Buffer::from(&vec![b'r'; bytes][..]), 0_u32);
        let started = Instant::now();
        let end = Duration::from_secs_f64(seconds);
        let mut offset = 0;
        while started.elapsed() < end {
            let (result, back) = file.write_at_sync(buffer, offset as u64).await;
            result.unwrap();
            buffer = back;
            offset = (offset + bytes) % (FILE_BYTES - bytes + 1) / 4096 * 4096;
            count += 1;
        }
        f64::from(count) / started.elapsed().as_secs_f64()
    });
    drop(std::fs::remove_file(path));
    rate
}

/// `count` files of `bytes` written at the same time past the page cache and synced: bytes per second. The files stay.
pub fn write_files(reactor: &mut ring::Reactor, directory: &Path, count: usize, bytes: usize) -> f64 {
    each_file(reactor, directory, count, bytes, |file, offset, buffer| async move {
        let (result, buffer) = file.write_at(buffer, offset).await;
        result.unwrap();
        buffer
    })
}

/// The same files read: bytes per second.
pub fn read_files(reactor: &mut ring::Reactor, directory: &Path, count: usize, bytes: usize) -> f64 {
    each_file(reactor, directory, count, bytes, |file, offset, buffer| async move {
        let (result, buffer) = file.read_at(buffer, offset, PIECE_BYTES).await;
        assert_eq!(result.unwrap(), PIECE_BYTES);
        buffer
    })
}

/// Removes them.
pub fn remove_files(directory: &Path, count: usize) {
    (0..count).for_each(|index| std::fs::remove_file(name(directory, index)).unwrap());
}

fn each_file<F: Future<Output = Buffer> + 'static>(
    reactor: &mut ring::Reactor,
    directory: &Path,
    count: usize,
    bytes: usize,
    operate: impl Fn(Rc<ring::fs::File>, u64, Buffer) -> F + Clone + 'static,
) -> f64 {
    let started = Instant::now();
    reactor.block_on(async {
        let mut tasks = Vec::new();
        for index in 0..count {
            let file = Rc::new(ring::fs::File::from_std(direct(&name(directory, index))));
            for lane in 0..PIECES_AHEAD {
                let (file, operate) = (Rc::clone(&file), operate.clone());
                tasks.push(ring::spawn(async move {
                    let mut buffer = Buffer::from(&vec![b'd'; PIECE_BYTES][..]);
                    for offset in (lane * PIECE_BYTES..bytes).step_by(PIECES_AHEAD * PIECE_BYTES) {
                        buffer = operate(Rc::clone(&file), offset as u64, buffer).await;
                    }
                    file.sync_data().await.unwrap();
                }));
            }
        }
        for task in tasks {
            task.await;
        }
    });
    (count * bytes) as f64 / started.elapsed().as_secs_f64()
}

fn name(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("limit-{index}"))
}

fn direct(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // The value is a small constant of the kernel's interface.
    let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
    // Some file systems, such as tmpfs of older kernels, know no direct I/O.
    options.clone().custom_flags(flag).open(path).or_else(|_| options.open(path)).unwrap()
}

/// MD5 of `count` bodies side by side in lanes on one core, as the node's uploads are hashed: bytes per second. Each has
/// memory of its own, or all would read the same few lines of the processor's cache.
pub fn md5_lanes(count: usize, bytes: usize) -> f64 {
    let pieces = vec![vec![b'm'; PIECE_BYTES]; count];
    let mut states: Vec<hash::Md5State> = (0..count).map(|_| hash::Md5State::new()).collect();
    let started = Instant::now();
    for _ in 0..bytes / PIECE_BYTES {
        let mut jobs: Vec<(&mut hash::Md5State, &[u8])> =
            states.iter_mut().zip(&pieces).map(|(state, piece)| (state, piece.as_slice())).collect();
        hash::md5_update_many(&mut jobs);
    }
    let elapsed = started.elapsed();
    for state in states {
        std::hint::black_box(state.finish());
    }
    (count * bytes) as f64 / elapsed.as_secs_f64()
}

/// What `fio` says.
pub struct Fio {
    /// Bytes written per second.
    pub write: f64,
    /// Bytes read per second.
    pub read: f64,
    /// Its memory was in large pages, as the ring's buffers are: a device with few segments per request takes twice as
    /// many from small ones.
    pub large_pages: bool,
}

/// The same writes and reads by `fio`, where that is installed; in large pages where the machine has some set aside
/// (`sysctl vm.nr_hugepages=64`).
pub fn fio(directory: &Path, count: usize, bytes: usize) -> Option<Fio> {
    let both = |memory: &'static str| {
        Some((
            fio_run(directory, count, bytes, "write", memory)?,
            fio_run(directory, count, bytes, "read", memory)?,
        ))
    };
    let large = both("mmaphuge").map(|(write, read)| Fio { write, read, large_pages: true });
    let any = large.or_else(|| both("malloc").map(|(write, read)| Fio { write, read, large_pages: false }));
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("limit.") {
            drop(std::fs::remove_file(entry.path()));
        }
    }
    any
}

fn fio_run(directory: &Path, count: usize, bytes: usize, mode: &str, memory: &str) -> Option<f64> {
    let output = Command::new("fio")
        .args(["--name=limit", "--ioengine=io_uring", "--direct=1", "--end_fsync=1", "--group_reporting"])
        .args(["--output-format=terse", "--terse-version=3", "--thread", "--buffer_pattern=0x64646464"])
        .arg(format!("--mem={memory}"))
        .arg(format!("--rw={mode}"))
        .arg(format!("--bs={PIECE_BYTES}"))
        .arg(format!("--iodepth={PIECES_AHEAD}"))
        .arg(format!("--numjobs={count}"))
        .arg(format!("--size={bytes}"))
        .arg(format!("--directory={}", directory.display()))
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Terse format, version 3: KiB/s of reads is field 7, of writes field 48.
    let field = if mode == "write" { 47 } else { 6 };
    let line = text.lines().find(|line| line.starts_with("3;"))?;
    Some(line.split(';').nth(field)?.parse::<f64>().ok()? * 1024.0)
}
