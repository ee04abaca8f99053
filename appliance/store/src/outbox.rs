//! The outbox: messages to other shards that are written in the same batch as the effect that causes them, and delivered
//! afterwards at least once, taken exactly once.
//! Invariant: an effect and its message are never apart; a message leaves the outbox only after its delivery is durable on
//! the target; the target's note of having taken it outlives every redelivery.
//! Leaves to services: what a message means, as a handler per topic.
//!
//! ```text
//! OUTBOX    sequence u128be -> target u16 | topic u8 | payload            on the sending shard
//! DELIVERED source u16be | sequence u128be -> empty                       on the target, until the sender has removed it
//!
//! emit -> durable -> Deliver on target (handler + note, one batch) -> Remove on source -> Forget the note on target
//! ```

use std::collections::HashMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::fault::Fault;
use crate::record::Reader;
use crate::store::{Store, WeakStore};
use crate::tables::{DELIVERED, OUTBOX};
use crate::tx::{Operation, Outcome, Tx};
use crate::types::{ShardId, TableId};
use crate::view::Direction;

/// Which handler takes a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Topic(pub u8);

/// Takes messages of one topic on the target shard, inside an operation.
pub trait Receiver: Send + Sync + 'static {
    /// Applies a message. It is called once in effect: its effects and the note that it was taken are one batch.
    /// Errors: pass on those of `tx`; the message is delivered again later.
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
}

/// Messages handled in one look at the outbox.
const ROUND_COUNT_MAX: usize = 64;
/// Pause after a delivery failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

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

#[derive(Clone)]
pub(crate) struct Message {
    source: ShardId,
    sequence: u128,
    pub(crate) target: ShardId,
    pub(crate) topic: Topic,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn decode(source: ShardId, key: &[u8], value: &[u8]) -> Result<Message, Fault> {
        let sequence = key.try_into().map(u128::from_be_bytes);
        let sequence = sequence.map_err(|_| Fault::corrupt("an OUTBOX key is not a sequence".into()))?;
        let mut reader = Reader { rest: value };
        let target = ShardId(reader.u16()?);
        let topic = Topic(reader.u8()?);
        Ok(Message { source, sequence, target, topic, payload: reader.rest.to_vec() })
    }

    pub(crate) fn note_key(&self) -> Vec<u8> {
        let mut key = self.source.0.to_be_bytes().to_vec();
        key.extend_from_slice(&self.sequence.to_be_bytes());
        key
    }
}

struct Deliver {
    message: Message,
    receiver: Arc<dyn Receiver>,
}

impl Operation for Deliver {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(DELIVERED, &self.message.note_key());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let note = self.message.note_key();
        if tx.get(DELIVERED, &note)?.is_some() {
            return Ok(Outcome::Rollback(()));
        }
        self.receiver.receive(tx, &self.message.payload)?;
        tx.put(DELIVERED, &note, &[], Vec::new(), true);
        Ok(Outcome::Commit(()))
    }
}

/// Deletes one of the outbox's own records.
struct Strike {
    table: TableId,
    key: Vec<u8>,
}

impl Operation for Strike {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(self.table, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.delete(self.table, &self.key);
        Ok(Outcome::Commit(()))
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
}

/// Delivers what one shard has in its outbox, in order, for as long as the store is open.
pub(crate) async fn deliver(store: WeakStore, shard: ShardId, receivers: Receivers, signal: OutboxSignal) {
    loop {
        signal.notify.notified().await;
        loop {
            // Held for one round only, so that this task does not keep the store open.
            let Some(store) = store.upgrade() else { return };
            match round(&store, shard, &receivers).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(Fault::Closed) => return,
                // A shard that stopped delivers after the next start.
                Err(Fault::ReadOnly(_) | Fault::Unknown(_)) => break,
                Err(fault) => {
                    crate::report(&format!("{shard}: outbox: {fault}"));
                    drop(store);
                    ring::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }
}

/// Delivers a bounded number of messages; gives how many.
async fn round(store: &Store, shard: ShardId, receivers: &Receivers) -> Result<usize, Fault> {
    let messages = waiting(store, shard)?;
    let count = messages.len();
    for message in messages {
        deliver_one(store, message, receivers).await?;
    }
    Ok(count)
}

fn waiting(store: &Store, shard: ShardId) -> Result<Vec<Message>, Fault> {
    let view = store.view(shard)?;
    let mut scan = view.scan(OUTBOX, Bound::Unbounded, Direction::Forward);
    let mut round = Vec::new();
    while round.len() < ROUND_COUNT_MAX {
        let Some((key, record)) = scan.next()? else { break };
        round.push(Message::decode(shard, key, record.value)?);
    }
    Ok(round)
}

async fn deliver_one(store: &Store, message: Message, receivers: &Receivers) -> Result<(), Fault> {
    let Some(receiver) = receivers.by_topic.get(&message.topic) else {
        return Err(Fault::corrupt(format!("no receiver for topic {}", message.topic.0)));
    };
    let Message { source, sequence, target, .. } = message;
    let note = message.note_key();
    store.submit(target, Deliver { message, receiver: Arc::clone(receiver) }).await?;
    store.submit(source, Strike { table: OUTBOX, key: sequence.to_be_bytes().to_vec() }).await?;
    // Only now can no redelivery come any more.
    store.submit(target, Strike { table: DELIVERED, key: note }).await
}
