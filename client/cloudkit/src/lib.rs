//! One Rust API for objects, tables, queues and topics, over ZeroCloud and the public clouds.
//!
//! A program is written against the traits of [`api`] and takes its provider at one place:
//!
//! ```
//! use cloudkit::prelude::*;
//!
//! async fn backup<S: ObjectStorage>(store: &S, name: &str, data: &[u8]) -> CloudResult<()> {
//!     if !store.bucket_exists("backups").await? {
//!         store.create_bucket("backups").await?;
//!     }
//!     store.put_object("backups", name, data).await
//! }
//! ```
//!
//! ```
//! use cloudkit::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> CloudResult<()> {
//! # // Runs against the appliance that this variable names.
//! # if std::env::var("ZERO_URL").unwrap_or_default().is_empty() { return Ok(()) }
//! let zero = CloudKit::zero().build().await?;
//! let storage = zero.storage();
//!
//! storage.create_bucket("quick-start").await?;
//! storage.put_object("quick-start", "hello.txt", b"Hello, world!").await?;
//! assert_eq!(storage.get_object("quick-start", "hello.txt").await?, "Hello, world!");
//! # Ok(())
//! # }
//! ```
//!
//! What a provider lacks, its `capabilities()` say before anyone calls it. Errors name provider, operation, resource, code
//! and request, and what would help.
//!
//! | Layer | Holds |
//! |---|---|
//! | [`common`] | errors, regions, configuration, metadata, streams |
//! | [`spi`] | what a program may replace: credentials, retries, metrics, logs |
//! | [`api`] | one trait per service |
//! | [`core`](mod@core) | context, executor, a cloud chosen at run time |
//! | [`facade`] | where a program begins |
//!
//! | Feature | Adds |
//! |---|---|
//! | `fs`, by default | `ByteStream::from_path` |
//! | `aws` | `CloudKit::aws()` and addresses of `s3://` reach AWS, on Amazon's own crates |
//! | `testing` | `CloudKit::memory()`, addresses of `memory://`, and `testing`: clocks, `Faulty` |
//! | `object-store` | `object_store::BucketStore`: a bucket for programs of the `object_store` crate |
//! | `reqwest` | `From<reqwest::Error>` for `CloudError` |
#![forbid(unsafe_code)]

pub mod facade;
pub mod prelude;

pub use cloudkit_api;
pub use cloudkit_core;
pub use cloudkit_core::{api, common, core, spi};
#[cfg(feature = "object-store")]
pub use cloudkit_object_store as object_store;
pub use cloudkit_spi;
#[cfg(feature = "testing")]
pub use cloudkit_testing as testing;
#[cfg(feature = "zero")]
pub use cloudkit_zero;
pub use facade::*;
