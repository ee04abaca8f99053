//! Messages on their way from one queue to another: dead letters, and what move tasks carry.
//! Invariant: a message is taken from its queue in the batch that holds its outbox entry, and is put into the other by the delivery,
//! which takes effect once: it is never lost and never there twice. A target that is gone sends it back.
//! Leaves to pick.rs: which messages are dead letters. To the store: the outbox.
//!
//! ```text
//! payload: version 1 u8 | comes back u8 | target key bytes | origin key bytes | origin shard number | record: the rest
//! ```
//! The record is as in store/message.rs, its body in it.

use bytes::Bytes;
use plan::delivery::QUEUE_MOVE;
use plan::{Context, Piece, Plan};
use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Receiver, ShardId, Tx};

use super::pick::DeadLetter;
use super::request::QueueRef;
use super::resident::{Pushed, Queues};
use super::retention::came_early;
use super::send::next_sequence;
use super::state::groups::GroupName;
use crate::model::limits::MESSAGE_BYTES_MAX;
use crate::model::message::{BodyPlace, Message};
use crate::model::queue::{QueueId, QueueKey, QueueRecord, Sequence};
use crate::store::message::{decode, encode, front, stamp};
use crate::store::{BODIES, MESSAGES, QUEUES, body_key, message_key, queue};

/// What a receive may do with dead letters.
#[derive(Clone)]
pub enum Moves {
    /// Nobody has looked for the target yet.
    Unknown,
    /// There is no target that takes them: they are received like others.
    Refused,
    /// They move there.
    Allowed {
        /// The dead-letter queue.
        target: QueueRef,
        /// The bodies of those whose body lies beside them.
        bodies: Vec<(Sequence, Bytes)>,
    },
}

impl Moves {
    /// The body that was brought in for a message.
    pub fn body_of(&self, sequence: Sequence) -> Option<&Bytes> {
        match self {
            Moves::Allowed { bodies, .. } => {
                bodies.iter().find(|(other, _)| *other == sequence).map(|(_, body)| body)
            }
            Moves::Unknown | Moves::Refused => None,
        }
    }
}

/// Looks for the target of a queue's dead letters and brings in bodies that lie beside their messages, as many as are one message's
/// bytes at most, at least one.
pub fn prepare<F>(
    cx: &mut Context<'_>,
    from: &QueueRef,
    id: QueueId,
    target_arn: &str,
    dead: Vec<DeadLetter>,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Moves, Fault>) -> Plan + 'static,
{
    let target = match find_target(cx, from, target_arn) {
        Ok(Some(target)) => target,
        Ok(None) => return then(cx, Ok(Moves::Refused)),
        Err(fault) => return then(cx, Err(fault)),
    };
    let (sequences, pieces) = match pieces(cx, from.shard, id, dead) {
        Ok(pieces) => pieces,
        Err(fault) => return then(cx, Err(fault)),
    };
    if pieces.is_empty() {
        return then(cx, Ok(Moves::Allowed { target, bodies: Vec::new() }));
    }
    Plan::load(pieces, 2 * MESSAGE_BYTES_MAX as usize, move |cx, loaded| {
        let moves = loaded
            .map(|loaded| Moves::Allowed { target, bodies: sequences.into_iter().zip(loaded).collect() });
        then(cx, moves)
    })
}

fn find_target(cx: &Context<'_>, from: &QueueRef, target_arn: &str) -> Result<Option<QueueRef>, Fault> {
    let same_kind = |key: &QueueKey| key.is_fifo() == from.key.is_fifo() && *key != from.key;
    let Some(key) = QueueKey::of_arn(target_arn).filter(same_kind) else { return Ok(None) };
    let target = QueueRef::new(cx.store, key);
    let exists = cx.store.view(target.shard)?.get(QUEUES, target.key.as_bytes())?.is_some();
    Ok(exists.then_some(target))
}

fn pieces(
    cx: &Context<'_>,
    shard: ShardId,
    queue: QueueId,
    dead: Vec<DeadLetter>,
) -> Result<(Vec<Sequence>, Vec<Piece>), Fault> {
    let view = cx.store.view(shard)?;
    let (mut sequences, mut pieces) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for DeadLetter { sequence, beside } in dead {
        let Some(message) = beside else { continue };
        let record = view.get(BODIES, &body_key(queue, message))?;
        // One that is gone was taken away by another receive meanwhile.
        let Some(body) = record.and_then(|record| record.bodies.into_iter().next()) else { continue };
        let length = body.length();
        bytes += length;
        if bytes > u64::from(MESSAGE_BYTES_MAX) && !pieces.is_empty() {
            break;
        }
        sequences.push(sequence);
        pieces.push(Piece { pin: cx.store.pin(shard, &body), body, start: 0, length });
    }
    Ok((sequences, pieces))
}

/// Sends a dead letter to its target, inside the receive that takes it away.
pub fn emit_dead_letter(
    tx: &mut Tx<'_>,
    from: &QueueKey,
    queue: &QueueRecord,
    target: &QueueRef,
    record: &[u8],
    body: Option<&Bytes>,
) -> Result<(), Fault> {
    let target_arn = queue.attributes.redrive.as_ref().map(|redrive| &*redrive.target_arn);
    let region = target_arn.and_then(aws::arn::Arn::parse).map_or("", |arn| arn.region);
    let mut message = decode(&Bytes::copy_from_slice(record))?;
    message.source_arn = Some(from.arn(region).into());
    emit(tx, from, target, message, body);
    Ok(())
}

/// Sends a message to another queue. The caller takes it from this one in the same operation. `body`: where it lies beside.
pub fn emit(tx: &mut Tx<'_>, from: &QueueKey, target: &QueueRef, message: Message, body: Option<&Bytes>) {
    let body = match (body, message.body) {
        (Some(body), _) => BodyPlace::Inline(body.clone()),
        (None, place) => place,
    };
    let record = encode(&Message { body, ..message });
    let moved = Moved {
        target: target.key.clone(),
        origin: from.clone(),
        origin_shard: tx.shard(),
        comes_back: false,
        record,
    };
    tx.emit(target.shard, QUEUE_MOVE, &moved.encode());
}

const VERSION: u8 = 1;

/// A message between two queues.
struct Moved {
    target: QueueKey,
    origin: QueueKey,
    origin_shard: ShardId,
    comes_back: bool,
    record: Vec<u8>,
}

impl Moved {
    fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.byte(self.comes_back.into());
        out.bytes(self.target.as_bytes());
        out.bytes(self.origin.as_bytes());
        out.number(self.origin_shard.0.into());
        out.raw(&self.record);
        out.into_bytes()
    }

    fn decode(payload: &[u8]) -> Result<Moved, Fault> {
        let mut reader = FieldReader::new(payload, VERSION, "sqs moved message")?;
        let comes_back = reader.byte()? != 0;
        let mut key = || {
            let bytes = reader.bytes()?;
            QueueKey::parse(bytes).ok_or_else(|| reader.damaged("names no queue"))
        };
        let (target, origin) = (key()?, key()?);
        let shard = reader.number()?;
        let origin_shard = u16::try_from(shard).map_err(|_| reader.damaged("names no shard"))?;
        let record = payload[payload.len() - reader.remaining()..].to_vec();
        Ok(Moved { target, origin, origin_shard: ShardId(origin_shard), comes_back, record })
    }
}

/// Takes messages that come from another queue. For `StoreConfig::receivers`, under `QUEUE_MOVE`.
pub struct MoveReceiver;

impl Receiver for MoveReceiver {
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let mut moved = Moved::decode(payload)?;
        let Some(queue) = queue_of(tx, &moved.target)? else {
            if !moved.comes_back {
                // Its target is gone: it stays where it was, or goes with that queue if that is gone too.
                let back = Moved { comes_back: true, target: moved.origin.clone(), ..moved };
                tx.emit(back.origin_shard, QUEUE_MOVE, &back.encode());
            }
            return Ok(());
        };
        if queue.attributes.fifo.is_some() {
            // Retention begins anew on FIFO queues only.
            stamp(&mut moved.record, None, tx.now().0);
        }
        insert(tx, &moved.target, &queue, &moved.record)
    }
}

/// A queue of this shard, whether or not it is loaded.
pub fn queue_of(tx: &mut Tx<'_>, key: &QueueKey) -> Result<Option<QueueRecord>, Fault> {
    if let Some(resident) = tx.resident::<Queues>().and_then(|queues| queues.find(key)) {
        return Ok(Some((*resident.record).clone()));
    }
    tx.get_ref(QUEUES, key.as_bytes(), |record| record.map(|record| queue::decode(record.value)).transpose())?
}

/// Puts a whole record into a queue of this shard as its newest message, ready at once. It need not be loaded.
pub fn insert(tx: &mut Tx<'_>, key: &QueueKey, queue: &QueueRecord, record: &[u8]) -> Result<(), Fault> {
    let sequence = next_sequence(tx)?;
    let front = front(record)?;
    let group = front.group.map(|name| GroupName::new(&queue.handle_key, name));
    if front.kept_from_ms < tx.now().0 {
        came_early(tx, queue, front.kept_from_ms, sequence);
    }
    tx.put(MESSAGES, &message_key(queue.id, sequence), record, Vec::new(), true);
    let pushed = Pushed { sequence, group, due_ms: None, in_flight: false };
    let (key, id) = (key.clone(), queue.id);
    tx.then::<Queues>(move |queues, wakes| {
        // A queue that nobody has asked for yet finds the record when it is loaded.
        if let Some(resident) = queues.find_mut(&key, id) {
            resident.pushed(&[pushed], wakes);
        }
    });
    Ok(())
}
