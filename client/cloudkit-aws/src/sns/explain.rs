//! What refusals of SNS mean.

use cloudkit_core::common::{CloudError, Failure};

use crate::operation::Operation;

/// See `caller::Explain`. The resource is the topic's ARN or name, or the subscription's ARN.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let topic = operation.outer();
    match &mut failure.kind {
        CloudError::NotFound { resource_type, resource_id } => {
            *resource_id = topic.to_string();
            if operation.name == "Unsubscribe" {
                *resource_type = "Subscription".into();
                return;
            }
            *resource_type = "Topic".into();
            let name = topic.rsplit(':').next().unwrap_or(topic);
            failure.detail.hint = Some(format!("create_topic({name:?})"));
        }
        CloudError::Provider { code, message, .. } if is_invalid(code) => {
            failure.kind = CloudError::Validation(std::mem::take(message));
        }
        _ => {}
    }
}

/// Whether a code says that the request can never succeed as it is.
pub(super) fn is_invalid(code: &str) -> bool {
    INVALID.contains(&code)
}

/// Codes of requests that break a rule.
const INVALID: [&str; 11] = [
    "InvalidParameter",
    "InvalidParameterValue",
    "InvalidParameterException",
    "ParameterValueInvalid",
    "ValidationError",
    "MalformedQueryString",
    "InvalidBatchEntryId",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "TooManyEntriesInBatchRequest",
    "BatchEntryIdsNotDistinct",
];
