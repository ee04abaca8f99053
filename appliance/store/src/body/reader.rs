//! Reading bodies: a stream of verified pieces, wherever the body lies.
//! Invariant: no byte is handed out before the checksum that covers it was compared. What a stream reads is pinned
//! from the call of `read`, in the same turn, until the stream is dropped. A stream holds at most
//! `PIECES_AHEAD` pieces of `PIECE_BYTES`, however slow its consumer is.
//! Leaves to the shard: reading from the log (`LogReader`), and finding the `BodyRef`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ring::Buffer;

use super::cache::{ChunkTable, HeaderCache};
use super::companion::{Companion, run_blocking};
use super::extent::{ExtentHeader, verify_chunk};
use super::files::{FileKey, Files, SegmentKind};
use super::pins::{CorePins, Pin, PinKey};
use super::segments::extents_key;
use crate::disk::{DiskFile, LocalFuture};
use crate::fault::Fault;
use crate::record::BodyRef;
use crate::types::{BLOCK_BYTES, CHUNK_BYTES, Extent, LOG_BODY_BYTES_MAX, LogPosition, ShardId};

/// Reads bodies that are still in a log.
pub trait LogReader {
    /// The `length` bytes at `position` in the log of `shard`, not verified.
    fn read(
        &self,
        shard: ShardId,
        position: LogPosition,
        length: u32,
    ) -> LocalFuture<'static, Result<Bytes, Fault>>;
}

/// The reading side of one core.
#[derive(Clone)]
pub struct BodyReader {
    core: Rc<Core>,
}

struct Core {
    files: Arc<Files>,
    pins: CorePins,
    companion: Arc<dyn Companion>,
    log: Rc<dyn LogReader>,
    headers: RefCell<HeaderCache>,
}

impl BodyReader {
    /// A reader for this core.
    #[must_use]
    pub fn new(
        files: Arc<Files>,
        pins: CorePins,
        companion: Arc<dyn Companion>,
        log: Rc<dyn LogReader>,
    ) -> BodyReader {
        let headers = RefCell::new(HeaderCache::new(HEADER_CACHE_BYTES));
        BodyReader { core: Rc::new(Core { files, pins, companion, log, headers }) }
    }

    /// Begins to read bytes `range` of a body whose record `owner` owns; the part of the range beyond the end of the
    /// body counts as not asked for. Call it in the turn in which the record was read: it pins what it will read.
    #[must_use]
    pub fn read(&self, owner: ShardId, body: &BodyRef, range: Range<u64>) -> BodyStream {
        let length = body.length();
        let range = range.start.min(length)..range.end.min(length);
        let mut pins = Pinned::Nothing;
        let source = if range.is_empty() {
            Source::Done
        } else {
            match body {
                BodyRef::Inline(bytes) => {
                    Source::Inline(Bytes::copy_from_slice(&bytes[range.start as usize..range.end as usize]))
                }
                BodyRef::Log { position, length, crc } => {
                    pins = Pinned::One(self.core.pins.pin(PinKey::log(owner, position.segment)));
                    let at = Whole::Log { shard: owner, position: *position };
                    Source::Whole { at, length: *length, crc: *crc, range }
                }
                BodyRef::Packed { shard, segment, offset, length, crc } => {
                    pins = Pinned::One(self.core.pins.pin(PinKey::packed(*shard, *segment)));
                    let key = FileKey { kind: SegmentKind::Packed, shard: *shard, segment: *segment };
                    let at = Whole::Packed { key, offset: *offset };
                    Source::Whole { at, length: *length, crc: *crc, range }
                }
                BodyRef::Extents(extents) => {
                    let parts = parts_of(extents, range);
                    let pin = |part: &Part| self.core.pins.pin(PinKey::extent(part.extent.id));
                    pins = Pinned::Many(parts.iter().map(pin).collect());
                    Source::Extents(Box::new(ExtentSource::new(parts)))
                }
            }
        };
        BodyStream { core: Rc::clone(&self.core), source, _pins: pins }
    }

    /// The whole body in one piece, for bodies of at most 32 KiB. Errors: as `BodyStream::next`.
    pub async fn read_small(&self, owner: ShardId, body: &BodyRef) -> Result<Bytes, Fault> {
        if body.length() > LOG_BODY_BYTES_MAX as u64 {
            return Err(Fault::corrupt(format!("a small body cannot have {} bytes", body.length())));
        }
        match self.read(owner, body, 0..u64::MAX).next().await {
            Some(piece) => piece,
            None => Ok(Bytes::new()),
        }
    }
}

/// The rest of a range of a body. `!Send`: it stays on its core.
pub struct BodyStream {
    core: Rc<Core>,
    source: Source,
    /// Dropped last: nothing is read any more when the pins go.
    _pins: Pinned,
}

enum Pinned {
    Nothing,
    // Held for their drop only.
    One(#[expect(dead_code, reason = "a pin works by being there")] Pin),
    Many(#[expect(dead_code, reason = "a pin works by being there")] Vec<Pin>),
}

enum Source {
    Done,
    Inline(Bytes),
    /// Small: read and verified as a whole.
    Whole {
        at: Whole,
        length: u32,
        crc: u32,
        range: Range<u64>,
    },
    Extents(Box<ExtentSource>),
}

enum Whole {
    Log { shard: ShardId, position: LogPosition },
    Packed { key: FileKey, offset: u32 },
}

impl BodyStream {
    /// The next piece; `None` at the end of the range and after an error. Errors: `Fault::Corrupt` where bytes do not
    /// match their checksum, `Fault::Io`. A call that was dropped before it ended may be made again.
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        let piece = match &mut self.source {
            Source::Done => return None,
            Source::Inline(bytes) => Ok(std::mem::take(bytes)),
            Source::Whole { at, length, crc, range } => {
                self.core.read_whole(at, *length, *crc).await.map(|bytes| {
                    // A small body's range fits into usize as its length does.
                    bytes.slice(range.start as usize..range.end as usize)
                })
            }
            Source::Extents(source) => {
                let piece = source.next(&self.core).await;
                if !matches!(piece, Some(Ok(_))) || source.is_done() {
                    self.source = Source::Done;
                }
                return piece;
            }
        };
        self.source = Source::Done;
        Some(piece)
    }
}

impl Core {
    async fn read_whole(&self, at: &Whole, length: u32, crc: u32) -> Result<Bytes, Fault> {
        if length as usize > LOG_BODY_BYTES_MAX {
            return Err(Fault::corrupt(format!("a small body cannot have {length} bytes")));
        }
        let bytes = match at {
            Whole::Log { shard, position } => self.log.read(*shard, *position, length).await?,
            Whole::Packed { key, offset } => {
                let file = match self.files.cached(*key) {
                    Some(file) => file,
                    None => open(Arc::clone(&self.files), &*self.companion, *key).await?,
                };
                let (offset, length) = (u64::from(*offset), length as usize);
                Bytes::from_owner(read_exactly(&*file, &self.files, *key, offset, length).await?)
            }
        };
        if bytes.len() == length as usize && hash::crc32c(&bytes) == crc {
            return Ok(bytes);
        }
        let (key, offset) = match at {
            Whole::Log { shard, position } => (
                FileKey { kind: SegmentKind::Log, shard: *shard, segment: position.segment },
                position.offset,
            ),
            Whole::Packed { key, offset } => (*key, *offset),
        };
        let path = self.files.path(key);
        Err(Fault::corrupt(format!(
            "body of {length} bytes in {} at offset {offset}: checksum does not match",
            path.display()
        )))
    }
}

/// The part of an extent that a stream delivers.
struct Part {
    extent: Extent,
    /// First byte, counted from the start of the extent's data.
    from: u32,
    /// One past the last byte.
    to: u32,
}

/// The extents that hold `range`, which is not empty and lies within the body.
fn parts_of(extents: &[Extent], range: Range<u64>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut start = 0_u64;
    for extent in extents {
        let end = start + u64::from(extent.data_bytes);
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            // Both are offsets within one extent now, and its length is a u32.
            parts.push(Part { extent: *extent, from: (from - start) as u32, to: (to - start) as u32 });
        }
        start = end;
    }
    parts
}

/// Reads extents in order, a few pieces ahead. The reads run at the same time; verification is in order, when a piece
/// is handed out, so that the header of an extent is always known by then.
struct ExtentSource {
    parts: Vec<Part>,
    /// Where planning is: the part, and the next byte of it to be read; `None` before its header was planned.
    part_index: usize,
    next_byte: Option<u32>,
    window: VecDeque<Piece>,
    /// The checksums of the part whose pieces are being handed out.
    table: Option<Rc<ChunkTable>>,
}

struct Piece {
    part_index: usize,
    header: HeaderPlace,
    /// Data bytes of the extent that the piece holds, whole chunks; empty if it is only a header.
    data: Range<u32>,
    read: Reading,
}

enum HeaderPlace {
    /// An earlier piece of the part had it.
    Earlier,
    /// It was in the cache.
    Cached(Rc<ChunkTable>),
    /// It is the first block of what this piece reads.
    Here,
}

enum Reading {
    Running(LocalFuture<'static, Result<Buffer, Fault>>),
    Done(Result<Buffer, Fault>),
    Taken,
}

impl ExtentSource {
    fn new(parts: Vec<Part>) -> ExtentSource {
        ExtentSource { parts, part_index: 0, next_byte: None, window: VecDeque::new(), table: None }
    }

    fn is_done(&self) -> bool {
        self.window.is_empty() && self.part_index == self.parts.len()
    }

    async fn next(&mut self, core: &Rc<Core>) -> Option<Result<Bytes, Fault>> {
        loop {
            let buffer = poll_fn(|context| self.poll_front(core, context)).await?;
            // No await from here on: a dropped call loses nothing.
            let piece = self.window.pop_front()?;
            let delivered = buffer.and_then(|buffer| self.deliver(core, &piece, buffer));
            match delivered {
                Ok(Some(bytes)) => return Some(Ok(bytes)),
                Ok(None) => {}
                Err(fault) => return Some(Err(fault)),
            }
        }
    }

    /// Keeps the window full and waits for its front. `None` when nothing is left.
    fn poll_front(
        &mut self,
        core: &Rc<Core>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Buffer, Fault>>> {
        while self.window.len() < PIECES_AHEAD {
            let Some(mut piece) = self.plan(core) else { break };
            // The first poll starts the read.
            piece.read.poll(context);
            self.window.push_back(piece);
        }
        let Some(front) = self.window.front_mut() else { return Poll::Ready(None) };
        front.read.poll(context);
        match std::mem::replace(&mut front.read, Reading::Taken) {
            Reading::Done(result) => Poll::Ready(Some(result)),
            running => {
                front.read = running;
                Poll::Pending
            }
        }
    }

    /// The next piece to read, not started.
    fn plan(&mut self, core: &Rc<Core>) -> Option<Piece> {
        let part_index = self.part_index;
        let part = self.parts.get(part_index)?;
        let first_chunk = part.from / CHUNK * CHUNK;
        let mut header = HeaderPlace::Earlier;
        let begin = match self.next_byte {
            Some(begin) => begin,
            None => {
                header = match core.headers.borrow_mut().get(part.extent.id) {
                    Some(table) => HeaderPlace::Cached(table),
                    None => HeaderPlace::Here,
                };
                first_chunk
            }
        };
        // A header in front of the wanted chunks comes with them in one read, else in a read of its own.
        let alone = matches!(header, HeaderPlace::Here) && begin > 0;
        let end = if alone {
            begin
        } else {
            let last = part.to.next_multiple_of(CHUNK).min(part.extent.data_bytes);
            last.min(begin.saturating_add(PIECE_BYTES))
        };
        self.next_byte = Some(end);
        if !alone && end >= part.to {
            self.part_index += 1;
            self.next_byte = None;
        }
        let read = core.start_read(part.extent, &header, begin..end);
        Some(Piece { part_index, header, data: begin..end, read: Reading::Running(read) })
    }

    /// Verifies what a piece brought and cuts it to the range; `None` for a mere header.
    fn deliver(&mut self, core: &Core, piece: &Piece, buffer: Buffer) -> Result<Option<Bytes>, Fault> {
        let part = &self.parts[piece.part_index];
        let key = extents_key(part.extent.id.shard, part.extent.id.segment);
        let mut front = 0;
        match &piece.header {
            HeaderPlace::Earlier => {}
            HeaderPlace::Cached(table) => self.table = Some(Rc::clone(table)),
            HeaderPlace::Here => {
                let table = Rc::new(core.parse_header(part.extent, &buffer[..BLOCK_BYTES])?);
                core.headers.borrow_mut().insert(part.extent.id, &table);
                self.table = Some(table);
                front = BLOCK_BYTES;
            }
        }
        let table = self.table.as_ref().expect("the first piece of a part sets it");
        if table.data_bytes != part.extent.data_bytes {
            return Err(core.bad_header(part.extent, "its length is not the one of the record"));
        }
        if piece.data.is_empty() {
            return Ok(None);
        }
        let data = &buffer[front..front + piece.data.len()];
        let first_chunk = piece.data.start as usize / CHUNK_BYTES;
        for (index, chunk) in data.chunks(CHUNK_BYTES).enumerate() {
            let crc = table.crcs[first_chunk + index];
            if hash::crc32c(chunk) != crc {
                let data_offset = u64::from(part.extent.id.offset) + BLOCK_BYTES as u64;
                let offset = data_offset + u64::from(piece.data.start) + (index * CHUNK_BYTES) as u64;
                return verify_chunk(chunk, crc, &core.files.path(key), offset).map(|()| None);
            }
        }
        let from = part.from.max(piece.data.start) - piece.data.start;
        let to = part.to.min(piece.data.end) - piece.data.start;
        Ok(Some(Bytes::from_owner(buffer).slice(front + from as usize..front + to as usize)))
    }
}

impl Reading {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Reading::Running(future) = self
            && let Poll::Ready(result) = future.as_mut().poll(context)
        {
            *self = Reading::Done(result);
        }
    }
}

impl Core {
    /// A read of `data` of an extent, with its header block in front or not.
    fn start_read(
        self: &Rc<Self>,
        extent: Extent,
        header: &HeaderPlace,
        data: Range<u32>,
    ) -> LocalFuture<'static, Result<Buffer, Fault>> {
        let core = Rc::clone(self);
        let here = matches!(header, HeaderPlace::Here);
        let data_offset = u64::from(extent.id.offset) + BLOCK_BYTES as u64;
        let offset =
            if here { data_offset - BLOCK_BYTES as u64 } else { data_offset + u64::from(data.start) };
        let front = if here { BLOCK_BYTES } else { 0 };
        let length = front + data.len().next_multiple_of(BLOCK_BYTES);
        let key = extents_key(extent.id.shard, extent.id.segment);
        let file = self.files.cached(key);
        Box::pin(async move {
            let file = match file {
                Some(file) => file,
                None => open(Arc::clone(&core.files), &*core.companion, key).await?,
            };
            read_exactly(&*file, &core.files, key, offset, length).await
        })
    }

    fn parse_header(&self, extent: Extent, block: &[u8]) -> Result<ChunkTable, Fault> {
        let header = ExtentHeader::decode_at(block, self.files.directory_id(), extent.id)
            .map_err(|why| self.bad_header(extent, why))?;
        Ok(ChunkTable { data_bytes: header.data_bytes, crcs: header.chunk_crcs })
    }

    fn bad_header(&self, extent: Extent, why: &str) -> Fault {
        let path = self.files.path(extents_key(extent.id.shard, extent.id.segment));
        Fault::corrupt(format!("extent of {} at offset {}: {why}", path.display(), extent.id.offset))
    }
}

async fn open(
    files: Arc<Files>,
    companion: &dyn Companion,
    key: FileKey,
) -> Result<Arc<dyn DiskFile>, Fault> {
    run_blocking(companion, move || files.open_blocking(key)).await?
}

/// Reads `length` bytes. Errors: `Fault::Corrupt` when the file ends before them.
async fn read_exactly(
    file: &dyn DiskFile,
    files: &Files,
    key: FileKey,
    offset: u64,
    length: usize,
) -> Result<Buffer, Fault> {
    let mut buffer = Buffer::with_capacity(length);
    for _ in 0..READ_ATTEMPTS {
        let (result, back) = file.read(buffer, offset, length).await;
        match result {
            Ok(count) if count == length => return Ok(back),
            // A kernel may stop early without a reason that lasts; a file that ends early stops early again.
            Ok(_) => buffer = back,
            Err(error) => return Err(Fault::io("read", &files.path(key), offset, &error)),
        }
    }
    let path = files.path(key);
    Err(Fault::corrupt(format!("{} ends before the {length} bytes at offset {offset}", path.display())))
}

const CHUNK: u32 = CHUNK_BYTES as u32;
/// Data bytes of one read, and of one piece.
pub const PIECE_BYTES: u32 = 256 * 1024;
/// Reads of one stream in flight.
pub const PIECES_AHEAD: usize = 4;
/// Memory for checksums of extents, per core: about 6,000 extents of 100 KiB or 480 of 32 MiB.
const HEADER_CACHE_BYTES: usize = 1024 * 1024;
const READ_ATTEMPTS: usize = 2;

const _: () = assert!(PIECE_BYTES.is_multiple_of(CHUNK));
