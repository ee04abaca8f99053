//! GetTopicAttributes, SetTopicAttributes.

use aws::query::Parameters;
use aws::xml::Writer;
use plan::{Context, Plan};
use store::Tx;

use crate::call::{Shared, settle};
use crate::engine::on_topic::{Decided, on_topic, put_topic};
use crate::model::limits::{LARGE_SUBSCRIPTION_COUNT_MAX, MESSAGE_BYTES_DEFAULT};
use crate::model::topic::{Setting, Topic};
use crate::wire::attributes::{Change, DEFAULT_DELIVERY_POLICY, default_policy, topic_attribute};
use crate::wire::error::Error;
use crate::wire::reply::entry;
use crate::wire::request::{required, topic_arn};

/// Begins GetTopicAttributes.
pub fn get(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let arn = topic_arn(parameters.root())?;
    let topic = call.topic(cx, arn)?;
    Ok(call.reply(REPLY_BYTES, |out| {
        out.open("Attributes");
        show(out, &topic, &arn.to_string());
        out.close("Attributes");
    }))
}

/// Room for a reply; a long policy takes more.
const REPLY_BYTES: usize = 2_048;

fn show(out: &mut Writer, topic: &Topic, arn: &str) {
    entry(out, "TopicArn", arn);
    entry(out, "Owner", &topic.account);
    entry(out, "DisplayName", topic.setting(Setting::DisplayName).unwrap_or_default());
    let default = default_policy(arn, &topic.account);
    entry(out, "Policy", topic.setting(Setting::Policy).unwrap_or(&default));
    entry(out, "SubscriptionsConfirmed", &topic.counts.confirmed.to_string());
    entry(out, "SubscriptionsPending", &topic.counts.pending.to_string());
    entry(out, "SubscriptionsDeleted", &topic.counts.deleted.to_string());
    let delivery = topic.setting(Setting::DeliveryPolicy).unwrap_or(DEFAULT_DELIVERY_POLICY);
    entry(out, "EffectiveDeliveryPolicy", delivery);
    let shown = [Setting::DisplayName, Setting::Policy];
    for (setting, value) in topic.settings.iter().filter(|(setting, _)| !shown.contains(setting)) {
        entry(out, setting.name(), value);
    }
    // Two that every topic that keeps order has, set or not.
    if topic.is_fifo() && topic.setting(Setting::ContentBasedDeduplication).is_none() {
        entry(out, "ContentBasedDeduplication", "false");
    }
}

/// Begins SetTopicAttributes.
pub fn set(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = topic_arn(root)?;
    let name = required(root, "AttributeName")?;
    let topic = call.topic(cx, arn)?;
    let setting_named = Setting::parse(name);
    if setting_named.is_none() {
        return Err(Error::invalid("AttributeName"));
    }
    let value = root.text("AttributeValue").unwrap_or_default();
    let (setting, value) =
        topic_attribute(name, value, topic.is_fifo()).map_err(|why| match setting_named {
            Some(Setting::Policy) => Error::invalid(&why),
            _ => Error::invalid(&format!("AttributeValue Reason: {why}")),
        })?;
    // Whether a topic keeps order is part of what it is.
    if setting == Setting::FifoTopic {
        return Err(Error::invalid("AttributeName"));
    }
    let work = move |tx: &mut Tx<'_>, found: Option<Topic>| change(tx, found, (setting, value.clone()));
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| call.done());
        settle(&call, plan)
    }))
}

fn change(tx: &mut Tx<'_>, found: Option<Topic>, (setting, value): Change) -> Decided<()> {
    let Some(mut topic) = found else { return Ok(Err(Error::no_topic())) };
    match value {
        Some(value) => topic.settings.insert(setting, value),
        None => topic.settings.remove(&setting),
    };
    let is_large = topic.message_bytes_max() > MESSAGE_BYTES_DEFAULT;
    if setting == Setting::MaximumMessageSize && is_large {
        let key = crate::store::topic::topic_key(&topic.account, &topic.name);
        let compiled = crate::engine::topics::compiled(tx, &key)?;
        let only_queues = compiled
            .iter()
            .all(|compiled| compiled.subscriptions.iter().all(|known| known.subscription.queue().is_some()));
        if !only_queues || topic.counts.present() > LARGE_SUBSCRIPTION_COUNT_MAX as u64 {
            return Ok(Err(Error::invalid(
                "AttributeValue Reason: MaximumMessageSize above 262144 is for topics with at most 100 subscriptions of queues",
            )));
        }
    }
    put_topic(tx, &mut topic);
    Ok(Ok(()))
}
