//! The kinds of load.

pub mod dynamodb;
pub mod echo;
pub mod multipart;
pub mod s3;
