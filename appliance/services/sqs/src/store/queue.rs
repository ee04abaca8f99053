//! The bytes of a queue's record.
//! Invariant: decoding undoes encoding; a damaged record is `Fault::Corrupt`.
//! Leaves to model/queue.rs: what the settings mean.
//!
//! ```text
//! version 1 u8 | id u64be | handle key 16 | created number | modified number | purged below number | last purge number
//! | visibility number | delay number | retention number | message bytes number | wait u8
//! | kind u8 (0 standard, 1 FIFO) | flags u8 (1 content based, 2 scope by group, 4 limit by group, 8 managed encryption)
//! | has u8 (1 policy, 2 redrive, 4 redrive allow, 8 key) | policy bytes? | redrive (target bytes, count number)?
//! | redrive allow (0 all, 1 none, 2 sources: count number, bytes*)? | key bytes? | reuse number
//! | tags: count number, (key bytes, value bytes)*
//! ```

use std::collections::BTreeMap;

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::model::limits::{MESSAGE_BYTES_MAX, RETENTION_SECONDS_MAX, VISIBILITY_SECONDS_MAX};
use crate::model::queue::{
    Attributes, DeduplicationScope, Fifo, QueueId, QueueRecord, Redrive, RedriveAllow, Sequence,
    ThroughputLimit,
};

const VERSION: u8 = 1;
const WHAT: &str = "sqs queue";

const CONTENT_BASED: u8 = 1;
const SCOPE_GROUP: u8 = 2;
const LIMIT_GROUP: u8 = 4;
const MANAGED: u8 = 8;

const HAS_POLICY: u8 = 1;
const HAS_REDRIVE: u8 = 2;
const HAS_ALLOW: u8 = 4;
const HAS_KEY: u8 = 8;

/// The value of a queue's record.
#[must_use]
pub fn encode(queue: &QueueRecord) -> Vec<u8> {
    let attributes = &queue.attributes;
    let mut out = FieldWriter::new(VERSION);
    out.raw(&queue.id.0.to_be_bytes());
    out.raw(&queue.handle_key);
    for number in [queue.created_ms, queue.modified_ms, queue.purged_below.0, queue.last_purge_ms] {
        out.number(number);
    }
    out.number(attributes.visibility_seconds.into());
    out.number(attributes.delay_seconds.into());
    out.number(attributes.retention_seconds.into());
    out.number(attributes.message_bytes_max.into());
    out.byte(attributes.wait_seconds);
    let fifo = attributes.fifo.unwrap_or_default();
    out.byte(attributes.fifo.is_some().into());
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.byte(
        flag(fifo.content_based, CONTENT_BASED)
            | flag(fifo.scope == DeduplicationScope::MessageGroup, SCOPE_GROUP)
            | flag(fifo.throughput == ThroughputLimit::PerMessageGroupId, LIMIT_GROUP)
            | flag(attributes.managed_encryption, MANAGED),
    );
    out.byte(
        flag(attributes.policy.is_some(), HAS_POLICY)
            | flag(attributes.redrive.is_some(), HAS_REDRIVE)
            | flag(attributes.redrive_allow.is_some(), HAS_ALLOW)
            | flag(attributes.kms_key.is_some(), HAS_KEY),
    );
    if let Some(policy) = &attributes.policy {
        out.bytes(policy.as_bytes());
    }
    if let Some(redrive) = &attributes.redrive {
        out.bytes(redrive.target_arn.as_bytes());
        out.number(redrive.max_receive_count.into());
    }
    match &attributes.redrive_allow {
        None => {}
        Some(RedriveAllow::All) => out.byte(0),
        Some(RedriveAllow::None) => out.byte(1),
        Some(RedriveAllow::Sources(sources)) => {
            out.byte(2);
            out.number(sources.len() as u64);
            sources.iter().for_each(|source| out.bytes(source.as_bytes()));
        }
    }
    if let Some(key) = &attributes.kms_key {
        out.bytes(key.as_bytes());
    }
    out.number(attributes.kms_reuse_seconds.into());
    out.number(queue.tags.len() as u64);
    for (key, value) in &queue.tags {
        out.bytes(key.as_bytes());
        out.bytes(value.as_bytes());
    }
    out.into_bytes()
}

/// What signs a queue's handles, from the front of its record: the rest is not looked at. Errors: as `decode`.
pub fn identity(value: &[u8]) -> Result<(QueueId, [u8; 16]), Fault> {
    let mut reader = FieldReader::new(value, VERSION, WHAT)?;
    Ok((QueueId(u64::from_be_bytes(reader.array()?)), reader.array()?))
}

/// The policy in a queue's record, from its front: the rest is not looked at. Errors: as `decode`.
pub fn policy(value: &[u8]) -> Result<Option<&str>, Fault> {
    let mut reader = FieldReader::new(value, VERSION, WHAT)?;
    let _identity: [u8; 24] = reader.array()?;
    for _ in 0..8 {
        reader.number()?;
    }
    let [_wait, _kind, _flags, has] = reader.array()?;
    if has & HAS_POLICY == 0 { Ok(None) } else { reader.text().map(Some) }
}

/// The queue in a record. Errors: `Fault::Corrupt`.
pub fn decode(value: &[u8]) -> Result<QueueRecord, Fault> {
    let mut reader = FieldReader::new(value, VERSION, WHAT)?;
    let id = QueueId(u64::from_be_bytes(reader.array()?));
    let handle_key = reader.array()?;
    let created_ms = reader.number()?;
    let modified_ms = reader.number()?;
    let purged_below = Sequence(reader.number()?);
    let last_purge_ms = reader.number()?;
    let attributes = decode_attributes(&mut reader)?;
    let mut tags = BTreeMap::new();
    for _ in 0..reader.count()? {
        tags.insert(reader.text()?.into(), reader.text()?.into());
    }
    if !reader.is_empty() {
        return Err(reader.damaged("is longer than its fields"));
    }
    Ok(QueueRecord { id, handle_key, created_ms, modified_ms, attributes, tags, purged_below, last_purge_ms })
}

fn decode_attributes(reader: &mut FieldReader<'_>) -> Result<Attributes, Fault> {
    let visibility_seconds = bounded(reader, VISIBILITY_SECONDS_MAX)?;
    let delay_seconds = bounded(reader, u32::from(u16::MAX))? as u16;
    let retention_seconds = bounded(reader, RETENTION_SECONDS_MAX)?;
    let message_bytes_max = bounded(reader, MESSAGE_BYTES_MAX)?;
    let wait_seconds = reader.byte()?;
    let is_fifo = reader.byte()? != 0;
    let flags = reader.byte()?;
    let has = reader.byte()?;
    let scope = match flags & SCOPE_GROUP {
        0 => DeduplicationScope::Queue,
        _ => DeduplicationScope::MessageGroup,
    };
    let throughput = match flags & LIMIT_GROUP {
        0 => ThroughputLimit::PerQueue,
        _ => ThroughputLimit::PerMessageGroupId,
    };
    let fifo = is_fifo.then_some(Fifo { content_based: flags & CONTENT_BASED != 0, scope, throughput });
    let policy = if has & HAS_POLICY != 0 { Some(reader.text()?.into()) } else { None };
    let redrive = if has & HAS_REDRIVE != 0 {
        let target_arn = reader.text()?.into();
        Some(Redrive { target_arn, max_receive_count: bounded(reader, u32::MAX)? })
    } else {
        None
    };
    let redrive_allow = if has & HAS_ALLOW != 0 { Some(decode_allow(reader)?) } else { None };
    let kms_key = if has & HAS_KEY != 0 { Some(reader.text()?.into()) } else { None };
    Ok(Attributes {
        visibility_seconds,
        delay_seconds,
        retention_seconds,
        message_bytes_max,
        wait_seconds,
        fifo,
        policy,
        redrive,
        redrive_allow,
        managed_encryption: flags & MANAGED != 0,
        kms_key,
        kms_reuse_seconds: bounded(reader, u32::MAX)?,
    })
}

fn decode_allow(reader: &mut FieldReader<'_>) -> Result<RedriveAllow, Fault> {
    match reader.byte()? {
        0 => Ok(RedriveAllow::All),
        1 => Ok(RedriveAllow::None),
        2 => {
            let count = reader.count()?;
            let sources = (0..count).map(|_| reader.text().map(Box::from)).collect::<Result<_, Fault>>()?;
            Ok(RedriveAllow::Sources(sources))
        }
        _ => Err(reader.damaged("has an unknown redrive permission")),
    }
}

fn bounded(reader: &mut FieldReader<'_>, max: u32) -> Result<u32, Fault> {
    let number = reader.number()?;
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| reader.damaged("has a setting out of its range"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A queue with the settings that all have.
    pub fn plain_queue() -> QueueRecord {
        QueueRecord {
            id: QueueId(1 << 63 | 5),
            handle_key: [9; 16],
            created_ms: 1_700_000_000_000,
            modified_ms: 1_700_000_000_001,
            attributes: Attributes::default(),
            tags: BTreeMap::new(),
            purged_below: Sequence(0),
            last_purge_ms: 0,
        }
    }

    fn full_queue() -> QueueRecord {
        let attributes = Attributes {
            fifo: Some(Fifo {
                content_based: true,
                scope: DeduplicationScope::MessageGroup,
                throughput: ThroughputLimit::PerMessageGroupId,
            }),
            policy: Some("{}".into()),
            redrive: Some(Redrive { target_arn: "arn:aws:sqs:r:0:d".into(), max_receive_count: 1_000 }),
            redrive_allow: Some(RedriveAllow::Sources(vec!["a".into(), "b".into()])),
            managed_encryption: false,
            kms_key: Some("alias/k".into()),
            ..Attributes::default()
        };
        let tags = BTreeMap::from([("k".into(), "v".into()), ("l".into(), "".into())]);
        QueueRecord { attributes, tags, purged_below: Sequence(77 << 20), last_purge_ms: 3, ..plain_queue() }
    }

    #[test]
    fn a_queue_comes_back() {
        let mut queues = vec![plain_queue(), full_queue()];
        for allow in [RedriveAllow::All, RedriveAllow::None] {
            let mut queue = plain_queue();
            queue.attributes.redrive_allow = Some(allow);
            queues.push(queue);
        }
        for queue in queues {
            let bytes = encode(&queue);
            assert_eq!(decode(&bytes).expect("decodes"), queue);
            assert_eq!(identity(&bytes).expect("decodes"), (queue.id, queue.handle_key));
            assert_eq!(policy(&bytes).expect("decodes"), queue.attributes.policy.as_deref());
        }
    }

    #[test]
    fn every_truncation_and_every_tail_is_a_fault() {
        let mut bytes = encode(&full_queue());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "length {length}");
        }
        bytes.push(0);
        assert!(decode(&bytes).is_err());
    }
}
