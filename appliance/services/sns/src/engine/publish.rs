//! Publish: one operation on the topic's shard.
//! Invariant: a message that was taken has, in the same batch, one entry in the outbox for each shard with a queue that
//! wants it, and one delivery for each web hook; a repetition of it leaves nothing. On a topic that keeps order, the order
//! of the entries is that of the sequence numbers. A message that is too long for that takes several batches, and is taken
//! with the last.
//! Leaves to filter: who wants it. To dead_letter: what cannot be sent in the form that it would need.

use std::rc::Rc;
use std::sync::Arc;

use plan::delivery::topic_place;
use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::fan_out::{Cursor, FanOut, Origin, Sent, Signature};
use super::topics::{Compiled, compiled};
use crate::failures::Failures;
use crate::model::arn::Uuid;
use crate::model::limits::DEDUPLICATION_MS;
use crate::store::dedup::{Taken, decode, dedup_key, encode, line_key};
use crate::store::subscription::topic_prefix;
use crate::store::topic::topic_key;
use crate::store::{DEDUP, DEDUP_LINE, SUBSCRIPTIONS, TOPICS};
use crate::wire::error::Error;
use crate::wire::message::Draft;

/// A message that is to be published.
#[derive(Clone)]
pub struct Entry {
    /// The message, or why it is none.
    pub draft: Result<Arc<Draft>, Error>,
    /// The signatures of its texts; empty as long as nobody needs one.
    pub signatures: Vec<Signature>,
}

/// What was made of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its id, or that of the message that it repeats.
    pub message: Uuid,
    /// Its place in the order, if the topic keeps one.
    pub sequence: Option<u64>,
}

/// How the operation ended.
pub enum Ending {
    /// One outcome for each entry.
    Done(Vec<Result<Published, Error>>),
    /// What fits into one batch was done. The operation is to run again from there, or nobody may say that it was done.
    More(Resume),
    /// A recipient gets the envelope, and the signatures are not there: nothing was done.
    Unsigned,
    /// There is no such topic.
    NoTopic,
}

/// Where an operation goes on that one batch could not hold.
#[derive(Clone)]
pub struct Resume {
    /// The outcomes of the entries that are done.
    outcomes: Vec<Result<Published, Error>>,
    /// How far the next one came, if it was begun, and its place in the order, if the topic keeps one.
    begun: Option<(Cursor, Option<u64>)>,
}

/// The operation.
#[derive(Clone)]
pub struct Publish {
    /// Where it comes from.
    pub origin: Origin,
    /// The messages, in their order.
    pub entries: Vec<Entry>,
    /// Where it goes on.
    pub resume: Option<Resume>,
    /// Where dropped messages are counted.
    pub failures: Failures,
}

/// What became of one entry.
enum Step {
    Done(Result<Published, Error>),
    More(Option<(Cursor, Option<u64>)>),
    Unsigned,
}

impl Operation for Publish {
    type Reply = Ending;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        let Origin { account, name, .. } = &self.origin;
        declare(TOPICS, &topic_key(account, name));
        declare(SUBSCRIPTIONS, &topic_prefix(account, name));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Ending>, Fault> {
        let key = topic_key(&self.origin.account, &self.origin.name);
        let Some(compiled) = compiled(tx, &key)? else { return Ok(Outcome::Rollback(Ending::NoTopic)) };
        let mut outcomes = self.resume.as_ref().map_or_else(Vec::new, |resume| resume.outcomes.clone());
        let mut begun = self.resume.as_ref().and_then(|resume| resume.begun);
        let mut spent_bytes = 0;
        for entry in &self.entries[outcomes.len()..] {
            match self.publish(tx, &compiled, entry, begun.take(), &mut spent_bytes)? {
                Step::Done(outcome) => outcomes.push(outcome),
                Step::More(begun) => {
                    return Ok(Outcome::Commit(Ending::More(Resume { outcomes, begun })));
                }
                Step::Unsigned => return Ok(Outcome::Rollback(Ending::Unsigned)),
            }
        }
        Ok(Outcome::Commit(Ending::Done(outcomes)))
    }
}

impl Publish {
    /// Publishes one message, or what of it is left: then it has its place in the order already.
    fn publish(
        &self,
        tx: &mut Tx<'_>,
        compiled: &Rc<Compiled>,
        entry: &Entry,
        begun: Option<(Cursor, Option<u64>)>,
        spent_bytes: &mut usize,
    ) -> Result<Step, Fault> {
        let topic = &compiled.topic;
        let draft = match entry.draft.as_ref().map_err(Error::clone).and_then(|draft| {
            draft.check(topic)?;
            Ok(draft)
        }) {
            Ok(draft) => draft,
            Err(error) => return Ok(Step::Done(Err(error))),
        };
        let deduplication = draft.deduplication(topic);
        let dedup = deduplication.as_deref().map(|id| {
            let group = draft.message.group.as_deref().filter(|_| topic.deduplicates_by_group());
            dedup_key(topic.number, group, id)
        });
        if begun.is_none()
            && let Some(key) = &dedup
            && let Some(Taken { message, sequence, .. }) = taken(tx, key)?
        {
            return Ok(Step::Done(Ok(Published { message, sequence: Some(sequence) })));
        }
        let from = begun.map(|(cursor, _)| cursor);
        let given = begun.and_then(|(_, sequence)| sequence);
        let sequence = given.or_else(|| topic.is_fifo().then(|| sequence_of(tx.next_sequence())));
        let fan_out = FanOut {
            origin: &self.origin,
            compiled,
            message: &draft.message,
            deduplication: deduplication.as_deref(),
            sequence,
            signatures: &entry.signatures,
            failures: &self.failures,
        };
        match fan_out.send(tx, from, spent_bytes)? {
            Sent::All => {}
            Sent::Some(cursor) => return Ok(Step::More(Some((cursor, sequence)))),
            Sent::Nothing => return Ok(Step::More(None)),
            Sent::Unsigned => return Ok(Step::Unsigned),
        }
        let message = draft.message.id;
        // With the last of it: a repetition of what was sent in part sends it whole.
        if let (Some(key), Some(sequence)) = (&dedup, sequence) {
            remember(tx, key, message, sequence)?;
        }
        Ok(Step::Done(Ok(Published { message, sequence })))
    }
}

/// The number that clients see of a number of the store: batch and position in it, which never repeat.
fn sequence_of(number: u128) -> u64 {
    let (batch, position) = ((number >> 64) as u64, number as u64);
    (batch << POSITION_BITS) | (position & ((1 << POSITION_BITS) - 1))
}

/// Effects of a batch are far fewer than 2^20, as its bytes are bounded.
const POSITION_BITS: u32 = 20;

/// The message that came with this id within the last five minutes.
fn taken(tx: &mut Tx<'_>, key: &[u8]) -> Result<Option<Taken>, Fault> {
    let now = tx.now();
    let found = tx.get_ref(DEDUP, key, |record| record.map(|record| decode(record.value)))?;
    Ok(found.transpose()?.filter(|taken| taken.expiry > now))
}

fn remember(tx: &mut Tx<'_>, key: &[u8; 24], message: Uuid, sequence: u64) -> Result<(), Fault> {
    // An older one whose time has passed leaves the line together with the record that this replaces.
    let old = tx.get_ref(DEDUP, key, |record| record.map(|record| decode(record.value)))?.transpose()?;
    if let Some(old) = old {
        tx.delete(DEDUP_LINE, &line_key(old.expiry, key));
    }
    let expiry = tx.now().plus_ms(DEDUPLICATION_MS);
    tx.put(DEDUP, key, &encode(&Taken { message, sequence, expiry }), Vec::new(), false);
    tx.put(DEDUP_LINE, &line_key(expiry, key), &[], Vec::new(), false);
    Ok(())
}

impl Publish {
    /// Runs it on the shard of its topic.
    pub fn submit<T>(self, cx: &Context<'_>, then: T) -> Plan
    where
        T: FnOnce(&mut Context<'_>, Result<Ending, Fault>) -> Plan + 'static,
    {
        let shard = cx.store.place(&topic_place(&self.origin.account, &self.origin.name));
        Plan::submit(shard, self, then)
    }
}
