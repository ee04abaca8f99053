//! Requests and replies as bytes, and the words of errors.
//! Invariant: the words for one fault stand in one place: here where several operations share them, else beside the check
//! that finds it. They are the older of the two wordings that AWS uses.
//! Leaves to ops: which check comes when.

pub mod authentication;
pub mod capacity;
pub mod constraint;
pub mod describe;
pub mod error;
pub mod key;
pub mod reply;
pub mod request;
pub mod value;
pub mod words;
