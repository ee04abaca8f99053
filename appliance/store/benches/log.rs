//! The bare log append, the limit that the store is measured against: 64 writers of 1 KiB, all durable, group commit,
//! one batch in flight and one filling, through the ring; beside a plain loop of pwrite and fdatasync with full batches;
//! beside `LogWriter` itself, so that its own price (segments, chaining, supply) is seen.
//!
//! `cargo bench -p zerocloud-store --bench log -- [seconds per round] [rounds] [directory] [only variants whose name has this]`
//! Rounds are interleaved; what counts are the ratios. Every variant writes into prewritten, recycled space, copies the
//! value into the batch once, and takes a CRC32C of the batch.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use ring::{Backend, Buffer, Reactor, ReactorConfig};
use store::disk::{Disk, RealDisk};
use store::log::{LogConfig, LogFull, LogWriter, SegmentSupply, recover};
use store::{DirectoryId, Lsn, ShardId, Timestamp};

const WRITERS: usize = 64;
const VALUE_BYTES: usize = 1024;
/// Stands for a key and the framing of an effect.
const RECORD_HEAD: [u8; 40] = [7; 40];
const BATCH_HEAD_BYTES: usize = 128;
const FILE_BYTES: u64 = 256 * 1024 * 1024;
const BLOCK_BYTES: usize = 4096;

struct Outcome {
    name: &'static str,
    /// Microseconds from the put to its acknowledgement.
    latencies: Vec<u32>,
    elapsed: Duration,
    cpu: Duration,
    batches: u64,
}

/// What the writers and the committer of one core share.
struct Group {
    filling: RefCell<Option<Buffer>>,
    waiting: RefCell<Vec<Waker>>,
    /// Batches taken for writing, and batches that are durable.
    taken: Cell<u64>,
    durable: Cell<u64>,
    latencies: RefCell<Vec<u32>>,
    open: Cell<bool>,
}

impl Group {
    fn new() -> Rc<Group> {
        Rc::new(Group {
            filling: RefCell::new(None),
            waiting: RefCell::new(Vec::new()),
            taken: Cell::new(0),
            durable: Cell::new(0),
            latencies: RefCell::new(Vec::new()),
            open: Cell::new(true),
        })
    }

    /// Waits until batch number `batch` is durable.
    async fn durable(&self, batch: u64) {
        std::future::poll_fn(|cx| {
            if self.durable.get() > batch {
                return std::task::Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }

    fn acknowledge(&self) {
        self.durable.set(self.durable.get() + 1);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    async fn writer(self: Rc<Self>, append: impl Fn(&[u8])) {
        let value = vec![42; VALUE_BYTES];
        while self.open.get() {
            let start = Instant::now();
            append(&value);
            self.durable(self.taken.get()).await;
            self.latencies.borrow_mut().push(micros(start));
        }
    }
}

fn micros(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}

/// The ring, 64 tasks, and nothing that is not needed.
fn bare_append(reactor: &mut Reactor, path: &Path, duration: Duration) -> Outcome {
    let file = std::fs::OpenOptions::new().write(true).read(true).open(path).expect("prewritten file");
    let group = Group::new();
    let (begin, cpu) = (Instant::now(), cpu_time());
    reactor.block_on(async {
        let tasks: Vec<_> = (0..WRITERS)
            .map(|_| {
                let shared = group.clone();
                let append = move |value: &[u8]| {
                    let mut filling = shared.filling.borrow_mut();
                    let batch = filling.get_or_insert_with(new_batch);
                    batch.extend_from_slice(&RECORD_HEAD);
                    batch.extend_from_slice(value);
                };
                ring::spawn(group.clone().writer(append))
            })
            .collect();
        let file = ring::File::from_std(file);
        let (mut offset, mut spare) = (0, None);
        while begin.elapsed() < duration {
            // All writers that the last batch woke add to the next one first.
            ring::yield_now().await;
            let Some(mut batch) = group.filling.borrow_mut().take() else { continue };
            group.taken.set(group.taken.get() + 1);
            *group.filling.borrow_mut() = spare.take();
            seal(&mut batch);
            if offset + batch.len() as u64 > FILE_BYTES {
                offset = 0;
            }
            let (result, mut batch) = file.write_at_sync(batch, offset).await;
            result.expect("write and fdatasync");
            offset += batch.len() as u64;
            batch.clear();
            batch.resize(BATCH_HEAD_BYTES, 0);
            spare = Some(batch);
            group.acknowledge();
        }
        group.open.set(false);
        drop(tasks);
    });
    let (elapsed, cpu) = (begin.elapsed(), cpu_time() - cpu);
    let latencies = group.latencies.take();
    Outcome { name: "bare append", latencies, elapsed, cpu, batches: group.durable.get() }
}

fn new_batch() -> Buffer {
    let mut batch = Buffer::with_capacity(256 * 1024);
    batch.resize(BATCH_HEAD_BYTES, 0);
    batch
}

fn seal(batch: &mut Buffer) {
    let crc = hash::crc32c(&batch[BATCH_HEAD_BYTES..]);
    batch[..4].copy_from_slice(&crc.to_le_bytes());
    batch.resize(batch.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// One thread, no reactor: every batch is full, nobody is woken.
fn plain_loop(path: &Path, duration: Duration) -> Outcome {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("prewritten file");
    let value = vec![42; VALUE_BYTES];
    let mut batch = new_batch();
    let (mut latencies, mut offset, mut batches) = (Vec::new(), 0, 0);
    let (begin, cpu) = (Instant::now(), cpu_time());
    while begin.elapsed() < duration {
        let start = Instant::now();
        batch.clear();
        batch.resize(BATCH_HEAD_BYTES, 0);
        for _ in 0..WRITERS {
            batch.extend_from_slice(&RECORD_HEAD);
            batch.extend_from_slice(&value);
        }
        seal(&mut batch);
        if offset + batch.len() as u64 > FILE_BYTES {
            offset = 0;
        }
        file.write_all_at(&batch, offset).expect("pwrite");
        file.sync_data().expect("fdatasync");
        offset += batch.len() as u64;
        batches += 1;
        latencies.extend(std::iter::repeat_n(micros(start), WRITERS));
    }
    let (elapsed, cpu) = (begin.elapsed(), cpu_time() - cpu);
    Outcome { name: "pwrite + fdatasync", latencies, elapsed, cpu, batches }
}

/// The store's own writer; its segments are retired as soon as they are full, as if the fold took no time.
fn log_writer(reactor: &mut Reactor, path: &Path, duration: Duration, round: u64) -> Outcome {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let path = path.join(format!("log-{round}"));
    std::fs::create_dir_all(&path).expect("bench directory");
    let config = LogConfig::new(path.clone(), DirectoryId([round as u8; 16]), ShardId(0));
    let recovered = recover(&disk, &config, None, &mut |_| Ok(())).expect("a new log");
    // The companion: prepares a segment whenever one was taken or retired.
    let (wake, woken) = std::sync::mpsc::channel();
    let supply = SegmentSupply::new(
        disk,
        config.clone(),
        Arc::default(),
        &recovered,
        Box::new(move || wake.send(()).unwrap_or(())),
    );
    supply.refill().expect("segments");
    let tail = recovered.tail;
    let log = LogWriter::new(config, tail, round, supply.clone(), recovered.files).expect("a new log");
    let log = Rc::new(RefCell::new(log));
    let first = log.borrow_mut().open_batch().expect("a segment was made above");
    supply.refill().expect("segments");
    let stop = Arc::new(AtomicBool::new(false));
    let companion = std::thread::spawn({
        let (supply, stop) = (supply.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                match woken.recv_timeout(Duration::from_millis(100)) {
                    Ok(()) => supply.refill().expect("segments"),
                    Err(_) => continue,
                }
            }
        }
    });
    let group = Group::new();
    let (begin, cpu) = (Instant::now(), cpu_time());
    reactor.block_on(async {
        let filling = Rc::new(RefCell::new(Some(first)));
        let tasks: Vec<_> = (0..WRITERS)
            .map(|_| {
                let filling = filling.clone();
                let append = move |value: &[u8]| {
                    let mut filling = filling.borrow_mut();
                    let batch = filling.as_mut().expect("is opened right after the one before was sealed");
                    batch.append(&RECORD_HEAD);
                    batch.append(value);
                };
                ring::spawn(group.clone().writer(append))
            })
            .collect();
        let mut durable = Lsn::ZERO;
        while begin.elapsed() < duration {
            ring::yield_now().await;
            let Some(batch) = filling.borrow_mut().take() else { continue };
            group.taken.set(group.taken.get() + 1);
            let write = log.borrow_mut().write(batch, durable, Timestamp::from_system_clock());
            // Opened before the write is awaited: writers may append meanwhile.
            let next = loop {
                let opened = log.borrow_mut().open_batch();
                match opened {
                    Ok(next) => break next,
                    Err(LogFull) => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            *filling.borrow_mut() = Some(next);
            let written = write.await.expect("write and fdatasync");
            durable = written.lsn();
            let retirable = log.borrow().retirable_below(written.position.segment);
            if !retirable.is_empty() {
                supply.retire(&retirable);
            }
            group.acknowledge();
        }
        group.open.set(false);
        drop(tasks);
    });
    let (elapsed, cpu) = (begin.elapsed(), cpu_time() - cpu);
    stop.store(true, Ordering::Relaxed);
    companion.join().expect("the companion ends when it is told to");
    std::fs::remove_dir_all(&path).expect("bench directory");
    let latencies = group.latencies.take();
    Outcome { name: "LogWriter", latencies, elapsed, cpu, batches: group.durable.get() }
}

fn report(outcomes: &mut [Outcome]) {
    println!(
        "{:<20} {:>10} {:>8} {:>8} {:>8} {:>10} {:>12}",
        "", "puts/s", "p50 us", "p90 us", "p99 us", "CPU us/put", "puts/batch"
    );
    for outcome in outcomes {
        outcome.latencies.sort_unstable();
        let count = outcome.latencies.len();
        let at = |part: f64| outcome.latencies[((count - 1) as f64 * part) as usize];
        println!(
            "{:<20} {:>10.0} {:>8} {:>8} {:>8} {:>10.2} {:>12.1}",
            outcome.name,
            count as f64 / outcome.elapsed.as_secs_f64(),
            at(0.5),
            at(0.9),
            at(0.99),
            outcome.cpu.as_secs_f64() * 1e6 / count as f64,
            count as f64 / outcome.batches as f64,
        );
    }
}

/// CPU time of this process, from /proc: clock ticks of user and system time (proc(5), fields 14 and 15).
fn cpu_time() -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = stat.rsplit(')').next().expect("the name ends in a parenthesis").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn prewrite(path: &Path) {
    let file = File::create(path).expect("bench directory is writable");
    let zeros = vec![0; 1024 * 1024];
    for offset in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset).expect("prewriting");
    }
    file.sync_all().expect("fsync");
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |index: usize, default: u64| {
        arguments.get(index).map_or(default, |text| text.parse().expect("a number"))
    };
    let (seconds, rounds) = (number(0, 2), number(1, 3));
    let directory =
        arguments.get(2).map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = directory.join(format!("log-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("bench directory");
    let path = directory.join("prewritten");
    prewrite(&path);
    let mut backends = vec![Backend::Epoll];
    match ring::probe_io_uring() {
        Ok(_) => backends.insert(0, Backend::IoUring),
        Err(why) => println!("without io_uring: {why}"),
    }
    let duration = Duration::from_secs(seconds);
    let only = arguments.get(3).cloned().unwrap_or_default();
    for round in 0..rounds {
        let mut outcomes = Vec::new();
        if "plain".contains(&only) {
            outcomes.push(plain_loop(&path, duration));
        }
        for &backend in &backends {
            let mut reactor =
                Reactor::new(&ReactorConfig { backend, ..ReactorConfig::default() }).expect("reactor");
            let names = match backend {
                Backend::IoUring => ["bare, io_uring", "LogWriter, io_uring"],
                Backend::Epoll => ["bare, epoll", "LogWriter, epoll"],
            };
            if names[0].contains(&only) {
                let name = names[0];
                outcomes.push(Outcome { name, ..bare_append(&mut reactor, &path, duration) });
            }
            if names[1].contains(&only) {
                let name = names[1];
                outcomes.push(Outcome { name, ..log_writer(&mut reactor, &directory, duration, round) });
            }
        }
        println!("round {} of {rounds}, {seconds} s each", round + 1);
        report(&mut outcomes);
    }
    std::fs::remove_dir_all(&directory).expect("bench directory");
}
