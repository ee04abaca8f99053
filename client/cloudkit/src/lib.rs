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
//! With the appliance at `ZERO_URL`, else at `http://localhost:8080`, and the keys of its credentials file
//! (`ZERO_CREDENTIALS_FILE`, else `./zerocloud-data/credentials`):
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
//! Handles are cheap and share their connections, so that two calls go at once:
//!
//! ```
//! use cloudkit::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> CloudResult<()> {
//! # let Ok(url) = std::env::var("ZERO_URL") else { return Ok(()) };
//! let client = CloudKit::zero().endpoint(url).build().await?;
//! let storage = client.storage();
//! storage.create_bucket("quick-start-pair").await?;
//! let (first, second) = tokio::join!(
//!     storage.put_object("quick-start-pair", "first", b"1"),
//!     storage.put_object("quick-start-pair", "second", b"2"),
//! );
//! first?;
//! second?;
//! # Ok(())
//! # }
//! ```
//!
//! Items, messages and topics:
//!
//! ```
//! use cloudkit::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct User {
//!     id: String,
//!     visits: i64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> CloudResult<()> {
//! # if std::env::var("ZERO_URL").unwrap_or_default().is_empty() { return Ok(()) }
//! let zero = CloudKit::zero().build().await?;
//!
//! let db = zero.kv_store();
//! db.create_table("users", CreateTableOptions::new()).await?;
//! let ada = User { id: "ada".into(), visits: 1 };
//! db.put("users", "ada", &ada).await?;
//! assert_eq!(db.increment("users", "ada", "visits", 1).await?, 2);
//! assert_eq!(db.get("users", "ada").await?, Some(User { visits: 2, ..ada }));
//!
//! let queue = zero.queue();
//! let jobs = queue.create_queue("jobs").await?;
//! let topic = zero.pubsub().create_topic("news").await?;
//! zero.pubsub().subscribe(&topic, "sqs", &jobs).await?;
//! queue.send(&jobs, "first").await?;
//! for message in queue.receive(&jobs, ReceiveOptions::new()).await? {
//!     assert_eq!(message.body, "first");
//!     queue.delete(&jobs, &message).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Which cloud it is may also be a matter of configuration, and then what it has is seen at run time:
//!
//! ```
//! use cloudkit::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> CloudResult<()> {
//! # let Ok(url) = std::env::var("ZERO_URL") else { return Ok(()) };
//! # let address = url.replace("http://", "zero://") + "?tls=0&region=local";
//! // Such as zero://host:8080?tls=1&region=local
//! let cloud = CloudKit::from_url(&address).await?;
//! assert!(cloud.storage()?.capabilities().supports("put_stream"));
//! cloud.storage()?.list_buckets().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What no client of a cloud has does not compile:
//!
//! ```compile_fail,E0599
//! # async fn built() -> cloudkit::common::CloudResult<()> {
//! let zero = cloudkit::CloudKit::zero().build().await?;
//! zero.cosmos();
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
//! | `zero`, by default | `CloudKit::zero()`, addresses of `zero://` |
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
