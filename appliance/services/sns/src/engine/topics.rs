//! What a shard keeps ready about its topics: subscriptions with their filters compiled.
//! Invariant: what is handed out was made from the records as the running operation sees them: it bears the stamp of the
//! stored topic, and every change of a topic or of its subscriptions changes the stamp.
//! Leaves to filter: what a policy wants.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use store::{Direction, Fault, Tx};

use crate::filter::Filter;
use crate::model::subscription::Subscription;
use crate::model::topic::Topic;
use crate::store::subscription::topic_prefix;
use crate::store::topic::{STAMP_BYTES, Stamp, encode, stamp, topic_key};
use crate::store::{SUBSCRIPTIONS, TOPICS, subscription, topic};

/// The topics of a shard that were used.
#[derive(Default)]
pub struct Topics {
    by_key: HashMap<Vec<u8>, Rc<Compiled>>,
    /// What all of them weigh.
    bytes: usize,
}

/// A topic with its subscriptions.
pub struct Compiled {
    /// Which state of the topic this is.
    stamp: Stamp,
    /// The topic.
    pub topic: Topic,
    /// Its subscriptions in the order of their ids.
    pub subscriptions: Vec<Rc<Recipient>>,
}

/// A subscription with its filter.
pub struct Recipient {
    /// The subscription.
    pub subscription: Subscription,
    /// Which messages it wants; None: all.
    pub filter: Option<Filter>,
}

/// What a shard keeps compiled weighs at most.
const BYTES_MAX: usize = 128 * 1024 * 1024;
/// What a subscription weighs beside its texts.
const SUBSCRIPTION_BYTES: usize = 512;
/// What a byte of a filter policy weighs together with what it was compiled to.
const FILTER_FACTOR: usize = 8;

impl Compiled {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let Topic { settings, tags, data_protection, .. } = &self.topic;
        let texts = settings.values().map(|value| value.len()).sum::<usize>()
            + tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
            + data_protection.as_ref().map_or(0, |text| text.len());
        texts + SUBSCRIPTION_BYTES + self.subscriptions.iter().map(|one| one.bytes()).sum::<usize>()
    }
}

impl Recipient {
    /// Compiles one. Errors: `Fault::Corrupt` for a policy that could not have been set.
    pub fn compile(subscription: Subscription) -> Result<Recipient, Fault> {
        let settings = &subscription.settings;
        let filter =
            settings.filter_policy.as_deref().map(|policy| Filter::parse(policy, settings.filter_scope));
        let filter = filter.transpose().map_err(|error| {
            Fault::corrupt(format!(
                "sns subscription {} has a filter policy that is none: {error}",
                subscription.id
            ))
        })?;
        Ok(Recipient { subscription, filter })
    }

    fn bytes(&self) -> usize {
        let Subscription { endpoint, settings, .. } = &self.subscription;
        let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let policies = length(&settings.redrive_policy) + length(&settings.delivery_policy);
        let filter = FILTER_FACTOR * length(&settings.filter_policy);
        SUBSCRIPTION_BYTES + endpoint.len() + policies + filter
    }
}

impl Topics {
    fn get(&self, key: &[u8], stamp: &Stamp) -> Option<&Rc<Compiled>> {
        self.by_key.get(key).filter(|compiled| compiled.stamp == *stamp)
    }

    fn put(&mut self, key: Vec<u8>, compiled: Rc<Compiled>) {
        self.forget(&key);
        let bytes = compiled.bytes();
        if bytes > BYTES_MAX {
            return;
        }
        // Full: begin anew rather than keep an order of use for what is read again in one walk.
        if self.bytes + bytes > BYTES_MAX {
            self.by_key.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.by_key.insert(key, compiled);
    }

    fn forget(&mut self, key: &[u8]) {
        if let Some(old) = self.by_key.remove(key) {
            self.bytes -= old.bytes();
        }
    }
}

/// The topic of a key with its subscriptions, as this operation sees them; None: there is no such topic.
pub fn compiled(tx: &mut Tx<'_>, key: &[u8]) -> Result<Option<Rc<Compiled>>, Fault> {
    let found = tx.get_ref(TOPICS, key, |record| record.map(|record| stamp(record.value)))?;
    let Some(stamp) = found.transpose()? else { return Ok(None) };
    if let Some(known) = tx.resident::<Topics>().and_then(|topics| topics.get(key, &stamp)) {
        return Ok(Some(Rc::clone(known)));
    }
    let found = tx.get_ref(TOPICS, key, |record| record.map(|record| topic::decode(key, record.value)))?;
    let Some(topic) = found.transpose()? else { return Ok(None) };
    let mut subscriptions = Vec::new();
    for subscription in subscriptions_of(tx, &topic)? {
        subscriptions.push(Rc::new(Recipient::compile(subscription)?));
    }
    let made = Rc::new(Compiled { stamp, topic, subscriptions });
    remember(tx, Rc::clone(&made));
    Ok(Some(made))
}

/// Keeps what a change makes of a topic, so that the next operation need not read it again.
fn remember(tx: &mut Tx<'_>, compiled: Rc<Compiled>) {
    let key = topic_key(&compiled.topic.account, &compiled.topic.name);
    tx.then::<Topics>(move |topics, _| topics.put(key, compiled));
}

/// Keeps a topic and its subscriptions as the running operation has just stored them.
pub fn remember_change(tx: &mut Tx<'_>, topic: Topic, subscriptions: Vec<Rc<Recipient>>) {
    let stamp = stamp_of(&topic);
    remember(tx, Rc::new(Compiled { stamp, topic, subscriptions }));
}

/// Drops what is kept about a topic that was deleted.
pub fn forget(tx: &mut Tx<'_>, key: Vec<u8>) {
    tx.then::<Topics>(move |topics, _| topics.forget(&key));
}

fn stamp_of(topic: &Topic) -> Stamp {
    let value = encode(topic);
    let mut stamp = [0; STAMP_BYTES];
    stamp.copy_from_slice(&value[..STAMP_BYTES]);
    stamp
}

/// The stored subscriptions of a topic. Those of an earlier topic of its name, which wait to be removed, are left out.
fn subscriptions_of(tx: &mut Tx<'_>, topic: &Topic) -> Result<Vec<Subscription>, Fault> {
    let prefix = topic_prefix(&topic.account, &topic.name);
    let mut found = Vec::new();
    let mut damage = None;
    tx.scan(SUBSCRIPTIONS, Bound::Included(&prefix), Direction::Forward, u64::MAX, &mut |key, record| {
        if !key.starts_with(&prefix) {
            return ControlFlow::Break(());
        }
        match subscription::decode(key, record.value) {
            Ok(subscription) if subscription.topic == topic.number => found.push(subscription),
            Ok(_) => {}
            Err(fault) => {
                damage = Some(fault);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    damage.map_or(Ok(found), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::subscription::tests::plain_subscription;
    use crate::store::topic::tests::plain_topic;

    fn compiled_topic(name: &str, subscriptions: u8, policy: Option<&str>) -> Rc<Compiled> {
        let subscription = |id| {
            let mut subscription = plain_subscription(id);
            subscription.settings.filter_policy = policy.map(Into::into);
            Rc::new(Recipient::compile(subscription).expect("compiles"))
        };
        let topic = plain_topic(name);
        let stamp = stamp_of(&topic);
        Rc::new(Compiled { stamp, topic, subscriptions: (0..subscriptions).map(subscription).collect() })
    }

    #[test]
    fn what_a_shard_keeps_compiled_is_bounded_by_its_weight() {
        let policy = format!(r#"{{"a":["{}"]}}"#, "x".repeat(200_000));
        let heavy = compiled_topic("heavy", 20, Some(&policy));
        let weight = heavy.bytes();
        assert!(weight > 20 * 8 * 200_000);
        let mut topics = Topics::default();
        for number in 0..20_u8 {
            topics.put(vec![number], Rc::clone(&heavy));
            assert!(topics.bytes <= BYTES_MAX);
            assert_eq!(topics.bytes, topics.by_key.len() * weight);
        }
        assert!(topics.get(&[19], &heavy.stamp).is_some(), "the last one is kept");
        topics.put(vec![19], compiled_topic("light", 0, None));
        topics.forget(&[18]);
        let left: usize = topics.by_key.values().map(|one| one.bytes()).sum();
        assert_eq!(topics.bytes, left);
    }

    #[test]
    fn what_was_made_of_another_state_of_a_topic_is_not_given() {
        let mut topics = Topics::default();
        let known = compiled_topic("t", 1, None);
        topics.put(b"t".to_vec(), Rc::clone(&known));
        assert!(topics.get(b"t", &known.stamp).is_some());
        let newer = stamp_of(&Topic { generation: 10, ..known.topic.clone() });
        assert!(topics.get(b"t", &newer).is_none());
    }

    #[test]
    fn a_stored_policy_that_is_none_is_damage() {
        let mut subscription = plain_subscription(1);
        subscription.settings.filter_policy = Some("x".into());
        assert!(matches!(Recipient::compile(subscription), Err(Fault::Corrupt(_))));
    }
}
