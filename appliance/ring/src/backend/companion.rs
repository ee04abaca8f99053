//! File operations for the epoll backend: a few threads that may block, so that the reactor need not.
//!
//! Invariant: the queue to the threads is bounded; jobs beyond it wait here, each owned by a future that exists. A
//! job carries its buffer and its file with it, so it needs nothing from a reactor that may be gone.

use crate::file::{Job, Operation, whole};
use crate::inbox::{Foreign, Inbox};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Jobs that are queued at the threads.
const QUEUED_COUNT_MAX: usize = 128;
const THREADS_MAX: usize = 64;

/// The companion threads of one reactor; started at the first job.
pub(crate) struct Companions {
    inbox: Arc<Inbox>,
    thread_count: usize,
    queue: RefCell<Option<SyncSender<Job>>>,
    waiting: RefCell<VecDeque<Job>>,
    failed: Cell<bool>,
}

impl Companions {
    pub fn new(inbox: Arc<Inbox>, thread_count: usize) -> Companions {
        Companions {
            inbox,
            thread_count: thread_count.clamp(1, THREADS_MAX),
            queue: RefCell::new(None),
            waiting: RefCell::new(VecDeque::new()),
            failed: Cell::new(false),
        }
    }

    pub fn start(&self, job: Job) {
        self.waiting.borrow_mut().push_back(job);
        self.feed();
    }

    /// A job has come back, so the queue has room.
    pub fn one_done(&self) {
        self.feed();
    }

    fn feed(&self) {
        if self.queue.borrow().is_none() && !self.failed.get() {
            match self.spawn_threads() {
                Ok(queue) => *self.queue.borrow_mut() = Some(queue),
                Err(_) => self.failed.set(true),
            }
        }
        let queue = self.queue.borrow();
        let mut waiting = self.waiting.borrow_mut();
        while let Some(job) = waiting.pop_front() {
            let unsent = match queue.as_ref() {
                Some(queue) => queue.try_send(job),
                None => Err(TrySendError::Disconnected(job)),
            };
            match unsent {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => {
                    waiting.push_front(job);
                    return;
                }
                Err(TrySendError::Disconnected(mut job)) => {
                    // Without a thread nothing can be done without blocking the reactor.
                    job.outcome = Some(Err(io::Error::other("no companion thread for file operations")));
                    give_back(&self.inbox, job);
                }
            }
        }
    }

    fn spawn_threads(&self) -> io::Result<SyncSender<Job>> {
        let (queue, receiver) = sync_channel(QUEUED_COUNT_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for index in 0..self.thread_count {
            let receiver = Arc::clone(&receiver);
            let inbox = Arc::clone(&self.inbox);
            // Detached: it ends when the queue is dropped, after the jobs that are in it.
            let thread = std::thread::Builder::new()
                .name(format!("ring-file-{index}"))
                .spawn(move || work(&receiver, &inbox))?;
            drop(thread);
        }
        Ok(queue)
    }
}

fn work(receiver: &Mutex<Receiver<Job>>, inbox: &Inbox) {
    loop {
        // The lock guards only the taking of a job; a panic elsewhere cannot poison what it protects.
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = next else { return };
        job.outcome = Some(execute(&mut job));
        give_back(inbox, job);
    }
}

fn give_back(inbox: &Inbox, job: Job) {
    // A reactor that is gone has no future that waits for the job; its buffer is freed here.
    let unsent = inbox.send(Foreign::Done(Box::new(job)));
    drop(unsent);
}

fn execute(job: &mut Job) -> io::Result<usize> {
    match job.operation {
        Operation::Read { length } => {
            job.buffer.clear();
            job.buffer.resize(length, 0);
            let outcome = retry(|| job.file.read_at(&mut job.buffer, job.offset));
            job.buffer.truncate(*outcome.as_ref().unwrap_or(&0));
            outcome
        }
        Operation::Write | Operation::WriteParts => write(job),
        Operation::WriteSync | Operation::WriteDurable => {
            let written = write(job)?;
            job.file.sync_data()?;
            Ok(written)
        }
        Operation::Sync => job.file.sync_data().map(|()| 0),
    }
}

fn write(job: &Job) -> io::Result<usize> {
    let written = retry(|| match job.operation {
        Operation::WriteParts => crate::sys::write_parts(&job.file, &job.parts, job.offset),
        _ => job.file.write_at(&job.buffer, job.offset),
    });
    whole(written, job.write_bytes())
}

/// Repeats a call that a signal has interrupted before it did anything.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
