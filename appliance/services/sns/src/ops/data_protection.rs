//! GetDataProtectionPolicy, PutDataProtectionPolicy: the policy is kept and shown; nothing acts on it.

use aws::query::{Node, Parameters};
use plan::{Context, Plan};
use store::Tx;

use crate::call::{Shared, settle};
use crate::engine::on_topic::{on_topic, put_topic};
use crate::model::arn::TopicArn;
use crate::model::limits::POLICY_BYTES_MAX;
use crate::model::topic::Topic;
use crate::wire::attributes::is_object;
use crate::wire::error::Error;
use crate::wire::request::required;

/// Begins GetDataProtectionPolicy.
pub fn get(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let topic = call.topic(cx, resource(parameters.root())?)?;
    let policy = topic.data_protection.as_deref().unwrap_or_default();
    Ok(call.reply(policy.len(), |out| out.text("DataProtectionPolicy", policy)))
}

/// Begins PutDataProtectionPolicy. An empty policy removes the one that is there.
pub fn put(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let root = parameters.root();
    let arn = resource(root)?;
    let policy = root.text("DataProtectionPolicy").ok_or_else(|| Error::missing("DataProtectionPolicy"))?;
    if policy.len() > POLICY_BYTES_MAX || !(policy.is_empty() || is_object(policy)) {
        return Err(Error::invalid("DataProtectionPolicy"));
    }
    call.topic(cx, arn)?;
    let policy: Option<Box<str>> = (!policy.is_empty()).then(|| policy.into());
    let work = move |tx: &mut Tx<'_>, found: Option<Topic>| {
        let Some(mut topic) = found else { return Ok(Err(Error::no_topic())) };
        topic.data_protection = policy.clone();
        put_topic(tx, &mut topic);
        Ok(Ok(()))
    };
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| call.done());
        settle(&call, plan)
    }))
}

fn resource(root: Node<'_>) -> Result<TopicArn<'_>, Error> {
    TopicArn::parse(required(root, "ResourceArn")?).ok_or_else(|| Error::invalid("ResourceArn"))
}
