//! Queues and messages.

use super::capability::{Capabilities, Service};
use super::delivery::{self, Delivery, ReceiveStreamOptions};
use crate::common::{CloudResult, ItemStream, Metadata, ResourceId};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A message that was received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// The identity that it got when it was sent.
    pub id: ResourceId,
    /// Its text.
    pub body: String,
    /// The right to delete it, or to change its visibility; a new one with each receive.
    pub receipt_handle: Option<String>,
    /// Its attributes.
    pub attributes: Metadata,
    /// How many times it was received.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was first received.
    pub first_received_at: Option<DateTime<Utc>>,
}

/// How a message is sent.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// How long nobody receives it.
    pub delay: Option<Duration>,
    /// The group within which messages keep their order, in a FIFO queue.
    pub message_group_id: Option<String>,
    /// The text by which a FIFO queue knows a message that was sent before.
    pub deduplication_id: Option<String>,
    /// Its attributes.
    pub attributes: Metadata,
}

impl SendOptions {
    /// At once, without attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long nobody receives it.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Sets the group.
    pub fn message_group_id(mut self, id: impl Into<String>) -> Self {
        self.message_group_id = Some(id.into());
        self
    }

    /// Adds an attribute.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

/// How messages are received.
#[derive(Debug, Clone, Default)]
pub struct ReceiveOptions {
    /// The most messages, 1 to 10; 1 unless set.
    pub max_messages: Option<u32>,
    /// How long nobody else receives them; the queue's own time unless set.
    pub visibility_timeout: Option<Duration>,
    /// How long to wait for the first one, up to 20 s; the queue's own time unless set.
    pub wait_time: Option<Duration>,
}

impl ReceiveOptions {
    /// One message, if there is one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most messages.
    pub fn max_messages(mut self, max: u32) -> Self {
        self.max_messages = Some(max);
        self
    }

    /// Sets how long nobody else receives them.
    pub fn visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = Some(timeout);
        self
    }

    /// Sets how long to wait for the first one.
    pub fn wait_time(mut self, time: Duration) -> Self {
        self.wait_time = Some(time);
        self
    }
}

/// Queues and messages. A queue is named by the address that [`create_queue`](Self::create_queue) or
/// [`get_queue_url`](Self::get_queue_url) gave.
///
/// A queue that is missing is [`NotFound`](crate::common::CloudError::NotFound) with the `resource_type` `Queue`; a message
/// without a receipt handle is [`Validation`](crate::common::CloudError::Validation).
#[async_trait]
pub trait MessageQueue: Send + Sync {
    /// Makes a queue and gives its address. A name that ends with `.fifo` makes one that keeps the order.
    async fn create_queue(&self, name: &str) -> CloudResult<String>;

    /// Deletes a queue with its messages.
    async fn delete_queue(&self, queue_url: &str) -> CloudResult<()>;

    /// The address of a queue.
    async fn get_queue_url(&self, name: &str) -> CloudResult<String>;

    /// The addresses of all queues whose names begin with the prefix.
    async fn list_queues(&self, prefix: Option<&str>) -> CloudResult<Vec<String>>;

    /// Sends a message.
    async fn send(&self, queue_url: &str, body: &str) -> CloudResult<ResourceId>;

    /// As [`send`](Self::send), with options.
    async fn send_with_options(
        &self,
        queue_url: &str,
        body: &str,
        options: SendOptions,
    ) -> CloudResult<ResourceId>;

    /// Sends any number of messages and gives their identities in the same order.
    async fn send_batch(&self, queue_url: &str, messages: &[&str]) -> CloudResult<Vec<ResourceId>>;

    /// Takes messages, which nobody else then receives for a while; none if there are none.
    async fn receive(&self, queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>>;

    /// Deletes a message that was received.
    async fn delete(&self, queue_url: &str, message: &Message) -> CloudResult<()>;

    /// Deletes any number of messages that were received.
    async fn delete_batch(&self, queue_url: &str, messages: &[&Message]) -> CloudResult<()>;

    /// Sets for how long from now nobody else receives the message; zero gives it back.
    async fn change_visibility(
        &self,
        queue_url: &str,
        message: &Message,
        timeout: Duration,
    ) -> CloudResult<()>;

    /// About how many messages could be received now.
    async fn get_queue_depth(&self, queue_url: &str) -> CloudResult<u64>;

    /// Deletes all messages.
    async fn purge(&self, queue_url: &str) -> CloudResult<()>;

    /// What this provider's queues can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::MessageQueue)
    }

    /// Messages without end. Each comes as a [`Delivery`], whose [`hold`](Delivery::hold) keeps it while it is worked on, and
    /// with it those of the same receive that still wait. The stream ends with the first failure that is not
    /// [retryable](crate::common::CloudError::is_retryable), and with a pause goes on after one that is.
    fn receive_stream<'a>(
        &'a self,
        queue_url: &'a str,
        options: ReceiveStreamOptions,
    ) -> ItemStream<'a, Delivery<'a>> {
        delivery::stream(self, queue_url, options)
    }
}
