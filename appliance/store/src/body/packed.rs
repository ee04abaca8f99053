//! Packed segments: small bodies that survived the fold, one behind the other, written by the companion.
//! Invariant: an entry counts only at the place, in the segment and in the data directory for which it was written,
//! since its header's checksum covers them; a body may be named by a record only after `sync` returned.
//! Leaves to the fold: counting what lives in a segment, and copying survivors out of nearly empty ones.
//!
//! ```text
//! entry, back to back from offset 0; zeros follow the last one
//! offset  bytes  field (little-endian)
//!      0      4  magic "ZCPK"
//!      4      1  version (1)
//!      5      1  table
//!      6      2  key length, at most 1,900
//!      8      4  body length, at most 32,768
//!     12      4  CRC32C of the body
//!     16      4  CRC32C of: directory id, shard u16, segment u64, entry offset u32, bytes 0 .. 16, key
//!     20      -  key, then body
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::{FileKey, Files, SegmentKind, write_fault};
use crate::disk::DiskFile;
use crate::fault::Fault;
use crate::record::BodyRef;
use crate::types::{DirectoryId, KEY_BYTES_MAX, LOG_BODY_BYTES_MAX, ShardId, TableId};

/// Appends bodies to the packed segments of one shard. Blocks: it belongs to the companion.
pub struct PackedWriter {
    files: Arc<Files>,
    shard: ShardId,
    segment_bytes: u32,
    /// Shared by the writers of the shard.
    next_segment: Arc<AtomicU64>,
    /// Blocks are reserved in steps of this.
    ahead_bytes: u32,
    open: Option<OpenPacked>,
    /// Segments begun since the last mark.
    begun: Vec<u64>,
    /// The last one that was begun in vain. Its file stays, empty, so that the next run does not use the numbers again.
    vain: Option<u64>,
}

/// A place in the writing.
pub struct PackedMark {
    /// The open segment and its end.
    open: Option<(u64, u32)>,
}

struct OpenPacked {
    key: FileKey,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// What waits to be written, and where it goes.
    pending: Vec<u8>,
    written: u32,
    allocated: u32,
    segment_bytes: u32,
    ahead_bytes: u32,
}

impl PackedWriter {
    /// Takes up writing for a shard. Segments that exist are sealed; a new one begins with the first body.
    /// `segment_bytes` is `PACKED_SEGMENT_BYTES` unless configured otherwise. Errors: `Fault::Io` of the listing.
    pub fn open(files: Arc<Files>, shard: ShardId, segment_bytes: u32) -> Result<PackedWriter, Fault> {
        assert!(segment_bytes as usize >= ENTRY_BYTES_MAX, "a segment holds at least one entry");
        let next_segment = Arc::new(AtomicU64::new(files.next_segment(SegmentKind::Packed, shard)?));
        Ok(PackedWriter {
            files,
            shard,
            segment_bytes,
            next_segment,
            ahead_bytes: ALLOCATE_BYTES,
            open: None,
            begun: Vec::new(),
            vain: None,
        })
    }

    /// Another writer for the same shard, with segments of its own that take no more of the disk than what is in them.
    #[must_use]
    pub fn beside(&self, segment_bytes: u32) -> PackedWriter {
        assert!(segment_bytes as usize >= ENTRY_BYTES_MAX, "a segment holds at least one entry");
        PackedWriter {
            files: Arc::clone(&self.files),
            shard: self.shard,
            segment_bytes,
            next_segment: Arc::clone(&self.next_segment),
            ahead_bytes: 1,
            open: None,
            begun: Vec::new(),
            vain: None,
        }
    }

    /// Appends a body and says where it will lie once `sync` has returned. Key and body must be within the limits of
    /// the store. Errors: `Fault::Full`, `Fault::Io`; the segment is given up then, and bodies appended to it since
    /// the last `sync` must not be named.
    pub fn append(&mut self, table: TableId, key: &[u8], body: &[u8]) -> Result<BodyRef, Fault> {
        assert!(key.len() <= KEY_BYTES_MAX && body.len() <= LOG_BODY_BYTES_MAX, "no such record is accepted");
        let result = self.append_inner(table, key, body);
        self.give_up_after(result)
    }

    /// Makes everything appended so far durable. Errors: as `append`.
    pub fn sync(&mut self) -> Result<(), Fault> {
        let result = self.open.as_mut().map_or(Ok(()), OpenPacked::sync);
        self.give_up_after(result)
    }

    /// Where writing stands; taken when everything appended before is synced.
    pub fn mark(&mut self) -> PackedMark {
        self.begun.clear();
        PackedMark { open: self.open.as_ref().map(|open| (open.key.segment, open.end())) }
    }

    /// Gives back the room of everything appended since `mark`, which nothing names and nothing will: on a full disk it is
    /// what the next try needs. Where that fails the room stays taken until the next start. The next body begins a new segment.
    /// `mark` is the last one.
    pub fn undo(&mut self, mark: &PackedMark) {
        self.open = None;
        if let Some((segment, keep_bytes)) = mark.open {
            self.cut(segment, keep_bytes);
        }
        let vain: Vec<u64> = self.vain.take().into_iter().chain(std::mem::take(&mut self.begun)).collect();
        for segment in vain.into_iter().rev() {
            if !self.cut(segment, 0) {
                continue;
            }
            if self.vain.is_none() {
                self.vain = Some(segment);
                continue;
            }
            // A fold that finds no room is tried every second, for as long as there is none: the files would heap up.
            let key = self.key(segment);
            self.files.forget(key);
            // One that cannot be removed is empty, and goes with the next start.
            let _removed: std::io::Result<()> = self.files.disk().remove(&self.files.path(key));
        }
    }

    /// Whether there is such a file, which is no longer than that now.
    fn cut(&self, segment: u64, keep_bytes: u32) -> bool {
        let file = self.files.open_to_write(self.key(segment), false);
        file.is_ok_and(|file| file.truncate(u64::from(keep_bytes)).is_ok())
    }

    fn key(&self, segment: u64) -> FileKey {
        FileKey { kind: SegmentKind::Packed, shard: self.shard, segment }
    }

    /// The number of the next segment: before anything was appended, the first one of this run.
    #[must_use]
    pub fn next_segment(&self) -> u64 {
        self.next_segment.load(Ordering::Relaxed)
    }

    /// The segment that is being written, which must not be removed.
    #[must_use]
    pub fn open_segment(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.key.segment)
    }

    fn append_inner(&mut self, table: TableId, key: &[u8], body: &[u8]) -> Result<BodyRef, Fault> {
        let entry_bytes = (HEADER_BYTES + key.len() + body.len()) as u32;
        if self.open.as_ref().is_some_and(|open| open.end() + entry_bytes > self.segment_bytes)
            && let Some(full) = self.open.take()
        {
            full.seal()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                // One thread writes; the number is shared for the sake of the other writer alone.
                let segment = self.next_segment.fetch_add(1, Ordering::Relaxed);
                self.begun.push(segment);
                let key = self.key(segment);
                self.open.insert(OpenPacked::create(&self.files, key, self.segment_bytes, self.ahead_bytes)?)
            }
        };
        let offset = open.end();
        let crc = hash::crc32c(body);
        let header =
            EntryHeader { table, key_bytes: key.len() as u16, body_bytes: body.len() as u32, body_crc: crc };
        let place = Place { directory: self.files.directory_id(), key: open.key, offset };
        header.encode(&place, key, &mut open.pending);
        open.pending.extend_from_slice(key);
        open.pending.extend_from_slice(body);
        if open.pending.len() >= PENDING_BYTES_MAX {
            open.write_pending()?;
        }
        let (segment, length) = (open.key.segment, body.len() as u32);
        let offset = offset + (HEADER_BYTES + key.len()) as u32;
        Ok(BodyRef::Packed { shard: self.shard, segment, offset, length, crc })
    }

    fn give_up_after<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        if result.is_err() {
            // What the disk holds of it is not known any more. The next body begins in a new segment.
            self.open = None;
        }
        result
    }
}

impl OpenPacked {
    fn create(
        files: &Files,
        key: FileKey,
        segment_bytes: u32,
        ahead_bytes: u32,
    ) -> Result<OpenPacked, Fault> {
        files.make_segment_dir(key.kind, key.shard)?;
        let path = files.path(key);
        let file = files.open_to_write(key, true)?;
        files.sync_segment_dir(key.kind, key.shard)?;
        files.insert(key, &file);
        Ok(OpenPacked {
            key,
            path,
            file,
            pending: Vec::new(),
            written: 0,
            allocated: 0,
            segment_bytes,
            ahead_bytes,
        })
    }

    fn end(&self) -> u32 {
        self.written + self.pending.len() as u32
    }

    fn write_pending(&mut self) -> Result<(), Fault> {
        let (offset, end) = (self.written, self.end());
        if end > self.allocated {
            // In steps, so that a crash leaves little reserved for nothing, yet blocks lie together.
            let target = end.next_multiple_of(self.ahead_bytes).min(self.segment_bytes).max(end);
            let length = u64::from(target - self.allocated);
            self.file
                .allocate(u64::from(self.allocated), length)
                .map_err(|error| write_fault("fallocate", &self.path, u64::from(self.allocated), &error))?;
            self.allocated = target;
        }
        self.file
            .write_blocking(&self.pending, u64::from(offset))
            .map_err(|error| write_fault("write", &self.path, u64::from(offset), &error))?;
        self.written = end;
        self.pending.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        if !self.pending.is_empty() {
            self.write_pending()?;
        }
        self.file.sync_blocking().map_err(|error| write_fault("fdatasync", &self.path, 0, &error))
    }

    /// Writes, gives the reserved rest back, and syncs.
    fn seal(mut self) -> Result<(), Fault> {
        if !self.pending.is_empty() {
            self.write_pending()?;
        }
        let written = u64::from(self.written);
        self.file.truncate(written).map_err(|error| write_fault("truncate", &self.path, written, &error))?;
        self.sync()
    }
}

impl Drop for OpenPacked {
    fn drop(&mut self) {
        // Gives back what was reserved ahead. If that fails the room stays taken until the segment is removed, and
        // nothing else: what was synced lies before it.
        drop(self.file.truncate(u64::from(self.written)));
    }
}

/// Gives back what a run that was killed had reserved behind the last entry of a segment. Blocks. Errors: `Fault::Io`.
pub fn trim_after_kill(files: &Files, shard: ShardId, segment: u64) -> Result<(), Fault> {
    let key = FileKey { kind: SegmentKind::Packed, shard, segment };
    let path = files.path(key);
    let file = files.open_to_write(key, false)?;
    let length = file.length().map_err(|error| Fault::io("stat", &path, 0, &error))?;
    let mut window = vec![0; SCAN_BYTES];
    let (mut end, mut kept) = (length, 0);
    while end > 0 && kept == 0 {
        let start = end.saturating_sub(SCAN_BYTES as u64);
        let window = &mut window[..(end - start) as usize];
        let read =
            file.read_blocking(window, start).map_err(|error| Fault::io("read", &path, start, &error))?;
        if let Some(last) = window[..read].iter().rposition(|byte| *byte != 0) {
            // An entry may end in zeros, but it does not begin with them.
            kept = start + (last + ENTRY_BYTES_MAX) as u64;
        }
        end = start;
    }
    if kept < length {
        file.truncate(kept).map_err(|error| Fault::io("truncate", &path, kept, &error))?;
    }
    Ok(())
}

struct Place {
    directory: DirectoryId,
    key: FileKey,
    offset: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct EntryHeader {
    table: TableId,
    key_bytes: u16,
    body_bytes: u32,
    body_crc: u32,
}

impl EntryHeader {
    fn encode(&self, place: &Place, key: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, self.table.0]);
        out.extend_from_slice(&self.key_bytes.to_le_bytes());
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        let crc = place.header_crc(&out[start..], key);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// The fields of a header whose lengths are within limits; its checksum is not looked at yet, as the key follows.
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<(EntryHeader, u32), &'static str> {
        if !bytes.starts_with(MAGIC) {
            return Err("no entry begins here");
        }
        if bytes[4] != VERSION {
            return Err("version of the entry is not known");
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let header = EntryHeader {
            table: TableId(bytes[5]),
            key_bytes: u16::from_le_bytes([bytes[6], bytes[7]]),
            body_bytes: u32_at(8),
            body_crc: u32_at(12),
        };
        if usize::from(header.key_bytes) > KEY_BYTES_MAX || header.body_bytes as usize > LOG_BODY_BYTES_MAX {
            return Err("a length in the entry's header is out of range");
        }
        Ok((header, u32_at(16)))
    }

    fn entry_bytes(&self) -> usize {
        HEADER_BYTES + usize::from(self.key_bytes) + self.body_bytes as usize
    }
}

impl Place {
    fn header_crc(&self, fields: &[u8], key: &[u8]) -> u32 {
        let mut crc = hash::Crc32c::new();
        crc.update(&self.directory.0);
        crc.update(&self.key.shard.0.to_le_bytes());
        crc.update(&self.key.segment.to_le_bytes());
        crc.update(&self.offset.to_le_bytes());
        crc.update(fields);
        crc.update(key);
        crc.finish()
    }
}

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

/// What an entry takes beside its body.
#[must_use]
pub fn head_bytes(key: &[u8]) -> u64 {
    (HEADER_BYTES + key.len()) as u64
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
        let header = match self.header() {
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
        let body_offset = self.offset + HEADER_BYTES as u32 + u32::from(header.key_bytes);
        self.offset += header.entry_bytes() as u32;
        let key_start = start + HEADER_BYTES;
        let body_start = key_start + usize::from(header.key_bytes);
        let bytes = &self.window[body_start..body_start + header.body_bytes as usize];
        if hash::crc32c(bytes) != header.body_crc {
            let path = self.path.display();
            return Some(Err(Fault::corrupt(format!(
                "body in {path} at offset {body_offset}: checksum does not match"
            ))));
        }
        let body = BodyRef::Packed {
            shard: self.key.shard,
            segment: self.key.segment,
            offset: body_offset,
            length: header.body_bytes,
            crc: header.body_crc,
        };
        Some(Ok(PackedEntry { table: header.table, key: &self.window[key_start..body_start], body, bytes }))
    }

    /// Where the next entry begins; after the end, where the entries end.
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.offset
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

/// For fuzzing: any bytes are refused, or their fields are within limits and encode to the same bytes.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return };
    let Ok((header, crc)) = EntryHeader::decode(head) else { return };
    let key = &rest[..rest.len().min(usize::from(header.key_bytes))];
    let segment = FileKey { kind: SegmentKind::Packed, shard: ShardId(0), segment: 1 };
    let place = Place { directory: DirectoryId([0; 16]), key: segment, offset: 0 };
    let mut again = Vec::new();
    header.encode(&place, key, &mut again);
    assert_eq!(again[..CRC_OFFSET], head[..CRC_OFFSET]);
    assert_eq!(again[CRC_OFFSET..] == head[CRC_OFFSET..], place.header_crc(&head[..CRC_OFFSET], key) == crc);
    assert!(header.entry_bytes() <= ENTRY_BYTES_MAX);
}

/// For fuzzing: gives every entry that has the form of one the checksums that it should have, so that the walk believes
/// it; the body of one whose table is odd keeps the checksum that it came with. Gives where each entry's key, its body
/// and the next entry begin.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn mend(bytes: &mut [u8], directory: DirectoryId, key: FileKey) -> Vec<[usize; 3]> {
    let (mut entries, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes[at..].first_chunk::<HEADER_BYTES>() {
        let Ok((header, _)) = EntryHeader::decode(head) else { break };
        let key_start = at + HEADER_BYTES;
        let body_start = key_start + usize::from(header.key_bytes);
        let end = at + header.entry_bytes();
        if end > bytes.len() {
            break;
        }
        if header.table.0.is_multiple_of(2) {
            let crc = hash::crc32c(&bytes[body_start..end]);
            bytes[at + 12..at + CRC_OFFSET].copy_from_slice(&crc.to_le_bytes());
        }
        let place = Place { directory, key, offset: at as u32 };
        let crc = place.header_crc(&bytes[at..at + CRC_OFFSET], &bytes[key_start..body_start]);
        bytes[at + CRC_OFFSET..key_start].copy_from_slice(&crc.to_le_bytes());
        entries.push([key_start, body_start, end]);
        at = end;
    }
    entries
}

/// Bytes of a packed segment, unless configured otherwise.
pub const PACKED_SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
const MAGIC: &[u8] = b"ZCPK";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 20;
const CRC_OFFSET: usize = 16;
const ENTRY_BYTES_MAX: usize = HEADER_BYTES + KEY_BYTES_MAX + LOG_BODY_BYTES_MAX;
/// Appended bytes gather up to here before they are written.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// Blocks are reserved in steps of this, but for passing tables.
const ALLOCATE_BYTES: u32 = 8 * 1024 * 1024;
/// The window of a walk; more than the longest entry.
const SCAN_BYTES: usize = 1024 * 1024;

const _: () = assert!(SCAN_BYTES > ENTRY_BYTES_MAX);
