//! The bytes of a message's record.
//! Invariant: decoding undoes encoding, and shares the record's memory for the body; a damaged record is `Fault::Corrupt`.
//! Leaves to engine: where the body lies.
//!
//! ```text
//! version 1 u8 | id 16 | sent ms u64be | kept from ms u64be | has u8 (1 group, 2 deduplication, 4 source, 8 body beside)
//! | sender bytes | group bytes? | deduplication bytes? | source bytes?
//! | attributes: count number, (name bytes, type bytes, kind u8 (1 text, 2 binary), value bytes)* | system attributes: the same
//! | body: length number where it lies beside, else the rest
//! ```
//! What a receive decides by (times, group) lies in front, so that it is read without the rest. The times have fixed places: the shard
//! that takes the message sets them in a record that was made elsewhere.

use bytes::Bytes;
use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::model::limits::MESSAGE_ATTRIBUTE_COUNT_MAX;
use crate::model::message::{AttributeValue, BodyPlace, Message, MessageAttribute, MessageId};

const VERSION: u8 = 1;
const WHAT: &str = "sqs message";

const HAS_GROUP: u8 = 1;
const HAS_DEDUPLICATION: u8 = 2;
const HAS_SOURCE: u8 = 4;
const BODY_BESIDE: u8 = 8;

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// The value of a message's record.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = FieldWriter::new(VERSION);
    out.raw(&message.id.0);
    out.raw(&message.sent_ms.to_be_bytes());
    out.raw(&message.kept_from_ms.to_be_bytes());
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.byte(
        flag(message.group.is_some(), HAS_GROUP)
            | flag(message.deduplication.is_some(), HAS_DEDUPLICATION)
            | flag(message.source_arn.is_some(), HAS_SOURCE)
            | flag(matches!(message.body, BodyPlace::Beside(_)), BODY_BESIDE),
    );
    out.bytes(message.sender.as_bytes());
    for text in [&message.group, &message.deduplication, &message.source_arn].into_iter().flatten() {
        out.bytes(text.as_bytes());
    }
    for list in [&message.attributes, &message.system] {
        out.number(list.len() as u64);
        for attribute in list {
            out.bytes(attribute.name.as_bytes());
            out.bytes(attribute.kind.as_bytes());
            match &attribute.value {
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
    }
    match &message.body {
        BodyPlace::Inline(bytes) => out.raw(bytes),
        BodyPlace::Beside(length) => out.number(*length),
    }
    out.into_bytes()
}

/// Sets the times of a record that `encode` made. SentTimestamp stays as it is where `sent_ms` is none.
pub fn stamp(record: &mut [u8], sent_ms: Option<u64>, kept_from_ms: u64) {
    if let Some(sent_ms) = sent_ms {
        record[SENT_AT..KEPT_AT].copy_from_slice(&sent_ms.to_be_bytes());
    }
    record[KEPT_AT..KEPT_AT + 8].copy_from_slice(&kept_from_ms.to_be_bytes());
}

const SENT_AT: usize = 1 + 16;
const KEPT_AT: usize = SENT_AT + 8;

/// What a receive decides by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Front<'a> {
    /// The message's id.
    pub id: MessageId,
    /// From when on the message's retention counts.
    pub kept_from_ms: u64,
    /// Its group.
    pub group: Option<&'a str>,
    /// Whether its body lies in the table of bodies.
    pub is_beside: bool,
}

/// The front of a record; the rest is not looked at. Errors: `Fault::Corrupt`.
pub fn front(value: &[u8]) -> Result<Front<'_>, Fault> {
    let mut reader = FieldReader::new(value, VERSION, WHAT)?;
    let id = MessageId(reader.array()?);
    reader.array::<8>()?;
    let kept_from_ms = u64::from_be_bytes(reader.array()?);
    let has = reader.byte()?;
    reader.bytes()?;
    let group = if has & HAS_GROUP != 0 { Some(reader.text()?) } else { None };
    Ok(Front { id, kept_from_ms, group, is_beside: has & BODY_BESIDE != 0 })
}

/// The message in a record. Errors: `Fault::Corrupt`.
pub fn decode(value: &Bytes) -> Result<Message, Fault> {
    let mut reader = FieldReader::new(value, VERSION, WHAT)?;
    let id = MessageId(reader.array()?);
    let sent_ms = u64::from_be_bytes(reader.array()?);
    let kept_from_ms = u64::from_be_bytes(reader.array()?);
    let has = reader.byte()?;
    let sender = reader.text()?.into();
    let mut optional = |bit: u8| -> Result<Option<Box<str>>, Fault> {
        if has & bit != 0 { Ok(Some(reader.text()?.into())) } else { Ok(None) }
    };
    let group = optional(HAS_GROUP)?;
    let deduplication = optional(HAS_DEDUPLICATION)?;
    let source_arn = optional(HAS_SOURCE)?;
    let attributes = decode_attributes(&mut reader)?;
    let system = decode_attributes(&mut reader)?;
    let body = if has & BODY_BESIDE != 0 {
        let length = reader.number()?;
        if !reader.is_empty() {
            return Err(reader.damaged("is longer than its fields"));
        }
        BodyPlace::Beside(length)
    } else {
        BodyPlace::Inline(value.slice(value.len() - reader.remaining()..))
    };
    Ok(Message {
        id,
        sent_ms,
        kept_from_ms,
        sender,
        group,
        deduplication,
        source_arn,
        attributes,
        system,
        body,
    })
}

fn decode_attributes(reader: &mut FieldReader<'_>) -> Result<Vec<MessageAttribute>, Fault> {
    let count = reader.count()?;
    if count > MESSAGE_ATTRIBUTE_COUNT_MAX {
        return Err(reader.damaged("has too many attributes"));
    }
    let mut attributes = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.text()?.into();
        let kind = reader.text()?.into();
        let value = match reader.byte()? {
            TEXT => AttributeValue::Text(reader.text()?.into()),
            BINARY => AttributeValue::Binary(Bytes::copy_from_slice(reader.bytes()?)),
            _ => return Err(reader.damaged("has an attribute of an unknown kind")),
        };
        attributes.push(MessageAttribute { name, kind, value });
    }
    Ok(attributes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message with nothing that it need not have.
    pub fn plain_message(body: &'static str) -> Message {
        Message {
            id: MessageId([3; 16]),
            sent_ms: 1_700_000_000_000,
            kept_from_ms: 1_700_000_000_000,
            sender: "000000000000".into(),
            group: None,
            deduplication: None,
            source_arn: None,
            attributes: Vec::new(),
            system: Vec::new(),
            body: BodyPlace::Inline(Bytes::from_static(body.as_bytes())),
        }
    }

    fn full_message() -> Message {
        let attribute = |name: &str, value| MessageAttribute { name: name.into(), kind: "t.x".into(), value };
        Message {
            group: Some("g".into()),
            deduplication: Some("d".into()),
            source_arn: Some("arn".into()),
            attributes: vec![
                attribute("a", AttributeValue::Text("ä".into())),
                attribute("b", AttributeValue::Binary(Bytes::from_static(b"\0\xff"))),
            ],
            system: vec![attribute("AWSTraceHeader", AttributeValue::Text("Root=1".into()))],
            ..plain_message("body")
        }
    }

    #[test]
    fn a_message_comes_back_and_its_front_alone() {
        let beside = Message { body: BodyPlace::Beside(1 << 20), ..full_message() };
        for message in [plain_message("x"), plain_message(""), full_message(), beside] {
            let bytes = Bytes::from(encode(&message));
            assert_eq!(decode(&bytes).expect("decodes"), message);
            let front = front(&bytes).expect("decodes");
            assert_eq!(front.group, message.group.as_deref());
            assert_eq!(front.kept_from_ms, message.kept_from_ms);
            assert_eq!(front.is_beside, matches!(message.body, BodyPlace::Beside(_)));
        }
    }

    #[test]
    fn the_times_of_a_record_are_set_in_place() {
        let mut bytes = encode(&full_message());
        stamp(&mut bytes, None, 5);
        stamp(&mut bytes, Some(7), 6);
        let stamped = Message { sent_ms: 7, kept_from_ms: 6, ..full_message() };
        assert_eq!(decode(&bytes.into()).expect("decodes"), stamped);
    }

    #[test]
    fn every_truncation_of_what_is_not_the_body_is_a_fault() {
        let message = Message { body: BodyPlace::Beside(300), ..full_message() };
        let bytes = Bytes::from(encode(&message));
        for length in 0..bytes.len() {
            assert!(decode(&bytes.slice(..length)).is_err(), "length {length}");
        }
    }
}
