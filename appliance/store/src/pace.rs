//! When a batch sets out although more could join it: how long operations and syncs take lately.
//! Invariant: it only advises; a batch that it holds back leaves at the end of the turn.
//! Leaves to owner.rs: writing.
//!
//! A sync costs about the same whether a batch is small or large, so batches should be large; but while nothing is in
//! flight the disk idles. So a batch sets out once its operations took as long as a sync takes: then the rest is executed
//! while it is on its way, and neither waits long for the other.

use std::time::Duration;

/// Moving averages over about the last eight samples, in nanoseconds.
#[derive(Default)]
pub(crate) struct Pace {
    operation_nanos: u64,
    sync_nanos: u64,
}

impl Pace {
    /// So many operations took so long together.
    pub(crate) fn executed(&mut self, count: u32, took: Duration) {
        if count > 0 {
            average(&mut self.operation_nanos, took / count);
        }
    }

    /// A batch was written and synced in this time.
    pub(crate) fn synced(&mut self, took: Duration) {
        average(&mut self.sync_nanos, took);
    }

    /// Executing so many operations took as long as their sync will take.
    pub(crate) fn is_worth_a_sync(&self, count: u32) -> bool {
        count >= COUNT_MIN && u64::from(count).saturating_mul(self.operation_nanos) >= self.sync_nanos
    }
}

/// Operations in a batch that leaves although more are queued, at least.
const COUNT_MIN: u32 = 8;
/// The weight of the newest sample is one in so many.
const SAMPLES: u64 = 8;

fn average(nanos: &mut u64, sample: Duration) {
    let sample = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX);
    *nanos = if *nanos == 0 { sample } else { *nanos - *nanos / SAMPLES + sample / SAMPLES };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_worth_a_sync_when_its_operations_took_as_long() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.executed(10, Duration::from_micros(100));
            pace.synced(Duration::from_micros(300));
        }
        assert!(!pace.is_worth_a_sync(25));
        assert!(pace.is_worth_a_sync(35));
    }

    #[test]
    fn a_few_operations_are_never_worth_a_sync_of_their_own() {
        let mut pace = Pace::default();
        assert!(!pace.is_worth_a_sync(COUNT_MIN - 1));
        pace.executed(1, Duration::from_secs(1));
        assert!(!pace.is_worth_a_sync(COUNT_MIN - 1) && pace.is_worth_a_sync(COUNT_MIN));
    }
}
