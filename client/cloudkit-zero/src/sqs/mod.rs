//! Queues of the zero provider: `MessageQueue` over the appliance's SQS, protocol 2012-11-05.
//!
//! What becomes of a call whose answer is lost:
//!
//! | call | sent again? | because |
//! |---|---|---|
//! | create_queue, get_queue_url, list_queues, get_queue_depth | yes | twice is as good as once |
//! | send to a queue that keeps the order | yes | its deduplication id, made here unless the caller gave one, stays the same |
//! | send to another queue | yes | a message may come twice there in any case |
//! | receive | yes | what the first one took comes again when its time is over; a queue that keeps the order knows the attempt by its id |
//! | delete, change_visibility | yes | twice is as good as once |
//! | delete_queue, purge | no | the second one would be refused for what the first one did |
//!
//! Invariant: every body and its attributes are compared with the digests that the service names.

mod batch;
mod digest;
mod message;
mod policy;
#[cfg(test)]
mod trial;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cloudkit_core::api::{Capabilities, Message, MessageQueue, ReceiveOptions, SendOptions, Service};
use cloudkit_core::common::{CloudError, CloudResult, Failure, ResourceId};

use crate::failure::PROVIDER;
use crate::retry::Idempotency;
use crate::service::{Operation, ServiceClient, Shared};
use message::Received;
use wire::{Input, Outgoing, Output, Taken, ask, ask_and_wait, compare, is_fifo, name_of, seconds};

/// Queues and messages. Clones share everything.
#[derive(Clone)]
pub struct ZeroQueue {
    client: ServiceClient,
}

impl ZeroQueue {
    /// Of a client's shared parts.
    pub fn new(shared: Arc<Shared>) -> ZeroQueue {
        ZeroQueue { client: ServiceClient::new(shared, "sqs", wire::explain) }
    }

    /// An operation that names a queue and answers with its address.
    async fn address(&self, operation: &Operation<'_>, input: Input<'_>) -> Result<String, Failure> {
        let output: Output = ask(&self.client, operation, &input, Idempotency::Always).await?;
        output.queue_url.ok_or_else(|| self.client.malformed(operation, "the address is missing"))
    }

    /// An operation on a queue that answers with nothing.
    async fn act(
        &self,
        name: &'static str,
        queue_url: &str,
        input: Input<'_>,
        idempotency: Idempotency,
    ) -> Result<(), Failure> {
        let operation = Operation::on(name, name_of(queue_url));
        let input = Input { queue_url: Some(queue_url), ..input };
        ask::<Output>(&self.client, &operation, &input, idempotency).await.map(|_| ())
    }

    async fn send_one(
        &self,
        queue_url: &str,
        body: &str,
        options: &SendOptions,
    ) -> Result<ResourceId, Failure> {
        let operation = Operation::on("SendMessage", name_of(queue_url));
        let given = options.deduplication_id.clone();
        let outgoing = Outgoing {
            queue_url: Some(queue_url),
            message_body: body,
            delay_seconds: options.delay.map(seconds),
            message_attributes: wire::text_attributes(&options.attributes),
            message_group_id: options.message_group_id.as_deref(),
            message_deduplication_id: given.or_else(|| is_fifo(queue_url).then(fresh_id)),
            ..Outgoing::default()
        };
        let taken: Taken = ask(&self.client, &operation, &outgoing, Idempotency::Always).await?;
        compare(&self.client, &operation, &digest::of_body(body), taken.body_digest.as_deref())?;
        if !options.attributes.is_empty() {
            let found = message::digest_of(&options.attributes);
            compare(&self.client, &operation, &found, taken.attributes_digest.as_deref())?;
        }
        Ok(ResourceId::new(taken.message_id))
    }

    async fn receive_some(&self, queue_url: &str, options: &ReceiveOptions) -> Result<Vec<Message>, Failure> {
        let operation = Operation::on("ReceiveMessage", name_of(queue_url));
        let attempt = is_fifo(queue_url).then(fresh_id);
        let input = Input {
            queue_url: Some(queue_url),
            max_number_of_messages: options.max_messages.map(|max| i32::try_from(max).unwrap_or(i32::MAX)),
            visibility_timeout: options.visibility_timeout.map(seconds),
            wait_time_seconds: options.wait_time.map(seconds),
            receive_request_attempt_id: attempt.as_deref(),
            message_system_attribute_names: message::SYSTEM_NAMES,
            message_attribute_names: &["All"],
            ..Input::default()
        };
        // Without a time of the caller's the queue waits as long as it says itself.
        let wait = options.wait_time.map_or(WAIT_MAX, |time| time.min(WAIT_MAX));
        let received: Received =
            ask_and_wait(&self.client, &operation, &input, Idempotency::Always, wait).await?;
        received.messages.into_iter().map(|message| message.read(&self.client, &operation)).collect()
    }
}

/// The receipt of a message. Errors: Validation without one.
fn receipt<'m>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    message: &'m Message,
) -> Result<&'m str, Failure> {
    let handle = message.receipt_handle.as_deref().filter(|handle| !handle.is_empty());
    handle.ok_or_else(|| {
        client.refusal(operation, CloudError::Validation("the message has no receipt handle".into()))
    })
}

/// An identity that nobody has yet.
fn fresh_id() -> String {
    ResourceId::generate().as_str().to_string()
}

/// The longest that a receive waits.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// What can be received now.
const DEPTH: &str = "ApproximateNumberOfMessages";
/// Queues of one page of a listing, the most that there may be.
const PAGE_QUEUE_COUNT: u32 = 1000;

impl fmt::Debug for ZeroQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroQueue").field("client", &self.client).finish()
    }
}

#[async_trait]
impl MessageQueue for ZeroQueue {
    async fn create_queue(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("CreateQueue", name);
        let attributes =
            if is_fifo(name) { BTreeMap::from([("FifoQueue", "true".into())]) } else { BTreeMap::new() };
        let input = Input { queue_name: Some(name), attributes, ..Input::default() };
        Ok(self.address(&operation, input).await?)
    }

    async fn delete_queue(&self, queue_url: &str) -> CloudResult<()> {
        Ok(self.act("DeleteQueue", queue_url, Input::default(), Idempotency::IfNotSent).await?)
    }

    async fn get_queue_url(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("GetQueueUrl", name);
        Ok(self.address(&operation, Input { queue_name: Some(name), ..Input::default() }).await?)
    }

    async fn list_queues(&self, prefix: Option<&str>) -> CloudResult<Vec<String>> {
        let operation = Operation::new("ListQueues");
        let mut queues = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let input = Input {
                queue_name_prefix: prefix.filter(|prefix| !prefix.is_empty()),
                max_results: Some(PAGE_QUEUE_COUNT),
                next_token: token.as_deref(),
                ..Input::default()
            };
            let page: Output = ask(&self.client, &operation, &input, Idempotency::Always).await?;
            queues.extend(page.queue_urls);
            token = page.next_token;
            if token.is_none() {
                return Ok(queues);
            }
        }
    }

    async fn send(&self, queue_url: &str, body: &str) -> CloudResult<ResourceId> {
        self.send_with_options(queue_url, body, SendOptions::new()).await
    }

    async fn send_with_options(
        &self,
        queue_url: &str,
        body: &str,
        options: SendOptions,
    ) -> CloudResult<ResourceId> {
        Ok(self.send_one(queue_url, body, &options).await?)
    }

    async fn send_batch(&self, queue_url: &str, messages: &[&str]) -> CloudResult<Vec<ResourceId>> {
        Ok(batch::send(&self.client, queue_url, messages).await?)
    }

    async fn receive(&self, queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>> {
        Ok(self.receive_some(queue_url, &options).await?)
    }

    async fn delete(&self, queue_url: &str, message: &Message) -> CloudResult<()> {
        let operation = Operation::on("DeleteMessage", name_of(queue_url));
        let handle = receipt(&self.client, &operation, message)?;
        let input = Input { receipt_handle: Some(handle), ..Input::default() };
        Ok(self.act("DeleteMessage", queue_url, input, Idempotency::Always).await?)
    }

    async fn delete_batch(&self, queue_url: &str, messages: &[&Message]) -> CloudResult<()> {
        Ok(batch::delete(&self.client, queue_url, messages).await?)
    }

    async fn change_visibility(
        &self,
        queue_url: &str,
        message: &Message,
        timeout: Duration,
    ) -> CloudResult<()> {
        let operation = Operation::on("ChangeMessageVisibility", name_of(queue_url));
        let handle = receipt(&self.client, &operation, message)?;
        let input = Input {
            receipt_handle: Some(handle),
            visibility_timeout: Some(seconds(timeout)),
            ..Input::default()
        };
        Ok(self.act("ChangeMessageVisibility", queue_url, input, Idempotency::Always).await?)
    }

    async fn get_queue_depth(&self, queue_url: &str) -> CloudResult<u64> {
        let operation = Operation::on("GetQueueAttributes", name_of(queue_url));
        let attribute_names: &[&str] = &[DEPTH];
        let input = Input { queue_url: Some(queue_url), attribute_names, ..Input::default() };
        let output: Output = ask(&self.client, &operation, &input, Idempotency::Always).await?;
        let depth = output.attributes.get(DEPTH).and_then(|depth| depth.parse().ok());
        Ok(depth.ok_or_else(|| self.client.malformed(&operation, "the depth is no number"))?)
    }

    async fn purge(&self, queue_url: &str) -> CloudResult<()> {
        Ok(self.act("PurgeQueue", queue_url, Input::default(), Idempotency::IfNotSent).await?)
    }

    fn capabilities(&self) -> Capabilities {
        let twice =
            "to a queue that does not keep the order, a message may be sent twice when an answer is lost";
        Capabilities::defaults(PROVIDER, Service::MessageQueue)
            .yes("send", twice)
            .yes("send_with_options", "a queue that keeps the order gets a deduplication id from here unless one is given, so that it never compares contents")
            .yes("send_batch", "ten at a time; what no queue takes is refused before the first is sent, other failures are told at the end")
            .yes("receive", "attributes of bytes come as their base64")
            .yes("delete_batch", "ten at a time; failures are told at the end")
            .yes("get_queue_depth", "exact on the appliance")
            .yes("purge", "once in 60 seconds")
    }
}
