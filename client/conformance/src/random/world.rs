//! A sequence on one subject: its names, what it holds in hand, and its answers in the normal form.
//! Invariant: what differs by nature (addresses, identities, receipts, times, tokens, the order of what has none) leaves this
//! file only as what it stands for.

use super::Answer;
use super::operation::{BUCKETS, ITEM_KEYS, KEYS, Operation, PREFIXES, QUEUES, TABLES, TOPICS};
use super::subjects::Services;
use crate::case::kind;
use cloudkit_core::api::{Message, ObjectStorage};
use cloudkit_core::common::{CloudError, ObjectMetadata};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) struct World<'a> {
    pub(super) services: &'a Services,
    pub(super) buckets: Vec<String>,
    pub(super) tables: Vec<String>,
    queue_names: Vec<String>,
    topic_names: Vec<String>,
    /// Addresses of the queues, the FIFO queue last, once they are made.
    pub(super) urls: Vec<String>,
    pub(super) arns: Vec<String>,
    /// What was received and not deleted, by what it says.
    pub(super) held: Vec<BTreeMap<String, Message>>,
    /// Entity tags as they were before the latest change.
    pub(super) old_tags: BTreeMap<(usize, usize), String>,
    pub(super) subscriptions: BTreeMap<(usize, usize), String>,
}

impl<'a> World<'a> {
    pub(super) fn new(services: &'a Services) -> Self {
        let fresh = |what: &str, count: usize| -> Vec<String> {
            (0..count).map(|_| services.subject.fresh(what)).collect()
        };
        let mut queue_names = fresh("queue", QUEUES);
        queue_names.push(format!("{}.fifo", services.subject.fresh("queue")));
        Self {
            services,
            buckets: fresh("bucket", BUCKETS),
            tables: fresh("table", TABLES),
            queue_names,
            topic_names: fresh("topic", TOPICS),
            urls: Vec::new(),
            arns: Vec::new(),
            held: vec![BTreeMap::new(); QUEUES + 1],
            old_tags: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
        }
    }

    /// Does the operation, which is the one of this number.
    pub(super) async fn apply(&mut self, operation: &Operation, index: usize) -> Answer {
        if self.urls.is_empty() {
            self.prepare().await.map_err(|error| format!("preparing: {}", kind(&error)))?;
        }
        let done = match operation {
            Operation::Send { .. }
            | Operation::SendBatch { .. }
            | Operation::SendFifo { .. }
            | Operation::Receive(_)
            | Operation::DeleteMessages { .. }
            | Operation::DeleteMessage { .. }
            | Operation::GiveBack { .. }
            | Operation::Depth(_)
            | Operation::Publish { .. }
            | Operation::PublishBatch { .. }
            | Operation::Subscribe { .. }
            | Operation::Unsubscribe { .. }
            | Operation::ListSubscriptions(_) => self.message(operation, index).await,
            Operation::CreateTable(_)
            | Operation::DeleteTable(_)
            | Operation::PutItem { .. }
            | Operation::PutItemIf { .. }
            | Operation::GetItem { .. }
            | Operation::GetPart { .. }
            | Operation::DeleteItem { .. }
            | Operation::DeleteItemIf { .. }
            | Operation::ItemExists { .. }
            | Operation::UpdateItem { .. }
            | Operation::QueryItems { .. }
            | Operation::BatchGet { .. }
            | Operation::BatchWrite { .. }
            | Operation::Transact { .. }
            | Operation::Increment { .. }
            | Operation::Scan { .. } => self.table(operation).await,
            _ => self.storage(operation, index).await,
        };
        done.map_err(|error| kind(&error))
    }

    /// Asks again what may have come late, and adds it to what was seen.
    pub(super) async fn look_again(&mut self, operation: &Operation, index: usize, seen: Answer) -> Answer {
        let mut more = self.apply(operation, index).await;
        // A receive gives each message once; a depth is a number that replaces the one before it.
        if let (Ok(Value::Array(seen)), Ok(Value::Array(more))) = (seen, &mut more) {
            more.extend(seen);
            more.sort_by_key(Value::to_string);
        }
        more
    }

    pub(super) async fn pause(&self) {
        self.services.subject.pass(Duration::from_millis(200)).await;
    }

    async fn prepare(&mut self) -> Result<(), CloudError> {
        for name in &self.queue_names {
            self.urls.push(self.services.queue.create_queue(name).await?);
        }
        for name in &self.topic_names {
            self.arns.push(self.services.pubsub.dyn_create_topic(name).await?);
        }
        Ok(())
    }

    /// What a topic takes as the address of a queue.
    pub(super) fn endpoint(&self, queue: usize) -> String {
        self.services.subject.endpoint(&self.queue_names[queue], &self.urls[queue])
    }

    /// The entity tag that the object has, or the one that it had before.
    pub(super) async fn tag(&mut self, bucket: usize, key: usize, current: bool) -> Option<String> {
        let (name, text) = (&self.buckets[bucket], KEYS[key]);
        let now = self.services.storage.head_object(name, text).await.ok().and_then(|facts| facts.etag);
        match current {
            true => now,
            false => self.old_tags.get(&(bucket, key)).cloned().filter(|old| Some(old) != now.as_ref()),
        }
    }
}

/// The facts of an object that do not differ by nature. A media type that nobody set is the server's own choice.
pub(super) fn facts(facts: &ObjectMetadata) -> Value {
    let metadata: BTreeMap<_, _> = facts.metadata.iter().collect();
    let set_by_us = facts.content_type.as_deref().filter(|kind| kind.starts_with("text/"));
    json!({
        "key": facts.key, "size": facts.size, "etag": facts.etag, "type": set_by_us, "metadata": metadata,
        "class": facts.storage_class.as_deref().filter(|class| *class != "STANDARD"),
    })
}

/// The bytes of a body: their number, and all of them where they are few.
pub(super) fn body(bytes: &[u8]) -> Value {
    let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    json!({"bytes": bytes.len(), "sum": sum, "head": String::from_utf8_lossy(&bytes[..bytes.len().min(40)])})
}

/// The keys of all pages of a listing, with the facts that a listing tells.
pub(super) async fn listed(
    storage: &dyn ObjectStorage,
    bucket: &str,
    prefix: usize,
    delimiter: bool,
    max: u32,
) -> Result<Value, CloudError> {
    let mut options = cloudkit_core::api::ListOptions::new().prefix(PREFIXES[prefix]).max_results(max);
    if delimiter {
        options = options.delimiter("/");
    }
    let mut all = Vec::new();
    loop {
        let page = storage.list_objects(bucket, options.clone()).await?;
        all.extend(page.items.iter().map(|object| json!([object.key, object.size, object.etag])));
        if all.len() > LISTED_COUNT_MAX {
            return Ok(json!("the listing has no end"));
        }
        match page.next_token.0 {
            None => return Ok(Value::Array(all)),
            Some(token) => options = options.continuation_token(token),
        }
    }
}

/// The values of what has no order.
pub(super) fn unordered(mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    Value::Array(values)
}

/// The text of a key of an item.
pub(super) fn item_key(key: usize) -> &'static str {
    ITEM_KEYS[key]
}

/// More than a sequence has names for.
const LISTED_COUNT_MAX: usize = 1_000;
