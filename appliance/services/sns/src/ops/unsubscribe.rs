//! Unsubscribe: by the owner of the subscription or of the topic, or by whoever has the link that stands in messages.
//! Invariant: a subscription whose owner wants it is ended by those who signed only.

use aws::query::Parameters;
use plan::{Context, Plan};
use store::Tx;

use super::subscription_attributes::{is_owner, not_owner};
use crate::call::{Shared, settle};
use crate::engine::on_topic::on_topic;
use crate::engine::subscriptions::remove;
use crate::engine::topics::compiled;
use crate::model::topic::Topic;
use crate::store::topic::topic_key;
use crate::wire::authentication;
use crate::wire::error::Error;
use crate::wire::request::subscription_arn;

/// Begins it. To end what is not there is a success.
pub fn start(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let arn = subscription_arn(parameters.root())?;
    let id = arn.id;
    if arn.topic.region != call.config.region {
        return Err(Error::invalid("SubscriptionArn"));
    }
    if call.caller.is_some() {
        call.authorize_subscriber(arn.topic)?;
    }
    let key = topic_key(arn.topic.account, arn.topic.name);
    let caller: Option<Box<str>> = call.caller.as_ref().map(|account| account.id.as_str().into());
    let work = move |tx: &mut Tx<'_>, _: Option<Topic>| {
        let Some(compiled) = compiled(tx, &key)? else { return Ok(Ok(())) };
        let found =
            compiled.subscriptions.iter().map(|known| &known.subscription).find(|known| known.id == id);
        let Some(found) = found else { return Ok(Ok(())) };
        match &caller {
            None if found.authenticate_on_unsubscribe => return Ok(Err(authentication::missing())),
            Some(caller) if !is_owner(caller, found, &compiled.topic.account) => return Ok(Err(not_owner())),
            None | Some(_) => {}
        }
        remove(tx, &compiled, id)?;
        Ok(Ok(()))
    };
    Ok(on_topic(cx, arn.topic, work, move |_, outcome| {
        let plan = outcome.map(|()| call.done());
        settle(&call, plan)
    }))
}
