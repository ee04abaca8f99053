//! CreateQueue: a queue under a name, or the one that is there already if it has the attributes that are asked for.
//! Tags are not compared. A name is free again as soon as its queue was deleted.

use plan::{Context, Plan};
use store::Outcome;

use super::queue_tags::{self, Tags};
use super::redrive;
use crate::call::{Shared, settle};
use crate::engine::{QueueRef, on_queue, retention};
use crate::model::attributes::Given;
use crate::model::queue::{QueueId, QueueKey, QueueRecord, Sequence};
use crate::wire::error::{Code, Error};
use crate::wire::input::Input;
use crate::wire::request::queue::CreateQueue;

/// Room for a reply with a URL.
pub const URL_BYTES: usize = 256;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = CreateQueue::decode(input)?;
    let name = request.name.as_deref().ok_or_else(|| Error::missing("QueueName"))?;
    let given = Given::parse(request.attributes.iter().map(|(name, value)| (&**name, &**value)))?;
    let attributes = given.for_new(name)?;
    let tags = queue_tags::merged(Tags::new(), &request.tags, name)?;
    let owner = call.account()?.id;
    let key = QueueKey::new(owner, name);
    call.allow_by(&key, owner, None)?;
    let redrive = redrive::check(cx, &call.config.region, &given, &key);
    let mut draw = || (cx.random)();
    let (id, high, low) = (QueueId(draw()), draw(), draw());
    let mut handle_key = [0; 16];
    handle_key[..8].copy_from_slice(&high.to_be_bytes());
    handle_key[8..].copy_from_slice(&low.to_be_bytes());
    let record = QueueRecord {
        id,
        handle_key,
        created_ms: 0,
        modified_ms: 0,
        attributes,
        tags,
        purged_below: Sequence::ZERO,
        last_purge_ms: 0,
    };
    let queue = QueueRef::new(cx.store, key.clone());
    let url = call.queue_url(key.account(), key.name());
    let work = move |tx: &mut store::Tx<'_>, found: Option<QueueRecord>| {
        if let Some(found) = found {
            return Ok(Outcome::Rollback(match given.difference(&found.attributes) {
                None => Ok(()),
                Some(name) => Err(differs(name)),
            }));
        }
        // A queue that is there already is not refused for a dead-letter queue that has gone since.
        if let Err(error) = &redrive {
            return Ok(Outcome::Rollback(Err(error.clone())));
        }
        let now_ms = tx.now().0;
        let record = QueueRecord { created_ms: now_ms, modified_ms: now_ms, ..record.clone() };
        redrive::note(tx, &key, None, record.attributes.redrive.as_ref());
        retention::watch(tx, record.id, key.clone(), now_ms);
        on_queue::put(tx, &key, record);
        Ok(Outcome::Commit(Ok(())))
    };
    Ok(on_queue::run(queue, false, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|created| created);
        settle(&call, outcome.map(|()| call.result(URL_BYTES, |out| out.text("QueueUrl", &url))))
    }))
}

fn differs(attribute: &str) -> Error {
    Error::new(
        Code::QueueNameExists,
        format!("A queue already exists with the same name and a different value for attribute {attribute}"),
    )
}
