//! Delivering what one shard has in its outbox, round after round: all messages that a round finds are on their way at once,
//! together with the removal of what the round before delivered, so that a round costs one sync and not one a message.
//! Invariant: messages to one target take effect in order. A delivery runs only when every earlier one of its round to that
//! target has taken effect, and a round begins when the last one is over, so a failure holds up what is behind it and
//! nothing overtakes. A note goes when the message's removal is durable and no delivery of it is under way.
//! Leaves to outbox.rs: what a message is, who takes it.
//!
//! ```text
//! round n:    Deliver (target)    in order per target: handler + note
//! round n+1:  Remove (source)     beside the deliveries of that round
//! round n+2:  Forget (target)     the note
//! ```

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::outbox::{Head, Message, OutboxSignal, Receiver, Receivers};
use crate::planted::{self, Plant};
use crate::resident::Change;
use crate::store::{Answer, Store, WeakStore};
use crate::tables::{DELIVERED, OUTBOX};
use crate::tx::{Operation, Outcome, Tx};
use crate::types::{ShardId, TableId};
use crate::view::Direction;
use crate::wait::either;

/// Messages of one round.
const ROUND_COUNT_MAX: usize = 256;
/// Payload bytes of one round, but for its first message.
const ROUND_BYTES_MAX: usize = 4 << 20;
/// Messages looked at for one round: those to a target that cannot take any are passed over.
const ROUND_EXAMINED_MAX: usize = 4_096;
/// Notes of an earlier run that are looked for on one target at a start.
const LEFTOVER_COUNT_MAX: usize = 4_096;
/// Pause after a delivery failed; twice as long after each round in which the target took nothing, up to the longest.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(10);

struct Deliver {
    message: Message,
    receiver: Arc<dyn Receiver>,
    /// How many deliveries of this round to this target have taken effect.
    line: Arc<AtomicUsize>,
    /// How many there are before this one.
    place: usize,
}

impl Operation for Deliver {
    /// Whether it was its turn.
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(DELIVERED, &self.message.note_key());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        // All of a line run on the target's owner: this only has to be right there.
        if self.line.load(Ordering::Relaxed) != self.place && !planted::is(Plant::OutboxOvertakes) {
            return Ok(Outcome::Rollback(false));
        }
        let note = self.message.note_key();
        if tx.get(DELIVERED, &note)?.is_none() {
            self.receiver.receive(tx, &self.message.payload)?;
            tx.put(DELIVERED, &note, &[], Vec::new(), true);
        }
        let (line, next) = (Arc::clone(&self.line), self.place + 1);
        tx.stage_change(Change::new(move |_, _, _| line.store(next, Ordering::Relaxed)));
        Ok(Outcome::Commit(true))
    }
}

/// Deletes some of the outbox's own records.
struct Strike {
    table: TableId,
    keys: Vec<Vec<u8>>,
}

impl Operation for Strike {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for key in &self.keys {
            declare(self.table, key);
        }
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for key in &self.keys {
            tx.delete(self.table, key);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Notes that can go, by the shard that has them.
type Notes = BTreeMap<ShardId, Vec<Vec<u8>>>;

/// How far the delivery of one shard's messages is.
struct Course {
    source: ShardId,
    /// No message with a lower sequence will be found any more, and none that is there is undelivered.
    mark: u128,
    /// Delivered, and to be removed with the next round.
    delivered: BTreeMap<u128, (ShardId, Vec<u8>)>,
    /// Removed: their notes go with the next round.
    notes: Notes,
    /// Targets that took nothing lately: until when nothing is tried, and the pause that led to.
    blocked: HashMap<ShardId, (Instant, Duration)>,
}

/// What one look at the outbox found.
struct Found {
    messages: Vec<Message>,
    /// No message with a lower sequence comes any more, and all that are there were looked at.
    seen_below: u128,
    /// The first that was passed over.
    passed_over: Option<u128>,
    /// There are more.
    more: bool,
}

enum Next {
    Round,
    /// Nothing is to be done until there is more, or until then.
    Idle(Option<Instant>),
    End,
}

/// Delivers what one shard has in its outbox for as long as the store is open.
pub(crate) async fn deliver(store: WeakStore, source: ShardId, receivers: Receivers, signal: OutboxSignal) {
    let mut course = Course::new(source);
    if let Some(store) = store.upgrade() {
        course.notes = leftovers(&store, source);
    }
    loop {
        // Held for one round only, so that this task does not keep the store open.
        let Some(open) = store.upgrade() else { return };
        let next = course.round(&open, &receivers).await;
        drop(open);
        match next {
            Next::Round => {}
            Next::Idle(None) => signal.notified().await,
            Next::Idle(Some(until)) => either(signal.notified(), ring::sleep_until(until)).await,
            Next::End => return,
        }
    }
}

impl Course {
    fn new(source: ShardId) -> Course {
        Course { source, mark: 0, delivered: BTreeMap::new(), notes: Notes::new(), blocked: HashMap::new() }
    }

    async fn round(&mut self, store: &Store, receivers: &Receivers) -> Next {
        let mut found = match self.find(store) {
            Ok(found) => found,
            Err(fault) => {
                crate::report(&format!("{}: outbox: {fault}", self.source));
                return Next::Idle(Some(ring::now() + RETRY_INTERVAL_MAX));
            }
        };
        if found.messages.is_empty() && self.delivered.is_empty() && self.notes.is_empty() {
            self.advance(&found, None);
            return self.idle(found.more);
        }
        let removed = std::mem::take(&mut self.delivered);
        let notes = std::mem::take(&mut self.notes);
        let sequences: Vec<u128> = found.messages.iter().map(|message| message.sequence).collect();
        // All of it is on its way before anything is waited for.
        let sent = send(store, std::mem::take(&mut found.messages), receivers).await;
        let keys: Vec<_> = removed.keys().map(|sequence| sequence.to_be_bytes().to_vec()).collect();
        let removal = (!keys.is_empty()).then(|| store.start(self.source, Strike { table: OUTBOX, keys }));
        let forgotten: Vec<_> = notes
            .into_iter()
            .map(|(target, keys)| store.start(target, Strike { table: DELIVERED, keys }))
            .collect();
        let mut end = self.take_answers(sent).await;
        if let Some(removal) = removal {
            match answer_of(removal).await {
                Ok(()) => {
                    for (target, note) in removed.into_values() {
                        self.notes.entry(target).or_default().push(note);
                    }
                }
                // The shard has stopped: the next start finds the messages again, and the notes with them.
                Err(_) => end = true,
            }
        }
        for note in forgotten {
            // A note that stays is found by the next start.
            drop(answer_of(note).await);
        }
        if end {
            return Next::End;
        }
        let undelivered = sequences.into_iter().find(|sequence| !self.delivered.contains_key(sequence));
        self.advance(&found, undelivered);
        Next::Round
    }

    /// The next look begins where something may still be to do.
    fn advance(&mut self, found: &Found, undelivered: Option<u128>) {
        let bounds = [Some(found.seen_below), found.passed_over, undelivered];
        self.mark = bounds.into_iter().flatten().min().unwrap_or(0).max(self.mark);
    }

    fn idle(&self, more: bool) -> Next {
        let until = self.blocked.values().map(|(until, _)| *until).min();
        match until {
            // Nothing could be tried although there is something.
            Some(until) => Next::Idle(Some(until.max(ring::now() + Duration::from_millis(1)))),
            None if more => Next::Round,
            None => Next::Idle(None),
        }
    }

    fn find(&mut self, store: &Store) -> Result<Found, Fault> {
        let now = ring::now();
        // Before the view: what a transaction over shards brings later than this has a greater sequence.
        let settled = store.settled_lsn(self.source);
        let view = store.view(self.source)?;
        let start = self.mark.to_be_bytes();
        let mut scan = view.scan(OUTBOX, Bound::Included(&start), Direction::Forward);
        let seen_below = u128::from(settled.next().0) << 64;
        let mut found = Found { messages: Vec::new(), seen_below, passed_over: None, more: false };
        let mut bytes = 0;
        let mut examined = 0;
        while let Some((key, record)) = scan.next()? {
            let head = Head::decode(self.source, key, record.value)?;
            examined += 1;
            let is_full = found.messages.len() >= ROUND_COUNT_MAX
                || (bytes + record.value.len() > ROUND_BYTES_MAX && !found.messages.is_empty())
                || examined > ROUND_EXAMINED_MAX;
            if is_full {
                found.seen_below = found.seen_below.min(head.sequence);
                found.more = true;
                break;
            }
            if self.delivered.contains_key(&head.sequence) {
                continue;
            }
            if self.blocked.get(&head.target).is_some_and(|(until, _)| *until > now) {
                found.passed_over.get_or_insert(head.sequence);
                continue;
            }
            // Only what is taken is copied: the messages of a target that takes none may be many and large.
            bytes += record.value.len();
            found.messages.push(Message::of(head));
        }
        Ok(found)
    }

    /// Whether the store closes.
    async fn take_answers(&mut self, sent: Vec<Sent>) -> bool {
        let mut end = false;
        let mut failed: BTreeMap<ShardId, Fault> = BTreeMap::new();
        for Sent { sequence, target, note, answer } in sent {
            match answer_of(answer).await {
                Ok(true) => {
                    self.blocked.remove(&target);
                    self.delivered.insert(sequence, (target, note));
                }
                Ok(false) => {}
                Err(Fault::Closed) => end = true,
                Err(fault) => {
                    failed.entry(target).or_insert(fault);
                }
            }
        }
        for (target, fault) in failed {
            self.block(target, &fault);
        }
        end
    }

    fn block(&mut self, target: ShardId, fault: &Fault) {
        let pause = self.blocked.get(&target).map_or(RETRY_INTERVAL, |(_, pause)| *pause * 2);
        let pause = pause.min(RETRY_INTERVAL_MAX);
        self.blocked.insert(target, (ring::now() + pause, pause));
        // A shard that stopped has said so; one that is in doubt soon is not.
        if !matches!(fault, Fault::ReadOnly(_) | Fault::Unknown(_) | Fault::InDoubt) {
            crate::report(&format!("{}: outbox to {target}: {fault}", self.source));
        }
    }
}

struct Sent {
    sequence: u128,
    target: ShardId,
    note: Vec<u8>,
    answer: Result<Answer<bool>, Fault>,
}

/// Puts messages on their way, in order for each target.
async fn send(store: &Store, messages: Vec<Message>, receivers: &Receivers) -> Vec<Sent> {
    for target in store.shards().filter(|shard| store.is_cold(*shard)) {
        let to_it = messages.iter().filter(|message| message.target == target);
        let keys: Vec<_> = to_it.map(|message| (DELIVERED, message.note_key())).collect();
        store.warm(target, keys).await;
    }
    let mut lines: HashMap<ShardId, (Arc<AtomicUsize>, usize)> = HashMap::new();
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        let Message { sequence, target, topic, .. } = message;
        let note = message.note_key();
        let (line, count) = lines.entry(target).or_default();
        let place = *count;
        *count += 1;
        let answer = match receivers.of(topic) {
            Some(receiver) => {
                let (receiver, line) = (Arc::clone(receiver), Arc::clone(line));
                store.start(target, Deliver { message, receiver, line, place })
            }
            // Those behind it wait for a version of this program that knows the topic.
            None => Err(Fault::corrupt(format!("no receiver for topic {}", topic.0))),
        };
        sent.push(Sent { sequence, target, note, answer });
    }
    sent
}

async fn answer_of<R>(answer: Result<Answer<R>, Fault>) -> Result<R, Fault> {
    answer?.reply().await
}

/// The notes of messages that this shard removed before the last run of the process ended. No delivery of theirs comes any
/// more. One that is not seen stays for the next start.
fn leftovers(store: &Store, source: ShardId) -> Notes {
    let mut notes = Notes::new();
    let Ok(outbox) = store.view(source) else { return notes };
    let prefix = source.0.to_be_bytes();
    for target in store.shards() {
        let Ok(view) = store.view(target) else { continue };
        let mut scan = view.scan(DELIVERED, Bound::Included(&prefix), Direction::Forward);
        for _ in 0..LEFTOVER_COUNT_MAX {
            let Ok(Some((key, _))) = scan.next() else { break };
            let Some(sequence) = key.strip_prefix(&prefix) else { break };
            if matches!(outbox.get(OUTBOX, sequence), Ok(None)) {
                notes.entry(target).or_default().push(key.to_vec());
            }
        }
    }
    notes
}
