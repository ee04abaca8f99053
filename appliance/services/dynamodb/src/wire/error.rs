//! What is answered instead of a result: one name per exception of the protocol, its words, and what goes with it.
//! Invariant: a fault of the machine is never reported as the client's, and says nothing about the machine.
//! Leaves to authentication.rs: refusals that come before the service. To reply.rs: the bytes.

use std::borrow::Cow;

use plan::BodyFailure;
use store::Fault;

use crate::engine::item_write::Refusal;
use crate::expression::ExpressionError;
use crate::json::{JsonError, Writer};
use crate::value::Item;

/// An exception of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorName {
    /// The request is well formed and asks for what cannot be.
    Validation,
    /// The body is not what the protocol's shapes say.
    Serialization,
    /// The target names nothing that is built.
    UnknownOperation,
    /// Unsigned.
    MissingAuthenticationToken,
    /// The signature's parts are not all there.
    IncompleteSignature,
    /// The signature is not right.
    InvalidSignature,
    /// The key is not known.
    UnrecognizedClient,
    /// The session is over.
    ExpiredToken,
    /// Known, and not allowed.
    AccessDenied,
    /// No such table, index, stream.
    ResourceNotFound,
    /// The table is there already, or changes.
    ResourceInUse,
    /// No such table, for the operations on backups.
    TableNotFound,
    /// A condition is false.
    ConditionalCheckFailed,
    /// A transaction was given up; the reasons say why.
    TransactionCanceled,
    /// The item belongs to a transaction that is under way.
    TransactionConflict,
    /// The first call with this token has not ended.
    TransactionInProgress,
    /// The token was used for another request.
    IdempotentParameterMismatch,
    /// Too many of something.
    LimitExceeded,
    /// The items of one partition key are too many bytes.
    ItemCollectionSizeLimitExceeded,
    /// Every part of a batch was refused for now.
    ProvisionedThroughputExceeded,
    /// Try again later.
    Throttling,
    /// INSERT of a key that is there.
    DuplicateItem,
    /// The iterator is too old.
    ExpiredIterator,
    /// The iterator points to what was removed.
    TrimmedDataAccess,
    /// Ours.
    InternalServerError,
    /// The service starts or stops.
    ServiceUnavailable,
    /// The body is longer than the protocol allows. Only a status is answered.
    RequestTooLarge,
    /// The body did not come in time. Only a status is answered.
    RequestTimeout,
}

/// How an exception is spelled on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spelling {
    /// What stands before the `#`.
    pub namespace: &'static str,
    /// Amazon's name.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The member that holds the text.
    pub member: &'static str,
}

const SERVICE: &str = "com.amazonaws.dynamodb.v20120810";
const FRAMEWORK: &str = "com.amazon.coral.service";
const VALIDATE: &str = "com.amazon.coral.validate";

impl ErrorName {
    /// Every name.
    pub const ALL: &[ErrorName] = &[
        ErrorName::Validation,
        ErrorName::Serialization,
        ErrorName::UnknownOperation,
        ErrorName::MissingAuthenticationToken,
        ErrorName::IncompleteSignature,
        ErrorName::InvalidSignature,
        ErrorName::UnrecognizedClient,
        ErrorName::ExpiredToken,
        ErrorName::AccessDenied,
        ErrorName::ResourceNotFound,
        ErrorName::ResourceInUse,
        ErrorName::TableNotFound,
        ErrorName::ConditionalCheckFailed,
        ErrorName::TransactionCanceled,
        ErrorName::TransactionConflict,
        ErrorName::TransactionInProgress,
        ErrorName::IdempotentParameterMismatch,
        ErrorName::LimitExceeded,
        ErrorName::ItemCollectionSizeLimitExceeded,
        ErrorName::ProvisionedThroughputExceeded,
        ErrorName::Throttling,
        ErrorName::DuplicateItem,
        ErrorName::ExpiredIterator,
        ErrorName::TrimmedDataAccess,
        ErrorName::InternalServerError,
        ErrorName::ServiceUnavailable,
        ErrorName::RequestTooLarge,
        ErrorName::RequestTimeout,
    ];

    /// How it is spelled. The members' letters differ by exception in Amazon's own model of the service.
    #[must_use]
    pub fn spelling(self) -> Spelling {
        let (namespace, name, status, member) = match self {
            ErrorName::Validation => (VALIDATE, "ValidationException", 400, "message"),
            ErrorName::Serialization => (FRAMEWORK, "SerializationException", 400, "Message"),
            ErrorName::UnknownOperation => (FRAMEWORK, "UnknownOperationException", 400, "message"),
            ErrorName::MissingAuthenticationToken => {
                (FRAMEWORK, "MissingAuthenticationTokenException", 400, "message")
            }
            ErrorName::IncompleteSignature => (FRAMEWORK, "IncompleteSignatureException", 400, "message"),
            ErrorName::InvalidSignature => (FRAMEWORK, "InvalidSignatureException", 400, "message"),
            ErrorName::UnrecognizedClient => (FRAMEWORK, "UnrecognizedClientException", 400, "message"),
            ErrorName::ExpiredToken => (FRAMEWORK, "ExpiredTokenException", 400, "message"),
            ErrorName::AccessDenied => (FRAMEWORK, "AccessDeniedException", 400, "message"),
            ErrorName::ResourceNotFound => (SERVICE, "ResourceNotFoundException", 400, "message"),
            ErrorName::ResourceInUse => (SERVICE, "ResourceInUseException", 400, "message"),
            ErrorName::TableNotFound => (SERVICE, "TableNotFoundException", 400, "message"),
            ErrorName::ConditionalCheckFailed => (SERVICE, "ConditionalCheckFailedException", 400, "message"),
            ErrorName::TransactionCanceled => (SERVICE, "TransactionCanceledException", 400, "Message"),
            ErrorName::TransactionConflict => (SERVICE, "TransactionConflictException", 400, "message"),
            ErrorName::TransactionInProgress => (SERVICE, "TransactionInProgressException", 400, "Message"),
            ErrorName::IdempotentParameterMismatch => {
                (SERVICE, "IdempotentParameterMismatchException", 400, "Message")
            }
            ErrorName::LimitExceeded => (SERVICE, "LimitExceededException", 400, "message"),
            ErrorName::ItemCollectionSizeLimitExceeded => {
                (SERVICE, "ItemCollectionSizeLimitExceededException", 400, "message")
            }
            ErrorName::ProvisionedThroughputExceeded => {
                (SERVICE, "ProvisionedThroughputExceededException", 400, "message")
            }
            ErrorName::Throttling => (SERVICE, "ThrottlingException", 400, "message"),
            ErrorName::DuplicateItem => (SERVICE, "DuplicateItemException", 400, "message"),
            ErrorName::ExpiredIterator => (SERVICE, "ExpiredIteratorException", 400, "message"),
            ErrorName::TrimmedDataAccess => (SERVICE, "TrimmedDataAccessException", 400, "message"),
            ErrorName::InternalServerError => (SERVICE, "InternalServerError", 500, "message"),
            ErrorName::ServiceUnavailable => (FRAMEWORK, "ServiceUnavailableException", 503, "message"),
            ErrorName::RequestTooLarge => (FRAMEWORK, "RequestEntityTooLargeException", 413, "message"),
            ErrorName::RequestTimeout => (FRAMEWORK, "RequestTimeoutException", 408, "message"),
        };
        Spelling { namespace, name, status, member }
    }
}

/// An error on its way to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Which exception.
    pub name: ErrorName,
    /// Its text; "" where the exception has none.
    pub message: Cow<'static, str>,
    /// The item whose condition is false, if the request asked for it.
    pub item: Option<Item>,
    /// Of a transaction that was given up: what became of each action.
    pub reasons: Vec<Reason>,
}

/// What became of one action of a transaction that was given up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reason {
    /// Why; None where nothing was wrong with it.
    pub failure: Option<(ReasonCode, Cow<'static, str>)>,
    /// The item whose condition is false, if the action asked for it.
    pub item: Option<Item>,
}

/// The code of a cancellation reason, and of an error within a batch of statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReasonCode {
    /// The condition is false.
    ConditionalCheckFailed,
    /// The items of one partition key are too many bytes.
    ItemCollectionSizeLimitExceeded,
    /// Another transaction holds the item.
    TransactionConflict,
    /// There is no room for it now.
    ProvisionedThroughputExceeded,
    /// Try again later.
    ThrottlingError,
    /// The action cannot be.
    ValidationError,
    /// INSERT of a key that is there.
    DuplicateItem,
}

impl ReasonCode {
    /// As it is spelled.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReasonCode::ConditionalCheckFailed => "ConditionalCheckFailed",
            ReasonCode::ItemCollectionSizeLimitExceeded => "ItemCollectionSizeLimitExceeded",
            ReasonCode::TransactionConflict => "TransactionConflict",
            ReasonCode::ProvisionedThroughputExceeded => "ProvisionedThroughputExceeded",
            ReasonCode::ThrottlingError => "ThrottlingError",
            ReasonCode::ValidationError => "ValidationError",
            ReasonCode::DuplicateItem => "DuplicateItem",
        }
    }
}

/// The text for a false condition, be it of a write or of an action of a transaction.
pub const CONDITION_FAILED: &str = "The conditional request failed";
/// The text for an item that a transaction holds.
pub const CONFLICT: &str = "Transaction is ongoing for the item";
/// The text for an item collection that would be too large.
pub const COLLECTION_TOO_LARGE: &str = "Collection size exceeded.";

impl Error {
    /// An error with its words.
    pub fn new(name: ErrorName, message: impl Into<Cow<'static, str>>) -> Error {
        Error { name, message: message.into(), item: None, reasons: Vec::new() }
    }

    /// A ValidationException.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorName::Validation, message)
    }

    /// A ValidationException about parameter values: the text after the words that most of them share.
    #[must_use]
    pub fn invalid_values(text: &str) -> Error {
        Error::validation(format!("One or more parameter values were invalid: {text}"))
    }

    /// The table is not there, in the words of the operations on items.
    #[must_use]
    pub fn no_resource() -> Error {
        Error::new(ErrorName::ResourceNotFound, "Requested resource not found")
    }

    /// The table is not there, in the words of the operations on tables.
    #[must_use]
    pub fn no_table(name: &str) -> Error {
        Error::new(
            ErrorName::ResourceNotFound,
            format!("Requested resource not found: Table: {name} not found"),
        )
    }

    /// What the body holds is not JSON.
    #[must_use]
    pub fn not_json() -> Error {
        Error::new(ErrorName::Serialization, "")
    }

    /// The target names nothing that is built.
    #[must_use]
    pub fn unknown_operation() -> Error {
        Error::new(ErrorName::UnknownOperation, "")
    }

    /// The condition of a write is false. `item`: as it is, if the request asked for it.
    #[must_use]
    pub fn condition_failed(item: Option<Item>) -> Error {
        Error { item, ..Error::new(ErrorName::ConditionalCheckFailed, CONDITION_FAILED) }
    }

    /// A transaction was given up; one reason for each of its actions.
    #[must_use]
    pub fn cancelled(reasons: Vec<Reason>) -> Error {
        let codes: Vec<&str> = reasons
            .iter()
            .map(|reason| reason.failure.as_ref().map_or("None", |(code, _)| code.name()))
            .collect();
        let text = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        Error { reasons, ..Error::new(ErrorName::TransactionCanceled, text) }
    }

    /// The document: the type, and the text where there is one.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Spelling { namespace, name, member, .. } = self.name.spelling();
        let mut out = Writer::with_capacity(DOCUMENT_BYTES + self.message.len());
        out.begin_object();
        out.key("__type");
        out.string(&format!("{namespace}#{name}"));
        if !self.message.is_empty() {
            out.key(member);
            out.string(&self.message);
        }
        if !self.reasons.is_empty() {
            out.key("CancellationReasons");
            out.begin_array();
            for reason in &self.reasons {
                reason.write(&mut out);
            }
            out.end_array();
        }
        if let Some(item) = &self.item {
            out.key("Item");
            item.as_ref().write_json(&mut out);
        }
        out.end_object();
        out.into_bytes()
    }

    /// Ours.
    #[must_use]
    pub fn internal() -> Error {
        Error::new(ErrorName::InternalServerError, "Internal server error")
    }
}

impl Reason {
    /// An action with which something is wrong.
    pub fn failed(code: ReasonCode, message: impl Into<Cow<'static, str>>) -> Reason {
        Reason { failure: Some((code, message.into())), item: None }
    }

    fn write(&self, out: &mut Writer) {
        out.begin_object();
        out.key("Code");
        out.string(self.failure.as_ref().map_or("None", |(code, _)| code.name()));
        if let Some(item) = &self.item {
            out.key("Item");
            item.as_ref().write_json(out);
        }
        if let Some((_, message)) = &self.failure {
            out.key("Message");
            out.string(message);
        }
        out.end_object();
    }
}

/// Room for an error without its text.
const DOCUMENT_BYTES: usize = 128;

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Error {
        match error {
            JsonError::Syntax => Error::not_json(),
            JsonError::Type(text) => Error::new(ErrorName::Serialization, text),
        }
    }
}

impl From<ExpressionError> for Error {
    fn from(error: ExpressionError) -> Error {
        Error::validation(error.into_message())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Update(error) => Error::validation(error.message()),
            Refusal::TooLarge { update: false } => {
                Error::validation("Item size has exceeded the maximum allowed size")
            }
            Refusal::TooLarge { update: true } => {
                Error::validation("Item size to update has exceeded the maximum allowed size")
            }
            Refusal::Key(error) => error.into(),
            Refusal::Collection => {
                Error::new(ErrorName::ItemCollectionSizeLimitExceeded, COLLECTION_TOO_LARGE)
            }
            Refusal::Conflict => Error::new(ErrorName::TransactionConflict, CONFLICT),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Busy => Error::new(
                ErrorName::Throttling,
                "Throughput exceeds the current capacity of the shard. Try again after a moment.",
            ),
            Fault::Closed => Error::new(ErrorName::ServiceUnavailable, "The service is stopping."),
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
            BodyFailure::TooLarge => Error::new(ErrorName::RequestTooLarge, ""),
            BodyFailure::Stalled => Error::new(ErrorName::RequestTimeout, ""),
            BodyFailure::Sha256Mismatch | BodyFailure::ChunkSignature => {
                Error::new(ErrorName::InvalidSignature, super::authentication::MISMATCH)
            }
            // The first two of these have no reader any more.
            BodyFailure::Disconnected
            | BodyFailure::Incomplete
            | BodyFailure::InvalidChunkSize
            | BodyFailure::MalformedTrailer
            | BodyFailure::BadForm(_) => Error::not_json(),
            BodyFailure::Fault(fault) => fault.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exception_has_its_own_name_and_an_error_status() {
        let mut names = Vec::new();
        for name in ErrorName::ALL {
            let spelling = name.spelling();
            assert!((400..600).contains(&spelling.status), "{name:?}");
            assert!(!names.contains(&spelling.name), "{name:?}");
            names.push(spelling.name);
        }
        assert_eq!(names.len(), ErrorName::RequestTimeout as usize + 1);
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
            assert!(error.name.spelling().status >= 500, "{fault}");
            assert!(!error.message.contains("secret"), "{fault}");
        }
    }
}
