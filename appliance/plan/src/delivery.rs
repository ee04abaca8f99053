//! What services send each other through the outbox, and by which keys queues and topics are placed on shards: the one
//! thing that a topic has to know of a queue, and the other way round.
//! Invariant: decoding undoes encoding; damaged bytes are `Fault::Corrupt`, never a panic, and never size an allocation
//! beyond a small multiple of their own length.
//! Leaves to services: what a delivery does, who may make one, what a refusal leads to.
//!
//! ```text
//! QUEUE_DELIVER payload = version u8 (1) | topic arn text | source account text | message | count number | recipient*
//! message   = id fixed | published_ms number | body bytes | flags byte | [head bytes | tail bytes]   flags 1: an envelope
//!           | count number | attribute*
//! attribute = name text | data type text | kind byte (0 text, 1 binary) | value bytes
//! recipient = account text | queue text | subscription fixed | flags byte | [body bytes] | [group text] | [dedup text]
//!             flags 1: raw, 2: a body of its own, 4: a group, 8: a deduplication id
//! text, bytes = length number | that many bytes; number = LEB128; fixed = 16 bytes, big-endian
//! ```

use bytes::Bytes;
use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Topic};

/// A message from one queue to another: dead letters, move tasks.
pub const QUEUE_MOVE: Topic = Topic(16);
/// A published message on its way to the queues of a shard: a `QueueDelivery`.
pub const QUEUE_DELIVER: Topic = Topic(17);
/// What became of deliveries that a queue refused, back to the topic.
pub const DELIVERY_RESULT: Topic = Topic(18);

/// Recipients of one delivery at most; a publish with more of them on a shard sends several.
pub const RECIPIENT_COUNT_MAX: usize = 4_096;
/// Attributes of one message at most: more than fit into the longest message.
pub const ATTRIBUTE_COUNT_MAX: usize = 262_144;

const VERSION: u8 = 1;
const HAS_ENVELOPE: u8 = 1;
const RAW: u8 = 1;
const HAS_BODY: u8 = 2;
const HAS_GROUP: u8 = 4;
const HAS_DEDUP: u8 = 8;
const TEXT: u8 = 0;
const BINARY: u8 = 1;

/// The partition key of a queue.
#[must_use]
pub fn queue_place(account: &str, name: &str) -> Vec<u8> {
    [b"queue", account.as_bytes(), name.as_bytes()].join(&0)
}

/// The partition key of a topic.
#[must_use]
pub fn topic_place(account: &str, name: &str) -> Vec<u8> {
    [b"topic", account.as_bytes(), name.as_bytes()].join(&0)
}

/// A published message and the queues of one shard that get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueDelivery {
    /// The topic: `aws:SourceArn` of the permission.
    pub topic_arn: String,
    /// The topic's account: `aws:SourceAccount` of the permission.
    pub source_account: String,
    /// What all recipients get.
    pub message: SharedMessage,
    /// Who gets it, in the order of their subscriptions.
    pub recipients: Vec<Recipient>,
}

/// What the recipients of a message have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedMessage {
    /// The message's id.
    pub message_id: u128,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
    /// The message as it was published: the body of a raw delivery.
    pub body: Bytes,
    /// The body of every other delivery; nothing when all recipients have raw delivery or bodies of their own.
    pub envelope: Option<Envelope>,
    /// The message's attributes: those of the queue's message in a raw delivery.
    pub attributes: Vec<Attribute>,
}

/// The JSON around a message, cut where the one thing lies that differs: the id of the subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Up to the id.
    pub head: Bytes,
    /// From behind it.
    pub tail: Bytes,
}

/// An attribute of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type, as the sender wrote it: `String`, `Number.int`.
    pub data_type: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeValue {
    /// Of the types `String`, `Number`, `String.Array`.
    Text(String),
    /// Of the type `Binary`.
    Binary(Bytes),
}

/// A queue that gets a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// The queue's account.
    pub account: String,
    /// The queue's name.
    pub queue: String,
    /// The id of the subscription, which follows the topic's ARN in its own.
    pub subscription: u128,
    /// A body for this one alone.
    pub body: Option<Bytes>,
    /// The message without an envelope, its attributes as the queue's message's.
    pub raw: bool,
    /// MessageGroupId.
    pub group: Option<String>,
    /// MessageDeduplicationId.
    pub dedup: Option<String>,
}

impl QueueDelivery {
    /// The body that a recipient's queue stores; nothing when the delivery has none for it.
    #[must_use]
    pub fn body_for(&self, recipient: &Recipient) -> Option<Bytes> {
        if let Some(own) = &recipient.body {
            return Some(own.clone());
        }
        if recipient.raw {
            return Some(self.message.body.clone());
        }
        let envelope = self.message.envelope.as_ref()?;
        Some([&envelope.head, uuid_text(recipient.subscription).as_bytes(), &envelope.tail].concat().into())
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.bytes(self.topic_arn.as_bytes());
        out.bytes(self.source_account.as_bytes());
        self.message.write(&mut out);
        out.number(self.recipients.len() as u64);
        for recipient in &self.recipients {
            recipient.write(&mut out);
        }
        out.into_bytes()
    }

    /// Reads a payload. Errors: `Fault::Corrupt`.
    pub fn decode(payload: &[u8]) -> Result<QueueDelivery, Fault> {
        let mut reader = FieldReader::new(payload, VERSION, "queue delivery")?;
        let topic_arn = reader.text()?.to_owned();
        let source_account = reader.text()?.to_owned();
        let message = SharedMessage::read(&mut reader)?;
        let recipients = read_list(&mut reader, RECIPIENT_COUNT_MAX, Recipient::read)?;
        if !reader.is_empty() {
            return Err(reader.damaged("has bytes behind its end"));
        }
        Ok(QueueDelivery { topic_arn, source_account, message, recipients })
    }
}

impl SharedMessage {
    fn write(&self, out: &mut FieldWriter) {
        out.fixed(self.message_id);
        out.number(self.published_ms);
        out.bytes(&self.body);
        out.byte(flag(self.envelope.is_some(), HAS_ENVELOPE));
        if let Some(envelope) = &self.envelope {
            out.bytes(&envelope.head);
            out.bytes(&envelope.tail);
        }
        out.number(self.attributes.len() as u64);
        for attribute in &self.attributes {
            attribute.write(out);
        }
    }

    fn read(reader: &mut FieldReader<'_>) -> Result<SharedMessage, Fault> {
        let message_id = reader.fixed()?;
        let published_ms = reader.number()?;
        let body = read_bytes(reader)?;
        let flags = read_flags(reader, HAS_ENVELOPE)?;
        let envelope = if flags & HAS_ENVELOPE == 0 {
            None
        } else {
            Some(Envelope { head: read_bytes(reader)?, tail: read_bytes(reader)? })
        };
        let attributes = read_list(reader, ATTRIBUTE_COUNT_MAX, Attribute::read)?;
        Ok(SharedMessage { message_id, published_ms, body, envelope, attributes })
    }
}

impl Attribute {
    fn write(&self, out: &mut FieldWriter) {
        out.bytes(self.name.as_bytes());
        out.bytes(self.data_type.as_bytes());
        match &self.value {
            AttributeValue::Text(text) => {
                out.byte(TEXT);
                out.bytes(text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                out.byte(BINARY);
                out.bytes(bytes);
            }
        }
    }

    fn read(reader: &mut FieldReader<'_>) -> Result<Attribute, Fault> {
        let name = reader.text()?.to_owned();
        let data_type = reader.text()?.to_owned();
        let value = match reader.byte()? {
            TEXT => AttributeValue::Text(reader.text()?.to_owned()),
            BINARY => AttributeValue::Binary(read_bytes(reader)?),
            kind => return Err(reader.damaged(&format!("has an attribute of the unknown kind {kind}"))),
        };
        Ok(Attribute { name, data_type, value })
    }
}

impl Recipient {
    fn write(&self, out: &mut FieldWriter) {
        out.bytes(self.account.as_bytes());
        out.bytes(self.queue.as_bytes());
        out.fixed(self.subscription);
        let flags = flag(self.raw, RAW)
            | flag(self.body.is_some(), HAS_BODY)
            | flag(self.group.is_some(), HAS_GROUP)
            | flag(self.dedup.is_some(), HAS_DEDUP);
        out.byte(flags);
        let present = [
            self.body.as_deref(),
            self.group.as_deref().map(str::as_bytes),
            self.dedup.as_deref().map(str::as_bytes),
        ];
        for bytes in present.into_iter().flatten() {
            out.bytes(bytes);
        }
    }

    fn read(reader: &mut FieldReader<'_>) -> Result<Recipient, Fault> {
        let account = reader.text()?.to_owned();
        let queue = reader.text()?.to_owned();
        let subscription = reader.fixed()?;
        let flags = read_flags(reader, RAW | HAS_BODY | HAS_GROUP | HAS_DEDUP)?;
        let body = if flags & HAS_BODY == 0 { None } else { Some(read_bytes(reader)?) };
        let group = if flags & HAS_GROUP == 0 { None } else { Some(reader.text()?.to_owned()) };
        let dedup = if flags & HAS_DEDUP == 0 { None } else { Some(reader.text()?.to_owned()) };
        Ok(Recipient { account, queue, subscription, body, raw: flags & RAW != 0, group, dedup })
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

fn read_flags(reader: &mut FieldReader<'_>, known: u8) -> Result<u8, Fault> {
    match reader.byte()? {
        flags if flags & !known == 0 => Ok(flags),
        flags => Err(reader.damaged(&format!("has the unknown flags {flags:#x}"))),
    }
}

fn read_bytes(reader: &mut FieldReader<'_>) -> Result<Bytes, Fault> {
    reader.bytes().map(Bytes::copy_from_slice)
}

/// A list behind its count. It grows as items are found: the count alone sizes nothing.
fn read_list<T>(
    reader: &mut FieldReader<'_>,
    count_max: usize,
    read: fn(&mut FieldReader<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let count = reader.count()?;
    if count > count_max {
        return Err(reader.damaged(&format!("lists {count} items")));
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(read(reader)?);
    }
    Ok(list)
}

/// As in the ARN of a subscription.
fn uuid_text(id: u128) -> String {
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> QueueDelivery {
        let recipient = |queue: &str| Recipient {
            account: "000000000000".into(),
            queue: queue.into(),
            subscription: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
            body: None,
            raw: false,
            group: None,
            dedup: None,
        };
        QueueDelivery {
            topic_arn: "arn:aws:sns:us-east-1:000000000000:news.fifo".into(),
            source_account: "000000000000".into(),
            message: SharedMessage {
                message_id: u128::MAX - 5,
                published_ms: 1_700_000_000_123,
                body: Bytes::from_static("grüße".as_bytes()),
                envelope: Some(Envelope {
                    head: Bytes::from_static(b"{\"a\":\"arn:"),
                    tail: Bytes::from_static(b"\"}"),
                }),
                attributes: vec![
                    Attribute {
                        name: "colour".into(),
                        data_type: "String".into(),
                        value: AttributeValue::Text("blue".into()),
                    },
                    Attribute {
                        name: "picture".into(),
                        data_type: "Binary.png".into(),
                        value: AttributeValue::Binary(Bytes::from_static(&[0, 255])),
                    },
                ],
            },
            recipients: vec![
                recipient("plain"),
                Recipient { raw: true, ..recipient("raw") },
                Recipient {
                    body: Some(Bytes::from_static(b"{}")),
                    group: Some("g".into()),
                    ..recipient("own")
                },
                Recipient {
                    raw: true,
                    group: Some(String::new()),
                    dedup: Some("d".into()),
                    ..recipient("f.fifo")
                },
            ],
        }
    }

    #[test]
    fn a_delivery_round_trips_and_its_truncations_are_faults() {
        let delivery = sample();
        let bytes = delivery.encode();
        assert_eq!(QueueDelivery::decode(&bytes).expect("decodes"), delivery);
        for length in 0..bytes.len() {
            assert!(
                matches!(QueueDelivery::decode(&bytes[..length]), Err(Fault::Corrupt(_))),
                "length {length}"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(QueueDelivery::decode(&longer).is_err());
    }

    #[test]
    fn each_recipient_has_its_body() {
        let delivery = sample();
        let bodies: Vec<_> = delivery.recipients.iter().map(|one| delivery.body_for(one)).collect();
        let expected: [&str; 4] =
            [r#"{"a":"arn:01234567-89ab-cdef-0011-223344556677"}"#, "grüße", "{}", "grüße"];
        for (body, expected) in bodies.into_iter().zip(expected) {
            assert_eq!(body.expect("has one"), expected);
        }
        let mut without = sample();
        without.message.envelope = None;
        assert_eq!(without.body_for(&without.recipients[0]), None);
    }

    #[test]
    fn any_flipped_byte_decodes_to_something_or_is_a_fault() {
        let bytes = sample().encode();
        let mut refused = 0;
        for place in 0..bytes.len() {
            for change in 1..=255_u8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= change;
                refused += u32::from(QueueDelivery::decode(&damaged).is_err());
            }
        }
        assert!(refused > 1_000, "only {refused} were refused");
    }

    #[test]
    fn counts_and_lengths_that_cannot_be_are_faults() {
        let head = |count: u64| {
            let mut out = FieldWriter::new(VERSION);
            out.bytes(b"topic");
            out.bytes(b"account");
            SharedMessage { attributes: Vec::new(), envelope: None, ..sample().message }.write(&mut out);
            out.number(count);
            out.into_bytes()
        };
        assert!(QueueDelivery::decode(&head(0)).is_ok());
        for count in [1, 1 << 20, u64::MAX] {
            assert!(QueueDelivery::decode(&head(count)).is_err(), "{count} recipients and no bytes");
        }
        let one = Recipient { account: String::new(), queue: String::new(), ..sample().recipients.remove(0) };
        for (count, is_read) in [(RECIPIENT_COUNT_MAX, true), (RECIPIENT_COUNT_MAX + 1, false)] {
            let many = QueueDelivery { recipients: vec![one.clone(); count], ..sample() };
            assert_eq!(QueueDelivery::decode(&many.encode()).is_ok(), is_read, "{count} recipients");
        }
        let huge = [&[VERSION][..], &[0xff; 9], &[1]].concat();
        assert!(QueueDelivery::decode(&huge).is_err());
    }

    #[test]
    fn a_queue_and_a_topic_of_one_name_have_places_of_their_own() {
        assert_ne!(queue_place("1", "23"), queue_place("12", "3"));
        assert_ne!(queue_place("1", "a"), topic_place("1", "a"));
    }
}
