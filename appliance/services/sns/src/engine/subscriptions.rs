//! Subscribing, confirming, changing and ending: what each does to the records of a topic.
//! Invariant: the counts of a topic say how many of its subscriptions are what; every change is kept compiled at once.

use std::rc::Rc;

use store::{Fault, Tx};

use super::confirmation;
use super::on_topic::{Decided, put_topic};
use super::topics::{Compiled, Recipient, remember_change};
use crate::model::arn::Uuid;
use crate::model::limits::{
    FILTERED_COUNT_MAX, LARGE_SUBSCRIPTION_COUNT_MAX, MESSAGE_BYTES_DEFAULT, SUBSCRIPTION_COUNT_MAX,
};
use crate::model::subscription::{Protocol, Settings, Subscription};
use crate::model::topic::Topic;
use crate::store::SUBSCRIPTIONS;
use crate::store::subscription::{encode, subscription_key};
use crate::wire::error::{Code, Error};

/// Adds a subscription, or gives the one that goes to the same place already.
pub fn add(
    tx: &mut Tx<'_>,
    compiled: &Compiled,
    wanted: &Subscription,
    given: bool,
) -> Decided<Subscription> {
    let same = compiled
        .subscriptions
        .iter()
        .map(|known| &known.subscription)
        .find(|known| known.protocol == wanted.protocol && known.endpoint == wanted.endpoint);
    if let Some(known) = same {
        // Without attributes nothing is compared: the subscription is what its owner made of it since.
        let differs = given && known.settings != wanted.settings;
        return Ok(if differs {
            Err(Error::invalid("Attributes Reason: Subscription already exists with different attributes"))
        } else {
            Ok(known.clone())
        });
    }
    if let Err(error) = has_room(&compiled.topic, wanted) {
        return Ok(Err(error));
    }
    let mut added = wanted.clone();
    added.topic = compiled.topic.number;
    let mut subscriptions = compiled.subscriptions.clone();
    let place = subscriptions.partition_point(|known| known.subscription.id < added.id);
    subscriptions.insert(place, Rc::new(Recipient::compile(added.clone())?));
    store(tx, compiled.topic.clone(), subscriptions, Some(&added), None)?;
    Ok(Ok(added))
}

/// Whether a topic takes one more subscription.
fn has_room(topic: &Topic, wanted: &Subscription) -> Result<(), Error> {
    let is_large = topic.message_bytes_max() > MESSAGE_BYTES_DEFAULT;
    if is_large && wanted.protocol != Protocol::Sqs {
        return Err(Error::invalid(
            "Protocol Reason: A topic whose MaximumMessageSize is above 262144 takes no subscriptions of this protocol",
        ));
    }
    let max = if is_large { LARGE_SUBSCRIPTION_COUNT_MAX } else { SUBSCRIPTION_COUNT_MAX };
    if topic.counts.present() >= max as u64 {
        return Err(Error::new(Code::SubscriptionLimitExceeded, "Subscription limit exceeded"));
    }
    if wanted.settings.filter_policy.is_some() {
        has_filter_room(topic)?;
    }
    Ok(())
}

fn has_filter_room(topic: &Topic) -> Result<(), Error> {
    if topic.counts.filtered < FILTERED_COUNT_MAX as u64 {
        return Ok(());
    }
    Err(Error::new(Code::FilterPolicyLimitExceeded, "Filter policy limit exceeded"))
}

/// Replaces the settings of a subscription, if it is there.
pub fn set(tx: &mut Tx<'_>, compiled: &Compiled, id: Uuid, settings: Settings) -> Decided<()> {
    replace(tx, compiled, id, |subscription| {
        if settings.filter_policy.is_some() && subscription.settings.filter_policy.is_none() {
            has_filter_room(&compiled.topic)?;
        }
        subscription.settings = settings;
        Ok(())
    })
}

/// Confirms a subscription, if it is there.
pub fn confirm(
    tx: &mut Tx<'_>,
    compiled: &Compiled,
    id: Uuid,
    authenticated: bool,
    authenticate_on_unsubscribe: bool,
) -> Decided<()> {
    replace(tx, compiled, id, |subscription| {
        // A second confirmation changes nothing: who ends it was settled by the first.
        if !subscription.confirmed {
            subscription.confirmed = true;
            subscription.authenticated = authenticated;
            subscription.authenticate_on_unsubscribe = authenticate_on_unsubscribe;
        }
        Ok(())
    })
}

fn replace(
    tx: &mut Tx<'_>,
    compiled: &Compiled,
    id: Uuid,
    change: impl FnOnce(&mut Subscription) -> Result<(), Error>,
) -> Decided<()> {
    let mut subscriptions = compiled.subscriptions.clone();
    let Some(place) = subscriptions.iter().position(|known| known.subscription.id == id) else {
        return Ok(Err(Error::no_subscription()));
    };
    let old = Rc::clone(&subscriptions[place]);
    let mut changed = old.subscription.clone();
    if let Err(error) = change(&mut changed) {
        return Ok(Err(error));
    }
    if changed == old.subscription {
        return Ok(Ok(()));
    }
    subscriptions[place] = Rc::new(Recipient::compile(changed.clone())?);
    store(tx, compiled.topic.clone(), subscriptions, Some(&changed), Some(&old.subscription))?;
    Ok(Ok(()))
}

/// Ends a subscription. Gives it; nothing when it is not there.
pub fn remove(tx: &mut Tx<'_>, compiled: &Compiled, id: Uuid) -> Result<Option<Subscription>, Fault> {
    let mut subscriptions = compiled.subscriptions.clone();
    let Some(place) = subscriptions.iter().position(|known| known.subscription.id == id) else {
        return Ok(None);
    };
    let old = subscriptions.remove(place);
    let mut topic = compiled.topic.clone();
    topic.counts.deleted += 1;
    confirmation::forget(tx, &topic.account, &topic.name, &old.subscription)?;
    store(tx, topic, subscriptions, None, Some(&old.subscription))?;
    Ok(Some(old.subscription.clone()))
}

/// Writes one subscription that was added, changed (`new` and `old`) or removed, and its topic with the counts.
fn store(
    tx: &mut Tx<'_>,
    mut topic: Topic,
    subscriptions: Vec<Rc<Recipient>>,
    new: Option<&Subscription>,
    old: Option<&Subscription>,
) -> Result<(), Fault> {
    if let Some(old) = old {
        count(&mut topic, old, &|count| count.saturating_sub(1));
        if new.is_none() {
            tx.delete(SUBSCRIPTIONS, &subscription_key(&topic.account, &topic.name, old.id));
        }
    }
    if let Some(new) = new {
        count(&mut topic, new, &|count| count + 1);
        let key = subscription_key(&topic.account, &topic.name, new.id);
        tx.put(SUBSCRIPTIONS, &key, &encode(new), Vec::new(), old.is_none());
    }
    put_topic(tx, &mut topic);
    remember_change(tx, topic, subscriptions);
    Ok(())
}

fn count(topic: &mut Topic, subscription: &Subscription, change: &dyn Fn(u64) -> u64) {
    let counts = &mut topic.counts;
    let state = if subscription.confirmed { &mut counts.confirmed } else { &mut counts.pending };
    *state = change(*state);
    if subscription.is_enveloped() {
        counts.enveloped = change(counts.enveloped);
    }
    if subscription.settings.filter_policy.is_some() {
        counts.filtered = change(counts.filtered);
    }
}
