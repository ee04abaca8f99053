//! Faults that can be planted into the store, to show that the labs find them: each is a mistake that a careless change
//! could make, and one line where it would be made.
//! Invariant: without the feature `planted`, and outside of this crate's own tests, none can be switched on and the
//! questions are constants.
//!
//! `ZEROCLOUD_PLANT=<name>` plants one in the whole process; a unit test plants one in its own thread.

use crate::body::{FileKey, Files, SegmentKind};
use crate::types::{BLOCK_BYTES, Extent};

/// A mistake. Its name is what `ZEROCLOUD_PLANT` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// Batches are written but not synced.
    SyncLeftOut,
    /// A batch need not name its predecessor's checksum.
    ChainCheckSkipped,
    /// Payload checksums of batches are not compared.
    BatchCrcIgnored,
    /// Recovery reads through the page cache and does not write the last batch again.
    CacheTrusted,
    /// A new log segment is used before its name is durable.
    NameNotSynced,
    /// A missing batch that a later one proves is taken for a torn tail.
    ProofIgnored,
    /// A batch header counts wherever it lies.
    PositionNotChecked,
    /// A large body is named by a record before it is synced.
    BodySyncLeftOut,
    /// The index names small bodies before their segment is synced.
    PackedSyncLeftOut,
    /// Replies leave before their batch is durable.
    ReplyBeforeDurable,
    /// After a fold every log segment but the current one is given back.
    LogRetiredEarly,
    /// A dead extent is overwritten before the batch that frees it is durable.
    ExtentsFreedEarly,
    /// A fold believes "this key is new" after one that was cut off.
    FreshTrusted,
    /// A key is free as soon as its transaction is decided, though the resolution still writes it.
    IntentNotHeld,
    /// The bodies of intents that move to a new overlay do not hold their log segments.
    CarriedReferenceLost,
    /// The marker of a transaction goes before every participant has resolved.
    ForgetEarly,
    /// The sweep after a start does not know what the log's tail names.
    SweepMissesLog,
    /// Views of several shards are taken one after the other, whatever comes between.
    CutNotInstant,
    /// A walk goes on over intents that its view does not show.
    IntentSkipped,
    /// A transaction does not keep what it only checked.
    HoldSkipped,
    /// The adds of a batch stay in memory.
    CounterLost,
    /// A view of one shard shows the last batch but one.
    StaleView,
    /// The filter does not learn of keys that a fold puts into the index.
    KeyNotNoted,
    /// A delivery does not wait until those before it have taken effect.
    OutboxOvertakes,
    /// A reply does not wait for what the residents rest on that its operation looked at.
    ResidentTrusted,
}

#[cfg(any(test, feature = "planted"))]
mod switch {
    use super::Plant;
    use std::cell::Cell;
    use std::sync::OnceLock;

    const ALL: [Plant; 25] = [
        Plant::SyncLeftOut,
        Plant::ChainCheckSkipped,
        Plant::BatchCrcIgnored,
        Plant::CacheTrusted,
        Plant::NameNotSynced,
        Plant::ProofIgnored,
        Plant::PositionNotChecked,
        Plant::BodySyncLeftOut,
        Plant::PackedSyncLeftOut,
        Plant::ReplyBeforeDurable,
        Plant::LogRetiredEarly,
        Plant::ExtentsFreedEarly,
        Plant::FreshTrusted,
        Plant::IntentNotHeld,
        Plant::CarriedReferenceLost,
        Plant::ForgetEarly,
        Plant::SweepMissesLog,
        Plant::CutNotInstant,
        Plant::IntentSkipped,
        Plant::HoldSkipped,
        Plant::CounterLost,
        Plant::StaleView,
        Plant::KeyNotNoted,
        Plant::OutboxOvertakes,
        Plant::ResidentTrusted,
    ];

    thread_local! {
        pub(super) static IN_THREAD: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// What the environment plants. A name that is none stops the process: a lab that ran without its fault would prove
    /// nothing.
    fn in_process() -> Option<Plant> {
        static PLANT: OnceLock<Option<Plant>> = OnceLock::new();
        *PLANT.get_or_init(|| {
            let name = std::env::var("ZEROCLOUD_PLANT").ok()?;
            let plant = ALL.into_iter().find(|plant| format!("{plant:?}") == name);
            assert!(plant.is_some(), "ZEROCLOUD_PLANT={name} is no fault; there are {ALL:?}");
            crate::report(&format!("the fault {name} is planted"));
            plant
        })
    }

    pub(super) fn is(plant: Plant) -> bool {
        IN_THREAD.get() == Some(plant) || in_process() == Some(plant)
    }
}

/// Whether this fault is planted, in the running thread or in the process.
#[cfg(any(test, feature = "planted"))]
pub(crate) fn is(plant: Plant) -> bool {
    switch::is(plant)
}

#[cfg(not(any(test, feature = "planted")))]
pub(crate) const fn is(_plant: Plant) -> bool {
    false
}

/// Takes the header block of an extent away at once.
pub(crate) fn punch(files: &Files, extent: Extent) {
    let key = FileKey { kind: SegmentKind::Extents, shard: extent.id.shard, segment: extent.id.segment };
    let punched = files
        .open_to_write(key, false)
        .map(|file| file.punch(u64::from(extent.id.offset), BLOCK_BYTES as u64));
    drop(punched);
}

/// Runs `body` with the fault planted in this thread.
#[cfg(test)]
pub(crate) fn with<T>(plant: Plant, body: impl FnOnce() -> T) -> T {
    switch::IN_THREAD.set(Some(plant));
    let result = body();
    switch::IN_THREAD.set(None);
    result
}
