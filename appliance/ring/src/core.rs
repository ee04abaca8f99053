//! What all parts of one reactor share, on its one thread.
//!
//! Invariant: no foreign code (a waker, a destructor of a task, a hook) runs while a part of the core is
//! borrowed. Wakers are taken out first and called after.

use crate::backend::{Driver, Wait};
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

/// Byte vectors kept for reuse, so that an idle connection holds none and a busy one does not allocate.
pub(crate) struct Spares {
    vectors: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
}

/// All spare vectors of a core together.
const SPARE_BYTES_MAX: usize = 4 << 20;
/// Larger vectors are freed: a slow reader of the next connection must not sit on them.
const SPARE_VECTOR_BYTES_MAX: usize = 16 << 10;
/// The capacity that a fresh vector starts with.
const SPARE_CAPACITY_BYTES: usize = 4 << 10;

impl Spares {
    pub fn new() -> Self {
        Spares { vectors: RefCell::new(Vec::new()), bytes: Cell::new(0) }
    }

    /// An empty vector with some capacity.
    pub fn take(&self) -> Vec<u8> {
        match self.vectors.borrow_mut().pop() {
            Some(vector) => {
                self.bytes.set(self.bytes.get() - vector.capacity());
                vector
            }
            None => Vec::with_capacity(SPARE_CAPACITY_BYTES),
        }
    }

    /// Takes a vector back, or frees it if enough are kept.
    pub fn give(&self, mut vector: Vec<u8>) {
        let bytes = self.bytes.get() + vector.capacity();
        if vector.capacity() > SPARE_VECTOR_BYTES_MAX || bytes > SPARE_BYTES_MAX {
            return;
        }
        vector.clear();
        self.bytes.set(bytes);
        self.vectors.borrow_mut().push(vector);
    }
}
