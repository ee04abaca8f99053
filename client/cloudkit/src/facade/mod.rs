//! Where a program begins: a builder per cloud, and a cloud chosen at run time.

mod address;
mod cloudkit;
mod memory;
mod providers;

pub use address::CloudUrl;
pub use cloudkit::CloudKit;
#[cfg(feature = "aws")]
pub use cloudkit_aws::{AwsBuilder, AwsClient};
#[cfg(feature = "zero")]
pub use cloudkit_zero::{ZeroBuilder, ZeroClient};
pub use providers::Providers;
