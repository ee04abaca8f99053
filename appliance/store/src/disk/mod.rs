//! The seam between the store and the disk: everything that the store does to files goes through these two traits,
//! so that a simulated disk can lose, tear, reorder and refuse (LMDB's own file is the one exception).
//! Invariant: an `Ok` from a sync means that everything written to that file before the call began is on stable storage.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ring::Buffer;

use crate::fault::Fault;

pub mod real;
pub mod sim;
mod syscall;

pub use real::RealDisk;
pub(crate) use syscall::sync_file_system;

/// Asks the system to begin to read the first bytes of a file that will be walked. It may say no, or do nothing.
pub(crate) fn read_ahead(file: &std::fs::File, length: u64) {
    let _advice: io::Result<()> = syscall::read_ahead(file, length);
}

/// Reserves blocks behind the end of a file that is not one of the traits'.
pub(crate) fn reserve(file: &std::fs::File, offset: u64, length: u64) -> io::Result<()> {
    syscall::reserve(file, offset, length)
}

/// Writes a small file so that its new content is there whole or not at all: aside, synced, renamed. Blocks.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let temporary = path.with_extension("new");
    let at = |action| {
        let temporary = temporary.clone();
        move |error: io::Error| Fault::io(action, &temporary, 0, &error)
    };
    let mode = OpenMode { create: true, write: true, direct: false };
    let file = disk.open(&temporary, mode).map_err(at("create"))?;
    file.truncate(0).map_err(at("truncate"))?;
    file.write_blocking(bytes, 0).map_err(at("write"))?;
    file.sync_blocking().map_err(at("fdatasync"))?;
    disk.rename(&temporary, path).map_err(at("rename"))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).map_err(|error| Fault::io("fsync", dir, 0, &error))
}

/// A future that stays on its core.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// How a file is opened. A file has one mode for its whole life: log and packed segments buffered, extents direct.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenMode {
    /// Make the file if it is not there.
    pub create: bool,
    /// Open for writing too.
    pub write: bool,
    /// Bypass the page cache (O_DIRECT): buffers, offsets and lengths are multiples of 4,096.
    pub direct: bool,
}

/// Directories and names.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file. A new file's name is durable only after `sync_dir` of its directory.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents where they are missing.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that an unprivileged process can still write on the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// One open file. The blocking calls are for companion threads and recovery; a reactor uses only the asynchronous ones.
pub trait DiskFile: Send + Sync {
    /// Reads until `buffer` is full or the file ends; returns the bytes read.
    fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_blocking(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// fdatasync.
    fn sync_blocking(&self) -> io::Result<()>;
    /// Reserves blocks for a range without writing them; the file's length grows to cover it.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Gives the blocks of a range back; it reads as zeros from then on.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Sets the file's length.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Bytes of disk that the file occupies.
    fn allocated_bytes(&self) -> io::Result<u64>;

    /// Reads up to `length` bytes into the front of `buffer`, whose length becomes the bytes read.
    fn read(
        &self,
        buffer: Buffer,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'_, (io::Result<usize>, Buffer)>;
    /// Writes all of `buffer`; a short write is an error.
    fn write(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)>;
    /// Writes all of `parts` in a row; a short write is an error. For a file that is open directly each part is as a buffer
    /// would have to be.
    fn write_parts(&self, parts: Vec<Bytes>, offset: u64) -> LocalFuture<'_, io::Result<()>> {
        let buffer = Buffer::from(&parts.concat()[..]);
        Box::pin(async move { self.write(buffer, offset).await.0 })
    }
    /// Writes all of `buffer` and makes these bytes durable. It promises nothing about other writes that are not synced.
    /// For buffered files.
    fn write_sync(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)>;
    /// fdatasync.
    fn sync(&self) -> LocalFuture<'_, io::Result<()>>;
}
