//! The layer `api` of CloudKit, under the name that programs use for it.
#![forbid(unsafe_code)]

pub use cloudkit_core::api::*;
