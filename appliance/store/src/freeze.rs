//! When a shard's overlays are exchanged, and what happens once the frozen one is in the index.
//! Invariant: overlays are exchanged on batch boundaries only, at most one is frozen, and its fold begins when all of it is
//! durable. Undecided intents move to the new active overlay.
//! Leaves to fold.rs: the folding.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::fault::Fault;
use crate::fold::{FoldOrder, FoldReport};
use crate::kept::Died;
use crate::log::{BatchBuilder, Checkpoint};
use crate::overlay::overlay;
use crate::owner::Owner;
use crate::planted::{self, Plant};
use crate::view::Overlays;

/// The oldest entry of the active overlay where room is short.
const FOLD_AGE_MAX_WHEN_SHORT: Duration = Duration::from_secs(1);
/// Pause after a fold that found the disk full.
const FOLD_RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl Owner {
    /// Exchanges the overlays if the active one is large or old, or log space is short. Called on a batch boundary.
    pub(crate) fn consider_freeze(&mut self, short_of_log: bool) {
        if self.filling.as_ref().is_some_and(BatchBuilder::is_empty) {
            self.filling = None;
        }
        if self.frozen.is_some() || self.filling.is_some() {
            return;
        }
        let active = self.overlay.overlay();
        let (entries, bytes) = (active.entry_count(), active.arena_bytes());
        // What was deleted on a full disk, or by a cache at its limit, is room only after a fold.
        let is_wanted = !self.died.is_none() && self.shared.kept.is_wanted(self.id);
        let is_short = is_wanted || self.shard().counts.full.load(Ordering::Relaxed);
        let age_max = if is_short { FOLD_AGE_MAX_WHEN_SHORT } else { self.limits.fold_age_max };
        let old = self.active_since.is_some_and(|since| ring::now() - since > age_max);
        let due = entries >= self.limits.fold_entries
            || bytes >= self.limits.fold_bytes
            || self.log_bytes_since_freeze >= self.limits.fold_log_bytes
            || short_of_log
            || old;
        // Without entries a fold only moves the checkpoint, which gives log segments back.
        let behind = self.folded_lsn < self.last_checkpoint.lsn;
        if !due || (entries == 0 && !(short_of_log && behind)) {
            return;
        }
        // The frozen overlay is durable when the batch in flight is; without one it is already.
        let last = self.in_flight.unwrap_or(self.last_checkpoint.lsn);
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (writer, fresh) = overlay(self.limits.arena_hint_bytes, self.random);
        let old_writer = std::mem::replace(&mut self.overlay, writer);
        let frozen = Arc::clone(old_writer.overlay());
        // The frozen overlay's references end with its fold; those of the intents that move to the new one count from here.
        self.log_reference_low = u64::MAX;
        self.carry_intents();
        if planted::is(Plant::CarriedReferenceLost) {
            self.log_reference_low = u64::MAX;
        }
        let overlays = Overlays { active: fresh, frozen: Some(Arc::clone(&frozen)) };
        self.shard().overlays.replace(overlays);
        self.frozen = Some(frozen);
        self.log_bytes_frozen = std::mem::take(&mut self.log_bytes_since_freeze);
        self.died_frozen = std::mem::take(&mut self.died);
        self.shared.kept.answer(self.id);
        self.active_since = None;
        self.fold_after = Some(last);
        if self.in_flight.is_none() {
            self.start_fold(self.last_checkpoint);
        }
    }

    pub(crate) fn start_fold(&mut self, checkpoint: Checkpoint) {
        let Some(frozen) = &self.frozen else { return };
        self.fold_after = None;
        self.fold_checkpoint = checkpoint;
        let order = FoldOrder {
            shared: Arc::clone(&self.shared),
            shard: self.id,
            frozen: Arc::clone(frozen),
            checkpoint,
            died: self.died_frozen,
        };
        self.companions.fold(order);
    }

    pub(crate) fn folded(&mut self, result: Result<FoldReport, Fault>) {
        let report = match result {
            Ok(report) => report,
            Err(Fault::Full) => {
                // Mends without a restart: reads and deletes go on, the fold is tried again.
                self.shard().counts.full.store(true, Ordering::Relaxed);
                self.shard().counts.fold_is_stuck.store(true, Ordering::Relaxed);
                self.fold_again_at = Some(ring::now() + FOLD_RETRY_INTERVAL);
                return;
            }
            Err(fault) => {
                // The frozen overlay stays and shadows the index, so reads go on; writers stop when memory is used up.
                self.stop_writes(&format!("fold failed: {fault}"));
                return;
            }
        };
        let counts = &self.shard().counts;
        counts.fold_is_stuck.store(false, Ordering::Relaxed);
        counts.folds.fetch_add(1, Ordering::Relaxed);
        counts.folded_entries.fetch_add(report.entries, Ordering::Relaxed);
        counts.fold_micros.fetch_add(report.micros, Ordering::Relaxed);
        counts.applied_lsn.fetch_max(report.checkpoint.lsn.0, Ordering::Relaxed);
        self.folded_lsn = report.checkpoint.lsn;
        self.frozen = None;
        self.log_bytes_frozen = 0;
        self.shard().overlays.replace(Overlays { active: Arc::clone(self.overlay.overlay()), frozen: None });
        let mut keep_from = report.checkpoint.position.segment.min(self.log_reference_low);
        if planted::is(Plant::LogRetiredEarly) {
            keep_from = u64::MAX;
        }
        let retired = self.log.retirable_below(keep_from);
        self.companions.retire(retired);
        self.companions.reclaim(report);
        // What came meanwhile may be due already.
        if self.in_flight.is_none() {
            self.consider_freeze(false);
        }
    }

    /// From now on no write is acknowledged. What was dying is given back by nobody before the next start.
    pub(crate) fn stop_writes(&mut self, reason: &str) {
        self.shard().stop_writes(reason);
        self.died = Died::default();
        self.shared.kept.stopped(self.id);
    }

    /// Fold now, whatever the size: drain and tests. Returns whether there is nothing left to fold.
    pub(crate) fn fold_now(&mut self) -> bool {
        if self.frozen.is_some() {
            return false;
        }
        if self.overlay.overlay().entry_count() == 0 {
            return true;
        }
        if self.filling.as_ref().is_some_and(BatchBuilder::is_empty) {
            self.filling = None;
        }
        if self.in_flight.is_none() && self.filling.is_none() {
            self.consider_freeze(true);
        }
        false
    }
}
