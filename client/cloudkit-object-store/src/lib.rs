//! A bucket of any CloudKit provider as an [`ObjectStore`](object_store::ObjectStore), for programs and libraries that are written against the
//! `object_store` crate.
//!
//! ```
//! use cloudkit_core::api::ObjectStorage;
//! use cloudkit_object_store::BucketStore;
//! use object_store::{ObjectStore, ObjectStoreExt, path::Path};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = cloudkit_testing::MemoryCloud::new().storage();
//! storage.create_bucket("lake").await?;
//! let store = BucketStore::new(storage, "lake");
//! store.put(&Path::from("year=2026/part.parquet"), "rows".into()).await?;
//! assert_eq!(store.list_with_delimiter(None).await?.common_prefixes, [Path::from("year=2026")]);
//! # Ok(()) }
//! ```
//!
//! Invariant: an error of the provider has one meaning here (`error.rs` has the table), and what a provider cannot do is
//! refused by what its `capabilities()` say.
//!
//! | Of `object_store` | Here |
//! |---|---|
//! | `PutMode::Create`, `PutMode::Update` | a conditional `put_stream` |
//! | an upload in parts | one `put_stream` whose body is the parts in their order; it needs a runtime of tokio |
//! | conditions on dates, `*`, lists of entity tags | looked at here, then the version that was looked at is read |
//! | `CopyMode::Create` | a read and a create-only put, through this program: content type, storage class, metadata and tags go along |
//! | cache control and content encoding | told by a read, but not by a HEAD, since `ObjectMetadata` has no place for them |
//! | content disposition and language | `NotImplemented` |
//! | keys that no [`Path`](object_store::path::Path) spells, such as `a//b` and `folder/` | left out of listings |
#![forbid(unsafe_code)]

mod convert;
mod error;
mod read;
mod store;
mod upload;

pub use store::BucketStore;
