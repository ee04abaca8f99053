//! The measured servers, seen from outside.

pub mod echo;
pub mod peer;
pub mod process;
