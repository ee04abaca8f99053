//! What all cores share of the store: per shard the overlays, the durable LSN, the index and its health.
//! Invariant: `durable_lsn` only grows, is stored before any reply of its batch leaves, and every view reads it afresh.
//! Leaves to owner.rs: all writing.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::body::{Files, Pins};
use crate::clock::StepWatch;
use crate::fault::Fault;
use crate::grace::AtomicShared;
use crate::index::Index;
use crate::kept::Kept;
use crate::log::LogFiles;
use crate::message::Message;
use crate::placement::Placement;
use crate::tx_status::CommitCounter;
use crate::types::{DirectoryId, ShardId, TableId, TableSet};
use crate::view::Overlays;

const HEALTHY: u8 = 0;
const READ_ONLY: u8 = 1;
const UNREADABLE: u8 = 2;

/// What a fold takes of the index for one entry, at most but for large values.
const INDEX_PAGE_BYTES: u64 = 4096;

/// What services declare of their tables.
#[derive(Clone, Copy)]
pub(crate) struct TableKinds {
    /// Tables whose records have no bodies.
    pub(crate) bodyless: TableSet,
    /// Tables whose records come and go.
    pub(crate) passing: TableSet,
}

/// One shard as every core sees it.
pub(crate) struct ShardShared {
    pub(crate) id: ShardId,
    pub(crate) overlays: AtomicShared<Overlays>,
    pub(crate) durable_lsn: AtomicU64,
    /// Nothing where recovery refused the shard: then it is unreadable from the start.
    index: Option<Index>,
    pub(crate) log: LogFiles,
    pub(crate) kinds: TableKinds,
    pub(crate) mailbox: ring::Sender<Message>,
    pub(crate) counts: ShardCounts,
    state: AtomicU8,
    reason: Mutex<Option<Arc<str>>>,
    /// What recovery refused the shard for.
    refusal: Option<Fault>,
}

/// Counters of one shard; written by its owner and its fold, read by metrics and admission.
#[derive(Default)]
pub(crate) struct ShardCounts {
    pub(crate) overlay_bytes: AtomicUsize,
    pub(crate) overlay_entries: AtomicUsize,
    pub(crate) queued: AtomicUsize,
    /// Operations that wait to be woken.
    pub(crate) waiting: AtomicUsize,
    pub(crate) batches: AtomicU64,
    pub(crate) batch_bytes: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) folds: AtomicU64,
    pub(crate) folded_entries: AtomicU64,
    pub(crate) fold_micros: AtomicU64,
    /// The last durable batch up to which nothing waits for a fold; it only grows.
    pub(crate) applied_lsn: AtomicU64,
    pub(crate) log_stalls: AtomicU64,
    /// The lowest batch with a prepare of a transaction that is not resolved here; the greatest number when there is none,
    /// 0 as long as the owner has not said anything.
    pub(crate) open_since_lsn: AtomicU64,
    /// The disk is nearly full, or a fold found it so.
    pub(crate) full: AtomicBool,
    /// The disk would have room if what waits for a fold were folded.
    pub(crate) full_until_folded: AtomicBool,
    /// The disk may be full soon.
    pub(crate) nearly_full: AtomicBool,
    /// Bytes of the log since the oldest entry that is not folded.
    pub(crate) unfolded_log_bytes: AtomicU64,
    /// Bytes of the index that are free within its file, beyond a reserve.
    pub(crate) index_room_bytes: AtomicU64,
    /// The last fold found no room.
    pub(crate) fold_is_stuck: AtomicBool,
    /// What an earlier run left to nobody is still being given back.
    pub(crate) sweeping: AtomicBool,
    /// Rounds that give back what folds have found: one that runs and one that waits at most.
    pub(crate) rounds: AtomicUsize,
    /// The folding thread takes page faults.
    pub(crate) fold_cold: AtomicBool,
    /// The owner's thread takes page faults.
    pub(crate) owner_cold: AtomicBool,
}

impl ShardShared {
    pub(crate) fn new(
        id: ShardId,
        overlays: Overlays,
        durable_lsn: u64,
        index: Index,
        log: LogFiles,
        kinds: TableKinds,
        mailbox: ring::Sender<Message>,
    ) -> ShardShared {
        ShardShared {
            id,
            overlays: AtomicShared::new(overlays),
            durable_lsn: AtomicU64::new(durable_lsn),
            index: Some(index),
            log,
            kinds,
            mailbox,
            counts: ShardCounts::default(),
            state: AtomicU8::new(HEALTHY),
            reason: Mutex::new(None),
            refusal: None,
        }
    }

    /// A shard that recovery refused. It answers nothing but the reason, so that the others can serve.
    pub(crate) fn damaged(
        id: ShardId,
        overlays: Overlays,
        log: LogFiles,
        mailbox: ring::Sender<Message>,
        fault: &Fault,
    ) -> ShardShared {
        ShardShared {
            id,
            overlays: AtomicShared::new(overlays),
            durable_lsn: AtomicU64::new(0),
            index: None,
            log,
            kinds: TableKinds { bodyless: TableSet::EMPTY, passing: TableSet::EMPTY },
            mailbox,
            counts: ShardCounts::default(),
            state: AtomicU8::new(UNREADABLE),
            reason: Mutex::new(Some(Arc::from(format!("{id} was refused at the start: {fault}")))),
            refusal: Some(fault.clone()),
        }
    }

    /// The index. Panics on a damaged shard, whose views and operations are refused before they get here.
    pub(crate) fn index(&self) -> &Index {
        self.index.as_ref().expect("a damaged shard has no views and no owner")
    }

    /// Whether the record of a key never has bodies.
    pub(crate) fn is_bodyless(&self, record_key: &[u8]) -> bool {
        self.kinds.bodyless.contains(TableId(record_key[0]))
    }

    /// Whether the record of a key comes and goes, so that its small bodies lie apart.
    pub(crate) fn is_passing(&self, record_key: &[u8]) -> bool {
        self.kinds.passing.contains(TableId(record_key[0]))
    }

    /// Whether the shard came through recovery.
    pub(crate) fn is_sound(&self) -> bool {
        self.index.is_some() && self.state.load(Ordering::Acquire) != UNREADABLE
    }

    /// Recovery found something in the shard that it cannot do without: from now on it answers nothing but that.
    pub(crate) fn refuse(&self, fault: &Fault) {
        self.make_unreadable(&format!("{} was refused at the start: {fault}", self.id));
    }

    /// Errors: `Fault::Corrupt` when a page of the index turned out to be unreadable; for a shard that recovery refused, that
    /// reason, or the operating system's error.
    pub(crate) fn check_readable(&self) -> Result<(), Fault> {
        self.look_at_pages();
        if self.state.load(Ordering::Acquire) != UNREADABLE {
            return Ok(());
        }
        match &self.refusal {
            Some(fault @ Fault::Io { .. }) => Err(fault.clone()),
            Some(_) | None => Err(Fault::Corrupt(self.reason_text())),
        }
    }

    /// Errors: `Fault::ReadOnly` with the reason when the shard acknowledges no writes.
    pub(crate) fn check_writable(&self) -> Result<(), Fault> {
        self.look_at_pages();
        if self.state.load(Ordering::Acquire) == HEALTHY {
            Ok(())
        } else {
            Err(Fault::ReadOnly(self.reason_text()))
        }
    }

    /// Makes what the signal handler found the shard's state, and says it once.
    fn look_at_pages(&self) {
        let Some(index) = &self.index else { return };
        let Err(fault) = index.check_pages() else { return };
        if self.state.load(Ordering::Acquire) != UNREADABLE {
            self.make_unreadable(&format!("{} is not served any more: {fault}", self.id));
        }
    }

    fn make_unreadable(&self, reason: &str) {
        let mut slot = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.load(Ordering::Acquire) != UNREADABLE {
            // It outweighs what may have stopped the writes before, and is there when the state is seen.
            *slot = Some(Arc::from(reason));
            self.state.store(UNREADABLE, Ordering::Release);
            crate::report(reason);
        }
    }

    /// From now on the shard acknowledges no writes. The first reason stays.
    pub(crate) fn stop_writes(&self, reason: &str) {
        let mut slot = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Arc::from(reason));
        }
        self.state.fetch_max(READ_ONLY, Ordering::AcqRel);
    }

    /// Whether the disk has room for an operation. One that `frees` needs none, and one that writes only into the index
    /// (`in_index`) takes what is free there: a file of LMDB never shrinks, so without that a disk full of small records would
    /// stay full whatever is deleted.
    pub(crate) fn has_disk_for(&self, frees: bool, in_index: impl FnOnce() -> bool) -> bool {
        let counts = &self.counts;
        if frees || !counts.full.load(Ordering::Relaxed) {
            return true;
        }
        // The fold may copy a page for each entry.
        let pending = counts.overlay_entries.load(Ordering::Relaxed) as u64 * INDEX_PAGE_BYTES
            + counts.overlay_bytes.load(Ordering::Relaxed) as u64;
        let has_room = counts.index_room_bytes.load(Ordering::Relaxed) > pending;
        has_room && !counts.fold_is_stuck.load(Ordering::Relaxed) && in_index()
    }

    /// Whether keys should be touched before they are needed.
    pub(crate) fn is_cold(&self) -> bool {
        self.counts.owner_cold.load(Ordering::Relaxed)
    }

    /// Why the shard is not healthy, if it is not.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.look_at_pages();
        (self.state.load(Ordering::Acquire) != HEALTHY).then(|| self.reason_text())
    }

    fn reason_text(&self) -> Arc<str> {
        let slot = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        slot.clone().unwrap_or_else(|| Arc::from("reason not recorded"))
    }
}

/// The whole store as every core sees it.
pub(crate) struct Shared {
    pub(crate) directory: DirectoryId,
    pub(crate) shards: Vec<ShardShared>,
    pub(crate) commits: CommitCounter,
    pub(crate) files: Arc<Files>,
    pub(crate) pins: Pins,
    /// The process is stopping: what can wait for the next start waits.
    pub(crate) closing: AtomicBool,
    /// No body is copied forward any more.
    pub(crate) copying_is_over: AtomicBool,
    pub(crate) clock_steps: StepWatch,
    /// What passing tables keep of the disk.
    pub(crate) kept: Arc<Kept>,
}

impl Shared {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether nothing more should be copied forward.
    pub(crate) fn copying_is_over(&self) -> bool {
        self.is_closing() || self.copying_is_over.load(Ordering::Relaxed)
    }

    /// Which shard owns what.
    pub(crate) fn placement(&self) -> Placement {
        // As many as the format of the directory says, which is at most `SLOT_COUNT`.
        Placement::new(self.shards.len() as u16)
    }

    pub(crate) fn shard(&self, id: ShardId) -> &ShardShared {
        &self.shards[usize::from(id.0)]
    }
}
