//! Which extents segment a core writes to: the current one, and a spare that is made ahead on the companion.
//! Invariant: room is handed out front to back, once; a segment that failed is never handed out from again.
//! Leaves to segments.rs: making, syncing and sealing one segment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::budget::BulkBudget;
use super::companion::{Companion, run_blocking};
use super::extent::span_bytes;
use super::files::{Files, SegmentKind};
use super::lease::Orphans;
use super::segments::{OpenSegment, OpenSegments, SEGMENT_BYTES_MIN, extents_key, make_segment};
use super::writer::LOAD_BYTES;
use crate::fault::Fault;
use crate::types::{BLOCK_BYTES, ShardId};

/// What `CoreBodies` is made of.
pub struct CoreBodiesParts {
    /// The shard into whose directory this core writes.
    pub shard: ShardId,
    /// The data directory's files.
    pub files: Arc<Files>,
    /// Which segments are open, process-wide.
    pub open: OpenSegments,
    /// Where abandoned room goes, process-wide.
    pub orphans: Orphans,
    /// Bulk bytes in flight, device-wide.
    pub budget: BulkBudget,
    /// Where blocking work goes.
    pub companion: Arc<dyn Companion>,
    /// Bytes of a segment file at most: `SEGMENT_BYTES` unless configured otherwise; a multiple of 4,096, at least
    /// 2 MiB. A disk with little room gets smaller ones.
    pub segment_bytes: u32,
    /// The first nonce; random per start, so that nonces of two runs differ.
    pub nonce: u64,
}

/// The extents segments of one core, and what its writers share.
pub(super) struct Allocator {
    pub(super) parts: CoreBodiesParts,
    nonce: Cell<u64>,
    current: RefCell<Option<Rc<OpenSegment>>>,
    spare: RefCell<Spare>,
    /// Writers that wait for a segment.
    waiters: RefCell<Vec<oneshot::Sender<Result<(), Fault>>>>,
    /// Preparing ahead failed; only a writer in need tries again, so that a full disk is not asked at every body.
    ahead_failed: Cell<bool>,
}

enum Spare {
    Absent,
    Preparing,
    Ready(Rc<OpenSegment>),
}

impl Allocator {
    /// Blocks for one directory listing. Errors: `Fault::Io` of it.
    pub(super) fn open(parts: CoreBodiesParts) -> Result<Allocator, Fault> {
        assert!(parts.segment_bytes.is_multiple_of(BLOCK_BYTES as u32), "segments are whole blocks");
        assert!(parts.segment_bytes >= SEGMENT_BYTES_MIN, "a segment holds at least one full buffer");
        let next_segment = parts.files.next_segment(SegmentKind::Extents, parts.shard)?;
        parts.open.begin(parts.shard, next_segment);
        Ok(Allocator {
            nonce: Cell::new(parts.nonce),
            current: RefCell::default(),
            spare: RefCell::new(Spare::Absent),
            waiters: RefCell::default(),
            ahead_failed: Cell::new(false),
            parts,
        })
    }

    pub(super) fn next_nonce(&self) -> u64 {
        let nonce = self.nonce.get();
        self.nonce.set(nonce.wrapping_add(1));
        nonce
    }

    /// Room for up to `want` bytes of data; whole buffers of it, at least one, if the segment ends before.
    pub(super) async fn allocate(self: &Rc<Self>, want: u32) -> Result<Grant, Fault> {
        loop {
            if let Some(grant) = self.try_allocate(want) {
                return Ok(grant);
            }
            let spare = std::mem::replace(&mut *self.spare.borrow_mut(), Spare::Absent);
            match spare {
                Spare::Ready(segment) => {
                    self.ahead_failed.set(false);
                    // Bound outside the borrow: dropping the old one may run its seal.
                    let old = self.current.borrow_mut().replace(segment);
                    drop(old);
                    continue;
                }
                Spare::Preparing => *self.spare.borrow_mut() = Spare::Preparing,
                Spare::Absent => self.prepare(),
            }
            let (answer, result) = oneshot::channel();
            self.waiters.borrow_mut().push(answer);
            result.await.unwrap_or(Err(Fault::Closed))?;
        }
    }

    fn try_allocate(self: &Rc<Self>, want: u32) -> Option<Grant> {
        let segment = self.current.borrow().clone()?;
        if segment.check().is_err() {
            // Abandoned: the next body begins in a new segment.
            let old = self.current.borrow_mut().take();
            drop(old);
            return None;
        }
        let data = data_that_fits(segment.room(), want)?;
        let span = span_bytes(data);
        let offset = segment.take(span);
        let half = segment.bytes() / 2;
        let absent = matches!(*self.spare.borrow(), Spare::Absent);
        if segment.room() < half && absent && !self.ahead_failed.get() {
            self.prepare();
        }
        Some(Grant { segment, offset, data_bytes: data })
    }

    /// Starts making a segment. The state is `Absent` before and `Preparing` after.
    fn prepare(self: &Rc<Self>) {
        *self.spare.borrow_mut() = Spare::Preparing;
        let core = Rc::clone(self);
        let key = extents_key(core.parts.shard, core.parts.open.take(core.parts.shard));
        ring::spawn(async move {
            let (files, segment_bytes) = (Arc::clone(&core.parts.files), core.parts.segment_bytes);
            let made =
                run_blocking(&*core.parts.companion, move || make_segment(&files, key, segment_bytes)).await;
            let outcome = match made.and_then(|made| made) {
                Ok(made) => {
                    let parts = &core.parts;
                    let segment = OpenSegment::new(
                        made,
                        Arc::clone(&parts.files),
                        parts.open.clone(),
                        Arc::clone(&parts.companion),
                    );
                    *core.spare.borrow_mut() = Spare::Ready(Rc::new(segment));
                    Ok(())
                }
                Err(fault) => {
                    core.ahead_failed.set(true);
                    core.parts.open.close(key.shard, key.segment);
                    *core.spare.borrow_mut() = Spare::Absent;
                    Err(fault)
                }
            };
            let waiters = std::mem::take(&mut *core.waiters.borrow_mut());
            for waiter in waiters {
                // A writer that was dropped meanwhile does not hear it.
                drop(waiter.send(outcome.clone()));
            }
        })
        .detach();
    }
}

/// How many data bytes to grant out of `room`: all that is wanted, or whole buffers up to the end of the segment.
fn data_that_fits(room: u32, want: u32) -> Option<u32> {
    if span_bytes(want) <= room {
        return Some(want);
    }
    let whole_buffers = room.saturating_sub(BLOCK_BYTES as u32) / LOAD_BYTES as u32 * LOAD_BYTES as u32;
    (whole_buffers > 0).then_some(whole_buffers)
}

/// Room for one extent.
pub(super) struct Grant {
    pub(super) segment: Rc<OpenSegment>,
    pub(super) offset: u32,
    pub(super) data_bytes: u32,
}
