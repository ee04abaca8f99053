//! The kinds of load.

pub mod echo;
pub mod s3;
