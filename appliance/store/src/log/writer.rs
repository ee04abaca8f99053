//! The writing end of a shard's log: fills a batch, seals it behind its predecessor, writes and syncs it.
//! Invariant: the position of every byte of a batch is known while it is filled, because a batch begins right behind its
//! sealed predecessor, or at the start of the next segment when it does not fit there or less than an ordinary batch is left.
//! After one failed write nothing more is written: only recovery can tell what the disk holds.
//! Leaves to the shard: one write in flight at most, and to publish the durable LSN before any reply.
//!
//! ```text
//! open_batch -> append* -> write ----(future)----> Ok: durable
//!     ^                      |                  \-> Err or dropped: the writer refuses from then on
//!     +---- the next batch may be opened from here, while the write is still in flight
//! ```

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ring::Buffer;

use super::files::{LogFiles, LogReader};
use super::format::{self, BatchHeader, HEADER_BYTES};
use super::segment::{Segment, SegmentSupply};
use super::{Checkpoint, LogConfig, Tail};
use crate::fault::Fault;
use crate::planted::{self, Plant};
use crate::types::{BLOCK_BYTES, LogPosition, Lsn, Timestamp};

/// One batch in flight and one filling.
const BUFFERS_KEPT: usize = 2;
const BUFFER_BYTES_AT_FIRST: usize = 64 * 1024;

/// No segment is ready for the next batch: the companion has to make one, or the fold has to free one, first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogFull;

impl std::fmt::Display for LogFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no log segment is ready")
    }
}

impl std::error::Error for LogFull {}

/// Appends batches. Lives on the owner core.
pub struct LogWriter {
    config: LogConfig,
    epoch: u64,
    /// The last sealed batch.
    last: Checkpoint,
    current: Option<Segment>,
    supply: SegmentSupply,
    files: LogFiles,
    shared: Arc<Shared>,
}

/// What the writer and the future of its write both hold.
struct Shared {
    in_flight: AtomicBool,
    failed: AtomicBool,
    /// Taken and put back once per batch, by one core: never contended.
    buffers: Mutex<Vec<Buffer>>,
}

/// A batch being filled.
pub struct BatchBuilder {
    buffer: Buffer,
    lsn: Lsn,
    /// Where the header will lie.
    position: LogPosition,
    bytes_max: usize,
}

/// A batch that is on stable storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrittenBatch {
    /// The batch as the index names it once it is folded.
    pub checkpoint: Checkpoint,
    /// Where its header lies.
    pub position: LogPosition,
    /// Bytes of payload.
    pub payload_bytes: u32,
}

impl WrittenBatch {
    /// The batch's number.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.checkpoint.lsn
    }
}

impl BatchBuilder {
    /// Appends bytes and tells where the first of them will lie.
    /// The caller has seen `remaining_bytes`; more than that is a mistake of ours and stops the process.
    pub fn append(&mut self, bytes: &[u8]) -> LogPosition {
        assert!(bytes.len() <= self.remaining_bytes(), "the batch has no room for {} bytes", bytes.len());
        let position = self.next_position();
        self.buffer.extend_from_slice(bytes);
        position
    }

    /// Writes over bytes that were appended at `place` before.
    pub(crate) fn patch(&mut self, place: LogPosition, bytes: &[u8]) {
        assert_eq!(place.segment, self.position.segment, "the bytes are in another batch");
        let start = place.offset.checked_sub(self.position.offset).expect("the bytes are in another batch");
        self.buffer[start as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Where the next appended byte will lie.
    #[must_use]
    pub fn next_position(&self) -> LogPosition {
        let filled = u32::try_from(self.buffer.len()).expect("a batch is smaller than its segment");
        LogPosition { segment: self.position.segment, offset: self.position.offset + filled }
    }

    /// Payload bytes appended so far.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.buffer.len() - HEADER_BYTES
    }

    /// The payload appended so far.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer[HEADER_BYTES..]
    }

    /// Payload bytes that still fit.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.bytes_max - self.buffer.len()
    }

    /// The number that this batch will have.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload_bytes() == 0
    }
}

impl LogWriter {
    /// A writer that goes on behind `tail`. `epoch` is random and new at each start.
    /// Errors: `Fault::Io` when the length of the tail's segment cannot be read.
    pub fn new(
        config: LogConfig,
        tail: Tail,
        epoch: u64,
        supply: SegmentSupply,
        files: LogFiles,
    ) -> Result<LogWriter, Fault> {
        config.check();
        let current = match files.get(tail.position.segment) {
            Some(file) => {
                let path = config.segment_path(tail.position.segment);
                let length = file.length().map_err(|error| Fault::io("stat", &path, 0, &error))?;
                let bytes = super::segment::usable_bytes(length);
                Some(Segment { sequence: tail.position.segment, file, bytes })
            }
            None => None,
        };
        let shared = Shared {
            in_flight: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            buffers: Mutex::new(Vec::with_capacity(BUFFERS_KEPT)),
        };
        Ok(LogWriter { config, epoch, last: tail, current, supply, files, shared: Arc::new(shared) })
    }

    /// Opens the batch behind the last sealed one; one is open at a time.
    /// Errors: `LogFull` when the batch has to go into a segment that is not ready.
    pub fn open_batch(&mut self) -> Result<BatchBuilder, LogFull> {
        self.open_batch_for(0)
    }

    /// As `open_batch`, with room for at least so many payload bytes, also where that is more than an ordinary batch has.
    ///
    /// # Panics
    /// When it is more than `LogConfig::large_payload_bytes_max`.
    pub fn open_batch_for(&mut self, payload_bytes: usize) -> Result<BatchBuilder, LogFull> {
        assert!(
            payload_bytes <= self.config.large_payload_bytes_max(),
            "no batch has {payload_bytes} bytes of payload"
        );
        let bytes = (HEADER_BYTES + payload_bytes).next_multiple_of(BLOCK_BYTES);
        let bytes_max = bytes.max(self.config.batch_bytes_max as usize);
        let position = self.next_position(bytes_max)?;
        let mut buffer = match self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(buffer) => buffer,
            None => Buffer::with_capacity(BUFFER_BYTES_AT_FIRST.min(self.config.batch_bytes_max as usize)),
        };
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        Ok(BatchBuilder { buffer, lsn: self.last.lsn.next(), position, bytes_max })
    }

    /// Seals the batch at once and returns the future that writes and syncs it; nothing is written before its first poll.
    /// `durable_lsn` is the last batch whose write has returned: recovery takes it for a promise. `now` is for humans.
    /// Errors: `Fault::Io` when the write or its sync failed, `Fault::ReadOnly` for every write after that one.
    /// Dropping the future unfinished counts as a failure.
    pub fn write(
        &mut self,
        batch: BatchBuilder,
        durable_lsn: Lsn,
        now: Timestamp,
    ) -> impl Future<Output = Result<WrittenBatch, Fault>> + use<> + 'static {
        assert_eq!(batch.lsn, self.last.lsn.next(), "a batch is written once, in order");
        assert!(durable_lsn <= self.last.lsn, "a batch cannot vouch for itself");
        let was_in_flight = self.shared.in_flight.swap(true, Ordering::Relaxed);
        assert!(!was_in_flight, "one batch is in flight at a time");

        let BatchBuilder { mut buffer, position, .. } = batch;
        let (written, header) = self.seal(&buffer[HEADER_BYTES..], position, durable_lsn, now);
        buffer[..HEADER_BYTES].copy_from_slice(&header);
        buffer.resize(buffer.len().next_multiple_of(BLOCK_BYTES), 0);
        self.last = written.checkpoint;

        let segment = self.current.as_ref().expect("open_batch made the segment of this batch current");
        assert_eq!(segment.sequence, position.segment);
        let (file, shared) = (segment.file.clone(), self.shared.clone());
        let path = self.config.segment_path(position.segment);
        // Outside of the future: one that is dropped before its first poll has lost a sealed batch too.
        let buffer_bytes_max = 2 * self.config.batch_bytes_max as usize;
        let mut flight = Flight { shared, buffer_bytes_max, landed: false };
        async move {
            if flight.shared.failed.load(Ordering::Relaxed) {
                return Err(Fault::ReadOnly("an earlier write of the log failed".into()));
            }
            let (result, buffer) = if planted::is(Plant::SyncLeftOut) {
                file.write(buffer, u64::from(position.offset)).await
            } else {
                file.write_sync(buffer, u64::from(position.offset)).await
            };
            result.map_err(|error| {
                Fault::io("write and fdatasync", &path, u64::from(position.offset), &error)
            })?;
            flight.land(buffer);
            Ok(written)
        }
    }

    fn seal(
        &self,
        payload: &[u8],
        position: LogPosition,
        durable_lsn: Lsn,
        now: Timestamp,
    ) -> (WrittenBatch, [u8; HEADER_BYTES]) {
        let payload_bytes = u32::try_from(payload.len()).expect("bounded by batch_bytes_max");
        let header = BatchHeader {
            directory: self.config.directory,
            shard: self.config.shard,
            lsn: self.last.lsn.next(),
            durable_lsn,
            epoch: self.epoch,
            time: now,
            position,
            previous_checksum: self.last.header_checksum,
            payload_bytes,
            payload_crc: hash::crc32c(payload),
        };
        let bytes = header.encode();
        let checkpoint = header.checkpoint(format::checksum_of(&bytes));
        (WrittenBatch { checkpoint, position, payload_bytes }, bytes)
    }

    /// Where the next batch begins, of at most so many bytes; makes its segment the current one.
    fn next_position(&mut self, bytes_max: usize) -> Result<LogPosition, LogFull> {
        let behind = self.last.position;
        let wanted = match &self.current {
            // The batch that was opened in a new segment was dropped, or this one is opened again.
            Some(current) if current.sequence != behind.segment => return Ok(current.start()),
            Some(current) if (current.bytes - behind.offset.min(current.bytes)) as usize >= bytes_max => {
                return Ok(behind);
            }
            Some(_) => behind.segment + 1,
            // A new log, or one whose last segment was full and is gone.
            None => behind.segment,
        };
        let segment = self.supply.take(wanted).ok_or(LogFull)?;
        let position = segment.start();
        self.current = Some(segment);
        Ok(position)
    }

    /// The last sealed batch, whether or not its write has returned.
    #[must_use]
    pub fn last(&self) -> Checkpoint {
        self.last
    }

    /// The segment that the last opened batch went to; none before the first batch of a new log.
    #[must_use]
    pub fn current_segment(&self) -> Option<u64> {
        self.current.as_ref().map(|segment| segment.sequence)
    }

    /// Used segments below `segment`, never the current one: what `SegmentSupply::retire` may be given once nothing
    /// points into them. `segment` is that of the position of the checkpoint which the index holds.
    #[must_use]
    pub fn retirable_below(&self, segment: u64) -> Vec<u64> {
        let current = self.current_segment().unwrap_or(u64::MAX);
        self.files.sequences().into_iter().filter(|&each| each < segment && each != current).collect()
    }

    /// A reader of small bodies for this core.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.files.reader()
    }

    /// The files, for readers of other cores.
    #[must_use]
    pub fn files(&self) -> &LogFiles {
        &self.files
    }

    /// Where the log lies and how large its parts are.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// The stock of segments.
    #[must_use]
    pub fn supply(&self) -> &SegmentSupply {
        &self.supply
    }

    /// Whether a write has failed; from then on every write is refused.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Segment {
    fn start(&self) -> LogPosition {
        LogPosition { segment: self.sequence, offset: 0 }
    }
}

/// Marks the writer as failed unless the batch landed: also when the future is dropped half-way.
struct Flight {
    shared: Arc<Shared>,
    /// A larger buffer, that of a large batch, is not kept.
    buffer_bytes_max: usize,
    landed: bool,
}

impl Flight {
    fn land(&mut self, buffer: Buffer) {
        self.landed = true;
        if buffer.capacity() > self.buffer_bytes_max {
            return;
        }
        let mut buffers = self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < BUFFERS_KEPT {
            buffers.push(buffer);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.shared.failed.store(true, Ordering::Relaxed);
        }
        self.shared.in_flight.store(false, Ordering::Relaxed);
    }
}
