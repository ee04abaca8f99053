//! The kinds of load.

pub mod echo;
pub mod multipart;
pub mod s3;
