//! The proof of the last batch: while no later batch names it, a last batch that has rotted looks like one that never
//! landed whole. So an idle shard appends and syncs an empty batch, for which no reply waits.
//! Invariant: after `proof_delay` without work the last batch with effects is named by a later one.

use std::sync::atomic::Ordering;

use crate::owner::Owner;
use crate::types::{Lsn, Timestamp};

impl Owner {
    /// The last batch of a quiet shard is indistinguishable from a torn one until a later batch names it.
    pub(crate) fn want_proof(&mut self) {
        self.proven = self.last_checkpoint.lsn == Lsn::ZERO;
        if self.proven || self.proof_timer_runs {
            return;
        }
        self.proof_timer_runs = true;
        let me = self.me.clone();
        let delay = self.limits.proof_delay;
        ring::spawn(async move {
            loop {
                let Some(before) = me.upgrade().map(|owner| owner.borrow().last_checkpoint.lsn) else {
                    return;
                };
                ring::sleep(delay).await;
                let Some(owner) = me.upgrade() else { return };
                let mut owner = owner.borrow_mut();
                if owner.proven {
                    owner.proof_timer_runs = false;
                    return;
                }
                if owner.last_checkpoint.lsn == before && owner.in_flight.is_none() {
                    owner.proof_timer_runs = false;
                    owner.write_proof();
                    return;
                }
            }
        })
        .detach();
    }

    pub(crate) fn write_proof(&mut self) {
        if self.shard().check_writable().is_err() || self.in_flight.is_some() {
            return;
        }
        if self.filling.as_ref().is_some_and(|batch| !batch.is_empty()) {
            return self.start_batch();
        }
        let Some(batch) = self.filling.take().or_else(|| self.log.open_batch().ok()) else { return };
        let lsn = batch.lsn();
        self.in_flight = Some(lsn);
        let durable = Lsn(self.shard().durable_lsn.load(Ordering::Relaxed));
        let write = self.log.write(batch, durable, Timestamp::from_system_clock());
        self.in_flight_is_proof = true;
        let me = self.me.clone();
        ring::spawn(async move {
            let result = write.await;
            if let Some(owner) = me.upgrade() {
                owner.borrow_mut().written(lsn, result);
            }
        })
        .detach();
    }
}
