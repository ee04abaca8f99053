//! What the engine is asked and what it answers.
//! Invariant: counts and lengths are within the bounds that need no queue: wire has checked them.
//! Leaves to the operations: what needs the queue.

use bytes::Bytes;
use plan::delivery::queue_place;
use store::{ShardId, Store};

use crate::model::message::{Message, MessageAttribute, MessageId};
use crate::model::queue::{QueueKey, Sequence};

/// A queue by name, and the shard that it lies on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueRef {
    /// Where its records lie.
    pub shard: ShardId,
    /// Its account and name.
    pub key: QueueKey,
}

impl QueueRef {
    /// The queue with this key. It need not exist.
    #[must_use]
    pub fn new(store: &Store, key: QueueKey) -> QueueRef {
        QueueRef { shard: store.place(&queue_place(key.account(), key.name())), key }
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its body, not empty.
    pub body: Bytes,
    /// Its attributes, in the order of the request.
    pub attributes: Vec<MessageAttribute>,
    /// Its system attributes.
    pub system: Vec<MessageAttribute>,
    /// DelaySeconds, where the request names it.
    pub delay_seconds: Option<u16>,
    /// MessageGroupId.
    pub group: Option<Box<str>>,
    /// MessageDeduplicationId.
    pub deduplication: Option<Box<str>>,
}

/// A message that was sent, or was sent before with the same deduplication id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its id.
    pub message_id: MessageId,
    /// Its place, on FIFO queues.
    pub sequence: Option<Sequence>,
}

/// What a receive asks for.
#[derive(Clone, Debug, Default)]
pub struct ReceiveRequest {
    /// MaxNumberOfMessages, 1 to 10.
    pub count_max: u8,
    /// WaitTimeSeconds; None: as the queue says.
    pub wait_seconds: Option<u8>,
    /// VisibilityTimeout; None: as the queue says.
    pub visibility_seconds: Option<u32>,
    /// ReceiveRequestAttemptId.
    pub attempt: Option<Box<str>>,
}

/// A message that was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// What was sent.
    pub message: Message,
    /// Its body.
    pub body: Bytes,
    /// Its place.
    pub sequence: Sequence,
    /// ApproximateReceiveCount, this receive included.
    pub receive_count: u32,
    /// ApproximateFirstReceiveTimestamp.
    pub first_receive_ms: u64,
    /// The receipt handle.
    pub handle: String,
}

/// How many messages a queue has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// ApproximateNumberOfMessages.
    pub visible: u64,
    /// ApproximateNumberOfMessagesNotVisible.
    pub in_flight: u64,
    /// ApproximateNumberOfMessagesDelayed.
    pub delayed: u64,
}
