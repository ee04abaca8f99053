//! A walk over an extents segment from header to header, for verify and for the scrubber.
//! Invariant: every whole header of the segment is found, whatever lies around it: where no header is, the walk goes
//! block by block.
//! Leaves to the shard: asking whether the record that a header names still names the extent.

use std::path::PathBuf;
use std::sync::Arc;

use ring::Buffer;

use super::extent::{ExtentHeader, has_magic};
use super::files::Files;
use super::segments::extents_key;
use crate::disk::DiskFile;
use crate::fault::Fault;
use crate::types::{BLOCK_BYTES, DirectoryId, ExtentId, ShardId};

/// What lies at a place of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A whole header; the extent's data was not looked at.
    Extent(Box<ExtentHeader>),
    /// A block that begins like a header but is not whole, or belongs elsewhere.
    Damaged {
        /// Where the block lies.
        offset: u32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Blocks that belong to no extent with a whole header: punched, never written, or left by a body that was never
    /// sealed. Behind a `Damaged` block it may be the data of that extent, which a repair may still want.
    Gap {
        /// First byte.
        offset: u32,
        /// Number of bytes.
        length: u32,
    },
}

/// The walk. Blocks.
pub struct ExtentScan {
    shard: ShardId,
    segment: u64,
    directory: DirectoryId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    file_bytes: u32,
    offset: u32,
    gap_start: u32,
    /// Found behind a gap that is told first.
    held: Option<Found>,
    window: Buffer,
    window_offset: u32,
    /// How much to read next: a block where headers follow each other, more where none is.
    read_bytes: usize,
    failed: bool,
}

impl ExtentScan {
    /// A walk over a segment. Only sealed segments may be judged by it. Errors: `Fault::Io`.
    pub fn open(files: &Files, shard: ShardId, segment: u64) -> Result<ExtentScan, Fault> {
        let key = extents_key(shard, segment);
        let path = files.path(key);
        let file = files.open_blocking(key)?;
        let length = file.length().map_err(|error| Fault::io("stat", &path, 0, &error))?;
        // A segment is never longer than a u32 can say; what lies behind is not ours.
        let file_bytes = u32::try_from(length).unwrap_or(u32::MAX) / BLOCK * BLOCK;
        Ok(ExtentScan {
            shard,
            segment,
            directory: files.directory_id(),
            path,
            file,
            file_bytes,
            offset: 0,
            gap_start: 0,
            held: None,
            window: Buffer::with_capacity(BLOCK_BYTES),
            window_offset: 0,
            read_bytes: BLOCK_BYTES,
            failed: false,
        })
    }

    fn step(&mut self) -> Result<Option<Found>, Fault> {
        if let Some(found) = self.held.take() {
            return Ok(Some(found));
        }
        while self.offset < self.file_bytes {
            let id = ExtentId { shard: self.shard, segment: self.segment, offset: self.offset };
            let directory = self.directory;
            let block = self.block()?;
            if !has_magic(block) {
                self.offset += BLOCK;
                self.read_bytes = WINDOW_BYTES;
                continue;
            }
            let found = match ExtentHeader::decode_at(block, directory, id) {
                Ok(header) => Found::Extent(Box::new(header)),
                Err(why) => Found::Damaged { offset: id.offset, why },
            };
            let gap = self.gap_until(id.offset);
            let span = match &found {
                Found::Extent(header) => header.span_bytes,
                Found::Damaged { .. } | Found::Gap { .. } => BLOCK,
            };
            self.offset = self.offset.saturating_add(span);
            self.gap_start = self.offset;
            self.read_bytes = BLOCK_BYTES;
            if gap.is_some() {
                self.held = Some(found);
                return Ok(gap);
            }
            return Ok(Some(found));
        }
        let gap = self.gap_until(self.file_bytes);
        self.gap_start = self.file_bytes;
        Ok(gap)
    }

    fn gap_until(&self, end: u32) -> Option<Found> {
        let offset = self.gap_start;
        (offset < end).then(|| Found::Gap { offset, length: end - offset })
    }

    /// The block at `offset`, which lies within the file.
    fn block(&mut self) -> Result<&[u8], Fault> {
        let start = self.offset.wrapping_sub(self.window_offset) as usize;
        let inside = self.offset >= self.window_offset && start + BLOCK_BYTES <= self.window.len();
        if !inside {
            let length = self.read_bytes.min((self.file_bytes - self.offset) as usize);
            self.window.resize(length, 0);
            self.window_offset = self.offset;
            let read = self
                .file
                .read_blocking(&mut self.window, u64::from(self.offset))
                .map_err(|error| Fault::io("read", &self.path, u64::from(self.offset), &error))?;
            if read < length {
                // The file shrank under the walk, so it was not sealed, or the disk errs: nothing to judge by.
                return Err(Fault::corrupt(format!("{} ends early at {}", self.path.display(), self.offset)));
            }
        }
        let start = (self.offset - self.window_offset) as usize;
        Ok(&self.window[start..start + BLOCK_BYTES])
    }
}

impl Iterator for ExtentScan {
    type Item = Result<Found, Fault>;

    /// The next thing. Errors end the walk.
    fn next(&mut self) -> Option<Result<Found, Fault>> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

const BLOCK: u32 = BLOCK_BYTES as u32;
const WINDOW_BYTES: usize = 1024 * 1024;
