//! The bytes of a move task, and its key.
//! Invariant: a task that is active is the newest one of its source; what it has moved so far is counted in the batch that
//! moved it.
//! Leaves to engine/move_tasks.rs: doing it. To ops: what of it a client sees.
//!
//! ```text
//! version 1 u8 | status u8 | has u8 (1 destination, 2 rate, 4 failure) | moved number | to move number | end number
//! | source bytes | destination bytes? | rate number? | failure bytes?
//! key: queue id u64be | started ms u64be | task u128be
//! ```

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::model::queue::{QueueId, QueueKey, Sequence};

const VERSION: u8 = 1;
const WHAT: &str = "sqs move task";

const HAS_DESTINATION: u8 = 1;
const HAS_RATE: u8 = 2;
const HAS_FAILURE: u8 = 4;

/// Bytes of a key.
pub const TASK_KEY_BYTES: usize = 32;

/// How far a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It moves.
    Running,
    /// It was told to stop, and has not yet.
    Cancelling,
    /// It has moved all.
    Completed,
    /// It was told to stop, and has.
    Cancelled,
    /// It cannot go on.
    Failed,
}

impl Status {
    const ALL: [Status; 5] =
        [Status::Running, Status::Cancelling, Status::Completed, Status::Cancelled, Status::Failed];

    /// Amazon's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Running => "RUNNING",
            Status::Cancelling => "CANCELLING",
            Status::Completed => "COMPLETED",
            Status::Cancelled => "CANCELLED",
            Status::Failed => "FAILED",
        }
    }

    /// Whether the task has something left to do.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Status::Running | Status::Cancelling)
    }
}

/// A move task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// How far it is.
    pub status: Status,
    /// The queue whose messages move.
    pub source: QueueKey,
    /// DestinationArn; None: each message goes back to where it came from.
    pub destination_arn: Option<Box<str>>,
    /// MaxNumberOfMessagesPerSecond.
    pub rate: Option<u32>,
    /// Messages that it has moved.
    pub moved: u64,
    /// Messages that were there when it began.
    pub to_move: u64,
    /// Messages that came later are not its own, or a task whose source is its own destination would never end.
    pub end: Sequence,
    /// FailureReason.
    pub failure: Option<Box<str>>,
}

/// Names a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TaskKey {
    /// The source.
    pub queue: QueueId,
    /// When it was started.
    pub started_ms: u64,
    /// Drawn when it was started.
    pub number: u128,
}

impl TaskKey {
    /// The key of the record.
    #[must_use]
    pub fn encode(&self) -> [u8; TASK_KEY_BYTES] {
        let mut key = [0; TASK_KEY_BYTES];
        key[..8].copy_from_slice(&self.queue.0.to_be_bytes());
        key[8..16].copy_from_slice(&self.started_ms.to_be_bytes());
        key[16..].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    /// The task of a key. Errors: `Fault::Corrupt`.
    pub fn decode(key: &[u8]) -> Result<TaskKey, Fault> {
        let key: &[u8; TASK_KEY_BYTES] =
            key.try_into().map_err(|_| Fault::corrupt("a TASKS key is no task".into()))?;
        let number = |range: std::ops::Range<usize>| {
            key[range].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
        };
        Ok(TaskKey {
            queue: QueueId(number(0..8) as u64),
            started_ms: number(8..16) as u64,
            number: number(16..32),
        })
    }
}

impl Task {
    /// The value of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let status = Status::ALL.iter().position(|status| *status == self.status);
        out.byte(status.expect("every status is in the list") as u8);
        out.byte(
            flag(self.destination_arn.is_some(), HAS_DESTINATION)
                | flag(self.rate.is_some(), HAS_RATE)
                | flag(self.failure.is_some(), HAS_FAILURE),
        );
        out.number(self.moved);
        out.number(self.to_move);
        out.number(self.end.0);
        out.bytes(self.source.as_bytes());
        if let Some(destination) = &self.destination_arn {
            out.bytes(destination.as_bytes());
        }
        if let Some(rate) = self.rate {
            out.number(rate.into());
        }
        if let Some(failure) = &self.failure {
            out.bytes(failure.as_bytes());
        }
        out.into_bytes()
    }

    /// The task in a record. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Task, Fault> {
        let mut reader = FieldReader::new(value, VERSION, WHAT)?;
        let status = Status::ALL.get(usize::from(reader.byte()?)).copied();
        let status = status.ok_or_else(|| reader.damaged("has an unknown status"))?;
        let has = reader.byte()?;
        let moved = reader.number()?;
        let to_move = reader.number()?;
        let end = Sequence(reader.number()?);
        let source = QueueKey::parse(reader.bytes()?).ok_or_else(|| reader.damaged("names no queue"))?;
        let destination_arn = if has & HAS_DESTINATION != 0 { Some(reader.text()?.into()) } else { None };
        let rate = if has & HAS_RATE != 0 {
            let rate = reader.number()?;
            Some(u32::try_from(rate).map_err(|_| reader.damaged("has a rate out of its range"))?)
        } else {
            None
        };
        let failure = if has & HAS_FAILURE != 0 { Some(reader.text()?.into()) } else { None };
        if !reader.is_empty() {
            return Err(reader.damaged("is longer than its fields"));
        }
        Ok(Task { status, source, destination_arn, rate, moved, to_move, end, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> QueueKey {
        QueueKey::parse(b"000000000001dead").expect("a key")
    }

    #[test]
    fn a_task_comes_back_and_truncation_is_a_fault() {
        let plain = Task {
            status: Status::Running,
            source: source(),
            destination_arn: None,
            rate: None,
            moved: 0,
            to_move: 7,
            end: Sequence(1 << 40),
            failure: None,
        };
        let full = Task {
            status: Status::Failed,
            destination_arn: Some("arn".into()),
            rate: Some(500),
            moved: 3,
            failure: Some("gone".into()),
            ..plain.clone()
        };
        for task in [plain, full] {
            let mut bytes = task.encode();
            assert_eq!(Task::decode(&bytes).expect("decodes"), task);
            assert!((0..bytes.len()).all(|length| Task::decode(&bytes[..length]).is_err()));
            bytes.push(0);
            assert!(Task::decode(&bytes).is_err());
        }
    }

    #[test]
    fn keys_sort_by_queue_and_start_and_come_back() {
        let first = TaskKey { queue: QueueId(1), started_ms: 5, number: u128::MAX };
        let second = TaskKey { started_ms: 6, number: 0, ..first };
        let third = TaskKey { queue: QueueId(2), started_ms: 0, number: 0 };
        assert!(first.encode() < second.encode() && second.encode() < third.encode());
        for key in [first, second, third] {
            assert_eq!(TaskKey::decode(&key.encode()).expect("a key"), key);
        }
        assert!(TaskKey::decode(b"short").is_err());
    }

    #[test]
    fn every_status_comes_back_and_two_are_active() {
        for status in Status::ALL {
            let task = Task {
                status,
                source: source(),
                destination_arn: None,
                rate: None,
                moved: 0,
                to_move: 0,
                end: Sequence::ZERO,
                failure: None,
            };
            assert_eq!(Task::decode(&task.encode()).expect("decodes").status, status);
        }
        assert_eq!(Status::ALL.iter().filter(|status| status.is_active()).count(), 2);
    }
}
