//! TagQueue, UntagQueue, ListQueueTags: the tags of a queue, which its record holds.

use std::collections::BTreeMap;

use plan::{Context, Plan};
use store::{Fault, Outcome, Tx};

use crate::call::{Shared, settle};
use crate::engine::on_queue;
use crate::model::limits::TAG_COUNT_MAX;
use crate::model::queue::QueueRecord;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::queue::{OfQueue, Pairs, TagQueue, UntagQueue};

/// Characters of a key.
const KEY_MAX: usize = 128;
/// Characters of a value.
const VALUE_MAX: usize = 256;

/// Tags as a record holds them.
pub type Tags = BTreeMap<Box<str>, Box<str>>;

/// Tags with others added, which win. Errors: InvalidParameterValue for too long and too many ones.
pub fn merged(mut tags: Tags, more: &Pairs<'_>, queue: &str) -> Result<Tags, Error> {
    for (key, value) in more {
        check_key(key)?;
        if value.chars().count() > VALUE_MAX {
            return Err(Error::invalid("Tag values must be between 0 and 256 characters in length."));
        }
        tags.insert(key.clone(), (&**value).into());
    }
    if tags.len() > TAG_COUNT_MAX {
        return Err(Error::invalid(format!("Too many tags added for queue {queue}.")));
    }
    Ok(tags)
}

fn check_key(key: &str) -> Result<(), Error> {
    if !(1..=KEY_MAX).contains(&key.chars().count()) {
        return Err(Error::invalid("Tag keys must be between 1 and 128 characters in length."));
    }
    Ok(())
}

/// Begins TagQueue.
pub fn tag(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = TagQueue::decode(input)?;
    if request.tags.is_empty() {
        return Err(Error::missing("Tags"));
    }
    // What is wrong with them by themselves is told before the queue is looked for.
    merged(Tags::new(), &request.tags, "")?;
    let more: Vec<(Box<str>, Box<str>)> =
        request.tags.iter().map(|(key, value)| (key.clone(), (&**value).into())).collect();
    rewrite(call, cx, request.queue_url.as_deref(), move |tags, name| {
        let more: Pairs<'_> = more.iter().map(|(key, value)| (key.clone(), (&**value).into())).collect();
        merged(tags, &more, name)
    })
}

/// Begins UntagQueue.
pub fn untag(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = UntagQueue::decode(input)?;
    if request.keys.is_empty() {
        return Err(Error::invalid("Tag keys must be between 1 and 128 characters in length."));
    }
    request.keys.iter().try_for_each(|key| check_key(key))?;
    let keys: Vec<Box<str>> = request.keys.iter().map(|key| (&**key).into()).collect();
    rewrite(call, cx, request.queue_url.as_deref(), move |mut tags, _| {
        keys.iter().for_each(|key| {
            tags.remove(key);
        });
        Ok(tags)
    })
}

/// Changes the tags of a queue. A change that changes nothing writes nothing.
fn rewrite<F>(call: Shared, cx: &mut Context<'_>, url: Option<&str>, edit: F) -> Result<Plan, Error>
where
    F: Fn(Tags, &str) -> Result<Tags, Error> + Send + 'static,
{
    let queue = call.queue(cx, url)?;
    let key = queue.key.clone();
    let work = move |tx: &mut Tx<'_>, found: Option<QueueRecord>| -> Result<_, Fault> {
        let Some(mut record) = found else { return Ok(Outcome::Rollback(Err(Error::no_queue()))) };
        let tags = match edit(record.tags.clone(), key.name()) {
            Ok(tags) if tags == record.tags => return Ok(Outcome::Rollback(Ok(()))),
            Ok(tags) => tags,
            Err(error) => return Ok(Outcome::Rollback(Err(error))),
        };
        record.tags = tags;
        on_queue::put(tx, &key, record);
        Ok(Outcome::Commit(Ok(())))
    };
    Ok(on_queue::run(queue, false, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|done| done);
        settle(&call, outcome.map(|()| call.done()))
    }))
}

/// Begins ListQueueTags.
pub fn list(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = OfQueue::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let record = on_queue::find(cx, &queue)?.ok_or_else(Error::no_queue)?;
    Ok(call.result(0, |out| {
        if !record.tags.is_empty() {
            out.map("Tags", "Tag", "Key", record.tags.iter().map(|(key, value)| (&**key, &**value)));
        }
    }))
}
