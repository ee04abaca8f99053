//! Queues of AWS: `MessageQueue` over the SDK's client of SQS.
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

mod batch;
mod explain;
mod message;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use aws_smithy_types::timeout::TimeoutConfig;
use cloudkit_core::api::{Capabilities, Message, MessageQueue, ReceiveOptions, SendOptions, Service};
use cloudkit_core::common::{CloudResult, Failure, ResourceId};

use crate::caller::{Caller, Shared};
use crate::fault::PROVIDER;
use crate::operation::Operation;
use explain::{is_fifo, name_of, seconds};

/// Queues and messages. Clones share everything.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    caller: Caller,
}

impl SqsQueue {
    pub(crate) fn new(shared: Arc<Shared>) -> SqsQueue {
        SqsQueue { caller: Caller::new(shared, "sqs", explain::explain) }
    }

    fn sdk(&self) -> &aws_sdk_sqs::Client {
        &self.caller.shared.sqs
    }

    fn address(&self, operation: &Operation<'_>, address: Option<String>) -> Result<String, Failure> {
        address.ok_or_else(|| self.caller.malformed(operation, "the address is missing"))
    }

    /// The receipt of a message. Errors: Validation without one.
    fn receipt<'m>(&self, operation: &Operation<'_>, message: &'m Message) -> Result<&'m str, Failure> {
        let handle = message.receipt_handle.as_deref().filter(|handle| !handle.is_empty());
        handle.ok_or_else(|| self.caller.invalid(operation, "the message has no receipt handle"))
    }

    async fn send_one(
        &self,
        queue_url: &str,
        body: &str,
        options: SendOptions,
    ) -> Result<ResourceId, Failure> {
        let operation = Operation::on("SendMessage", name_of(queue_url));
        let SendOptions { delay, message_group_id, deduplication_id, attributes } = options;
        let mut call = self
            .sdk()
            .send_message()
            .queue_url(queue_url)
            .message_body(body)
            .set_delay_seconds(delay.map(seconds))
            .set_message_group_id(message_group_id)
            .set_message_deduplication_id(deduplication_id.or_else(|| is_fifo(queue_url).then(fresh_id)));
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let value = value.map_err(|_| self.caller.invalid(&operation, "an attribute has no kind"))?;
            call = call.message_attributes(name, value);
        }
        let output = self.caller.run(&operation, call.send()).await?;
        let id =
            output.message_id.ok_or_else(|| self.caller.malformed(&operation, "MessageId is missing"))?;
        Ok(ResourceId::new(id))
    }

    async fn receive_some(&self, queue_url: &str, options: &ReceiveOptions) -> Result<Vec<Message>, Failure> {
        let operation = Operation::on("ReceiveMessage", name_of(queue_url));
        let config = &self.caller.shared.context.config;
        // Without a time of the caller's the queue waits as long as it says itself.
        let wait = options.wait_time.map_or(WAIT_MAX, |time| time.min(WAIT_MAX));
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.timeout)
            .operation_attempt_timeout(config.request_timeout.saturating_add(wait))
            .build();
        let count = options.max_messages.map(|max| i32::try_from(max).unwrap_or(i32::MAX));
        let call = self
            .sdk()
            .receive_message()
            .queue_url(queue_url)
            .set_max_number_of_messages(count)
            .set_visibility_timeout(options.visibility_timeout.map(seconds))
            .set_wait_time_seconds(options.wait_time.map(seconds))
            .set_receive_request_attempt_id(is_fifo(queue_url).then(fresh_id))
            .set_message_system_attribute_names(Some(message::SYSTEM_NAMES.to_vec()))
            .message_attribute_names("All")
            .customize()
            .config_override(aws_sdk_sqs::config::Builder::new().timeout_config(timeouts))
            .send();
        let received = self.caller.run(&operation, call).await?.messages.unwrap_or_default();
        let read = received.into_iter().map(message::read).collect::<Option<Vec<_>>>();
        read.ok_or_else(|| self.caller.malformed(&operation, "a message without SentTimestamp"))
    }
}

/// An identity that nobody has yet.
fn fresh_id() -> String {
    ResourceId::generate().as_str().to_string()
}

/// The longest that a receive waits.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Queues of one page of a listing, the most that there may be.
const PAGE_QUEUE_COUNT: i32 = 1000;

#[async_trait]
impl MessageQueue for SqsQueue {
    async fn create_queue(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("CreateQueue", name);
        let mut call = self.sdk().create_queue().queue_name(name);
        if is_fifo(name) {
            call = call.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let output = self.caller.run(&operation, call.send()).await?;
        Ok(self.address(&operation, output.queue_url)?)
    }

    async fn delete_queue(&self, queue_url: &str) -> CloudResult<()> {
        let operation = Operation::on("DeleteQueue", name_of(queue_url)).once();
        self.caller.run(&operation, self.sdk().delete_queue().queue_url(queue_url).send()).await?;
        Ok(())
    }

    async fn get_queue_url(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("GetQueueUrl", name);
        let output = self.caller.run(&operation, self.sdk().get_queue_url().queue_name(name).send()).await?;
        Ok(self.address(&operation, output.queue_url)?)
    }

    async fn list_queues(&self, prefix: Option<&str>) -> CloudResult<Vec<String>> {
        let operation = Operation::new("ListQueues");
        let mut queues = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let call = self
                .sdk()
                .list_queues()
                .set_queue_name_prefix(prefix.filter(|prefix| !prefix.is_empty()).map(String::from))
                .max_results(PAGE_QUEUE_COUNT)
                .set_next_token(token)
                .send();
            let page = self.caller.run(&operation, call).await?;
            queues.extend(page.queue_urls.unwrap_or_default());
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
        Ok(self.send_one(queue_url, body, options).await?)
    }

    async fn send_batch(&self, queue_url: &str, messages: &[&str]) -> CloudResult<Vec<ResourceId>> {
        Ok(self.send_all(queue_url, messages).await?)
    }

    async fn receive(&self, queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>> {
        Ok(self.receive_some(queue_url, &options).await?)
    }

    async fn delete(&self, queue_url: &str, message: &Message) -> CloudResult<()> {
        let operation = Operation::on("DeleteMessage", name_of(queue_url));
        let handle = self.receipt(&operation, message)?;
        let call = self.sdk().delete_message().queue_url(queue_url).receipt_handle(handle).send();
        self.caller.run(&operation, call).await?;
        Ok(())
    }

    async fn delete_batch(&self, queue_url: &str, messages: &[&Message]) -> CloudResult<()> {
        Ok(self.delete_all(queue_url, messages).await?)
    }

    async fn change_visibility(
        &self,
        queue_url: &str,
        message: &Message,
        timeout: Duration,
    ) -> CloudResult<()> {
        let operation = Operation::on("ChangeMessageVisibility", name_of(queue_url));
        let handle = self.receipt(&operation, message)?;
        let call = self
            .sdk()
            .change_message_visibility()
            .queue_url(queue_url)
            .receipt_handle(handle)
            .visibility_timeout(seconds(timeout))
            .send();
        self.caller.run(&operation, call).await?;
        Ok(())
    }

    async fn get_queue_depth(&self, queue_url: &str) -> CloudResult<u64> {
        let operation = Operation::on("GetQueueAttributes", name_of(queue_url));
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let call =
            self.sdk().get_queue_attributes().queue_url(queue_url).attribute_names(name.clone()).send();
        let attributes = self.caller.run(&operation, call).await?.attributes.unwrap_or_default();
        let depth = attributes.get(&name).and_then(|depth| depth.parse().ok());
        Ok(depth.ok_or_else(|| self.caller.malformed(&operation, "the depth is no number"))?)
    }

    async fn purge(&self, queue_url: &str) -> CloudResult<()> {
        let operation = Operation::on("PurgeQueue", name_of(queue_url)).once();
        self.caller.run(&operation, self.sdk().purge_queue().queue_url(queue_url).send()).await?;
        Ok(())
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
            .yes("get_queue_depth", "about a minute old on AWS, exact on ZeroCloud")
            .yes("purge", "once in 60 seconds")
    }
}
