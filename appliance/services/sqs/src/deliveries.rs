//! What topics deliver: messages that enter queues without a request, if the queue's policy lets them.
//! Invariant: each recipient takes the message once, in the batch that notes the delivery as taken, or its refusal is on
//! the way back to the topic in the same batch. The rules are those of SendMessage.
//! Leaves to the topic: retries, dead letters, the metric of what is lost. To engine/: what is remembered of a queue.

use bytes::Bytes;
use plan::delivery::{self, DELIVERY_RESULT, QueueDelivery, Recipient, topic_place};
use plan::refused::{Refusal, RefusedDelivery};
use store::{Fault, Receiver, TableId, Tx};

use crate::access::admits_topic;
use crate::engine::moving::queue_of;
use crate::engine::resident::{Pushed, Queues, Remembered};
use crate::engine::send::{next_sequence, remembered};
use crate::engine::state::groups::GroupName;
use crate::model::limits::DEDUPLICATION_MS;
use crate::model::message::{AttributeValue, BodyPlace, Message, MessageAttribute, MessageId};
use crate::model::queue::{DeduplicationScope, QueueKey, QueueRecord};
use crate::store::memory::{Deduplication, deduplication_hash};
use crate::store::message::encode;
use crate::store::state::State;
use crate::store::{DEDUP, MESSAGES, STATES, id_key, message_key};
use crate::wire::error::Error;
use crate::wire::message::check_body;

/// Takes `QUEUE_DELIVER`.
pub struct Deliveries {
    /// The region of every queue.
    pub region: Box<str>,
}

/// What a message's sender is called that a topic delivered.
const SENDER: &str = "sns.amazonaws.com";

impl Receiver for Deliveries {
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let mut delivery = QueueDelivery::decode(payload)?;
        let (mut refused, mut refusals) = (Vec::new(), Vec::new());
        for recipient in std::mem::take(&mut delivery.recipients) {
            if let Err(error) = self.deliver(tx, &delivery, &recipient)? {
                refused.push(recipient);
                let code = error.code.spelling().query.into();
                refusals.push(Refusal { code, text: error.message.into_owned() });
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let Some(topic) = aws::arn::Arn::parse(&delivery.topic_arn) else {
            return Err(Fault::corrupt("a delivery names no topic".into()));
        };
        let shard = tx.place(&topic_place(topic.account, topic.resource));
        let delivery = QueueDelivery { recipients: refused, ..delivery };
        tx.emit(shard, DELIVERY_RESULT, &RefusedDelivery { refusals, delivery }.encode());
        Ok(())
    }
}

impl Deliveries {
    /// Puts the message into one queue. Errors: the queue's refusal within, a fault of the store outside.
    fn deliver(
        &self,
        tx: &mut Tx<'_>,
        delivery: &QueueDelivery,
        recipient: &Recipient,
    ) -> Result<Result<(), Error>, Fault> {
        let Some(account) = aws::account::AccountId::parse(&recipient.account) else {
            return Ok(Err(Error::no_queue()));
        };
        let key = QueueKey::new(account, &recipient.queue);
        let Some(queue) = queue_of(tx, &key)? else { return Ok(Err(Error::no_queue())) };
        let policy = queue.attributes.policy.as_deref();
        let now = aws::Timestamp(i64::try_from(tx.now().0).unwrap_or(i64::MAX));
        let (topic, source) = (&delivery.topic_arn, &delivery.source_account);
        if !admits_topic(&key, &self.region, policy, topic, source, now) {
            let arn = key.arn(&self.region);
            let text = format!("The policy of {arn} does not allow {SENDER} to send messages of {topic}.");
            return Ok(Err(Error::denied(text)));
        }
        match incoming(tx, &queue, delivery, recipient) {
            Ok(message) => enter(tx, &key, &queue, message).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// The message that a recipient's queue stores, if it keeps the queue's rules.
fn incoming(
    tx: &mut Tx<'_>,
    queue: &QueueRecord,
    delivery: &QueueDelivery,
    recipient: &Recipient,
) -> Result<Message, Error> {
    let body = delivery.body_for(recipient).ok_or_else(Error::internal)?;
    // A topic takes characters that a queue does not; within an envelope they are escaped.
    let text = std::str::from_utf8(&body).map_err(|_| Error::internal())?;
    check_body(Some(text))?;
    let attributes: Vec<MessageAttribute> = match recipient.raw {
        true => delivery.message.attributes.iter().map(attribute).collect(),
        false => Vec::new(),
    };
    let bytes = body.len() + attributes.iter().map(MessageAttribute::bytes).sum::<usize>();
    let bytes_max = usize::try_from(queue.attributes.message_bytes_max).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(Error::message_too_long(bytes_max));
    }
    let group = recipient.group.as_deref().map(Into::into);
    let given = recipient.dedup.as_deref().map(Into::into);
    let deduplication: Option<Box<str>> = match queue.attributes.fifo {
        None => None,
        Some(_) if group.is_none() => return Err(Error::missing("MessageGroupId")),
        Some(fifo) if given.is_none() && !fifo.content_based => return Err(Error::no_deduplication_id()),
        Some(_) => Some(given.unwrap_or_else(|| content_id(&body))),
    };
    let now_ms = tx.now().0;
    Ok(Message {
        id: MessageId::random(tx.random(), tx.random()),
        sent_ms: now_ms,
        kept_from_ms: now_ms,
        sender: SENDER.into(),
        group,
        deduplication,
        source_arn: None,
        attributes,
        system: Vec::new(),
        body: BodyPlace::Inline(body),
    })
}

fn attribute(attribute: &delivery::Attribute) -> MessageAttribute {
    MessageAttribute {
        name: attribute.name.as_str().into(),
        kind: attribute.data_type.as_str().into(),
        value: match &attribute.value {
            delivery::AttributeValue::Text(text) => AttributeValue::Text(text.as_str().into()),
            delivery::AttributeValue::Binary(bytes) => AttributeValue::Binary(bytes.clone()),
        },
    }
}

/// The deduplication id of a body: its SHA-256 in hexadecimal.
fn content_id(body: &Bytes) -> Box<str> {
    aws::encoding::hex(&hash::sha256(body)).into()
}

/// Enters a message as the queue's newest, unless it was there within the last five minutes. The queue need not be loaded:
/// whoever loads it finds the records.
fn enter(tx: &mut Tx<'_>, key: &QueueKey, queue: &QueueRecord, message: Message) -> Result<(), Fault> {
    let now_ms = tx.now().0;
    let mut id = None;
    if let (Some(fifo), Some(text)) = (queue.attributes.fifo, &message.deduplication) {
        let group = message.group.as_deref().filter(|_| fifo.scope == DeduplicationScope::MessageGroup);
        let hash = deduplication_hash(group, text);
        let known = remembered(tx, queue.id, &hash)?;
        if known.as_ref().is_some_and(|first| first.expiry_ms > now_ms) {
            return Ok(());
        }
        id = Some((hash, known.is_some()));
    }
    let sequence = next_sequence(tx)?;
    let record_key = message_key(queue.id, sequence);
    tx.put(MESSAGES, &record_key, &encode(&message), Vec::new(), true);
    let delay_ms = u64::from(queue.attributes.delay_seconds) * 1_000;
    let due_ms = (delay_ms > 0).then(|| now_ms + delay_ms);
    if let Some(due_ms) = due_ms {
        tx.put(STATES, &record_key, &State { due_ms, ..State::default() }.encode(), Vec::new(), true);
    }
    let remembered = id.map(|(hash, is_known)| {
        let expiry_ms = now_ms + DEDUPLICATION_MS;
        let first = Deduplication { sequence, message: message.id, expiry_ms };
        tx.put(DEDUP, &id_key(queue.id, &hash), &first.encode(), Vec::new(), !is_known);
        let TableId(table) = DEDUP;
        Remembered { expiry_ms, table, hash }
    });
    let group = message.group.as_deref().map(|name| GroupName::new(&queue.handle_key, name));
    let pushed = Pushed { sequence, group, due_ms, in_flight: false };
    let (key, id) = (key.clone(), queue.id);
    tx.then::<Queues>(move |queues, wakes| {
        let Some(resident) = queues.find_mut(&key, id) else { return };
        resident.remember(remembered);
        resident.pushed(&[pushed], wakes);
    });
    Ok(())
}
