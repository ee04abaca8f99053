//! What the connections of one server on one core share.
//! Invariant: `connections` counts the live `ConnectionGuard`s.
//! Left to others: accepting (`server`) and the protocols.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::Limits;
use crate::watch::Watches;

pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) watches: Rc<Watches>,
    draining: Cell<bool>,
    connections: Cell<usize>,
    /// Those who wait for a connection to end: accept loops at their bound, and the drain.
    waiting: RefCell<Vec<Waker>>,
}

impl Core {
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        let limits = limits.clamped();
        let watches = Watches::new(limits.timer_resolution);
        Rc::new(Self {
            limits,
            watches,
            draining: Cell::new(false),
            connections: Cell::new(0),
            waiting: RefCell::default(),
        })
    }

    /// Whether connections should end after what they are doing.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn start_draining(&self) {
        if !self.draining.replace(true) {
            self.watches.wake_all();
        }
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.connections.get()
    }

    /// Wakes `waker` when the next connection ends.
    pub(crate) fn wake_at_next_end(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    pub(crate) fn open_connection(self: &Rc<Self>) -> ConnectionGuard {
        self.connections.set(self.connections.get() + 1);
        ConnectionGuard { core: Rc::clone(self) }
    }
}

/// Counts one connection while it lives.
pub(crate) struct ConnectionGuard {
    core: Rc<Core>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.core.connections.set(self.core.connections.get() - 1);
        let waiting = std::mem::take(&mut *self.core.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}
