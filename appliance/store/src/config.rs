//! The store's settings and bounds, each with its default and unit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::outbox::Receivers;
use crate::types::TableSet;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreConfig {
    /// The data directory.
    pub data: PathBuf,
    /// Where the LMDB files lie, in directories per shard: the data directory, except in tests with a simulated disk.
    pub index_root: PathBuf,
    /// Shards of a new data directory, 1 to `SHARD_COUNT_MAX`; an existing one keeps its own number.
    pub shard_count: u16,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Address space of all LMDB maps together, in bytes.
    pub map_bytes_total: u64,
    /// Bytes of a shard's ballast file; 0: none.
    pub ballast_bytes: u64,
    /// Bytes of a log segment, a multiple of 4,096.
    pub log_segment_bytes: u32,
    /// Bytes of one batch at most, header included, a multiple of 4,096.
    pub batch_bytes_max: u32,
    /// Bytes of an extents segment.
    pub extent_segment_bytes: u32,
    /// Bytes of a packed segment.
    pub packed_segment_bytes: u32,
    /// Body bytes in flight to the disk at once, all cores together.
    pub bulk_bytes_in_flight: u64,
    /// Tables whose records never have bodies, and never had: what is replaced or removed there needs no look-up for what
    /// it may leave behind. Services declare them; a put with a body into one stops the process.
    pub bodyless: TableSet,
    /// Tables whose records come and go, as those of a cache: their small bodies lie in packed segments of their own, and
    /// what is dead of their bodies is counted until it is given back.
    pub passing: TableSet,
    /// Bytes of each such segment. What is dead in one that is open, or in which others live, takes room.
    pub passing_segment_bytes: u32,
    /// Where operations have their time from.
    pub clock: Clock,
    /// Who takes outbox messages.
    pub receivers: Receivers,
    /// The owners' bounds.
    pub limits: OwnerLimits,
}

impl StoreConfig {
    /// The defaults for a data directory.
    #[must_use]
    pub fn new(data: PathBuf, shard_count: u16, disk: Arc<dyn Disk>) -> StoreConfig {
        StoreConfig {
            index_root: data.clone(),
            data,
            shard_count,
            disk,
            map_bytes_total: 32 << 40,
            ballast_bytes: 16 << 20,
            log_segment_bytes: crate::log::SEGMENT_BYTES,
            batch_bytes_max: crate::log::BATCH_BYTES_MAX,
            extent_segment_bytes: crate::body::writer::SEGMENT_BYTES,
            packed_segment_bytes: 64 << 20,
            bulk_bytes_in_flight: 8 << 20,
            bodyless: TableSet::EMPTY,
            passing: TableSet::EMPTY,
            passing_segment_bytes: 64 << 20,
            clock: Clock::System,
            receivers: Receivers::default(),
            limits: OwnerLimits::default(),
        }
    }
}

/// Bounds of one shard's owner.
#[derive(Clone, Debug)]
pub struct OwnerLimits {
    /// A batch that holds this many payload bytes takes no further operation.
    pub batch_soft_bytes: usize,
    /// Entries in the active overlay that make it due for a fold.
    pub fold_entries: usize,
    /// Arena bytes of the active overlay that make it due for a fold.
    pub fold_bytes: usize,
    /// Log bytes since the last exchange of overlays that make the active one due for a fold.
    pub fold_log_bytes: u64,
    /// Age of the oldest entry of the active overlay that makes it due for a fold.
    pub fold_age_max: Duration,
    /// Arena bytes of both overlays beyond which no operation runs.
    pub overlay_bytes_max: usize,
    /// Arena bytes of both overlays beyond which `admit` makes writers wait.
    pub admit_bytes_max: usize,
    /// First arena chunk of an overlay.
    pub arena_hint_bytes: usize,
    /// How long an operation waits for an undecided transaction, at the least, in time that its core attends to; looked at once a
    /// second.
    pub in_doubt_patience: Duration,
    /// Operations that wait so at once.
    pub parked_count_max: usize,
    /// Operations that wait at once to be woken; beyond that `Fault::Busy`.
    pub waiting_count_max: usize,
    /// Operations queued for an owner beyond which `admit` makes writers wait.
    pub queue_count_max: usize,
    /// Quiet time after which the last batch gets its proof.
    pub proof_delay: Duration,
}

impl Default for OwnerLimits {
    fn default() -> OwnerLimits {
        OwnerLimits {
            batch_soft_bytes: 1 << 20,
            fold_entries: 250_000,
            fold_bytes: 64 << 20,
            fold_log_bytes: 384 << 20,
            fold_age_max: Duration::from_secs(30),
            overlay_bytes_max: 192 << 20,
            admit_bytes_max: 160 << 20,
            arena_hint_bytes: 64 << 10,
            in_doubt_patience: Duration::from_secs(5),
            parked_count_max: 10_000,
            waiting_count_max: 200_000,
            queue_count_max: 20_000,
            proof_delay: Duration::from_millis(100),
        }
    }
}

/// Shards of a data directory at most.
pub const SHARD_COUNT_MAX: u16 = 256;
/// How long `admit` waits for room before it says that the shard is busy.
pub const ADMIT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a waiting `admit` looks again.
pub const ADMIT_INTERVAL: Duration = Duration::from_millis(2);
