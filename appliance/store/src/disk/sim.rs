//! A deterministic disk in memory, for crash tests: it keeps apart what a cache holds, what may have reached the medium,
//! and what a sync has promised.
//! Invariant: `crash` keeps everything that was synced, and of the rest any subset, torn at 512 bytes; the same seed and the
//! same calls give the same disk. Names are durable only after `sync_dir`, as POSIX has it, even where ext4 is kinder.
//! Leaves to sim/crash_states.rs: enumerating crash states instead of drawing them.
//!
//! A read through the page cache sees every write. A direct read sees what the medium would give: after a failed sync
//! that is less, because the kernel then marks pages clean that never got there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::Buffer;

use super::{Disk, DiskFile, LocalFuture, OpenMode};
use crate::types::BLOCK_BYTES;

mod crash_states;
mod state;
#[cfg(test)]
mod tests;

pub use crash_states::{CrashState, CrashStates};
use state::{FileId, State};
pub use state::{Operation, SplitMix64};

/// Kinds of disk operations that can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationKind {
    /// Any of them.
    Any,
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// fdatasync of a file.
    Sync,
    /// Opening, creating, renaming, removing, listing, syncing a directory.
    Name,
    /// Allocating, punching, truncating.
    Space,
}

/// A failure to come.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    /// Which operations count.
    pub kind: OperationKind,
    /// The n-th of them from now on fails, counted from 1.
    pub nth: u64,
    /// With this error number.
    pub errno: i32,
    /// A failing write leaves a front part of its bytes behind.
    pub short: bool,
    /// All later ones fail too.
    pub sticky: bool,
}

impl Injection {
    /// The n-th operation of a kind fails once with EIO.
    #[must_use]
    pub fn eio(kind: OperationKind, nth: u64) -> Injection {
        Injection { kind, nth, errno: libc::EIO, short: false, sticky: false }
    }
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Sim>>,
}

struct Sim {
    state: State,
    random: SplitMix64,
    injections: Vec<Injection>,
    /// Ranges of files that cannot be read.
    unreadable: Vec<(FileId, u64, u64)>,
    operation_count: u64,
    /// From this operation on nothing happens any more.
    power_off_at: Option<u64>,
    capacity_bytes: u64,
    /// What the recording began with.
    base: Option<State>,
    trace: Option<Vec<Operation>>,
}

impl SimDisk {
    /// An empty disk. The seed decides what a failed sync leaves behind.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::of(State::default(), seed)
    }

    fn of(state: State, seed: u64) -> SimDisk {
        let sim = Sim {
            state,
            random: SplitMix64(seed),
            injections: Vec::new(),
            unreadable: Vec::new(),
            operation_count: 0,
            power_off_at: None,
            capacity_bytes: u64::MAX,
            base: None,
            trace: None,
        };
        SimDisk { shared: Arc::new(Mutex::new(sim)) }
    }

    /// The disk after a power failure now: all that is durable, and a random part of the rest.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        let sim = self.sim();
        let state = state::crash(&sim.state, &mut SplitMix64(seed));
        let disk = SimDisk::of(state, seed.wrapping_add(1));
        disk.sim().capacity_bytes = sim.capacity_bytes;
        disk
    }

    /// The same disk after the process alone was killed: the cache, and what is not durable in it, is still there.
    /// Power, injected failures and the trace are reset.
    #[must_use]
    pub fn restart(&self) -> SimDisk {
        let sim = self.sim();
        let disk = SimDisk::of(sim.state.clone(), sim.random.0);
        disk.sim().capacity_bytes = sim.capacity_bytes;
        disk
    }

    /// Adds a failure to come.
    pub fn inject(&self, injection: Injection) {
        self.sim().injections.push(injection);
    }

    /// Forgets all failures to come.
    pub fn clear_injections(&self) {
        self.sim().injections.clear();
    }

    /// The next `count` operations still happen; all later ones fail and change nothing.
    pub fn cut_power_after(&self, count: u64) {
        let mut sim = self.sim();
        sim.power_off_at = Some(sim.operation_count + count);
    }

    /// Operations so far, failed ones included.
    #[must_use]
    pub fn operation_count(&self) -> u64 {
        self.sim().operation_count
    }

    /// Limits the blocks of all files together.
    pub fn set_capacity(&self, bytes: u64) {
        self.sim().capacity_bytes = bytes;
    }

    /// Reads that touch this range fail with EIO. Panics when there is no such file.
    pub fn make_unreadable(&self, path: &Path, offset: u64, length: u64) {
        let mut sim = self.sim();
        let file = sim.state.find(path).expect("the test names a file that exists");
        sim.unreadable.push((file, offset, length));
    }

    /// Flips one bit on the medium and in the cache. Panics when the file is shorter.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let mut sim = self.sim();
        let file = sim.state.find(path).expect("the test names a file that exists");
        sim.state.flip_bit(file, offset, bit);
    }

    /// Begins to record every change from here on; the disk's present content becomes durable first.
    pub fn record(&self) {
        let mut sim = self.sim();
        sim.state.settle();
        sim.base = Some(sim.state.clone());
        sim.trace = Some(Vec::new());
    }

    /// Puts a mark into the recording, such as "batch 7 was acknowledged".
    pub fn mark(&self, mark: u64) {
        self.sim().note(Operation::Mark(mark));
    }

    /// The recording so far.
    #[must_use]
    pub fn trace(&self) -> Vec<Operation> {
        self.sim().trace.clone().unwrap_or_default()
    }

    /// What a file holds as the cache shows it; none when there is no such file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let sim = self.sim();
        let file = sim.state.find(path)?;
        Some(sim.state.cached(file).to_vec())
    }

    fn sim(&self) -> MutexGuard<'_, Sim> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an operation should do after the failures to come were asked.
enum Outcome {
    Happen,
    Fail { errno: i32, short: bool },
}

impl Sim {
    fn count(&mut self, kind: OperationKind) -> Outcome {
        self.operation_count += 1;
        if self.power_off_at.is_some_and(|end| self.operation_count > end) {
            return Outcome::Fail { errno: libc::EIO, short: false };
        }
        let mut outcome = Outcome::Happen;
        self.injections.retain_mut(|injection| {
            if injection.kind != OperationKind::Any && injection.kind != kind {
                return true;
            }
            injection.nth = injection.nth.saturating_sub(1);
            if injection.nth > 0 {
                return true;
            }
            outcome = Outcome::Fail { errno: injection.errno, short: injection.short };
            injection.sticky
        });
        outcome
    }

    /// Counts an operation that either happens or does not.
    fn begin(&mut self, kind: OperationKind) -> io::Result<()> {
        match self.count(kind) {
            Outcome::Happen => Ok(()),
            Outcome::Fail { errno, .. } => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn note(&mut self, operation: Operation) {
        if let Some(trace) = &mut self.trace {
            trace.push(operation);
        }
    }

    fn apply(&mut self, operation: Operation) {
        self.state.apply(&operation);
        self.note(operation);
    }

    /// Whether the disk has the blocks that a range still lacks.
    fn has_room(&self, file: FileId, offset: u64, length: u64) -> bool {
        let needed = self.state.missing_blocks(file, offset, length) * BLOCK_BYTES as u64;
        self.state.allocated_bytes().saturating_add(needed) <= self.capacity_bytes
    }

    fn write(&mut self, file: FileId, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.count(OperationKind::Write) {
            Outcome::Happen if !self.has_room(file, offset, bytes.len() as u64) => {
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
            Outcome::Happen => {
                self.apply(Operation::Write { file, offset, bytes: bytes.into() });
                Ok(())
            }
            Outcome::Fail { errno, short } => {
                let sectors = bytes.len() / state::SECTOR_BYTES;
                if short && sectors > 0 {
                    let kept = self.random.below(sectors as u64) as usize * state::SECTOR_BYTES;
                    self.apply(Operation::Write { file, offset, bytes: bytes[..kept].into() });
                }
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        if let Err(error) = self.begin(OperationKind::Sync) {
            let powered = self.power_off_at.is_none_or(|end| self.operation_count <= end);
            if powered {
                self.state.fail_sync(file, &mut self.random);
            }
            return Err(error);
        }
        self.apply(Operation::Sync { file });
        Ok(())
    }

    fn read(&mut self, file: FileId, direct: bool, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.begin(OperationKind::Read)?;
        let end = offset + buffer.len() as u64;
        let bad =
            |&(at, from, length): &(FileId, u64, u64)| at == file && from < end && offset < from + length;
        if self.unreadable.iter().any(bad) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let image = if direct { self.state.medium(file) } else { self.state.cached(file).into() };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(image.len());
        let count = buffer.len().min(image.len() - from);
        buffer[..count].copy_from_slice(&image[from..from + count]);
        Ok(count)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut sim = self.sim();
        sim.begin(OperationKind::Name)?;
        let file = match sim.state.find(path) {
            Some(file) => file,
            None if mode.create => {
                sim.state.require_parent(path)?;
                let file = sim.state.next_file();
                sim.apply(Operation::Create { file, path: path.into() });
                file
            }
            None => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
        };
        let writable = mode.write || mode.create;
        Ok(Arc::new(SimFile { disk: self.clone(), file, writable, direct: mode.direct }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.begin(OperationKind::Name)?;
        let missing: Vec<PathBuf> =
            path.ancestors().filter(|each| !sim.state.has_dir(each)).map(Path::to_path_buf).collect();
        for path in missing.into_iter().rev() {
            sim.apply(Operation::CreateDir { path });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.begin(OperationKind::Name)?;
        let file = sim.state.find(from).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        sim.state.require_parent(to)?;
        sim.apply(Operation::Rename { file, from: from.into(), to: to.into() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.begin(OperationKind::Name)?;
        let file = sim.state.find(path).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        sim.apply(Operation::Remove { file, path: path.into() });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut sim = self.sim();
        sim.begin(OperationKind::Name)?;
        sim.state.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.begin(OperationKind::Name)?;
        if !sim.state.has_dir(path) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        sim.apply(Operation::SyncDir { path: path.into() });
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let sim = self.sim();
        Ok(sim.capacity_bytes.saturating_sub(sim.state.allocated_bytes()))
    }
}

struct SimFile {
    disk: SimDisk,
    file: FileId,
    writable: bool,
    direct: bool,
}

impl SimFile {
    /// What the kernel demands of direct I/O, and of any write.
    fn check(&self, address: usize, offset: u64, length: usize, writes: bool) -> io::Result<()> {
        if writes && !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let aligned = address.is_multiple_of(BLOCK_BYTES)
            && offset.is_multiple_of(BLOCK_BYTES as u64)
            && length.is_multiple_of(BLOCK_BYTES);
        if self.direct && !aligned {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(())
    }

    fn space(&self, operation: Operation) -> io::Result<()> {
        self.check(0, 0, 0, true)?;
        let mut sim = self.disk.sim();
        sim.begin(OperationKind::Space)?;
        if let Operation::Allocate { file, offset, length } = operation
            && !sim.has_room(file, offset, length)
        {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        sim.apply(operation);
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(buffer.as_ptr().addr(), offset, buffer.len(), false)?;
        self.disk.sim().read(self.file, self.direct, buffer, offset)
    }

    fn write_blocking(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check(bytes.as_ptr().addr(), offset, bytes.len(), true)?;
        self.disk.sim().write(self.file, bytes, offset)
    }

    fn sync_blocking(&self) -> io::Result<()> {
        self.disk.sim().sync(self.file)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.space(Operation::Allocate { file: self.file, offset, length })
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.space(Operation::Punch { file: self.file, offset, length })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.space(Operation::Truncate { file: self.file, length })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.sim().state.cached(self.file).len() as u64)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.sim().state.allocated_bytes_of(self.file))
    }

    fn read(
        &self,
        mut buffer: Buffer,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'_, (io::Result<usize>, Buffer)> {
        Box::pin(async move {
            buffer.resize(length, 0);
            let result = self.read_blocking(&mut buffer, offset);
            buffer.truncate(*result.as_ref().unwrap_or(&0));
            (result, buffer)
        })
    }

    fn write(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)> {
        Box::pin(async move { (self.write_blocking(&buffer, offset), buffer) })
    }

    fn write_sync(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)> {
        Box::pin(async move {
            let result = self.write_blocking(&buffer, offset).and_then(|()| self.sync_blocking());
            (result, buffer)
        })
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        Box::pin(async move { self.sync_blocking() })
    }
}
