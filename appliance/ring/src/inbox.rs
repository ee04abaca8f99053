//! What other threads may do to a reactor: hand it something, and wake it if it sleeps.
//!
//! Invariant (no lost wake-up): a foreign thread first queues, then looks at `sleeping`; the reactor first sets
//! `sleeping`, then looks at the queue. A sequentially consistent fence stands between the two steps on both
//! sides, so at least one of them sees the other. Only a sleeping reactor costs its waker a system call.

use crate::core::Core;
use crate::executor;
use crate::file::Job;
use async_task::Runnable;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc;

/// One thing that another thread hands to a reactor.
pub(crate) enum Foreign {
    /// A task of the reactor that was woken elsewhere.
    Runnable(Runnable),
    /// Makes and spawns a future on the reactor's thread.
    Spawn(Box<dyn FnOnce() + Send>),
    /// A file operation that the companion thread has finished.
    Done(Box<Job>),
    /// The future of `block_on` was woken.
    Wake,
}

/// The foreign side of a reactor.
pub(crate) struct Inbox {
    queue: mpsc::Sender<Foreign>,
    sleeping: AtomicBool,
    closed: AtomicBool,
    event: File,
    pub wakeups_sent: AtomicU64,
    pub wakeups_saved: AtomicU64,
}

impl Inbox {
    /// Makes the inbox and the end from which the reactor takes.
    pub fn new() -> io::Result<(Arc<Inbox>, mpsc::Receiver<Foreign>)> {
        let (queue, receiver) = mpsc::channel();
        let inbox = Inbox {
            queue,
            sleeping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            event: File::from(crate::sys::event_fd()?),
            wakeups_sent: AtomicU64::new(0),
            wakeups_saved: AtomicU64::new(0),
        };
        Ok((Arc::new(inbox), receiver))
    }

    /// The descriptor that becomes readable when a sleeping reactor is woken.
    pub fn event(&self) -> &File {
        &self.event
    }

    /// Queues `foreign` and wakes the reactor if it sleeps; gives it back if the reactor is gone.
    pub fn send(&self, foreign: Foreign) -> Result<(), Foreign> {
        if self.closed.load(Ordering::Acquire) {
            return Err(foreign);
        }
        self.queue.send(foreign).map_err(|unsent| unsent.0)?;
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.wakeups_sent.fetch_add(1, Ordering::Relaxed);
            // Cannot fail: an eventfd refuses only when its counter is near 2^64, and then it is readable anyway.
            let written = (&self.event).write(&1_u64.to_ne_bytes());
            debug_assert!(written.is_ok());
        } else {
            self.wakeups_saved.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The reactor is about to look at its queue for the last time before it blocks.
    pub fn fall_asleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The reactor runs again: wakers need not write to the event any more.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Takes the event's count, so that it can block again.
    pub fn clear_event(&self) {
        let mut count = [0_u8; 8];
        // An empty eventfd answers EAGAIN, which is as good: nothing is left to clear.
        let cleared = (&self.event).read(&mut count);
        debug_assert!(cleared.is_ok() || cleared.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
    }

    /// Whether everything is refused.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses everything from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// A handle to a reactor for other threads.
#[derive(Clone)]
pub struct Remote {
    pub(crate) inbox: Arc<Inbox>,
}

impl Remote {
    /// Calls `make` on the reactor's thread and spawns the future that it returns there, detached.
    ///
    /// # Errors
    /// `NotConnected` if the reactor is gone; `make` is dropped then.
    pub fn spawn<M, F>(&self, make: M) -> io::Result<()>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
    {
        let spawn = Box::new(move || executor::spawn(make()).detach());
        self.inbox
            .send(Foreign::Spawn(spawn))
            .map_err(|_| io::Error::new(io::ErrorKind::NotConnected, "the reactor is gone"))
    }
}

impl Core {
    /// Takes what other threads have handed over since the last turn, at most `FOREIGN_PER_TURN_MAX` of it.
    pub fn take_foreign(&self) {
        for _ in 0..FOREIGN_PER_TURN_MAX {
            let Ok(foreign) = self.foreign.try_recv() else { return };
            self.accept_foreign(foreign);
        }
    }

    /// Looks once more before blocking; true if something had come.
    pub fn take_last_foreign(&self) -> bool {
        let Ok(foreign) = self.foreign.try_recv() else { return false };
        self.accept_foreign(foreign);
        true
    }

    fn accept_foreign(&self, foreign: Foreign) {
        match foreign {
            Foreign::Runnable(runnable) => self.executor.push(runnable),
            Foreign::Spawn(spawn) => spawn(),
            Foreign::Done(job) => crate::file::finish_job(self, *job),
            Foreign::Wake => {}
        }
    }
}

/// A flood of messages must not keep a turn from its I/O.
const FOREIGN_PER_TURN_MAX: usize = 4096;
