//! Operations on queues, messages, topics and subscriptions.

use super::operation::{Operation, QUEUES};
use super::world::World;
use cloudkit_core::api::{Message, PubSub, ReceiveOptions, SendOptions, SubscriptionConfig};
use cloudkit_core::common::{CloudError, Metadata};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

type Done = Result<Value, CloudError>;

impl World<'_> {
    pub(super) async fn message(&mut self, operation: &Operation, index: usize) -> Done {
        let services = self.services;
        let (queues, topics) = (&services.queue, &*services.pubsub);
        let null = Value::Null;
        Ok(match operation {
            Operation::Send { queue, attributes, bytes } => {
                let mut body = if *bytes == 0 { String::new() } else { format!("{index}.") };
                body.extend(std::iter::repeat_n('.', bytes.saturating_sub(body.len())));
                let mut options = SendOptions::new();
                if *attributes {
                    options = options.attribute("number", index.to_string()).attribute("text", "é <&>");
                }
                queues.send_with_options(&self.urls[*queue], &body, options).await.map(|_| null)?
            }
            Operation::SendBatch { queue, count } => {
                let bodies: Vec<String> = (0..*count).map(|nth| format!("{index}.{nth}")).collect();
                let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
                json!(queues.send_batch(&self.urls[*queue], &bodies).await?.len())
            }
            Operation::SendFifo { group, again } => {
                // Of the same eight operations: known for five minutes, and no run is that slow.
                let deduplication = if *again { format!("{}", index / 8) } else { format!("own-{index}") };
                let options = SendOptions {
                    deduplication_id: Some(deduplication),
                    ..SendOptions::new().message_group_id(format!("group-{group}"))
                };
                queues
                    .send_with_options(&self.urls[QUEUES], &index.to_string(), options)
                    .await
                    .map(|_| null)?
            }
            Operation::Receive(queue) => self.receive(*queue).await?,
            Operation::DeleteMessages { queue, count } => {
                let held: Vec<Message> = (0..*count).map_while(|_| self.take(*queue, 0)).collect();
                queues.delete_batch(&self.urls[*queue], &held.iter().collect::<Vec<_>>()).await?;
                json!(held.len())
            }
            Operation::DeleteMessage { queue, nth } => match self.take(*queue, *nth) {
                Some(message) => queues.delete(&self.urls[*queue], &message).await.map(|()| null)?,
                None => null,
            },
            Operation::GiveBack { queue, nth } => match self.take(*queue, *nth) {
                Some(message) => {
                    let changed = queues.change_visibility(&self.urls[*queue], &message, Duration::ZERO);
                    changed.await.map(|()| null)?
                }
                None => null,
            },
            Operation::Depth(queue) => json!(queues.get_queue_depth(&self.urls[*queue]).await?),
            Operation::Publish { topic, kind } => {
                let attributes: Metadata = match kind {
                    0 => Metadata::new(),
                    kind => [(String::from("kind"), kind.to_string())].into(),
                };
                let text = format!("{index} \"é\"");
                let published =
                    topics.publish_with_attributes(&self.arns[*topic], text.as_bytes(), attributes).await?;
                json!(!published.as_str().is_empty())
            }
            Operation::PublishBatch { topic, count } => {
                let texts: Vec<String> = (0..*count).map(|nth| format!("{index}.{nth}")).collect();
                let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
                json!(topics.publish_batch(&self.arns[*topic], &texts).await?.len())
            }
            Operation::Subscribe { topic, queue, filter } => {
                let policy = |kind: usize| HashMap::from([(String::from("kind"), vec![kind.to_string()])]);
                let config = SubscriptionConfig {
                    push_endpoint: Some(self.endpoint(*queue)),
                    filter_policy: filter.map(policy),
                    ..SubscriptionConfig::default()
                };
                let made = topics.subscribe_with_config(&self.arns[*topic], config).await?;
                self.subscriptions.insert((*topic, *queue), made);
                null
            }
            Operation::Unsubscribe { topic, queue } => match self.subscriptions.remove(&(*topic, *queue)) {
                Some(known) => topics.unsubscribe(&known).await.map(|()| null)?,
                None => null,
            },
            Operation::ListSubscriptions(topic) => {
                json!(topics.list_subscriptions(&self.arns[*topic]).await?.len())
            }
            other => {
                return Err(CloudError::Internal(format!("{} is no operation of messages", other.name())));
            }
        })
    }

    /// All that a standard queue gives; of the FIFO queue, the first message of each group that is free.
    async fn receive(&mut self, queue: usize) -> Done {
        let max = if queue == QUEUES { 1 } else { 10 };
        let options = ReceiveOptions::new().max_messages(max).visibility_timeout(HIDDEN);
        let mut seen = Vec::new();
        loop {
            let messages = self.services.queue.receive(&self.urls[queue], options.clone()).await?;
            if messages.is_empty() {
                return Ok(super::world::unordered(seen));
            }
            for message in messages {
                let (name, form) = form(&message);
                seen.push(form);
                self.held[queue].insert(name, message);
            }
        }
    }

    fn take(&mut self, queue: usize, nth: usize) -> Option<Message> {
        let name = self.held[queue].keys().nth(nth)?.clone();
        self.held[queue].remove(&name)
    }
}

/// A name for a message that all subjects give it, and what they must agree on. Of an envelope of a topic, its text and
/// attributes.
fn form(message: &Message) -> (String, Value) {
    let attributes: BTreeMap<_, _> = message.attributes.iter().collect();
    let envelope =
        serde_json::from_str::<Value>(&message.body).ok().filter(|body| body["Message"].is_string());
    let (name, body) = match envelope {
        Some(envelope) => {
            let form = json!([envelope["Message"], envelope["MessageAttributes"], envelope["Type"]]);
            (format!("topic {form}"), form)
        }
        // Long bodies are told by their length and their beginning, which has the number.
        None => {
            let front: String = message.body.chars().take(40).collect();
            (message.body.clone(), json!([front, message.body.len()]))
        }
    };
    (name, json!({"body": body, "attributes": attributes, "receives": message.receive_count}))
}

/// Far longer than a run lasts: what was received comes again only when it is given back.
const HIDDEN: Duration = Duration::from_secs(40_000);
