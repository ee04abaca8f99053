//! Topics of the zero provider: `PubSub` over the appliance's SNS, protocol 2010-03-31.
//!
//! What becomes of a call whose answer is lost:
//!
//! | call | sent again? | because |
//! |---|---|---|
//! | create_topic, subscribe, list_topics, get_topic_arn, list_subscriptions | yes | twice is as good as once |
//! | delete_topic, unsubscribe | yes | to end what is not there is a success |
//! | publish, publish_batch | yes | a message may be delivered twice in any case, but on a topic that keeps the order, which knows it again by its deduplication id |
//!
//! Messages are texts in UTF-8: the protocol carries nothing else. A queue takes what topics send only if its policy says so; to
//! subscribe it sees to that.

mod batch;
mod place;
#[cfg(test)]
mod trial;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cloudkit_core::api::{Capabilities, PubSub, Service, SubscriptionConfig};
use cloudkit_core::common::{CloudError, CloudResult, Failure, Metadata, ResourceId};
use serde::Serialize;
use serde_json::json;

use crate::failure::PROVIDER;
use crate::retry::Idempotency;
use crate::service::{Operation, ServiceClient, Shared};
use crate::sqs::ZeroQueue;
use crate::xml::Element;
use wire::{Form, ask, text_of};

/// Topics and subscriptions. Clones share everything.
#[derive(Clone)]
pub struct ZeroTopics {
    client: ServiceClient,
    /// Where most of the messages go.
    queues: ZeroQueue,
}

impl ZeroTopics {
    /// Of a client's shared parts.
    pub fn new(shared: Arc<Shared>) -> ZeroTopics {
        let queues = ZeroQueue::new(shared.clone());
        ZeroTopics { client: ServiceClient::new(shared, "sns", wire::explain), queues }
    }

    async fn ask(&self, operation: &Operation<'_>, form: Form) -> Result<Element, Failure> {
        ask(&self.client, operation, form, Idempotency::Always).await
    }

    /// One page of a listing: the text `name` of each member of `list`, and the token of the next page.
    async fn page(
        &self,
        operation: &Operation<'_>,
        mut form: Form,
        token: Option<&str>,
        list: &str,
        name: &str,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        if let Some(token) = token {
            form.push("NextToken", token);
        }
        let result = self.ask(operation, form).await?;
        let members = result.child(list).into_iter().flat_map(|list| list.children("member"));
        let names = members.filter_map(|member| member.text_of(name)).map(String::from).collect();
        Ok((names, result.text_of("NextToken").filter(|token| !token.is_empty()).map(String::from)))
    }

    async fn topics(
        &self,
        operation: &Operation<'_>,
        token: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        self.page(operation, Form::new("ListTopics"), token, "Topics", "TopicArn").await
    }

    async fn subscribe_to(
        &self,
        topic: &str,
        protocol: &str,
        endpoint: &str,
        attributes: &[(&str, String)],
    ) -> Result<String, Failure> {
        let operation = Operation::on("Subscribe", topic);
        let endpoint = match protocol {
            "sqs" => place::arn_of(endpoint, self.client.region_code()),
            _ => endpoint.into(),
        };
        let mut form = Form::new("Subscribe")
            .with("TopicArn", topic)
            .with("Protocol", protocol)
            .with("Endpoint", &endpoint)
            // One that waits for its confirmation has its identity already.
            .with("ReturnSubscriptionArn", "true");
        for (index, (name, value)) in attributes.iter().enumerate() {
            form.push_entry("Attributes", index + 1, name, value);
        }
        let result = self.ask(&operation, form).await?;
        let subscription = text_of(&self.client, &operation, &result, "SubscriptionArn")?;
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
        let invalid = |words: &str| self.client.refusal(&operation, CloudError::Validation(words.into()));
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
            let arn = place::arn_of(place, self.client.region_code());
            attributes.push(("RedrivePolicy", json!({"deadLetterTargetArn": arn}).to_string()));
        }
        if let Some(attempts) = config.max_delivery_attempts.filter(|_| matches!(protocol, "http" | "https"))
        {
            let retries = attempts.checked_sub(1).ok_or_else(|| invalid("one delivery is tried at least"))?;
            let policy = json!({"healthyRetryPolicy": {"numRetries": retries}});
            attributes.push(("DeliveryPolicy", policy.to_string()));
        }
        let subscription = self.subscribe_to(topic, protocol, endpoint, &attributes).await?;
        if let Some(place) = &config.dead_letter_topic {
            self.admit(topic, &place::arn_of(place, self.client.region_code())).await?;
        }
        Ok(subscription)
    }

    async fn publish_text(
        &self,
        topic: &str,
        message: &[u8],
        attributes: &Metadata,
    ) -> Result<ResourceId, Failure> {
        let operation = Operation::on("Publish", topic);
        let text = message_text(&self.client, &operation, message)?;
        let mut form = Form::new("Publish").with("TopicArn", topic).with("Message", text);
        form.push_attributes(attributes);
        if let Some(id) = deduplication_id(topic) {
            form.push("MessageDeduplicationId", &id);
        }
        let result = self.ask(&operation, form).await?;
        Ok(ResourceId::new(text_of(&self.client, &operation, &result, "MessageId")?))
    }
}

/// The text of a message. Errors: Validation for bytes that are none.
fn message_text<'m>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    message: &'m [u8],
) -> Result<&'m str, Failure> {
    let invalid = |words: &str| client.refusal(operation, CloudError::Validation(words.into()));
    match std::str::from_utf8(message) {
        Ok("") => Err(invalid("a message has at least one character")),
        Ok(text) => Ok(text),
        Err(_) => Err(invalid("a topic carries texts in UTF-8 only")),
    }
}

/// What a topic that keeps the order knows a message by; made here, so that it stays the same over the attempts.
fn deduplication_id(topic: &str) -> Option<String> {
    topic.ends_with(".fifo").then(|| ResourceId::generate().as_str().to_string())
}

/// What a listing says instead of the ARN of a subscription that waits for its confirmation.
const PENDING: &str = "PendingConfirmation";

impl fmt::Debug for ZeroTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroTopics").field("client", &self.client).finish()
    }
}

#[async_trait]
impl PubSub for ZeroTopics {
    async fn create_topic(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("CreateTopic", name);
        let mut form = Form::new("CreateTopic").with("Name", name);
        if name.ends_with(".fifo") {
            form.push_entry("Attributes", 1, "FifoTopic", "true");
        }
        let result = self.ask(&operation, form).await?;
        Ok(text_of(&self.client, &operation, &result, "TopicArn")?)
    }

    async fn delete_topic(&self, topic_arn: &str) -> CloudResult<()> {
        let operation = Operation::on("DeleteTopic", topic_arn);
        self.ask(&operation, Form::new("DeleteTopic").with("TopicArn", topic_arn)).await?;
        Ok(())
    }

    async fn list_topics(&self) -> CloudResult<Vec<String>> {
        let operation = Operation::new("ListTopics");
        let (mut topics, mut token) = self.topics(&operation, None).await?;
        while let Some(next) = token {
            let (further, after) = self.topics(&operation, Some(&next)).await?;
            topics.extend(further);
            token = after;
        }
        Ok(topics)
    }

    async fn get_topic_arn(&self, name: &str) -> CloudResult<String> {
        let operation = Operation::on("ListTopics", name);
        let mut token = None;
        loop {
            let (topics, next) = self.topics(&operation, token.as_deref()).await?;
            let is_it = |arn: &&String| arn.rsplit(':').next() == Some(name);
            if let Some(arn) = topics.iter().find(is_it) {
                return Ok(arn.clone());
            }
            token = next;
            if token.is_none() {
                let kind = CloudError::NotFound { resource_type: "Topic".into(), resource_id: name.into() };
                return Err(self.client.refusal(&operation, kind).into());
            }
        }
    }

    async fn subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String> {
        Ok(self.subscribe_to(topic_arn, protocol, endpoint, &[]).await?)
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
        self.ask(&operation, Form::new("Unsubscribe").with("SubscriptionArn", subscription_arn)).await?;
        Ok(())
    }

    async fn list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>> {
        let operation = Operation::on("ListSubscriptionsByTopic", topic_arn);
        let mut subscriptions = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let form = Form::new("ListSubscriptionsByTopic").with("TopicArn", topic_arn);
            let page = self.page(&operation, form, token.as_deref(), "Subscriptions", "SubscriptionArn");
            let (names, next) = page.await?;
            subscriptions.extend(names.into_iter().filter(|name| name != PENDING));
            token = next;
            if token.is_none() {
                return Ok(subscriptions);
            }
        }
    }

    async fn publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId> {
        Ok(self.publish_text(topic_arn, message, &Metadata::new()).await?)
    }

    async fn publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId> {
        Ok(self.publish_text(topic_arn, message, &attributes).await?)
    }

    async fn publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>> {
        Ok(batch::publish(&self.client, topic_arn, messages).await?)
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
            .differs("subscribe", "protocols sqs, http and https; queues by address or ARN, whose policies are given a statement that lets the topics of the account send")
            .differs(
                "subscribe_with_config",
                "to queues and web hooks; dead_letter_topic is a queue, by address or ARN; max_delivery_attempts counts for web \
                 hooks only, since a delivery to a queue works at once or never",
            )
            .yes("get_topic_arn", "by list_topics")
            .yes("list_subscriptions", "those that wait for their confirmation are left out")
            .differs("publish", order)
            .differs("publish_with_attributes", order)
            .differs("publish_batch", order)
            .differs("publish_json", order)
    }
}
