//! Any number of messages at a time, in requests of the protocol's size.
//! Invariant: each message is either told as published or among the failures; what failed through no fault of the caller is tried
//! again as the retry policy says.

use std::collections::BTreeMap;

use aws_sdk_sns::types::{BatchResultErrorEntry, PublishBatchRequestEntry};
use cloudkit_core::common::{CloudError, Failure, ResourceId};

use super::explain::is_invalid;
use super::{SnsPubSub, deduplication_id};
use crate::fault::PROVIDER;
use crate::operation::Operation;
use crate::rounds::Rounds;

impl SnsPubSub {
    /// Publishes messages and gives their identities in the same order. What no topic takes is refused before the first is sent.
    pub(super) async fn publish_all(
        &self,
        topic: &str,
        messages: &[&[u8]],
    ) -> Result<Vec<ResourceId>, Failure> {
        let operation = Operation::on("PublishBatch", topic);
        let texts = messages.iter().map(|message| self.text(&operation, message));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let (mut published, mut refused) = (BTreeMap::new(), Vec::new());
        let mut start = 0;
        while start < texts.len() {
            let count = fitting(&texts[start..]);
            let entry = |(offset, text): (usize, &&str)| {
                PublishBatchRequestEntry::builder()
                    .id((start + offset).to_string())
                    .message(*text)
                    .set_message_deduplication_id(deduplication_id(topic))
                    .build()
            };
            let entries = texts[start..start + count].iter().enumerate().map(entry);
            let entries = entries.collect::<Result<Vec<_>, _>>();
            let entries = entries.map_err(|_| self.caller.invalid(&operation, "an entry is not whole"))?;
            self.publish_entries(&operation, entries, &mut published, &mut refused).await?;
            start += count;
        }
        self.told(&operation, messages.len(), &refused)?;
        if published.len() < messages.len() {
            return Err(self.caller.malformed(&operation, "entries are missing"));
        }
        Ok(published.into_values().collect())
    }

    /// One request, and further ones for entries that failed through no fault of the caller.
    async fn publish_entries(
        &self,
        operation: &Operation<'_>,
        mut entries: Vec<PublishBatchRequestEntry>,
        published: &mut BTreeMap<usize, ResourceId>,
        refused: &mut Vec<BatchResultErrorEntry>,
    ) -> Result<(), Failure> {
        let mut rounds = Rounds::default();
        while !entries.is_empty() {
            let call = self.sdk().publish_batch().topic_arn(operation.outer());
            let call = call.set_publish_batch_request_entries(Some(entries.clone())).send();
            let output = self.caller.run(operation, call).await?;
            for done in output.successful.unwrap_or_default() {
                let index = done.id.as_deref().and_then(|id| id.parse().ok());
                let (index, id) = index
                    .zip(done.message_id)
                    .ok_or_else(|| self.caller.malformed(operation, "an entry that nobody sent"))?;
                published.insert(index, ResourceId::new(id));
            }
            let failed = output.failed.unwrap_or_default();
            let (final_ones, passing): (Vec<_>, Vec<_>) =
                failed.into_iter().partition(|entry| entry.sender_fault);
            refused.extend(final_ones);
            entries.retain(|entry| passing.iter().any(|one| one.id == entry.id));
            if entries.is_empty() {
                break;
            }
            match rounds.wait(&self.caller, entries.len()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    refused.extend(passing);
                    break;
                }
            }
        }
        Ok(())
    }

    /// The failure of entries that were refused, if there are any: of the kind of the first one.
    fn told(
        &self,
        operation: &Operation<'_>,
        count: usize,
        refused: &[BatchResultErrorEntry],
    ) -> Result<(), Failure> {
        let Some(first) = refused.first() else { return Ok(()) };
        let (code, message) = (first.code.clone(), first.message.as_deref().unwrap_or_default());
        let words = format!(
            "{} of {count} messages were not published; number {}: {code}: {message}",
            refused.len(),
            first.id
        );
        let kind = if is_invalid(&code) {
            CloudError::Validation(words)
        } else {
            CloudError::Provider { provider: PROVIDER.into(), code: code.clone(), message: words }
        };
        let mut failure = self.caller.refusal(operation, kind);
        failure.detail.code = Some(code);
        failure.detail.attempts = 1;
        Err(failure)
    }
}

/// How many texts from the first on fit into one request.
fn fitting(texts: &[&str]) -> usize {
    let mut bytes = 0;
    let fits = |text: &&&str| {
        bytes += text.len();
        bytes <= BATCH_BYTES_MAX
    };
    // One that is too large for every request goes alone, and is refused by itself.
    texts.iter().take(ENTRY_COUNT_MAX).take_while(fits).count().max(1)
}

/// Entries of one request.
const ENTRY_COUNT_MAX: usize = 10;
/// Bytes of all its messages. Source: SNS API reference, PublishBatch.
const BATCH_BYTES_MAX: usize = 256 * 1024;

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
}
