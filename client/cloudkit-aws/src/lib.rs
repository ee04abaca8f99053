//! AWS as a provider of CloudKit, on Amazon's own crates: S3, DynamoDB, SQS and SNS, or whatever speaks their protocols.
//!
//! ```
//! # async fn show() -> cloudkit_core::common::CloudResult<()> {
//! use cloudkit_aws::AwsClient;
//! use cloudkit_core::api::ObjectStorage;
//! use cloudkit_core::common::Region;
//!
//! let aws = AwsClient::builder().region(Region::aws_eu_west_1()).build().await?;
//! aws.storage().put_object("logs", "a.txt", b"first").await?;
//! # Ok(())
//! # }
//! ```
//!
//! | File | Holds |
//! |---|---|
//! | `client` | settings, and the client with a handle for each service |
//! | `credentials` | credentials between the core's trait and the SDK's |
//! | `caller`, `operation` | one call: its figures, its log entry, its failure |
//! | `fault` | what the SDK's failures are in the words of the core |
//! | `attempt`, `rounds` | what is sent again, and when |
//! | `s3`, `dynamodb`, `sqs`, `sns` | the services |
//!
//! What this provider cannot do, or does otherwise than the traits say, its `capabilities()` list.
#![forbid(unsafe_code)]

mod attempt;
mod caller;
mod client;
mod credentials;
mod dynamodb;
mod fault;
mod operation;
mod rounds;
mod s3;
mod sns;
mod sqs;

pub use client::{AwsBuilder, AwsClient};
pub use credentials::AwsAuthProvider;
pub use dynamodb::DynamoDbStore;
pub use s3::S3Storage;
pub use sns::SnsPubSub;
pub use sqs::SqsQueue;
