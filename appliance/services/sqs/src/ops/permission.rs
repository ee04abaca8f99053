//! AddPermission and RemovePermission: statements of a queue's policy by their labels.

use plan::{Context, Plan};
use store::{Fault, Outcome, Tx};

use crate::call::{Shared, settle};
use crate::engine::on_queue;
use crate::model::permission::{self, Permission};
use crate::model::queue::QueueRecord;
use crate::wire::error::Error;
use crate::wire::input::{Input, Text};
use crate::wire::request::queue::{AddPermission, RemovePermission};

/// Begins AddPermission.
pub fn add(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = AddPermission::decode(input)?;
    let texts = |texts: Vec<Text<'_>>| texts.into_iter().map(Text::into_owned).collect();
    let label = request.label.as_deref().unwrap_or_default();
    let permission = Permission::new(label, texts(request.accounts), texts(request.actions))?;
    rewrite(call, cx, request.queue_url.as_deref(), move |policy, arn| {
        permission.add_to(policy, arn).map(Some)
    })
}

/// Begins RemovePermission.
pub fn remove(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = RemovePermission::decode(input)?;
    let label = request.label.map(Text::into_owned).unwrap_or_default();
    rewrite(call, cx, request.queue_url.as_deref(), move |policy, _| permission::remove(policy, &label))
}

/// Changes the policy of a queue, by its ARN.
fn rewrite<F>(call: Shared, cx: &mut Context<'_>, url: Option<&str>, edit: F) -> Result<Plan, Error>
where
    F: Fn(Option<&str>, &str) -> Result<Option<String>, Error> + Send + 'static,
{
    let queue = call.queue(cx, url)?;
    let (key, arn) = (queue.key.clone(), queue.key.arn(&call.config.region));
    let work = move |tx: &mut Tx<'_>, found: Option<QueueRecord>| -> Result<_, Fault> {
        let Some(mut record) = found else { return Ok(Outcome::Rollback(Err(Error::no_queue()))) };
        match edit(record.attributes.policy.as_deref(), &arn) {
            Ok(policy) => record.attributes.policy = policy.map(String::into_boxed_str),
            Err(error) => return Ok(Outcome::Rollback(Err(error))),
        }
        record.modified_ms = tx.now().0;
        on_queue::put(tx, &key, record);
        Ok(Outcome::Commit(Ok(())))
    };
    Ok(on_queue::run(queue, false, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|done| done);
        settle(&call, outcome.map(|()| call.done()))
    }))
}
