#![allow(unsafe_code, reason = "AtomicShared hands out references that the epoch guard keeps alive")]
//! Quiescence: when memory, log space or extents that a reader may still look at can go.
//! Invariant: what is handed to `after_grace` runs after every guard that existed at the call is gone, and always on this
//! file's own thread, so that dropping an arena of many megabytes never holds up a reactor.
//! Leaves to crossbeam-epoch: the epochs. Leaves to callers: a guard never lives across an await.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// While a thread holds one, nothing that it can reach through an `AtomicShared` goes away. Not `Send`.
pub struct Guard {
    /// Held for its drop, which unpins the thread.
    _pinned: crossbeam_epoch::Guard,
}

/// Marks this thread as reading. Cheap (a store and a fence) and reentrant.
#[must_use]
pub fn pin() -> Guard {
    Guard { _pinned: crossbeam_epoch::pin() }
}

/// Runs `work` on the grace thread once every guard that exists now is gone. Works in the order given.
pub fn after_grace(work: impl FnOnce() + Send + 'static) {
    Reclaimer::get().submit(Box::new(work));
}

/// Drops `value` on the grace thread once every guard that exists now is gone.
pub fn defer_drop<T: Send + 'static>(value: T) {
    after_grace(move || drop(value));
}

/// Resolves once every guard that existed at the call is gone. The wait begins with the call, not with the first poll.
pub fn grace() -> Grace {
    let shared = Arc::new(Mutex::new(GraceState { passed: false, waker: None }));
    let passed = Arc::clone(&shared);
    after_grace(move || {
        let waker = {
            let mut state = lock(&passed);
            state.passed = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    Grace { shared }
}

/// Blocks until every guard that existed at the call is gone. For companion threads, never for a reactor.
///
/// # Panics
/// When the calling thread holds a guard: it would wait for itself.
pub fn grace_blocking() {
    assert!(!crossbeam_epoch::is_pinned(), "a thread that holds a guard would wait for itself");
    let passed = Arc::new(AtomicBool::new(false));
    let signal = Arc::clone(&passed);
    // The collector runs this after the epoch has advanced twice, which no thread pinned now lets happen.
    crossbeam_epoch::pin().defer(move || signal.store(true, Ordering::Release));
    let mut attempts = 0_u32;
    loop {
        // Each flush hands over this thread's garbage, tries to advance the epoch and runs what has become due.
        crossbeam_epoch::pin().flush();
        if passed.load(Ordering::Acquire) {
            return;
        }
        attempts += 1;
        if attempts > SPIN_ATTEMPTS {
            std::thread::sleep(POLL_INTERVAL);
        } else {
            std::thread::yield_now();
        }
    }
}

/// The future of `grace`.
#[must_use = "a grace period that nobody awaits separates nothing"]
pub struct Grace {
    shared: Arc<Mutex<GraceState>>,
}

struct GraceState {
    passed: bool,
    waker: Option<Waker>,
}

impl Future for Grace {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.shared);
        if state.passed {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The thread that waits for grace periods. Started with the first work and parked while there is none.
struct Reclaimer {
    queue: Mutex<Vec<Work>>,
    arrived: Condvar,
}

impl Reclaimer {
    fn get() -> &'static Reclaimer {
        static RECLAIMER: OnceLock<Reclaimer> = OnceLock::new();
        static STARTED: OnceLock<()> = OnceLock::new();
        let reclaimer =
            RECLAIMER.get_or_init(|| Reclaimer { queue: Mutex::new(Vec::new()), arrived: Condvar::new() });
        STARTED.get_or_init(|| {
            std::thread::Builder::new()
                .name("grace".to_owned())
                .spawn(|| reclaimer.run())
                .expect("a process that cannot start one thread cannot serve");
        });
        reclaimer
    }

    fn submit(&self, work: Work) {
        lock(&self.queue).push(work);
        self.arrived.notify_one();
    }

    /// One grace period serves all the work that was queued before it began.
    fn run(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.is_empty() {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let due = std::mem::take(&mut *queue);
            drop(queue);
            grace_blocking();
            for work in due {
                work();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in this file panics while it holds a lock, so a poisoned one still guards a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that one thread replaces and many read without a lock.
pub struct AtomicShared<T: Send + Sync + 'static> {
    /// From `Box::into_raw`, never null; owned by this struct until it is swapped out.
    current: AtomicPtr<T>,
    _owns: PhantomData<T>,
}

impl<T: Send + Sync + 'static> AtomicShared<T> {
    /// Holds `value`.
    #[must_use]
    pub fn new(value: T) -> AtomicShared<T> {
        AtomicShared { current: AtomicPtr::new(Box::into_raw(Box::new(value))), _owns: PhantomData }
    }

    /// The current value, for as long as the guard lives.
    #[must_use]
    pub fn load<'g>(&'g self, _guard: &'g Guard) -> &'g T {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer is from Box::into_raw and its value was written before the release store that published it;
        // it is freed only by `replace`, after every guard that existed then is gone, this one included, or by `drop`,
        // which the borrow of self excludes. Nobody takes a mutable reference to it before that.
        unsafe { &*current }
    }

    /// The current value together with the guard that keeps it.
    #[must_use]
    pub fn pinned(&self) -> Pinned<'_, T> {
        let guard = pin();
        let current: *const T = self.load(&guard);
        Pinned { current, _guard: guard, _owner: PhantomData }
    }

    /// Whether the current value is still the one at `seen`, which `load` or `pinned` gave under a guard still held.
    #[must_use]
    pub fn is_current(&self, seen: &T) -> bool {
        ptr::eq(self.current.load(Ordering::Acquire), seen)
    }

    /// Publishes `value`; the old one is dropped on the grace thread when nobody can look at it any more.
    pub fn replace(&self, value: T) {
        let old = self.current.swap(Box::into_raw(Box::new(value)), Ordering::AcqRel);
        defer_drop(Retired(old));
    }
}

impl<T: Send + Sync + 'static> Drop for AtomicShared<T> {
    fn drop(&mut self) {
        drop(Retired(*self.current.get_mut()));
    }
}

/// A value of an `AtomicShared` and the guard that keeps it from being dropped. Not `Send`.
pub struct Pinned<'s, T> {
    /// From `load` under the guard below.
    current: *const T,
    _guard: Guard,
    _owner: PhantomData<&'s T>,
}

impl<T> std::ops::Deref for Pinned<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `load` gave a valid reference under the guard held here; `replace` drops the value only after that guard
        // is gone, and the AtomicShared itself outlives 's.
        unsafe { &*self.current }
    }
}

/// A value nobody will find any more but somebody may still look at. It stays a pointer until its drop, since a `Box`
/// would claim that no other reference exists.
struct Retired<T>(*mut T);

// SAFETY: a Retired is the sole owner of its value, which the bound says may move to and be dropped on another thread.
unsafe impl<T: Send + Sync> Send for Retired<T> {}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is from Box::into_raw in `new` or `replace` and left its AtomicShared by a swap or with its
        // end, so only this Retired owns it; every guard under which it was found is gone when this runs.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Attempts without sleeping: guards live for microseconds.
const SPIN_ATTEMPTS: u32 = 64;
/// Pause between later attempts, when some thread holds its guard for a long range read or lost its core.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    struct CountsDrops(Arc<AtomicU64>);

    impl Drop for CountsDrops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Unparks(std::thread::Thread);

    impl std::task::Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on(mut future: impl Future<Output = ()> + Unpin) {
        let waker = Waker::from(Arc::new(Unparks(std::thread::current())));
        while Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
    }

    #[test]
    fn grace_waits_for_a_thread_that_is_pinned() {
        let (pinned, is_pinned) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let unpinned = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&unpinned);
        let reader = std::thread::spawn(move || {
            let guard = pin();
            pinned.send(()).unwrap();
            released.recv().unwrap();
            flag.store(true, Ordering::SeqCst);
            drop(guard);
        });
        is_pinned.recv().unwrap();
        let (done, is_done) = mpsc::channel();
        let saw = Arc::clone(&unpinned);
        after_grace(move || done.send(saw.load(Ordering::SeqCst)).unwrap());
        // Whether or not the grace thread has tried already, it may not have run the work.
        for _ in 0..200 {
            crossbeam_epoch::pin().flush();
            assert!(is_done.try_recv().is_err());
        }
        release.send(()).unwrap();
        assert!(is_done.recv().unwrap(), "the work ran while the reader was pinned");
        reader.join().unwrap();
    }

    #[test]
    fn grace_ends_while_every_other_thread_is_idle() {
        grace_blocking();
        block_on(grace());
    }

    #[test]
    fn grace_does_not_wait_for_guards_taken_after_the_call() {
        let waits = grace();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                drop(pin());
            }
        });
        block_on(waits);
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    }

    #[test]
    #[should_panic(expected = "would wait for itself")]
    fn a_pinned_thread_may_not_block_on_grace() {
        let _guard = pin();
        grace_blocking();
    }

    #[test]
    fn a_replaced_value_lives_as_long_as_a_guard_and_no_longer() {
        let drops = Arc::new(AtomicU64::new(0));
        let shared = AtomicShared::new(CountsDrops(Arc::clone(&drops)));
        let guard = pin();
        let seen = shared.load(&guard);
        assert!(shared.is_current(seen));
        shared.replace(CountsDrops(Arc::clone(&drops)));
        assert!(!shared.is_current(seen));
        for _ in 0..200 {
            crossbeam_epoch::pin().flush();
        }
        assert_eq!(seen.0.load(Ordering::SeqCst), 0);
        drop(guard);
        block_on(grace());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        let pinned = shared.pinned();
        assert!(shared.is_current(&pinned));
        shared.replace(CountsDrops(Arc::clone(&drops)));
        for _ in 0..200 {
            crossbeam_epoch::pin().flush();
        }
        assert_eq!(pinned.0.load(Ordering::SeqCst), 1);
        drop(pinned);
        block_on(grace());
        assert_eq!(drops.load(Ordering::SeqCst), 2);
        drop(shared);
        assert_eq!(drops.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn readers_of_a_shared_value_see_whole_values_while_it_is_replaced() {
        let rounds: u64 = if cfg!(miri) { 30 } else { 5_000 };
        let shared = Arc::new(AtomicShared::new(vec![0_u64; 8]));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let mut newest = 0;
                    while newest < rounds {
                        let guard = pin();
                        let seen = shared.load(&guard);
                        assert!(seen.iter().all(|number| *number == seen[0]) && seen[0] >= newest);
                        newest = seen[0];
                    }
                })
            })
            .collect();
        for round in 1..=rounds {
            shared.replace(vec![round; 8]);
        }
        for reader in readers {
            reader.join().unwrap();
        }
    }
}
