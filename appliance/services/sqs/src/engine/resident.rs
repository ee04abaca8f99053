//! What a shard remembers of its queues between operations: derived from records, built anew after a start, never the truth.
//! Invariant: it changes only in `Tx::then`, with the effects from which the change follows. The one exception is time: a message
//! whose due time has passed is ready whoever looks, so `ripen` may move it while an operation looks.
//! Leaves to load.rs: building it. To the operations: records.

use std::cell::{Ref, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use store::{TableId, Timestamp, WaitKey, Wakes};

use super::request::Counts;
use super::state::fifo::Fifo;
use super::state::groups::{GroupIndex, GroupName};
use super::state::standard::Standard;
use crate::model::limits::RIPE_PER_TURN_MAX;
use crate::model::queue::{QueueId, QueueKey, QueueRecord, Sequence};
use crate::store::IdHash;

/// The queues of one shard.
#[derive(Default)]
pub struct Queues {
    by_key: HashMap<QueueKey, Resident>,
}

/// One queue.
pub struct Resident {
    /// Its record.
    pub record: Arc<QueueRecord>,
    /// How far it is built.
    pub phase: Phase,
    /// Its messages.
    state: RefCell<State>,
    /// Deduplication and attempt ids by their expiry.
    remembered: VecDeque<Remembered>,
}

/// An id that is to be forgotten.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Remembered {
    /// When.
    pub expiry_ms: u64,
    /// In which table.
    pub table: u8,
    /// Under which hash.
    pub hash: IdHash,
}

/// How far a queue is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Its messages are, below this sequence.
    Messages(Sequence),
    /// Its messages are, and what it remembers in a table, behind this hash.
    Ids(TableId, Option<IdHash>),
    /// All of it.
    Loaded,
}

/// The messages of a queue.
pub enum State {
    /// Of a standard queue.
    Standard(Standard),
    /// Of a FIFO queue.
    Fifo(Fifo),
}

/// A message that was sent, or was found while the queue is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    /// Its place.
    pub sequence: Sequence,
    /// Its group.
    pub group: Option<GroupName>,
    /// Until when it is not visible.
    pub due_ms: Option<u64>,
    /// Whether it is in flight until then; else it is delayed.
    pub in_flight: bool,
}

/// What became of a ready message.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Its place.
    pub sequence: Sequence,
    /// The group or tenant at whose head it stood.
    pub group: Option<GroupIndex>,
    /// It is in flight until then; None: it is gone.
    pub due_ms: Option<u64>,
}

impl Queues {
    /// A queue of this shard that an operation has asked for before.
    #[must_use]
    pub fn find(&self, key: &QueueKey) -> Option<&Resident> {
        self.by_key.get(key)
    }

    /// The same, to change it, if it is still the queue with this id.
    pub fn find_mut(&mut self, key: &QueueKey, id: QueueId) -> Option<&mut Resident> {
        self.by_key.get_mut(key).filter(|resident| resident.record.id == id)
    }

    /// The same, made when it is not here: nothing of it is built then.
    pub fn find_or_add(&mut self, key: &QueueKey, record: &Arc<QueueRecord>) -> &mut Resident {
        self.by_key.entry(key.clone()).or_insert_with(|| Resident::new(Arc::clone(record)))
    }

    /// A queue's record has changed: settings, tags. Its id must not. For `Tx::then` of whoever put it.
    pub fn changed(&mut self, key: &QueueKey, record: QueueRecord, wakes: &mut Wakes<'_>) {
        if let Some(resident) = self.find_mut(key, record.id) {
            resident.record = Arc::new(record);
            // Another retention, or another dead-letter target, may free what stood in the way.
            resident.wake(wakes, 1);
        }
    }

    /// A queue is purged: `record` has the new `purged_below`. For `Tx::then` of whoever put it.
    pub fn purged(&mut self, key: &QueueKey, record: QueueRecord) {
        let Some(resident) = self.find_mut(key, record.id) else { return };
        resident.state = RefCell::new(State::new(record.attributes.fifo.is_some()));
        if let Phase::Messages(from) = resident.phase {
            resident.phase = Phase::Messages(from.max(record.purged_below));
        }
        resident.record = Arc::new(record);
    }

    /// A queue is deleted, or a queue of this name is made. Those who wait for messages hear of it. For `Tx::then`.
    pub fn removed(&mut self, key: &QueueKey, wakes: &mut Wakes<'_>) {
        if let Some(resident) = self.by_key.remove(key) {
            wakes.wake(resident.wait_key(), usize::MAX);
        }
    }

    /// Queues of which something is remembered.
    pub fn iter(&self) -> impl Iterator<Item = (&QueueKey, &Resident)> {
        self.by_key.iter()
    }
}

/// The service's byte in the keys under which operations wait.
const WAIT_SERVICE: u128 = 1 << 120;

impl Resident {
    fn new(record: Arc<QueueRecord>) -> Resident {
        Resident {
            phase: Phase::Messages(record.purged_below),
            state: RefCell::new(State::new(record.attributes.fifo.is_some())),
            remembered: VecDeque::new(),
            record,
        }
    }

    /// For what receives of this queue wait.
    #[must_use]
    pub fn wait_key(&self) -> WaitKey {
        WaitKey(WAIT_SERVICE | u128::from(self.record.id.0))
    }

    /// Whether operations may look at it.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.phase == Phase::Loaded
    }

    /// The messages as they are now. A bounded number of messages whose time has come is made ready; the rest follows with the next look.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Ref<'_, State> {
        self.state.borrow_mut().ripen(now.0, RIPE_PER_TURN_MAX);
        self.state.borrow()
    }

    /// New messages. They wake as many receives as they can serve.
    pub fn pushed(&mut self, pushed: &[Pushed], wakes: &mut Wakes<'_>) {
        if matches!(self.phase, Phase::Messages(_)) {
            // Loading has not come so far: it finds their records.
            return;
        }
        let woken = pushed.iter().filter(|message| self.state.get_mut().push(message)).count();
        self.wake(wakes, woken);
        if let Some(due_ms) = pushed.iter().filter_map(|message| message.due_ms).min() {
            wakes.wake_at(self.wait_key(), Timestamp(due_ms));
        }
    }

    /// A slice of messages that loading found.
    pub fn loaded(&mut self, pushed: &[Pushed], phase: Phase) {
        let state = self.state.get_mut();
        for message in pushed {
            state.push(message);
        }
        self.phase = phase;
    }

    /// A slice of ids that loading found.
    pub fn loaded_ids(&mut self, found: Vec<Remembered>, phase: Phase) {
        self.remembered.extend(found);
        if phase == Phase::Loaded {
            self.remembered.make_contiguous().sort_unstable();
        }
        self.phase = phase;
    }

    /// A receive has taken these. `consumed`: how far it came in ranges, by their starts.
    pub fn left(&mut self, left: &[Left], consumed: &[(u64, u64)], wakes: &mut Wakes<'_>) {
        self.state.get_mut().left(left, consumed);
        // Those who wait behind this receive come in turn: each wakes the next while there is something.
        self.wake(wakes, 1);
    }

    /// The messages, to change them. `wake` follows.
    pub fn state_mut(&mut self) -> &mut State {
        self.state.get_mut()
    }

    /// Wakes so many receives, if there is something for them.
    pub fn wake(&self, wakes: &mut Wakes<'_>, count: usize) {
        if count > 0 && self.state.borrow().has_ready() {
            wakes.wake(self.wait_key(), count);
        }
    }

    /// Ids are remembered until their expiry, which does not come before that of others.
    pub fn remember(&mut self, ids: impl IntoIterator<Item = Remembered>) {
        self.remembered.extend(ids);
    }

    /// The first ids that may be forgotten.
    pub fn forgettable(&self, now: Timestamp) -> impl Iterator<Item = &Remembered> {
        self.remembered.iter().take_while(move |id| id.expiry_ms <= now.0)
    }

    /// The first `count` ids are forgotten.
    pub fn forgotten(&mut self, count: usize) {
        self.remembered.drain(..count.min(self.remembered.len()));
    }
}

impl State {
    fn new(is_fifo: bool) -> State {
        if is_fifo { State::Fifo(Fifo::default()) } else { State::Standard(Standard::default()) }
    }

    fn push(&mut self, message: &Pushed) -> bool {
        let Pushed { sequence: Sequence(sequence), group, due_ms, in_flight } = *message;
        match (self, due_ms.filter(|_| in_flight)) {
            (State::Standard(queue), Some(due_ms)) => queue.push_in_flight(sequence, group, due_ms),
            (State::Standard(queue), None) => return queue.push(sequence, group, due_ms),
            // A FIFO message has a group; one without would be damage, and stands alone.
            (State::Fifo(queue), Some(due_ms)) => {
                queue.push_in_flight(sequence, group.unwrap_or(GroupName::NONE), due_ms)
            }
            (State::Fifo(queue), None) => {
                return queue.push(sequence, group.unwrap_or(GroupName::NONE), due_ms);
            }
        }
        false
    }

    fn left(&mut self, left: &[Left], consumed: &[(u64, u64)]) {
        match self {
            State::Standard(queue) => {
                for message in left {
                    match message.due_ms {
                        Some(due_ms) => queue.take(message.sequence.0, message.group, due_ms),
                        None => queue.discard(message.sequence.0, message.group),
                    }
                }
                for (start, through) in consumed {
                    queue.consume(*start, *through);
                }
            }
            State::Fifo(queue) => {
                let groups = || left.iter().filter_map(|message| message.group.map(|group| (message, group)));
                for (message, group) in groups() {
                    match message.due_ms {
                        Some(due_ms) => queue.take(message.sequence.0, group, due_ms),
                        None => {
                            queue.discard(message.sequence.0, group);
                        }
                    }
                }
                // All of a group stand together, and one that is settled may be forgotten: so each once.
                let mut settled = None;
                for (_, group) in groups() {
                    if settled != Some(group) {
                        queue.settle(group);
                        settled = Some(group);
                    }
                }
            }
        }
    }

    fn ripen(&mut self, now_ms: u64, count_max: usize) {
        match self {
            State::Standard(queue) => queue.ripen(now_ms, count_max),
            State::Fifo(queue) => queue.ripen(now_ms, count_max),
        }
    }

    /// A message in flight is visible from another time on; None: now.
    pub fn change(&mut self, due_ms: u64, sequence: Sequence, new_due_ms: Option<u64>) {
        match self {
            State::Standard(queue) => queue.change(due_ms, sequence.0, new_due_ms),
            State::Fifo(queue) => queue.change(due_ms, sequence.0, new_due_ms),
        };
    }

    /// Whether a receive finds anything.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        match self {
            State::Standard(queue) => queue.has_ready(),
            State::Fifo(queue) => queue.has_ready(),
        }
    }

    /// When the next message becomes visible.
    #[must_use]
    pub fn first_due(&self) -> Option<Timestamp> {
        let due_ms = match self {
            State::Standard(queue) => queue.first_due_ms(),
            State::Fifo(queue) => queue.first_due_ms(),
        };
        due_ms.map(Timestamp)
    }

    /// Messages in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        match self {
            State::Standard(queue) => queue.in_flight_count(),
            State::Fifo(queue) => queue.in_flight_count(),
        }
    }

    /// How many messages there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        match self {
            State::Standard(queue) => queue.counts(),
            State::Fifo(queue) => queue.counts(),
        }
    }
}
