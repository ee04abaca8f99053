//! Networks, subnets and security groups: the trait is there, the service is not yet.
//! Invariant: every method fails with the typed refusal that `capabilities()` announces; nothing is sent.

use async_trait::async_trait;
use cloudkit_core::api::{Capabilities, CreateSubnetOptions, CreateVpcOptions, Networking, Service};
use cloudkit_core::common::{
    CloudResult, Failure, ResourceId, SecurityGroupMetadata, SubnetMetadata, VpcMetadata,
};

use crate::failure::PROVIDER;

/// Networks, subnets and security groups. Not there yet: `capabilities()` says `no` of each method.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ZeroNet;

impl ZeroNet {
    fn refuse<T>(&self, method: &str) -> Result<T, Failure> {
        Err(Networking::capabilities(self).unsupported(method))
    }
}

#[async_trait]
impl Networking for ZeroNet {
    async fn create_vpc(&self, _options: CreateVpcOptions) -> CloudResult<VpcMetadata> {
        Ok(self.refuse("create_vpc")?)
    }

    async fn describe_vpcs(&self, _ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<VpcMetadata>> {
        Ok(self.refuse("describe_vpcs")?)
    }

    async fn delete_vpc(&self, _id: ResourceId) -> CloudResult<()> {
        Ok(self.refuse("delete_vpc")?)
    }

    async fn create_subnet(&self, _options: CreateSubnetOptions) -> CloudResult<SubnetMetadata> {
        Ok(self.refuse("create_subnet")?)
    }

    async fn describe_subnets(&self, _ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<SubnetMetadata>> {
        Ok(self.refuse("describe_subnets")?)
    }

    async fn delete_subnet(&self, _id: ResourceId) -> CloudResult<()> {
        Ok(self.refuse("delete_subnet")?)
    }

    async fn create_security_group(
        &self,
        _vpc_id: ResourceId,
        _name: &str,
        _description: Option<&str>,
    ) -> CloudResult<SecurityGroupMetadata> {
        Ok(self.refuse("create_security_group")?)
    }

    async fn describe_security_groups(
        &self,
        _ids: Option<Vec<ResourceId>>,
    ) -> CloudResult<Vec<SecurityGroupMetadata>> {
        Ok(self.refuse("describe_security_groups")?)
    }

    async fn delete_security_group(&self, _id: ResourceId) -> CloudResult<()> {
        Ok(self.refuse("delete_security_group")?)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::nothing(PROVIDER, Service::Networking, "the appliance has no networks yet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_announced_as_missing() {
        let capabilities = ZeroNet.capabilities();
        assert!(capabilities.iter().all(|one| !capabilities.supports(&one.name)), "{capabilities}");
    }
}
