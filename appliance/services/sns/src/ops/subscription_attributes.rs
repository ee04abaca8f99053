//! GetSubscriptionAttributes, SetSubscriptionAttributes.

use aws::query::Parameters;
use aws::xml::Writer;
use plan::{Context, Plan};
use store::Tx;

use crate::call::{Call, Shared, settle};
use crate::engine::on_topic::{on_topic, shard_of};
use crate::engine::subscriptions::set as set_settings;
use crate::engine::topics::compiled;
use crate::model::arn::SubscriptionArn;
use crate::model::subscription::{Protocol, Subscription};
use crate::model::topic::Topic;
use crate::store::SUBSCRIPTIONS;
use crate::store::subscription::{decode, subscription_key};
use crate::store::topic::topic_key;
use crate::wire::attributes::{DEFAULT_DELIVERY_POLICY, subscription_attributes};
use crate::wire::error::{Code, Error};
use crate::wire::reply::entry;
use crate::wire::request::{required, subscription_arn};

/// Whether somebody owns a subscription, or the topic that it is one of.
#[must_use]
pub fn is_owner(caller: &str, subscription: &Subscription, topic_account: &str) -> bool {
    caller == &*subscription.owner || caller == topic_account
}

/// Somebody else's subscription.
#[must_use]
pub fn not_owner() -> Error {
    Error::new(Code::AuthorizationError, "Not authorized: the subscription belongs to another account")
}

/// A subscription that the caller owns, with its topic. Errors: NotFound, AuthorizationError.
fn find(call: &Call, cx: &Context<'_>, arn: SubscriptionArn<'_>) -> Result<(Topic, Subscription), Error> {
    let topic = call.find_topic(cx, arn.topic)?.ok_or_else(Error::no_subscription)?;
    let view = cx.store.view(shard_of(cx, arn.topic.account, arn.topic.name))?;
    let key = subscription_key(arn.topic.account, arn.topic.name, arn.id);
    let record = view.get(SUBSCRIPTIONS, &key)?.ok_or_else(Error::no_subscription)?;
    let subscription = decode(&key, record.value)?;
    if subscription.topic != topic.number {
        return Err(Error::no_subscription());
    }
    if !is_owner(call.account_id()?, &subscription, &topic.account) {
        return Err(not_owner());
    }
    call.authorize_subscriber(arn.topic)?;
    Ok((topic, subscription))
}

/// Begins GetSubscriptionAttributes.
pub fn get(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let arn = subscription_arn(parameters.root())?;
    let (_, subscription) = find(&call, cx, arn)?;
    Ok(call.reply(REPLY_BYTES, |out| {
        out.open("Attributes");
        show(out, arn, &subscription);
        out.close("Attributes");
    }))
}

/// Room for a reply; a long policy takes more.
const REPLY_BYTES: usize = 1_536;

fn show(out: &mut Writer, arn: SubscriptionArn<'_>, subscription: &Subscription) {
    let truth = |value: bool| if value { "true" } else { "false" };
    let owner = &subscription.owner;
    entry(out, "SubscriptionArn", &arn.to_string());
    entry(out, "TopicArn", &arn.topic.to_string());
    entry(out, "Owner", owner);
    entry(out, "SubscriptionPrincipal", &aws::arn::account_root(owner));
    entry(out, "Protocol", subscription.protocol.name());
    entry(out, "Endpoint", &subscription.endpoint);
    entry(out, "PendingConfirmation", truth(!subscription.confirmed));
    entry(out, "ConfirmationWasAuthenticated", truth(subscription.authenticated));
    let settings = &subscription.settings;
    entry(out, "RawMessageDelivery", truth(settings.raw));
    if let Some(policy) = &settings.filter_policy {
        entry(out, "FilterPolicy", policy);
        entry(out, "FilterPolicyScope", settings.filter_scope.name());
    }
    if let Some(policy) = &settings.redrive_policy {
        entry(out, "RedrivePolicy", policy);
    }
    if let Some(policy) = &settings.delivery_policy {
        entry(out, "DeliveryPolicy", policy);
    }
    if subscription.protocol != Protocol::Sqs {
        let policy = settings.delivery_policy.as_deref().unwrap_or(DEFAULT_DELIVERY_POLICY);
        entry(out, "EffectiveDeliveryPolicy", policy);
    }
}

/// Begins SetSubscriptionAttributes.
pub fn set(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = subscription_arn(root)?;
    let name = required(root, "AttributeName")?;
    let value = root.text("AttributeValue").unwrap_or_default();
    let (topic, subscription) = find(&call, cx, arn)?;
    let wrong = |why: String| {
        // An attribute that there is not is another parameter than a value that is none.
        if why == "AttributeName" {
            Error::invalid(&why)
        } else {
            Error::invalid(&format!("AttributeValue Reason: {why}"))
        }
    };
    let is_fifo = subscription.queue().is_some_and(|queue| queue.is_fifo());
    // For the refusal; the shard decides again on what it has by then.
    subscription_attributes(&subscription.settings, &[(name, value)], &topic, is_fifo).map_err(wrong)?;
    let (name, value) = (name.to_owned(), value.to_owned());
    let (key, id) = (topic_key(arn.topic.account, arn.topic.name), arn.id);
    let work = move |tx: &mut Tx<'_>, _: Option<Topic>| {
        let Some(compiled) = compiled(tx, &key)? else { return Ok(Err(Error::no_subscription())) };
        let found = compiled.subscriptions.iter().find(|known| known.subscription.id == id);
        let Some(found) = found else { return Ok(Err(Error::no_subscription())) };
        let old = &found.subscription.settings;
        match subscription_attributes(old, &[(&name, &value)], &compiled.topic, is_fifo) {
            Ok(settings) => set_settings(tx, &compiled, id, settings),
            Err(why) => Ok(Err(Error::invalid(&format!("AttributeValue Reason: {why}")))),
        }
    };
    Ok(on_topic(cx, arn.topic, work, move |_, outcome| {
        let plan = outcome.map(|()| call.done());
        settle(&call, plan)
    }))
}
