//! The kinds of load.

pub mod cache;
pub mod dynamodb;
pub mod echo;
pub mod multipart;
pub mod s3;
pub mod sqs;
