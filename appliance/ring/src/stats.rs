//! What a reactor has done and holds, as plain counters.

use crate::core::Core;
use std::cell::Cell;
use std::sync::atomic::Ordering;

/// A snapshot of one reactor's counters. Totals count from the reactor's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns of the loop so far.
    pub turns: u64,
    /// Kernel completions (io_uring) or readiness events (epoll) so far.
    pub completions: u64,
    /// Foreign messages for which the sleeping reactor had to be woken.
    pub wakeups_sent: u64,
    /// Foreign messages that found the reactor awake and cost no system call.
    pub wakeups_saved: u64,
    /// Receives that ended because the provided buffers had run out.
    pub enobufs: u64,
    /// Receives stopped because a connection had too much unread.
    pub receive_pauses: u64,
    /// Tasks that exist now.
    pub tasks: u64,
    /// Sockets of streams that are open now, orphaned ones included.
    pub connections: u64,
    /// Provided receive buffers that hold unread data now.
    pub held_recv_buffers: u64,
    /// Unread bytes that were copied to the heap because provided buffers were short.
    pub copied_recv_bytes: u64,
    /// Written bytes that the kernel has not taken yet.
    pub unsent_bytes: u64,
    /// File operations in flight now.
    pub file_operations: u64,
}

/// The counters that are totals; the rest of `Stats` is read from where it lives.
#[derive(Default)]
pub(crate) struct Counters {
    pub turns: Cell<u64>,
    pub completions: Cell<u64>,
    pub enobufs: Cell<u64>,
    pub receive_pauses: Cell<u64>,
    pub connections: Cell<u64>,
    pub file_operations: Cell<u64>,
}

/// Adds one to a counter.
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// Takes one from a counter.
pub(crate) fn uncount(counter: &Cell<u64>) {
    counter.set(counter.get() - 1);
}

/// The counters of the reactor that runs on this thread.
///
/// # Panics
/// Outside a reactor.
pub fn stats() -> Stats {
    let core = Core::current();
    Stats {
        turns: core.counters.turns.get(),
        completions: core.counters.completions.get(),
        wakeups_sent: core.inbox.wakeups_sent.load(Ordering::Relaxed),
        wakeups_saved: core.inbox.wakeups_saved.load(Ordering::Relaxed),
        enobufs: core.counters.enobufs.get(),
        receive_pauses: core.counters.receive_pauses.get(),
        tasks: core.executor.task_count() as u64,
        connections: core.counters.connections.get(),
        held_recv_buffers: core.backend.held_receive_buffers() as u64,
        copied_recv_bytes: core.copied_receive_bytes.get() as u64,
        unsent_bytes: core.unsent_bytes.get() as u64,
        file_operations: core.counters.file_operations.get(),
    }
}
