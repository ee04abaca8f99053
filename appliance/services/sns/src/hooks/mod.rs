//! Deliveries to web hooks: subscriptions over HTTP and HTTPS.
//!
//! Invariant: a message that was published is on its way to each of its hooks in the publish's own batch, and is tried until
//! an answer or its delivery policy ends that; nothing is ever sent to a forbidden address.
//! Leaves to the callers: who gets a message, and its form. To engine/dead_letter.rs: what could not be delivered.
//!
//! ```text
//! publish -> enqueue -> DELIVERIES, Lines -> Claim (waits until due) -> post -> Settle -> over
//!                            ^                                              |-> again, later
//!                            '----------------------------------------------'-> dead letter
//! ```

mod address;
mod endpoint;
mod lines;
mod operations;
mod post;
mod record;
mod resolve;
mod retry;
mod worker;

pub use address::{Listeners, Refused};
pub use endpoint::Endpoint;
pub use operations::enqueue;
pub use record::{HookMessage, Kind};
pub use retry::{DeliveryPolicy, PolicyError};
pub use worker::Hooks;
