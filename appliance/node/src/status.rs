//! What the whole process is doing, as health checks tell it.
//! Invariant: `Serving` is entered once every shard has recovered, and left only to drain.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store::ShardStatus;

use crate::metrics::CoreMetrics;
use crate::surroundings::Surroundings;

/// Where the process is in its life.
///
/// ```text
/// Recovering -> Serving -> Draining
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Shards are being recovered; data requests get 503.
    Recovering = 0,
    /// Everything is answered.
    Serving = 1,
    /// No new connections; what is under way ends.
    Draining = 2,
}

impl Phase {
    /// Its name in `/-/ready`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Recovering => "recovering",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// Shared by all threads.
pub struct Status {
    phase: AtomicU8,
    /// Cores that may still ask something of another one's shards.
    busy_cores: AtomicUsize,
    begun: Instant,
    /// One per core.
    pub cores: Vec<Arc<CoreMetrics>>,
    /// The reactor's backend.
    pub backend: &'static str,
    /// What it finds around it.
    pub surroundings: Surroundings,
    warnings: Mutex<Vec<String>>,
}

/// A core whose loop has not run its clock for so long counts as stuck.
const HEARTBEAT_LATE: Duration = Duration::from_secs(10);

impl Status {
    /// At the start.
    pub fn new(core_count: usize, backend: &'static str, warnings: Vec<String>) -> Arc<Status> {
        Arc::new(Status {
            phase: AtomicU8::new(Phase::Recovering as u8),
            busy_cores: AtomicUsize::new(core_count),
            begun: Instant::now(),
            cores: (0..core_count).map(|_| CoreMetrics::new()).collect(),
            backend,
            surroundings: Surroundings::default(),
            warnings: Mutex::new(warnings),
        })
    }

    /// Where the process is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Recovering,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Goes on to a later phase; an earlier one is ignored.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// A core has no connection any more and takes none, or could not even begin. Each says so once, see `Busy`.
    fn core_is_done(&self) {
        self.busy_cores.fetch_sub(1, Ordering::AcqRel);
    }

    /// Cores that still have connections, or take some.
    pub fn busy_core_count(&self) -> usize {
        self.busy_cores.load(Ordering::Acquire)
    }

    /// Milliseconds since the process began.
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds something that an operator should know.
    pub fn warn(&self, text: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// Whether every core's loop runs.
    pub fn is_live(&self) -> bool {
        self.stuck_cores().is_empty()
    }

    fn stuck_cores(&self) -> Vec<usize> {
        let late = u64::try_from(HEARTBEAT_LATE.as_millis()).unwrap_or(u64::MAX);
        let now = self.uptime_ms();
        let is_stuck = |core: &Arc<CoreMetrics>| now.saturating_sub(core.heartbeat_ms.get()) > late;
        self.cores.iter().enumerate().filter(|(_, core)| is_stuck(core)).map(|(index, _)| index).collect()
    }

    /// Whether requests are answered, reads and writes, by these shards.
    pub fn is_ready(&self, shards: &[ShardStatus]) -> bool {
        self.phase() == Phase::Serving && self.is_live() && shards.iter().all(|shard| shard.trouble.is_none())
    }

    /// The reasons, for those who may see them.
    pub fn describe(&self, shards: &[ShardStatus]) -> Value {
        let described: Vec<Value> = shards
            .iter()
            .map(|status| match &status.trouble {
                None => json!({ "shard": status.shard.0, "state": "serving", "durable_lsn": status.durable_lsn.0 }),
                Some(reason) => json!({ "shard": status.shard.0, "state": "refusing writes", "reason": reason }),
            })
            .collect();
        json!({
            "ready": self.is_ready(shards),
            "phase": self.phase().name(),
            "version": env!("CARGO_PKG_VERSION"),
            "backend": self.backend,
            "cores": self.cores.len(),
            "stuck_cores": self.stuck_cores(),
            "uptime_seconds": self.uptime_ms() / 1_000,
            "shards": described,
            "warnings": *self.warnings.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }
}

/// One core's word that it may still ask something of another one's shards, until it is dropped.
pub struct Busy(Arc<Status>);

impl Busy {
    /// For a core that `Status::new` counted.
    pub fn new(status: Arc<Status>) -> Busy {
        Busy(status)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.core_is_done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Lsn, ShardId};

    fn shard(trouble: Option<&str>) -> ShardStatus {
        ShardStatus {
            shard: ShardId(1),
            durable_lsn: Lsn(7),
            applied_lsn: Lsn(5),
            overlay_bytes: 0,
            overlay_entries: 0,
            queued: 0,
            waiting: 0,
            batches: 0,
            batch_bytes: 0,
            operations: 0,
            folds: 0,
            folded_entries: 0,
            fold_micros: 0,
            sweeping: false,
            log_stalls: 0,
            trouble: trouble.map(Into::into),
        }
    }

    #[test]
    fn a_node_is_ready_when_it_serves_and_no_shard_is_in_trouble() {
        let status = Status::new(1, "epoll", vec![]);
        assert!(!status.is_ready(&[]));
        status.advance(Phase::Serving);
        assert!(status.is_ready(&[shard(None)]));
        let shards = [shard(None), shard(Some("sync failed"))];
        assert!(!status.is_ready(&shards));
        assert_eq!(status.describe(&shards)["shards"][1]["reason"], "sync failed");
    }

    #[test]
    fn phases_only_go_forward() {
        let status = Status::new(1, "epoll", vec![]);
        status.advance(Phase::Draining);
        status.advance(Phase::Serving);
        assert_eq!(status.phase(), Phase::Draining);
    }
}
