//! What refusals of SQS mean, and the small forms of its requests.

use std::time::Duration;

use cloudkit_core::common::{CloudError, Failure};

use crate::operation::Operation;

/// See `caller::Explain`. The resource is the queue's name.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let queue = operation.outer();
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
}
