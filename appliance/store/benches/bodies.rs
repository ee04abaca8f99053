//! Large bodies, 64 MiB each, 8 at once, written and read through the store's writer and reader, beside a plain
//! O_DIRECT loop of the same shape on the same ring and disk, which is what the disk can do.
//!
//! `cargo bench -p zerocloud-store --bench bodies -- [rounds] [directory]`. Rounds are interleaved; what counts are
//! the ratios. Every write is synced before it counts.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ring::{Buffer, Reactor, ReactorConfig};
use store::body::{
    Adopted, BodyReader, BulkBudget, Companion, CoreBodies, CoreBodiesParts, Files, LogReader, OpenSegments,
    Orphans, Owner, Pins, budget, files, writer,
};
use store::disk::{Disk, DiskFile, LocalFuture, OpenMode, RealDisk};
use store::{BodyRef, DirectoryId, Fault, LogPosition, ShardId, TableId};

const BODIES: usize = 8;
const BODY_BYTES: usize = 64 << 20;
const WRITE_BYTES: usize = 1 << 20;
/// What a connection hands over at a time.
const PIECE_BYTES: usize = 64 << 10;
const SYNC_BYTES: usize = 8 << 20;
const READ_BYTES: usize = 256 << 10;
const READS_AHEAD: usize = 4;

struct Threads;

impl Companion for Threads {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        drop(std::thread::spawn(job));
    }
}

struct NoLog;

impl LogReader for NoLog {
    fn read(&self, _: ShardId, _: LogPosition, _: u32) -> LocalFuture<'static, Result<Bytes, Fault>> {
        Box::pin(async { Err(Fault::Closed) })
    }
}

struct Rates {
    name: &'static str,
    write: Vec<f64>,
    write_cpu: Vec<f64>,
    read: Vec<f64>,
    read_cpu: Vec<f64>,
}

impl Rates {
    fn new(name: &'static str) -> Rates {
        Rates { name, write: Vec::new(), write_cpu: Vec::new(), read: Vec::new(), read_cpu: Vec::new() }
    }

    fn print(&mut self) {
        let [write, write_cpu, read, read_cpu] =
            [&mut self.write, &mut self.write_cpu, &mut self.read, &mut self.read_cpu]
                .map(|rates| median(rates));
        println!(
            "{:<22} write {write:6.0} MB/s ({write_cpu:5.0} us CPU/MB)   read {read:6.0} MB/s ({read_cpu:5.0} us CPU/MB)",
            self.name
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// MB/s and CPU microseconds per MB (the whole process) of moving `BODIES` bodies.
fn measure(work: impl FnOnce()) -> (f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_time());
    work();
    let megabytes = (BODIES * BODY_BYTES) as f64 / 1e6;
    let cpu = cpu_time() - cpu;
    (megabytes / start.elapsed().as_secs_f64(), cpu.as_secs_f64() * 1e6 / megabytes)
}

/// CPU time of this process, from /proc, in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let after_name = stat.rsplit(')').next().expect("a name in brackets");
    let fields: Vec<u64> = after_name.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // Without the state letter, utime and stime are numbers 10 and 11 behind the name (proc(5)).
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

fn through_the_store(reactor: &mut Reactor, dir: &Path, rates: &mut Rates, budget_bytes: u64) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let files = Arc::new(Files::new(disk, dir, DirectoryId([7; 16]), files::OPEN_FILES_MAX));
    let companion: Arc<dyn Companion> = Arc::new(Threads);
    let bodies = CoreBodies::open(CoreBodiesParts {
        shard: ShardId(0),
        files: Arc::clone(&files),
        open: OpenSegments::new(),
        orphans: Orphans::new(),
        budget: BulkBudget::new(budget_bytes),
        companion: Arc::clone(&companion),
        segment_bytes: writer::SEGMENT_BYTES,
        nonce: 1,
    })
    .expect("opens");
    let log: Rc<dyn LogReader> = Rc::new(NoLog);
    let reader = BodyReader::new(files, Pins::new().core(), companion, log);
    let mut refs = Vec::new();
    let (rate, cpu) = measure(|| refs = reactor.block_on(write_bodies(&bodies)));
    rates.write.push(rate);
    rates.write_cpu.push(cpu);
    let (rate, cpu) = measure(|| reactor.block_on(read_bodies(&reader, refs)));
    rates.read.push(rate);
    rates.read_cpu.push(cpu);
}

async fn write_bodies(bodies: &CoreBodies) -> Vec<BodyRef> {
    let source: Rc<[u8]> = (0..WRITE_BYTES).map(|index| (index * 31) as u8).collect();
    let tasks: Vec<_> = (0..BODIES)
        .map(|_| {
            let (bodies, source) = (bodies.clone(), Rc::clone(&source));
            ring::spawn(async move {
                let owner = Owner { shard: ShardId(0), table: TableId(16), key: b"key".to_vec() };
                let mut writer = bodies.writer(Some(BODY_BYTES as u64), owner);
                for _ in 0..BODY_BYTES / WRITE_BYTES {
                    for piece in source.chunks(PIECE_BYTES) {
                        writer.write(piece).await.expect("writes");
                    }
                }
                match writer.seal().await.expect("seals").adopt() {
                    Adopted::Extents(body) => body,
                    Adopted::Bytes(_) => unreachable!("64 MiB are not small"),
                }
            })
        })
        .collect();
    let mut refs = Vec::new();
    for task in tasks {
        refs.push(task.await);
    }
    refs
}

async fn read_bodies(reader: &BodyReader, refs: Vec<BodyRef>) {
    let tasks: Vec<_> = refs
        .into_iter()
        .map(|body| {
            let reader = reader.clone();
            ring::spawn(async move {
                let mut stream = reader.read(ShardId(0), &body, 0..u64::MAX);
                let mut bytes = 0;
                while let Some(piece) = stream.next().await {
                    bytes += piece.expect("reads").len();
                }
                assert_eq!(bytes, BODY_BYTES);
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

fn plain(reactor: &mut Reactor, dir: &Path, rates: &mut Rates) {
    let mut open = Vec::new();
    let (rate, cpu) = measure(|| open = reactor.block_on(plain_write(dir)));
    rates.write.push(rate);
    rates.write_cpu.push(cpu);
    let (rate, cpu) = measure(|| reactor.block_on(plain_read(open)));
    rates.read.push(rate);
    rates.read_cpu.push(cpu);
}

/// Two files of 256 MiB, as the store makes them; each body writes a region of one, a write at a time.
async fn plain_write(dir: &Path) -> Vec<(Arc<dyn DiskFile>, u64)> {
    let mode = OpenMode { create: true, write: true, direct: true };
    let in_file = 4;
    let mut regions = Vec::new();
    for index in 0..BODIES / in_file {
        let file = RealDisk.open(&dir.join(format!("plain-{index}")), mode).expect("opens");
        file.allocate(0, (in_file * BODY_BYTES) as u64).expect("room");
        file.sync_blocking().expect("syncs");
        regions.extend((0..in_file).map(|region| (Arc::clone(&file), (region * BODY_BYTES) as u64)));
    }
    let tasks: Vec<_> = regions
        .iter()
        .cloned()
        .map(|(file, start)| {
            ring::spawn(async move {
                let mut buffer = Buffer::with_capacity(WRITE_BYTES);
                buffer.resize(WRITE_BYTES, 5);
                for at in (0..BODY_BYTES).step_by(WRITE_BYTES) {
                    let (result, back) = file.write(buffer, start + at as u64).await;
                    result.expect("writes");
                    buffer = back;
                    if (at + WRITE_BYTES).is_multiple_of(SYNC_BYTES) {
                        file.sync().await.expect("syncs");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    regions
}

/// Each region by four readers that take its pieces in turn: as many reads in flight as the store has.
async fn plain_read(regions: Vec<(Arc<dyn DiskFile>, u64)>) {
    let mut tasks = Vec::new();
    for (file, start) in &regions {
        for lane in 0..READS_AHEAD {
            let (file, start) = (Arc::clone(file), *start);
            tasks.push(ring::spawn(async move {
                let mut buffer = Buffer::with_capacity(READ_BYTES);
                for at in (lane * READ_BYTES..BODY_BYTES).step_by(READS_AHEAD * READ_BYTES) {
                    let (result, back) = file.read(buffer, start + at as u64, READ_BYTES).await;
                    assert_eq!(result.expect("reads"), READ_BYTES);
                    buffer = back;
                }
            }));
        }
    }
    for task in tasks {
        task.await;
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rounds: usize = arguments.first().and_then(|word| word.parse().ok()).unwrap_or(5);
    let base = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("zerocloud-bodies-{}", std::process::id()));
    let mut reactor = Reactor::new(&ReactorConfig::default()).expect("a reactor starts");
    let mut all = [Rates::new("store"), Rates::new("store, budget x4"), Rates::new("plain O_DIRECT")];
    for _ in 0..rounds {
        for (index, rates) in all.iter_mut().enumerate() {
            std::fs::create_dir_all(&dir).expect("a directory");
            match index {
                0 => through_the_store(&mut reactor, &dir, rates, budget::LIMIT_BYTES_START),
                1 => through_the_store(&mut reactor, &dir, rates, 4 * budget::LIMIT_BYTES_START),
                _ => plain(&mut reactor, &dir, rates),
            }
            std::fs::remove_dir_all(&dir).expect("removes what it made");
        }
    }
    println!("{BODIES} bodies of {} MiB at once, {rounds} rounds, medians", BODY_BYTES >> 20);
    all.iter_mut().for_each(Rates::print);
}
