//! The fate of a transaction over several shards, shared by all of its intents, and the counter that orders commits.
//! Invariant: a status leaves `Pending` once and never changes again; a reader that loaded the counter as C finds every
//! status with a commit number up to C decided, so one comparison gives all of a transaction or nothing of it.
//! Leaves to tx.rs: deciding, and making the decision durable first.
//!
//! ```text
//! Pending --commit--> Committed(c)      one AtomicU64: 0 pending, 1 aborted, c + 1 committed with number c >= 1
//!    \-----abort----> Aborted
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxState {
    /// Not decided: its intents are invisible to readers and in doubt for writers.
    Pending,
    /// It never happened.
    Aborted,
    /// It happened, as the transaction with this commit number (1 or more).
    Committed(u64),
}

/// The shared fate of one transaction's intents.
#[derive(Debug)]
pub struct TxStatus(AtomicU64);

impl TxStatus {
    /// A transaction that is not decided yet.
    #[must_use]
    pub const fn pending() -> TxStatus {
        TxStatus(AtomicU64::new(PENDING))
    }

    /// The fate as of now.
    #[must_use]
    pub fn state(&self) -> TxState {
        match self.0.load(Ordering::Acquire) {
            PENDING => TxState::Pending,
            ABORTED => TxState::Aborted,
            encoded => TxState::Committed(encoded - COMMITTED_BASE),
        }
    }

    /// Whether a reader that loaded the commit counter as `commit` sees this transaction. A point read passes `u64::MAX`.
    #[must_use]
    pub fn is_visible_at(&self, commit: u64) -> bool {
        matches!(self.state(), TxState::Committed(number) if number <= commit)
    }

    /// Decides that the transaction never happened.
    ///
    /// # Panics
    /// When it is decided already: two decisions would show different readers different worlds.
    pub fn abort(&self) {
        self.decide(ABORTED);
    }

    fn decide(&self, encoded: u64) {
        let before = self.0.compare_exchange(PENDING, encoded, Ordering::AcqRel, Ordering::Acquire);
        assert!(before.is_ok(), "a transaction was decided twice: encoded state {before:?}");
    }
}

/// Numbers the commits of one process. Readers load it once per view over several shards.
#[derive(Debug)]
pub struct CommitCounter {
    /// The greatest commit number that is both given and stored in its status.
    published: AtomicU64,
    /// Held for the three instructions of `commit`. A number taken before its status is stored would let a reader load
    /// the new counter, miss the transaction on one shard and meet it on the next.
    committing: Mutex<()>,
}

impl CommitCounter {
    /// A counter that has seen no commit.
    #[must_use]
    pub const fn new() -> CommitCounter {
        CommitCounter { published: AtomicU64::new(0), committing: Mutex::new(()) }
    }

    /// Decides that the transaction of `status` happened, after every commit so far, and returns its number. Call it when
    /// all prepares are durable and before the reply leaves.
    ///
    /// # Panics
    /// When the transaction is decided already.
    pub fn commit(&self, status: &TxStatus) -> u64 {
        let _committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.published.load(Ordering::Relaxed) + 1;
        status.decide(number + COMMITTED_BASE);
        // Release, after the status: whoever loads this number finds the status decided.
        self.published.store(number, Ordering::Release);
        number
    }

    /// The number of the last commit, 0 before the first.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }
}

impl Default for CommitCounter {
    fn default() -> CommitCounter {
        CommitCounter::new()
    }
}

const PENDING: u64 = 0;
const ABORTED: u64 = 1;
/// Commit number 1 is encoded as 2.
const COMMITTED_BASE: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_commit_is_visible_from_its_own_number_on() {
        let counter = CommitCounter::new();
        let (first, second) = (TxStatus::pending(), TxStatus::pending());
        assert_eq!(first.state(), TxState::Pending);
        assert!(!first.is_visible_at(u64::MAX));
        assert_eq!((counter.commit(&first), counter.commit(&second)), (1, 2));
        assert_eq!((first.state(), second.state()), (TxState::Committed(1), TxState::Committed(2)));
        assert!(!first.is_visible_at(0) && first.is_visible_at(1) && !second.is_visible_at(1));
        assert_eq!(counter.load(), 2);
    }

    #[test]
    fn an_aborted_transaction_is_never_visible() {
        let status = TxStatus::pending();
        status.abort();
        assert_eq!(status.state(), TxState::Aborted);
        assert!(!status.is_visible_at(u64::MAX));
    }

    #[test]
    #[should_panic(expected = "decided twice")]
    fn a_decided_transaction_cannot_be_decided_again() {
        let status = TxStatus::pending();
        status.abort();
        CommitCounter::new().commit(&status);
    }

    #[test]
    fn a_number_is_published_after_its_status() {
        let (counter, decided) = (CommitCounter::new(), TxStatus::pending());
        decided.abort();
        // The refusal happens where the status is stored: had the number been published before, it would show.
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| counter.commit(&decided)));
        assert!(refused.is_err());
        assert_eq!(counter.load(), 0);
        assert_eq!(counter.commit(&TxStatus::pending()), 1);
    }

    #[test]
    fn a_reader_never_sees_a_status_change_under_its_counter() {
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        let counter = Arc::new(CommitCounter::new());
        let statuses: Arc<Vec<TxStatus>> = Arc::new((0..rounds * 2).map(|_| TxStatus::pending()).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..2)
            .map(|part| {
                let (counter, statuses) = (Arc::clone(&counter), Arc::clone(&statuses));
                std::thread::spawn(move || {
                    for index in 0..rounds {
                        counter.commit(&statuses[part * rounds + index]);
                    }
                })
            })
            .collect();
        let reader = {
            let (counter, statuses, stop) = (Arc::clone(&counter), Arc::clone(&statuses), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let commit = counter.load();
                    let visible = statuses.iter().filter(|status| status.is_visible_at(commit)).count();
                    assert_eq!(visible as u64, commit);
                }
            })
        };
        for writer in writers {
            writer.join().expect("the writer found every status pending");
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader counted what the counter said");
    }
}
