//! One queue: its messages in the order in which they were sent, what it deduplicates by, and the receives it remembers.
//! Invariant: a message that is not in `messages` may never be received again.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

/// Amazon SQS, "Exactly-once processing": five minutes, for deduplication and for attempts.
pub const REMEMBERED_MS: u64 = 300_000;

/// What a queue was made with, as far as the reference cares.
#[derive(Clone, Debug)]
pub struct Settings {
    pub is_fifo: bool,
    pub visibility_ms: u64,
    pub delay_ms: u64,
    pub retention_ms: u64,
    /// A send without an id is known by its body.
    pub by_content: bool,
    /// Ids count per group.
    pub by_group: bool,
    /// `maxReceiveCount`, where the queue has a dead-letter queue.
    pub receives_max: Option<u32>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    /// Empty on a standard queue, and on a moved message until it is seen.
    pub sequence: String,
    pub body: String,
    /// The message's own attributes, null for none.
    pub attributes: Json,
    pub group: Option<String>,
    pub dedup: Option<String>,
    pub sent_ms: u64,
    /// From when on its age counts.
    pub kept_from_ms: u64,
    /// From then on a receive may give it.
    pub visible_ms: u64,
    /// How often it was received; None when it was moved here and not seen since.
    pub receives: Option<u32>,
    pub first_received_ms: u64,
    /// Of its latest receive from this queue.
    pub handle: Option<String>,
    /// The queue whose dead letter it is.
    pub source: Option<String>,
}

impl Message {
    pub fn is_visible(&self, now: u64) -> bool {
        self.visible_ms <= now
    }

    pub fn is_in_flight(&self, now: u64) -> bool {
        self.handle.is_some() && !self.is_visible(now)
    }

    /// Whether the next receive would be one too many.
    pub fn is_spent(&self, settings: &Settings) -> bool {
        settings.receives_max.is_some_and(|max| self.receives.unwrap_or(0) >= max)
    }
}

/// What a receive gave.
#[derive(Clone, Debug)]
pub struct Got {
    pub id: String,
    pub body: String,
    pub handle: String,
    /// `Attributes`, all of them.
    pub system: Map<String, Json>,
    /// `MessageAttributes`, null for none.
    pub attributes: Json,
}

/// What a send asks.
#[derive(Clone, Debug)]
pub struct Sending {
    pub body: String,
    pub attributes: Json,
    pub delay_ms: Option<u64>,
    pub group: Option<String>,
    pub dedup: Option<String>,
}

/// What was remembered of a first send.
#[derive(Clone, Debug)]
struct First {
    group: Option<String>,
    dedup: String,
    id: String,
    sequence: String,
    until_ms: u64,
}

/// A receive with an attempt's id.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: String,
    pub until_ms: u64,
    /// Message and handle.
    pub gave: Vec<(String, String)>,
    /// Whether one of them was deleted or its visibility changed.
    pub is_spoilt: bool,
}

/// What a handle is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Of the latest receive, and its time is not over.
    Current,
    /// Of the latest receive, and its time is over.
    Over,
    /// Of an earlier receive of a message that is still there.
    Older,
    /// Of a message that is gone.
    Gone,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    pub name: String,
    pub url: String,
    pub arn: String,
    pub settings: Settings,
    pub messages: Vec<Message>,
    firsts: Vec<First>,
    pub attempts: Vec<Attempt>,
    /// Every handle of the last while, with the message it is of.
    pub handles: Vec<(String, String)>,
    last_sequence: String,
    pub purged_ms: Option<u64>,
    /// Spent messages behind what the last receive gave.
    pub(super) unsure: Vec<String>,
    /// Of every message that ever was here: none comes twice.
    ids: std::collections::HashSet<String>,
}

/// Handles that are kept to be used once more.
const HANDLES_MAX: usize = 300;

impl Queue {
    pub fn new(name: String, url: String, arn: String, settings: Settings) -> Queue {
        Queue {
            name,
            url,
            arn,
            settings,
            messages: Vec::new(),
            firsts: Vec::new(),
            attempts: Vec::new(),
            handles: Vec::new(),
            last_sequence: String::new(),
            purged_ms: None,
            unsure: Vec::new(),
            ids: std::collections::HashSet::new(),
        }
    }

    /// Visible, in flight, delayed.
    pub fn counts(&self, now: u64) -> [usize; 3] {
        let count = |wanted: &dyn Fn(&Message) -> bool| self.messages.iter().filter(|m| wanted(m)).count();
        let visible = count(&|message| message.is_visible(now));
        let in_flight = count(&|message| message.is_in_flight(now));
        [visible, in_flight, self.messages.len() - visible - in_flight]
    }

    /// What a send answered: a new message, or the first one with this id.
    pub fn sent(&mut self, now: u64, sending: Sending, id: &str, sequence: &str) -> Result<bool, String> {
        self.firsts.retain(|first| now < first.until_ms);
        let dedup = match (&sending.dedup, self.settings.is_fifo && self.settings.by_content) {
            (Some(given), _) => Some(given.clone()),
            (None, true) => Some(sha256_hex(sending.body.as_bytes())),
            (None, false) => None,
        };
        if let Some(dedup) = dedup.as_ref().filter(|_| self.settings.is_fifo) {
            let scope = sending.group.clone().filter(|_| self.settings.by_group);
            if let Some(first) = self.firsts.iter().find(|f| f.dedup == *dedup && f.group == scope) {
                if (first.id.as_str(), first.sequence.as_str()) != (id, sequence) {
                    return Err(format!(
                        "a repeat within five minutes: should be {} {}",
                        first.id, first.sequence
                    ));
                }
                return Ok(false);
            }
            let first = First {
                group: scope,
                dedup: dedup.clone(),
                id: id.to_owned(),
                sequence: sequence.to_owned(),
                until_ms: now + REMEMBERED_MS,
            };
            self.firsts.push(first);
        }
        if !self.ids.insert(id.to_owned()) {
            return Err("the id of an earlier message".to_owned());
        }
        if self.settings.is_fifo {
            if sequence.len() != 20 || sequence <= self.last_sequence.as_str() {
                return Err(format!("a sequence number of 20 digits above {}", self.last_sequence));
            }
            sequence.clone_into(&mut self.last_sequence);
        } else if !sequence.is_empty() {
            return Err("a sequence number on a standard queue".to_owned());
        }
        self.messages.push(Message {
            id: id.to_owned(),
            sequence: sequence.to_owned(),
            body: sending.body,
            attributes: sending.attributes,
            group: sending.group,
            dedup: if self.settings.is_fifo { dedup } else { None },
            sent_ms: now,
            kept_from_ms: now,
            visible_ms: now + sending.delay_ms.unwrap_or(self.settings.delay_ms),
            receives: Some(0),
            first_received_ms: 0,
            handle: None,
            source: None,
        });
        Ok(true)
    }

    /// A dead letter arrives.
    pub fn moved_here(&mut self, now: u64, mut message: Message, source: &str) {
        message.source = Some(source.to_owned());
        message.handle = None;
        message.visible_ms = now;
        message.receives = None;
        message.sequence = String::new();
        if self.settings.is_fifo {
            message.kept_from_ms = now;
        }
        self.ids.insert(message.id.clone());
        self.messages.push(message);
    }

    /// What a receive may give now.
    pub fn has_ready(&self, now: u64) -> bool {
        !self.ready(now).is_empty()
    }

    /// How many messages one receive could give at most, and each of them in the order in which it may come.
    pub fn ready(&self, now: u64) -> Vec<Vec<usize>> {
        if self.settings.is_fifo { self.ready_runs(now) } else { self.ready_standard(now) }
    }

    /// Judges a receive that is no repeat of an attempt. Gives the messages that it moved to the dead letters.
    pub fn received(
        &mut self,
        now: u64,
        max: usize,
        visible_ms: u64,
        got: &[Got],
    ) -> Result<Vec<Message>, String> {
        let moved = if self.settings.is_fifo {
            self.received_fifo(now, max, visible_ms, got)?
        } else {
            self.received_standard(now, max, visible_ms, got)?
        };
        if self.handles.len() > HANDLES_MAX {
            self.handles.drain(..HANDLES_MAX / 2);
        }
        Ok(moved)
    }

    /// As many as were asked for, if there are so many. A receive that meets a spent message may end there, with what it has: the
    /// move may need another look.
    pub(super) fn check_count(
        &self,
        got: usize,
        max: usize,
        ready: usize,
        spent: usize,
    ) -> Result<(), String> {
        let most = max.min(ready);
        let least = if spent > 0 { most.min(1) } else { most };
        if (least..=most).contains(&got) {
            return Ok(());
        }
        Err(format!("{got} messages, with {ready} ready and {spent} spent, and {max} asked for"))
    }

    /// One message of a receive: it is as it was sent, and from now on in flight.
    pub(super) fn take(&mut self, index: usize, now: u64, visible_ms: u64, got: &Got) -> Result<(), String> {
        let settings = &self.settings;
        let message = &mut self.messages[index];
        if (&got.body, &got.attributes) != (&message.body, &message.attributes) {
            return Err(format!("another content than was sent: {message:?}"));
        }
        let said = |name: &str| got.system.get(name).and_then(Json::as_str).unwrap_or_default();
        let receives =
            said("ApproximateReceiveCount").parse::<u32>().map_err(|_| "no receive count".to_owned())?;
        // What a moved message begins with is not promised, only that it goes on from there.
        if receives == 0 || message.receives.is_some_and(|before| receives != before + 1) {
            return Err(format!("receive count {receives} after {:?}", message.receives));
        }
        let is_first = message.handle.is_none() && message.source.is_none();
        if is_first {
            message.first_received_ms = now;
        }
        let mut expected = vec![("SentTimestamp", message.sent_ms.to_string())];
        if message.source.is_none() {
            expected.push(("ApproximateFirstReceiveTimestamp", message.first_received_ms.to_string()));
        }
        if let Some(source) = &message.source {
            expected.push(("DeadLetterQueueSourceArn", source.clone()));
        }
        if let Some(group) = &message.group {
            expected.push(("MessageGroupId", group.clone()));
        }
        if settings.is_fifo {
            if message.sequence.is_empty() {
                said("SequenceNumber").clone_into(&mut message.sequence);
            }
            expected.push(("SequenceNumber", message.sequence.clone()));
            expected.push(("MessageDeduplicationId", message.dedup.clone().unwrap_or_default()));
        }
        for (name, wanted) in &expected {
            if said(name) != wanted {
                return Err(format!("{name} is {:?}, should be {wanted:?}", got.system.get(*name)));
            }
        }
        for name in got.system.keys() {
            let is_known = expected.iter().any(|(known, _)| known == name)
                || ["SenderId", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"]
                    .contains(&name.as_str());
            if !is_known {
                return Err(format!("an attribute too many: {name}"));
            }
        }
        if self.handles.iter().any(|(handle, _)| *handle == got.handle) {
            return Err("the handle of an earlier receive".to_owned());
        }
        message.receives = Some(receives);
        message.handle = Some(got.handle.clone());
        message.visible_ms = visible_ms;
        self.handles.push((got.handle.clone(), message.id.clone()));
        Ok(())
    }

    /// What a handle of this queue is worth.
    pub fn standing(&self, now: u64, handle: &str, message_id: &str) -> Standing {
        match self.messages.iter().find(|message| message.id == message_id) {
            None => Standing::Gone,
            Some(message) if message.handle.as_deref() != Some(handle) => Standing::Older,
            Some(message) if message.is_visible(now) => Standing::Over,
            Some(_) => Standing::Current,
        }
    }

    /// A delete that was acknowledged.
    pub fn deleted(&mut self, now: u64, handle: &str, message_id: &str) {
        let removes = match self.standing(now, handle, message_id) {
            Standing::Current => true,
            Standing::Over => !self.settings.is_fifo,
            Standing::Older | Standing::Gone => false,
        };
        if removes {
            self.messages.retain(|message| message.id != message_id);
            self.spoil(message_id);
        }
    }

    /// A change of visibility that was acknowledged.
    pub fn visibility_changed(&mut self, handle: &str, visible_ms: u64) {
        let found = self.messages.iter_mut().find(|message| message.handle.as_deref() == Some(handle));
        if let Some(message) = found {
            message.visible_ms = visible_ms;
            let id = message.id.clone();
            self.spoil(&id);
        }
    }

    fn spoil(&mut self, message_id: &str) {
        for attempt in &mut self.attempts {
            attempt.is_spoilt |= attempt.gave.iter().any(|(id, _)| id == message_id);
        }
    }

    /// A purge that was acknowledged.
    pub fn purged(&mut self, now: u64) {
        self.messages.clear();
        // What is remembered of sends goes with their messages, and so does what is of receives, some time later.
        self.firsts.clear();
        self.attempts.clear();
        self.purged_ms = Some(now);
    }

    /// Lets go of what is too old. Gives how many messages that were.
    pub fn expire(&mut self, now: u64) -> usize {
        let before = self.messages.len();
        let kept_ms = self.settings.retention_ms;
        let (kept, gone): (Vec<Message>, Vec<Message>) =
            self.messages.drain(..).partition(|message| now < message.kept_from_ms + kept_ms);
        self.messages = kept;
        gone.iter().for_each(|message| self.spoil(&message.id));
        before - self.messages.len()
    }
}

/// SHA-256 of a text in hexadecimal digits, which is what AWS takes for the id of a body.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in hash::sha256(bytes) {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}
