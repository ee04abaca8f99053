//! Providers for the tests of programs that use CloudKit: [`MemoryCloud`], which behaves as the appliance does and keeps all
//! in memory, and [`Faulty`], which wraps a service of any provider and fails as its [`FaultPlan`] says.
//!
//! Invariant: time and chance come from outside. A [`Clock`] is an argument, so that visibility, delays and the ends of
//! signed addresses need no sleep, and one seed gives one course of events.
//!
//! ```
//! use cloudkit_core::api::{MessageQueue, ReceiveOptions, SendOptions};
//! use cloudkit_testing::{ManualClock, MemoryCloud};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cloudkit_core::common::CloudError> {
//! let clock = ManualClock::new();
//! let cloud = MemoryCloud::builder().clock(clock.clone()).build();
//! let queue = cloud.queue();
//! let url = queue.create_queue("jobs").await?;
//! queue.send_with_options(&url, "later", SendOptions::new().delay(Duration::from_secs(60))).await?;
//! assert!(queue.receive(&url, ReceiveOptions::new()).await?.is_empty());
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(queue.receive(&url, ReceiveOptions::new()).await?[0].body, "later");
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod chance;
mod clock;
mod cloud;
mod faulty;
mod kv;
pub mod limits;
mod pubsub;
mod queue;
mod refusal;
mod storage;

pub use chance::Chance;
pub use clock::{Clock, ManualClock, TokioClock};
pub use cloud::{MemoryCloud, MemoryCloudBuilder};
pub use faulty::{Fault, FaultPlan, Faulty, Happened, When};
pub use kv::MemoryDb;
pub use pubsub::MemoryTopics;
pub use queue::MemoryQueue;
pub use storage::MemoryStore;
