//! Extents segments while they are written: creation off the reactor, front-to-back allocation, and syncs that
//! concurrent writers share.
//! Invariant: an offset of a segment is handed out once; a segment is open from its creation until its last writer has
//! gone, and is never written after that. After the first failed write or sync every later call on it fails too.
//!
//! ```text
//! Absent --create--> Preparing --ok--> Ready (spare) --roll--> current --roll or failure--> last writer gone: sealed
//!    ^                   |
//!    +------ failed -----+
//! ```
//! Leaves to writer.rs: what is written where.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::companion::Companion;
use super::files::{FileKey, Files, SegmentKind, write_fault};
use super::writer::LOAD_BYTES;
use crate::disk::DiskFile;
use crate::fault::Fault;
use crate::planted::{self, Plant};
use crate::types::{BLOCK_BYTES, ShardId};

/// Which extents segments of the process are open. The reclaimer asks it, since a punch stalls direct writes to the
/// same file and an open segment's end still moves.
#[derive(Clone, Default)]
pub struct OpenSegments {
    shards: Arc<Mutex<HashMap<ShardId, ShardSegments>>>,
    untrimmed: Arc<AtomicU64>,
}

struct ShardSegments {
    first: u64,
    /// The number of the next one, whichever core makes it.
    next: u64,
    open: HashSet<u64>,
}

impl OpenSegments {
    /// Nothing open.
    #[must_use]
    pub fn new() -> OpenSegments {
        OpenSegments::default()
    }

    /// Whether the segment may still be written.
    #[must_use]
    pub fn is_open(&self, shard: ShardId, segment: u64) -> bool {
        self.lock().get(&shard).is_some_and(|shard| shard.open.contains(&segment))
    }

    /// The first segment number of this run of the process, once the shard has its `CoreBodies`. Segments below it
    /// have no body that still waits for its record.
    #[must_use]
    pub fn first_of_this_run(&self, shard: ShardId) -> Option<u64> {
        self.lock().get(&shard).map(|shard| shard.first)
    }

    /// Segments whose unused tail could not be given back when they were sealed; the next start does it.
    #[must_use]
    pub fn untrimmed_count(&self) -> u64 {
        self.untrimmed.load(Ordering::Relaxed)
    }

    /// A core will write to the shard's directory, where `first` is the next free number. Where another core does so already, that
    /// one's word stands: by now some numbers are its segments'.
    pub(super) fn begin(&self, shard: ShardId, first: u64) {
        self.lock().entry(shard).or_insert_with(|| ShardSegments {
            first,
            next: first,
            open: HashSet::new(),
        });
    }

    /// The number of a segment that is about to be made, which is open from now on.
    pub(super) fn take(&self, shard: ShardId) -> u64 {
        let mut shards = self.lock();
        let shard = shards.get_mut(&shard).expect("a core begins before it takes");
        let segment = shard.next;
        shard.next += 1;
        shard.open.insert(segment);
        segment
    }

    pub(super) fn close(&self, shard: ShardId, segment: u64) {
        if let Some(shard) = self.lock().get_mut(&shard) {
            shard.open.remove(&segment);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, ShardSegments>> {
        // Every step leaves the table whole.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment that this core writes. The last holder to go seals it.
pub(super) struct OpenSegment {
    key: FileKey,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: u32,
    /// Where the next extent starts.
    next: Cell<u32>,
    failed: RefCell<Option<Fault>>,
    syncing: Cell<bool>,
    sync_wanted: Cell<bool>,
    waiters: RefCell<Vec<oneshot::Sender<Result<(), Fault>>>>,
    files: Arc<Files>,
    open: OpenSegments,
    companion: Arc<dyn Companion>,
}

/// A segment file that was just made, on its way from the companion to the core.
pub(super) struct MadeSegment {
    key: FileKey,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: u32,
}

/// Makes a segment file with all its blocks reserved and its name durable: of `bytes_max`, or as much less as the
/// disk's room asks for, but not less than `SEGMENT_BYTES_MIN`. Blocks.
/// Errors: `Fault::Full` when the disk has no room for the smallest segment, `Fault::Io`.
pub(super) fn make_segment(files: &Files, key: FileKey, bytes_max: u32) -> Result<MadeSegment, Fault> {
    files.make_segment_dir(key.kind, key.shard)?;
    let dir = files.shard_dir(key.shard);
    let mut bytes = segment_bytes_for(files.room().free_for_all(&**files.disk(), &dir), bytes_max);
    loop {
        files.room().check(&**files.disk(), &dir, u64::from(bytes))?;
        match make_segment_of(files, key, bytes) {
            // The free space may be promised to another core or fenced by a quota.
            Err(Fault::Full) if bytes > SEGMENT_BYTES_MIN => bytes = half_segment(bytes),
            made => return made,
        }
    }
}

/// A segment takes at most an eighth of what is free, so that on a small or nearly full disk the cores' reservations
/// leave room for each other and for the log.
fn segment_bytes_for(free_bytes: u64, bytes_max: u32) -> u32 {
    let mut bytes = bytes_max;
    while bytes > SEGMENT_BYTES_MIN && u64::from(bytes) > free_bytes / 8 {
        bytes = half_segment(bytes);
    }
    bytes
}

fn half_segment(bytes: u32) -> u32 {
    (bytes / 2).next_multiple_of(BLOCK_BYTES as u32).max(SEGMENT_BYTES_MIN)
}

/// One try with a given size. A file that cannot be had whole is removed again.
fn make_segment_of(files: &Files, key: FileKey, bytes: u32) -> Result<MadeSegment, Fault> {
    let path = files.path(key);
    let file = files.open_to_write(key, true)?;
    let made = file
        .allocate(0, u64::from(bytes))
        .map_err(|error| write_fault("fallocate", &path, 0, &error))
        .and_then(|()| file.sync_blocking().map_err(|error| write_fault("fdatasync", &path, 0, &error)))
        .and_then(|()| files.sync_segment_dir(key.kind, key.shard));
    if let Err(fault) = made {
        // The first fault is the one to tell. A file that stays behind is empty space, which the next start trims.
        drop(files.disk().remove(&path));
        return Err(fault);
    }
    Ok(MadeSegment { key, path, file, bytes })
}

impl OpenSegment {
    pub(super) fn new(
        made: MadeSegment,
        files: Arc<Files>,
        open: OpenSegments,
        companion: Arc<dyn Companion>,
    ) -> OpenSegment {
        let MadeSegment { key, path, file, bytes } = made;
        // Readers use the same handle: a body that was just written is often read next.
        files.insert(key, &file);
        OpenSegment {
            key,
            path,
            file,
            bytes,
            next: Cell::new(0),
            failed: RefCell::default(),
            syncing: Cell::new(false),
            sync_wanted: Cell::new(false),
            waiters: RefCell::default(),
            files,
            open,
            companion,
        }
    }

    pub(super) fn key(&self) -> FileKey {
        self.key
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Bytes in all.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Bytes not handed out yet.
    pub(super) fn room(&self) -> u32 {
        self.bytes - self.next.get()
    }

    /// Hands out the next `span` bytes, which the caller knows to be there.
    pub(super) fn take(&self, span: u32) -> u32 {
        assert!(span <= self.room(), "the caller looked at room()");
        let offset = self.next.get();
        self.next.set(offset + span);
        offset
    }

    /// Takes back the end of what was handed out at `offset`, of which only `used` bytes were ever written. Whether
    /// that worked: not when somebody has room behind it already.
    pub(super) fn give_back(&self, offset: u32, span: u32, used: u32) -> bool {
        let last = self.next.get() == offset + span;
        if last {
            self.next.set(offset + used);
        }
        last
    }

    /// Notes the first failure; everything after it fails too, since what the disk holds is not known any more.
    pub(super) fn fail(&self, fault: Fault) {
        self.failed.borrow_mut().get_or_insert(fault);
    }

    /// The first failure, as an error.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }

    /// Waits for a sync that begins after this call, together with all others who call before it begins.
    /// Errors: the segment's first failure, now or earlier.
    pub(super) async fn sync(self: &Rc<Self>) -> Result<(), Fault> {
        self.check()?;
        let (answer, result) = oneshot::channel();
        self.waiters.borrow_mut().push(answer);
        self.start_sync();
        result.await.unwrap_or(Err(Fault::Closed))
    }

    /// Has a sync begin soon, for nobody in particular. Its failure shows at the next `check`.
    pub(super) fn request_sync(self: &Rc<Self>) {
        self.sync_wanted.set(true);
        self.start_sync();
    }

    fn start_sync(self: &Rc<Self>) {
        if !self.syncing.replace(true) {
            ring::spawn(Rc::clone(self).run_syncs()).detach();
        }
    }

    /// One sync after the other until nobody wants one. A task of its own, so that no waiter depends on another
    /// waiter's being polled.
    async fn run_syncs(self: Rc<Self>) {
        loop {
            let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
            if waiters.is_empty() && !self.sync_wanted.replace(false) {
                break;
            }
            self.sync_wanted.set(false);
            let result = match self.check() {
                Ok(()) if planted::is(Plant::BodySyncLeftOut) => Ok(()),
                Ok(()) => {
                    self.file.sync().await.map_err(|error| Fault::io("fdatasync", &self.path, 0, &error))
                }
                Err(fault) => Err(fault),
            };
            if let Err(fault) = &result {
                self.fail(fault.clone());
            }
            // A write may have failed while the sync ran; then the segment is not to be trusted.
            let result = result.and_then(|()| self.check());
            for waiter in waiters {
                // A writer that was dropped meanwhile does not hear it.
                drop(waiter.send(result.clone()));
            }
        }
        self.syncing.set(false);
    }
}

impl Drop for OpenSegment {
    fn drop(&mut self) {
        let (open, files, key, path) =
            (self.open.clone(), Arc::clone(&self.files), self.key, self.path.clone());
        let (file, length) = (Arc::clone(&self.file), self.next.get());
        self.companion.run(Box::new(move || {
            let sealed = if length == 0 {
                // Nothing was ever handed out, so no pointer names this number and it may come again.
                files.forget(key);
                files.disk().remove(&path)
            } else {
                file.truncate(u64::from(length))
            };
            if sealed.is_err() {
                open.untrimmed.fetch_add(1, Ordering::Relaxed);
            }
            open.close(key.shard, key.segment);
        }));
    }
}

/// A segment holds at least one full buffer and its header.
pub(super) const SEGMENT_BYTES_MIN: u32 = 2 * LOAD_BYTES as u32;

/// The key of an extents segment.
pub(super) fn extents_key(shard: ShardId, segment: u64) -> FileKey {
    FileKey { kind: SegmentKind::Extents, shard, segment }
}
