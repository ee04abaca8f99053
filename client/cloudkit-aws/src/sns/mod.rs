//! Topics of AWS: `PubSub` over the SDK's client of SNS.
//!
//! All calls are sent again when their answer is lost: twice is as good as once, but for publishing, where a message may be delivered
//! twice in any case, unless the topic keeps the order and knows it again by its deduplication id.
//!
//! Messages are texts in UTF-8: the protocol carries nothing else. A queue takes what topics send only if its policy says so; to
//! subscribe it sees to that.

mod batch;
mod explain;
mod place;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sns::types::MessageAttributeValue;
use cloudkit_core::api::{Capabilities, PubSub, Service, SubscriptionConfig};
use cloudkit_core::common::{CloudError, CloudResult, Failure, Metadata, ResourceId};
use serde::Serialize;
use serde_json::json;

use crate::caller::{Caller, Shared};
use crate::fault::PROVIDER;
use crate::operation::Operation;
use crate::sqs::SqsQueue;

/// Topics and subscriptions. Clones share everything.
#[derive(Clone, Debug)]
pub struct SnsPubSub {
    caller: Caller,
    /// Where most of the messages go.
    queues: SqsQueue,
}

impl SnsPubSub {
    pub(crate) fn new(shared: Arc<Shared>) -> SnsPubSub {
        let queues = SqsQueue::new(shared.clone());
        SnsPubSub { caller: Caller::new(shared, "sns", explain::explain), queues }
    }

    fn sdk(&self) -> &aws_sdk_sns::Client {
        &self.caller.shared.sns
    }

    fn arn(&self, operation: &Operation<'_>, arn: Option<String>) -> Result<String, Failure> {
        arn.ok_or_else(|| self.caller.malformed(operation, "the ARN is missing"))
    }

    fn region_code(&self) -> &str {
        self.caller.shared.context.region().code()
    }

    /// One page of the topics, and the token of the next one.
    async fn topics(
        &self,
        operation: &Operation<'_>,
        token: Option<String>,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        let page = self.caller.run(operation, self.sdk().list_topics().set_next_token(token).send()).await?;
        let arns = page.topics.unwrap_or_default().into_iter().filter_map(|topic| topic.topic_arn);
        Ok((arns.collect(), page.next_token.filter(|token| !token.is_empty())))
    }

    async fn subscribe_to(
        &self,
        topic: &str,
        protocol: &str,
        endpoint: &str,
        attributes: Vec<(&str, String)>,
    ) -> Result<String, Failure> {
        let operation = Operation::on("Subscribe", topic);
        let endpoint = match protocol {
            "sqs" => place::arn_of(endpoint, self.region_code()),
            _ => endpoint.into(),
        };
        let mut call = self
            .sdk()
            .subscribe()
            .topic_arn(topic)
            .protocol(protocol)
            .endpoint(&*endpoint)
            // One that waits for its confirmation has its identity already.
            .return_subscription_arn(true);
        for (name, value) in attributes {
            call = call.attributes(name, value);
        }
        let output = self.caller.run(&operation, call.send()).await?;
        let subscription = self.arn(&operation, output.subscription_arn)?;
        if protocol == "sqs" {
            self.admit(topic, &endpoint).await?;
        }
        Ok(subscription)
    }

    /// Lets the topics of this one's account send to a queue.
    async fn admit(&self, topic: &str, queue_arn: &str) -> Result<(), Failure> {
        self.queues.admit_topics(queue_arn, topic.split(':').nth(4).unwrap_or_default()).await
    }

    async fn subscribe_as(&self, topic: &str, config: &SubscriptionConfig) -> Result<String, Failure> {
        let operation = Operation::on("Subscribe", topic);
        let invalid = |words: &str| self.caller.invalid(&operation, words);
        let endpoint =
            config.push_endpoint.as_deref().ok_or_else(|| invalid("push_endpoint says where to deliver"))?;
        let protocol = place::protocol_of(endpoint).ok_or_else(|| {
            invalid("push_endpoint is a queue's address or ARN, or the address of a web hook")
        })?;
        let mut attributes = Vec::new();
        if let Some(policy) = &config.filter_policy {
            attributes.push(("FilterPolicy", json!(policy).to_string()));
        }
        if let Some(place) = &config.dead_letter_topic {
            let arn = place::arn_of(place, self.region_code());
            attributes.push(("RedrivePolicy", json!({"deadLetterTargetArn": arn}).to_string()));
        }
        if let Some(attempts) = config.max_delivery_attempts.filter(|_| matches!(protocol, "http" | "https"))
        {
            let retries = attempts.checked_sub(1).ok_or_else(|| invalid("one delivery is tried at least"))?;
            let policy = json!({"healthyRetryPolicy": {"numRetries": retries}});
            attributes.push(("DeliveryPolicy", policy.to_string()));
        }
        let subscription = self.subscribe_to(topic, protocol, endpoint, attributes).await?;
        if let Some(place) = &config.dead_letter_topic {
            self.admit(topic, &place::arn_of(place, self.region_code())).await?;
        }
        Ok(subscription)
    }

    /// The text of a message. Errors: Validation for bytes that are none.
    fn text<'m>(&self, operation: &Operation<'_>, message: &'m [u8]) -> Result<&'m str, Failure> {
        match std::str::from_utf8(message) {
            Ok("") => Err(self.caller.invalid(operation, "a message has at least one character")),
            Ok(text) => Ok(text),
            Err(_) => Err(self.caller.invalid(operation, "a topic carries texts in UTF-8 only")),
        }
    }

    async fn publish_text(
        &self,
        topic: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> Result<ResourceId, Failure> {
        let operation = Operation::on("Publish", topic);
        let text = self.text(&operation, message)?;
        let mut call = self
            .sdk()
            .publish()
            .topic_arn(topic)
            .message(text)
            .set_message_deduplication_id(deduplication_id(topic));
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
}

/// What a topic that keeps the order knows a message by; made here, so that it stays the same over the attempts.
fn deduplication_id(topic: &str) -> Option<String> {
    topic.ends_with(".fifo").then(|| ResourceId::generate().as_str().to_string())
}

/// What a listing says instead of the ARN of a subscription that waits for its confirmation.
const PENDING: &str = "PendingConfirmation";

#[async_trait]
impl PubSub for SnsPubSub {
    async fn create_topic(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("CreateTopic", name);
        let mut call = self.sdk().create_topic().name(name);
        if name.ends_with(".fifo") {
            call = call.attributes("FifoTopic", "true");
        }
        let output = self.caller.run(&operation, call.send()).await?;
        Ok(self.arn(&operation, output.topic_arn)?)
    }

    async fn delete_topic(&self, topic_arn: &str) -> CloudResult<()> {
        let operation = Operation::on("DeleteTopic", topic_arn);
        self.caller.run(&operation, self.sdk().delete_topic().topic_arn(topic_arn).send()).await?;
        Ok(())
    }

    async fn list_topics(&self) -> CloudResult<Vec<String>> {
        let operation = Operation::new("ListTopics");
        let (mut topics, mut token) = self.topics(&operation, None).await?;
        while token.is_some() {
            let (further, next) = self.topics(&operation, token).await?;
            topics.extend(further);
            token = next;
        }
        Ok(topics)
    }

    async fn get_topic_arn(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("ListTopics", name);
        let mut token = None;
        loop {
            let (topics, next) = self.topics(&operation, token).await?;
            let is_it = |arn: &String| arn.rsplit(':').next() == Some(name);
            if let Some(arn) = topics.into_iter().find(is_it) {
                return Ok(arn);
            }
            token = next;
            if token.is_none() {
                let kind = CloudError::NotFound { resource_type: "Topic".into(), resource_id: name.into() };
                return Err(self.caller.refusal(&operation, kind).into());
            }
        }
    }

    async fn subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String> {
        Ok(self.subscribe_to(topic_arn, protocol, endpoint, Vec::new()).await?)
    }

    async fn subscribe_with_config(
        &self,
        topic_arn: &str,
        config: SubscriptionConfig,
    ) -> CloudResult<String> {
        Ok(self.subscribe_as(topic_arn, &config).await?)
    }

    async fn unsubscribe(&self, subscription_arn: &str) -> CloudResult<()> {
        let operation = Operation::on("Unsubscribe", subscription_arn);
        let call = self.sdk().unsubscribe().subscription_arn(subscription_arn).send();
        self.caller.run(&operation, call).await?;
        Ok(())
    }

    async fn list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>> {
        let operation = Operation::on("ListSubscriptionsByTopic", topic_arn);
        let mut subscriptions = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let call = self.sdk().list_subscriptions_by_topic().topic_arn(topic_arn).set_next_token(token);
            let page = self.caller.run(&operation, call.send()).await?;
            let arns =
                page.subscriptions.unwrap_or_default().into_iter().filter_map(|one| one.subscription_arn);
            subscriptions.extend(arns.filter(|arn| arn != PENDING));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(subscriptions);
            }
        }
    }

    async fn publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId> {
        Ok(self.publish_text(topic_arn, message, Metadata::new()).await?)
    }

    async fn publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId> {
        Ok(self.publish_text(topic_arn, message, attributes).await?)
    }

    async fn publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>> {
        Ok(self.publish_all(topic_arn, messages).await?)
    }

    async fn publish_json<T: Serialize + Send + Sync>(
        &self,
        topic_arn: &str,
        message: &T,
    ) -> CloudResult<ResourceId> {
        let text = serde_json::to_string(message)?;
        self.publish(topic_arn, text.as_bytes()).await
    }

    fn capabilities(&self) -> Capabilities {
        let order = "a topic whose name ends with .fifo needs a message group, for which the trait has no place: publishing to \
                     it is a Validation";
        Capabilities::defaults(PROVIDER, Service::PubSub)
            .differs("subscribe", "queues by address or ARN, whose policies are given a statement that lets the topics of the account send")
            .differs(
                "subscribe_with_config",
                "dead_letter_topic is a queue, by address or ARN; max_delivery_attempts counts for web hooks only, since a \
                 delivery to a queue works at once or never",
            )
            .yes("get_topic_arn", "by list_topics")
            .yes("list_subscriptions", "those that wait for their confirmation are left out")
            .differs("publish", order)
            .differs("publish_with_attributes", order)
            .differs("publish_batch", order)
            .differs("publish_json", order)
    }
}
