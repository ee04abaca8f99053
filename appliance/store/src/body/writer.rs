//! Writing bodies: small ones stay in memory to travel in a log batch, large ones go to extents while they arrive.
//! Invariant: a large body that `seal` returned is on stable storage, header blocks included; a body that nobody
//! adopts becomes an orphan. At most two loads of 1 MiB belong to a writer: one fills while the other is written.
//! Leaves to the shard: the record that adopts the body.

use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use ring::{Buffer, Task};

use super::allocate::{Allocator, CoreBodiesParts, Grant};
use super::extent::{ExtentHeader, SPAN_BYTES_MAX, span_bytes};
use super::files::write_fault;
use super::lease::{Lease, Run};
use super::load::Load;
use super::sealed::SealedBody;
use super::segments::OpenSegment;
use crate::fault::Fault;
use crate::types::{
    BLOCK_BYTES, CHUNK_BYTES, EXTENT_DATA_BYTES_MAX, Extent, ExtentId, KEY_BYTES_MAX, LOG_BODY_BYTES_MAX,
    ShardId, TableId,
};

/// The record for which a body is written; the header blocks name it, for the scrubber and for rebuilding an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The shard that owns the record.
    pub shard: ShardId,
    /// The record's table.
    pub table: TableId,
    /// The record's key, at most 1,900 bytes.
    pub key: Vec<u8>,
}

/// The bodies that one core writes, into one shard's directory.
#[derive(Clone)]
pub struct CoreBodies {
    core: Rc<Allocator>,
}

impl CoreBodies {
    /// Takes up writing for a shard. Every segment that exists is sealed: nothing is written to it again. Blocks for
    /// one directory listing, so it belongs to the start. Makes no file before the first large body.
    pub fn open(parts: CoreBodiesParts) -> Result<CoreBodies, Fault> {
        Ok(CoreBodies { core: Rc::new(Allocator::open(parts)?) })
    }

    /// Begins a body. `hint` is its length if the caller knows it (a declared Content-Length); a body that turns out
    /// longer or shorter is still right, it only takes more room or more writes.
    #[must_use]
    pub fn writer(&self, hint: Option<u64>, owner: Owner) -> BodyWriter {
        assert!(owner.key.len() <= KEY_BYTES_MAX, "key is longer than a record's key may be");
        let nonce = self.core.next_nonce();
        let lease = Rc::new(Lease::new(self.core.parts.orphans.clone()));
        BodyWriter {
            core: Rc::clone(&self.core),
            owner,
            nonce,
            hint,
            length: 0,
            state: State::Whole,
            small: Vec::new(),
            large: None,
            lease,
        }
    }
}

/// Takes a body in. Dropped before `seal`, it leaves nothing behind but work for the reclaimer.
pub struct BodyWriter {
    core: Rc<Allocator>,
    owner: Owner,
    nonce: u64,
    hint: Option<u64>,
    length: u64,
    state: State,
    /// The body as long as it may turn out small.
    small: Vec<u8>,
    large: Option<Large>,
    lease: Rc<Lease>,
}

enum State {
    Whole,
    /// A call is under way, or was dropped half-way.
    Busy,
    Failed(Fault),
}

impl BodyWriter {
    /// Takes the next bytes. Waits while the disk is behind. Errors: `Fault::Full`, `Fault::Io`; after an error, or
    /// after a call that was dropped before it ended, the body cannot be completed and every call fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.begin()?;
        let result = self.write_inner(bytes, None).await;
        self.end(result)
    }

    /// `write` of bytes that may be kept: those that lie in memory as they will lie on disk are written from where they
    /// are. Until that is done they count as the writer's memory. Errors: as `write`.
    pub async fn write_shared(&mut self, bytes: &Bytes) -> Result<(), Fault> {
        self.begin()?;
        let result = self.write_inner(bytes, Some(bytes)).await;
        self.end(result)
    }

    /// Ends the body. A large one is on stable storage when this returns. Errors: as `write`.
    pub async fn seal(mut self) -> Result<SealedBody, Fault> {
        self.begin()?;
        let Some(mut large) = self.large.take() else {
            return Ok(SealedBody::from_small(mem::take(&mut self.small)));
        };
        if self.length <= LOG_BODY_BYTES_MAX as u64 {
            // Announced longer than it is. Nothing was written yet, since less than a load came.
            return Ok(SealedBody::from_small(mem::take(&mut large.load).into_small()));
        }
        self.flush(&mut large, true).await?;
        large.finish_write().await?;
        if let Some(segment) = large.unsynced.take() {
            segment.sync().await?;
        }
        self.lease.disarm();
        let orphans = self.core.parts.orphans.clone();
        Ok(SealedBody::large(mem::take(&mut large.extents), orphans))
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    fn begin(&mut self) -> Result<(), Fault> {
        match mem::replace(&mut self.state, State::Busy) {
            State::Whole => Ok(()),
            State::Busy => Err(Fault::Unknown("an earlier write of this body was given up half-way".into())),
            State::Failed(fault) => {
                self.state = State::Failed(fault.clone());
                Err(fault)
            }
        }
    }

    fn end(&mut self, result: Result<(), Fault>) -> Result<(), Fault> {
        self.state = match &result {
            Ok(()) => State::Whole,
            Err(fault) => State::Failed(fault.clone()),
        };
        result
    }

    async fn write_inner(&mut self, bytes: &[u8], shared: Option<&Bytes>) -> Result<(), Fault> {
        let mut large = match self.large.take() {
            Some(large) => large,
            None if self.stays_small(bytes.len()) => {
                if self.small.capacity() == 0 {
                    self.small.reserve_exact(self.small_capacity(bytes.len()));
                }
                self.small.extend_from_slice(bytes);
                self.length += bytes.len() as u64;
                return Ok(());
            }
            None => {
                let mut large = Large::new();
                let small = mem::take(&mut self.small);
                self.length = 0;
                self.fill(&mut large, &small, None).await?;
                large
            }
        };
        self.fill(&mut large, bytes, shared).await?;
        self.large = Some(large);
        Ok(())
    }

    /// Whether the body, `more` bytes longer, may still travel in a log batch.
    fn stays_small(&self, more: usize) -> bool {
        let announced = self.hint.unwrap_or(0) <= LOG_BODY_BYTES_MAX as u64;
        announced && self.small.len() + more <= LOG_BODY_BYTES_MAX
    }

    fn small_capacity(&self, first: usize) -> usize {
        let hint = self.hint.and_then(|hint| usize::try_from(hint).ok()).unwrap_or(first);
        hint.clamp(first, LOG_BODY_BYTES_MAX)
    }

    /// `shared` holds `bytes`, if they may be kept instead of copied.
    async fn fill(
        &mut self,
        large: &mut Large,
        mut bytes: &[u8],
        shared: Option<&Bytes>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            // A full load leaves only when more follows: so a body of one load is one write, its header included.
            if large.room() == 0 {
                self.flush(large, false).await?;
            }
            let expected = self.hint.map(|hint| hint.saturating_sub(self.length));
            let room = bytes.len().min(large.room());
            let taken = large.load.take(&bytes[..room], shared, expected);
            self.length += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Sends the load on its way; `last` when the body ends with it. May have nothing to send.
    async fn flush(&mut self, large: &mut Large, last: bool) -> Result<(), Fault> {
        let data = large.load.bytes();
        if data > 0 && large.extent.is_none() {
            let want = self.wanted(large.extents.len(), data, last);
            let grant = self.core.allocate(want).await?;
            self.lease.add(Run {
                shard: grant.segment.key().shard,
                segment: grant.segment.key().segment,
                offset: grant.offset,
                length: span_bytes(grant.data_bytes),
            });
            large.enter(grant).await?;
        }
        let Some(mut extent) = large.extent.take() else { return Ok(()) };
        let (mut parts, crcs) = mem::take(&mut large.load).finish();
        let write_offset = extent.next_offset();
        extent.chunk_crcs.extend(crcs);
        extent.written += data as u32;
        let complete = last || extent.written == extent.data_bytes;
        let mut header = complete.then(|| {
            let header = self.header(&mut extent, large.extents.len());
            large.extents.push(header.extent());
            header
        });
        if write_offset == extent.offset {
            // The first load has the header's place in front of it.
            let mut block = empty_block();
            if let Some(header) = header.take() {
                header.encode(&mut block);
            }
            parts.insert(0, Bytes::from_owner(block));
        }
        let segment = Rc::clone(&extent.segment);
        if data > 0 {
            large.start_write(&self.core, &self.lease, &segment, parts, write_offset).await?;
        }
        if let Some(header) = header {
            let mut block = empty_block();
            header.encode(&mut block);
            let parts = vec![Bytes::from_owner(block)];
            large.start_write(&self.core, &self.lease, &segment, parts, extent.offset).await?;
        }
        if !complete {
            large.extent = Some(extent);
        }
        Ok(())
    }

    /// Data bytes to ask for in the next extent, `buffered` of which are here already.
    fn wanted(&self, extent_count: usize, buffered: usize, last: bool) -> u32 {
        if last {
            return buffered as u32;
        }
        let buffered = buffered as u64;
        let before = self.length - buffered;
        let wanted = match self.hint {
            Some(hint) if hint > self.length => hint - before,
            _ => GROWTH_BYTES[extent_count.min(GROWTH_BYTES.len() - 1)],
        };
        wanted.clamp(buffered, u64::from(EXTENT_DATA_BYTES_MAX)) as u32
    }

    /// The header of an extent whose data is complete. Gives back the room that was not used.
    fn header(&self, extent: &mut OpenExtent, ordinal: usize) -> ExtentHeader {
        let granted = span_bytes(extent.data_bytes);
        let used = span_bytes(extent.written);
        let key = extent.segment.key();
        let mut span = used;
        if used < granted && !extent.segment.give_back(extent.offset, granted, used) {
            // Somebody's room lies behind: the tail stays part of this extent's span, and the reclaimer punches it.
            span = granted;
            let (offset, length) = (extent.offset + used, granted - used);
            self.core.parts.orphans.push(Run { shard: key.shard, segment: key.segment, offset, length });
        }
        self.lease.shorten_last(used);
        ExtentHeader {
            directory: self.core.parts.files.directory_id(),
            id: ExtentId { shard: key.shard, segment: key.segment, offset: extent.offset },
            owner: self.owner.shard,
            table: self.owner.table,
            key: self.owner.key.clone(),
            nonce: self.nonce,
            ordinal: ordinal as u32,
            data_bytes: extent.written,
            span_bytes: span,
            chunk_crcs: mem::take(&mut extent.chunk_crcs),
        }
    }
}

/// A body that goes to extents.
struct Large {
    /// Fills now.
    load: Load,
    /// The extent that is being filled; none before the first load is full.
    extent: Option<OpenExtent>,
    /// Those that are complete.
    extents: Vec<Extent>,
    write: Option<Task<Result<(), Fault>>>,
    /// The segment with writes that no sync has covered.
    unsynced: Option<Rc<OpenSegment>>,
    bytes_since_sync: u64,
}

struct OpenExtent {
    segment: Rc<OpenSegment>,
    offset: u32,
    data_bytes: u32,
    written: u32,
    chunk_crcs: Vec<u32>,
}

impl OpenExtent {
    /// Where the next load goes: the first one to the header's place, with room for it in front, others behind what is
    /// written.
    fn next_offset(&self) -> u32 {
        if self.written == 0 { self.offset } else { self.offset + BLOCK_BYTES as u32 + self.written }
    }
}

impl Large {
    fn new() -> Large {
        Large {
            load: Load::default(),
            extent: None,
            extents: Vec::new(),
            write: None,
            unsynced: None,
            bytes_since_sync: 0,
        }
    }

    /// Data bytes that the load still takes.
    fn room(&self) -> usize {
        let data = self.load.bytes();
        let of_load = LOAD_BYTES - data;
        let of_extent =
            self.extent.as_ref().map(|extent| (extent.data_bytes - extent.written) as usize - data);
        of_extent.map_or(of_load, |room| room.min(of_load))
    }

    /// Begins an extent. A segment that is left for another is synced first: so at most one has unsynced writes.
    async fn enter(&mut self, grant: Grant) -> Result<(), Fault> {
        if let Some(segment) = &self.unsynced
            && !Rc::ptr_eq(segment, &grant.segment)
        {
            let segment = Rc::clone(segment);
            self.finish_write().await?;
            segment.sync().await?;
            self.bytes_since_sync = 0;
        }
        self.unsynced = Some(Rc::clone(&grant.segment));
        self.extent = Some(OpenExtent {
            segment: grant.segment,
            offset: grant.offset,
            data_bytes: grant.data_bytes,
            written: 0,
            chunk_crcs: Vec::with_capacity((grant.data_bytes as usize).div_ceil(CHUNK_BYTES)),
        });
        Ok(())
    }

    async fn finish_write(&mut self) -> Result<(), Fault> {
        match self.write.take() {
            Some(write) => write.await,
            None => Ok(()),
        }
    }

    /// Waits for the write before, then for the budget, then starts this one as a task of its own: it goes on while
    /// the caller waits for a slow client, and gives its share of the budget back when it is done.
    async fn start_write(
        &mut self,
        core: &Allocator,
        lease: &Rc<Lease>,
        segment: &Rc<OpenSegment>,
        parts: Vec<Bytes>,
        offset: u32,
    ) -> Result<(), Fault> {
        self.finish_write().await?;
        segment.check()?;
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        let permit = core.parts.budget.acquire(bytes).await;
        let (segment, lease) = (Rc::clone(segment), Rc::clone(lease));
        self.bytes_since_sync += bytes;
        if self.bytes_since_sync >= BULK_SYNC_BYTES {
            // Covers what is complete by now. Small steps keep the device's cache from filling up under the log.
            segment.request_sync();
            self.bytes_since_sync = 0;
        }
        self.write = Some(ring::spawn(async move {
            let result = segment.file().write_parts(parts, u64::from(offset)).await;
            drop(permit);
            let result =
                result.map_err(|error| write_fault("write", segment.path(), u64::from(offset), &error));
            if let Err(fault) = &result {
                segment.fail(fault.clone());
            }
            drop(lease);
            result
        }));
        Ok(())
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        // The write goes on to its end, and the lease that it holds ends with it.
        if let Some(write) = self.write.take() {
            write.detach();
        }
    }
}

fn empty_block() -> Buffer {
    let mut block = Buffer::with_capacity(BLOCK_BYTES);
    block.resize(BLOCK_BYTES, 0);
    block
}

/// Bytes of a segment file, unless configured otherwise.
pub const SEGMENT_BYTES: u32 = 256 * 1024 * 1024;
/// Data bytes of one write; with the header block in front a write has 4 KiB more.
pub const LOAD_BYTES: usize = 1024 * 1024;
/// A bulk sync follows this many bytes of one body.
const BULK_SYNC_BYTES: u64 = 8 * 1024 * 1024;
/// Sizes of the extents of a body whose length is not known.
const GROWTH_BYTES: [u64; 4] = [1 << 20, 4 << 20, 16 << 20, 32 << 20];

const _: () = assert!(SPAN_BYTES_MAX <= SEGMENT_BYTES);
const _: () = assert!(LOAD_BYTES.is_multiple_of(CHUNK_BYTES));
