//! Mailboxes: many senders on any threads, one receiver on a reactor.
//!
//! Invariant (no lost wake-up): a sender queues, then looks at `waiting`; the receiver sets `waiting`, then looks at the
//! queue; a sequentially consistent fence stands between on both sides. The lock is touched only when the
//! receiver really waits.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};

struct Shared {
    waiting: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Messages queued and not yet received.
    count: AtomicUsize,
    limit: usize,
}

impl Shared {
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if !self.waiting.load(Ordering::Relaxed) || !self.waiting.swap(false, Ordering::SeqCst) {
            return;
        }
        // The lock guards a plain store; a panic cannot leave it half done.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The sending end of a mailbox; wakes the receiver's core only if that sleeps.
pub struct Sender<T> {
    /// `None` only while the sender is being dropped.
    queue: Option<mpsc::Sender<T>>,
    shared: Arc<Shared>,
}

impl<T> Sender<T> {
    /// Queues `message`.
    ///
    /// # Errors
    /// Gives the message back if the receiver is gone or the mailbox is full.
    pub fn send(&self, message: T) -> Result<(), T> {
        let queue = self.queue.as_ref().expect("only drop takes the queue");
        if self.shared.count.fetch_add(1, Ordering::Relaxed) >= self.shared.limit {
            self.shared.count.fetch_sub(1, Ordering::Relaxed);
            return Err(message);
        }
        if let Err(unsent) = queue.send(message) {
            self.shared.count.fetch_sub(1, Ordering::Relaxed);
            return Err(unsent.0);
        }
        self.shared.wake();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { queue: self.queue.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // First disconnect, then wake: the receiver must find that nobody is left.
        drop(self.queue.take());
        self.shared.wake();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sender")
    }
}

/// The receiving end of a mailbox.
pub struct Receiver<T> {
    queue: mpsc::Receiver<T>,
    shared: Arc<Shared>,
}

impl<T> Receiver<T> {
    /// Waits for the next message; `None` when all senders are gone and the mailbox is empty.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Takes a message if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        let message = self.queue.try_recv().ok()?;
        self.shared.count.fetch_sub(1, Ordering::Relaxed);
        Some(message)
    }

    /// As `recv`, for hand-written futures.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        if let Poll::Ready(message) = self.take() {
            return Poll::Ready(message);
        }
        let waker = context.waker().clone();
        let former = self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        drop(former);
        self.shared.waiting.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let taken = self.take();
        if taken.is_ready() {
            self.shared.waiting.store(false, Ordering::Relaxed);
        }
        taken
    }

    fn take(&mut self) -> Poll<Option<T>> {
        match self.queue.try_recv() {
            Ok(message) => {
                self.shared.count.fetch_sub(1, Ordering::Relaxed);
                Poll::Ready(Some(message))
            }
            Err(mpsc::TryRecvError::Empty) => Poll::Pending,
            Err(mpsc::TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Receiver")
    }
}

/// Makes a mailbox without a bound of its own: for messages that the senders bound, such as the requests that a core has
/// admitted and the answers to them.
pub fn mailbox<T: Send>() -> (Sender<T>, Receiver<T>) {
    mailbox_with_limit(usize::MAX)
}

/// Makes a mailbox that refuses a message while `limit` messages wait in it.
pub fn mailbox_with_limit<T: Send>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::new(Shared {
        waiting: AtomicBool::new(false),
        waker: Mutex::new(None),
        count: AtomicUsize::new(0),
        limit,
    });
    (Sender { queue: Some(sender), shared: Arc::clone(&shared) }, Receiver { queue: receiver, shared })
}
