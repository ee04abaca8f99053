//! The lowest layer: errors, identities, configuration, metadata and the two streams. It knows no service and no provider.

mod byte_stream;
mod classify;
mod config;
mod credentials;
mod deadline;
mod detail;
mod error;
mod failure;
mod item_stream;
mod metadata;
pub mod number;
mod page;
mod provider;
mod random;
mod region;
mod resource;

pub use byte_stream::{BODY_COLLECTED_BYTES_MAX, ByteStream, READ_BYTES};
pub use config::{CloudConfig, CloudConfigBuilder};
pub use credentials::Credentials;
pub use deadline::within;
pub use detail::{DETAIL_VALUE_BYTES_MAX, ErrorDetail};
pub use error::{AuthError, CloudError, CloudResult, NetworkError};
pub use failure::{Failure, UNSUPPORTED};
pub use item_stream::ItemStream;
pub use metadata::{
    BucketMetadata, ContentType, InstanceMetadata, ObjectMetadata, ResourceMetadata, SecurityGroupMetadata,
    SubnetMetadata, VpcMetadata,
};
pub use page::{ListResult, PaginationToken};
pub use provider::ProviderType;
pub use random::random_u64;
pub use region::Region;
pub use resource::{Metadata, ResourceId};
