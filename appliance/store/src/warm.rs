//! A cold index: keys are touched by helper threads before the thread that needs them does, so that one page fault does not
//! stop a core and a fold's faults overlap.
//! Invariant: touching changes nothing and decides nothing; a store that never warms is right, only slow.
//!
//! A thread counts as cold while it takes more than `COLD_FAULTS_PER_SECOND` major faults, until it takes fewer than a
//! fifth of that.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::overlay::Overlay;
use crate::shared::Shared;
use crate::types::ShardId;

/// Major page faults per second above which a thread counts as cold.
const COLD_FAULTS_PER_SECOND: u64 = 50;
/// Threads that touch a frozen overlay's keys before its fold.
const FOLD_WARM_THREADS: usize = 16;
/// Threads that touch the keys of operations and reads.
const WARM_THREADS: usize = 4;

/// Whether the thread that asks is cold. One per thread.
pub(crate) struct ColdMeter {
    faults: u64,
    since: Instant,
    cold: bool,
}

impl ColdMeter {
    pub(crate) fn new() -> ColdMeter {
        ColdMeter { faults: major_faults().unwrap_or(0), since: Instant::now(), cold: false }
    }

    /// Looks at the faults since the last look, which should be about a second ago or a fold long.
    pub(crate) fn look(&mut self) -> bool {
        let Some(faults) = major_faults() else { return false };
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.judge(faults, seconds)
    }

    /// `faults` so far, so many seconds behind the last look.
    fn judge(&mut self, faults: u64, seconds: f64) -> bool {
        let rate = (faults.saturating_sub(self.faults) as f64 / seconds.max(0.001)) as u64;
        self.faults = faults;
        let threshold = if self.cold { COLD_FAULTS_PER_SECOND / 5 } else { COLD_FAULTS_PER_SECOND };
        self.cold = rate > threshold;
        self.cold
    }
}

/// Major faults of the calling thread so far: field 12 of proc_pid_stat(5).
fn major_faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The second field is in parentheses and may hold blanks; field 12 is the tenth behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(9)?.parse().ok()
}

/// Touches the index pages of every key of an overlay, with many threads at once.
pub(crate) fn warm_overlay(shared: &Shared, shard: ShardId, frozen: &Overlay) {
    let index = shared.shard(shard).index();
    let mut keys = Vec::with_capacity(frozen.key_count());
    let mut cursor = frozen.cursor();
    cursor.seek_first();
    while let Some(key) = cursor.key() {
        keys.push(key);
        cursor.next();
    }
    let part = keys.len().div_ceil(FOLD_WARM_THREADS).max(1);
    std::thread::scope(|scope| {
        for keys in keys.chunks(part) {
            scope.spawn(move || {
                // A key that cannot be touched is met again by the fold, which reports what is wrong.
                let Ok(txn) = index.read() else { return };
                for key in keys {
                    let _touched: Result<_, _> = index.get(&txn, key);
                }
            });
        }
    });
}

/// Keys of one shard, table byte included.
struct Request {
    shard: ShardId,
    keys: Vec<Vec<u8>>,
    done: oneshot::Sender<()>,
}

/// The threads that touch keys for operations and reads.
pub(crate) struct WarmPool {
    requests: Sender<Request>,
}

impl WarmPool {
    /// Starts the threads; they end when the pool is dropped.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> std::io::Result<WarmPool> {
        let (requests, receiver) = channel::<Request>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..WARM_THREADS {
            let (shared, receiver) = (Arc::clone(shared), Arc::clone(&receiver));
            let run = move || while touch_next(&shared, &receiver) {};
            threads.push(std::thread::Builder::new().name(format!("warm-{number}")).spawn(run)?);
        }
        Ok(WarmPool { requests })
    }

    /// Touches keys of a shard; the receiver resolves when they are in memory.
    pub(crate) fn touch(&self, shard: ShardId, keys: Vec<Vec<u8>>) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        // Without the pool the receiver resolves at once, with an error, and the caller goes on cold.
        drop(self.requests.send(Request { shard, keys, done }));
        receiver
    }
}

fn touch_next(shared: &Shared, receiver: &Mutex<Receiver<Request>>) -> bool {
    let request = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let Ok(Request { shard, keys, done }) = request else { return false };
    let index = shared.shard(shard).index();
    if let Ok(txn) = index.read() {
        for key in &keys {
            let _touched: Result<_, _> = index.get(&txn, key);
            // A range start: the leaf that a walk would begin with is the one that the look-up went to.
        }
    }
    // Whoever asked may have gone away.
    let _heard: Result<(), ()> = done.send(());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_faults_of_this_thread_can_be_read() {
        assert!(major_faults().is_some());
    }

    #[test]
    fn a_thread_is_cold_from_many_faults_a_second_until_they_are_few() {
        // Numbers that are made up: a thread of a test may well meet a fault of its own between two looks.
        let mut meter = ColdMeter { faults: 1_000, since: Instant::now(), cold: false };
        assert!(!meter.judge(1_000, 0.0));
        assert!(!meter.judge(1_050, 1.0), "as many as are allowed");
        assert!(meter.judge(1_101, 1.0));
        assert!(meter.judge(1_112, 1.0), "still more than a few");
        assert!(!meter.judge(1_122, 1.0));
    }
}
