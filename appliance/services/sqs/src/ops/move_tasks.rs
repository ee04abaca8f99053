//! StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask: moving dead letters back, in the background.

use std::ops::{Bound, ControlFlow};

use aws::arn::Arn;
use aws::encoding::{base64, unbase64};
use plan::{Context, Plan};
use serde_json::{Value, json};
use store::{Direction, Fault, Outcome, TableId, Tx};

use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine::resident::Resident;
use crate::engine::run::{QueueOperation, run};
use crate::engine::{QueueRef, on_queue};
use crate::model::queue::{QueueId, QueueKey, QueueRecord, Sequence};
use crate::store::task::{Status, Task, TaskKey};
use crate::store::{ACTIVE, SOURCES, TASKS, source_front};
use crate::wire::error::{Code, Error};
use crate::wire::input::Input;
use crate::wire::reply::Out;
use crate::wire::request::queue::{CancelMessageMoveTask, ListMessageMoveTasks, StartMessageMoveTask};

/// MaxNumberOfMessagesPerSecond.
const RATE: std::ops::RangeInclusive<i32> = 1..=500;
/// Tasks that are kept and shown of one queue.
const TASKS_KEPT: usize = 10;
/// Bytes of a task handle.
const HANDLE_BYTES_MAX: usize = 512;

/// The queue of an ARN, if it is there and the caller may do this with it. Errors: ResourceNotFoundException,
/// InvalidParameterValue for what is no ARN, AccessDenied.
fn queue_of(
    call: &Shared,
    cx: &Context<'_>,
    parameter: &str,
    arn: &str,
) -> Result<(QueueRef, QueueRecord), Error> {
    let malformed = || {
        Error::invalid(format!(
            "You must use this format to specify the {parameter}: \
             arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        ))
    };
    let parsed = Arn::parse(arn).ok_or_else(malformed)?;
    let key = QueueKey::of_arn(arn).ok_or_else(malformed)?;
    let absent = || {
        let text = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
        Error::new(Code::ResourceNotFound, text)
    };
    if parsed.region != call.config.region {
        return Err(absent());
    }
    let queue = QueueRef::new(cx.store, key);
    let record = on_queue::find(cx, &queue)?.ok_or_else(absent)?;
    let owner = aws::account::AccountId::parse(queue.key.account()).ok_or_else(absent)?;
    call.allow_by(&queue.key, owner, record.attributes.policy.as_deref())?;
    Ok((queue, record))
}

/// Whether a queue is the dead-letter queue of any.
fn is_dead_letter_queue(cx: &Context<'_>, queue: &QueueKey) -> Result<bool, Fault> {
    let front = source_front(queue);
    let views = cx.store.view_all()?;
    let mut scan = views.scan(SOURCES, Bound::Included(&front), Direction::Forward);
    Ok(scan.next()?.is_some_and(|(_, key, _)| key.starts_with(&front)))
}

/// Begins StartMessageMoveTask.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = StartMessageMoveTask::decode(input)?;
    let source_arn = request.source_arn.as_deref().ok_or_else(|| Error::missing("SourceArn"))?;
    if let Some(rate) = request.rate.filter(|rate| !RATE.contains(rate)) {
        let reason = "Must be between 1 and 500, if provided.";
        return Err(Error::invalid_value("MaxNumberOfMessagesPerSecond", rate, reason));
    }
    let (queue, record) = queue_of(&call, cx, "SourceArn", source_arn)?;
    if !is_dead_letter_queue(cx, &queue.key)? {
        return Err(Error::invalid("Source queue must be configured as a Dead Letter Queue."));
    }
    if let Some(arn) = request.destination_arn.as_deref() {
        let (destination, _) = queue_of(&call, cx, "DestinationArn", arn)?;
        if destination.key.is_fifo() != queue.key.is_fifo() {
            return Err(Error::invalid("Source and destination queues must be of the same type."));
        }
    }
    let number = u128::from((cx.random)()) << 64 | u128::from((cx.random)());
    let operation = Start {
        id: record.id,
        number,
        destination_arn: request.destination_arn.as_deref().map(Box::from),
        rate: request.rate.and_then(|rate| u32::try_from(rate).ok()),
    };
    let source_arn = source_arn.to_owned();
    Ok(run(queue, operation, move |_, outcome| {
        let outcome =
            outcome.map_err(|refusal| error_of(refusal, Said::default())).and_then(|started| started);
        settle(
            &call,
            outcome.map(|key| call.result(0, |out| out.text("TaskHandle", &handle(&key, &source_arn)))),
        )
    }))
}

/// Writes down a task, if none is active.
struct Start {
    id: QueueId,
    number: u128,
    destination_arn: Option<Box<str>>,
    rate: Option<u32>,
}

impl QueueOperation for Start {
    type Reply = Result<TaskKey, Error>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TASKS, &self.id.0.to_be_bytes());
    }

    fn execute(
        &mut self,
        tx: &mut Tx<'_>,
        key: &QueueKey,
        resident: &Resident,
    ) -> Result<Outcome<Self::Reply>, Fault> {
        let tasks = tasks_of(tx, resident.record.id)?;
        if tasks.iter().any(|(_, task)| task.status.is_active()) {
            return Ok(Outcome::Rollback(Err(Error::invalid(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ))));
        }
        // The newest stand last.
        let surplus = (tasks.len() + 1).saturating_sub(TASKS_KEPT);
        for (old, _) in tasks.iter().take(surplus) {
            tx.delete(TASKS, &old.encode());
        }
        // A clock that stood still or went back must not place it before another.
        let started_ms = tasks.last().map_or(0, |(last, _)| last.started_ms + 1).max(tx.now().0);
        let task_key = TaskKey { queue: resident.record.id, started_ms, number: self.number };
        let task = Task {
            status: Status::Running,
            source: key.clone(),
            destination_arn: self.destination_arn.clone(),
            rate: self.rate,
            moved: 0,
            to_move: resident.at(tx.now()).counts().visible,
            end: Sequence::of_store(tx.next_sequence()).ok_or(Fault::Busy)?,
            failure: None,
        };
        tx.put(TASKS, &task_key.encode(), &task.encode(), Vec::new(), true);
        tx.put(ACTIVE, &task_key.encode(), &[], Vec::new(), true);
        Ok(Outcome::Commit(Ok(task_key)))
    }
}

/// The tasks of a queue, the oldest first.
fn tasks_of(tx: &mut Tx<'_>, queue: QueueId) -> Result<Vec<(TaskKey, Task)>, Fault> {
    let front = queue.0.to_be_bytes();
    let mut tasks = Vec::new();
    let mut damaged = None;
    tx.scan(TASKS, Bound::Included(&front), Direction::Forward, u64::MAX, &mut |key, record| {
        if !key.starts_with(&front) {
            return ControlFlow::Break(());
        }
        match TaskKey::decode(key).and_then(|key| Ok((key, Task::decode(record.value)?))) {
            Ok(task) => tasks.push(task),
            Err(fault) => damaged = Some(fault),
        }
        if damaged.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    damaged.map_or(Ok(tasks), Err)
}

/// Begins ListMessageMoveTasks.
pub fn list(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = ListMessageMoveTasks::decode(input)?;
    let source_arn = request.source_arn.as_deref().ok_or_else(|| Error::missing("SourceArn"))?;
    let count = request.max_results.unwrap_or(1);
    let count = usize::try_from(count).ok().filter(|count| (1..=TASKS_KEPT).contains(count));
    let count = count.ok_or_else(|| {
        let reason = "Must be between 1 and 10, if provided.";
        Error::invalid_value("MaxResults", request.max_results.unwrap_or(1), reason)
    })?;
    let (queue, record) = queue_of(&call, cx, "SourceArn", source_arn)?;
    let view = cx.store.view(queue.shard)?;
    let front = record.id.0.to_be_bytes();
    let mut scan = view.scan(TASKS, Bound::Included(&front), Direction::Forward);
    let mut tasks: Vec<(TaskKey, Task)> = Vec::new();
    while let Some((key, record)) = scan.next()?.filter(|(key, _)| key.starts_with(&front)) {
        tasks.push((TaskKey::decode(key)?, Task::decode(record.value)?));
    }
    let newest = tasks.iter().rev().take(count);
    Ok(call.result(0, |out| {
        out.list("Results", "ListMessageMoveTasksResultEntry", newest, |out, (key, task)| {
            show(out, key, task, source_arn);
        });
    }))
}

fn show(out: &mut Out, key: &TaskKey, task: &Task, source_arn: &str) {
    if task.status == Status::Running {
        out.text("TaskHandle", &handle(key, source_arn));
    }
    out.text("Status", task.status.word());
    out.text("SourceArn", source_arn);
    out.text_if("DestinationArn", task.destination_arn.as_deref());
    if let Some(rate) = task.rate {
        out.number("MaxNumberOfMessagesPerSecond", rate.into());
    }
    out.number("ApproximateNumberOfMessagesMoved", task.moved);
    out.number("ApproximateNumberOfMessagesToMove", task.to_move);
    out.text_if("FailureReason", task.failure.as_deref());
    out.number("StartedTimestamp", key.started_ms);
}

/// Begins CancelMessageMoveTask.
pub fn cancel(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = CancelMessageMoveTask::decode(input)?;
    let handle = request.handle.as_deref().ok_or_else(|| Error::missing("TaskHandle"))?;
    let (started_ms, number, source_arn) =
        parse_handle(handle).ok_or_else(|| Error::invalid("Value for parameter TaskHandle is invalid."))?;
    let (queue, record) = queue_of(&call, cx, "SourceArn", &source_arn)?;
    let key = TaskKey { queue: record.id, started_ms, number };
    let work = move |tx: &mut Tx<'_>, _: Option<QueueRecord>| -> Result<_, Fault> {
        let found =
            tx.get_ref(TASKS, &key.encode(), |record| record.map(|record| Task::decode(record.value)))?;
        let Some(mut task) = found.transpose()? else {
            let absent = Error::new(Code::ResourceNotFound, "Task does not exist.");
            return Ok(Outcome::Rollback(Err(absent)));
        };
        if task.status != Status::Running {
            let text = "Only active tasks can be cancelled.";
            return Ok(Outcome::Rollback(Err(Error::new(Code::UnsupportedOperation, text))));
        }
        task.status = Status::Cancelling;
        tx.put(TASKS, &key.encode(), &task.encode(), Vec::new(), false);
        Ok(Outcome::Commit(Ok(task.moved)))
    };
    Ok(on_queue::run(queue, false, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|moved| moved);
        settle(
            &call,
            outcome.map(|moved| call.result(0, |out| out.number("ApproximateNumberOfMessagesMoved", moved))),
        )
    }))
}

/// What names a task to clients: base64 of `{"taskId": …, "sourceArn": …}`, as at AWS. Our ids begin with the start.
fn handle(key: &TaskKey, source_arn: &str) -> String {
    let id = format!("{:016x}{:032x}", key.started_ms, key.number);
    base64(json!({ "taskId": id, "sourceArn": source_arn }).to_string().as_bytes())
}

/// Start, number and source of the task that a handle names.
fn parse_handle(text: &str) -> Option<(u64, u128, String)> {
    if text.len() > HANDLE_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(&unbase64(text.as_bytes())?).ok()?;
    let id = value.get("taskId")?.as_str()?;
    let source_arn = value.get("sourceArn")?.as_str()?;
    // An id of another form names no task, but the handle is one.
    let (started, number) = id.split_at_checked(16).unwrap_or_default();
    let started_ms = u64::from_str_radix(started, 16).unwrap_or(0);
    Some((started_ms, u128::from_str_radix(number, 16).unwrap_or(0), source_arn.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:sqs:us-east-1:111111111111:dead";

    #[test]
    fn a_handle_names_its_task_and_its_source() {
        for (started_ms, number) in [(0, 0), (1_700_000_000_000, u128::MAX), (u64::MAX, 1)] {
            let key = TaskKey { queue: QueueId(5), started_ms, number };
            let text = handle(&key, ARN);
            assert!(text.len() <= HANDLE_BYTES_MAX);
            assert_eq!(parse_handle(&text), Some((started_ms, number, ARN.to_owned())));
        }
    }

    #[test]
    fn the_longest_queue_has_handles_that_are_read_back() {
        let arn = format!("arn:aws:sqs:ap-northeast-1:111111111111:{}.fifo", "x".repeat(75));
        let text = handle(&TaskKey { queue: QueueId(1), started_ms: 1, number: 2 }, &arn);
        assert_eq!(parse_handle(&text), Some((1, 2, arn)));
    }

    #[test]
    fn other_texts_are_no_handles() {
        for text in
            ["", "x", "!", &base64(b"[]"), &base64(b"{}"), &base64(b"{\"taskId\":1}"), &"A".repeat(1_000)]
        {
            assert_eq!(parse_handle(text), None, "{text}");
        }
        let foreign = base64(json!({ "taskId": "no-such-task", "sourceArn": ARN }).to_string().as_bytes());
        assert_eq!(parse_handle(&foreign), Some((0, 0, ARN.to_owned())));
    }
}
