//! ReceiveMessage: short and long polls, receive attempts.
//! Invariant: what a reply says (receive count, handle, due time) is in the batch for which the reply waits. A poll that waits has
//! done nothing.
//! Leaves to pick.rs: which messages. To resident.rs and the store: who is woken when.
//!
//! ```text
//! turn -> taken -> bodies that lie beside are brought in -> reply
//!     \-> nothing: waits for the queue until its deadline or the end of the process, then runs again
//!     \-> dead letters: their target is looked for, their bodies are brought in -> turn
//!     \-> only old messages were taken away, or fewer taken than are ready: turn
//! ```

use bytes::Bytes;
use plan::{Context, Piece, Plan};
use store::{Fault, Outcome, Timestamp, Tx};

use super::moving::{self, Moves};
use super::pick::{DeadLetter, Pick, Taken};
use super::records;
use super::refusal::Refusal;
use super::request::{QueueRef, ReceiveRequest, Received};
use super::resident::{Left, Queues, Remembered, Resident, State as Messages};
use super::run::{QueueOperation, run};
use super::send::forget;
use super::state::groups::GroupName;
use crate::model::handle::Handle;
use crate::model::limits::{
    BATCH_COUNT_MAX, DEDUPLICATION_MS, IN_FLIGHT_COUNT_MAX, MESSAGE_BYTES_MAX, TURN_COUNT_MAX,
};
use crate::model::message::BodyPlace;
use crate::model::queue::{QueueId, QueueKey, Sequence};
use crate::store::memory::{Attempt, attempt_hash};
use crate::store::message::{decode, front};
use crate::store::state::State;
use crate::store::{ATTEMPTS, BODIES, IdHash, body_key, id_key};

/// Receives messages. Refusals: `NoQueue`, `OverLimit`, `AttemptChanged`, `Fault`.
pub fn receive<F>(_cx: &mut Context<'_>, queue: QueueRef, request: ReceiveRequest, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Received>, Refusal>) -> Plan + 'static,
{
    let receive = Receive {
        count_max: usize::from(request.count_max).clamp(1, BATCH_COUNT_MAX),
        wait_seconds: request.wait_seconds,
        visibility_seconds: request.visibility_seconds,
        // Only FIFO queues remember attempts.
        attempt: request.attempt.filter(|_| queue.key.is_fifo()).map(|id| attempt_hash(&id)),
        deadline: None,
        moves: Moves::Unknown,
    };
    turn(queue, receive, None, TURN_COUNT_MAX, then)
}

/// Turns that look for more messages when some are taken already.
const MORE_TURNS_MAX: u32 = 64;

/// `taken`: by the turns before.
fn turn<F>(queue: QueueRef, receive: Receive, taken: Option<Batch>, turns_left: u32, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Received>, Refusal>) -> Plan + 'static,
{
    if turns_left == 0 {
        return Plan::Pause(Box::new(move |cx, ()| end(cx, &queue, taken, Fault::Busy.into(), then)));
    }
    run(queue.clone(), receive, move |cx, outcome| match outcome {
        Ok(Reply::Taken(batch)) => deliver(cx, &queue, Batch::joined(taken, batch), then),
        Ok(Reply::Part { receive, batch }) => {
            let turns_left = MORE_TURNS_MAX.min(turns_left - 1);
            turn(queue, *receive, Some(Batch::joined(taken, batch)), turns_left, then)
        }
        Ok(Reply::Again(receive)) => turn(queue, *receive, taken, turns_left - 1, then),
        Ok(Reply::DeadLetters { receive, id, target_arn, dead }) => {
            let from = queue.clone();
            moving::prepare(cx, &from, id, &target_arn, dead, move |cx, moves| match moves {
                Ok(moves) => turn(queue, Receive { moves, ..*receive }, taken, turns_left - 1, then),
                Err(fault) => end(cx, &queue, taken, fault.into(), then),
            })
        }
        Ok(Reply::Refused(refusal)) | Err(refusal) => end(cx, &queue, taken, refusal, then),
    })
}

/// No further turn. What is taken is invisible to others, so it is told whatever became of the search for more.
fn end<F>(cx: &mut Context<'_>, queue: &QueueRef, taken: Option<Batch>, refusal: Refusal, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Received>, Refusal>) -> Plan + 'static,
{
    match taken {
        Some(batch) => deliver(cx, queue, batch, then),
        None => then(cx, Err(refusal)),
    }
}

#[derive(Clone)]
struct Receive {
    count_max: usize,
    wait_seconds: Option<u8>,
    visibility_seconds: Option<u32>,
    attempt: Option<IdHash>,
    /// Set when it runs first.
    deadline: Option<Timestamp>,
    moves: Moves,
}

/// Received messages and what signs their handles.
struct Batch {
    id: QueueId,
    handle_key: [u8; 16],
    taken: Vec<Taken>,
}

impl Batch {
    /// What several turns took. A queue that was made anew in between has nothing of the former one. A message that became
    /// visible again in between and was taken once more is told once, as it was taken last: its former handle is void.
    fn joined(former: Option<Batch>, batch: Batch) -> Batch {
        match former.filter(|former| former.id == batch.id) {
            Some(mut former) => {
                former.taken.retain(|taken| batch.taken.iter().all(|again| again.sequence != taken.sequence));
                former.taken.extend(batch.taken);
                former
            }
            None => batch,
        }
    }
}

enum Reply {
    Taken(Batch),
    /// These are taken, and there is more that this is to look for.
    Part {
        receive: Box<Receive>,
        batch: Batch,
    },
    /// Old messages were taken away; this is what is still to be done.
    Again(Box<Receive>),
    /// Nothing was done: these must be prepared for their move first.
    DeadLetters {
        receive: Box<Receive>,
        id: QueueId,
        target_arn: Box<str>,
        dead: Vec<DeadLetter>,
    },
    Refused(Refusal),
}

impl QueueOperation for Receive {
    type Reply = Reply;

    fn may_wait(&self) -> bool {
        self.wait_seconds != Some(0)
    }

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<Reply>, Fault> {
        let now = tx.now();
        let record = &resident.record;
        let visibility_seconds = self.visibility_seconds.unwrap_or(record.attributes.visibility_seconds);
        let due_ms = now.0 + u64::from(visibility_seconds) * 1_000;
        if let Some(attempt) = self.known_attempt(tx, resident)? {
            return replay(tx, key, resident, &attempt, due_ms);
        }
        let messages = resident.at(now);
        let mut pick = Pick::new(key, record, &self.moves, now.0, due_ms, self.count_max);
        match &*messages {
            Messages::Standard(queue) => {
                if queue.in_flight_count() >= IN_FLIGHT_COUNT_MAX {
                    return Ok(Outcome::Rollback(Reply::Refused(Refusal::OverLimit)));
                }
                pick.standard(tx, queue)?;
            }
            Messages::Fifo(queue) => pick.fifo(tx, queue)?,
        }
        let first_due = messages.first_due();
        drop(messages);
        self.end(tx, key, resident, pick_end(pick), due_ms, first_due)
    }
}

/// What a pick leaves, free of what it borrowed.
struct Picked {
    taken: Vec<Taken>,
    left: Vec<Left>,
    consumed: Vec<(u64, u64)>,
    dead: Vec<DeadLetter>,
    is_empty: bool,
    is_cut: bool,
}

fn pick_end(pick: Pick<'_>) -> Picked {
    let is_empty = pick.is_empty();
    let Pick { taken, left, consumed, dead, is_cut, .. } = pick;
    Picked { taken, left, consumed, dead, is_empty, is_cut }
}

impl Receive {
    /// What an earlier receive with this attempt id took.
    fn known_attempt(&self, tx: &mut Tx<'_>, resident: &Resident) -> Result<Option<Attempt>, Fault> {
        let Some(hash) = &self.attempt else { return Ok(None) };
        let now_ms = tx.now().0;
        let known = tx.get_ref(ATTEMPTS, &id_key(resident.record.id, hash), |record| {
            record.map(|record| Attempt::decode(record.value)).transpose()
        })??;
        // A purge takes what is remembered with the messages, whether or not its record has been swept.
        let purged_below = resident.record.purged_below;
        let is_purged =
            |attempt: &Attempt| attempt.taken.iter().any(|(sequence, _)| *sequence < purged_below);
        Ok(known.filter(|attempt| attempt.expiry_ms > now_ms && !is_purged(attempt)))
    }

    fn end(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
        picked: Picked,
        due_ms: u64,
        first_due: Option<Timestamp>,
    ) -> Result<Outcome<Reply>, Fault> {
        let record = &resident.record;
        if let Some(redrive) = record.attributes.redrive.as_ref().filter(|_| !picked.dead.is_empty()) {
            let (receive, id) = (Box::new(self.clone()), record.id);
            let (target_arn, dead) = (redrive.target_arn.clone(), picked.dead);
            return Ok(Outcome::Rollback(Reply::DeadLetters { receive, id, target_arn, dead }));
        }
        let Picked { taken, left, consumed, is_empty, is_cut, .. } = picked;
        if is_empty {
            return Ok(self.wait(tx, resident, first_due));
        }
        // Whoever waits behind this receive is to hear of the next message that comes back by itself.
        let due = (!taken.is_empty()).then_some(Timestamp(due_ms));
        if let Some(at) = first_due.into_iter().chain(due).min() {
            tx.wake_at(resident.wait_key(), at);
        }
        let mut remembered = None;
        let mut forgotten = 0;
        if let Some(hash) = self.attempt.filter(|_| !taken.is_empty()) {
            forgotten = forget(tx, resident)?;
            remembered = Some(remember(tx, record.id, hash, &taken));
        }
        let (key, id) = (key.clone(), record.id);
        tx.then::<Queues>(move |queues, wakes| {
            let Some(resident) = queues.find_mut(&key, id) else { return };
            resident.forgotten(forgotten);
            resident.remember(remembered);
            resident.left(&left, &consumed, wakes);
        });
        if taken.is_empty() {
            let again = Receive { moves: Moves::Unknown, ..self.clone() };
            return Ok(Outcome::Commit(Reply::Again(Box::new(again))));
        }
        let count_left = self.count_max.saturating_sub(taken.len());
        let batch = Batch { id, handle_key: record.handle_key, taken };
        // What stays visible would be taken again by the next turn of the same receive.
        if is_cut && count_left > 0 && due_ms > tx.now().0 {
            let more = Receive {
                count_max: count_left,
                wait_seconds: Some(0),
                moves: Moves::Unknown,
                ..self.clone()
            };
            return Ok(Outcome::Commit(Reply::Part { receive: Box::new(more), batch }));
        }
        Ok(Outcome::Commit(Reply::Taken(batch)))
    }

    /// Nothing is there: waits until something is, or answers that.
    fn wait(&mut self, tx: &mut Tx<'_>, resident: &Resident, first_due: Option<Timestamp>) -> Outcome<Reply> {
        let record = &resident.record;
        let wait_seconds = self.wait_seconds.unwrap_or(record.attributes.wait_seconds);
        let now = tx.now();
        let until = *self.deadline.get_or_insert_with(|| now.plus_ms(u64::from(wait_seconds) * 1_000));
        // Nobody is to wait in a process that ends: the client asks again, and finds another one or this one started anew.
        if now < until && !tx.waits_end() {
            // Also when this poll has given up by then: others may wait longer, and the queue has one such time for all.
            if let Some(at) = first_due {
                tx.wake_at(resident.wait_key(), at);
            }
            return Outcome::Wait { key: resident.wait_key(), until };
        }
        let batch = Batch { id: record.id, handle_key: record.handle_key, taken: Vec::new() };
        Outcome::Rollback(Reply::Taken(batch))
    }
}

/// Remembers what an attempt took.
fn remember(tx: &mut Tx<'_>, queue: QueueId, hash: IdHash, taken: &[Taken]) -> Remembered {
    let expiry_ms = tx.now().0 + DEDUPLICATION_MS;
    let taken = taken.iter().map(|taken| (taken.sequence, taken.state.number)).collect();
    let attempt = Attempt { expiry_ms, taken };
    tx.put(ATTEMPTS, &id_key(queue, &hash), &attempt.encode(), Vec::new(), false);
    Remembered { expiry_ms, table: ATTEMPTS.0, hash }
}

/// Gives the messages of an earlier attempt again, with the same handles, and restarts their visibility.
fn replay(
    tx: &mut Tx<'_>,
    key: &QueueKey,
    resident: &Resident,
    attempt: &Attempt,
    due_ms: u64,
) -> Result<Outcome<Reply>, Fault> {
    let record = &resident.record;
    let now_ms = tx.now().0;
    let mut taken = Vec::with_capacity(attempt.taken.len());
    // By sequence: what it was due at; and the group, where the message is visible again.
    let mut changes: Vec<(Sequence, u64, Option<GroupName>)> = Vec::with_capacity(attempt.taken.len());
    for (sequence, number) in &attempt.taken {
        let former = records::state(tx, record.id, *sequence)?;
        let former = former.filter(|former| former.number == *number && !former.was_changed);
        let stored = records::message(tx, record.id, *sequence)?;
        let (Some(former), Some(stored)) = (former, stored) else {
            return Ok(Outcome::Rollback(Reply::Refused(Refusal::AttemptChanged)));
        };
        let state = State { due_ms, last_receive_ms: now_ms, ..former };
        records::put_state(tx, record.id, *sequence, &state, false);
        let group = front(&stored)?.group.map(|name| GroupName::new(&record.handle_key, name));
        changes.push((*sequence, former.due_ms, group.filter(|_| former.is_due(now_ms))));
        taken.push(Taken { sequence: *sequence, state, record: stored });
    }
    // What has come due is ready from here on, for the change below.
    drop(resident.at(tx.now()));
    tx.wake_at(resident.wait_key(), Timestamp(due_ms));
    let (key, id) = (key.clone(), record.id);
    tx.then::<Queues>(move |queues, _| {
        let Some(resident) = queues.find_mut(&key, id) else { return };
        let Messages::Fifo(queue) = resident.state_mut() else { return };
        for (sequence, former_due_ms, group) in &changes {
            queue.restart(sequence.0, *former_due_ms, *group, due_ms);
        }
    });
    Ok(Outcome::Commit(Reply::Taken(Batch { id, handle_key: record.handle_key, taken })))
}

/// Decodes what was taken and brings bodies in that lie beside. A message that was deleted meanwhile is left out.
fn deliver<F>(cx: &mut Context<'_>, queue: &QueueRef, batch: Batch, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Vec<Received>, Refusal>) -> Plan + 'static,
{
    let Batch { id, handle_key, taken } = batch;
    let mut received = Vec::with_capacity(taken.len());
    for Taken { sequence, state, record } in taken {
        let message = match decode(&Bytes::from(record)) {
            Ok(message) => message,
            Err(fault) => return then(cx, Err(fault.into())),
        };
        let body = match &message.body {
            BodyPlace::Inline(body) => body.clone(),
            BodyPlace::Beside(_) => Bytes::new(),
        };
        let handle = Handle { queue: id, sequence, number: state.number }.seal(&handle_key);
        received.push(Received {
            message,
            body,
            sequence,
            receive_count: state.receive_count,
            first_receive_ms: state.first_receive_ms,
            handle,
        });
    }
    if received.iter().all(|received| matches!(received.message.body, BodyPlace::Inline(_))) {
        return then(cx, Ok(received));
    }
    let pieces = match pieces(cx, queue, id, &mut received) {
        Ok(pieces) => pieces,
        Err(fault) => return then(cx, Err(fault.into())),
    };
    Plan::load(pieces, BATCH_COUNT_MAX * MESSAGE_BYTES_MAX as usize, move |cx, loaded| match loaded {
        Ok(loaded) => {
            let beside =
                received.iter_mut().filter(|received| matches!(received.message.body, BodyPlace::Beside(_)));
            for (received, body) in beside.zip(loaded) {
                received.body = body;
            }
            then(cx, Ok(received))
        }
        Err(fault) => then(cx, Err(fault.into())),
    })
}

/// The bodies that lie beside, pinned in the turn of the view that showed them.
fn pieces(
    cx: &Context<'_>,
    queue: &QueueRef,
    id: QueueId,
    received: &mut Vec<Received>,
) -> Result<Vec<Piece>, Fault> {
    let view = cx.store.view(queue.shard)?;
    let mut pieces = Vec::new();
    let mut fault = None;
    received.retain(|received| {
        if matches!(received.message.body, BodyPlace::Inline(_)) {
            return true;
        }
        match view.get(BODIES, &body_key(id, received.message.id)) {
            Ok(Some(record)) => match record.bodies.into_iter().next() {
                Some(body) => {
                    let (pin, length) = (cx.store.pin(queue.shard, &body), body.length());
                    pieces.push(Piece { pin, body, start: 0, length });
                    true
                }
                None => {
                    fault = Some(Fault::corrupt("sqs: a message's body record has no body".into()));
                    false
                }
            },
            Ok(None) => false,
            Err(error) => {
                fault = Some(error);
                false
            }
        }
    });
    fault.map_or(Ok(pieces), Err)
}
