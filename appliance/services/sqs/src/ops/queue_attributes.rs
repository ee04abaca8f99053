//! GetQueueAttributes and SetQueueAttributes.

use plan::{Context, Plan};
use store::{Fault, Outcome, Tx};

use super::redrive;
use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine::{self, Counts, QueueRef, on_queue, retention};
use crate::model::attributes::{Asked, Given, Numbers};
use crate::model::queue::QueueRecord;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::queue::{GetQueueAttributes, SetQueueAttributes};

/// Begins GetQueueAttributes.
pub fn get(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = GetQueueAttributes::decode(input)?;
    let asked = Asked::parse(request.names.iter().map(|name| &**name))?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    if !asked.has_numbers() {
        return shown(&call, cx, &queue, &asked, Counts::default());
    }
    Ok(engine::counts(queue.clone(), move |cx, counts| {
        let counts = counts.map_err(|refusal| error_of(refusal, Said::default()));
        let outcome = counts.and_then(|counts| shown(&call, cx, &queue, &asked, counts));
        settle(&call, outcome)
    }))
}

fn shown(
    call: &Shared,
    cx: &Context<'_>,
    queue: &QueueRef,
    asked: &Asked,
    counts: Counts,
) -> Result<Plan, Error> {
    let record = on_queue::find(cx, queue)?.ok_or_else(Error::no_queue)?;
    let Counts { visible, in_flight, delayed } = counts;
    let arn = queue.key.arn(&call.config.region);
    let values = asked.values(&record, &arn, Numbers { visible, in_flight, delayed });
    Ok(call.result(0, |out| {
        if !values.is_empty() {
            let entries = values.iter().map(|(name, value)| (*name, value.as_str()));
            out.map("Attributes", "Attribute", "Name", entries);
        }
    }))
}

/// Begins SetQueueAttributes.
pub fn set(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = SetQueueAttributes::decode(input)?;
    if request.attributes.is_empty() {
        return Err(Error::missing("Attributes"));
    }
    let given = Given::parse(request.attributes.iter().map(|(name, value)| (&**name, &**value)))?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    redrive::check(cx, &call.config.region, &given, &queue.key)?;
    let key = queue.key.clone();
    let work = move |tx: &mut Tx<'_>, found: Option<QueueRecord>| -> Result<_, Fault> {
        let Some(before) = found else { return Ok(Outcome::Rollback(Err(Error::no_queue()))) };
        let mut record = before.clone();
        if let Err(error) = given.apply(&mut record.attributes) {
            return Ok(Outcome::Rollback(Err(error)));
        }
        record.modified_ms = tx.now().0;
        redrive::note(tx, &key, before.attributes.redrive.as_ref(), record.attributes.redrive.as_ref());
        if record.attributes.retention_seconds != before.attributes.retention_seconds {
            retention::watch(tx, record.id, key.clone(), tx.now().0);
        }
        on_queue::put(tx, &key, record);
        Ok(Outcome::Commit(Ok(())))
    };
    Ok(on_queue::run(queue, false, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|set| set);
        settle(&call, outcome.map(|()| call.done()))
    }))
}
