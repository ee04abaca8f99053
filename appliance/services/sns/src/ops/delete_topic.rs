//! DeleteTopic: the topic goes at once; its subscriptions, which name its number, count no more and are removed by and by.

use aws::query::Parameters;
use plan::{Context, Plan};
use store::Tx;

use crate::call::{Shared, settle};
use crate::engine::on_topic::on_topic;
use crate::engine::sweep::gone_key;
use crate::engine::topics::forget;
use crate::model::topic::Topic;
use crate::store::topic::topic_key;
use crate::store::{GONE, TOPICS};
use crate::wire::error::Error;
use crate::wire::request::topic_arn;

/// Begins it. To delete what is not there is a success.
pub fn start(call: Shared, cx: &mut Context<'_>, parameters: &Parameters<'_>) -> Result<Plan, Error> {
    let arn = topic_arn(parameters.root())?;
    match call.topic(cx, arn) {
        Ok(_) => {}
        Err(error) if error == Error::no_topic() => return Ok(call.done()),
        Err(error) => return Err(error),
    }
    let work = |tx: &mut Tx<'_>, found: Option<Topic>| {
        let Some(topic) = found else { return Ok(Ok(())) };
        let key = topic_key(&topic.account, &topic.name);
        tx.delete(TOPICS, &key);
        if topic.counts.present() > 0 {
            let gone = gone_key(&topic.account, &topic.name, topic.number);
            tx.put(GONE, &gone, &[], Vec::new(), true);
        }
        forget(tx, key);
        Ok(Ok(()))
    };
    Ok(on_topic(cx, arn, work, move |_, outcome| {
        let plan = outcome.map(|()| call.done());
        settle(&call, plan)
    }))
}
