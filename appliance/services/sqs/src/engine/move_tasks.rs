//! Move tasks: the visible messages of a dead-letter queue go back to where they came from, or to one destination.
//! Invariant: a message and its move are in one batch, with the count in the task's record; so a task that was interrupted
//! goes on and neither loses nor doubles a message. A task with an entry in ACTIVE is running or about to stop.
//! Leaves to ops: starting, showing and cancelling a task. To moving.rs: a message on its way.
//!
//! ```text
//! RUNNING -> COMPLETED   nothing visible is left of what was there when it began
//!         -> FAILED      a destination is gone, or a message does not say where it came from
//!         -> CANCELLING -> CANCELLED
//! ```

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;
use plan::{Context, Piece, Plan};
use store::{Direction, Fault, Operation, Outcome, ShardId, TableId, Tx, View};

use super::moving;
use super::on_queue;
use super::records::state;
use super::remove::{Removed, delete, removed};
use super::request::QueueRef;
use super::resident::Resident;
use super::run::{QueueOperation, run};
use super::tick::{Background, Then, Work, submit};
use crate::model::message::{BodyPlace, Message, MessageId};
use crate::model::queue::{QueueKey, Sequence};
use crate::store::state::State;
use crate::store::task::{Status, Task, TaskKey};
use crate::store::{ACTIVE, BODIES, MESSAGES, STATES, TASKS, body_key, message, message_key, sequence_in};

/// Messages that one slice moves.
const SLICE_COUNT: u32 = 100;
/// Bytes of bodies after which a slice ends.
const SLICE_BYTES_MAX: usize = 1 << 20;
/// Keys that one look looks at, those that are gone already included.
const LOOK_EXAMINED_MAX: u64 = 4_000;
/// Messages in a second where the task names no rate: as many as the largest rate that can be named.
const RATE_DEFAULT: u32 = 500;
/// A task whose turn comes late makes up for so much at most.
const LATE_MS_MAX: u64 = 1_000;

/// AWS's words for a destination that is gone.
const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue";
/// AWS's words for a message that was sent to the dead-letter queue by a client.
const NO_SOURCE: &str = "CouldNotDetermineMessageSource";

/// What is remembered of the tasks of a shard.
#[derive(Default)]
pub struct Marks {
    /// The task that had its turn last.
    last: Vec<u8>,
    /// By task.
    paces: HashMap<Vec<u8>, Pace>,
}

/// How far a task is, and when it may go on.
#[derive(Clone, Copy, Default)]
struct Pace {
    next_ms: u64,
    from: Sequence,
}

impl Pace {
    /// After a slice of `count` messages that began at `now_ms`.
    fn after(self, now_ms: u64, count: u64, rate: u32, from: Sequence) -> Pace {
        // A task that has just begun, or goes on after a start, has nothing to make up for.
        let due_ms = if self.next_ms == 0 { now_ms } else { self.next_ms };
        let begun_ms = due_ms.max(now_ms.saturating_sub(LATE_MS_MAX));
        Pace { next_ms: begun_ms + count * 1_000 / u64::from(rate.max(1)), from }
    }
}

/// The next slice of a task on a shard, if one is due. Tasks take turns.
pub fn look(background: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let view = cx.store.view(shard)?;
    let last = background.with(shard, |marks| marks.tasks.last.clone());
    let mut scan = view.scan(ACTIVE, Bound::Unbounded, Direction::Forward);
    let mut due: Vec<Vec<u8>> = Vec::new();
    let mut is_any = false;
    while let Some((key, _)) = scan.next()? {
        is_any = true;
        let pace = background.with(shard, |marks| marks.tasks.paces.get(key).copied().unwrap_or_default());
        if pace.next_ms <= cx.now.0 {
            due.push(key.to_vec());
        }
        if scan.examined() >= LOOK_EXAMINED_MAX {
            break;
        }
    }
    if !is_any {
        background.with(shard, |marks| marks.tasks = Marks::default());
    }
    let next = due.iter().find(|key| **key > last).or_else(|| due.first()).cloned();
    let Some(key) = next else { return Ok(None) };
    let pace = background.with(shard, |marks| {
        marks.tasks.last.clone_from(&key);
        marks.tasks.paces.get(&key).copied().unwrap_or_default()
    });
    slice(cx, &view, shard, key, pace).map(Some)
}

/// What a look makes of a task.
fn slice(cx: &Context<'_>, view: &View<'_>, shard: ShardId, key: Vec<u8>, pace: Pace) -> Result<Work, Fault> {
    let task_key = TaskKey::decode(&key)?;
    let task = view.get(TASKS, &key)?.map(|record| Task::decode(record.value)).transpose()?;
    let end = move |status: Status, failure: Option<&str>| {
        let failure = failure.map(Box::from);
        submit(shard, End { key: key.clone(), status, failure }, move |marks, ()| {
            marks.tasks.paces.remove(&key);
            true
        })
    };
    let Some(task) = task.filter(|task| task.status.is_active()) else {
        return Ok(end(Status::Failed, Some(NO_QUEUE)));
    };
    if task.status == Status::Cancelling {
        return Ok(end(Status::Cancelled, None));
    }
    let source = QueueRef { shard, key: task.source.clone() };
    if on_queue::find(cx, &source)?.is_none_or(|record| record.id != task_key.queue) {
        return Ok(end(Status::Failed, Some(NO_QUEUE)));
    }
    let gathered = gather(cx, view, &source, task_key, &task, pace.from)?;
    if let Some(failure) = gathered.failure.filter(|_| gathered.parts.is_empty()) {
        return Ok(end(Status::Failed, Some(failure)));
    }
    if gathered.parts.is_empty() && gathered.is_end {
        return Ok(end(Status::Completed, None));
    }
    Ok(move_slice(source, task_key, task, gathered, pace))
}

/// Moves what was gathered and remembers how far the task is.
fn move_slice(source: QueueRef, task_key: TaskKey, task: Task, gathered: Gathered, pace: Pace) -> Work {
    let shard = source.shard;
    Box::new(move |_, background, then: Then| {
        let Gathered { parts, pieces, until, .. } = gathered;
        Plan::load(pieces, 2 * SLICE_BYTES_MAX, move |cx, bodies| {
            let operation = match bodies {
                Ok(bodies) => MoveSlice::new(task_key, parts, bodies),
                Err(fault) => return then(cx, &background, Err(fault)),
            };
            run(source, operation, move |cx, outcome| {
                let now_ms = cx.now.0;
                let outcome = match outcome {
                    Ok(count) => Ok(background.with(shard, |marks| {
                        let pace = pace.after(now_ms, count, task.rate.unwrap_or(RATE_DEFAULT), until);
                        marks.tasks.paces.insert(task_key.encode().to_vec(), pace);
                        pace.next_ms <= now_ms
                    })),
                    Err(super::Refusal::Fault(fault)) => Err(fault),
                    // The source is gone: the next look ends the task.
                    Err(_) => Ok(true),
                };
                then(cx, &background, outcome)
            })
        })
    })
}

/// A message that is to move.
struct Part {
    sequence: Sequence,
    destination: QueueRef,
    /// Whether its body comes from the table of bodies.
    is_beside: bool,
}

/// What a look found to move.
struct Gathered {
    parts: Vec<Part>,
    /// The bodies of those parts whose body is beside, in their order.
    pieces: Vec<Piece>,
    /// Where the next look begins.
    until: Sequence,
    /// Nothing of the task's is behind that.
    is_end: bool,
    /// Why the message at `until` cannot move.
    failure: Option<&'static str>,
}

fn gather(
    cx: &Context<'_>,
    view: &View<'_>,
    source: &QueueRef,
    task_key: TaskKey,
    task: &Task,
    from: Sequence,
) -> Result<Gathered, Fault> {
    let count_max = task.rate.unwrap_or(RATE_DEFAULT).min(SLICE_COUNT) as usize;
    let mut found =
        Gathered { parts: Vec::new(), pieces: Vec::new(), until: from, is_end: false, failure: None };
    let mut destinations: HashMap<Box<str>, Option<QueueRef>> = HashMap::new();
    let mut bytes = 0;
    let start = message_key(task_key.queue, from);
    let mut scan = view.scan(MESSAGES, Bound::Included(&start), Direction::Forward);
    while found.parts.len() < count_max && bytes < SLICE_BYTES_MAX && scan.examined() < LOOK_EXAMINED_MAX {
        let step = scan.step()?;
        let sequence = step.as_ref().and_then(|(key, _)| sequence_in(task_key.queue, key));
        let Some(((key, record), sequence)) = step.zip(sequence.filter(|sequence| *sequence < task.end))
        else {
            found.is_end = true;
            break;
        };
        found.until = sequence.next();
        let Some(record) = record else { continue };
        let state = view.get(STATES, key)?.map(|record| State::decode(record.value)).transpose()?;
        if state.is_some_and(|state| !state.is_due(cx.now.0)) {
            continue;
        }
        let message = message::decode(&Bytes::copy_from_slice(record.value))?;
        let arn = task.destination_arn.as_ref().or(message.source_arn.as_ref());
        let destination = match arn {
            None => Err(NO_SOURCE),
            Some(arn) => destination(cx, &source.key, &mut destinations, arn)?.ok_or(NO_QUEUE),
        };
        let destination = match destination {
            Ok(destination) => destination,
            Err(failure) => {
                (found.failure, found.until) = (Some(failure), sequence);
                break;
            }
        };
        bytes += message.body.bytes() as usize;
        let is_beside = matches!(message.body, BodyPlace::Beside(_));
        if is_beside {
            found.pieces.push(piece(cx, view, source.shard, &body_key(task_key.queue, message.id))?);
        }
        found.parts.push(Part { sequence, destination, is_beside });
    }
    Ok(found)
}

/// The queue to which a message goes, if it is there and of the source's kind.
fn destination(
    cx: &Context<'_>,
    source: &QueueKey,
    known: &mut HashMap<Box<str>, Option<QueueRef>>,
    arn: &str,
) -> Result<Option<QueueRef>, Fault> {
    if let Some(found) = known.get(arn) {
        return Ok(found.clone());
    }
    let queue = QueueKey::of_arn(arn).filter(|key| key.is_fifo() == source.is_fifo());
    let queue = queue.map(|key| QueueRef::new(cx.store, key));
    let found = match queue {
        Some(queue) => on_queue::find(cx, &queue)?.map(|_| queue),
        None => None,
    };
    known.insert(arn.into(), found.clone());
    Ok(found)
}

/// The stored body of a message, pinned in the turn of the view.
fn piece(cx: &Context<'_>, view: &View<'_>, shard: ShardId, key: &[u8]) -> Result<Piece, Fault> {
    let record = view.get(BODIES, key)?;
    let body = record.and_then(|record| record.bodies.into_iter().next());
    let body = body.ok_or_else(|| Fault::corrupt("a message's body is not where it should be".into()))?;
    Ok(Piece { pin: cx.store.pin(shard, &body), start: 0, length: body.length(), body })
}

/// Ends a task.
struct End {
    key: Vec<u8>,
    status: Status,
    failure: Option<Box<str>>,
}

impl Operation for End {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TASKS, &self.key);
        declare(ACTIVE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.delete(ACTIVE, &self.key);
        let found = tx.get_ref(TASKS, &self.key, |record| record.map(|record| Task::decode(record.value)))?;
        if let Some(mut task) = found.transpose()?.filter(|task| task.status.is_active()) {
            // One that was cancelled meanwhile has nothing left to complete, and is cancelled all the same.
            task.status = if task.status == Status::Cancelling { Status::Cancelled } else { self.status };
            task.failure.clone_from(&self.failure);
            tx.put(TASKS, &self.key, &task.encode(), Vec::new(), false);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Moves some messages.
struct MoveSlice {
    task: TaskKey,
    /// With their bodies, where these lie in the table of bodies.
    parts: Vec<(Part, Option<Bytes>)>,
}

impl MoveSlice {
    fn new(task: TaskKey, parts: Vec<Part>, bodies: Vec<Bytes>) -> MoveSlice {
        let mut bodies = bodies.into_iter();
        let with_body = |part: Part| {
            let body = if part.is_beside { bodies.next() } else { None };
            (part, body)
        };
        MoveSlice { task, parts: parts.into_iter().map(with_body).collect() }
    }
}

/// Moves one message, if it is still there and visible.
fn move_one(
    tx: &mut Tx<'_>,
    from: &QueueKey,
    resident: &Resident,
    part: &Part,
    body: Option<&Bytes>,
) -> Result<Option<Removed>, Fault> {
    let record = &resident.record;
    let key = message_key(record.id, part.sequence);
    let now_ms = tx.now().0;
    if state(tx, record.id, part.sequence)?.is_some_and(|state| !state.is_due(now_ms)) {
        return Ok(None);
    }
    let found = tx.get_ref(MESSAGES, &key, |found| {
        found.map(|found| message::decode(&Bytes::copy_from_slice(found.value))).transpose()
    })??;
    let Some(found) = found else { return Ok(None) };
    let Some(gone) = delete(tx, record, part.sequence)? else { return Ok(None) };
    // AWS, dead-letter queue redrive: a message that is moved back is a new one, with a new id and a new time.
    let id = MessageId::random(tx.random(), tx.random());
    let message = Message { id, sent_ms: now_ms, kept_from_ms: now_ms, source_arn: None, ..found };
    moving::emit(tx, from, &part.destination, message, body);
    Ok(Some(gone))
}

impl QueueOperation for MoveSlice {
    /// Messages that it moved.
    type Reply = u64;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TASKS, &self.task.encode());
        for (part, _) in &self.parts {
            declare(MESSAGES, &message_key(self.task.queue, part.sequence));
        }
    }

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<u64>, Fault> {
        let task_key = self.task.encode();
        let task = tx.get_ref(TASKS, &task_key, |record| record.map(|record| Task::decode(record.value)))?;
        let running = task.transpose()?.filter(|task| task.status == Status::Running);
        let Some(mut task) = running.filter(|_| resident.record.id == self.task.queue) else {
            return Ok(Outcome::Rollback(0));
        };
        let mut gone: Vec<Removed> = Vec::new();
        for (part, body) in &self.parts {
            gone.extend(move_one(tx, key, resident, part, body.as_ref())?);
        }
        let count = gone.len() as u64;
        if count == 0 {
            return Ok(Outcome::Rollback(0));
        }
        task.moved += count;
        tx.put(TASKS, &task_key, &task.encode(), Vec::new(), false);
        removed(tx, key, self.task.queue, gone);
        Ok(Outcome::Commit(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_keeps_to_its_rate_and_makes_up_for_a_second_at_most() {
        let at = |pace: Pace| pace.next_ms;
        let mut pace = Pace::default();
        for slices in 1..=5 {
            pace = pace.after(10_000, 100, 500, Sequence(1));
            assert_eq!(at(pace), 10_000 + 200 * slices);
        }
        assert_eq!(at(pace.after(11_100, 1, 1, Sequence(1))), 12_000);
        assert_eq!(at(pace.after(50_000, 1, 1, Sequence(1))), 50_000);
    }
}
