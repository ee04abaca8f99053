//! What the connections of one server on one core share.
//! Invariant: `connections` counts the live `ConnectionGuard`s, whatever limits they began with, and the connections that
//! another core has accepted for this one and that are on their way.
//! Left to others: accepting (`server`, `spread`) and the protocols.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

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
    /// Until when connections without a request may still bring one, once the drain has begun.
    draining: Cell<Option<Instant>>,
    connections: Arc<AtomicUsize>,
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
        Self::with_count(limits, Arc::default())
    }

    /// The same with a count of connections that other cores see.
    pub(crate) fn with_count(limits: Limits, connections: Arc<AtomicUsize>) -> Rc<Self> {
        let limits = limits.clamped();
        let watches = Watches::new(limits.timer_resolution);
        Rc::new(Self { limits, watches, shared: Rc::new(Shared { connections, ..Shared::default() }) })
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
        self.shared.draining.get().is_some()
    }

    /// Until when a connection may wait for a request: its own `deadline`, or less in a drain.
    pub(crate) fn idle_until(&self, deadline: Instant) -> Instant {
        self.shared.draining.get().map_or(deadline, |drained| drained.min(deadline))
    }

    pub(crate) fn start_draining(&self) {
        if !self.is_draining() {
            self.shared.draining.set(Some(ring::now() + self.limits.drain_idle));
            self.watches.wake_all();
        }
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Wakes `waker` when the next connection ends, or the limits change.
    pub(crate) fn wake_at_next_end(&self, waker: &Waker) {
        let mut waiting = self.shared.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    pub(crate) fn open_connection(&self) -> ConnectionGuard {
        self.shared.connections.fetch_add(1, Ordering::AcqRel);
        self.adopt_connection()
    }

    /// Of a connection that is counted already.
    pub(crate) fn adopt_connection(&self) -> ConnectionGuard {
        ConnectionGuard { shared: Rc::clone(&self.shared) }
    }
}

/// Counts one connection while it lives.
pub(crate) struct ConnectionGuard {
    shared: Rc<Shared>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        self.shared.wake_waiting();
    }
}
