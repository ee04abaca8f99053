//! What a failed call is in the words of the old errors, and which facts travel with it.
//! Invariant: keys, signatures and bodies are never among them; messages are the service's own or name what went wrong here.

use std::time::Duration;

use cloudkit_core::common::{AuthError, CloudError, ErrorDetail, Failure, NetworkError};

use crate::call::{CallError, Cause};
use crate::error::{WireError, WireKind};
use crate::fault::Fault;
use crate::retry::Failed;

/// The provider's name in errors.
pub const PROVIDER: &str = "zero";

impl Cause {
    /// What kind of failure it is, without knowing what was asked for.
    pub fn kind(&self) -> CloudError {
        match self {
            Cause::Wire(error) => of_wire(error, ""),
            Cause::Fault(fault) => of_fault(fault, None),
        }
    }
}

impl CallError {
    /// With the facts: which operation it was, on what, and what would help.
    pub fn into_failure(self, operation: &str, resource: Option<String>, hint: Option<String>) -> Failure {
        let mut detail = ErrorDetail::new(PROVIDER, operation).with_attempts(self.attempts);
        detail.hint = hint;
        let kind = match self.cause {
            Cause::Wire(error) => {
                detail.message = error.to_string();
                of_wire(&error, operation)
            }
            Cause::Fault(fault) => {
                let kind = of_fault(&fault, resource.as_deref());
                detail.status = Some(fault.status.as_u16());
                detail.code = Some(fault.code);
                detail.message = fault.message;
                detail.request_id = Some(fault.request_id).filter(|id| !id.is_empty());
                kind
            }
        };
        detail.resource = resource;
        Failure::new(kind, detail)
    }
}

fn of_wire(error: &WireError, operation: &str) -> CloudError {
    let words = error.message().to_string();
    match error.kind() {
        WireKind::Config => CloudError::Config(words),
        WireKind::Credentials => CloudError::Auth(AuthError::MissingCredentials(words)),
        WireKind::Dns => CloudError::Network(NetworkError::DnsResolution(words)),
        WireKind::Tls => CloudError::Network(NetworkError::Tls(words)),
        WireKind::Connect | WireKind::NotProcessed | WireKind::Reset | WireKind::Closed => {
            CloudError::Network(NetworkError::Connection(words))
        }
        WireKind::Body => CloudError::Network(NetworkError::Request(words)),
        WireKind::Protocol | WireKind::Checksum | WireKind::Answer => {
            CloudError::Network(NetworkError::ResponseParsing(words))
        }
        WireKind::ConnectTimeout | WireKind::AttemptTimeout | WireKind::Stalled | WireKind::Deadline => {
            CloudError::Timeout {
                operation: operation.to_string(),
                duration: error.waited().unwrap_or(Duration::ZERO),
            }
        }
    }
}

fn of_fault(fault: &Fault, resource: Option<&str>) -> CloudError {
    let of = |table: &[(&str, &str)]| {
        table.iter().find(|(code, _)| *code == fault.code).map(|(_, what)| what.to_string())
    };
    let resource_id = || resource.unwrap_or_default().to_string();
    if let Some(resource_type) = of(&MISSING) {
        return CloudError::NotFound { resource_type, resource_id: resource_id() };
    }
    if let Some(resource_type) = of(&EXISTING) {
        return CloudError::AlreadyExists { resource_type, resource_id: resource_id() };
    }
    let message = fault.message.clone();
    match fault.code.as_str() {
        "AccessDenied" | "AccessDeniedException" | "AuthorizationError" => {
            CloudError::Auth(AuthError::InsufficientPermissions(message))
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "InvalidToken" => CloudError::Auth(AuthError::InvalidCredentials(message)),
        "ExpiredToken" | "ExpiredTokenException" => CloudError::Auth(AuthError::ExpiredCredentials),
        "ValidationException"
        | "InvalidParameter"
        | "InvalidParameterValue"
        | "InvalidArgument"
        | "InvalidBucketName" => CloudError::Validation(message),
        "ServiceUnavailable" | "ServiceUnavailableException" => {
            CloudError::ServiceUnavailable { service: PROVIDER.into(), message: Some(message) }
        }
        code => match Failed::of_answer(fault.status, code) {
            Failed::Throttled => CloudError::RateLimited { retry_after: fault.retry_after },
            Failed::NotProcessed
            | Failed::Unknown
            | Failed::TimedOut
            | Failed::Skewed
            | Failed::Expired
            | Failed::Final => CloudError::Provider { provider: PROVIDER.into(), code: code.into(), message },
        },
    }
}

/// Codes of things that are not there.
const MISSING: [(&str, &str); 9] = [
    ("NoSuchBucket", "Bucket"),
    ("NoSuchKey", "Object"),
    ("NoSuchVersion", "Version"),
    ("NoSuchUpload", "Upload"),
    ("ResourceNotFoundException", "Table"),
    ("QueueDoesNotExist", "Queue"),
    ("AWS.SimpleQueueService.NonExistentQueue", "Queue"),
    ("NotFound", "Resource"),
    ("NotFoundException", "Resource"),
];
/// Codes of things that are there already.
const EXISTING: [(&str, &str); 5] = [
    ("BucketAlreadyExists", "Bucket"),
    ("BucketAlreadyOwnedByYou", "Bucket"),
    ("ResourceInUseException", "Table"),
    ("QueueAlreadyExists", "Queue"),
    ("QueueNameExists", "Queue"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Sent;
    use bytes::Bytes;
    use http_types::StatusCode;

    fn failure(status: u16, code: &str) -> Failure {
        let fault = Fault {
            status: StatusCode::from_u16(status).unwrap(),
            code: code.into(),
            message: "words".into(),
            request_id: "R1".into(),
            retry_after: Some(Duration::from_secs(3)),
            body: Bytes::new(),
        };
        let cause = Cause::Fault(Box::new(fault));
        CallError { attempts: 2, cause }.into_failure("Op", Some("logs/a.txt".into()), Some("help".into()))
    }

    #[test]
    fn everything_that_is_known_is_in_the_line() {
        let line = failure(400, "Odd").to_string();
        assert_eq!(line, "zero Op logs/a.txt: Odd (400): words [request R1, 2 attempts]. Hint: help");
    }

    #[test]
    fn codes_are_the_kinds_that_programs_match_on() {
        let kind = |status, code| failure(status, code).kind;
        assert!(matches!(kind(404, "NoSuchKey"), CloudError::NotFound { resource_type, resource_id }
            if resource_type == "Object" && resource_id == "logs/a.txt"));
        assert!(matches!(kind(409, "BucketAlreadyOwnedByYou"), CloudError::AlreadyExists { .. }));
        assert!(
            matches!(kind(503, "SlowDown"), CloudError::RateLimited { retry_after: Some(wait) } if wait.as_secs() == 3)
        );
        assert!(matches!(kind(503, "ServiceUnavailable"), CloudError::ServiceUnavailable { .. }));
        assert!(matches!(kind(403, "AccessDenied"), CloudError::Auth(AuthError::InsufficientPermissions(_))));
        assert!(kind(412, "PreconditionFailed").is_precondition_failed());
        assert!(kind(400, "ConditionalCheckFailedException").is_precondition_failed());
        assert!(kind(500, "InternalError").is_retryable());
    }

    #[test]
    fn failures_of_the_wire_are_network_timeout_or_configuration() {
        let kind = |kind| Cause::Wire(WireError::new(kind, Sent::Maybe, "w")).kind();
        assert!(matches!(kind(WireKind::Connect), CloudError::Network(NetworkError::Connection(_))));
        assert!(matches!(kind(WireKind::AttemptTimeout), CloudError::Timeout { .. }));
        assert!(matches!(kind(WireKind::Config), CloudError::Config(_)));
        assert!(matches!(kind(WireKind::Credentials), CloudError::Auth(AuthError::MissingCredentials(_))));
        assert!(kind(WireKind::Closed).is_retryable());
    }
}
