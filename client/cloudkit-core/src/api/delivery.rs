//! A message in hand: kept by heartbeats while it is worked on, then deleted or given back.
//!
//! ```text
//! received --hold--> worked on --acknowledge--> deleted
//!     |                  |--release--> visible again at once
//!     '----- dropped ----'-----------> visible again when its time is over
//! ```
//!
//! Invariant: nothing runs on its own. Heartbeats beat inside [`Delivery::hold`], in the task of whoever awaits it, so that
//! dropping anything here leaves nothing behind.

use super::queue::{Message, MessageQueue, ReceiveOptions};
use crate::common::{CloudResult, Failure, ItemStream};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// How a message is kept while it is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeartbeatOptions {
    /// For how long from each beat nobody else receives the message.
    pub visibility_timeout: Duration,
    /// How long after one beat the next one comes; shorter than the time above.
    pub every: Duration,
}

/// How a stream of messages receives them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReceiveStreamOptions {
    /// The most messages of one receive, 1 to 10.
    pub max_messages: u32,
    /// How long one receive waits for the first message, up to 20 s.
    pub wait_time: Duration,
    /// For how long nobody else receives a message, from its receive and from each heartbeat.
    pub visibility_timeout: Duration,
}

impl ReceiveStreamOptions {
    /// Up to 10 messages, waits of 20 s, kept for 30 s at a time.
    pub fn new() -> Self {
        Self {
            max_messages: 10,
            wait_time: Duration::from_secs(20),
            visibility_timeout: Duration::from_secs(30),
        }
    }

    /// Sets the most messages of one receive.
    pub fn max_messages(mut self, max: u32) -> Self {
        self.max_messages = max;
        self
    }

    /// Sets how long one receive waits.
    pub fn wait_time(mut self, time: Duration) -> Self {
        self.wait_time = time;
        self
    }

    /// Sets for how long nobody else receives a message.
    pub fn visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = timeout;
        self
    }

    /// The heartbeats that follow: three within each time, so that one may be lost.
    pub fn heartbeat(&self) -> HeartbeatOptions {
        let every = (self.visibility_timeout / BEATS_PER_TIMEOUT).max(BEAT_MIN);
        HeartbeatOptions { visibility_timeout: self.visibility_timeout, every }
    }
}

impl Default for ReceiveStreamOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that was received from a stream. Dropping it leaves the message to the end of its time.
pub struct Delivery<'a> {
    queue: Arc<dyn Receipts + 'a>,
    message: Message,
    /// Those of the same receive that nobody took from the stream yet; gone with the stream, since nobody will take them.
    waiting: Weak<Mutex<VecDeque<Message>>>,
    heartbeat: HeartbeatOptions,
}

impl Delivery<'_> {
    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The message alone, without heartbeats.
    pub fn into_message(self) -> Message {
        self.message
    }

    /// Does the work and keeps the message meanwhile, however long it takes.
    ///
    /// # Errors
    /// When a heartbeat fails for good: somebody else may have the message by now, so the work is dropped. A failure that may
    /// pass is tried again with the next beat.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = pin!(work);
        let mut beats = pin!(self.beat());
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            beats.as_mut().poll(context).map(Err)
        })
        .await
    }

    /// Deletes the message: it is done.
    ///
    /// # Errors
    /// What [`MessageQueue::delete`] fails with; the message may then come again.
    pub async fn acknowledge(self) -> Result<(), Failure> {
        Ok(self.queue.delete(&self.message).await?)
    }

    /// Gives the message back, to be received again after this long.
    ///
    /// # Errors
    /// What [`MessageQueue::change_visibility`] fails with; the message comes again when its time is over.
    pub async fn release(self, after: Duration) -> Result<(), Failure> {
        Ok(self.queue.extend(&self.message, after).await?)
    }

    /// Beats until a beat fails for good.
    async fn beat(&self) -> Failure {
        let mut next = Instant::now() + self.heartbeat.every;
        loop {
            tokio::time::sleep_until(next).await;
            next = Instant::now() + self.heartbeat.every;
            let waiting = self.waiting.upgrade().map(|waiting| locked(&waiting).clone()).unwrap_or_default();
            if let Err(error) = self.queue.extend(&self.message, self.heartbeat.visibility_timeout).await
                && !error.is_retryable()
            {
                return error.into();
            }
            for message in &waiting {
                // One that is lost comes again and is no failure of the work on this one.
                if let Err(error) = self.queue.extend(message, self.heartbeat.visibility_timeout).await {
                    tracing::debug!(%error, message = %message.id, "a waiting message was not kept");
                }
            }
        }
    }
}

impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}

/// What a delivery asks of its queue.
#[async_trait]
trait Receipts: Send + Sync {
    async fn extend(&self, message: &Message, timeout: Duration) -> CloudResult<()>;
    async fn delete(&self, message: &Message) -> CloudResult<()>;
}

struct Queue<'a, Q: ?Sized> {
    queue: &'a Q,
    url: &'a str,
}

#[async_trait]
impl<Q: MessageQueue + ?Sized> Receipts for Queue<'_, Q> {
    async fn extend(&self, message: &Message, timeout: Duration) -> CloudResult<()> {
        self.queue.change_visibility(self.url, message, timeout).await
    }

    async fn delete(&self, message: &Message) -> CloudResult<()> {
        self.queue.delete(self.url, message).await
    }
}

type Waiting = Arc<Mutex<VecDeque<Message>>>;

fn locked(waiting: &Waiting) -> MutexGuard<'_, VecDeque<Message>> {
    // Nothing that runs under the lock can panic half-way through a change.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The messages of a queue without end.
pub(super) fn stream<'a, Q: MessageQueue + ?Sized>(
    queue: &'a Q,
    url: &'a str,
    options: ReceiveStreamOptions,
) -> ItemStream<'a, Delivery<'a>> {
    let receipts: Arc<dyn Receipts + 'a> = Arc::new(Queue { queue, url });
    let heartbeat = options.heartbeat();
    let waiting = Waiting::default();
    // Each page is one message: the rest of its receive stays where the heartbeats of others find it.
    ItemStream::pages(move |_: Option<()>| {
        let (receipts, waiting, options) = (receipts.clone(), waiting.clone(), options.clone());
        async move {
            let next = locked(&waiting).pop_front();
            let message = match next {
                Some(message) => message,
                None => {
                    let mut received = VecDeque::from(receive(queue, url, &options).await?);
                    let first = received.pop_front();
                    locked(&waiting).extend(received);
                    match first {
                        Some(first) => first,
                        None => return Ok((Vec::new(), Some(()))),
                    }
                }
            };
            Ok((
                vec![Delivery { queue: receipts, message, waiting: Arc::downgrade(&waiting), heartbeat }],
                Some(()),
            ))
        }
    })
}

/// One receive; pauses where the queue did not wait, so that an empty or a failing queue is not asked without end.
async fn receive<Q: MessageQueue + ?Sized>(
    queue: &Q,
    url: &str,
    options: &ReceiveStreamOptions,
) -> Result<Vec<Message>, Failure> {
    let asked = Instant::now();
    let receive = ReceiveOptions::new()
        .max_messages(options.max_messages)
        .wait_time(options.wait_time)
        .visibility_timeout(options.visibility_timeout);
    match queue.receive(url, receive).await {
        Ok(messages) if messages.is_empty() => {
            tokio::time::sleep_until(asked + options.wait_time.clamp(PAUSE_MIN, PAUSE)).await;
            Ok(messages)
        }
        Ok(messages) => Ok(messages),
        Err(error) if error.is_retryable() => {
            tracing::debug!(%error, queue = url, "a receive failed and is tried again");
            tokio::time::sleep(PAUSE).await;
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

const BEATS_PER_TIMEOUT: u32 = 3;
const BEAT_MIN: Duration = Duration::from_millis(100);
/// The least time from one receive that brought nothing to the next.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(100);
