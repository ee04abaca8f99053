//! Any number of messages at a time, in requests of the protocol's size.
//! Invariant: each message is either told as done or among the failures; what failed through no fault of the caller is tried again
//! as the retry policy says.

use std::collections::BTreeMap;

use cloudkit_core::api::Message;
use cloudkit_core::common::{CloudError, Failure, ResourceId};
use serde::Serialize;

use super::wire::{
    Batch, BatchOutput, Deletion, Outgoing, Refused, ask, compare, is_fifo, is_invalid, name_of,
};
use super::{digest, receipt};
use crate::failure::PROVIDER;
use crate::retry::Idempotency;
use crate::rounds::Rounds;
use crate::service::{Operation, ServiceClient};

/// Sends messages and gives their identities in the same order. What no queue takes is refused before the first is sent.
pub(super) async fn send(
    client: &ServiceClient,
    queue_url: &str,
    messages: &[&str],
) -> Result<Vec<ResourceId>, Failure> {
    let operation = Operation::on("SendMessageBatch", name_of(queue_url));
    if let Some((index, words)) =
        messages.iter().enumerate().find_map(|(index, body)| Some((index, unfit(body)?)))
    {
        let words = format!("message {index} of {}: {words}", messages.len());
        return Err(client.refusal(&operation, CloudError::Validation(words)));
    }
    let mut ids = BTreeMap::new();
    let mut refused = Vec::new();
    let mut start = 0;
    while start < messages.len() {
        let count = fitting(&messages[start..]);
        let entries = messages[start..start + count].iter().enumerate().map(|(offset, body)| Outgoing {
            id: Some((start + offset).to_string()),
            message_body: body,
            message_deduplication_id: is_fifo(queue_url).then(super::fresh_id),
            ..Outgoing::default()
        });
        let outcome =
            run(client, &operation, queue_url, entries.collect(), |entry| entry.id.as_deref()).await?;
        for done in outcome.successful {
            let index = done.id.parse::<usize>().ok().filter(|index| *index < messages.len());
            let index = index.ok_or_else(|| client.malformed(&operation, "an entry that nobody sent"))?;
            compare(client, &operation, &digest::of_body(messages[index]), done.body_digest.as_deref())?;
            ids.insert(index, ResourceId::new(done.message_id));
        }
        refused.extend(outcome.failed);
        start += count;
    }
    told(client, &operation, messages.len(), "messages were not sent", &refused)?;
    if ids.len() < messages.len() {
        return Err(client.malformed(&operation, "entries are missing"));
    }
    Ok(ids.into_values().collect())
}

/// Deletes messages that were received. One without a receipt is refused before the first is sent.
pub(super) async fn delete(
    client: &ServiceClient,
    queue_url: &str,
    messages: &[&Message],
) -> Result<(), Failure> {
    let operation = Operation::on("DeleteMessageBatch", name_of(queue_url));
    let receipts = messages.iter().map(|message| receipt(client, &operation, message));
    let receipts = receipts.collect::<Result<Vec<_>, _>>()?;
    let mut refused = Vec::new();
    let entries: Vec<Deletion<'_>> = receipts
        .iter()
        .enumerate()
        .map(|(index, receipt_handle)| Deletion { id: index.to_string(), receipt_handle })
        .collect();
    let mut entries = entries.into_iter();
    loop {
        let chunk: Vec<Deletion<'_>> = entries.by_ref().take(ENTRY_COUNT_MAX).collect();
        if chunk.is_empty() {
            break;
        }
        let outcome = run(client, &operation, queue_url, chunk, |entry| Some(&entry.id)).await?;
        refused.extend(outcome.failed);
    }
    told(client, &operation, messages.len(), "messages were not deleted", &refused)
}

/// One request, and further ones for entries that failed through no fault of the caller.
async fn run<T: Serialize + Sync>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    queue_url: &str,
    mut entries: Vec<T>,
    id_of: impl for<'t> Fn(&'t T) -> Option<&'t str>,
) -> Result<BatchOutput, Failure> {
    let mut all = BatchOutput::default();
    let mut rounds = Rounds::default();
    loop {
        let batch = Batch { queue_url, entries: &entries };
        let output: BatchOutput = ask(client, operation, &batch, Idempotency::Always).await?;
        all.successful.extend(output.successful);
        let (final_ones, passing): (Vec<_>, Vec<_>) =
            output.failed.into_iter().partition(|refused| refused.sender_fault);
        all.failed.extend(final_ones);
        entries.retain(|entry| passing.iter().any(|refused| Some(refused.id.as_str()) == id_of(entry)));
        if entries.is_empty() {
            return Ok(all);
        }
        match rounds.wait(client, entries.len()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => {
                all.failed.extend(passing);
                return Ok(all);
            }
        }
    }
}

/// The failure of entries that were refused, if there are any: of the kind of the first one.
fn told(
    client: &ServiceClient,
    operation: &Operation<'_>,
    count: usize,
    what: &str,
    refused: &[Refused],
) -> Result<(), Failure> {
    let Some(first) = refused.first() else { return Ok(()) };
    let Refused { id, code, message, .. } = first;
    let words = format!("{} of {count} {what}; number {id}: {code}: {message}", refused.len());
    let kind = if is_invalid(code) {
        CloudError::Validation(words)
    } else {
        CloudError::Provider { provider: PROVIDER.into(), code: code.clone(), message: words }
    };
    let mut failure = client.refusal(operation, kind);
    failure.detail.code = Some(code.clone());
    failure.detail.attempts = 1;
    Err(failure)
}

/// How many messages from the first on fit into one request.
fn fitting(messages: &[&str]) -> usize {
    let mut bytes = 0;
    let fits = |body: &&&str| {
        bytes += body.len();
        bytes <= BATCH_BYTES_MAX
    };
    // One that is too large for every request goes alone, and is refused by itself.
    messages.iter().take(ENTRY_COUNT_MAX).take_while(fits).count().max(1)
}

/// Why no queue takes a body.
fn unfit(body: &str) -> Option<&'static str> {
    // The characters of XML 1.0: SendMessage, MessageBody.
    let foreign = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if body.is_empty() {
        Some("a message has at least one character")
    } else if body.len() > BATCH_BYTES_MAX {
        Some("a message has at most 1 MiB")
    } else if body.contains(foreign) {
        Some("a message has no control characters but tab and line ends")
    } else {
        None
    }
}

/// Entries of one request.
const ENTRY_COUNT_MAX: usize = 10;
/// Bytes of all its bodies.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_full_as_they_may_be() {
        let large = "x".repeat(BATCH_BYTES_MAX / 2);
        assert_eq!(fitting(&["a"; 25]), 10);
        assert_eq!(fitting(&[&large, &large, "a"]), 2);
        assert_eq!(fitting(&["a", &large, &large]), 2);
        let huge = "x".repeat(BATCH_BYTES_MAX + 1);
        assert_eq!(fitting(&[&huge, "a"]), 1);
    }

    #[test]
    fn bodies_that_no_queue_takes_are_known() {
        for body in ["", "a\u{0}", "\u{b}", "\u{ffff}", "\u{1f}"] {
            assert!(unfit(body).is_some(), "{body:?}");
        }
        for body in ["a", "\t\r\n", "\u{7f}", "日本🦀"] {
            assert!(unfit(body).is_none(), "{body:?}");
        }
    }
}
