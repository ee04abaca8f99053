//! Networks, subnets and security groups.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata, ResourceId, SecurityGroupMetadata, SubnetMetadata, VpcMetadata};
use async_trait::async_trait;

/// The shape of a new network.
#[derive(Debug, Clone, Default)]
pub struct CreateVpcOptions {
    /// Its address range, such as `10.0.0.0/16`.
    pub cidr_block: String,
    /// Its tags.
    pub tags: Metadata,
}

/// The shape of a new subnet.
#[derive(Debug, Clone, Default)]
pub struct CreateSubnetOptions {
    /// The network it belongs to.
    pub vpc_id: String,
    /// Its address range, inside that of the network.
    pub cidr_block: String,
    /// The zone it is in; without it, the provider's choice.
    pub availability_zone: Option<String>,
    /// Its tags.
    pub tags: Metadata,
}

/// Networks, subnets and security groups.
#[async_trait]
pub trait Networking: Send + Sync {
    /// Makes a network.
    async fn create_vpc(&self, options: CreateVpcOptions) -> CloudResult<VpcMetadata>;

    /// These networks, or all.
    async fn describe_vpcs(&self, ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<VpcMetadata>>;

    /// Deletes a network that holds nothing.
    async fn delete_vpc(&self, id: ResourceId) -> CloudResult<()>;

    /// Makes a subnet.
    async fn create_subnet(&self, options: CreateSubnetOptions) -> CloudResult<SubnetMetadata>;

    /// These subnets, or all.
    async fn describe_subnets(&self, ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<SubnetMetadata>>;

    /// Deletes a subnet that holds nothing.
    async fn delete_subnet(&self, id: ResourceId) -> CloudResult<()>;

    /// Makes a security group.
    async fn create_security_group(
        &self,
        vpc_id: ResourceId,
        name: &str,
        description: Option<&str>,
    ) -> CloudResult<SecurityGroupMetadata>;

    /// These security groups, or all.
    async fn describe_security_groups(
        &self,
        ids: Option<Vec<ResourceId>>,
    ) -> CloudResult<Vec<SecurityGroupMetadata>>;

    /// Deletes a security group that nothing uses.
    async fn delete_security_group(&self, id: ResourceId) -> CloudResult<()>;

    /// What this provider's networks can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::Networking)
    }
}
