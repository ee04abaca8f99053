//! Messages in memory: the trait over the queues of `line.rs`. A queue's address is `memory://queues/{name}`.

mod check;
mod line;

pub(crate) use check::{check_attributes, check_body};

use crate::chance::Chance;
use crate::clock::later;
use crate::cloud::{Shared, State};
use crate::limits::{QUEUE_COUNT_MAX, RECEIVE_COUNT_MAX, VISIBILITY_MAX, WAIT_MAX};
use crate::refusal::{Of, Outcome, PROVIDER, Refusal};
use async_trait::async_trait;
use check::{FIFO_SUFFIX, Sending, check_name, seconds};
use chrono::{DateTime, Utc};
use cloudkit_core::api::{Capabilities, Message, MessageQueue, ReceiveOptions, SendOptions, Service};
use cloudkit_core::common::{CloudResult, ResourceId};
use line::{Line, invalid};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Queues and messages in memory.
#[derive(Clone)]
pub struct MemoryQueue {
    pub(crate) shared: Arc<Shared>,
}

/// All queues.
#[derive(Default)]
pub(crate) struct Queues {
    by_name: BTreeMap<String, Line>,
    made: u64,
}

impl Queues {
    fn create(&mut self, name: &str) -> Outcome<String> {
        check_name(name)?;
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= QUEUE_COUNT_MAX {
                return Err(Refusal::full("queues"));
            }
            self.made += 1;
            self.by_name.insert(name.to_owned(), Line::new(name.ends_with(FIFO_SUFFIX), self.made));
        }
        Ok(address(name))
    }

    fn find(&mut self, url: &str) -> Outcome<&mut Line> {
        let name = name_of(url).unwrap_or(url);
        self.by_name.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Whether there is a queue at this address or ARN, and whether it is a FIFO queue.
    pub(crate) fn is_fifo(&mut self, place: &str) -> Option<bool> {
        self.find(place).ok().map(|line| line.is_fifo)
    }

    /// Sends what a topic delivers; `false` if there is no such queue.
    pub(crate) fn deliver(
        &mut self,
        place: &str,
        body: &str,
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> bool {
        let options = SendOptions::new();
        let sent = self.find(place).and_then(|line| {
            let sending = Sending::new(body, &options, line.is_fifo)?;
            line.send(sending, now, chance)
        });
        sent.is_ok()
    }
}

/// What a look at a queue gave.
struct Look {
    received: Vec<Message>,
    now: DateTime<Utc>,
    /// When a hidden message may be received, if there is one.
    next: Option<DateTime<Utc>>,
}

/// A queue's name in its address or ARN.
pub(crate) fn name_of(place: &str) -> Option<&str> {
    place.strip_prefix(ADDRESS).or_else(|| place.strip_prefix(ARN))
}

fn address(name: &str) -> String {
    format!("{ADDRESS}{name}")
}

fn missing(name: &str) -> Refusal {
    Refusal::missing("QueueDoesNotExist", "Queue", name).hint(format!("create_queue(\"{name}\")"))
}

fn receipt(message: &Message) -> Outcome<&str> {
    let handle = message.receipt_handle.as_deref().filter(|handle| !handle.is_empty());
    handle.ok_or_else(|| Refusal::invalid("MissingParameter", "the message has no receipt handle"))
}

impl MemoryQueue {
    fn send_one(&self, url: &str, body: &str, options: &SendOptions) -> CloudResult<ResourceId> {
        let mut state = self.shared.lock();
        let State { now, chance, queues, .. } = &mut *state;
        let sent = queues.find(url).and_then(|line| {
            let sending = Sending::new(body, options, line.is_fifo)?;
            line.send(sending, *now, chance)
        });
        drop(state);
        self.shared.arrived.notify_waiters();
        Ok(sent.of("SendMessage", url)?)
    }

    /// One look at the queue, and when to look again if it was in vain.
    fn take(&self, url: &str, options: &ReceiveOptions) -> Outcome<Look> {
        let max = options.max_messages.unwrap_or(1);
        if !(1..=RECEIVE_COUNT_MAX).contains(&max) {
            return Err(invalid("a receive takes 1 to 10 messages"));
        }
        if options.visibility_timeout.map(seconds).is_some_and(|time| time > VISIBILITY_MAX) {
            return Err(invalid("a message is hidden for 12 hours at most"));
        }
        if options.wait_time.map(seconds).is_some_and(|time| time > WAIT_MAX) {
            return Err(invalid("a receive waits for 20 seconds at most"));
        }
        let mut state = self.shared.lock();
        let State { now, chance, queues, .. } = &mut *state;
        let line = queues.find(url)?;
        let visibility = options.visibility_timeout.map(seconds);
        let received = line.receive(max as usize, visibility, *now, chance);
        Ok(Look { received, now: *now, next: line.next_visible(*now) })
    }
}

#[async_trait]
impl MessageQueue for MemoryQueue {
    async fn create_queue(&self, name: &str) -> CloudResult<String> {
        Ok(self.shared.lock().queues.create(name).of("CreateQueue", name)?)
    }

    async fn delete_queue(&self, queue_url: &str) -> CloudResult<()> {
        let deleted = {
            let mut state = self.shared.lock();
            let found = state.queues.find(queue_url).map(|_| ());
            found.map(|()| state.queues.by_name.remove(name_of(queue_url).unwrap_or(queue_url)))
        };
        self.shared.arrived.notify_waiters();
        deleted.of("DeleteQueue", queue_url)?;
        Ok(())
    }

    async fn get_queue_url(&self, name: &str) -> CloudResult<String> {
        let state = self.shared.lock();
        let found = state.queues.by_name.contains_key(name).then(|| address(name));
        Ok(found.ok_or_else(|| missing(name)).of("GetQueueUrl", name)?)
    }

    async fn list_queues(&self, prefix: Option<&str>) -> CloudResult<Vec<String>> {
        let state = self.shared.lock();
        let names = state.queues.by_name.keys();
        Ok(names.filter(|name| name.starts_with(prefix.unwrap_or(""))).map(|name| address(name)).collect())
    }

    async fn send(&self, queue_url: &str, message: &str) -> CloudResult<ResourceId> {
        self.send_one(queue_url, message, &SendOptions::new())
    }

    async fn send_with_options(
        &self,
        queue_url: &str,
        message: &str,
        options: SendOptions,
    ) -> CloudResult<ResourceId> {
        self.send_one(queue_url, message, &options)
    }

    async fn send_batch(&self, queue_url: &str, messages: &[&str]) -> CloudResult<Vec<ResourceId>> {
        let options = SendOptions::new();
        {
            let mut state = self.shared.lock();
            let checked = state.queues.find(queue_url).and_then(|line| {
                messages.iter().try_for_each(|body| Sending::new(body, &options, line.is_fifo).map(|_| ()))
            });
            checked.of("SendMessageBatch", queue_url)?;
        }
        messages.iter().map(|body| self.send_one(queue_url, body, &options)).collect()
    }

    async fn receive(&self, queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>> {
        let mut until = None;
        loop {
            // Asked for before the look, so that a message that comes in between wakes this one.
            let mut arrived = pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            let Look { received, now, next } =
                self.take(queue_url, &options).of("ReceiveMessage", queue_url)?;
            let wait = options.wait_time.map(seconds).unwrap_or_default();
            let until = *until.get_or_insert_with(|| later(now, wait));
            if !received.is_empty() || now >= until {
                return Ok(received);
            }
            let look = next.map_or(until, |next| next.min(until));
            let mut slept = pin!(self.shared.clock.sleep_until(look));
            poll_fn(|context| {
                if arrived.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                slept.as_mut().poll(context)
            })
            .await;
        }
    }

    async fn delete(&self, queue_url: &str, message: &Message) -> CloudResult<()> {
        self.delete_batch(queue_url, &[message]).await
    }

    async fn delete_batch(&self, queue_url: &str, messages: &[&Message]) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, queues, .. } = &mut *state;
        let deleted = queues.find(queue_url).and_then(|line| {
            let receipts = messages.iter().map(|message| receipt(message)).collect::<Outcome<Vec<_>>>()?;
            // As SQS does: each entry on its own, and the first failure is told at the end.
            let outcomes: Vec<_> = receipts.into_iter().map(|one| line.delete(one, *now)).collect();
            outcomes.into_iter().collect::<Outcome<()>>()
        });
        drop(state);
        // The next message of a group may be received now.
        self.shared.arrived.notify_waiters();
        Ok(deleted.of("DeleteMessage", queue_url)?)
    }

    async fn change_visibility(
        &self,
        queue_url: &str,
        message: &Message,
        timeout: Duration,
    ) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, queues, .. } = &mut *state;
        let changed = queues.find(queue_url).and_then(|line| line.change(receipt(message)?, timeout, *now));
        drop(state);
        self.shared.arrived.notify_waiters();
        Ok(changed.of("ChangeMessageVisibility", queue_url)?)
    }

    async fn get_queue_depth(&self, queue_url: &str) -> CloudResult<u64> {
        let mut state = self.shared.lock();
        let State { now, queues, .. } = &mut *state;
        Ok(queues.find(queue_url).map(|line| line.depth(*now)).of("GetQueueAttributes", queue_url)?)
    }

    async fn purge(&self, queue_url: &str) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, queues, .. } = &mut *state;
        Ok(queues.find(queue_url).and_then(|line| line.purge(*now)).of("PurgeQueue", queue_url)?)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(PROVIDER, Service::MessageQueue)
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").finish_non_exhaustive()
    }
}

const ADDRESS: &str = "memory://queues/";
const ARN: &str = "arn:aws:sqs:memory:000000000000:";
