//! Requests and replies as bytes, in both protocols, and the words of errors.
//! Invariant: the words for one fault stand in one place: here where several operations share them, else beside the check
//! that finds it.
//! Leaves to ops: which check comes when.

pub mod authentication;
pub mod error;
pub mod input;
pub mod md5;
pub mod message;
pub mod name;
pub mod queue_url;
pub mod reply;
pub mod request;
pub mod selection;
