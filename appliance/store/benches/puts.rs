//! Durable 1 KiB puts, unique random keys, 64 writers, one shard: in a burst and sustained, beside the bare append of the
//! same bytes with the same batching on the same disk. Sustained also beside LMDB committing each batch: over the same time,
//! and, since a larger tree is slower, up to the same number of keys, both from empty. Recovery: puts without a fold, then
//! how long a start takes that replays them.
//!
//! `cargo bench -p zerocloud-store --bench puts -- [burst|sustained|recovery] [seconds] [rounds]`. Rounds are interleaved;
//! what counts are the ratios.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::{Buffer, Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{Body, Fault, NewBody, Opened, Operation, Outcome, Store, StoreConfig, TableId, Tx};

/// The appliance's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLE: TableId = TableId(16);
const WRITERS: usize = 64;
const VALUE_BYTES: usize = 1024;
/// A round notes the time of one put in so many.
const MARK_PUTS: usize = 50_000;
/// Waits longer than this are counted by their time: a few long ones do not show in percentiles of closed-loop writers.
const LONG_WAIT_US: u64 = 5_000;

struct Put {
    key: [u8; 16],
    body: NewBody,
}

impl Operation for Put {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        // As a service does: it looks what is there before it replaces it.
        tx.get(TABLE, &self.key)?;
        tx.put(
            TABLE,
            &self.key,
            b"metadata of forty bytes, like a service's",
            vec![Body::New(self.body.clone())],
            false,
        );
        Ok(Outcome::Commit(()))
    }
}

struct Outcomes {
    rate: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    cpu_us: f64,
    puts: u64,
    /// The part of the time, in percent, that passed within waits of more than `LONG_WAIT_US`.
    waiting_percent: f64,
    /// The part of it that the measuring thread spent, which in a store's round is the owner.
    own_cpu_us: f64,
}

fn summarize(mut latencies: Vec<u32>, elapsed: Duration, cpu: Cpu) -> Outcomes {
    latencies.sort_unstable();
    let at = |part: f64| u64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]);
    let count = latencies.len() as f64;
    let long: u64 = latencies.iter().rev().map(|us| u64::from(*us)).take_while(|us| *us > LONG_WAIT_US).sum();
    Outcomes {
        puts: latencies.len() as u64,
        waiting_percent: long as f64 / 1e4 / WRITERS as f64 / elapsed.as_secs_f64(),
        rate: count / elapsed.as_secs_f64(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        cpu_us: cpu.process.as_secs_f64() * 1e6 / count,
        own_cpu_us: cpu.thread.as_secs_f64() * 1e6 / count,
    }
}

/// CPU time: of the whole process, companions included, and of this thread.
struct Cpu {
    process: Duration,
    thread: Duration,
}

impl Cpu {
    fn now() -> Cpu {
        Cpu { process: cpu_of("/proc/self/stat"), thread: cpu_of("/proc/thread-self/stat") }
    }

    fn since(begun: &Cpu) -> Cpu {
        let now = Cpu::now();
        Cpu { process: now.process - begun.process, thread: now.thread - begun.thread }
    }
}

fn cpu_of(path: &str) -> Duration {
    let stat = std::fs::read_to_string(path).expect("procfs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("format").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    Duration::from_millis(ticks * 10)
}

fn reactor() -> Reactor {
    Reactor::new(&ReactorConfig { core: Some(0), ..ReactorConfig::default() }).expect("reactor")
}

fn next_key(state: &Cell<u64>) -> [u8; 16] {
    let mut key = [0; 16];
    for half in key.chunks_mut(8) {
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut mixed = state.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        half.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    key
}

/// 64 writers on a store; prints a line every 10 seconds of a long run.
fn store_round(
    store: &Store,
    seconds: u64,
    seed: u64,
) -> impl Future<Output = (Outcomes, Vec<Duration>)> + use<> {
    let store = store.clone();
    async move {
        let state = Rc::new(Cell::new(seed));
        let latencies = Rc::new(RefCell::new(Vec::with_capacity(8 << 20)));
        // When each `MARK_PUTS` more were acknowledged.
        let marks = Rc::new(RefCell::new(Vec::new()));
        let begun = Instant::now();
        let cpu = Cpu::now();
        let end = begun + Duration::from_secs(seconds);
        let tasks: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (store, state, latencies) = (store.clone(), Rc::clone(&state), Rc::clone(&latencies));
                let marks = Rc::clone(&marks);
                ring::spawn(async move {
                    let shard = store.shards().next().expect("one shard");
                    while Instant::now() < end {
                        let at = Instant::now();
                        let body = NewBody::from_bytes(vec![0x5a; VALUE_BYTES]);
                        store.admit(shard).await.expect("room");
                        store.submit(shard, Put { key: next_key(&state), body }).await.expect("acknowledged");
                        let mut latencies = latencies.borrow_mut();
                        latencies.push(at.elapsed().as_micros() as u32);
                        if latencies.len().is_multiple_of(MARK_PUTS) {
                            marks.borrow_mut().push(begun.elapsed());
                        }
                    }
                })
            })
            .collect();
        if seconds > 20 {
            let mut last = 0;
            while Instant::now() < end {
                ring::sleep(Duration::from_secs(10)).await;
                let count = latencies.borrow().len();
                let status = &store.status()[0];
                println!(
                    "  {:>4} s  {:>7} puts/s  overlay {:>4} MiB {:>7} entries  folds {:>4}  lsn behind {:>6}  log stalls {}  {}",
                    begun.elapsed().as_secs(),
                    (count - last) / 10,
                    status.overlay_bytes >> 20,
                    status.overlay_entries,
                    status.folds,
                    status.durable_lsn.0 - status.applied_lsn.0,
                    status.log_stalls,
                    disk_use(),
                );
                last = count;
            }
        }
        for task in tasks {
            task.await;
        }
        let elapsed = begun.elapsed();
        let latencies = std::mem::take(&mut *latencies.borrow_mut());
        let marks = std::mem::take(&mut *marks.borrow_mut());
        (summarize(latencies, elapsed, Cpu::since(&cpu)), marks)
    }
}

thread_local!(static DATA: RefCell<PathBuf> = const { RefCell::new(PathBuf::new()) });

fn disk_use() -> String {
    let data = DATA.with(|data| data.borrow().clone());
    let size = |name: &str| -> u64 {
        let dir = data.join("shard-000").join(name);
        std::fs::read_dir(dir).map_or(0, |entries| {
            entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
        })
    };
    format!(
        "log {} MiB, index {} MiB, packed {} MiB",
        size("log") >> 20,
        size("index") >> 20,
        size("packed") >> 20
    )
}

/// The limit: the same records appended to a prewritten file, one write and one sync per batch, nothing else.
async fn bare_round(path: &Path, seconds: u64) -> Outcomes {
    const FILE_BYTES: u64 = 512 << 20;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .expect("file");
    if file.metadata().expect("stat").len() < FILE_BYTES {
        use std::os::unix::fs::FileExt as _;
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(1 << 20) {
            file.write_all_at(&zeros, offset).expect("prewrite");
        }
        file.sync_all().expect("sync");
    }
    let file = ring::File::from_std(file);
    let begun = Instant::now();
    let cpu = Cpu::now();
    let end = begun + Duration::from_secs(seconds);
    let mut latencies = Vec::with_capacity(4 << 20);
    let mut offset = 0;
    // The store's batches hold nearly all of its 64 closed-loop writers.
    let mut buffer = Buffer::with_capacity(1 << 20);
    while Instant::now() < end {
        let at = Instant::now();
        buffer.clear();
        for _ in 0..WRITERS {
            buffer.extend_from_slice(&[0x5a; VALUE_BYTES + 100]);
        }
        buffer.resize(buffer.len().next_multiple_of(4096), 0);
        let length = buffer.len() as u64;
        let (result, back) = file.write_at_sync(buffer, offset).await;
        result.expect("written");
        buffer = back;
        offset = if offset + 2 * length > FILE_BYTES { 0 } else { offset + length };
        let latency = at.elapsed().as_micros() as u32;
        latencies.extend(std::iter::repeat_n(latency, WRITERS));
    }
    summarize(latencies, begun.elapsed(), Cpu::since(&cpu))
}

/// LMDB committing each batch of 64 random 1 KiB values with full sync.
fn lmdb_round(dir: &Path, seconds: u64, seed: u64) -> Outcomes {
    use heed::types::Bytes;
    std::fs::create_dir_all(dir).expect("directory");
    let mut options = heed::EnvOpenOptions::new();
    options.map_size(64 << 30);
    #[allow(unsafe_code, reason = "the bench opens a file of its own")]
    // SAFETY: nobody else opens this directory.
    let env = unsafe { options.open(dir) }.expect("opens");
    let state = Cell::new(seed);
    let begun = Instant::now();
    let cpu = Cpu::now();
    let mut latencies = Vec::with_capacity(4 << 20);
    let mut first = true;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let at = Instant::now();
        let wtxn = env.write_txn().expect("begins");
        env.create_databases_and_commit(wtxn, |opener, wtxn| {
            let db = opener.create_database::<Bytes, Bytes>(wtxn, None)?;
            for _ in 0..WRITERS {
                db.put(wtxn, &next_key(&state), &[0x5a; VALUE_BYTES])?;
            }
            first = false;
            Ok::<_, heed::Error>(heed::CommitOrAbort::<_, ()>::Commit(db))
        })
        .expect("commits");
        latencies.extend(std::iter::repeat_n(at.elapsed().as_micros() as u32, WRITERS));
    }
    summarize(latencies, begun.elapsed(), Cpu::since(&cpu))
}

fn print(name: &str, outcomes: &Outcomes) {
    println!(
        "{name:<22} {:>8.0} puts/s  p50 {:>6} us  p90 {:>6} us  p99 {:>7} us, {:>2.0} % of the time in waits over 5 ms  CPU/put {:.2} us, own thread {:.2}",
        outcomes.rate,
        outcomes.p50_us,
        outcomes.p90_us,
        outcomes.p99_us,
        outcomes.waiting_percent,
        outcomes.cpu_us,
        outcomes.own_cpu_us
    );
}

/// The bare append, then the store, in figures and as a ratio.
async fn measure(dir: &Path, store: &Store, seconds: u64, seed: u64) -> (Outcomes, Vec<Duration>) {
    let bare = bare_round(&dir.join("bare"), seconds.min(5)).await;
    print("bare append", &bare);
    let (outcomes, marks) = store_round(store, seconds, seed).await;
    print("store", &outcomes);
    let status = &store.status()[0];
    println!("  {:.1} operations per batch", status.operations as f64 / status.batches as f64);
    println!(
        "ratio store/bare {:.2}  p50 {:.1}x  p90 {:.1}x",
        outcomes.rate / bare.rate,
        outcomes.p50_us as f64 / bare.p50_us as f64,
        outcomes.p90_us as f64 / bare.p90_us as f64
    );
    (outcomes, marks)
}

/// LMDB from empty for the same time.
fn compare_with_lmdb(dir: &Path, seconds: u64, seed: u64, store: &Outcomes, marks: &[Duration]) {
    let lmdb = lmdb_round(dir, seconds, seed);
    print("LMDB per batch", &lmdb);
    println!(
        "ratio store/LMDB over {seconds} s each {:.1} ({} keys and {})",
        store.rate / lmdb.rate,
        store.puts,
        lmdb.puts
    );
    let count = lmdb.puts as usize / MARK_PUTS;
    if let Some(took) = count.checked_sub(1).and_then(|index| marks.get(index)) {
        let rate = (count * MARK_PUTS) as f64 / took.as_secs_f64();
        println!("ratio store/LMDB up to {} keys each {:.1}", count * MARK_PUTS, rate / lmdb.rate);
    }
    std::fs::remove_dir_all(dir).expect("removed");
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = arguments.next().unwrap_or_else(|| "burst".to_owned());
    let seconds: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("puts-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("directory");
    let data = dir.join("data");
    DATA.with(|slot| slot.borrow_mut().clone_from(&data));
    let rounds = if what == "burst" { 5 } else { 1 };
    let rounds: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(rounds);
    let mut config = StoreConfig::new(data, 1, Arc::new(RealDisk));
    if what != "sustained" {
        // A burst is what happens before the first fold is due.
        config.limits.fold_entries = usize::MAX;
        config.limits.fold_bytes = 1 << 30;
        config.limits.fold_log_bytes = 1 << 40;
        config.limits.fold_age_max = Duration::from_secs(3_600);
        config.limits.overlay_bytes_max = 4 << 30;
        config.limits.admit_bytes_max = 4 << 30;
    }
    let opened = Opened::open(config.clone(), true, 42).expect("opens");
    let mut reactor = reactor();
    reactor.block_on(async {
        let store = opened.start_core(0, 1, 7).expect("starts");
        for round in 0..rounds {
            let (outcomes, marks) = measure(&dir, &store, seconds, round * 1_000_003).await;
            match what.as_str() {
                "burst" => store.fold_all().await,
                "sustained" => compare_with_lmdb(&dir.join("lmdb"), seconds, round * 77, &outcomes, &marks),
                _ => println!("  {}", disk_use()),
            }
        }
        store.drain().await;
    });
    drop(reactor);
    opened.close();
    if what == "recovery" {
        let begun = Instant::now();
        let opened = Opened::open(config, true, 43).expect("opens again");
        println!("recovery took {:.2} s", begun.elapsed().as_secs_f64());
        opened.close();
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}
