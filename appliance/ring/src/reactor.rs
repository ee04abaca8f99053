//! The reactor as its thread sees it: made, driven by `block_on`, dropped.
//!
//! Dropping it cancels every task, gives written data a short time to leave, and then waits for the kernel to let
//! go of all memory; what the kernel will not let go of in time is leaked, never freed.

use crate::backend::Driver;
use crate::core::{Core, Spares};
use crate::executor::{Cancelled, Executor};
use crate::hooks::Hooks;
use crate::inbox::{Foreign, Inbox, Remote};
use crate::stats::Counters;
use crate::timers::Timers;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Which interface of the kernel a reactor uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Completions: needs Linux 6.1 and a container profile that allows it; see `probe_io_uring`.
    IoUring,
    /// Readiness, with file operations on companion threads. Works everywhere.
    Epoll,
}

/// How to make a reactor.
#[derive(Clone, Debug)]
pub struct ReactorConfig {
    /// The interface of the kernel.
    pub backend: Backend,
    /// Pin the calling thread to this core.
    pub core: Option<usize>,
    /// Submission queue entries, io_uring only. Fewer are used where the memory-lock limit is small.
    pub entries: u32,
    /// Provided receive buffers, io_uring only; rounded up to a power of two, at most 32,768.
    pub recv_buffer_count: u16,
    /// Size of one receive buffer, at least 512 bytes.
    pub recv_buffer_bytes: u32,
    /// Companion threads for file operations, epoll only; at least one is started at the first operation.
    pub file_threads: usize,
    /// How long a dropped stream may take to send what was written to it; then it is reset.
    pub linger: Duration,
}

impl Default for ReactorConfig {
    fn default() -> Self {
        ReactorConfig {
            backend: Backend::IoUring,
            core: None,
            entries: 256,
            recv_buffer_count: 512,
            recv_buffer_bytes: 16 << 10,
            file_threads: 1,
            linger: Duration::from_secs(10),
        }
    }
}

/// An event loop with its tasks, bound to the thread that made it.
pub struct Reactor {
    core: Rc<Core>,
}

impl Reactor {
    /// Makes the reactor of this thread.
    ///
    /// # Errors
    /// `AlreadyExists` if the thread has one; otherwise what the kernel says: with `Backend::IoUring`,
    /// `probe_io_uring` explains it.
    pub fn new(config: &ReactorConfig) -> io::Result<Reactor> {
        if Core::try_current().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this thread already has a reactor"));
        }
        if let Some(core) = config.core {
            crate::sys::pin_thread(core)?;
        }
        let (inbox, foreign) = Inbox::new()?;
        let backend = Driver::new(config, &inbox)?;
        let core = Rc::new(Core {
            inbox,
            foreign,
            executor: Executor::new(),
            timers: RefCell::new(Timers::new()),
            hooks: Hooks::new(),
            backend,
            now: Cell::new(Instant::now()),
            counters: Counters::default(),
            copied_receive_bytes: Cell::new(0),
            unsent_bytes: Cell::new(0),
            spares: Spares::new(),
            closed: Cell::new(false),
        });
        assert!(Core::install(&core), "the thread had no reactor a few lines up");
        Ok(Reactor { core })
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote { inbox: Arc::clone(&self.core.inbox) }
    }

    /// Runs the loop until `future` completes. Spawned tasks run too, and wait while no `block_on` runs.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let main = Arc::new(MainWaker { woken: AtomicBool::new(true), inbox: Arc::clone(&self.core.inbox) });
        let waker = Waker::from(Arc::clone(&main));
        let mut context = Context::from_waker(&waker);
        self.core.now.set(Instant::now());
        loop {
            self.core.take_foreign();
            if main.woken.swap(false, Ordering::AcqRel)
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                return output;
            }
            self.core.executor.run_ready();
            self.core.finish_turn(|| !main.woken.load(Ordering::Acquire));
        }
    }

    /// Drops the futures of all tasks. One that another thread is waking is waited for: were it left, that thread would find
    /// the inbox closed, and what the future holds would never go.
    fn cancel_tasks(&self) {
        let mut rounds = 0;
        while rounds < CANCEL_ROUNDS_MAX {
            self.core.take_foreign();
            match self.core.executor.cancel_round() {
                Cancelled::All => return,
                Cancelled::None if !self.core.inbox.is_closed() => std::thread::sleep(FOREIGN_PAUSE),
                Cancelled::Some | Cancelled::None => rounds += 1,
            }
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // Tasks first: their streams and operations become orphans that the backend then sees off.
        self.cancel_tasks();
        self.core.hooks.clear();
        self.core.closed.set(true);
        self.core.backend.close(&self.core);
        self.core.inbox.close();
        // What other threads spawned too late is dropped on this thread, where it belongs.
        self.cancel_tasks();
        Core::uninstall();
    }
}

/// Only a task that spawns tasks from its destructor, for ever, needs more rounds than this to go.
const CANCEL_ROUNDS_MAX: usize = 1000;
/// Between two looks for a task that another thread is waking.
const FOREIGN_PAUSE: Duration = Duration::from_micros(100);

/// Wakes the future of `block_on`, from this thread or another.
struct MainWaker {
    woken: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let was_woken = self.woken.swap(true, Ordering::AcqRel);
        let at_home = Core::try_current().is_some_and(|core| Arc::ptr_eq(&core.inbox, &self.inbox));
        if !was_woken && !at_home {
            // A reactor that is gone has no future to wake.
            let sent = self.inbox.send(Foreign::Wake);
            drop(sent);
        }
    }
}
