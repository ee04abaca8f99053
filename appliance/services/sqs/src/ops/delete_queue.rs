//! DeleteQueue: the queue and all that is in it are gone with the reply; what is left of them is swept afterwards.

use plan::{Context, Plan};
use store::{Fault, Outcome, Tx};

use super::redrive;
use crate::call::{Shared, settle};
use crate::engine::{on_queue, retention};
use crate::model::queue::QueueRecord;
use crate::store::GONE;
use crate::store::gone::{Gone, gone_key};
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::queue::OfQueue;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = OfQueue::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let key = queue.key.clone();
    let work = move |tx: &mut Tx<'_>, found: Option<QueueRecord>| -> Result<_, Fault> {
        let Some(found) = found else { return Ok(Outcome::Rollback(Err(Error::no_queue()))) };
        on_queue::take_away(tx, &key);
        tx.put(GONE, &gone_key(found.id), &Gone::All.encode(), Vec::new(), false);
        redrive::note(tx, &key, found.attributes.redrive.as_ref(), None);
        retention::unwatch(tx, found.id);
        Ok(Outcome::Commit(Ok(())))
    };
    Ok(on_queue::run(queue, true, work, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).and_then(|deleted| deleted);
        settle(&call, outcome.map(|()| call.done()))
    }))
}
