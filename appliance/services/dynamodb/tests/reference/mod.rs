//! The service as it should be, for one client at a time: trees, maps and sorted vectors, and no line of the service.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod capacity;
pub mod condition;
pub mod decimal;
pub mod path;
pub mod random;
pub mod table;
pub mod update;
pub mod value;
