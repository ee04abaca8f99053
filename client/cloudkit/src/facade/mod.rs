//! Where a program begins: a builder per cloud, and a cloud chosen at run time.

mod address;
mod cloudkit;
mod memory;
mod providers;

pub use address::CloudUrl;
pub use cloudkit::CloudKit;
pub use providers::Providers;
