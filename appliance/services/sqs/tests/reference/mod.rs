//! Queues as they should be, for one client at a time: vectors and linear scans, and no line of the service.
//!
//! Where the service is free (which ready messages a receive takes, which group is next), the reference does not foretell
//! an answer but judges it, and goes on from what it showed.

#![allow(dead_code, reason = "each test binary uses its own part")]

mod fifo;
pub mod queue;
pub mod random;
mod standard;
