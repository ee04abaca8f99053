//! SendMessage and SendMessageBatch: what needs the queue is checked, deduplication is looked up, and all messages of a batch lie
//! in one batch of the log.
//! Invariant: a message has its sequence from the batch that it lies in; on FIFO queues the order of entries is that of sequences.
//! Leaves to wire: what needs no queue. To resident.rs: who is woken.

use std::collections::VecDeque;

use bytes::Bytes;
use plan::{Context, Plan};
use store::{Body, BodyOwner, Fault, NewBody, Outcome, TableId, Tx};

use super::refusal::Refusal;
use super::request::{NewMessage, QueueRef, Sent};
use super::resident::{Pushed, Queues, Remembered, Resident};
use super::run::{QueueOperation, run};
use super::state::groups::GroupName;
use crate::model::limits::{
    DEDUPLICATION_MS, FORGOTTEN_PER_TURN_MAX, INLINE_BODY_BYTES_MAX, TRAVELLING_BODY_BYTES_MAX,
};
use crate::model::message::{BodyPlace, Message, MessageAttribute, MessageId};
use crate::model::queue::{Attributes, DeduplicationScope, QueueId, QueueKey, Sequence};
use crate::store::memory::{Attempt, Deduplication, deduplication_hash};
use crate::store::message::{encode, stamp};
use crate::store::queue::identity;
use crate::store::state::State;
use crate::store::{BODIES, DEDUP, IdHash, MESSAGES, QUEUES, body_key, id_key, message_key};

/// Sends messages and goes on with what became of each, in their order. Refusals: `NoQueue`, `Fault`; of an entry also those that
/// the queue's settings give.
pub fn send<F>(
    cx: &mut Context<'_>,
    queue: QueueRef,
    sender: &str,
    messages: Vec<NewMessage>,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Result<Sent, Refusal>>, Refusal>) -> Plan + 'static,
{
    let is_fifo = queue.key.is_fifo();
    let mut entries = Vec::with_capacity(messages.len());
    let mut large = VecDeque::new();
    for (index, message) in messages.into_iter().enumerate() {
        let (entry, beside) = Entry::new(cx, sender, is_fifo, message);
        entries.push(entry);
        match beside {
            Some(body) if body.len() > TRAVELLING_BODY_BYTES_MAX => large.push_back((index, body)),
            Some(body) => entries[index].body = Some(NewBody::from_bytes(body.to_vec())),
            None => {}
        }
    }
    if large.is_empty() {
        return run(queue, Send { entries }, then);
    }
    // Large bodies are written before the send, and their extents name the record that they will belong to.
    match find_id(cx, &queue) {
        Ok(Some(id)) => write_large(queue, id, entries, large, then),
        Ok(None) => then(cx, Err(Refusal::NoQueue)),
        Err(fault) => then(cx, Err(fault.into())),
    }
}

fn find_id(cx: &Context<'_>, queue: &QueueRef) -> Result<Option<QueueId>, Fault> {
    let view = cx.store.view(queue.shard)?;
    let record = view.get(QUEUES, queue.key.as_bytes())?;
    record.map(|record| identity(record.value).map(|(id, _)| id)).transpose()
}

/// Makes the bodies durable that are too large to travel in a batch, one after the other, and then submits.
fn write_large<F>(
    queue: QueueRef,
    id: QueueId,
    mut entries: Vec<Entry>,
    mut large: VecDeque<(usize, Bytes)>,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Result<Sent, Refusal>>, Refusal>) -> Plan + 'static,
{
    let Some((index, body)) = large.pop_front() else {
        return run(queue, Send { entries }, then);
    };
    let key = body_key(id, entries[index].id).to_vec();
    let owner = BodyOwner { shard: queue.shard, table: BODIES, key };
    Plan::write(body, owner, move |cx, written| match written {
        Ok(body) => {
            entries[index].body = Some(body);
            write_large(queue, id, entries, large, then)
        }
        Err(fault) => then(cx, Err(fault.into())),
    })
}

/// One message on its way.
struct Entry {
    id: MessageId,
    /// Its record; the shard sets the times in it.
    record: Vec<u8>,
    /// Body and attributes, as MaximumMessageSize counts them.
    counted_bytes: usize,
    body: Option<NewBody>,
    delay_seconds: Option<u16>,
    group: Option<Box<str>>,
    /// As given, or on FIFO queues made of the body.
    deduplication: Option<Box<str>>,
    is_deduplication_given: bool,
}

impl Entry {
    /// The entry, and its body when that lies beside it.
    fn new(cx: &mut Context<'_>, sender: &str, is_fifo: bool, message: NewMessage) -> (Entry, Option<Bytes>) {
        let id = MessageId::random((cx.random)(), (cx.random)());
        let NewMessage { body, attributes, system, delay_seconds, group, deduplication } = message;
        let is_deduplication_given = deduplication.is_some();
        let deduplication = deduplication.or_else(|| is_fifo.then(|| content_id(&body)));
        let attribute_bytes: usize = attributes.iter().map(MessageAttribute::bytes).sum();
        let counted_bytes = body.len() + attribute_bytes;
        let (place, beside) = if body.len() <= INLINE_BODY_BYTES_MAX {
            (BodyPlace::Inline(body), None)
        } else {
            (BodyPlace::Beside(body.len() as u64), Some(body))
        };
        let message = Message {
            id,
            sent_ms: 0,
            kept_from_ms: 0,
            sender: sender.into(),
            group,
            deduplication,
            source_arn: None,
            attributes,
            system,
            body: place,
        };
        let record = encode(&message);
        let Message { group, deduplication, .. } = message;
        let entry = Entry {
            id,
            record,
            counted_bytes,
            body: None,
            delay_seconds,
            group,
            deduplication,
            is_deduplication_given,
        };
        (entry, beside)
    }

    /// What of it the queue does not take.
    fn check(&self, attributes: &Attributes) -> Result<(), Refusal> {
        if self.counted_bytes > attributes.message_bytes_max as usize {
            return Err(Refusal::MessageTooLong { bytes_max: attributes.message_bytes_max });
        }
        let Some(fifo) = attributes.fifo else {
            return match &self.deduplication {
                Some(id) => {
                    Err(Refusal::NotForThisQueue { parameter: "MessageDeduplicationId", value: id.clone() })
                }
                None => Ok(()),
            };
        };
        if let Some(delay) = self.delay_seconds {
            let value = delay.to_string().into();
            return Err(Refusal::NotForThisQueue { parameter: "DelaySeconds", value });
        }
        if self.group.is_none() {
            return Err(Refusal::NoGroup);
        }
        if !self.is_deduplication_given && !fifo.content_based {
            return Err(Refusal::NoDeduplication);
        }
        Ok(())
    }
}

/// The deduplication id of a body: its SHA-256 in hexadecimal.
fn content_id(body: &[u8]) -> Box<str> {
    aws::encoding::hex(&hash::sha256(body)).into()
}

struct Send {
    entries: Vec<Entry>,
}

/// What a send has gathered for the memory of its queue.
#[derive(Default)]
struct Gathered {
    pushed: Vec<Pushed>,
    remembered: Vec<Remembered>,
}

impl QueueOperation for Send {
    type Reply = Vec<Result<Sent, Refusal>>;

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<Self::Reply>, Fault> {
        let mut gathered = Gathered::default();
        let forgotten = forget(tx, resident)?;
        let mut results = Vec::with_capacity(self.entries.len());
        for entry in &mut self.entries {
            results.push(match entry.check(&resident.record.attributes) {
                Ok(()) => Ok(enter(tx, resident, entry, &mut gathered)?),
                Err(refusal) => Err(refusal),
            });
        }
        if gathered.pushed.is_empty() {
            return Ok(Outcome::Rollback(results));
        }
        let (key, id) = (key.clone(), resident.record.id);
        tx.then::<Queues>(move |queues, wakes| {
            let Some(resident) = queues.find_mut(&key, id) else { return };
            resident.forgotten(forgotten);
            resident.remember(gathered.remembered);
            resident.pushed(&gathered.pushed, wakes);
        });
        Ok(Outcome::Commit(results))
    }
}

/// Enters one message, or finds that it was sent before.
fn enter(
    tx: &mut Tx<'_>,
    resident: &Resident,
    entry: &mut Entry,
    gathered: &mut Gathered,
) -> Result<Sent, Fault> {
    let record = &resident.record;
    let now_ms = tx.now().0;
    let fifo = record.attributes.fifo;
    let hash = match (fifo, &entry.deduplication) {
        (Some(fifo), Some(id)) => {
            let group = entry.group.as_deref().filter(|_| fifo.scope == DeduplicationScope::MessageGroup);
            Some(deduplication_hash(group, id))
        }
        _ => None,
    };
    let mut is_known = false;
    if let Some(hash) = hash {
        match remembered(tx, record.id, &hash)? {
            // A purge takes what is remembered with the messages.
            Some(first) if first.expiry_ms > now_ms && first.sequence >= record.purged_below => {
                return Ok(Sent { message_id: first.message, sequence: Some(first.sequence) });
            }
            found => is_known = found.is_some(),
        }
    }
    let sequence = next_sequence(tx)?;
    stamp(&mut entry.record, Some(now_ms), now_ms);
    tx.put(MESSAGES, &message_key(record.id, sequence), &entry.record, Vec::new(), true);
    if let Some(body) = &entry.body {
        tx.put(BODIES, &body_key(record.id, entry.id), &[], vec![Body::New(body.clone())], true);
    }
    let delay_seconds = entry.delay_seconds.unwrap_or(record.attributes.delay_seconds);
    let due_ms = (delay_seconds > 0).then(|| now_ms + u64::from(delay_seconds) * 1_000);
    if let Some(due_ms) = due_ms {
        let state = State { due_ms, is_beside: entry.body.is_some(), ..State::default() };
        super::records::put_state(tx, record.id, sequence, &state, true);
    }
    if let Some(hash) = hash {
        let expiry_ms = now_ms + DEDUPLICATION_MS;
        let first = Deduplication { sequence, message: entry.id, expiry_ms };
        tx.put(DEDUP, &id_key(record.id, &hash), &first.encode(), Vec::new(), !is_known);
        gathered.remembered.push(Remembered { expiry_ms, table: DEDUP.0, hash });
    }
    let group = entry.group.as_deref().map(|name| GroupName::new(&record.handle_key, name));
    gathered.pushed.push(Pushed { sequence, group, due_ms, in_flight: false });
    Ok(Sent { message_id: entry.id, sequence: fifo.is_some().then_some(sequence) })
}

/// A sequence for a new message.
pub fn next_sequence(tx: &mut Tx<'_>) -> Result<Sequence, Fault> {
    // A batch that has given out all its positions takes no more; the next one begins anew.
    Sequence::of_store(tx.next_sequence()).ok_or(Fault::Busy)
}

/// What is known of a deduplication id, expired or not.
pub fn remembered(tx: &mut Tx<'_>, queue: QueueId, hash: &IdHash) -> Result<Option<Deduplication>, Fault> {
    tx.get_ref(DEDUP, &id_key(queue, hash), |record| {
        record.map(|record| Deduplication::decode(record.value)).transpose()
    })?
}

/// Takes a few ids away whose time is over; gives how many the queue's memory may forget.
pub fn forget(tx: &mut Tx<'_>, resident: &Resident) -> Result<usize, Fault> {
    let now = tx.now();
    let mut count = 0;
    for id in resident.forgettable(now).take(FORGOTTEN_PER_TURN_MAX) {
        let (table, key) = (TableId(id.table), id_key(resident.record.id, &id.hash));
        let expiry = tx.get_ref(table, &key, |record| {
            record
                .map(|record| match table {
                    DEDUP => Deduplication::decode(record.value).map(|id| id.expiry_ms),
                    _ => Attempt::decode(record.value).map(|id| id.expiry_ms),
                })
                .transpose()
        })??;
        // An id that was used again since has a later time, and a later place in the line.
        if expiry.is_some_and(|expiry_ms| expiry_ms <= now.0) {
            tx.delete(table, &key);
        }
        count += 1;
    }
    Ok(count)
}
