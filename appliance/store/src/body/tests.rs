//! What the tests of bodies share: a data directory on a simulated or a real disk, and a disk that counts.
//! Invariant: a `World` on a simulated disk touches no file of the machine.

use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ring::{Backend, Buffer, Reactor, ReactorConfig};

use super::*;
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, LocalFuture, RealDisk};
use crate::fault::Fault;
use crate::record::BodyRef;
use crate::types::{DirectoryId, LogPosition, ShardId, TableId};
use watched::Watch;

mod packing;
mod reading;
mod reclaiming;
mod watched;
mod writing;

/// A small generator for random tests; the seed makes a failing one repeat.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// splitmix64 (Steele, Lea and Flood, 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Runs a future on a reactor of this thread.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    let epoll = ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() };
    let reactor = Reactor::new(&ReactorConfig::default()).or_else(|_| Reactor::new(&epoll));
    reactor.expect("a reactor starts").block_on(future)
}

/// Does blocking work at once, in the calling thread: exact order, no threads.
struct Inline;

impl Companion for Inline {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

/// Does blocking work on threads of its own.
pub(super) struct Threads;

impl Companion for Threads {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        drop(std::thread::spawn(job));
    }
}

pub(super) const SHARD: ShardId = ShardId(0);
pub(super) const TABLE: TableId = TableId(16);
pub(super) const DIRECTORY: DirectoryId = DirectoryId(*b"a data directory");
pub(super) const MIB: usize = 1024 * 1024;

/// One run of a process on one data directory.
pub(super) struct World {
    pub(super) watch: Arc<Watch>,
    pub(super) files: Arc<Files>,
    pub(super) open: OpenSegments,
    pub(super) orphans: Orphans,
    pub(super) budget: BulkBudget,
    pub(super) pins: Pins,
    pub(super) companion: Arc<dyn Companion>,
    pub(super) segment_bytes: u32,
    pub(super) closing: Arc<AtomicBool>,
}

impl World {
    /// On a simulated disk.
    pub(super) fn on(disk: &SimDisk, segment_bytes: u32) -> World {
        World::with(Arc::new(disk.clone()), Path::new("/data"), segment_bytes)
    }

    pub(super) fn with(disk: Arc<dyn Disk>, root: &Path, segment_bytes: u32) -> World {
        disk.create_dir(root).expect("the root can be made");
        disk.sync_dir(root.parent().expect("it has a parent")).expect("its name can be made durable");
        let watch = Watch::over(disk);
        let watched: Arc<dyn Disk> = Arc::new(watch.disk());
        World {
            files: Arc::new(Files::new(watched, root, DIRECTORY, 64)),
            watch,
            open: OpenSegments::new(),
            orphans: Orphans::new(),
            budget: BulkBudget::new(budget::LIMIT_BYTES_START),
            pins: Pins::new(),
            companion: Arc::new(Inline),
            segment_bytes,
            closing: Arc::default(),
        }
    }

    pub(super) fn bodies(&self) -> CoreBodies {
        CoreBodies::open(CoreBodiesParts {
            shard: SHARD,
            files: Arc::clone(&self.files),
            open: self.open.clone(),
            orphans: self.orphans.clone(),
            budget: self.budget.clone(),
            companion: Arc::clone(&self.companion),
            segment_bytes: self.segment_bytes,
            nonce: 7,
        })
        .expect("bodies open")
    }

    pub(super) fn reader(&self) -> BodyReader {
        let log: Rc<dyn LogReader> = Rc::new(NoLog);
        BodyReader::new(Arc::clone(&self.files), self.pins.core(), Arc::clone(&self.companion), log)
    }

    pub(super) fn reclaimer(&self) -> Reclaimer {
        Reclaimer::new(ReclaimerParts {
            files: Arc::clone(&self.files),
            pins: self.pins.clone(),
            open: self.open.clone(),
            orphans: self.orphans.clone(),
            grace: Box::new(|| {}),
            pause: Box::new(|_| {}),
            punch_pause: Duration::ZERO,
            is_closing: self.is_closing(),
        })
    }

    pub(super) fn is_closing(&self) -> Box<dyn Fn() -> bool + Send> {
        let closing = Arc::clone(&self.closing);
        Box::new(move || closing.load(Ordering::Relaxed))
    }

    pub(super) fn segments(&self) -> Vec<u64> {
        self.files.segments(SegmentKind::Extents, SHARD).expect("lists")
    }

    pub(super) fn extents_path(&self, segment: u64) -> PathBuf {
        self.files.path(FileKey { kind: SegmentKind::Extents, shard: SHARD, segment })
    }
}

/// No test of bodies has a log, unless it brings one.
struct NoLog;

impl LogReader for NoLog {
    fn read(&self, _: ShardId, _: LogPosition, _: u32) -> LocalFuture<'static, Result<Bytes, Fault>> {
        Box::pin(async { Err(Fault::Closed) })
    }
}

pub(super) fn owner(key: &[u8]) -> Owner {
    Owner { shard: ShardId(3), table: TABLE, key: key.to_vec() }
}

/// Writes `bytes` as one body, in uneven steps; some are lent to the writer, at every alignment.
pub(super) async fn write(
    bodies: &CoreBodies,
    hint: Option<u64>,
    bytes: &[u8],
    random: &mut Random,
) -> Result<SealedBody, Fault> {
    let mut writer = bodies.writer(hint, owner(b"key"));
    let mut rest = bytes;
    while !rest.is_empty() {
        let step = match random.below(3) {
            0 => 1 + random.below(100) as usize,
            1 => 1 + random.below(70_000) as usize,
            _ => 1 + random.below(3 << 20) as usize,
        };
        let (now, later) = rest.split_at(step.min(rest.len()));
        if random.below(2) == 0 {
            writer.write(now).await?;
        } else {
            let shift = random.below(3) as usize;
            let lent = Buffer::from(&[&[0; 2][..shift], now].concat()[..]);
            writer.write_shared(&Bytes::from_owner(lent).slice(shift..)).await?;
        }
        rest = later;
    }
    writer.seal().await
}

/// A body of its own length, adopted.
pub(super) async fn put(bodies: &CoreBodies, bytes: &[u8]) -> BodyRef {
    let mut writer = bodies.writer(Some(bytes.len() as u64), owner(b"key"));
    writer.write(bytes).await.expect("writes");
    adopt(writer.seal().await.expect("seals"))
}

pub(super) fn adopt(body: SealedBody) -> BodyRef {
    match body.adopt() {
        Adopted::Bytes(bytes) => BodyRef::Inline(bytes),
        Adopted::Extents(body) => body,
    }
}

pub(super) fn extents(body: &BodyRef) -> &[crate::types::Extent] {
    match body {
        BodyRef::Extents(extents) => extents,
        other => panic!("not in extents: {other:?}"),
    }
}

pub(super) async fn read(reader: &BodyReader, body: &BodyRef, range: Range<u64>) -> Result<Vec<u8>, Fault> {
    let mut stream = reader.read(SHARD, body, range);
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        assert!(!piece.is_empty(), "a piece has bytes");
        all.extend_from_slice(&piece);
    }
    assert!(stream.next().await.is_none(), "the end stays the end");
    Ok(all)
}

/// A directory of the machine's disk that goes away with the test.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("zerocloud-body-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Scratch(path)
    }

    /// A world here, unless the file system has no direct I/O (tmpfs), which the caller then says.
    pub(super) fn world(&self, segment_bytes: u32) -> Option<World> {
        let mode = crate::disk::OpenMode { create: true, write: true, direct: true };
        if RealDisk.open(&self.0.join("probe"), mode).is_err() {
            eprintln!("{} has no O_DIRECT: not tested here", self.0.display());
            return None;
        }
        Some(World::with(Arc::new(RealDisk), &self.0, segment_bytes))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
