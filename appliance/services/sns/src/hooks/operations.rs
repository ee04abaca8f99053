//! Deliveries on the shard of their topic: how they come, begin and end.
//! Invariant: a delivery is in its table until an answer has ended it, so it is made at least once; its message goes with
//! the last of them. `Lines` follows each change in the same turn.
//! Leaves to worker.rs: when each operation runs; to post.rs: what happens between `Claim` and `Settle`.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use store::{Direction, Fault, Operation, Outcome, ScanEnd, TableId, Timestamp, Tx};

use super::lines::{Lines, WORKER};
use super::record::{
    DELIVERIES, Delivery, HOLDS, HookMessage, Kind, MESSAGES, Place, decode_count, encode_count, message_key,
};
use super::retry::DeliveryPolicy;
use crate::engine::dead_letter::{Reason, Undelivered, bury};
use crate::failures::Failures;
use crate::model::arn::{TopicArn, Uuid};
use crate::model::subscription::{Protocol, Subscription};
use crate::model::topic::Setting;
use crate::store::subscription::{decode, subscription_key};
use crate::store::topic::{decode as decode_topic, topic_key};
use crate::store::{SUBSCRIPTIONS, TOPICS};

/// Puts a message on its way to subscriptions of a topic, in the batch of the operation that runs, on the topic's shard.
pub fn enqueue(tx: &mut Tx<'_>, account: &str, topic: &str, message: &HookMessage, subscriptions: &[Uuid]) {
    if subscriptions.is_empty() {
        return;
    }
    let id = tx.next_sequence();
    let due = tx.now();
    tx.put(MESSAGES, &message_key(id), &message.encode(), Vec::new(), true);
    tx.put(HOLDS, &message_key(id), &encode_count(subscriptions.len() as u64), Vec::new(), true);
    let delivery =
        Delivery { account: account.into(), topic: topic.into(), message: id, failures: 0 }.encode();
    let places: Vec<_> = subscriptions
        .iter()
        .map(|subscription| Place { subscription: *subscription, due, sequence: id })
        .collect();
    for place in &places {
        tx.put(DELIVERIES, &place.key(), &delivery, Vec::new(), true);
    }
    tx.then(move |lines: &mut Lines, wakes| {
        for place in places {
            lines.offer(place);
        }
        wakes.wake(WORKER, 1);
    });
}

/// Fills `Lines` from the records after a start, a slice at a time. The reply: behind which subscription to go on.
pub(super) struct Load {
    pub(super) after: Option<Uuid>,
}

/// Subscriptions that one `Load` looks at.
const LOAD_COUNT: usize = 200;
/// Keys that one look may step over: deleted ones stand in front of those that are there.
const LOAD_EXAMINED_MAX: u64 = 10_000;

impl Operation for Load {
    type Reply = Option<Uuid>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(DELIVERIES, &self.after.unwrap_or_default().0);
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Option<Uuid>>, Fault> {
        let is_first = self.after.is_none();
        let mut found = Vec::new();
        let mut from = self.after.map(behind);
        let mut last = self.after;
        let mut is_done = false;
        while found.len() < LOAD_COUNT && !is_done {
            let start = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut place = None;
            let end = tx.scan(DELIVERIES, start, Direction::Forward, LOAD_EXAMINED_MAX, &mut |key, _| {
                place = Some(Place::of(key));
                ControlFlow::Break(())
            })?;
            if let Some(place) = place.transpose()? {
                found.push(place);
                last = Some(place.subscription);
                from = Some(behind(place.subscription));
            } else if let ScanEnd::Continue(key) = end {
                from = Some(key);
            } else {
                is_done = true;
            }
        }
        tx.then(move |lines: &mut Lines, _| {
            if is_first {
                lines.forget();
            }
            for place in found {
                lines.offer(place);
            }
        });
        Ok(Outcome::Commit(last.filter(|_| !is_done)))
    }
}

/// The last key that a delivery of a subscription could have.
fn behind(subscription: Uuid) -> Vec<u8> {
    Place { subscription, due: Timestamp(u64::MAX), sequence: u128::MAX }.key()
}

/// A delivery that is to be made now.
pub(super) struct Job {
    pub(super) place: Place,
    /// Bytes that it takes in memory.
    pub(super) bytes: usize,
    /// Nothing: nobody is there for it any more.
    pub(super) work: Option<Work>,
}

/// What is to be sent, and to whom.
pub(super) struct Work {
    pub(super) account: Box<str>,
    pub(super) topic: Box<str>,
    pub(super) protocol: Protocol,
    pub(super) endpoint: Box<str>,
    pub(super) kind: Kind,
    pub(super) message: Uuid,
    pub(super) body: Bytes,
    pub(super) failures: u32,
    pub(super) policy: DeliveryPolicy,
}

/// Takes what is due, or waits until something is.
pub(super) struct Claim;

/// Deliveries that one `Claim` takes.
const CLAIM_COUNT: usize = 32;
/// How long a claim waits at most, in milliseconds: it costs next to nothing, and bounds what a lost wake could do.
const CLAIM_WAIT_MS: u64 = 60_000;
const MS_OF_SECOND: u64 = 1_000;

impl Operation for Claim {
    type Reply = Vec<Job>;

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Vec<Job>>, Fault> {
        let now = tx.now();
        let latest = now.plus_ms(CLAIM_WAIT_MS);
        let Some(lines) = tx.resident::<Lines>() else {
            return Ok(Outcome::Wait { key: WORKER, until: latest });
        };
        let mut jobs = Vec::new();
        let mut topics = HashMap::new();
        let ready = lines.ready(now, CLAIM_COUNT);
        for subscription in &ready {
            if jobs.len() >= CLAIM_COUNT {
                break;
            }
            let before = jobs.len();
            match claim_line(tx, lines, *subscription, &mut topics, &mut jobs) {
                Ok(()) => {}
                Err(Fault::Corrupt(_)) => {
                    // One rotten record holds up its own subscription, not the others of the shard.
                    jobs.truncate(before);
                    put_off(tx, lines, *subscription);
                }
                Err(fault) => return Err(fault),
            }
        }
        if ready.is_empty() {
            let until = lines.next_time().map_or(latest, |at| at.min(latest)).max(now.plus_ms(1));
            return Ok(Outcome::Wait { key: WORKER, until });
        }
        Ok(Outcome::Commit(jobs))
    }
}

/// Looks at a subscription again after a while.
fn put_off(tx: &mut Tx<'_>, lines: &Lines, subscription: Uuid) {
    let (next, again) = (lines.next_of(subscription), tx.now().plus_ms(CLAIM_WAIT_MS));
    tx.then(move |lines: &mut Lines, _| lines.begin(subscription, &[], next, again));
}

/// The delivery policies of topics, while one claim runs.
type TopicPolicies = HashMap<Vec<u8>, Option<Box<str>>>;

/// Takes what is due of one subscription.
fn claim_line(
    tx: &mut Tx<'_>,
    lines: &Lines,
    subscription: Uuid,
    topics: &mut TopicPolicies,
    jobs: &mut Vec<Job>,
) -> Result<(), Fault> {
    let now = tx.now();
    let room = lines.room(subscription).min(CLAIM_COUNT - jobs.len());
    let Some(first) = lines.next_of(subscription) else { return Ok(()) };
    let (mut taken, mut next) = (Vec::new(), None);
    let start = first.key();
    tx.scan(DELIVERIES, Bound::Included(&start), Direction::Forward, u64::MAX, &mut |key, record| {
        let place = match Place::of(key) {
            Ok(place) => place,
            Err(fault) => {
                taken.push(Err(fault));
                return ControlFlow::Break(());
            }
        };
        if place.subscription != subscription {
            return ControlFlow::Break(());
        }
        if lines.is_under_way(&place) {
            return ControlFlow::Continue(());
        }
        if place.due > now || taken.len() >= room {
            next = Some(place);
            return ControlFlow::Break(());
        }
        taken.push(Delivery::decode(record.value).map(|delivery| (place, delivery)));
        ControlFlow::Continue(())
    })?;
    let mut begun = Vec::new();
    let mut not_before = Timestamp(0);
    for one in taken {
        let (place, delivery) = one?;
        if not_before > now {
            // The rate allows no further one now.
            next = Some(next.map_or(place, |next: Place| next.min(place)));
            continue;
        }
        let work = work(tx, subscription, &delivery, topics)?;
        if let Some(rate) = work.as_ref().and_then(|work| work.policy.receives_per_second()) {
            not_before = now.plus_ms(MS_OF_SECOND / u64::from(rate));
        }
        let bytes = work.as_ref().map_or(0, |work| work.body.len());
        begun.push((place, bytes));
        jobs.push(Job { place, bytes, work });
    }
    tx.then(move |lines: &mut Lines, _| lines.begin(subscription, &begun, next, not_before));
    Ok(())
}

/// What is to be sent; nothing when the subscription has gone, or was never confirmed and this is not about that.
fn work(
    tx: &mut Tx<'_>,
    id: Uuid,
    delivery: &Delivery,
    topics: &mut TopicPolicies,
) -> Result<Option<Work>, Fault> {
    let Some(message) = tx.get(MESSAGES, &message_key(delivery.message))? else { return Ok(None) };
    let message = HookMessage::decode(&message.value)?;
    let Some(subscription) = subscription(tx, id, delivery)? else { return Ok(None) };
    if message.kind.is_notification() && !subscription.confirmed {
        return Ok(None);
    }
    let topic_key = topic_key(&delivery.account, &delivery.topic);
    if !topics.contains_key(&topic_key) {
        let topic = tx.get(TOPICS, &topic_key)?;
        let topic = topic.map(|record| decode_topic(&topic_key, &record.value)).transpose()?;
        let policy = topic.and_then(|topic| topic.setting(Setting::DeliveryPolicy).map(Into::into));
        topics.insert(topic_key.clone(), policy);
    }
    let of_topic = topics.get(&topic_key).and_then(Option::as_deref);
    let policy = DeliveryPolicy::in_force(subscription.settings.delivery_policy.as_deref(), of_topic);
    Ok(Some(Work {
        account: delivery.account.clone(),
        topic: delivery.topic.clone(),
        protocol: subscription.protocol,
        endpoint: subscription.endpoint,
        kind: message.kind,
        message: message.message,
        body: message.body(id),
        failures: delivery.failures,
        policy,
    }))
}

fn subscription(tx: &mut Tx<'_>, id: Uuid, delivery: &Delivery) -> Result<Option<Subscription>, Fault> {
    let key = subscription_key(&delivery.account, &delivery.topic, id);
    let Some(record) = tx.get(SUBSCRIPTIONS, &key)? else { return Ok(None) };
    decode(&key, &record.value).map(Some)
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// It was taken, or nobody is there for it.
    Over,
    /// It failed and is tried again after this many milliseconds.
    Again { delay_ms: u64 },
    /// It failed for good.
    Failed(Reason),
}

/// Writes down what became of a delivery.
#[derive(Clone)]
pub(super) struct Settle {
    pub(super) place: Place,
    pub(super) bytes: usize,
    pub(super) ending: Ending,
    pub(super) region: Box<str>,
    pub(super) failures: Failures,
}

impl Operation for Settle {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(DELIVERIES, &self.place.key());
    }

    fn frees(&self) -> bool {
        matches!(self.ending, Ending::Over)
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let key = self.place.key();
        let mut again = None;
        if let Some(record) = tx.get(DELIVERIES, &key)? {
            let mut delivery = Delivery::decode(&record.value)?;
            tx.delete(DELIVERIES, &key);
            if let Ending::Again { delay_ms } = self.ending {
                // Behind everything that a claim may have passed by now.
                let due = tx.now().plus_ms(delay_ms.max(1));
                let place = Place { due, ..self.place };
                delivery.failures = delivery.failures.saturating_add(1);
                tx.put(DELIVERIES, &place.key(), &delivery.encode(), Vec::new(), true);
                again = Some(place);
            } else {
                if let Ending::Failed(reason) = &self.ending {
                    self.bury(tx, &delivery, reason)?;
                }
                release(tx, delivery.message)?;
            }
        }
        let (place, bytes) = (self.place, self.bytes);
        tx.then(move |lines: &mut Lines, wakes| {
            lines.end(&place, bytes, again);
            wakes.wake(WORKER, 1);
        });
        Ok(Outcome::Commit(()))
    }
}

impl Settle {
    /// Sends what could not be delivered to the queue that the subscription names for it.
    fn bury(&self, tx: &mut Tx<'_>, delivery: &Delivery, reason: &Reason) -> Result<(), Fault> {
        let Some(subscription) = subscription(tx, self.place.subscription, delivery)? else { return Ok(()) };
        let Some(record) = tx.get(MESSAGES, &message_key(delivery.message))? else { return Ok(()) };
        let message = HookMessage::decode(&record.value)?;
        if !message.kind.is_notification() {
            return Ok(());
        }
        let Delivery { account, topic, .. } = delivery;
        let topic_arn = TopicArn { region: &self.region, account, name: topic }.to_string();
        let undelivered = Undelivered {
            topic_arn,
            account: account.to_string(),
            message_id: u128::from_be_bytes(message.message.0),
            published_ms: self.place.due.0.min(tx.now().0),
            body: message.body(self.place.subscription),
            attributes: Vec::new(),
            group: None,
            dedup: None,
        };
        bury(tx, &self.failures, &subscription, undelivered, reason, None);
        Ok(())
    }
}

/// One delivery of a message less; the last one takes the message with it.
fn release(tx: &mut Tx<'_>, message: u128) -> Result<(), Fault> {
    let key = message_key(message);
    let count = tx.get(HOLDS, &key)?.map(|record| decode_count(&record.value)).transpose()?;
    match count.unwrap_or_default() {
        0 | 1 => {
            tx.delete(HOLDS, &key);
            tx.delete(MESSAGES, &key);
        }
        count => tx.put(HOLDS, &key, &encode_count(count - 1), Vec::new(), false),
    }
    Ok(())
}
