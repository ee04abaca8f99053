//! A file that only takes room, so that a full disk still has some for the deletes that would free more.
//! Invariant: while it is held, its bytes are reserved on the disk and hold nothing.
//! Leaves to the fold: releasing it when there is no space, and having it rebuilt afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use super::files::{Files, write_fault};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::fault::Fault;
use crate::types::ShardId;

/// The ballast of one shard. Blocks: it belongs to the companion.
pub struct Ballast {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of `shard`, `bytes` large. Touches nothing yet.
    #[must_use]
    pub fn new(files: &Files, shard: ShardId, bytes: u64) -> Ballast {
        let dir = files.shard_dir(shard);
        let path = dir.join("ballast");
        Ballast { disk: Arc::clone(files.disk()), dir, path, bytes }
    }

    /// How large it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves the room, or what is missing of it. Errors: `Fault::Full` when the disk has not got it, and then
    /// nothing stays reserved, since half a ballast would only make the disk fuller; `Fault::Io`.
    pub fn rebuild(&self) -> Result<(), Fault> {
        let file = self.open(true)?;
        if self.reserved(&*file)? >= self.bytes {
            return Ok(());
        }
        let reserved = file
            .allocate(0, self.bytes)
            .and_then(|()| file.sync_blocking())
            .map_err(|error| write_fault("fallocate", &self.path, 0, &error));
        if let Err(fault) = reserved {
            file.truncate(0).map_err(|error| Fault::io("truncate", &self.path, 0, &error))?;
            return Err(fault);
        }
        self.disk.sync_dir(&self.dir).map_err(|error| Fault::io("fsync", &self.dir, 0, &error))
    }

    /// Gives the room back to the disk. Done already is done too. Errors: `Fault::Io`.
    pub fn release(&self) -> Result<(), Fault> {
        let file = self.open(true)?;
        let mut length = file.length().map_err(|error| Fault::io("stat", &self.path, 0, &error))?;
        while length > 0 {
            // In slices, so that the file system's journal is never held for long.
            length = length.saturating_sub(SLICE_BYTES);
            file.truncate(length).map_err(|error| Fault::io("truncate", &self.path, length, &error))?;
        }
        // Some file systems hand freed blocks out only after the truncation is on the disk.
        file.sync_blocking().map_err(|error| Fault::io("fdatasync", &self.path, 0, &error))
    }

    /// Whether all of the room is reserved. Errors: `Fault::Io`.
    pub fn is_held(&self) -> Result<bool, Fault> {
        match self.open(false) {
            Ok(file) => Ok(self.reserved(&*file)? >= self.bytes),
            Err(Fault::Io { errno: libc::ENOENT, .. }) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn open(&self, create: bool) -> Result<Arc<dyn DiskFile>, Fault> {
        let mode = OpenMode { create, write: true, direct: false };
        self.disk.open(&self.path, mode).map_err(|error| write_fault("open", &self.path, 0, &error))
    }

    fn reserved(&self, file: &dyn DiskFile) -> Result<u64, Fault> {
        file.allocated_bytes().map_err(|error| Fault::io("stat", &self.path, 0, &error))
    }
}

const SLICE_BYTES: u64 = 64 * 1024 * 1024;
