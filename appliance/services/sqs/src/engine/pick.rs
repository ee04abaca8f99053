//! Which ready messages a receive takes, and which it only takes away: too old, or dead letters.
//! Invariant: messages are looked at in the order in which they are given out; one that is passed over is not left behind.
//! Leaves to receive.rs: what follows for the reply and for the queue's memory.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use store::{Direction, Fault, ScanEnd, Tx};

use super::moving::{self, Moves};
use super::records;
use super::resident::Left;
use super::state::fifo::Fifo;
use super::state::groups::GroupIndex;
use super::state::standard::{Source, Standard};
use crate::model::limits::{
    BATCH_COUNT_MAX, EXPIRED_PER_TURN_MAX, IN_FLIGHT_COUNT_MAX, MESSAGE_BYTES_MAX, RANGES_PER_TURN_MAX,
};
use crate::model::message::MessageId;
use crate::model::queue::{QueueKey, QueueRecord, Sequence};
use crate::store::message::{Front, front};
use crate::store::state::State;
use crate::store::{MESSAGES, message_key, sequence_in};

/// A message that was received, as the receiving core gets it.
pub struct Taken {
    /// Its place.
    pub sequence: Sequence,
    /// Its state with this receive.
    pub state: State,
    /// Its record.
    pub record: Vec<u8>,
}

/// A dead letter whose body must be brought in before it can move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Its place.
    pub sequence: Sequence,
    /// Its id, where its body lies in the table of bodies.
    pub beside: Option<MessageId>,
}

/// What one receive has found.
pub struct Pick<'q> {
    key: &'q QueueKey,
    queue: &'q QueueRecord,
    moves: &'q Moves,
    now_ms: u64,
    due_ms: u64,
    /// Messages to take.
    room: usize,
    /// What is received.
    pub taken: Vec<Taken>,
    /// What becomes of every message that it came past.
    pub left: Vec<Left>,
    /// How far it came in ranges, by their starts.
    pub consumed: Vec<(u64, u64)>,
    /// Dead letters that cannot move yet.
    pub dead: Vec<DeadLetter>,
    /// It stopped before it was full, and not for want of ready messages: there is more for another turn.
    pub is_cut: bool,
    /// Messages that were taken away.
    dropped: usize,
    /// Bytes of the dead letters that were moved.
    moved_bytes: usize,
}

/// A message that is looked at.
struct Candidate {
    sequence: Sequence,
    group: Option<GroupIndex>,
    record: Vec<u8>,
}

/// What a walk through a range found.
struct Walked {
    /// Messages and their records, in order.
    found: Vec<(Sequence, Vec<u8>)>,
    /// Up to and with this sequence there are no others.
    through: u64,
    /// It looked at too many records that are gone to come further.
    is_cut: bool,
}

/// Bytes of dead letters that one operation moves, before it begins anew: what a batch of the log surely takes.
const MOVED_BYTES_PER_TURN: usize = MESSAGE_BYTES_MAX as usize;
/// Records that one walk through a range looks at, deleted ones too.
const RANGE_BUDGET: u64 = 1_000;

impl<'q> Pick<'q> {
    /// A pick of up to `count` messages, which are then invisible until `due_ms`.
    pub fn new(
        key: &'q QueueKey,
        queue: &'q QueueRecord,
        moves: &'q Moves,
        now_ms: u64,
        due_ms: u64,
        count: usize,
    ) -> Pick<'q> {
        Pick {
            key,
            queue,
            moves,
            now_ms,
            due_ms,
            room: count,
            taken: Vec::with_capacity(count.min(BATCH_COUNT_MAX)),
            left: Vec::with_capacity(count.min(BATCH_COUNT_MAX)),
            consumed: Vec::new(),
            dead: Vec::new(),
            is_cut: false,
            dropped: 0,
            moved_bytes: 0,
        }
    }

    /// Whether it found nothing, not even something to take away.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.consumed.is_empty()
    }

    /// Takes from a FIFO queue: as many as it may from one group in order, then from the next.
    pub fn fifo(&mut self, tx: &mut Tx<'_>, messages: &Fifo) -> Result<(), Fault> {
        self.limit(messages.in_flight_count());
        for group in messages.line() {
            let mut place = 0;
            loop {
                if self.is_full() {
                    return Ok(());
                }
                let Some(sequence) = messages.ready_at(group, place) else { break };
                place += 1;
                let record = self.record_of(tx, Sequence(sequence))?;
                let candidate = Candidate { sequence: Sequence(sequence), group: Some(group), record };
                if !self.look(tx, candidate)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes from a standard queue: by age, and fairly among tenants.
    pub fn standard(&mut self, tx: &mut Tx<'_>, messages: &Standard) -> Result<(), Fault> {
        self.limit(messages.in_flight_count());
        self.walk_sources(tx, messages)?;
        self.is_cut = !self.is_full() && messages.counts().visible > self.left.len() as u64;
        Ok(())
    }

    fn walk_sources(&mut self, tx: &mut Tx<'_>, messages: &Standard) -> Result<(), Fault> {
        let mut sources = Vec::new();
        messages.sources(self.room, RANGES_PER_TURN_MAX, &mut sources);
        let mut places: Vec<(GroupIndex, usize)> = Vec::new();
        for source in sources {
            if self.is_full() {
                return Ok(());
            }
            let goes_on = match source {
                Source::Range(start, end) if start == end => self.single(tx, start)?,
                Source::Range(start, end) => self.range(tx, start, end)?,
                Source::Tenant(tenant) => {
                    let place = match places.iter_mut().find(|(other, _)| *other == tenant) {
                        Some((_, place)) => {
                            *place += 1;
                            *place
                        }
                        None => {
                            places.push((tenant, 0));
                            0
                        }
                    };
                    let Some(sequence) = messages.ready_at(tenant, place).map(Sequence) else { continue };
                    let record = self.record_of(tx, sequence)?;
                    self.look(tx, Candidate { sequence, group: Some(tenant), record })?
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// No more than may be in flight.
    fn limit(&mut self, in_flight_count: usize) {
        self.room = self.room.min(IN_FLIGHT_COUNT_MAX.saturating_sub(in_flight_count));
    }

    fn is_full(&self) -> bool {
        self.taken.len() + self.dead.len() >= self.room
    }

    fn record_of(&self, tx: &mut Tx<'_>, sequence: Sequence) -> Result<Vec<u8>, Fault> {
        records::message(tx, self.queue.id, sequence)?
            .ok_or_else(|| Fault::corrupt(format!("sqs: waiting message {sequence} has no record")))
    }

    /// A range of one sequence.
    fn single(&mut self, tx: &mut Tx<'_>, sequence: u64) -> Result<bool, Fault> {
        let Some(record) = records::message(tx, self.queue.id, Sequence(sequence))? else {
            self.consumed.push((sequence, sequence));
            return Ok(true);
        };
        let goes_on = self.look(tx, Candidate { sequence: Sequence(sequence), group: None, record })?;
        if goes_on {
            self.consumed.push((sequence, sequence));
        }
        Ok(goes_on)
    }

    /// A range of any length: as much of it as there is room for.
    fn range(&mut self, tx: &mut Tx<'_>, start: u64, end: u64) -> Result<bool, Fault> {
        let mut from = start;
        while !self.is_full() && from <= end {
            let wanted = self.room - self.taken.len() - self.dead.len();
            let Walked { found, through, is_cut } = self.walk(tx, from, end, wanted)?;
            for (sequence, record) in found {
                if !self.look(tx, Candidate { sequence, group: None, record })? {
                    self.consume(start, sequence.0 - 1);
                    return Ok(false);
                }
            }
            if is_cut {
                // Enough for one turn: what was deleted in between is not walked over again by the next.
                self.consume(start, through);
                return Ok(false);
            }
            from = through.saturating_add(1);
        }
        self.consume(start, from - 1);
        Ok(true)
    }

    fn consume(&mut self, start: u64, through: u64) {
        if through >= start {
            self.consumed.push((start, through));
        }
    }

    /// Up to `wanted` messages of a range.
    fn walk(&self, tx: &mut Tx<'_>, from: u64, end: u64, wanted: usize) -> Result<Walked, Fault> {
        let queue = self.queue.id;
        let mut found: Vec<(Sequence, Vec<u8>)> = Vec::with_capacity(wanted.min(BATCH_COUNT_MAX));
        let start = message_key(queue, Sequence(from));
        let walked = tx.scan(
            MESSAGES,
            Bound::Included(&start),
            Direction::Forward,
            RANGE_BUDGET,
            &mut |key, record| {
                match sequence_in(queue, key).filter(|sequence| sequence.0 <= end) {
                    Some(sequence) => found.push((sequence, record.value.to_vec())),
                    None => return ControlFlow::Break(()),
                }
                if found.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
        let (through, is_cut) = match (walked, found.last()) {
            (ScanEnd::Stopped, Some((last, _))) if found.len() == wanted => (last.0, false),
            (ScanEnd::Stopped | ScanEnd::Done, _) => (end, false),
            (ScanEnd::Continue(key), _) => match sequence_in(queue, &key) {
                Some(sequence) if sequence.0 < end => (sequence.0, true),
                Some(_) | None => (end, false),
            },
        };
        Ok(Walked { found, through, is_cut })
    }

    /// Looks at one message. False: it stays, and so does everything behind it.
    fn look(&mut self, tx: &mut Tx<'_>, candidate: Candidate) -> Result<bool, Fault> {
        if self.dropped >= EXPIRED_PER_TURN_MAX || self.moved_bytes >= MOVED_BYTES_PER_TURN {
            return Ok(false);
        }
        let Candidate { sequence, group, record } = candidate;
        let front = front(&record)?;
        let beside = front.is_beside.then_some(front.id);
        let kept_until_ms =
            front.kept_from_ms.saturating_add(u64::from(self.queue.attributes.retention_seconds) * 1_000);
        if kept_until_ms <= self.now_ms {
            self.drop_one(tx, sequence, group, true, beside);
            return Ok(true);
        }
        let former = records::state(tx, self.queue.id, sequence)?;
        let count = former.map_or(0, |state| state.receive_count);
        let is_dead =
            self.queue.attributes.redrive.as_ref().is_some_and(|redrive| count >= redrive.max_receive_count);
        if is_dead && !matches!(self.moves, Moves::Refused) {
            return self.bury(tx, sequence, group, former.is_some(), &record, front);
        }
        if !self.dead.is_empty() {
            // Dead letters are moved first; this one is looked at again then.
            return Ok(false);
        }
        self.take(tx, sequence, group, former, front.is_beside, record);
        Ok(true)
    }

    /// Moves a dead letter, or notes that its move must be prepared.
    fn bury(
        &mut self,
        tx: &mut Tx<'_>,
        sequence: Sequence,
        group: Option<GroupIndex>,
        has_state: bool,
        record: &[u8],
        front: Front<'_>,
    ) -> Result<bool, Fault> {
        let beside = front.is_beside.then_some(front.id);
        let body = self.moves.body_of(sequence);
        match self.moves {
            Moves::Allowed { target, .. } if beside.is_none() || body.is_some() => {
                moving::emit_dead_letter(tx, self.key, self.queue, target, record, body)?;
                self.moved_bytes += record.len() + body.map_or(0, Bytes::len);
                self.drop_one(tx, sequence, group, has_state, beside);
                Ok(true)
            }
            // What was found before it goes out first.
            _ if !self.left.is_empty() => Ok(false),
            _ => {
                self.dead.push(DeadLetter { sequence, beside });
                Ok(true)
            }
        }
    }

    fn drop_one(
        &mut self,
        tx: &mut Tx<'_>,
        sequence: Sequence,
        group: Option<GroupIndex>,
        has_state: bool,
        beside: Option<MessageId>,
    ) {
        records::erase(tx, self.queue.id, sequence, has_state, beside);
        self.left.push(Left { sequence, group, due_ms: None });
        self.dropped += 1;
    }

    fn take(
        &mut self,
        tx: &mut Tx<'_>,
        sequence: Sequence,
        group: Option<GroupIndex>,
        former: Option<State>,
        is_beside: bool,
        record: Vec<u8>,
    ) {
        let before = former.unwrap_or_default();
        let first_receive_ms = if before.receive_count == 0 { self.now_ms } else { before.first_receive_ms };
        let state = State {
            due_ms: self.due_ms,
            receive_count: before.receive_count.saturating_add(1),
            number: before.number.saturating_add(1),
            first_receive_ms,
            last_receive_ms: self.now_ms,
            is_beside,
            was_changed: false,
        };
        records::put_state(tx, self.queue.id, sequence, &state, former.is_none());
        self.left.push(Left { sequence, group, due_ms: Some(self.due_ms) });
        self.taken.push(Taken { sequence, state, record });
    }
}
