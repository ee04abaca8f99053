//! Names of segment files, and the process-wide table of those that are open for reading.
//! Invariant: the table never holds more than its bound; a file forgotten here is opened afresh by the next reader.
//! Leaves to the writers: their own handles.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::fault::Fault;
use crate::room::Room;
use crate::types::{DirectoryId, ShardId};

/// Which kind of segment a file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SegmentKind {
    /// Part of the log.
    Log,
    /// Small bodies, dense, buffered.
    Packed,
    /// Large bodies, direct.
    Extents,
}

/// Names one segment file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileKey {
    /// Which kind.
    pub kind: SegmentKind,
    /// In which shard's directory.
    pub shard: ShardId,
    /// The sequence number.
    pub segment: u64,
}

/// The data directory's segment files.
pub struct Files {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    directory: DirectoryId,
    open_max: usize,
    room: Arc<Room>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<FileKey, Slot>,
    tick: u64,
}

struct Slot {
    file: Arc<dyn DiskFile>,
    used: u64,
}

impl Files {
    /// The files under `root`, of which at most `open_max` are kept open.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, root: &Path, directory: DirectoryId, open_max: usize) -> Files {
        assert!(open_max > 0, "a table of no files cannot hand one out");
        Files {
            disk,
            root: root.to_path_buf(),
            directory,
            open_max,
            room: Arc::default(),
            table: Mutex::default(),
        }
    }

    /// The disk on which they lie.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// What of it is spoken for.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// The data directory's identity, which every header names.
    #[must_use]
    pub fn directory_id(&self) -> DirectoryId {
        self.directory
    }

    /// The directory of one shard.
    #[must_use]
    pub fn shard_dir(&self, shard: ShardId) -> PathBuf {
        self.root.join(shard.to_string())
    }

    /// The directory of one shard's segments of a kind.
    #[must_use]
    pub fn segment_dir(&self, kind: SegmentKind, shard: ShardId) -> PathBuf {
        self.shard_dir(shard).join(match kind {
            SegmentKind::Log => "log",
            SegmentKind::Packed => "packed",
            SegmentKind::Extents => "extents",
        })
    }

    /// The path of a segment file.
    #[must_use]
    pub fn path(&self, key: FileKey) -> PathBuf {
        let segment = key.segment;
        self.segment_dir(key.kind, key.shard).join(match key.kind {
            SegmentKind::Log => format!("{segment:020}"),
            SegmentKind::Packed | SegmentKind::Extents => format!("{segment:010}"),
        })
    }

    /// An open file of the table, without touching the disk.
    #[must_use]
    pub fn cached(&self, key: FileKey) -> Option<Arc<dyn DiskFile>> {
        let mut table = self.lock();
        table.tick += 1;
        let tick = table.tick;
        let slot = table.open.get_mut(&key)?;
        slot.used = tick;
        Some(Arc::clone(&slot.file))
    }

    /// The file, opened for reading if it is not in the table. Blocks: for companions. Errors: `Fault::Io`; a file
    /// that is not there has errno ENOENT.
    pub fn open_blocking(&self, key: FileKey) -> Result<Arc<dyn DiskFile>, Fault> {
        if let Some(file) = self.cached(key) {
            return Ok(file);
        }
        let path = self.path(key);
        let mode = OpenMode { direct: key.kind == SegmentKind::Extents, ..OpenMode::default() };
        let file = self.disk.open(&path, mode).map_err(|error| Fault::io("open", &path, 0, &error))?;
        self.insert(key, &file);
        Ok(file)
    }

    /// Opens a segment for writing, as `kind` demands, outside the table. Blocks.
    pub fn open_to_write(&self, key: FileKey, create: bool) -> Result<Arc<dyn DiskFile>, Fault> {
        let path = self.path(key);
        let mode = OpenMode { create, write: true, direct: key.kind == SegmentKind::Extents };
        self.disk.open(&path, mode).map_err(|error| write_fault("open", &path, 0, &error))
    }

    /// Puts an open file into the table, in place of the one unused for longest if it is full.
    pub fn insert(&self, key: FileKey, file: &Arc<dyn DiskFile>) {
        let mut table = self.lock();
        table.tick += 1;
        if table.open.len() >= self.open_max && !table.open.contains_key(&key) {
            // A walk over the whole table, but only when a file is opened that was not open.
            let oldest = table.open.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                table.open.remove(&oldest);
            }
        }
        let used = table.tick;
        table.open.insert(key, Slot { file: Arc::clone(file), used });
    }

    /// Drops a file from the table, because it is about to be removed.
    pub fn forget(&self, key: FileKey) {
        self.lock().open.remove(&key);
    }

    /// How many files the table holds.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.lock().open.len()
    }

    /// Sequence numbers of the segments of one kind, ascending; none where the directory is missing. Blocks.
    pub fn segments(&self, kind: SegmentKind, shard: ShardId) -> Result<Vec<u64>, Fault> {
        let dir = self.segment_dir(kind, shard);
        let names = match self.disk.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Fault::io("list", &dir, 0, &error)),
        };
        let mut segments: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// The number for the next segment of a kind. Numbers never come back, because the segment with the highest
    /// number is never removed (reclaim.rs): a pointer to a removed segment must not find a new one. Blocks.
    pub fn next_segment(&self, kind: SegmentKind, shard: ShardId) -> Result<u64, Fault> {
        Ok(self.segments(kind, shard)?.last().map_or(1, |last| last + 1))
    }

    /// Makes the directory for segments of a kind, durably below the root, where it is missing. Blocks.
    pub fn make_segment_dir(&self, kind: SegmentKind, shard: ShardId) -> Result<(), Fault> {
        let dir = self.segment_dir(kind, shard);
        self.disk.create_dir(&dir).map_err(|error| write_fault("mkdir", &dir, 0, &error))?;
        for parent in [&self.shard_dir(shard), &self.root] {
            self.disk.sync_dir(parent).map_err(|error| write_fault("fsync", parent, 0, &error))?;
        }
        Ok(())
    }

    /// Makes the names of segments durable. Blocks.
    pub fn sync_segment_dir(&self, kind: SegmentKind, shard: ShardId) -> Result<(), Fault> {
        let dir = self.segment_dir(kind, shard);
        self.disk.sync_dir(&dir).map_err(|error| write_fault("fsync", &dir, 0, &error))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is a cache of handles that every step leaves whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault from an operating system error of a write: a full disk is `Fault::Full`, all else `Fault::Io`.
#[must_use]
pub fn write_fault(action: &'static str, path: &Path, offset: u64, error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Fault::Full,
        _ if error.kind() == io::ErrorKind::StorageFull => Fault::Full,
        _ => Fault::io(action, path, offset, error),
    }
}

/// Files kept open unless configured otherwise.
pub const OPEN_FILES_MAX: usize = 512;
