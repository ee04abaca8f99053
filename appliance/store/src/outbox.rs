//! The outbox: messages to other shards that are written in the same batch as the effect that causes them, and delivered
//! afterwards at least once, taken exactly once.
//! Invariant: an effect and its message are never apart; a message leaves the outbox only after its delivery is durable on
//! the target; the target's note of having taken it outlives every redelivery. Messages of one shard to another one take
//! effect in the order of their sequences, whatever fails in between: none before every earlier one has.
//! Leaves to services: what a message means, as a handler per topic. Leaves to deliver.rs: the rounds.
//!
//! ```text
//! OUTBOX    sequence u128be -> target u16 | topic u8 | payload            on the sending shard
//! DELIVERED source u16be | sequence u128be -> empty                       on the target, until the sender has removed it
//!
//! emit -> durable -> Deliver on target (handler + note, one batch) -> Remove on source -> Forget the note on target
//! ```

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::fault::Fault;
use crate::record::Reader;
use crate::tables::OUTBOX;
use crate::tx::Tx;
use crate::types::ShardId;

/// Which handler takes a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Topic(pub u8);

/// Takes messages of one topic on the target shard, inside an operation.
pub trait Receiver: Send + Sync + 'static {
    /// Applies a message, and changes residents with `tx.then` where that follows. It is called once in effect: its effects, the
    /// note that it was taken and these changes happen together or not at all.
    /// Errors: pass on those of `tx`; the message is delivered again later, and those behind it to this shard wait for that.
    /// So a payload that makes no sense is no error: it is reported, and taken.
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault>;
}

/// The receivers of a store, by topic; the same on every core.
#[derive(Clone, Default)]
pub struct Receivers {
    by_topic: HashMap<Topic, Arc<dyn Receiver>>,
}

impl Receivers {
    /// Adds the receiver of a topic.
    #[must_use]
    pub fn with(mut self, topic: Topic, receiver: Arc<dyn Receiver>) -> Receivers {
        self.by_topic.insert(topic, receiver);
        self
    }

    pub(crate) fn of(&self, topic: Topic) -> Option<&Arc<dyn Receiver>> {
        self.by_topic.get(&topic)
    }
}

impl Tx<'_> {
    /// Sends a message to a shard, in the same batch as everything else that this operation does.
    pub fn emit(&mut self, target: ShardId, topic: Topic, payload: &[u8]) {
        let sequence = self.next_sequence();
        let mut value = Vec::with_capacity(3 + payload.len());
        value.extend_from_slice(&target.0.to_le_bytes());
        value.push(topic.0);
        value.extend_from_slice(payload);
        self.put(OUTBOX, &sequence.to_be_bytes(), &value, Vec::new(), true);
    }
}

/// A message as it lies in the outbox.
pub(crate) struct Head<'a> {
    pub(crate) source: ShardId,
    pub(crate) sequence: u128,
    pub(crate) target: ShardId,
    pub(crate) topic: Topic,
    pub(crate) payload: &'a [u8],
}

impl<'a> Head<'a> {
    pub(crate) fn decode(source: ShardId, key: &[u8], value: &'a [u8]) -> Result<Head<'a>, Fault> {
        let sequence = key.try_into().map(u128::from_be_bytes);
        let sequence = sequence.map_err(|_| Fault::corrupt("an OUTBOX key is not a sequence".into()))?;
        let mut reader = Reader { rest: value };
        let target = ShardId(reader.u16()?);
        let topic = Topic(reader.u8()?);
        Ok(Head { source, sequence, target, topic, payload: reader.rest })
    }
}

/// A message on its way.
pub(crate) struct Message {
    pub(crate) source: ShardId,
    pub(crate) sequence: u128,
    pub(crate) target: ShardId,
    pub(crate) topic: Topic,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn of(head: Head<'_>) -> Message {
        let Head { source, sequence, target, topic, payload } = head;
        Message { source, sequence, target, topic, payload: payload.to_vec() }
    }

    pub(crate) fn note_key(&self) -> Vec<u8> {
        let mut key = self.source.0.to_be_bytes().to_vec();
        key.extend_from_slice(&self.sequence.to_be_bytes());
        key
    }
}

/// Tells a shard's delivery task that something is in the outbox.
#[derive(Clone)]
pub(crate) struct OutboxSignal {
    notify: Rc<Notify>,
}

impl OutboxSignal {
    /// Signalled from the start: the outbox may hold what the last run of the process did not deliver.
    pub(crate) fn new() -> OutboxSignal {
        let signal = OutboxSignal { notify: Rc::new(Notify::new()) };
        signal.notify();
        signal
    }

    pub(crate) fn notify(&self) {
        self.notify.notify_one();
    }

    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }
}
