//! What a failure means, whatever variant or code it came in. Providers name one thing differently; programs ask here.

use super::detail::ErrorDetail;
use super::error::CloudError;
use super::failure::{Failure, UNSUPPORTED};
use std::io::ErrorKind;

impl CloudError {
    /// The resource does not exist: bucket, object, version, table, queue, topic, subscription or function.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. }) || self.answers(&NOT_FOUND, 404)
    }

    /// The resource exists already, is not empty, or another writer is at it.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. }) || self.answers(&CONFLICT, 409)
    }

    /// A condition of the request does not hold, and nothing was changed.
    pub fn is_precondition_failed(&self) -> bool {
        self.answers(&PRECONDITION, 412)
    }

    /// The object is still the one that `if_none_match` named, so that no body came.
    pub fn is_not_modified(&self) -> bool {
        self.answers(&["NotModified"], 304)
    }

    /// The service asks for fewer requests.
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::RateLimited { .. }) || self.answers(&THROTTLED, 429)
    }

    /// The provider does not have the method, as its `capabilities()` says.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Provider { code, .. } if code == UNSUPPORTED)
    }

    /// The same request may succeed later. Whether it may be sent again is another question: it may have taken effect.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Network(_)
            | Self::RateLimited { .. }
            | Self::ServiceUnavailable { .. }
            | Self::Timeout { .. } => true,
            Self::Io(error) => TRANSIENT.contains(&error.kind()),
            Self::Provider { .. } | Self::ServiceError(_) => {
                self.is_throttled()
                    || [500, 502, 503, 504].iter().any(|status| self.answers(&PASSING, *status))
            }
            Self::Auth(_)
            | Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Validation(_)
            | Self::Internal(_)
            | Self::Config(_)
            | Self::Serialization(_) => false,
        }
    }

    /// The provider's name for the request, where the error carries it.
    pub fn request_id(&self) -> Option<String> {
        self.detail()?.request_id
    }

    /// What would help, where the error carries it.
    pub fn hint(&self) -> Option<String> {
        self.detail()?.hint
    }

    /// The same error with this number of attempts among its facts; unchanged if it carries none.
    #[must_use]
    pub fn with_attempts(self, attempts: u32) -> Self {
        match self.detail() {
            Some(detail) => Self::from(Failure::new(self, detail.with_attempts(attempts))),
            None => self,
        }
    }

    /// Whether the provider answered with one of these codes, or with none that is known and this status.
    fn answers(&self, codes: &[&str], status: u16) -> bool {
        if let Self::Provider { code, .. } = self {
            if codes.contains(&code.as_str()) {
                return true;
            }
            if ALL.iter().any(|known| known.contains(&code.as_str())) {
                return false;
            }
        }
        matches!(self, Self::Provider { .. } | Self::ServiceError(_))
            && self.detail().is_some_and(|detail: ErrorDetail| detail.status == Some(status))
    }
}

const NOT_FOUND: [&str; 17] = [
    "NotFound",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchVersion",
    "NoSuchUpload",
    "NoSuchEntity",
    "NoSuchTagSet",
    "NotFoundException",
    "ResourceNotFoundException",
    "TableNotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "BlobNotFound",
    "ContainerNotFound",
    "QueueNotFound",
    "BucketNotFound",
    "ObjectNotFound",
];
const CONFLICT: [&str; 16] = [
    "Conflict",
    "AlreadyExists",
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "BucketNotEmpty",
    "ConditionalRequestConflict",
    "OperationAborted",
    "QueueAlreadyExists",
    "QueueNameExists",
    "QueueDeletedRecently",
    "PurgeQueueInProgress",
    "ResourceInUseException",
    "ResourceConflictException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "TableAlreadyExistsException",
];
const PRECONDITION: [&str; 3] = ["PreconditionFailed", "ConditionalCheckFailedException", "ConditionNotMet"];
const THROTTLED: [&str; 10] = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestLimitExceeded",
    "TooManyRequests",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "KMS.ThrottlingException",
];
const PASSING: [&str; 9] = [
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ServiceException",
    "RequestTimeout",
    "ServerBusy",
    "TransactionInProgressException",
];
/// Codes of a wrong argument that come with a status which says something else.
const ARGUMENT: [&str; 2] = ["ReceiptHandleIsInvalid", "InvalidParameterValue"];
const ALL: [&[&str]; 6] = [&NOT_FOUND, &CONFLICT, &PRECONDITION, &THROTTLED, &PASSING, &ARGUMENT];
const TRANSIENT: [ErrorKind; 9] = [
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::NotConnected,
    ErrorKind::BrokenPipe,
    ErrorKind::TimedOut,
    ErrorKind::Interrupted,
    ErrorKind::UnexpectedEof,
    ErrorKind::WriteZero,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{AuthError, NetworkError};
    use std::time::Duration;

    fn provider(code: &str, status: Option<u16>) -> CloudError {
        let mut detail = ErrorDetail::new("zero", "Op");
        detail.status = status;
        let kind = CloudError::Provider { provider: "zero".into(), code: code.into(), message: "m".into() };
        Failure::new(kind, detail).into()
    }

    /// Not found, conflict, precondition, throttled, retryable.
    fn meaning(error: &CloudError) -> [bool; 5] {
        [
            error.is_not_found(),
            error.is_conflict(),
            error.is_precondition_failed(),
            error.is_throttled(),
            error.is_retryable(),
        ]
    }

    #[test]
    fn codes_and_statuses_mean_what_they_say() {
        let cases = [
            (provider("NoSuchKey", None), [true, false, false, false, false]),
            (provider("SomethingElse", Some(404)), [true, false, false, false, false]),
            (provider("BucketNotEmpty", Some(409)), [false, true, false, false, false]),
            (provider("SomethingElse", Some(409)), [false, true, false, false, false]),
            (provider("PreconditionFailed", None), [false, false, true, false, false]),
            (provider("ConditionalCheckFailedException", Some(400)), [false, false, true, false, false]),
            (provider("SomethingElse", Some(412)), [false, false, true, false, false]),
            (provider("SlowDown", Some(503)), [false, false, false, true, true]),
            (provider("SomethingElse", Some(429)), [false, false, false, true, true]),
            (provider("InternalError", Some(500)), [false, false, false, false, true]),
            (provider("SomethingElse", Some(502)), [false, false, false, false, true]),
            (provider("SomethingElse", Some(501)), [false; 5]),
            (provider("TransactionInProgressException", Some(400)), [false, true, false, false, true]),
            // The code is more exact than the status: this one is a conflict although S3 answers it with 412's sibling.
            (provider("ResourceInUseException", Some(404)), [false, true, false, false, false]),
            (provider("ValidationException", Some(400)), [false; 5]),
            // SQS says so of a text that never was a receipt, with a status of 404: the argument is wrong, and nothing is gone.
            (provider("ReceiptHandleIsInvalid", Some(404)), [false; 5]),
        ];
        for (error, expected) in cases {
            assert_eq!(meaning(&error), expected, "{error}");
        }
    }

    #[test]
    fn variants_mean_what_they_say() {
        let text = String::new;
        let resource = || (String::from("Bucket"), String::from("b"));
        let (resource_type, resource_id) = resource();
        assert_eq!(
            meaning(&CloudError::NotFound { resource_type, resource_id }),
            [true, false, false, false, false]
        );
        let (resource_type, resource_id) = resource();
        assert_eq!(
            meaning(&CloudError::AlreadyExists { resource_type, resource_id }),
            [false, true, false, false, false]
        );
        let retryable = [
            CloudError::Network(NetworkError::Connection(text())),
            CloudError::ServiceUnavailable { service: text(), message: None },
            CloudError::Timeout { operation: text(), duration: Duration::ZERO },
            CloudError::Io(ErrorKind::ConnectionReset.into()),
        ];
        for error in retryable {
            assert_eq!(meaning(&error), [false, false, false, false, true], "{error}");
        }
        assert_eq!(
            meaning(&CloudError::RateLimited { retry_after: None }),
            [false, false, false, true, true]
        );
        let lasting = [
            CloudError::Auth(AuthError::ExpiredCredentials),
            CloudError::Validation(text()),
            CloudError::Internal(text()),
            CloudError::Config(text()),
            CloudError::Serialization(text()),
            CloudError::ServiceError(text()),
            CloudError::Io(ErrorKind::PermissionDenied.into()),
        ];
        for error in lasting {
            assert_eq!(meaning(&error), [false; 5], "{error}");
        }
    }

    #[test]
    fn request_id_and_hint_are_read_back() {
        let kind = CloudError::Internal(String::from("x"));
        let detail = ErrorDetail::new("zero", "Op").with_request_id("r[1]").with_hint("do \"this\"");
        let error = CloudError::from(Failure::new(kind, detail));
        assert_eq!(error.request_id().as_deref(), Some("r[1]"));
        assert_eq!(error.hint().as_deref(), Some("do \"this\""));
        assert_eq!(error.with_attempts(4).detail().unwrap().attempts, 4);
        let plain = CloudError::Internal(String::from("x")).with_attempts(4);
        assert!(matches!(plain, CloudError::Internal(text) if text == "x"));
    }

    #[test]
    fn not_modified_is_no_failed_precondition() {
        let error = provider("NotModified", Some(304));
        assert!(error.is_not_modified() && !error.is_precondition_failed() && !error.is_retryable());
    }
}
