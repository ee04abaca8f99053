//! Any number of messages at a time, in requests of the protocol's size.
//! Invariant: each message is either told as published or among the failures; what failed through no fault of the caller is tried
//! again as the retry policy says.

use std::collections::BTreeMap;

use cloudkit_core::common::{CloudError, Failure, ResourceId};

use super::wire::{Form, ask, is_invalid, text_of};
use super::{deduplication_id, message_text};
use crate::failure::PROVIDER;
use crate::retry::Idempotency;
use crate::rounds::Rounds;
use crate::service::{Operation, ServiceClient};
use crate::xml::Element;

/// A message on its way.
struct Entry<'a> {
    /// Its place among those of the caller.
    index: usize,
    text: &'a str,
    deduplication: Option<String>,
}

/// An entry that was refused.
struct Refused {
    index: usize,
    code: String,
    message: String,
    is_passing: bool,
}

/// Publishes messages and gives their identities in the same order. What no topic takes is refused before the first is sent.
pub(super) async fn publish(
    client: &ServiceClient,
    topic: &str,
    messages: &[&[u8]],
) -> Result<Vec<ResourceId>, Failure> {
    let operation = Operation::on("PublishBatch", topic);
    let mut waiting = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let text = message_text(client, &operation, message)?;
        waiting.push(Entry { index, text, deduplication: deduplication_id(topic) });
    }
    let mut published = BTreeMap::new();
    let mut refused = Vec::new();
    let mut rest = waiting;
    while !rest.is_empty() {
        let later = rest.split_off(fitting(&rest));
        run(client, &operation, topic, rest, &mut published, &mut refused).await?;
        rest = later;
    }
    if let Some(Refused { index, code, message, .. }) = refused.first() {
        let count = messages.len();
        let words = format!(
            "{} of {count} messages were not published; number {index}: {code}: {message}",
            refused.len()
        );
        let kind = if is_invalid(code) {
            CloudError::Validation(words)
        } else {
            CloudError::Provider { provider: PROVIDER.into(), code: code.clone(), message: words }
        };
        let mut failure = client.refusal(&operation, kind);
        failure.detail.code = Some(code.clone());
        failure.detail.attempts = 1;
        return Err(failure);
    }
    if published.len() < messages.len() {
        return Err(client.malformed(&operation, "entries are missing"));
    }
    Ok(published.into_values().collect())
}

/// One request, and further ones for entries that failed through no fault of the caller.
async fn run(
    client: &ServiceClient,
    operation: &Operation<'_>,
    topic: &str,
    mut entries: Vec<Entry<'_>>,
    published: &mut BTreeMap<usize, ResourceId>,
    refused: &mut Vec<Refused>,
) -> Result<(), Failure> {
    let mut rounds = Rounds::default();
    loop {
        let result = ask(client, operation, form_of(topic, &entries), Idempotency::Always).await?;
        let members = |name: &'static str| {
            result.child(name).into_iter().flat_map(|list| list.children("member")).collect::<Vec<_>>()
        };
        for member in members("Successful") {
            let index =
                index_of(member, &entries).ok_or_else(|| client.malformed(operation, FOREIGN_ENTRY))?;
            published.insert(index, ResourceId::new(text_of(client, operation, member, "MessageId")?));
        }
        let mut passing = Vec::new();
        for member in members("Failed") {
            let index =
                index_of(member, &entries).ok_or_else(|| client.malformed(operation, FOREIGN_ENTRY))?;
            let text = |name| member.text_of(name).unwrap_or_default().to_string();
            let is_passing = text("SenderFault") == "false";
            let one = Refused { index, code: text("Code"), message: text("Message"), is_passing };
            if one.is_passing { passing.push(one) } else { refused.push(one) }
        }
        entries.retain(|entry| passing.iter().any(|one| one.index == entry.index));
        if entries.is_empty() {
            return Ok(());
        }
        match rounds.wait(client, entries.len()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => {
                refused.extend(passing);
                return Ok(());
            }
        }
    }
}

fn form_of(topic: &str, entries: &[Entry<'_>]) -> Form {
    let mut form = Form::new("PublishBatch").with("TopicArn", topic);
    for (number, entry) in entries.iter().enumerate() {
        let member = format!("PublishBatchRequestEntries.member.{}", number + 1);
        form.push(&format!("{member}.Id"), &entry.index.to_string());
        form.push(&format!("{member}.Message"), entry.text);
        if let Some(id) = &entry.deduplication {
            form.push(&format!("{member}.MessageDeduplicationId"), id);
        }
    }
    form
}

fn index_of(member: &Element, entries: &[Entry<'_>]) -> Option<usize> {
    let index = member.text_of("Id")?.trim().parse().ok()?;
    entries.iter().any(|entry| entry.index == index).then_some(index)
}

/// How many entries from the first on fit into one request.
fn fitting(entries: &[Entry<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry<'_>| {
        bytes += entry.text.len();
        bytes <= BATCH_BYTES_MAX
    };
    // One that is too large for every request goes alone, and is refused by itself.
    entries.iter().take(ENTRY_COUNT_MAX).take_while(fits).count().max(1)
}

const FOREIGN_ENTRY: &str = "an entry that nobody sent";
/// Entries of one request.
const ENTRY_COUNT_MAX: usize = 10;
/// Bytes of all its messages. Source: SNS API reference, PublishBatch.
const BATCH_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_full_as_they_may_be() {
        let count = |texts: &[&str]| {
            let entry = |(index, text)| Entry { index, text, deduplication: None };
            fitting(&texts.iter().copied().enumerate().map(entry).collect::<Vec<_>>())
        };
        let large = "x".repeat(BATCH_BYTES_MAX / 2);
        assert_eq!(count(&["a"; 25]), 10);
        assert_eq!(count(&[&large, &large, "a"]), 2);
        assert_eq!(count(&[&"x".repeat(BATCH_BYTES_MAX + 1), "a"]), 1);
    }
}
