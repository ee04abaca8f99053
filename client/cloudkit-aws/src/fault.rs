//! What the SDK's failures are in the words of the old errors, and which facts travel with them.
//! Invariant: keys, signatures and bodies are never among them; messages are the service's own or name what went wrong here.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cloudkit_core::common::{AuthError, CloudError, ErrorDetail, Failure, NetworkError};

use crate::operation::Operation;

/// The provider's name in errors.
pub(crate) const PROVIDER: &str = "aws";

/// The failure of a call that was tried so often, after so long.
pub(crate) fn failure_of<E>(
    operation: &Operation<'_>,
    error: &SdkError<E, HttpResponse>,
    attempts: u32,
    waited: Duration,
) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let mut detail = ErrorDetail::new(PROVIDER, operation.name).with_attempts(attempts);
    detail.resource = operation.resource_text();
    let answer = error.raw_response();
    detail.status = answer.map(|answer| answer.status().as_u16());
    let header = |name: &str| answer.and_then(|answer| answer.headers().get(name)).map(String::from);
    detail.request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
    let kind = match error {
        SdkError::ServiceError(_) => {
            let status = detail.status.unwrap_or_default();
            let code = error.code().map(bare).filter(|code| !code.is_empty());
            let code = code.map_or_else(|| code_of(status), String::from);
            let message = error.message().unwrap_or_default().to_string();
            detail.message = if message.is_empty() { words_of(status) } else { message };
            let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
            let kind = of_code(
                &code,
                status,
                &detail.message,
                detail.resource.as_deref(),
                retry_after.map(Duration::from_secs),
            );
            detail.code = Some(code);
            kind
        }
        other => {
            let words = DisplayErrorContext(other).to_string();
            let kind = of_wire(operation, other, words.clone(), waited);
            detail.message = words;
            kind
        }
    };
    Failure::new(kind, detail)
}

/// What went wrong without an answer of the service.
fn of_wire<E: Error + Send + Sync + 'static>(
    operation: &Operation<'_>,
    error: &SdkError<E, HttpResponse>,
    words: String,
    duration: Duration,
) -> CloudError {
    if has_source::<CredentialsError>(error) {
        return CloudError::Auth(AuthError::MissingCredentials(words));
    }
    let timeout = || CloudError::Timeout { operation: operation.name.into(), duration };
    match error {
        SdkError::TimeoutError(_) => timeout(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => timeout(),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            CloudError::Network(NetworkError::Request(words))
        }
        SdkError::DispatchFailure(_) => CloudError::Network(of_connection(words)),
        SdkError::ResponseError(_) => CloudError::Network(NetworkError::ResponseParsing(words)),
        // The SDK refuses arguments of its own when it builds the request.
        SdkError::ConstructionFailure(_) => CloudError::Validation(words),
        _ => CloudError::Internal(words),
    }
}

/// The layers below tell their kind by words only.
fn of_connection(words: String) -> NetworkError {
    if words.contains("dns error") || words.contains("failed to lookup address") {
        NetworkError::DnsResolution(words)
    } else if words.contains("invalid peer certificate") || words.contains("received fatal alert") {
        NetworkError::Tls(words)
    } else {
        NetworkError::Connection(words)
    }
}

fn has_source<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// A code without what older protocols put around it.
fn bare(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or(code);
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

/// The code of an answer without a body, as HEAD has it.
fn code_of(status: u16) -> String {
    let code = match status {
        304 => "NotModified",
        400 => "BadRequest",
        403 => "AccessDenied",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        412 => "PreconditionFailed",
        416 => "InvalidRange",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        other => return format!("Http{other}"),
    };
    code.into()
}

fn words_of(status: u16) -> String {
    format!("the service answered {status} without a message")
}

/// What kind of failure a code is, whatever the service.
pub(crate) fn of_code(
    code: &str,
    status: u16,
    message: &str,
    resource: Option<&str>,
    retry_after: Option<Duration>,
) -> CloudError {
    let of = |table: &[(&str, &str)]| {
        table.iter().find(|(known, _)| *known == code).map(|(_, what)| what.to_string())
    };
    let resource_id = || resource.unwrap_or_default().to_string();
    if let Some(resource_type) = of(&MISSING) {
        return CloudError::NotFound { resource_type, resource_id: resource_id() };
    }
    if let Some(resource_type) = of(&EXISTING) {
        return CloudError::AlreadyExists { resource_type, resource_id: resource_id() };
    }
    let message = message.to_string();
    match code {
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
        code => {
            let kind = CloudError::Provider { provider: PROVIDER.into(), code: code.into(), message };
            if kind.is_throttled() || matches!(status, 429 | 503) {
                CloudError::RateLimited { retry_after }
            } else {
                kind
            }
        }
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
    ("NonExistentQueue", "Queue"),
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

    fn kind(code: &str, status: u16) -> CloudError {
        of_code(code, status, "words", Some("logs/a.txt"), Some(Duration::from_secs(3)))
    }

    #[test]
    fn codes_are_the_kinds_that_programs_match_on() {
        assert!(matches!(kind("NoSuchKey", 404), CloudError::NotFound { resource_type, resource_id }
            if resource_type == "Object" && resource_id == "logs/a.txt"));
        assert!(matches!(kind("BucketAlreadyOwnedByYou", 409), CloudError::AlreadyExists { .. }));
        assert!(
            matches!(kind("SlowDown", 503), CloudError::RateLimited { retry_after: Some(wait) } if wait.as_secs() == 3)
        );
        assert!(matches!(kind("ServiceUnavailable", 503), CloudError::ServiceUnavailable { .. }));
        assert!(matches!(kind("AccessDenied", 403), CloudError::Auth(AuthError::InsufficientPermissions(_))));
        assert!(kind("PreconditionFailed", 412).is_precondition_failed());
        assert!(kind("ConditionalCheckFailedException", 400).is_precondition_failed());
        assert!(kind("InternalError", 500).is_retryable());
        assert!(kind(&code_of(304), 304).is_not_modified());
    }

    #[test]
    fn a_code_loses_what_older_protocols_put_around_it() {
        assert_eq!(bare("AWS.SimpleQueueService.PurgeQueueInProgress"), "PurgeQueueInProgress");
        assert_eq!(bare("com.amazonaws.sqs#QueueDoesNotExist"), "QueueDoesNotExist");
        assert_eq!(bare("NoSuchKey"), "NoSuchKey");
    }
}
