//! What refusals of DynamoDB mean.

use cloudkit_core::common::{CloudError, Failure};

use crate::fault::PROVIDER;
use crate::operation::Operation;

/// See `caller::Explain`.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let table = operation.outer();
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

const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
