//! ChangeMessageVisibility: how much longer a received message stays hidden.

use plan::{Context, Plan};

use super::receipt::{check_handle, check_visibility};
use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::message::OfReceipt;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = OfReceipt::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let handle = check_handle(request.handle.as_deref())?;
    let seconds = check_visibility(request.visibility_seconds)?;
    let said = handle.clone();
    Ok(engine::change_visibility(cx, queue, &[(handle, seconds)], move |_, outcome| {
        let done = outcome.and_then(|mut done| done.pop().unwrap_or(Err(engine::Refusal::NoQueue)));
        let said = Said { handle: &said, visibility_seconds: seconds, ..Said::default() };
        settle(&call, done.map(|()| call.done()).map_err(|refusal| error_of(refusal, said)))
    }))
}
