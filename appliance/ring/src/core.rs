//! What all parts of one reactor share, on its one thread.
//!
//! Invariant: no foreign code (a waker, a destructor of a task, a hook) runs while a part of the core is
//! borrowed. Wakers are taken out first and called after.

use crate::backend::{Driver, Wait};
use crate::connection::QUEUED_BYTES_MAX;
use crate::executor::Executor;
use crate::hooks::Hooks;
use crate::inbox::{Foreign, Inbox};
use crate::stats::{Counters, count};
use crate::timers::Timers;
use async_task::Runnable;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Instant;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The shared state of one reactor.
pub(crate) struct Core {
    pub inbox: Arc<Inbox>,
    pub foreign: mpsc::Receiver<Foreign>,
    pub executor: Executor,
    pub timers: RefCell<Timers>,
    pub hooks: Hooks,
    pub backend: Driver,
    /// The clock, read once per turn.
    pub now: Cell<Instant>,
    pub counters: Counters,
    /// Unread received bytes on the heap, of all connections together.
    pub copied_receive_bytes: Cell<usize>,
    /// Written bytes that the kernel has not taken, of all connections together.
    pub unsent_bytes: Cell<usize>,
    /// Vectors that connections have done with, for the next that needs one.
    pub spares: Spares,
    /// The reactor has been dropped; streams that outlive it only give errors.
    pub closed: Cell<bool>,
}

impl Core {
    /// The core of this thread's reactor.
    pub fn current() -> Rc<Core> {
        Self::try_current().expect("this function works only on a thread that has a ring::Reactor")
    }

    pub fn try_current() -> Option<Rc<Core>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Makes `core` the thread's own, unless it has one.
    pub fn install(core: &Rc<Core>) -> bool {
        CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            if current.is_some() {
                return false;
            }
            *current = Some(Rc::clone(core));
            true
        })
    }

    pub fn uninstall() {
        let former = CURRENT.try_with(|current| current.borrow_mut().take());
        drop(former);
    }

    /// Queues the task if this thread's reactor owns `inbox`, and gives it back otherwise.
    pub fn push_if_home(inbox: &Arc<Inbox>, runnable: Runnable) -> Option<Runnable> {
        let mut runnable = Some(runnable);
        // An error means that the thread is ending; the task then goes the foreign way.
        let reached = CURRENT.try_with(|current| {
            if let Some(core) = current.borrow().as_ref()
                && Arc::ptr_eq(&core.inbox, inbox)
                && let Some(runnable) = runnable.take()
            {
                core.executor.push(runnable);
            }
        });
        debug_assert!(reached.is_ok() || runnable.is_some());
        runnable
    }

    /// The second half of a turn: hooks, submission, waiting, completions and timers.
    pub fn finish_turn(self: &Rc<Self>, is_idle: impl Fn() -> bool) {
        count(&self.counters.turns);
        self.hooks.run();
        self.backend.submit_gathered(self);
        let wait = if self.executor.is_idle() && is_idle() { self.next_wait() } else { Wait::Not };
        self.backend.turn(self, wait);
        self.now.set(Instant::now());
        self.backend.after_turn(self);
        self.fire_timers();
    }

    fn next_wait(&self) -> Wait {
        let timer = self.timers.borrow().next_deadline();
        let linger = self.backend.next_linger_deadline();
        match (timer, linger) {
            (None, None) => Wait::Forever,
            (Some(one), None) | (None, Some(one)) => Wait::Until(one),
            (Some(one), Some(other)) => Wait::Until(one.min(other)),
        }
    }

    fn fire_timers(&self) {
        let now = self.now.get();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            match due {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

/// Byte vectors kept for reuse, so that an idle connection holds none and a busy one does not allocate. There are
/// two sizes, since a connection with a little to send must not sit on room for much.
pub(crate) struct Spares {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
}

const SMALL_CAPACITY_BYTES: usize = 4 << 10;
const SMALL_COUNT_MAX: usize = 512;
const LARGE_CAPACITY_BYTES: usize = QUEUED_BYTES_MAX;
const LARGE_COUNT_MAX: usize = 16;
/// Between the two; too rare to be kept.
const MIDDLE_CAPACITY_BYTES: usize = 16 << 10;

impl Spares {
    pub fn new() -> Self {
        Spares { small: RefCell::new(Vec::new()), large: RefCell::new(Vec::new()) }
    }

    /// An empty vector with room for at least `bytes` bytes, which are no more than a connection may queue.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let (pool, capacity) = if bytes <= SMALL_CAPACITY_BYTES {
            (&self.small, SMALL_CAPACITY_BYTES)
        } else if bytes <= MIDDLE_CAPACITY_BYTES {
            return Vec::with_capacity(MIDDLE_CAPACITY_BYTES);
        } else {
            (&self.large, LARGE_CAPACITY_BYTES)
        };
        let spare = pool.borrow_mut().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// Takes a vector back, or frees it if enough are kept.
    pub fn give(&self, mut vector: Vec<u8>) {
        let (pool, count_max) = match vector.capacity() {
            SMALL_CAPACITY_BYTES => (&self.small, SMALL_COUNT_MAX),
            LARGE_CAPACITY_BYTES => (&self.large, LARGE_COUNT_MAX),
            _ => return,
        };
        let mut pool = pool.borrow_mut();
        if pool.len() < count_max {
            vector.clear();
            pool.push(vector);
        }
    }
}
