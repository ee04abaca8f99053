//! What is answered instead of a result: one name per error of the service, as both protocols spell it, and its words.
//! Invariant: a fault of the machine is never reported as the client's, and says nothing about the machine. The words of a
//! fault that several operations find stand here; others stand beside the check that finds them.
//! Leaves to authentication.rs: refusals that come before the service. To reply.rs: the bytes.

use std::borrow::Cow;

use aws::query::Fault as Blame;
use store::Fault;

/// An error of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// No such queue.
    QueueDoesNotExist,
    /// A queue of this name has other attributes.
    QueueNameExists,
    /// The name was in use a moment ago.
    QueueDeletedRecently,
    /// A purge was asked for less than a minute ago.
    PurgeQueueInProgress,
    /// The handle is no handle, or not one of this queue.
    ReceiptHandleIsInvalid,
    /// The visibility of a message that is visible.
    MessageNotInflight,
    /// Too many messages in flight.
    OverLimit,
    /// A batch without entries.
    EmptyBatchRequest,
    /// A batch with more than ten.
    TooManyEntriesInBatchRequest,
    /// Two entries of a batch have one id.
    BatchEntryIdsNotDistinct,
    /// The id of an entry has other characters or is too long.
    InvalidBatchEntryId,
    /// The messages of a batch are too long together.
    BatchRequestTooLong,
    /// A body with characters that XML does not carry.
    InvalidMessageContents,
    /// An attribute that no queue has.
    InvalidAttributeName,
    /// A value that the attribute cannot have.
    InvalidAttributeValue,
    /// What this kind of queue cannot do.
    UnsupportedOperation,
    /// The queue of a move task is not there, or the task is not.
    ResourceNotFound,
    /// A parameter that has to be there.
    MissingParameter,
    /// A parameter that cannot be.
    InvalidParameterValue,
    /// The key service's own refusal.
    KmsNotFound,
    /// The request is not what its protocol says.
    MalformedInput,
    /// The parameters of a query or form cannot be read.
    MalformedQueryString,
    /// Known, or anonymous, and not allowed.
    AccessDenied,
    /// The key is not known.
    InvalidClientTokenId,
    /// The signature is not right.
    SignatureDoesNotMatch,
    /// The signature's parts are not all there.
    IncompleteSignature,
    /// Unsigned where nobody may be.
    MissingAuthenticationToken,
    /// The session is over.
    ExpiredToken,
    /// Signed too long ago, or too early.
    RequestExpired,
    /// The operation is not one that is built.
    InvalidAction,
    /// Try again later.
    Throttled,
    /// Ours.
    InternalFailure,
    /// The service starts or stops.
    ServiceUnavailable,
    /// The body is longer than the protocol allows. JSON: only a status is answered.
    RequestTooLarge,
    /// The body did not come in time.
    RequestTimeout,
}

/// How an error is spelled on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spelling {
    /// JSON: what stands before the `#`.
    pub namespace: &'static str,
    /// JSON: Amazon's name.
    pub json: &'static str,
    /// Query: the code, which also stands in the header `x-amzn-query-error`.
    pub query: &'static str,
    /// The HTTP status in the Query protocol.
    pub status: u16,
}

const SERVICE: &str = "com.amazonaws.sqs";
const FRAMEWORK: &str = "com.amazon.coral.service";

impl Code {
    /// Every error.
    pub const ALL: &[Code] = &[
        Code::QueueDoesNotExist,
        Code::QueueNameExists,
        Code::QueueDeletedRecently,
        Code::PurgeQueueInProgress,
        Code::ReceiptHandleIsInvalid,
        Code::MessageNotInflight,
        Code::OverLimit,
        Code::EmptyBatchRequest,
        Code::TooManyEntriesInBatchRequest,
        Code::BatchEntryIdsNotDistinct,
        Code::InvalidBatchEntryId,
        Code::BatchRequestTooLong,
        Code::InvalidMessageContents,
        Code::InvalidAttributeName,
        Code::InvalidAttributeValue,
        Code::UnsupportedOperation,
        Code::ResourceNotFound,
        Code::MissingParameter,
        Code::InvalidParameterValue,
        Code::KmsNotFound,
        Code::MalformedInput,
        Code::MalformedQueryString,
        Code::AccessDenied,
        Code::InvalidClientTokenId,
        Code::SignatureDoesNotMatch,
        Code::IncompleteSignature,
        Code::MissingAuthenticationToken,
        Code::ExpiredToken,
        Code::RequestExpired,
        Code::InvalidAction,
        Code::Throttled,
        Code::InternalFailure,
        Code::ServiceUnavailable,
        Code::RequestTooLarge,
        Code::RequestTimeout,
    ];

    /// How it is spelled.
    #[must_use]
    pub fn spelling(self) -> Spelling {
        match self {
            Code::MissingParameter
            | Code::InvalidParameterValue
            | Code::MalformedInput
            | Code::MalformedQueryString
            | Code::AccessDenied
            | Code::InvalidClientTokenId
            | Code::SignatureDoesNotMatch
            | Code::IncompleteSignature
            | Code::MissingAuthenticationToken
            | Code::ExpiredToken
            | Code::RequestExpired
            | Code::InvalidAction
            | Code::InternalFailure
            | Code::ServiceUnavailable
            | Code::RequestTooLarge
            | Code::RequestTimeout => self.of_framework(),
            _ => self.of_service(),
        }
    }

    /// The names of Amazon's model of the service; those of the Query protocol differ where a prefix was added.
    fn of_service(self) -> Spelling {
        let (json, query, status) = match self {
            Code::QueueDoesNotExist => ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400),
            Code::QueueNameExists => ("QueueNameExists", "QueueAlreadyExists", 400),
            Code::QueueDeletedRecently => {
                ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", 400)
            }
            Code::PurgeQueueInProgress => {
                ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", 403)
            }
            Code::ReceiptHandleIsInvalid => ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
            Code::MessageNotInflight => {
                ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400)
            }
            Code::OverLimit => ("OverLimit", "OverLimit", 403),
            Code::EmptyBatchRequest => ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400),
            Code::TooManyEntriesInBatchRequest => {
                ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400)
            }
            Code::BatchEntryIdsNotDistinct => {
                ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400)
            }
            Code::InvalidBatchEntryId => {
                ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400)
            }
            Code::BatchRequestTooLong => {
                ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400)
            }
            Code::InvalidMessageContents => ("InvalidMessageContents", "InvalidMessageContents", 400),
            Code::InvalidAttributeName => ("InvalidAttributeName", "InvalidAttributeName", 400),
            Code::InvalidAttributeValue => ("InvalidAttributeValue", "InvalidAttributeValue", 400),
            Code::UnsupportedOperation => {
                ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400)
            }
            Code::ResourceNotFound => ("ResourceNotFoundException", "ResourceNotFoundException", 404),
            Code::KmsNotFound => ("KmsNotFound", "KMS.NotFoundException", 400),
            Code::Throttled => ("RequestThrottled", "RequestThrottled", 403),
            // The rest is the framework's; see `spelling`.
            _ => return self.of_framework(),
        };
        Spelling { namespace: SERVICE, json, query, status }
    }

    /// The names of what stands in front of every service.
    fn of_framework(self) -> Spelling {
        let (json, query, status) = match self {
            Code::MissingParameter => ("MissingRequiredParameterException", "MissingParameter", 400),
            Code::InvalidParameterValue => ("InvalidParameterValueException", "InvalidParameterValue", 400),
            Code::MalformedInput => ("SerializationException", "MalformedInput", 400),
            Code::MalformedQueryString => ("SerializationException", "MalformedQueryString", 404),
            Code::AccessDenied => ("AccessDeniedException", "AccessDenied", 403),
            Code::InvalidClientTokenId => ("UnrecognizedClientException", "InvalidClientTokenId", 403),
            Code::SignatureDoesNotMatch => ("InvalidSignatureException", "SignatureDoesNotMatch", 403),
            Code::IncompleteSignature => ("IncompleteSignatureException", "IncompleteSignature", 400),
            Code::MissingAuthenticationToken => {
                ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403)
            }
            Code::ExpiredToken => ("ExpiredTokenException", "ExpiredToken", 403),
            Code::RequestExpired => ("InvalidSignatureException", "RequestExpired", 403),
            Code::InvalidAction => ("UnknownOperationException", "InvalidAction", 400),
            Code::ServiceUnavailable => ("ServiceUnavailableException", "ServiceUnavailable", 503),
            Code::RequestTooLarge => ("RequestEntityTooLargeException", "RequestEntityTooLarge", 413),
            Code::RequestTimeout => ("RequestTimeoutException", "RequestTimeout", 408),
            _ => ("InternalFailure", "InternalFailure", 500),
        };
        Spelling { namespace: FRAMEWORK, json, query, status }
    }

    /// The HTTP status in the JSON protocol: 400, but for access and for what is not the client's.
    #[must_use]
    pub fn json_status(self) -> u16 {
        match self {
            Code::AccessDenied
            | Code::InvalidClientTokenId
            | Code::SignatureDoesNotMatch
            | Code::MissingAuthenticationToken
            | Code::ExpiredToken
            | Code::RequestExpired => 403,
            Code::InternalFailure
            | Code::ServiceUnavailable
            | Code::RequestTooLarge
            | Code::RequestTimeout => self.spelling().status,
            _ => 400,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(self) -> Blame {
        match self {
            Code::InternalFailure | Code::ServiceUnavailable => Blame::Receiver,
            _ => Blame::Sender,
        }
    }
}

/// An error on its way to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Which one.
    pub code: Code,
    /// Its text; "" where it has none.
    pub message: Cow<'static, str>,
}

/// An error of one entry of a batch: the others go on.
pub type EntryError = Error;

/// What of a client's text an error repeats.
const ECHO_BYTES_MAX: usize = 1_024;

impl Error {
    /// An error with its words.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Error {
        Error { code, message: message.into() }
    }

    /// The queue is not there.
    #[must_use]
    pub fn no_queue() -> Error {
        Error::new(Code::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// `The request must contain the parameter X.`
    #[must_use]
    pub fn missing(parameter: &str) -> Error {
        Error::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// InvalidParameterValue in words of its own.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Code::InvalidParameterValue, message)
    }

    /// `Value V for parameter P is invalid. Reason: R`
    #[must_use]
    pub fn invalid_value(parameter: &str, value: impl std::fmt::Display, reason: &str) -> Error {
        let value = value.to_string();
        let value = shortened(&value);
        Error::invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    }

    /// A parameter that queues of this kind do not take: a message's own delay on FIFO, ids on standard ones.
    #[must_use]
    pub fn not_for_this_kind(parameter: &str, value: impl std::fmt::Display) -> Error {
        let reason = "The request include parameter that is not valid for this queue type.";
        Error::invalid_value(parameter, value, reason)
    }

    /// `Unknown Attribute X.`
    #[must_use]
    pub fn unknown_attribute(name: &str) -> Error {
        Error::new(Code::InvalidAttributeName, format!("Unknown Attribute {}.", shortened(name)))
    }

    /// `Invalid value for the parameter X.`, of an attribute.
    #[must_use]
    pub fn attribute_value(name: &str) -> Error {
        Error::new(Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
    }

    /// A genuine handle of another queue, or one whose keyed part is wrong.
    #[must_use]
    pub fn foreign_handle() -> Error {
        Error::new(Code::ReceiptHandleIsInvalid, "The input receipt handle is invalid.")
    }

    /// Text that is no handle.
    #[must_use]
    pub fn no_handle(text: &str) -> Error {
        let text = shortened(text);
        Error::new(
            Code::ReceiptHandleIsInvalid,
            format!("The input receipt handle \"{text}\" is not a valid receipt handle."),
        )
    }

    /// FIFO: the visibility of that receive has ended.
    #[must_use]
    pub fn expired_handle(handle: &str) -> Error {
        Error::invalid_value("ReceiptHandle", handle, "The receipt handle has expired.")
    }

    /// A change of visibility for what is gone, or not received.
    #[must_use]
    pub fn not_available_for_change(handle: &str) -> Error {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        Error::invalid_value("ReceiptHandle", handle, reason)
    }

    /// A change of visibility that would be beyond twelve hours from the receive.
    #[must_use]
    pub fn visibility_beyond_limit(seconds: u64) -> Error {
        let reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
        Error::invalid_value("VisibilityTimeout", seconds, reason)
    }

    /// Too many messages in flight, on a standard queue.
    #[must_use]
    pub fn over_limit() -> Error {
        Error::new(Code::OverLimit, "Too many messages in flight.")
    }

    /// FIFO: neither an id nor a body that gives one.
    #[must_use]
    pub fn no_deduplication_id() -> Error {
        Error::invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        )
    }

    /// A message that is longer than its queue takes.
    #[must_use]
    pub fn message_too_long(bytes_max: usize) -> Error {
        Error::invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
        ))
    }

    /// A batch whose messages are too long together.
    #[must_use]
    pub fn batch_too_long(bytes_max: usize, bytes: usize) -> Error {
        Error::new(
            Code::BatchRequestTooLong,
            format!("Batch requests cannot be longer than {bytes_max} bytes. You have sent {bytes} bytes."),
        )
    }

    /// The operation is not one that is built.
    #[must_use]
    pub fn unknown_operation(name: &str) -> Error {
        let text = match name {
            "" => "The request names no action of this endpoint.".to_owned(),
            name => format!("The action {} is not valid for this endpoint.", shortened(name)),
        };
        Error::new(Code::InvalidAction, text)
    }

    /// Nobody may see why, least of all who asks.
    #[must_use]
    pub fn denied(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Code::AccessDenied, message)
    }

    /// Ours.
    #[must_use]
    pub fn internal() -> Error {
        Error::new(Code::InternalFailure, "We encountered an internal error. Please try again.")
    }
}

/// A client's text as an error repeats it: no longer than is of use.
#[must_use]
pub fn shortened(text: &str) -> &str {
    if text.len() <= ECHO_BYTES_MAX {
        return text;
    }
    &text[..text.floor_char_boundary(ECHO_BYTES_MAX)]
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Busy => Error::new(
                Code::ServiceUnavailable,
                "Throughput exceeds the current capacity of the shard. Try again after a moment.",
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_spelled_in_both_protocols_with_a_status_of_its_kind() {
        let mut spelled = Vec::new();
        for code in Code::ALL {
            let spelling = code.spelling();
            assert!((400..600).contains(&spelling.status), "{code:?}");
            assert!((400..600).contains(&code.json_status()), "{code:?}");
            assert_eq!(code.blame() == Blame::Receiver, spelling.status >= 500, "{code:?}");
            assert!(!spelled.contains(&spelling.query), "{code:?}");
            spelled.push(spelling.query);
        }
        assert_eq!(spelled.len(), Code::RequestTimeout as usize + 1, "none is left out");
        assert_eq!(spelled.iter().filter(|code| **code == "InternalFailure").count(), 1);
    }

    #[test]
    fn old_clients_find_the_codes_that_they_branch_on() {
        for (code, json, query, status) in [
            (Code::QueueDoesNotExist, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400),
            (Code::QueueNameExists, "QueueNameExists", "QueueAlreadyExists", 400),
            (Code::ReceiptHandleIsInvalid, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
            (Code::OverLimit, "OverLimit", "OverLimit", 403),
            (Code::InvalidParameterValue, "InvalidParameterValueException", "InvalidParameterValue", 400),
            (Code::MissingParameter, "MissingRequiredParameterException", "MissingParameter", 400),
            (Code::AccessDenied, "AccessDeniedException", "AccessDenied", 403),
            (Code::InvalidAction, "UnknownOperationException", "InvalidAction", 400),
        ] {
            let spelling = code.spelling();
            assert_eq!((spelling.json, spelling.query, spelling.status), (json, query, status));
        }
        assert_eq!(Code::ReceiptHandleIsInvalid.json_status(), 400);
        assert_eq!(Code::AccessDenied.json_status(), 403);
    }

    #[test]
    fn the_words_are_those_that_clients_know() {
        let cases = [
            (
                Error::invalid_value("MaxNumberOfMessages", 11, "Must be between 1 and 10, if provided."),
                "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
            ),
            (
                Error::visibility_beyond_limit(43_201),
                "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the \
                 message is beyond the limit [43200 seconds]",
            ),
            (
                Error::not_for_this_kind("DelaySeconds", 5),
                "Value 5 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not \
                 valid for this queue type.",
            ),
            (Error::missing("MessageGroupId"), "The request must contain the parameter MessageGroupId."),
            (Error::no_handle("x"), "The input receipt handle \"x\" is not a valid receipt handle."),
            (
                Error::message_too_long(1_048_576),
                "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.message, text);
        }
    }

    #[test]
    fn an_error_repeats_a_long_text_in_part_only() {
        let long = "ä".repeat(100_000);
        assert!(Error::no_handle(&long).message.len() < ECHO_BYTES_MAX + 100);
        assert!(Error::unknown_attribute(&long).message.len() < ECHO_BYTES_MAX + 100);
    }

    #[test]
    fn faults_of_the_machine_are_never_the_clients_and_name_no_file() {
        let faults = [
            Fault::Full,
            Fault::Closed,
            Fault::Busy,
            Fault::InDoubt,
            Fault::TooLarge { bytes: 1 },
            Fault::ReadOnly("secret".into()),
            Fault::Corrupt("secret".into()),
            Fault::Unknown("secret".into()),
        ];
        for fault in faults {
            let error = Error::from(fault.clone());
            assert!(error.code.spelling().status >= 500, "{fault}");
            assert!(!error.message.contains("secret"), "{fault}");
        }
    }
}
