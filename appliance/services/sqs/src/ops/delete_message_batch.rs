//! DeleteMessageBatch: up to ten received messages are done with, each for itself.

use plan::{Context, Plan};

use super::batch::{self, Entry};
use super::receipt::check_handle;
use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::message::{Batch, OfReceipt};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = Batch::<OfReceipt<'_>>::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let ids = request.entries.iter().map(|entry| entry.id.as_deref());
    batch::check("DeleteMessageBatchRequestEntry", request.count, ids)?;
    let checked = request.entries.into_iter().map(|entry| Entry {
        outcome: check_handle(entry.handle.as_deref()),
        id: entry.id.unwrap_or_default().into(),
    });
    let waiting: Vec<Entry<Box<str>>> = checked.collect();
    let said: Vec<Box<str>> = waiting.iter().filter_map(|entry| entry.outcome.clone().ok()).collect();
    if said.is_empty() {
        return Ok(answer(&call, &waiting));
    }
    Ok(engine::delete(cx, queue, &said.clone(), move |_, outcome| {
        let outcome = outcome.map_err(|refusal| error_of(refusal, Said::default()));
        settle(
            &call,
            outcome.map(|outcomes| {
                let outcomes = outcomes.into_iter().zip(&said).map(|(one, handle)| {
                    one.map_err(|refusal| error_of(refusal, Said { handle, ..Said::default() }))
                });
                answer(&call, &batch::merge(waiting, outcomes.collect(), |handle, ()| handle))
            }),
        )
    }))
}

fn answer(call: &Shared, entries: &[Entry<Box<str>>]) -> Plan {
    batch::answer(call, "DeleteMessageBatchResultEntry", entries, |_, _| {})
}
