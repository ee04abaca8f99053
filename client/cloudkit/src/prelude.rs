//! What most programs need: `use cloudkit::prelude::*;`. `LogLevel` is that of [`api`](crate::api).
//!
//! No module is among it: one named `core` would stand in the way of the language's crate.

pub use crate::api::LogLevel;
pub use crate::api::*;
pub use crate::common::{
    AuthError, BucketMetadata, ByteStream, CloudConfig, CloudConfigBuilder, CloudError, CloudResult,
    ContentType, Credentials, ErrorDetail, Failure, InstanceMetadata, ItemStream, ListResult, Metadata,
    NetworkError, ObjectMetadata, PaginationToken, ProviderType, Region, ResourceId, ResourceMetadata,
    SecurityGroupMetadata, SubnetMetadata, VpcMetadata,
};
pub use crate::core::{CloudContext, CloudContextBuilder, Connector, DynCloud, OperationExecutor};
pub use crate::facade::*;
pub use crate::spi::*;
