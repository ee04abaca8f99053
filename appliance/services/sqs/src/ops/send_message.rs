//! SendMessage: a message into a queue.

use plan::{Context, Plan};

use super::outgoing::{Outgoing, check, write_sent};
use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::request::message::Send;

/// Room for the reply.
const REPLY_BYTES: usize = 320;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = Send::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    let Outgoing { message, digests } = check(request)?;
    let sender = call.sender();
    Ok(engine::send(cx, queue, &sender, vec![message], move |_, outcome| {
        let sent = outcome.and_then(|mut sent| sent.pop().unwrap_or(Err(engine::Refusal::NoQueue)));
        let sent = sent.map_err(|refusal| error_of(refusal, Said::default()));
        settle(&call, sent.map(|sent| call.result(REPLY_BYTES, |out| write_sent(out, &sent, &digests))))
    }))
}
