//! Dead-letter queues beside those whose dead letters they take: whether a queue may name another, and who names whom.
//! Invariant: for each queue with a RedrivePolicy there is one entry in SOURCES under its target, in the batch of its
//! record; so that nobody has to look through all queues for the sources of one.
//! Leaves to model/document.rs: what needs no other queue.

use plan::Context;
use store::Tx;

use crate::engine::{QueueRef, on_queue};
use crate::model::attributes::Given;
use crate::model::document::{allows, invalid_redrive, redrive_target};
use crate::model::queue::{QueueKey, Redrive};
use crate::store::{SOURCES, source_key};
use crate::wire::error::Error;

/// Checks the RedrivePolicy that is to be set on a queue, if there is one: its target exists and allows it. The target is
/// looked at as of now. Errors: InvalidParameterValue.
pub fn check(cx: &Context<'_>, region: &str, given: &Given, source: &QueueKey) -> Result<(), Error> {
    let Some((redrive, text)) = given.redrive() else { return Ok(()) };
    let target = redrive_target(redrive, source, region, text)?;
    let found = on_queue::find(cx, &QueueRef::new(cx.store, target))?;
    let found = found.ok_or_else(|| invalid_redrive(text, "Dead letter target does not exist."))?;
    if !allows(found.attributes.redrive_allow.as_ref(), &source.arn(region)) {
        let reason = "The dead-letter queue's redrive allow policy does not allow this source queue.";
        return Err(invalid_redrive(text, reason));
    }
    Ok(())
}

/// Writes down that a queue has another RedrivePolicy than before.
pub fn note(tx: &mut Tx<'_>, source: &QueueKey, before: Option<&Redrive>, after: Option<&Redrive>) {
    let entry = |redrive: Option<&Redrive>| {
        redrive
            .and_then(|redrive| QueueKey::of_arn(&redrive.target_arn))
            .map(|target| source_key(&target, source))
    };
    let (before, after) = (entry(before), entry(after));
    if before == after {
        return;
    }
    if let Some(key) = before {
        tx.delete(SOURCES, &key);
    }
    if let Some(key) = after {
        tx.put(SOURCES, &key, &[], Vec::new(), false);
    }
}
