//! Topics in memory: each publish goes to the queues of the same cloud that are subscribed, in the envelope of SNS.
//! Invariant: a message is with all its queues before its publish returns.

mod filter;

use crate::cloud::{Shared, State};
use crate::limits::{PUBLISH_BYTES_MAX, SUBSCRIPTION_COUNT_MAX, TOPIC_COUNT_MAX, TOPIC_NAME_BYTES_MAX};
use crate::queue::{Queues, check_attributes, check_body, name_of};
use crate::refusal::{Of, Outcome, PROVIDER, Refusal};
use async_trait::async_trait;
use chrono::SecondsFormat;
use cloudkit_core::api::{Capabilities, PubSub, Service, SubscriptionConfig};
use cloudkit_core::common::{CloudResult, Metadata, ResourceId};
use filter::Filter;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Topics and subscriptions in memory.
#[derive(Clone)]
pub struct MemoryTopics {
    pub(crate) shared: Arc<Shared>,
}

/// All topics.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<String, Topic>,
}

#[derive(Default)]
struct Topic {
    subscriptions: Vec<Subscription>,
}

struct Subscription {
    arn: String,
    /// The name of the queue.
    queue: String,
    filter: Option<Filter>,
    /// The name of the queue for what cannot be delivered.
    dead_letters: Option<String>,
}

impl Topics {
    fn create(&mut self, name: &str) -> Outcome<String> {
        let front = name.strip_suffix(".fifo").unwrap_or(name);
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.len() > TOPIC_NAME_BYTES_MAX || front.is_empty() || !front.bytes().all(word) {
            let text = "a topic's name has 1 to 256 letters, digits, hyphens and underscores";
            return Err(invalid(text));
        }
        if self.by_name.len() >= TOPIC_COUNT_MAX && !self.by_name.contains_key(name) {
            return Err(Refusal::full("topics"));
        }
        self.by_name.entry(name.to_owned()).or_default();
        Ok(format!("{ARN}{name}"))
    }

    fn find(&mut self, arn: &str) -> Outcome<&mut Topic> {
        let name = topic_name(arn)?;
        self.by_name.get_mut(name).ok_or_else(|| missing(arn))
    }

    fn subscribe(
        &mut self,
        arn: &str,
        config: &SubscriptionConfig,
        queues: &mut Queues,
        id: String,
    ) -> Outcome<String> {
        self.find(arn)?;
        let filter = config.filter_policy.as_ref().map(Filter::new).transpose()?;
        let endpoint = config.push_endpoint.as_deref().unwrap_or("");
        let queue =
            name_of(endpoint).ok_or_else(|| invalid("Endpoint: a queue's address or ARN is wanted"))?;
        if queues.is_fifo(endpoint) == Some(true) && !arn.ends_with(".fifo") {
            return Err(invalid("Endpoint: a FIFO queue cannot be subscribed to a standard topic"));
        }
        let dead_letters = match config.dead_letter_topic.as_deref() {
            None => None,
            Some(place) => {
                let name = name_of(place);
                let name =
                    name.ok_or_else(|| invalid("RedrivePolicy: a queue's address or ARN is wanted"))?;
                Some(name.to_owned())
            }
        };
        let topic = self.find(arn)?;
        if let Some(known) = topic.subscriptions.iter().find(|known| known.queue == queue) {
            // To subscribe again is a success if nothing changes by it.
            if config.filter_policy.is_some() && known.filter != filter {
                return Err(invalid("Attributes: the subscription exists with different attributes"));
            }
            return Ok(known.arn.clone());
        }
        if topic.subscriptions.len() >= SUBSCRIPTION_COUNT_MAX {
            return Err(Refusal::full("subscriptions"));
        }
        let subscription = format!("{arn}:{id}");
        topic.subscriptions.push(Subscription {
            arn: subscription.clone(),
            queue: queue.to_owned(),
            filter,
            dead_letters,
        });
        Ok(subscription)
    }

    fn unsubscribe(&mut self, subscription: &str) -> Outcome<()> {
        let (topic, _) = subscription.rsplit_once(':').ok_or_else(|| invalid("SubscriptionArn"))?;
        let name = topic_name(topic)?;
        // To end what is not there is a success.
        if let Some(topic) = self.by_name.get_mut(name) {
            topic.subscriptions.retain(|known| known.arn != subscription);
        }
        Ok(())
    }
}

impl State {
    fn publish(&mut self, arn: &str, message: &[u8], attributes: &Metadata) -> Outcome<ResourceId> {
        let Self { now, chance, queues, topics, .. } = self;
        let topic = topics.find(arn)?;
        let text = check_message(message, attributes)?;
        if arn.ends_with(".fifo") {
            return Err(invalid(
                "a topic that keeps order needs a MessageGroupId, for which publish has no place",
            ));
        }
        let id = chance.uuid();
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": arn,
            "Message": text,
            "Timestamp": now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "SignatureVersion": "1",
            "Signature": "memory",
            "SigningCertURL": "memory://certificate",
        });
        if !attributes.is_empty() {
            let typed =
                |(name, value): (&String, &String)| (name.clone(), json!({"Type": "String", "Value": value}));
            envelope["MessageAttributes"] = Value::Object(attributes.iter().map(typed).collect());
        }
        for subscription in &topic.subscriptions {
            if subscription.filter.as_ref().is_some_and(|filter| !filter.holds(attributes)) {
                continue;
            }
            envelope["UnsubscribeURL"] = Value::from(format!("memory://unsubscribe/{}", subscription.arn));
            let body = envelope.to_string();
            let address = |name: &str| format!("memory://queues/{name}");
            if !queues.deliver(&address(&subscription.queue), &body, *now, chance)
                && let Some(place) = &subscription.dead_letters
            {
                // A dead letter that has no place either is lost, as with SNS.
                queues.deliver(&address(place), &body, *now, chance);
            }
        }
        Ok(ResourceId::new(id))
    }
}

fn check_message<'a>(message: &'a [u8], attributes: &Metadata) -> Outcome<&'a str> {
    let text =
        std::str::from_utf8(message).map_err(|_| invalid("Message: topics carry text in UTF-8 only"))?;
    if text.is_empty() {
        return Err(invalid("Empty message"));
    }
    check_body(text).map_err(|_| invalid("Message: it has control characters"))?;
    check_attributes(attributes).map_err(|_| invalid("MessageAttributes"))?;
    let bytes = attributes.iter().map(|(name, value)| name.len() + value.len() + 6).sum::<usize>();
    if text.len() + bytes > PUBLISH_BYTES_MAX {
        return Err(invalid("Message too long"));
    }
    Ok(text)
}

fn topic_name(arn: &str) -> Outcome<&str> {
    let name = arn.strip_prefix(ARN).filter(|name| !name.is_empty() && !name.contains(':'));
    name.ok_or_else(|| invalid("TopicArn"))
}

fn missing(arn: &str) -> Refusal {
    Refusal::missing("NotFound", "Topic", arn)
}

fn invalid(message: &str) -> Refusal {
    Refusal::invalid("InvalidParameter", message)
}

#[async_trait]
impl PubSub for MemoryTopics {
    async fn create_topic(&self, name: &str) -> CloudResult<String> {
        Ok(self.shared.lock().topics.create(name).of("CreateTopic", name)?)
    }

    async fn delete_topic(&self, topic_arn: &str) -> CloudResult<()> {
        let mut state = self.shared.lock();
        // To delete what is not there is a success.
        let name = topic_name(topic_arn).of("DeleteTopic", topic_arn)?;
        state.topics.by_name.remove(name);
        Ok(())
    }

    async fn list_topics(&self) -> CloudResult<Vec<String>> {
        let state = self.shared.lock();
        Ok(state.topics.by_name.keys().map(|name| format!("{ARN}{name}")).collect())
    }

    async fn get_topic_arn(&self, name: &str) -> CloudResult<String> {
        let state = self.shared.lock();
        let found = state.topics.by_name.contains_key(name).then(|| format!("{ARN}{name}"));
        Ok(found.ok_or_else(|| missing(name)).of("GetTopicAttributes", name)?)
    }

    async fn subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String> {
        if protocol != "sqs" {
            let refused: Outcome<()> = Err(invalid("Protocol: the cloud in memory delivers to sqs only"));
            refused.of("Subscribe", topic_arn)?;
        }
        let config = SubscriptionConfig { push_endpoint: Some(endpoint.to_owned()), ..Default::default() };
        self.subscribe_with_config(topic_arn, config).await
    }

    async fn subscribe_with_config(
        &self,
        topic_arn: &str,
        config: SubscriptionConfig,
    ) -> CloudResult<String> {
        let mut state = self.shared.lock();
        let State { chance, queues, topics, .. } = &mut *state;
        let id = chance.uuid();
        Ok(topics.subscribe(topic_arn, &config, queues, id).of("Subscribe", topic_arn)?)
    }

    async fn unsubscribe(&self, subscription_arn: &str) -> CloudResult<()> {
        let mut state = self.shared.lock();
        Ok(state.topics.unsubscribe(subscription_arn).of("Unsubscribe", subscription_arn)?)
    }

    async fn list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>> {
        let mut state = self.shared.lock();
        let topic = state.topics.find(topic_arn).of("ListSubscriptionsByTopic", topic_arn)?;
        Ok(topic.subscriptions.iter().map(|known| known.arn.clone()).collect())
    }

    async fn publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId> {
        self.publish_with_attributes(topic_arn, message, Metadata::new()).await
    }

    async fn publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId> {
        let published = self.shared.lock().publish(topic_arn, message, &attributes);
        self.shared.arrived.notify_waiters();
        Ok(published.of("Publish", topic_arn)?)
    }

    async fn publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>> {
        let none = Metadata::new();
        let published = {
            let mut state = self.shared.lock();
            let checked = state.topics.find(topic_arn).map(|_| ()).and_then(|()| {
                messages.iter().try_for_each(|message| check_message(message, &none).map(|_| ()))
            });
            checked.and_then(|()| {
                messages.iter().map(|message| state.publish(topic_arn, message, &none)).collect()
            })
        };
        self.shared.arrived.notify_waiters();
        let published: Outcome<Vec<ResourceId>> = published;
        Ok(published.of("PublishBatch", topic_arn)?)
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
        let note = "protocol sqs only, to queues of the same cloud, by address or ARN; max_delivery_attempts is not used, \
                    since a delivery in memory works at once or never";
        Capabilities::defaults(PROVIDER, Service::PubSub)
            .differs("subscribe", "protocol sqs only, to queues of the same cloud, by address or ARN")
            .differs("subscribe_with_config", note)
    }
}

impl fmt::Debug for MemoryTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTopics").finish_non_exhaustive()
    }
}

const ARN: &str = "arn:aws:sns:memory:000000000000:";
