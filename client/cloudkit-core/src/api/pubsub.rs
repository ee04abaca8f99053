//! Topics, subscriptions and what is published.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata, ResourceId};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A message as a subscriber gets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PubSubMessage {
    /// The identity that it got when it was published.
    pub id: ResourceId,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its attributes.
    pub attributes: Metadata,
    /// When it was published.
    pub publish_time: DateTime<Utc>,
}

/// How a subscription delivers.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionConfig {
    /// Where the messages go; the protocol follows from its form.
    pub push_endpoint: Option<String>,
    /// Which attributes a message must have, and with which values, to be delivered.
    pub filter_policy: Option<HashMap<String, Vec<String>>>,
    /// Where a message goes that cannot be delivered.
    pub dead_letter_topic: Option<String>,
    /// How many times delivery is tried before that.
    pub max_delivery_attempts: Option<u32>,
}

/// Topics and subscriptions. Both are named by the texts that their making gave.
///
/// A topic that is missing is [`NotFound`](crate::common::CloudError::NotFound) with the `resource_type` `Topic`.
///
/// The generic method makes no trait objects; [`DynPubSub`](super::DynPubSub) does.
#[async_trait]
pub trait PubSub: Send + Sync {
    /// Makes a topic, or finds the one of this name, and gives its identity.
    async fn create_topic(&self, name: &str) -> CloudResult<String>;

    /// Deletes a topic with its subscriptions.
    async fn delete_topic(&self, topic_arn: &str) -> CloudResult<()>;

    /// The identities of all topics.
    async fn list_topics(&self) -> CloudResult<Vec<String>>;

    /// The identity of the topic of this name.
    async fn get_topic_arn(&self, name: &str) -> CloudResult<String>;

    /// Subscribes an endpoint by a protocol, and gives the subscription's identity. With `sqs` the endpoint is a queue: its
    /// address as [`create_queue`](super::MessageQueue::create_queue) gives it, or its ARN.
    async fn subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String>;

    /// As [`subscribe`](Self::subscribe), with a filter and a place for what cannot be delivered.
    async fn subscribe_with_config(&self, topic_arn: &str, config: SubscriptionConfig)
    -> CloudResult<String>;

    /// Ends a subscription.
    async fn unsubscribe(&self, subscription_arn: &str) -> CloudResult<()>;

    /// The identities of a topic's subscriptions.
    async fn list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>>;

    /// Publishes a message. Where the provider carries text only, it must be UTF-8.
    async fn publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId>;

    /// As [`publish`](Self::publish), with attributes.
    async fn publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId>;

    /// Publishes any number of messages and gives their identities in the same order.
    async fn publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>>;

    /// Publishes a value in its JSON form.
    async fn publish_json<T: Serialize + Send + Sync>(
        &self,
        topic_arn: &str,
        message: &T,
    ) -> CloudResult<ResourceId>;

    /// What this provider's topics can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::PubSub)
    }
}
