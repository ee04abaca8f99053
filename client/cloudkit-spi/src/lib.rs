//! The layers `common` and `spi` of CloudKit and its context, under the name that programs use for them.
#![forbid(unsafe_code)]

pub use cloudkit_core::common::*;
pub use cloudkit_core::core::{CloudContext, CloudContextBuilder};
pub use cloudkit_core::spi::*;
