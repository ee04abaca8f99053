//! Virtual machines.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, InstanceMetadata, Metadata, ResourceId};
use async_trait::async_trait;

/// The shape of a new machine.
#[derive(Debug, Clone, Default)]
pub struct RunInstanceOptions {
    /// Its size in the provider's word.
    pub instance_type: String,
    /// What it starts from.
    pub image_id: String,
    /// The pair of keys that opens it.
    pub key_name: Option<String>,
    /// The subnet it is in.
    pub subnet_id: Option<String>,
    /// Its security groups.
    pub security_group_ids: Vec<String>,
    /// What it runs or reads at its first start.
    pub user_data: Option<String>,
    /// Its tags.
    pub tags: Metadata,
}

impl RunInstanceOptions {
    /// A machine of this size from this image.
    pub fn new(instance_type: impl Into<String>, image_id: impl Into<String>) -> Self {
        Self { instance_type: instance_type.into(), image_id: image_id.into(), ..Self::default() }
    }

    /// Sets the pair of keys.
    pub fn key_name(mut self, name: impl Into<String>) -> Self {
        self.key_name = Some(name.into());
        self
    }

    /// Sets the subnet.
    pub fn subnet_id(mut self, id: impl Into<String>) -> Self {
        self.subnet_id = Some(id.into());
        self
    }

    /// Adds a security group.
    pub fn security_group(mut self, id: impl Into<String>) -> Self {
        self.security_group_ids.push(id.into());
        self
    }

    /// Sets what it runs or reads at its first start.
    pub fn user_data(mut self, data: impl Into<String>) -> Self {
        self.user_data = Some(data.into());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}

/// Virtual machines.
#[async_trait]
pub trait Compute: Send + Sync {
    /// Makes and starts machines.
    async fn run_instances(&self, options: RunInstanceOptions) -> CloudResult<Vec<InstanceMetadata>>;

    /// These machines, or all.
    async fn describe_instances(&self, ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<InstanceMetadata>>;

    /// Ends machines for good.
    async fn terminate_instances(&self, ids: Vec<ResourceId>) -> CloudResult<()>;

    /// Starts machines that were stopped.
    async fn start_instances(&self, ids: Vec<ResourceId>) -> CloudResult<()>;

    /// Stops machines.
    async fn stop_instances(&self, ids: Vec<ResourceId>) -> CloudResult<()>;

    /// Makes a pair of keys and gives its private half, which the provider does not keep.
    async fn create_key_pair(&self, name: &str) -> CloudResult<String>;

    /// Deletes a pair of keys.
    async fn delete_key_pair(&self, name: &str) -> CloudResult<()>;

    /// What this provider's machines can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::Compute)
    }
}
