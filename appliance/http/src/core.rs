//! What the connections of one server on one core share.
//! Invariant: `connections` counts the live `ConnectionGuard`s, whatever limits they began with.
//! Left to others: accepting (`server`) and the protocols.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::Limits;
use crate::watch::Watches;

/// What a connection sees: the limits that were in force when it began, and what all connections share.
pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) watches: Rc<Watches>,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    draining: Cell<bool>,
    connections: Cell<usize>,
    /// Those who wait for a connection to end: accept loops at their bound, and the drain.
    waiting: RefCell<Vec<Waker>>,
}

impl Shared {
    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Core {
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        let limits = limits.clamped();
        let watches = Watches::new(limits.timer_resolution);
        Rc::new(Self { limits, watches, shared: Rc::default() })
    }

    /// The same for connections that begin from now on. The resolution of timers stays as it is.
    pub(crate) fn with_limits(&self, limits: Limits) -> Rc<Self> {
        // An accept loop that stands at its bound may go on under a new one.
        self.shared.wake_waiting();
        Rc::new(Self {
            limits: limits.clamped(),
            watches: Rc::clone(&self.watches),
            shared: Rc::clone(&self.shared),
        })
    }

    /// Whether connections should end after what they are doing.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.get()
    }

    pub(crate) fn start_draining(&self) {
        if !self.shared.draining.replace(true) {
            self.watches.wake_all();
        }
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.shared.connections.get()
    }

    /// Wakes `waker` when the next connection ends, or the limits change.
    pub(crate) fn wake_at_next_end(&self, waker: &Waker) {
        let mut waiting = self.shared.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    pub(crate) fn open_connection(&self) -> ConnectionGuard {
        self.shared.connections.set(self.shared.connections.get() + 1);
        ConnectionGuard { shared: Rc::clone(&self.shared) }
    }
}

/// Counts one connection while it lives.
pub(crate) struct ConnectionGuard {
    shared: Rc<Shared>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shared.connections.set(self.shared.connections.get() - 1);
        self.shared.wake_waiting();
    }
}
