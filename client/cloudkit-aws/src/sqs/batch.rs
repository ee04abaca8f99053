//! Any number of messages at a time, in requests of the protocol's size.
//! Invariant: each message is either told as done or among the failures; what failed through no fault of the caller is tried again
//! as the retry policy says.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};
use cloudkit_core::api::Message;
use cloudkit_core::common::{CloudError, Failure, ResourceId};

use super::SqsQueue;
use super::explain::{is_fifo, is_invalid, name_of};
use crate::caller::Caller;
use crate::fault::PROVIDER;
use crate::operation::Operation;
use crate::rounds::Rounds;

impl SqsQueue {
    /// Sends messages and gives their identities in the same order. What no queue takes is refused before the first is sent.
    pub(super) async fn send_all(
        &self,
        queue_url: &str,
        messages: &[&str],
    ) -> Result<Vec<ResourceId>, Failure> {
        let operation = Operation::on("SendMessageBatch", name_of(queue_url));
        let unfit = messages.iter().enumerate().find_map(|(index, body)| Some((index, unfit(body)?)));
        if let Some((index, words)) = unfit {
            let words = format!("message {index} of {}: {words}", messages.len());
            return Err(self.caller.invalid(&operation, words));
        }
        let (mut ids, mut refused) = (BTreeMap::new(), Vec::new());
        let mut start = 0;
        while start < messages.len() {
            let count = fitting(&messages[start..]);
            let entry = |(offset, body): (usize, &&str)| {
                SendMessageBatchRequestEntry::builder()
                    .id((start + offset).to_string())
                    .message_body(*body)
                    .set_message_deduplication_id(is_fifo(queue_url).then(super::fresh_id))
                    .build()
            };
            let entries = messages[start..start + count].iter().enumerate().map(entry);
            let mut entries = entries
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| self.caller.invalid(&operation, INCOMPLETE))?;
            let mut rounds = Rounds::default();
            while !entries.is_empty() {
                let call = self.sdk().send_message_batch().queue_url(queue_url);
                let output =
                    self.caller.run(&operation, call.set_entries(Some(entries.clone())).send()).await?;
                for done in output.successful {
                    let index = done.id.parse::<usize>().ok().filter(|index| *index < messages.len());
                    let index = index.ok_or_else(|| self.caller.malformed(&operation, FOREIGN_ENTRY))?;
                    ids.insert(index, ResourceId::new(done.message_id));
                }
                let again = left(&self.caller, &mut rounds, output.failed, &mut refused).await;
                entries.retain(|entry| again.contains(&entry.id));
            }
            start += count;
        }
        told(&self.caller, &operation, messages.len(), "messages were not sent", &refused)?;
        if ids.len() < messages.len() {
            return Err(self.caller.malformed(&operation, "entries are missing"));
        }
        Ok(ids.into_values().collect())
    }

    /// Deletes messages that were received. One without a receipt is refused before the first is sent.
    pub(super) async fn delete_all(&self, queue_url: &str, messages: &[&Message]) -> Result<(), Failure> {
        let operation = Operation::on("DeleteMessageBatch", name_of(queue_url));
        let receipts = messages.iter().map(|message| self.receipt(&operation, message));
        let receipts = receipts.collect::<Result<Vec<_>, _>>()?;
        let entry = |(index, receipt): (usize, &&str)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(*receipt).build()
        };
        let entries = receipts.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|_| self.caller.invalid(&operation, INCOMPLETE))?;
        let mut refused = Vec::new();
        for chunk in entries.chunks(ENTRY_COUNT_MAX) {
            let (mut entries, mut rounds) = (chunk.to_vec(), Rounds::default());
            while !entries.is_empty() {
                let call = self.sdk().delete_message_batch().queue_url(queue_url);
                let output =
                    self.caller.run(&operation, call.set_entries(Some(entries.clone())).send()).await?;
                let again = left(&self.caller, &mut rounds, output.failed, &mut refused).await;
                entries.retain(|entry| again.contains(&entry.id));
            }
        }
        told(&self.caller, &operation, messages.len(), "messages were not deleted", &refused)
    }
}

/// Which entries go out again, after the pause that the policy wants; the others are noted as refused.
async fn left(
    caller: &Caller,
    rounds: &mut Rounds,
    failed: Vec<BatchResultErrorEntry>,
    refused: &mut Vec<BatchResultErrorEntry>,
) -> Vec<String> {
    let (final_ones, passing): (Vec<_>, Vec<_>) = failed.into_iter().partition(|entry| entry.sender_fault);
    refused.extend(final_ones);
    if passing.is_empty() {
        return Vec::new();
    }
    match rounds.wait(caller, passing.len()) {
        Some(wait) => {
            tokio::time::sleep(wait).await;
            passing.into_iter().map(|entry| entry.id).collect()
        }
        None => {
            refused.extend(passing);
            Vec::new()
        }
    }
}

/// The failure of entries that were refused, if there are any: of the kind of the first one.
fn told(
    caller: &Caller,
    operation: &Operation<'_>,
    count: usize,
    what: &str,
    refused: &[BatchResultErrorEntry],
) -> Result<(), Failure> {
    let Some(first) = refused.first() else { return Ok(()) };
    let (code, message) = (first.code.clone(), first.message.as_deref().unwrap_or_default());
    let words = format!("{} of {count} {what}; number {}: {code}: {message}", refused.len(), first.id);
    let kind = if is_invalid(&code) {
        CloudError::Validation(words)
    } else {
        CloudError::Provider { provider: PROVIDER.into(), code: code.clone(), message: words }
    };
    let mut failure = caller.refusal(operation, kind);
    failure.detail.code = Some(code);
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

const INCOMPLETE: &str = "an entry is not whole";
const FOREIGN_ENTRY: &str = "an entry that nobody sent";
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
        assert_eq!(fitting(&[&"x".repeat(BATCH_BYTES_MAX + 1), "a"]), 1);
    }

    #[test]
    fn what_no_queue_takes_is_told() {
        assert!(unfit("").is_some() && unfit("a\u{1}").is_some());
        assert!(unfit("a\t\r\nü🗝").is_none());
    }
}
