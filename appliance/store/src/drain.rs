//! Ending well: what is under way is finished, the last batch is proven, and what each shard says of itself.
//! Invariant: nothing here is needed for safety; a process that is killed instead loses nothing acknowledged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::store::Store;
use crate::types::{Lsn, ShardId};

/// How often a drain looks whether it is done.
const DRAIN_INTERVAL: Duration = Duration::from_millis(2);
/// A drain that is not done by then leaves the rest to recovery.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// What a shard says of itself.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// The last durable batch.
    pub durable_lsn: Lsn,
    /// The last durable batch up to which nothing waits for a fold: the index holds what it and those before it have put.
    pub applied_lsn: Lsn,
    /// Arena bytes of the overlays.
    pub overlay_bytes: u64,
    /// Entries in the overlays.
    pub overlay_entries: u64,
    /// Operations that wait for their turn.
    pub queued: u64,
    /// Operations that wait to be woken.
    pub waiting: u64,
    /// Batches written since the start.
    pub batches: u64,
    /// Payload bytes of these batches.
    pub batch_bytes: u64,
    /// Operations executed since the start.
    pub operations: u64,
    /// Folds since the start.
    pub folds: u64,
    /// Entries folded since the start.
    pub folded_entries: u64,
    /// Microseconds spent folding.
    pub fold_micros: u64,
    /// Times when no log segment was ready.
    pub log_stalls: u64,
    /// Room that an earlier run left to nobody is still being given back.
    pub sweeping: bool,
    /// Why the shard takes no writes, if it does not.
    pub trouble: Option<String>,
}

impl Store {
    /// Finishes what this core's shards have under way and proves their last batches. Operations that wait to be woken hear
    /// `Fault::Closed`. Errors are in `status`.
    pub async fn drain(&self) {
        let begun = ring::now();
        loop {
            let mut done = true;
            for owner in self.core.owners.iter().flatten() {
                let mut owner = owner.borrow_mut();
                owner.drain();
                done &= owner.is_drained();
            }
            if done || ring::now() - begun > DRAIN_PATIENCE {
                break;
            }
            ring::sleep(DRAIN_INTERVAL).await;
        }
    }

    /// The process is about to end: operations that wait on this core's shards run once more, and those that come to wait are
    /// told (`Tx::waits_end`). Everything else goes on. To be called within the reactor, whose turn then runs them.
    pub fn end_waits(&self) {
        for owner in self.core.owners.iter().flatten() {
            owner.borrow_mut().end_waits();
        }
    }

    /// Folds everything that this core's shards hold in memory, and waits for it: a restart then has nothing to replay.
    pub async fn fold_all(&self) {
        let begun = ring::now();
        loop {
            let mut done = true;
            for owner in self.core.owners.iter().flatten() {
                done &= owner.borrow_mut().fold_now();
            }
            if done || ring::now() - begun > DRAIN_PATIENCE {
                break;
            }
            ring::sleep(DRAIN_INTERVAL).await;
        }
    }

    /// Waits until what folds have found to be dead is given back on this core's shards, as far as that can be now, for as long as it
    /// takes: a store that is closed leaves the rest to a later start.
    pub async fn give_back_all(&self) {
        let is_busy =
            |shard: ShardId| self.core.shared.shard(shard).counts.rounds.load(Ordering::Acquire) > 0;
        while self.own_shards().any(is_busy) {
            ring::sleep(DRAIN_INTERVAL).await;
        }
    }

    /// The process is about to end: from now on no shard copies bodies forward, which would only make new writes.
    pub fn end_copying(&self) {
        self.core.shared.copying_is_over.store(true, Ordering::Relaxed);
    }

    /// How often the machine's clock was set by more than a minute since the start.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        self.core.shared.clock_steps.count()
    }

    /// What every shard says of itself.
    #[must_use]
    pub fn status(&self) -> Vec<ShardStatus> {
        let shards = &self.core.shared.shards;
        shards
            .iter()
            .map(|shard| {
                let counts = &shard.counts;
                let get = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
                ShardStatus {
                    shard: shard.id,
                    durable_lsn: Lsn(shard.durable_lsn.load(Ordering::Acquire)),
                    applied_lsn: Lsn(get(&counts.applied_lsn)),
                    overlay_bytes: counts.overlay_bytes.load(Ordering::Relaxed) as u64,
                    overlay_entries: counts.overlay_entries.load(Ordering::Relaxed) as u64,
                    queued: counts.queued.load(Ordering::Relaxed) as u64,
                    waiting: counts.waiting.load(Ordering::Relaxed) as u64,
                    batches: get(&counts.batches),
                    batch_bytes: get(&counts.batch_bytes),
                    operations: get(&counts.operations),
                    folds: get(&counts.folds),
                    folded_entries: get(&counts.folded_entries),
                    fold_micros: get(&counts.fold_micros),
                    log_stalls: get(&counts.log_stalls),
                    sweeping: counts.sweeping.load(Ordering::Relaxed),
                    trouble: shard.trouble().map(|reason| reason.to_string()),
                }
            })
            .collect()
    }

    /// Operations that this core sent to another one.
    #[must_use]
    pub fn hop_count(&self) -> u64 {
        self.core.hops.get()
    }
}
