//! Requests and answers of the protocol, awsJson 1.0, and what its refusals mean.
//! Invariant: an answer with another checksum than it says is never read; it is a failed attempt.

use base64::Engine;
use bytes::Bytes;
use cloudkit_core::common::{CloudError, Failure};
use crc_fast::CrcAlgorithm;
use http_types::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression::{Names, Values};
use super::token::LastKey;
use super::value::{Item, TaggedKey, TaggedMap};
use crate::call::Request;
use crate::error::{Sent, WireError, WireKind};
use crate::failure::PROVIDER;
use crate::retry::Idempotency;
use crate::service::{Operation, Resource, ServiceClient};

/// What the operations on items take. Each takes some of it.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ItemRequest<'a> {
    pub table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<TaggedKey<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<TaggedMap<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_condition_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_expression: Option<String>,
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub expression_attribute_names: Names<'a>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    pub expression_attribute_values: Values<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_values: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_read: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_index_forward: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive_start_key: Option<LastKey>,
}

/// What they answer.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ItemReply {
    /// Of GetItem.
    pub item: Option<Item>,
    /// Of the others, as far as they were asked for.
    pub attributes: Option<Item>,
    /// Of Query and Scan.
    pub items: Vec<Item>,
    /// Of Query and Scan; None after the last page.
    pub last_evaluated_key: Option<LastKey>,
}

/// Asks for an operation whose name is that of the protocol.
/// Errors: the call's, and ResponseParsing for an answer of another shape.
pub(super) async fn ask<R: DeserializeOwned>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    input: &(impl Serialize + Sync),
    idempotency: Idempotency,
) -> Result<R, Failure> {
    let body = serde_json::to_vec(input).map_err(|error| client.refusal(operation, error.into()))?;
    ask_bytes(client, operation, body.into(), idempotency).await
}

/// The same with a body that is there already.
pub(super) async fn ask_bytes<R: DeserializeOwned>(
    client: &ServiceClient,
    operation: &Operation<'_>,
    body: Bytes,
    idempotency: Idempotency,
) -> Result<R, Failure> {
    let target = HeaderValue::try_from(format!("DynamoDB_20120810.{}", operation.name))
        .map_err(|_| client.malformed(operation, "the operation's name is no header"))?;
    for attempt in 1.. {
        let mut request = Request::new("dynamodb", Method::POST, "/");
        request.headers.insert(HeaderName::from_static("x-amz-target"), target.clone());
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        request.body = body.clone().into();
        request.idempotency = idempotency;
        let whole = client.whole(operation, request, ANSWER_BYTES_MAX).await?;
        match checked(&whole.headers, &whole.body) {
            Ok(()) => {
                return serde_json::from_slice(&whole.body)
                    .map_err(|error| client.malformed(operation, &error.to_string()));
            }
            Err(error) if idempotency != Idempotency::Always || attempt == CORRUPT_ATTEMPTS_MAX => {
                return Err(client.wire_failure(operation, whole.attempts, error));
            }
            Err(_) => {}
        }
    }
    unreachable!("the last attempt returns")
}

/// Compares a body with the CRC-32 that its head names.
fn checked(headers: &HeaderMap, body: &[u8]) -> Result<(), WireError> {
    let Some(said) = headers.get("x-amz-crc32") else { return Ok(()) };
    let found = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, body);
    let said = said.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    if said == Some(found) {
        return Ok(());
    }
    let words = format!("x-amz-crc32 of the body is {found}, the answer said {said:?}");
    Err(WireError::new(WireKind::Checksum, Sent::Maybe, words))
}

/// What refusals mean here.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let table = match operation.resource {
        Resource::Service => "",
        Resource::One(table) | Resource::Inside(table, _) => table,
    };
    match &mut failure.kind {
        CloudError::NotFound { resource_id, .. } => {
            *resource_id = table.to_string();
            failure.detail.hint = Some(format!("create_table({table:?}, CreateTableOptions::new())"));
        }
        CloudError::AlreadyExists { resource_id, .. } => *resource_id = table.to_string(),
        CloudError::Provider { code, .. } if code == CONDITION_FAILED => {
            failure.detail.hint = Some("read the item again: it is not as the condition wants it".into());
        }
        CloudError::Provider { code, .. } if code == "TransactionCanceledException" => {
            failure.kind = of_reasons(&failure.detail.message);
        }
        // What the service cannot even read has another code than what it may not do.
        CloudError::Provider { code, message, .. } if code == "SerializationException" => {
            failure.kind = CloudError::Validation(std::mem::take(message));
        }
        _ => {}
    }
}

/// The kind of a transaction that was given up. Its message ends with the reasons of its parts: `[None, TransactionConflict]`.
fn of_reasons(message: &str) -> CloudError {
    let reasons = message.rsplit_once('[').map_or("", |(_, reasons)| reasons);
    let has = |reason: &str| reasons.trim_end_matches(']').split(',').any(|one| one.trim() == reason);
    let provider = |code: &str| CloudError::Provider {
        provider: PROVIDER.into(),
        code: code.into(),
        message: message.to_string(),
    };
    if has("ConditionalCheckFailed") {
        provider(CONDITION_FAILED)
    } else if has("TransactionConflict") {
        provider("TransactionConflictException")
    } else if has("ValidationError") {
        CloudError::Validation(message.to_string())
    } else if has("ThrottlingError") || has("ProvisionedThroughputExceeded") {
        CloudError::RateLimited { retry_after: None }
    } else {
        provider("TransactionCanceledException")
    }
}

/// Whether a write that failed so may have been carried out.
pub(super) fn is_in_doubt(failure: &Failure) -> bool {
    match failure.kind {
        CloudError::Network(_) | CloudError::Timeout { .. } => true,
        _ => failure.detail.status.is_some_and(|status| status >= 500),
    }
}

/// A token that the service knows a transaction by, however often it comes.
pub(super) fn request_token() -> String {
    let bits = [cloudkit_core::common::random_u64(), cloudkit_core::common::random_u64()];
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bits.map(u64::to_be_bytes).concat())
}

/// An object that nobody looks into.
pub(super) type Ignored = serde_json::Map<String, Value>;

/// A condition did not hold.
pub(super) const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
/// A batch answers 16 MiB at most; escapes of JSON make more of them.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Answers with a wrong checksum are asked for again so often.
const CORRUPT_ATTEMPTS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_compared_with_its_checksum() {
        let with = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-crc32", HeaderValue::from_static(text));
            headers
        };
        // The check value of CRC-32/ISO-HDLC.
        assert!(checked(&with("3421780262"), b"123456789").is_ok());
        for wrong in ["3421780261", "", "x", "-1"] {
            assert_eq!(
                checked(&with(wrong), b"123456789").unwrap_err().kind(),
                WireKind::Checksum,
                "{wrong}"
            );
        }
        assert!(checked(&HeaderMap::new(), b"x").is_ok());
    }

    #[test]
    fn reasons_of_a_transaction_are_kinds() {
        let front = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        let of = |reasons: &str| of_reasons(&format!("{front} [{reasons}]"));
        assert!(of("None, ConditionalCheckFailed").is_precondition_failed());
        assert!(of("TransactionConflict, None").is_conflict());
        assert!(matches!(of("None, ValidationError"), CloudError::Validation(_)));
        assert!(of("ThrottlingError").is_throttled());
        for other in ["None", "", "NotConditionalCheckFailed"] {
            assert!(
                matches!(of(other), CloudError::Provider { code, .. } if code == "TransactionCanceledException")
            );
        }
        assert!(matches!(of_reasons(""), CloudError::Provider { .. }));
    }

    #[test]
    fn tokens_differ_and_fit() {
        let tokens: std::collections::HashSet<String> = (0..1000).map(|_| request_token()).collect();
        assert_eq!(tokens.len(), 1000);
        // 36 characters at most: TransactWriteItems, ClientRequestToken.
        assert!(tokens.iter().all(|token| token.len() == 22));
    }
}
