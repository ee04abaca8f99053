//! ChangeMessageVisibilityBatch: up to ten visibilities, each for itself.

use plan::{Context, Plan};

use super::batch::{self, Entry};
use super::receipt::{check_handle, check_visibility};
use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::message::{Batch, OfReceipt};

/// A handle and how long its message stays hidden.
type Change = (Box<str>, u32);

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = Batch::<OfReceipt<'_>>::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let ids = request.entries.iter().map(|entry| entry.id.as_deref());
    batch::check("ChangeMessageVisibilityBatchRequestEntry", request.count, ids)?;
    let checked = request.entries.into_iter().map(|entry| Entry {
        outcome: check_handle(entry.handle.as_deref())
            .and_then(|handle| Ok((handle, check_visibility(entry.visibility_seconds)?))),
        id: entry.id.unwrap_or_default().into(),
    });
    let waiting: Vec<Entry<Change>> = checked.collect();
    let said: Vec<Change> = waiting.iter().filter_map(|entry| entry.outcome.clone().ok()).collect();
    if said.is_empty() {
        return Ok(answer(&call, &waiting));
    }
    Ok(engine::change_visibility(cx, queue, &said.clone(), move |_, outcome| {
        let outcome = outcome.map_err(|refusal| error_of(refusal, Said::default()));
        settle(
            &call,
            outcome.map(|outcomes| {
                let outcomes = outcomes.into_iter().zip(&said).map(|(one, (handle, seconds))| {
                    let said = Said { handle, visibility_seconds: *seconds, ..Said::default() };
                    one.map_err(|refusal| error_of(refusal, said))
                });
                answer(&call, &batch::merge(waiting, outcomes.collect(), |change, ()| change))
            }),
        )
    }))
}

fn answer(call: &Shared, entries: &[Entry<Change>]) -> Plan {
    batch::answer(call, "ChangeMessageVisibilityBatchResultEntry", entries, |_, _| {})
}
