//! The shard store: what a shard keeps and when it is safe.
//! Invariant: nothing is acknowledged before it is on stable storage, and no read shows what a crash could take back.
//! Leaves to services: what values mean. This crate knows nothing of S3, tables or queues.

mod effect;
pub mod disk;
pub mod fault;
pub mod grace;
mod index;
pub mod log;
pub mod overlay;
pub mod record;
mod tables;
pub mod tx_status;
pub mod types;

pub use fault::Fault;
pub use record::{BodyRef, Record};
pub use types::{DirectoryId, Extent, ExtentId, LogPosition, Lsn, ShardId, TableId, Timestamp};
