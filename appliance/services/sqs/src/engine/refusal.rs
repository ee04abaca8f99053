//! Why the engine did not do what was asked: facts, not words.
//! Invariant: each variant is one thing that a client can be told; a fault of the machine is never reported as the client's.
//! Leaves to wire: codes and texts.

use store::Fault;

use crate::model::handle::HandleError;

/// Why an operation, or an entry of a batch, was refused.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// There is no such queue.
    NoQueue,
    /// More messages are in flight than a standard queue may have.
    OverLimit,
    /// The message and its attributes are more bytes than the queue takes; how many it takes.
    MessageTooLong {
        /// MaximumMessageSize.
        bytes_max: u32,
    },
    /// A parameter that this kind of queue does not take.
    NotForThisQueue {
        /// Its name.
        parameter: &'static str,
        /// Its value.
        value: Box<str>,
    },
    /// A FIFO queue needs a MessageGroupId.
    NoGroup,
    /// A FIFO queue needs a deduplication id, or content-based deduplication.
    NoDeduplication,
    /// The handle means no receive of this queue.
    Handle(HandleError),
    /// The handle's time is over (FIFO).
    HandleExpired,
    /// The visibility would end more than 12 hours after the receive.
    VisibilityTooLong,
    /// The message is visible: its visibility cannot be changed.
    NotInFlight,
    /// The message is gone, or was received anew: its visibility cannot be changed.
    NotAvailable,
    /// A message of this attempt was deleted or changed.
    AttemptChanged,
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}
