//! The shard store: what a shard keeps and when it is safe.
//! Invariant: nothing is acknowledged before it is on stable storage, and no read shows what a crash could take back.
//! Leaves to services: what values mean. This crate knows nothing of S3, tables or queues.

mod ahead;
mod apply;
mod attended;
pub mod body;
mod clock;
mod companion;
pub mod config;
pub mod counter;
mod deliver;
pub mod disk;
mod drain;
mod effect;
mod execute;
pub mod fault;
pub mod fields;
mod filter;
mod fold;
pub mod format;
mod forward;
mod freeze;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod grace;
mod index;
mod kept;
pub mod log;
mod merge;
#[doc(hidden)]
pub mod measured {
    //! A door for `bench/instructions`, which counts what encoding an effect costs. Nothing else goes through it.
    pub use crate::effect::append_put;
}
mod message;
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
mod resident;
pub mod room;
mod shared;
mod sigbus;
mod store;
mod sweep;
mod tables;
mod transact;
mod tx;
pub mod tx_status;
pub mod types;
pub mod verify;
mod view;
mod wait;
mod warm;

use std::sync::OnceLock;

pub use body::BodyStream;
pub use clock::{Clock, ManualClock};
pub use config::{OwnerLimits, StoreConfig};
pub use drain::ShardStatus;
pub use fault::Fault;
pub use format::{Format, OpenError};
pub use kept::Kept;
pub use merge::{MergedScan, Views};
pub use open::Opened;
pub use outbox::{Receiver, Receivers, Topic};
pub use record::{BodyRef, Record};
pub use store::{BodyOwner, BodyWriter, Pin, Store};
pub use tables::FIRST_SERVICE_TABLE;
pub use transact::TransactFailure;
pub use tx::{Body, NewBody, Operation, Outcome, OwnedRecord, ScanEnd, Tx};
pub use types::{
    DirectoryId, Extent, ExtentId, LogPosition, Lsn, ShardId, TableId, TableSet, Timestamp, VALUE_BYTES_MAX,
};
pub use view::{Direction, Scan, View};
pub use wait::{WaitKey, Wakes};

type Reporter = Box<dyn Fn(&str) + Send + Sync>;

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Sends what an operator should read to `reporter`, from any thread, instead of to stderr. The first call counts; the
/// setting is the process's, since what is said concerns its disks, not one caller.
pub fn report_to(reporter: impl Fn(&str) + Send + Sync + 'static) {
    // A second reporter of a process is refused in silence: the first one still hears everything.
    drop(REPORTER.set(Box::new(reporter)));
}

/// Says something that an operator should read and that no caller waits for.
pub(crate) fn report(text: &str) {
    match REPORTER.get() {
        Some(reporter) => reporter(text),
        None => eprintln!("store: {text}"),
    }
}
