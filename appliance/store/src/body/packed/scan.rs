//! The walk through a packed segment, behind the holes that dead entries left.
//! Invariant: what it gives was written there, in this directory, and is whole; what it passes over in silence is dead.

use std::path::PathBuf;
use std::sync::Arc;

use super::{CRC_OFFSET, EntryHeader, HEADER_BYTES, MAGIC, Place, SCAN_BYTES};
use crate::body::files::{FileKey, Files, SegmentKind};
use crate::disk::DiskFile;
use crate::fault::Fault;
use crate::record::BodyRef;
use crate::types::{BLOCK_BYTES, DirectoryId, ShardId, TableId};

/// One body of a packed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackedEntry<'a> {
    /// The table of the record for which it was packed.
    pub table: TableId,
    /// The key of that record.
    pub key: &'a [u8],
    /// Where the body lies: what the record says if it still means this copy.
    pub body: BodyRef,
    /// The body.
    pub bytes: &'a [u8],
}

/// Walks a packed segment from its start in bounded memory. Blocks.
pub struct PackedScan {
    key: FileKey,
    directory: DirectoryId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    window: Vec<u8>,
    /// Where the window begins in the file.
    window_offset: u32,
    /// The next entry.
    offset: u32,
    ended: bool,
}

impl PackedScan {
    /// A walk through a segment. Errors: `Fault::Io` when it cannot be opened.
    pub fn open(files: &Files, shard: ShardId, segment: u64) -> Result<PackedScan, Fault> {
        let key = FileKey { kind: SegmentKind::Packed, shard, segment };
        Ok(PackedScan {
            key,
            directory: files.directory_id(),
            path: files.path(key),
            file: files.open_blocking(key)?,
            window: Vec::new(),
            window_offset: 0,
            offset: 0,
            ended: false,
        })
    }

    /// The next entry, verified. `Fault::Corrupt` for a damaged body does not end the walk; one for a damaged header
    /// does, as the place of what follows is not known then. Errors also: `Fault::Io`, which ends it.
    #[expect(
        clippy::should_implement_trait,
        reason = "the entry borrows from the walk, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Option<Result<PackedEntry<'_>, Fault>> {
        if self.ended {
            return None;
        }
        let (header, is_whole) = loop {
            let header = match self.header_behind_holes() {
                Ok(Some(header)) => header,
                Ok(None) => {
                    self.ended = true;
                    return None;
                }
                Err(fault) => {
                    self.ended = true;
                    return Some(Err(fault));
                }
            };
            let start = (self.offset - self.window_offset) as usize;
            let entry = &self.window[start..start + header.entry_bytes()];
            let is_whole = hash::crc32c(header.body_of(entry)) == header.body_crc;
            match is_whole || !self.has_hole(header.entry_bytes()) {
                true => break (header, is_whole),
                // What was punched is dead.
                false => self.offset += header.entry_bytes() as u32,
            }
        };
        let start = (self.offset - self.window_offset) as usize;
        self.offset += header.entry_bytes() as u32;
        let body_start = start + HEADER_BYTES + usize::from(header.key_bytes);
        let body_offset = self.offset - header.body_bytes;
        if !is_whole {
            let path = self.path.display();
            return Some(Err(Fault::corrupt(format!(
                "body in {path} at offset {body_offset}: checksum does not match"
            ))));
        }
        let bytes = &self.window[body_start..body_start + header.body_bytes as usize];
        let body = BodyRef::Packed {
            shard: self.key.shard,
            segment: self.key.segment,
            offset: body_offset,
            length: header.body_bytes,
            crc: header.body_crc,
        };
        let key = &self.window[start + HEADER_BYTES..body_start];
        Some(Ok(PackedEntry { table: header.table, key, body, bytes }))
    }

    /// Where the next entry begins; after the end, where the entries end.
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// The next header: at `offset`, or behind the hole that lies there.
    fn header_behind_holes(&mut self) -> Result<Option<EntryHeader>, Fault> {
        let found = self.header();
        match found {
            Ok(None) | Err(Fault::Corrupt(_)) if self.is_at_hole()? => self.resume(),
            found => found,
        }
    }

    /// Whether `offset` lies in a hole, or so little before one that a header does not fit.
    fn is_at_hole(&mut self) -> Result<bool, Fault> {
        self.fill(2 * BLOCK_BYTES)?;
        let rest = &self.window[(self.offset - self.window_offset) as usize..];
        let to_block = (self.offset.next_multiple_of(BLOCK_BYTES as u32) - self.offset) as usize;
        let is_zero = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        // Within a hole all is zero up to the end of the block; before one, the block that follows.
        let is_within = to_block > 0 && is_zero(rest.get(..to_block));
        Ok(is_within || is_zero(rest.get(to_block..to_block + BLOCK_BYTES)))
    }

    /// Whether a block is zero that the entry at `offset` reaches into from before it.
    fn has_hole(&mut self, entry_bytes: usize) -> bool {
        let blocks_end = (self.offset as usize + entry_bytes).next_multiple_of(BLOCK_BYTES);
        // Where it cannot be read the body is said to be damaged, which is no less true.
        if self.fill(blocks_end - self.offset as usize).is_err() {
            return false;
        }
        let to_block = (self.offset.next_multiple_of(BLOCK_BYTES as u32) - self.offset) as usize;
        let rest = &self.window[(self.offset - self.window_offset) as usize..];
        let reached = rest.len().min(blocks_end - self.offset as usize);
        let blocks = rest.get(to_block..reached).unwrap_or_default();
        blocks.chunks_exact(BLOCK_BYTES).any(|block| block.iter().all(|byte| *byte == 0))
    }

    /// Goes to the next place behind `offset` where a header is that was written there, with its key. Such a place cannot be
    /// made up by a body: the checksum covers the identity of the directory and the place.
    fn resume(&mut self) -> Result<Option<EntryHeader>, Fault> {
        loop {
            self.offset += 1;
            self.fill(MAGIC.len())?;
            let rest = &self.window[(self.offset - self.window_offset) as usize..];
            if rest.len() < MAGIC.len() {
                return Ok(None);
            }
            let Some(step) = rest.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) else {
                // The magic may begin in the last bytes of the window.
                self.offset += (rest.len() - MAGIC.len()) as u32;
                continue;
            };
            self.offset += step as u32;
            match self.header() {
                Ok(None) | Err(Fault::Corrupt(_)) => {}
                found => return found,
            }
        }
    }

    /// The header at `offset`, with the whole entry in the window. `None` at the end of the entries.
    fn header(&mut self) -> Result<Option<EntryHeader>, Fault> {
        self.fill(HEADER_BYTES)?;
        let start = (self.offset - self.window_offset) as usize;
        let rest = &self.window[start..];
        if rest.iter().take(HEADER_BYTES).all(|byte| *byte == 0) {
            return Ok(None);
        }
        let Some(bytes) = rest.first_chunk::<HEADER_BYTES>() else {
            return Err(self.damaged("the file ends within a header"));
        };
        let (header, crc) = EntryHeader::decode(bytes).map_err(|why| self.damaged(why))?;
        self.fill(header.entry_bytes())?;
        let start = (self.offset - self.window_offset) as usize;
        let Some(entry) = self.window.get(start..start + header.entry_bytes()) else {
            return Err(self.damaged("the file ends within the entry"));
        };
        let place = Place { directory: self.directory, key: self.key, offset: self.offset };
        let key = &entry[HEADER_BYTES..HEADER_BYTES + usize::from(header.key_bytes)];
        if place.header_crc(&entry[..CRC_OFFSET], key) != crc {
            return Err(self.damaged("checksum of the header does not match"));
        }
        Ok(Some(header))
    }

    /// Has `count` bytes from `offset` on in the window, or as many as the file has.
    fn fill(&mut self, count: usize) -> Result<(), Fault> {
        let start = (self.offset - self.window_offset) as usize;
        if self.window.len().saturating_sub(start) >= count {
            return Ok(());
        }
        self.window.resize(SCAN_BYTES, 0);
        self.window_offset = self.offset;
        let read = self
            .file
            .read_blocking(&mut self.window, u64::from(self.offset))
            .map_err(|error| Fault::io("read", &self.path, u64::from(self.offset), &error))?;
        self.window.truncate(read);
        Ok(())
    }

    fn damaged(&self, why: &str) -> Fault {
        Fault::corrupt(format!("entry of {} at offset {}: {why}", self.path.display(), self.offset))
    }
}
