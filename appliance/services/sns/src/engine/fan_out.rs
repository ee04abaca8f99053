//! From one message to its recipients: who wants it, in which form, and on which shard.
//! Invariant: a queue is named in exactly one delivery of a message; no operation emits more than a batch takes, and no
//! delivery makes more of it on its shard. A short message costs each shard one delivery.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use plan::delivery::{
    Attribute, AttributeValue as Value, Envelope, QUEUE_DELIVER, QueueDelivery, Recipient as QueueRecipient,
    SharedMessage, queue_place,
};
use store::{Fault, ShardId, Timestamp, Tx};

use super::dead_letter::{Reason, Undelivered, bury};
use super::envelope::Notification;
use super::topics::{Compiled, Recipient};
use crate::failures::Failures;
use crate::filter;
use crate::hooks::{HookMessage, Kind, enqueue};
use crate::model::arn::{TopicArn, Uuid};
use crate::model::limits::RAW_ATTRIBUTE_COUNT_MAX;
use crate::model::message::{AttributeValue, Message, MessageAttribute};
use crate::model::subscription::{Protocol, Subscription};
use crate::model::topic::Topic;
use crate::signing::SignatureVersion;

/// Where messages come from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The region of this appliance.
    pub region: Box<str>,
    /// The topic's account.
    pub account: Box<str>,
    /// The topic's name.
    pub name: Box<str>,
    /// When they were published.
    pub published: Timestamp,
    /// Where clients find this appliance: scheme and authority.
    pub base_url: Box<str>,
    /// Where the certificate is.
    pub certificate_url: Box<str>,
}

impl Origin {
    /// The topic's name in full.
    #[must_use]
    pub fn topic(&self) -> TopicArn<'_> {
        TopicArn { region: &self.region, account: &self.account, name: &self.name }
    }
}

/// One message and who may get it.
pub struct FanOut<'a> {
    /// Where it comes from.
    pub origin: &'a Origin,
    /// The topic with its subscriptions.
    pub compiled: &'a Compiled,
    /// The message.
    pub message: &'a Message,
    /// The id by which its repetition is known.
    pub deduplication: Option<&'a str>,
    /// Its place in the order.
    pub sequence: Option<u64>,
    /// The signatures of its texts.
    pub signatures: &'a [Signature],
    /// Where dropped messages are counted.
    pub failures: &'a Failures,
}

/// The signature of a text.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Whose text it is.
    pub protocol: Protocol,
    /// Which of the two it is.
    pub version: SignatureVersion,
    /// Itself.
    pub base64: String,
}

/// The longest body that a queue takes.
const QUEUE_BODY_BYTES_MAX: usize = 1_048_576;
/// Letters of a subscription's id.
const ID_BYTES: usize = 36;
/// Beyond this the two forms of a message travel apart.
const SHARED_BYTES_MAX: usize = 64 * 1024;
/// Recipients of one delivery.
const RECIPIENT_COUNT_MAX: usize = 1_000;
/// What the recipients of one delivery may come to on their shard, each with its copy of the message: less than a batch
/// takes there.
const TARGET_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What a recipient takes in a delivery, and a message beside its text in a queue, at most.
const RECIPIENT_BYTES: usize = 512;
/// What one operation may emit: less than a batch takes, which a single delivery is far below.
const OPERATION_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Recipients whose deliveries look alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Group {
    /// Those that cannot get the message in the form that they want.
    Undeliverable,
    /// Web hooks.
    Hooks(Protocol, bool),
    /// Queues of one shard.
    Queues(ShardId, Form),
}

/// What of a message is in a delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Form {
    Both,
    Raw,
    Enveloped,
}

/// Up to where a message was sent: a long one with many recipients takes several operations.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    group: Group,
    last: Uuid,
}

/// How far a message came.
pub enum Sent {
    /// It is on its way to all.
    All,
    /// It is on its way to some; the next operation goes on from here.
    Some(Cursor),
    /// The operation has emitted what it may; the next one begins with this message.
    Nothing,
    /// Somebody gets an envelope and the signature is not there; what was done is to be dropped.
    Unsigned,
}

impl FanOut<'_> {
    /// Sends the message on its way, from a cursor on. `spent_bytes`: what the operation has emitted so far.
    pub fn send(
        &self,
        tx: &mut Tx<'_>,
        from: Option<Cursor>,
        spent_bytes: &mut usize,
    ) -> Result<Sent, Fault> {
        let wanted = self.wanted();
        let needs = |recipient: &&Rc<Recipient>| {
            let subscription = &recipient.subscription;
            subscription.protocol == Protocol::Sqs && !subscription.settings.raw
        };
        let envelope = if wanted.iter().any(needs) {
            let Some(envelope) = self.envelope(Protocol::Sqs) else { return Ok(Sent::Unsigned) };
            Some(envelope)
        } else {
            None
        };
        let mut groups: BTreeMap<Group, Vec<&Rc<Recipient>>> = BTreeMap::new();
        for recipient in wanted {
            let group = self.group(tx, &recipient.subscription, envelope.as_ref());
            groups.entry(group).or_default().push(recipient);
        }
        let mut done = None;
        for (group, recipients) in groups {
            let behind = from.filter(|from| from.group >= group);
            let is_over = behind.is_some_and(|from| from.group > group);
            let rest: Vec<_> = recipients
                .into_iter()
                .filter(|one| !is_over && behind.is_none_or(|from| one.subscription.id > from.last))
                .collect();
            let bytes = self.bytes(group, envelope.as_ref());
            for some in rest.chunks(self.recipient_count(group, bytes)) {
                let cost = bytes + some.len() * RECIPIENT_BYTES;
                if *spent_bytes > 0 && *spent_bytes + cost > OPERATION_BYTES_MAX {
                    return Ok(done.or(from).map_or(Sent::Nothing, Sent::Some));
                }
                if !self.emit(tx, group, some, envelope.as_ref()) {
                    return Ok(Sent::Unsigned);
                }
                *spent_bytes += cost;
                done = some.last().map(|last| Cursor { group, last: last.subscription.id });
            }
        }
        Ok(Sent::All)
    }

    /// The confirmed subscriptions that want the message, in the order of their ids.
    fn wanted(&self) -> Vec<&Rc<Recipient>> {
        let views: [OnceCell<filter::Message<'_>>; Protocol::ALL.len()] = Default::default();
        let all = self.compiled.subscriptions.iter();
        all.filter(|one| one.subscription.confirmed && self.is_wanted(one, &views)).collect()
    }

    fn group(&self, tx: &Tx<'_>, subscription: &Subscription, envelope: Option<&Envelope>) -> Group {
        let is_raw = subscription.settings.raw;
        let Some(queue) = subscription.queue() else { return Group::Hooks(subscription.protocol, is_raw) };
        if self.obstacle(is_raw, envelope).is_some() {
            return Group::Undeliverable;
        }
        let is_small = self.raw_bytes() + envelope.map_or(0, envelope_bytes) <= SHARED_BYTES_MAX;
        let form = match (is_small, is_raw) {
            (true, _) => Form::Both,
            (false, true) => Form::Raw,
            (false, false) => Form::Enveloped,
        };
        Group::Queues(tx.place(&queue_place(queue.account, queue.name)), form)
    }

    /// Why a queue cannot get the message in this form.
    fn obstacle(&self, is_raw: bool, envelope: Option<&Envelope>) -> Option<Reason> {
        let count = self.message.attributes.len();
        if is_raw {
            return (count > RAW_ATTRIBUTE_COUNT_MAX).then(|| too_many_attributes(count));
        }
        envelope.filter(|envelope| envelope_bytes(envelope) > QUEUE_BODY_BYTES_MAX).map(|_| too_long())
    }

    fn raw_bytes(&self) -> usize {
        self.message.text_for(Protocol::Sqs).len() + self.message.attribute_bytes()
    }

    /// Bytes of a delivery beside its recipients.
    fn bytes(&self, group: Group, envelope: Option<&Envelope>) -> usize {
        let envelope = envelope.map_or(0, envelope_bytes);
        match group {
            Group::Undeliverable | Group::Queues(_, Form::Raw) => self.raw_bytes(),
            Group::Queues(_, Form::Both) => self.raw_bytes() + envelope,
            Group::Queues(_, Form::Enveloped) => envelope,
            // Its envelope is about as long as that of queues, if there is one; a letter takes six in JSON at most.
            Group::Hooks(_, true) => self.raw_bytes(),
            Group::Hooks(_, false) => 2 * self.raw_bytes(),
        }
    }

    /// Recipients of one delivery of a group: the dead take one each, as each has a queue of its own for it.
    fn recipient_count(&self, group: Group, bytes: usize) -> usize {
        match group {
            Group::Undeliverable => 1,
            Group::Hooks(..) => RECIPIENT_COUNT_MAX,
            Group::Queues(..) => (TARGET_BYTES_MAX / (bytes + RECIPIENT_BYTES)).clamp(1, RECIPIENT_COUNT_MAX),
        }
    }

    /// Emits one delivery. False: it has to be signed first.
    fn emit(
        &self,
        tx: &mut Tx<'_>,
        group: Group,
        some: &[&Rc<Recipient>],
        envelope: Option<&Envelope>,
    ) -> bool {
        match group {
            Group::Undeliverable => {
                for recipient in some {
                    if let Some(reason) = self.obstacle(recipient.subscription.settings.raw, envelope) {
                        self.bury(tx, recipient, reason);
                    }
                }
            }
            Group::Hooks(protocol, is_raw) => {
                let Some(message) = self.hook_message(protocol, is_raw) else { return false };
                let ids: Vec<Uuid> = some.iter().map(|recipient| recipient.subscription.id).collect();
                enqueue(tx, &self.origin.account, &self.origin.name, &message, &ids);
            }
            Group::Queues(shard, form) => {
                let recipients: Vec<_> =
                    some.iter().filter_map(|recipient| self.recipient(recipient)).collect();
                let envelope = envelope.filter(|_| form != Form::Raw);
                self.emit_to(tx, shard, recipients, form != Form::Enveloped, envelope);
            }
        }
        true
    }

    /// Whether a subscription wants the message. What filters see of it is made once for each protocol.
    fn is_wanted<'m>(
        &'m self,
        recipient: &Recipient,
        views: &[OnceCell<filter::Message<'m>>; Protocol::ALL.len()],
    ) -> bool {
        let Some(filter) = &recipient.filter else { return true };
        let protocol = recipient.subscription.protocol;
        let place = Protocol::ALL.iter().position(|known| *known == protocol).unwrap_or_default();
        let view = views[place].get_or_init(|| {
            let attributes = self.message.attributes.iter().map(|attribute| {
                let text = match &attribute.value {
                    AttributeValue::Text(text) => text,
                    AttributeValue::Binary(_) => "",
                };
                filter::Attribute::new(&attribute.name, &attribute.data_type, text)
            });
            filter::Message::new(attributes.collect(), self.message.text_for(protocol))
        });
        filter.matches(view)
    }

    /// The message for web hooks; nothing where its text is not signed.
    fn hook_message(&self, protocol: Protocol, is_raw: bool) -> Option<HookMessage> {
        let message = self.message.id;
        if is_raw {
            let head = Bytes::copy_from_slice(self.message.text_for(protocol).as_bytes());
            return Some(HookMessage { kind: Kind::RawNotification, message, head, tail: None });
        }
        let Envelope { head, tail } = self.envelope(protocol)?;
        Some(HookMessage { kind: Kind::Notification, message, head, tail: Some(tail) })
    }

    /// The envelope for the recipients of a protocol; nothing where its text is not signed.
    fn envelope(&self, protocol: Protocol) -> Option<Envelope> {
        let version = version_of(&self.compiled.topic);
        let signature =
            self.signatures.iter().find(|known| known.protocol == protocol && known.version == version)?;
        let notification = Notification {
            topic: self.origin.topic(),
            message: self.message.id,
            sequence: self.sequence,
            subject: self.message.subject.as_deref(),
            text: self.message.text_for(protocol),
            attributes: &self.message.attributes,
            published: self.origin.published,
            signature_version: version.name(),
            signature: &signature.base64,
            certificate_url: &self.origin.certificate_url,
            base_url: &self.origin.base_url,
        };
        Some(notification.envelope())
    }

    fn recipient(&self, recipient: &Recipient) -> Option<QueueRecipient> {
        let queue = recipient.subscription.queue()?;
        let dedup = self.deduplication.filter(|_| queue.is_fifo());
        Some(QueueRecipient {
            account: queue.account.to_owned(),
            queue: queue.name.to_owned(),
            subscription: u128::from_be_bytes(recipient.subscription.id.0),
            body: None,
            raw: recipient.subscription.settings.raw,
            group: self.message.group.as_deref().map(str::to_owned),
            dedup: dedup.map(str::to_owned),
        })
    }

    /// Emits to these queues of a shard, with the forms of the message that they need.
    fn emit_to(
        &self,
        tx: &mut Tx<'_>,
        shard: ShardId,
        recipients: Vec<QueueRecipient>,
        with_raw: bool,
        envelope: Option<&Envelope>,
    ) {
        let text = if with_raw { self.message.text_for(Protocol::Sqs) } else { "" };
        let message = SharedMessage {
            message_id: u128::from_be_bytes(self.message.id.0),
            published_ms: self.origin.published.0,
            body: Bytes::copy_from_slice(text.as_bytes()),
            envelope: envelope.cloned(),
            attributes: if with_raw { queue_attributes(&self.message.attributes) } else { Vec::new() },
        };
        let delivery = QueueDelivery {
            topic_arn: self.origin.topic().to_string(),
            source_account: self.origin.account.to_string(),
            message,
            recipients,
        };
        tx.emit(shard, QUEUE_DELIVER, &delivery.encode());
    }

    fn bury(&self, tx: &mut Tx<'_>, recipient: &Recipient, reason: Reason) {
        let undelivered = Undelivered {
            topic_arn: self.origin.topic().to_string(),
            account: self.origin.account.to_string(),
            message_id: u128::from_be_bytes(self.message.id.0),
            published_ms: self.origin.published.0,
            body: Bytes::copy_from_slice(self.message.text_for(recipient.subscription.protocol).as_bytes()),
            attributes: Vec::new(),
            group: self.message.group.as_deref().map(str::to_owned),
            dedup: self.deduplication.map(str::to_owned),
        };
        bury(tx, self.failures, &recipient.subscription, undelivered, &reason, None);
    }
}

fn envelope_bytes(envelope: &Envelope) -> usize {
    envelope.head.len() + ID_BYTES + envelope.tail.len()
}

/// Which signature the envelopes of a topic have.
#[must_use]
pub fn version_of(topic: &Topic) -> SignatureVersion {
    if topic.signs_with_sha256() { SignatureVersion::V2 } else { SignatureVersion::V1 }
}

/// The attributes of a message as a queue's message has them.
fn queue_attributes(attributes: &[MessageAttribute]) -> Vec<Attribute> {
    let one = |attribute: &MessageAttribute| Attribute {
        name: attribute.name.to_string(),
        data_type: attribute.data_type.to_string(),
        value: match &attribute.value {
            AttributeValue::Text(text) => Value::Text(text.to_string()),
            AttributeValue::Binary(bytes) => Value::Binary(Bytes::copy_from_slice(bytes)),
        },
    };
    attributes.iter().map(one).collect()
}

fn too_many_attributes(count: usize) -> Reason {
    Reason {
        code: "InvalidParameterValue".to_owned(),
        text: format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{RAW_ATTRIBUTE_COUNT_MAX}]."
        ),
    }
}

fn too_long() -> Reason {
    Reason {
        code: "InvalidParameterValue".to_owned(),
        text: format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {QUEUE_BODY_BYTES_MAX} bytes."
        ),
    }
}
