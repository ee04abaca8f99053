//! Requests and replies as bytes, and the words of errors.
//! Invariant: words of Amazon's stand here and nowhere else, each once; they are the older of the two wordings that AWS
//! uses, which is the one that its regions have had in common.

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
