//! Everything that can be wrong with a request, as clients tell it apart.
//! Invariant: one variant per code of AWS; no text names a file, a shard or another account's data.
//! Source: the SNS API reference, "Errors" of each operation and "Common Errors".

use std::borrow::Cow;

use aws::query;
use plan::BodyFailure;
use store::Fault;

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Which.
    pub code: Code,
    /// In words.
    pub message: Cow<'static, str>,
}

macro_rules! codes {
    ($($variant:ident = $spelled:literal, $status:literal;)*) => {
        /// The codes of this protocol.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code {
            $(#[doc = concat!("`", $spelled, "`")] $variant,)*
        }

        impl Code {
            /// Every one.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// As clients see it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $spelled,)*
                }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Code::$variant => $status,)*
                }
            }
        }
    };
}

codes! {
    AuthorizationError = "AuthorizationError", 403;
    BatchEntryIdsNotDistinct = "BatchEntryIdsNotDistinct", 400;
    BatchRequestTooLong = "BatchRequestTooLong", 400;
    EmptyBatchRequest = "EmptyBatchRequest", 400;
    FilterPolicyLimitExceeded = "FilterPolicyLimitExceeded", 403;
    IncompleteSignature = "IncompleteSignature", 400;
    InternalError = "InternalError", 500;
    InvalidAction = "InvalidAction", 400;
    InvalidBatchEntryId = "InvalidBatchEntryId", 400;
    InvalidClientTokenId = "InvalidClientTokenId", 403;
    InvalidParameter = "InvalidParameter", 400;
    MalformedQueryString = "MalformedQueryString", 404;
    MissingAuthenticationToken = "MissingAuthenticationToken", 403;
    NotFound = "NotFound", 404;
    ParameterValueInvalid = "ParameterValueInvalid", 400;
    RequestExpired = "RequestExpired", 400;
    RequestEntityTooLarge = "RequestEntityTooLarge", 413;
    RequestTimeout = "RequestTimeout", 408;
    ResourceNotFound = "ResourceNotFound", 404;
    ServiceUnavailable = "ServiceUnavailable", 503;
    SignatureDoesNotMatch = "SignatureDoesNotMatch", 403;
    SubscriptionLimitExceeded = "SubscriptionLimitExceeded", 403;
    TagLimitExceeded = "TagLimitExceeded", 400;
    Throttled = "Throttled", 429;
    TooManyEntriesInBatchRequest = "TooManyEntriesInBatchRequest", 400;
    ValidationError = "ValidationError", 400;
}

impl Code {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(self) -> query::Fault {
        if self.status() < 500 { query::Fault::Sender } else { query::Fault::Receiver }
    }
}

impl Error {
    /// An error with its words.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Error {
        Error { code, message: message.into() }
    }

    /// `Invalid parameter: <what>`.
    #[must_use]
    pub fn invalid(what: &str) -> Error {
        Error::new(Code::InvalidParameter, format!("Invalid parameter: {what}"))
    }

    /// A parameter that the operation cannot do without is not there.
    #[must_use]
    pub fn missing(parameter: &str) -> Error {
        let mut letters = parameter.chars();
        let member: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
        Error::new(
            Code::ValidationError,
            format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
            ),
        )
    }

    /// The topic is not there.
    #[must_use]
    pub fn no_topic() -> Error {
        Error::new(Code::NotFound, "Topic does not exist")
    }

    /// The subscription is not there.
    #[must_use]
    pub fn no_subscription() -> Error {
        Error::new(Code::NotFound, "Subscription does not exist")
    }

    /// What `Action` names is not built, or nothing.
    #[must_use]
    pub fn unknown_action(action: &str) -> Error {
        // A name that long is nobody's; repeating it would make a reply as large as the request.
        let action: String = action.chars().take(ACTION_LETTERS_MAX).collect();
        Error::new(Code::InvalidAction, format!("The action {action} is not valid for this web service."))
    }

    /// Ours.
    #[must_use]
    pub fn internal() -> Error {
        Error::new(Code::InternalError, "Internal server error")
    }
}

/// Letters of an unknown action that the refusal repeats.
const ACTION_LETTERS_MAX: usize = 100;

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Busy => Error::new(Code::Throttled, "Rate exceeded"),
            Fault::Closed => Error::new(Code::ServiceUnavailable, "The service is stopping."),
            // Whether a write was done is not known for most of these: never a definite no.
            Fault::InDoubt
            | Fault::Full
            | Fault::TooLarge { .. }
            | Fault::ReadOnly(_)
            | Fault::Corrupt(_)
            | Fault::Io { .. }
            | Fault::Unknown(_) => Error::internal(),
        }
    }
}

impl From<BodyFailure> for Error {
    fn from(failure: BodyFailure) -> Error {
        match failure {
            BodyFailure::TooLarge => Error::new(Code::RequestEntityTooLarge, "Request size exceeded"),
            BodyFailure::Stalled => Error::new(Code::RequestTimeout, "The request timed out"),
            BodyFailure::Sha256Mismatch | BodyFailure::ChunkSignature => {
                Error::new(Code::SignatureDoesNotMatch, super::authentication::MISMATCH)
            }
            BodyFailure::Disconnected
            | BodyFailure::Incomplete
            | BodyFailure::InvalidChunkSize
            | BodyFailure::MalformedTrailer
            | BodyFailure::BadForm(_) => Error::malformed(),
            BodyFailure::Fault(fault) => fault.into(),
        }
    }
}

impl Error {
    /// What came is no form.
    #[must_use]
    pub fn malformed() -> Error {
        Error::new(Code::MalformedQueryString, "The query string contains a syntax error.")
    }
}

impl From<query::QueryError> for Error {
    fn from(error: query::QueryError) -> Error {
        match error {
            query::QueryError::NotUtf8
            | query::QueryError::TooManyParameters
            | query::QueryError::NameTooLong => Error::malformed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let mut names = Vec::new();
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(!names.contains(&code.name()), "{code:?}");
            names.push(code.name());
        }
    }

    #[test]
    fn faults_of_the_machine_are_never_the_clients_and_name_no_file() {
        let faults = [
            Fault::Full,
            Fault::Closed,
            Fault::InDoubt,
            Fault::TooLarge { bytes: 1 },
            Fault::ReadOnly("secret".into()),
            Fault::Corrupt("secret".into()),
            Fault::Unknown("secret".into()),
        ];
        for fault in faults {
            let error = Error::from(fault.clone());
            assert!(error.code.status() >= 500, "{fault}");
            assert!(!error.message.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn a_missing_parameter_is_named_as_the_member_it_is() {
        assert!(Error::missing("TopicArn").message.contains("Value null at 'topicArn' failed"));
        assert!(Error::missing("").message.contains("at '' failed"));
        assert!(Error::unknown_action(&"x".repeat(10_000)).message.len() < 200);
    }
}
