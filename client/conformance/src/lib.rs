//! What every provider of CloudKit must do. Two instruments:
//!
//! - [`storage`], [`kv`], [`queue`] and [`pubsub`]: small named cases over the traits, each a fact. A case that needs what
//!   `capabilities()` denies is skipped and listed as such; nothing else may be.
//! - [`random`]: sequences of operations over all four services, run on several subjects side by side, whose answers must be
//!   the same after each operation.
//!
//! Invariant: no case names a provider. What differs between them by nature (addresses, identities, times, how to wait)
//! comes from a [`Subject`]. Providers that speak to a server are run
//! against an [`Appliance`], the one binary that a variable names.
//!
//! ```ignore
//! let report = cloudkit_conformance::storage(&store, &subject).await;
//! report.assert();
//! ```
#![forbid(unsafe_code)]

mod appliance;
#[macro_use]
mod case;
mod kv;
mod pubsub;
mod queue;
pub mod random;
mod report;
mod storage;
mod subject;

pub use appliance::{Appliance, OverAppliance};
pub use kv::kv;
pub use pubsub::pubsub;
pub use queue::queue;
pub use report::{Case, Report, Verdict};
pub use storage::storage;
pub use subject::{Names, Subject, Time};
