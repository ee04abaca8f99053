//! The engine's refusals in the words of the service.
//! Invariant: every refusal has its code and its text here, and nowhere else.

use crate::engine::Refusal;
use crate::model::handle::HandleError;
use crate::wire::error::{Code, Error};

/// What a refusal says of the request: the parameters that its words repeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// ReceiptHandle.
    pub handle: &'a str,
    /// VisibilityTimeout.
    pub visibility_seconds: u32,
    /// ReceiveRequestAttemptId.
    pub attempt: &'a str,
}

/// The error for a refusal.
#[must_use]
pub fn error_of(refusal: Refusal, said: Said<'_>) -> Error {
    match refusal {
        Refusal::NoQueue => Error::no_queue(),
        Refusal::OverLimit => Error::over_limit(),
        Refusal::MessageTooLong { bytes_max } => {
            Error::message_too_long(usize::try_from(bytes_max).unwrap_or(usize::MAX))
        }
        Refusal::NotForThisQueue { parameter, value } => Error::not_for_this_kind(parameter, value),
        Refusal::NoGroup => Error::missing("MessageGroupId"),
        Refusal::NoDeduplication => Error::no_deduplication_id(),
        Refusal::Handle(HandleError::Malformed) => Error::no_handle(said.handle),
        Refusal::Handle(HandleError::Foreign) => Error::foreign_handle(),
        Refusal::HandleExpired => Error::expired_handle(said.handle),
        Refusal::VisibilityTooLong => Error::visibility_beyond_limit(said.visibility_seconds.into()),
        Refusal::NotInFlight => Error::new(Code::MessageNotInflight, "The message is not in flight."),
        Refusal::NotAvailable => Error::not_available_for_change(said.handle),
        Refusal::AttemptChanged => Error::invalid_value(
            "ReceiveRequestAttemptId",
            said.attempt,
            "A message of this attempt was deleted, or its visibility was changed.",
        ),
        Refusal::Fault(fault) => fault.into(),
    }
}
