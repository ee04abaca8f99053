//! SendMessageBatch: up to ten messages into a queue, each for itself; on FIFO queues in the order of the entries.

use plan::{Context, Plan};

use super::batch::{self, Entry};
use super::outgoing::{Digests, Outgoing, check, write_sent};
use super::refused::{Said, error_of};
use crate::call::{Shared, settle};
use crate::engine::{self, Sent};
use crate::model::limits::MESSAGE_BYTES_MAX;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::message::size;
use crate::wire::request::message::{Batch, Send};

const SHAPE: &str = "SendMessageBatchRequestEntry";

/// What became of a message, and what its sender is told of it.
type Done = (Option<Sent>, Digests);

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, input: &Input<'_>) -> Result<Plan, Error> {
    let request = Batch::<Send<'_>>::decode(input)?;
    let queue = call.queue(cx, request.queue_url.as_deref())?;
    batch::check(SHAPE, request.count, request.entries.iter().map(|entry| entry.id.as_deref()))?;
    let (messages, waiting) = prepare(request)?;
    if messages.is_empty() {
        return Ok(answer(&call, &waiting));
    }
    let sender = call.sender();
    Ok(engine::send(cx, queue, &sender, messages, move |_, outcome| {
        let outcome = outcome.map_err(|refusal| error_of(refusal, Said::default()));
        settle(
            &call,
            outcome.map(|outcomes| {
                let outcomes = outcomes.into_iter();
                let outcomes =
                    outcomes.map(|one| one.map_err(|refusal| error_of(refusal, Said::default()))).collect();
                let entries = batch::merge(waiting, outcomes, |(_, digests), sent| (Some(sent), digests));
                answer(&call, &entries)
            }),
        )
    }))
}

/// The messages that pass, and for each entry what is known of it by then. Errors: BatchRequestTooLong.
fn prepare(request: Batch<'_, Send<'_>>) -> Result<(Vec<engine::NewMessage>, Vec<Entry<Done>>), Error> {
    let bytes_max = usize::try_from(MESSAGE_BYTES_MAX).unwrap_or(usize::MAX);
    let (mut messages, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
    for mut entry in request.entries {
        let id = entry.id.take();
        let body_bytes = entry.body.as_deref().map_or(0, str::len);
        match check(entry) {
            Ok(Outgoing { message, digests }) => {
                bytes += size("", &message.attributes) + message.body.len();
                messages.push(message);
                waiting.push(Entry::new(id, Ok((None, digests))));
            }
            Err(error) => {
                bytes += body_bytes;
                waiting.push(Entry::new(id, Err(error)));
            }
        }
    }
    if bytes > bytes_max {
        return Err(Error::batch_too_long(bytes_max, bytes));
    }
    Ok((messages, waiting))
}

fn answer(call: &Shared, entries: &[Entry<Done>]) -> Plan {
    batch::answer(call, "SendMessageBatchResultEntry", entries, |out, (sent, digests)| {
        if let Some(sent) = sent {
            write_sent(out, sent, digests);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::error::Code;

    fn entry(id: &str, body: &str) -> Send<'static> {
        Send { id: Some(id.to_owned().into()), body: Some(body.to_owned().into()), ..Send::default() }
    }

    fn of(entries: Vec<Send<'static>>) -> Batch<'static, Send<'static>> {
        Batch { queue_url: None, count: entries.len(), entries }
    }

    #[test]
    fn an_entry_that_is_refused_does_not_keep_the_others() {
        let (messages, waiting) =
            prepare(of(vec![entry("a", "one"), entry("b", "\u{1}"), entry("c", "three")])).expect("no error");
        assert_eq!(
            messages.iter().map(|message| &message.body[..]).collect::<Vec<_>>(),
            [b"one".as_slice(), b"three"]
        );
        let code = waiting[1].outcome.as_ref().err().map(|error| error.code);
        assert_eq!(code, Some(Code::InvalidMessageContents));
        assert!(waiting[0].outcome.is_ok() && waiting[2].outcome.is_ok());
    }

    #[test]
    fn the_sum_of_a_batch_has_the_bound_of_one_message() {
        let half = "x".repeat(524_288);
        assert!(prepare(of(vec![entry("a", &half), entry("b", &half)])).is_ok());
        let error =
            prepare(of(vec![entry("a", &half), entry("b", &format!("{half}x"))])).expect_err("refused");
        assert_eq!(error.code, Code::BatchRequestTooLong);
        assert_eq!(
            error.message,
            "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."
        );
    }
}
