//! The shard store: what a shard keeps and when it is safe.
//! Invariant: nothing is acknowledged before it is on stable storage, and no read shows what a crash could take back.
//! Leaves to services: what values mean. This crate knows nothing of S3, tables or queues.

mod apply;
pub mod body;
mod companion;
pub mod config;
pub mod disk;
mod drain;
mod effect;
pub mod fault;
mod fold;
pub mod format;
mod forward;
mod freeze;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod grace;
mod index;
pub mod log;
mod merge;
mod open;
mod outbox;
pub mod overlay;
mod owner;
mod pace;
mod pages;
pub mod placement;
mod planted;
mod proof;
mod reclaim;
pub mod record;
mod recovery;
mod shared;
mod sigbus;
mod store;
mod tables;
mod transact;
mod tx;
pub mod tx_status;
pub mod types;
pub mod verify;
mod view;
mod warm;

pub use body::BodyStream;
pub use config::{OwnerLimits, StoreConfig};
pub use drain::ShardStatus;
pub use fault::Fault;
pub use format::{Format, OpenError};
pub use merge::{MergedScan, Views};
pub use open::Opened;
pub use outbox::{Receiver, Receivers, Topic};
pub use record::{BodyRef, Record};
pub use store::{BodyOwner, BodyWriter, Pin, Store};
pub use tables::FIRST_SERVICE_TABLE;
pub use transact::TransactFailure;
pub use tx::{Body, NewBody, Operation, Outcome, OwnedRecord, ScanEnd, Tx};
pub use types::{DirectoryId, Extent, ExtentId, LogPosition, Lsn, ShardId, TableId, Timestamp};
pub use view::{Direction, Scan, View};

/// Says something that an operator should read and that no caller waits for.
pub(crate) fn report(text: &str) {
    eprintln!("store: {text}");
}
