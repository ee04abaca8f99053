//! Requests and answers of the protocol, awsJson 1.0, and what its refusals mean.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cloudkit_core::common::{CloudError, Failure, Metadata};
use http_types::{HeaderName, HeaderValue, Method, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::call::Request;
use crate::error::{Sent, WireError, WireKind};
use crate::retry::Idempotency;
use crate::service::{ANSWER_BYTES_MAX, Operation, Resource, ServiceClient};

/// What the operations take. Each takes some of it.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_name_prefix: Option<&'a str>,
    #[serde(rename = "QueueOwnerAWSAccountId", skip_serializing_if = "Option::is_none")]
    pub queue_owner: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub attribute_names: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_handle: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility_timeout: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_number_of_messages: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_time_seconds: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_request_attempt_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub message_system_attribute_names: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub message_attribute_names: &'static [&'static str],
}

/// A message on its way out: SendMessage, or an entry of a batch of it.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub message_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<i32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub message_attributes: BTreeMap<&'a str, TextAttribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_deduplication_id: Option<String>,
}

/// An attribute of a text.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TextAttribute<'a> {
    pub data_type: &'static str,
    pub string_value: &'a str,
}

/// A batch of entries.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<'a, T> {
    pub queue_url: &'a str,
    pub entries: &'a [T],
}

/// An entry of DeleteMessageBatch.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Deletion<'a> {
    pub id: String,
    pub receipt_handle: &'a str,
}

/// What the operations on queues answer.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Output {
    pub queue_url: Option<String>,
    pub queue_urls: Vec<String>,
    pub next_token: Option<String>,
    pub attributes: HashMap<String, String>,
}

/// What a message became: of SendMessage, or of an entry.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Taken {
    pub id: String,
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub body_digest: Option<String>,
    #[serde(rename = "MD5OfMessageAttributes")]
    pub attributes_digest: Option<String>,
}

/// Of a batch.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct BatchOutput {
    pub successful: Vec<Taken>,
    pub failed: Vec<Refused>,
}

/// An entry that was refused.
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Refused {
    pub id: String,
    pub code: String,
    pub message: String,
    pub sender_fault: bool,
}

/// Asks for an operation whose name is that of the protocol. `wait`: how long the service itself waits before it answers.
/// Errors: the call's, and ResponseParsing for an answer of another shape.
pub(super) async fn ask_and_wait<R: DeserializeOwned>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    input: &(impl Serialize + Sync),
    idempotency: Idempotency,
    wait: Duration,
) -> Result<R, Failure> {
    let body = serde_json::to_vec(input).map_err(|error| client.refusal(operation, error.into()))?;
    let target = HeaderValue::try_from(format!("AmazonSQS.{}", operation.name))
        .map_err(|_| client.malformed(operation, "the operation's name is no header"))?;
    let mut request = Request::new("sqs", Method::POST, "/");
    request.headers.insert(HeaderName::from_static("x-amz-target"), target);
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    request.body = bytes::Bytes::from(body).into();
    request.idempotency = idempotency;
    request.wait = wait;
    let whole = client.whole(operation, request, ANSWER_BYTES_MAX).await?;
    // Some operations answer with no body at all.
    let body: &[u8] = if whole.body.is_empty() { b"{}" } else { &whole.body };
    serde_json::from_slice(body).map_err(|error| client.malformed(operation, &error.to_string()))
}

/// The same of what is answered at once.
pub(super) async fn ask<R: DeserializeOwned>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    input: &(impl Serialize + Sync),
    idempotency: Idempotency,
) -> Result<R, Failure> {
    ask_and_wait(client, operation, input, idempotency, Duration::ZERO).await
}

/// Compares a digest with what was sent or received.
pub(super) fn compare(
    client: &ServiceClient,
    operation: &Operation<'_>,
    found: &str,
    said: Option<&str>,
) -> Result<(), Failure> {
    if said.is_none_or(|said| said == found) {
        return Ok(());
    }
    let words = format!("the MD5 of a message is {found}, the answer said {}", said.unwrap_or_default());
    Err(client.wire_failure(operation, 1, WireError::new(WireKind::Checksum, Sent::Maybe, words)))
}

/// Attributes as texts.
pub(super) fn text_attributes(attributes: &Metadata) -> BTreeMap<&str, TextAttribute<'_>> {
    attributes
        .iter()
        .map(|(name, value)| (name.as_str(), TextAttribute { data_type: "String", string_value: value }))
        .collect()
}

/// What refusals mean here. The resource is the queue's name.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let queue = match operation.resource {
        Resource::Service => "",
        Resource::One(queue) | Resource::Inside(queue, _) => queue,
    };
    match &mut failure.kind {
        CloudError::NotFound { resource_id, .. } => {
            *resource_id = queue.to_string();
            failure.detail.hint = Some(format!("create_queue({queue:?})"));
        }
        CloudError::AlreadyExists { resource_id, .. } => *resource_id = queue.to_string(),
        CloudError::Provider { code, message, .. } if is_invalid(code) => {
            let is_missing = code.starts_with("Missing");
            failure.kind = CloudError::Validation(std::mem::take(message));
            if is_missing && operation.name.starts_with("SendMessage") && is_fifo(queue) {
                failure.detail.hint =
                    Some("send_with_options(.., SendOptions::new().message_group_id(..))".into());
            }
        }
        _ => {}
    }
}

/// Whether a code says that the request can never succeed as it is.
pub(super) fn is_invalid(code: &str) -> bool {
    // Entries of batches have the older names, with a prefix or without.
    INVALID.contains(&code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code))
}

/// Whether a queue keeps the order, by its name or its address.
pub(super) fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// The name in an address; another text is taken as the name.
pub(super) fn name_of(queue_url: &str) -> &str {
    queue_url.rsplit('/').next().unwrap_or(queue_url)
}

/// The times of the service are whole seconds; a part of one counts as one, so that nothing comes too early. What is beyond every
/// bound stays beyond it.
pub(super) fn seconds(time: Duration) -> i32 {
    let up = u64::from(time.subsec_nanos() > 0);
    i32::try_from(time.as_secs().saturating_add(up)).unwrap_or(i32::MAX)
}

/// Codes of requests that break a rule.
const INVALID: [&str; 17] = [
    "InvalidParameterValueException",
    "InvalidParameterValue",
    "InvalidParameterCombination",
    "MissingRequiredParameterException",
    "MissingParameter",
    "InvalidMessageContents",
    "InvalidAttributeName",
    "InvalidAttributeValue",
    "InvalidIdFormat",
    "InvalidBatchEntryId",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "ReceiptHandleIsInvalid",
    "MessageNotInflight",
    "UnsupportedOperation",
    "SerializationException",
    "RequestEntityTooLargeException",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_seconds_count_as_one() {
        for (millis, expected) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (u64::MAX, i32::MAX)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected, "{millis}");
        }
        assert_eq!(seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn a_queue_is_named_by_the_end_of_its_address() {
        assert_eq!(name_of("http://localhost:8080/000000000000/jobs.fifo"), "jobs.fifo");
        assert_eq!(name_of("jobs"), "jobs");
        assert!(is_fifo("http://h/0/jobs.fifo") && !is_fifo("jobs"));
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        let input = Input { queue_url: Some("u"), ..Input::default() };
        assert_eq!(serde_json::to_string(&input).unwrap(), "{\"QueueUrl\":\"u\"}");
        let sent = Outgoing { message_body: "b", ..Outgoing::default() };
        assert_eq!(serde_json::to_string(&sent).unwrap(), "{\"MessageBody\":\"b\"}");
    }
}
