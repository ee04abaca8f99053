//! One bound, for the whole device, on the bytes of bulk writes in flight. Beside 1 MiB writes at full speed the sync
//! of a log takes four times as long (658 us against 164), so bulk waits for its turn here and logs do not.
//! Invariant: permits are given in the order in which they were asked for; those given never exceed the limit, unless
//! the limit was lowered while they were out.
//! Leaves to the caller: dropping the permit as soon as its write is done.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget; one per data directory, shared by all cores and companions.
#[derive(Clone)]
pub struct BulkBudget {
    semaphore: Arc<Semaphore>,
    /// The limit in units.
    limit: Arc<AtomicU32>,
}

/// The right to have some bytes in flight; dropping it gives them back.
pub struct BulkPermit {
    _units: OwnedSemaphorePermit,
}

impl BulkBudget {
    /// A budget of `limit_bytes`, at least `PERMIT_BYTES_MAX`.
    #[must_use]
    pub fn new(limit_bytes: u64) -> BulkBudget {
        let units = units(limit_bytes.max(PERMIT_BYTES_MAX));
        BulkBudget {
            semaphore: Arc::new(Semaphore::new(units as usize)),
            limit: Arc::new(AtomicU32::new(units)),
        }
    }

    /// Waits until `bytes` may be in flight. More than `PERMIT_BYTES_MAX` counts as that much: what nobody could ever
    /// be given, because the limit was lowered meanwhile, would block all who wait behind it.
    pub async fn acquire(&self, bytes: u64) -> BulkPermit {
        let wanted = units(bytes.min(PERMIT_BYTES_MAX));
        let units = Arc::clone(&self.semaphore).acquire_many_owned(wanted).await;
        BulkPermit { _units: units.expect("the semaphore is never closed") }
    }

    /// `acquire` for a companion thread.
    #[must_use]
    pub fn acquire_blocking(&self, bytes: u64) -> BulkPermit {
        block_on(self.acquire(bytes))
    }

    /// Sets a new limit, at least `PERMIT_BYTES_MAX`, for the tuner that watches the log's syncs. One caller at a time.
    /// A lower limit takes effect as permits come back, and only as far as they are free now.
    pub fn set_limit(&self, limit_bytes: u64) {
        let wanted = units(limit_bytes.max(PERMIT_BYTES_MAX));
        let current = self.limit.load(Ordering::Relaxed);
        if wanted >= current {
            self.semaphore.add_permits((wanted - current) as usize);
            self.limit.store(wanted, Ordering::Relaxed);
        } else {
            let removed = self.semaphore.forget_permits((current - wanted) as usize);
            self.limit.store(current - removed as u32, Ordering::Relaxed);
        }
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        u64::from(self.limit.load(Ordering::Relaxed)) * UNIT_BYTES
    }

    /// Bytes that could go at once.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.semaphore.available_permits() as u64 * UNIT_BYTES
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX).min(UNITS_MAX)
}

/// Polls a future on this thread until it is done, parked in between.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// The limit at start.
pub const LIMIT_BYTES_START: u64 = 4 * 1024 * 1024;
/// The largest permit, and the smallest limit: more than the largest write of a body.
pub const PERMIT_BYTES_MAX: u64 = 2 * 1024 * 1024;
const UNIT_BYTES: u64 = 4096;
/// 1 TiB: more than any device has in flight, far below what a semaphore can count.
const UNITS_MAX: u32 = 1 << 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_never_exceed_the_limit_and_come_back() {
        let budget = BulkBudget::new(LIMIT_BYTES_START);
        let held = [budget.acquire_blocking(2 << 20), budget.acquire_blocking(1 << 20)];
        assert_eq!(budget.free_bytes(), 1 << 20);
        let other = budget.clone();
        let waiting = std::thread::spawn(move || drop(other.acquire_blocking(2 << 20)));
        drop(held);
        waiting.join().expect("the waiting thread got its permit");
        assert_eq!(budget.free_bytes(), LIMIT_BYTES_START);
    }

    #[test]
    fn no_permit_is_larger_than_the_smallest_budget() {
        let budget = BulkBudget::new(0);
        assert_eq!(budget.limit_bytes(), PERMIT_BYTES_MAX);
        let permit = budget.acquire_blocking(1 << 40);
        assert_eq!(budget.free_bytes(), 0);
        drop(permit);
        assert_eq!(budget.free_bytes(), PERMIT_BYTES_MAX);
    }

    #[test]
    fn the_limit_can_move_both_ways() {
        let budget = BulkBudget::new(4 << 20);
        budget.set_limit(3 << 20);
        assert_eq!((budget.limit_bytes(), budget.free_bytes()), (3 << 20, 3 << 20));
        budget.set_limit(8 << 20);
        assert_eq!((budget.limit_bytes(), budget.free_bytes()), (8 << 20, 8 << 20));
        let permits: Vec<_> = (0..3).map(|_| budget.acquire_blocking(2 << 20)).collect();
        budget.set_limit(0);
        assert_eq!(budget.limit_bytes(), 6 << 20, "only what is free can be taken at once");
        drop(permits);
        budget.set_limit(0);
        assert_eq!(budget.limit_bytes(), PERMIT_BYTES_MAX);
    }

    #[test]
    fn lowering_the_limit_never_strands_who_waits() {
        let budget = BulkBudget::new(8 << 20);
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let budget = budget.clone();
                std::thread::spawn(move || {
                    for _ in 0..500 {
                        drop(budget.acquire_blocking(PERMIT_BYTES_MAX));
                    }
                })
            })
            .collect();
        for round in 0..200_u64 {
            budget.set_limit((round % 2) * (8 << 20));
            std::thread::yield_now();
        }
        workers.into_iter().for_each(|worker| worker.join().expect("everybody got their permits"));
        assert_eq!(budget.free_bytes(), budget.limit_bytes());
    }
}
