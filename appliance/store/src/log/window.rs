//! Reading a segment front to back in large aligned pieces.
//! Invariant: memory is bounded by the read-ahead and the largest batch of the format, whatever the bytes claim.
//! Leaves to scan.rs and verify.rs: what the bytes mean.

use std::io;
use std::sync::Arc;

use ring::Buffer;

use super::LogConfig;
use super::segment::usable_bytes;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::fault::Fault;
use crate::types::BLOCK_BYTES;

const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// One segment, open for reading.
pub(super) struct Window {
    /// The segment's sequence number.
    pub sequence: u64,
    /// Usable length of the file.
    pub file_bytes: u32,
    /// Whether reads bypass the page cache.
    pub direct: bool,
    file: Arc<dyn DiskFile>,
    path: std::path::PathBuf,
    buffer: Buffer,
    start: u64,
}

impl Window {
    /// Opens a segment with O_DIRECT, or through the page cache where the file system has no O_DIRECT.
    pub fn open(disk: &dyn Disk, config: &LogConfig, sequence: u64) -> Result<Window, Fault> {
        let path = config.segment_path(sequence);
        let direct_wanted = !crate::planted::is(crate::planted::Plant::CacheTrusted);
        let mode = OpenMode { create: false, write: false, direct: direct_wanted };
        let (file, direct) = match disk.open(&path, mode) {
            Ok(file) => (file, direct_wanted),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let file = disk.open(&path, OpenMode::default());
                (file.map_err(|error| Fault::io("open", &path, 0, &error))?, false)
            }
            Err(error) => return Err(Fault::io("open", &path, 0, &error)),
        };
        let length = file.length().map_err(|error| Fault::io("stat", &path, 0, &error))?;
        let file_bytes = usable_bytes(length);
        Ok(Window { sequence, file_bytes, direct, file, path, buffer: Buffer::with_capacity(0), start: 0 })
    }

    /// `count` bytes from `offset`; none when the segment ends before them. `offset` is a multiple of 4,096.
    pub fn bytes(&mut self, offset: u32, count: usize) -> Result<Option<&[u8]>, Fault> {
        debug_assert!((offset as usize).is_multiple_of(BLOCK_BYTES));
        let offset = u64::from(offset);
        if offset + count as u64 > u64::from(self.file_bytes) {
            return Ok(None);
        }
        let held = offset >= self.start && offset + count as u64 <= self.start + self.buffer.len() as u64;
        if !held {
            self.fill(offset, count)?;
        }
        let from = usize::try_from(offset - self.start).expect("lies in the buffer");
        Ok(self.buffer.get(from..from + count))
    }

    fn fill(&mut self, offset: u64, count: usize) -> Result<(), Fault> {
        let wanted = count.next_multiple_of(BLOCK_BYTES).max(READ_AHEAD_BYTES);
        let rest = usize::try_from(u64::from(self.file_bytes) - offset).unwrap_or(usize::MAX);
        self.buffer.resize(wanted.min(rest), 0);
        self.start = offset;
        let result = self.file.read_blocking(&mut self.buffer, offset);
        let read = result.map_err(|error| Fault::io("read", &self.path, offset, &error))?;
        // A file that shrank since its length was asked for holds nothing there.
        self.buffer.truncate(read);
        Ok(())
    }
}
