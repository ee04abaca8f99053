//! A disk over another one that counts what is done, and can make every asynchronous operation slow.
//! Invariant: it changes nothing about what is done, only when.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ring::Buffer;

use crate::disk::{Disk, DiskFile, LocalFuture, OpenMode};

/// The counters, and how slow the disk is.
#[derive(Default)]
pub(in crate::body) struct Watch {
    disk: Option<Arc<dyn Disk>>,
    pub(in crate::body) reads: AtomicU64,
    pub(in crate::body) writes: AtomicU64,
    pub(in crate::body) syncs: AtomicU64,
    pub(in crate::body) punches: AtomicU64,
    pub(in crate::body) write_bytes_max: AtomicU64,
    pub(in crate::body) write_bytes_in_flight: AtomicU64,
    pub(in crate::body) write_bytes_in_flight_max: AtomicU64,
    pub(in crate::body) reads_in_flight: AtomicU64,
    pub(in crate::body) reads_in_flight_max: AtomicU64,
    /// How many turns every asynchronous operation waits before it happens.
    pub(in crate::body) slow_turns: AtomicU64,
    /// Writes wait as long as this is set.
    pub(in crate::body) hold_writes: AtomicBool,
}

impl Watch {
    pub(super) fn over(disk: Arc<dyn Disk>) -> Arc<Watch> {
        Arc::new(Watch { disk: Some(disk), ..Watch::default() })
    }

    pub(super) fn disk(self: &Arc<Watch>) -> WatchedDisk {
        let inner = self.disk.clone().expect("set in over()");
        WatchedDisk { inner, watch: Arc::clone(self) }
    }

    pub(in crate::body) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    async fn dawdle(&self) {
        for _ in 0..self.slow_turns.load(Ordering::Relaxed) {
            ring::yield_now().await;
        }
    }
}

fn add(counter: &AtomicU64, high_water: &AtomicU64, amount: u64) {
    let now = counter.fetch_add(amount, Ordering::Relaxed) + amount;
    high_water.fetch_max(now, Ordering::Relaxed);
}

pub(in crate::body) struct WatchedDisk {
    inner: Arc<dyn Disk>,
    watch: Arc<Watch>,
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(WatchedFile { inner, watch: Arc::clone(&self.watch) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }
}

struct WatchedFile {
    inner: Arc<dyn DiskFile>,
    watch: Arc<Watch>,
}

impl DiskFile for WatchedFile {
    fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_blocking(buffer, offset)
    }

    fn write_blocking(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_blocking(bytes, offset)
    }

    fn sync_blocking(&self) -> io::Result<()> {
        self.inner.sync_blocking()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.allocate(offset, length)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.watch.punches.fetch_add(1, Ordering::Relaxed);
        self.inner.punch(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.inner.allocated_bytes()
    }

    fn read(
        &self,
        buffer: Buffer,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'_, (io::Result<usize>, Buffer)> {
        Box::pin(async move {
            self.watch.reads.fetch_add(1, Ordering::Relaxed);
            add(&self.watch.reads_in_flight, &self.watch.reads_in_flight_max, 1);
            self.watch.dawdle().await;
            let result = self.inner.read(buffer, offset, length).await;
            self.watch.reads_in_flight.fetch_sub(1, Ordering::Relaxed);
            result
        })
    }

    fn write(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)> {
        Box::pin(async move {
            let watch = &self.watch;
            let bytes = buffer.len() as u64;
            watch.writes.fetch_add(1, Ordering::Relaxed);
            watch.write_bytes_max.fetch_max(bytes, Ordering::Relaxed);
            add(&watch.write_bytes_in_flight, &watch.write_bytes_in_flight_max, bytes);
            watch.dawdle().await;
            while watch.hold_writes.load(Ordering::Relaxed) {
                ring::yield_now().await;
            }
            let result = self.inner.write(buffer, offset).await;
            watch.write_bytes_in_flight.fetch_sub(bytes, Ordering::Relaxed);
            result
        })
    }

    fn write_sync(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)> {
        self.inner.write_sync(buffer, offset)
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.watch.syncs.fetch_add(1, Ordering::Relaxed);
            // A sync promises only what was written when it began: what is written while it dawdles is not covered.
            let result = self.inner.sync().await;
            self.watch.dawdle().await;
            result
        })
    }
}
