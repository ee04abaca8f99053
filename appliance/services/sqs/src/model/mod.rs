//! Queues, messages and receipt handles.
//! Invariant: a value of these types is valid by itself; whoever makes one has checked it.
//! Leaves to wire: the words in which a refusal is said.

pub mod attributes;
pub mod document;
pub mod handle;
pub mod limits;
pub mod message;
pub mod page;
pub mod permission;
pub mod queue;
