//! GetQueueUrl: whether there is a queue of this name, the caller's or another account's, and where.

use aws::account::AccountId;
use plan::{Context, Plan};

use super::create_queue::URL_BYTES;
use crate::call::Shared;
use crate::engine::{QueueRef, on_queue};
use crate::model::queue::QueueKey;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::name::is_queue_name;
use crate::wire::request::queue::GetQueueUrl;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = GetQueueUrl::decode(input)?;
    let name = request.name.as_deref().ok_or_else(|| Error::missing("QueueName"))?;
    let account = match request.owner.as_deref() {
        None | Some("") => call.account()?.id,
        // An account that cannot be has no queues.
        Some(owner) => AccountId::parse(owner).ok_or_else(Error::no_queue)?,
    };
    if !is_queue_name(name) {
        return Err(Error::no_queue());
    }
    let queue = QueueRef::new(cx.store, QueueKey::new(account, name));
    let record = on_queue::find(cx, &queue)?.ok_or_else(Error::no_queue)?;
    call.allow_by(&queue.key, account, record.attributes.policy.as_deref())?;
    let url = call.queue_url(queue.key.account(), queue.key.name());
    Ok(call.result(URL_BYTES, |out| out.text("QueueUrl", &url)))
}
