//! What the services say of their resources, in the words that all providers share.

use super::resource::{Metadata, ResourceId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Facts of any resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResourceMetadata {
    /// The provider's identity of it.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Its tags.
    pub tags: Metadata,
    /// What only this provider knows of it.
    pub provider_metadata: serde_json::Value,
}

impl ResourceMetadata {
    /// A resource made now, without tags.
    pub fn new(id: impl Into<ResourceId>, name: impl Into<String>) -> Self {
        let now = Utc::now();
        Self {
            id: id.into(),
            name: name.into(),
            created_at: now,
            updated_at: now,
            tags: Metadata::new(),
            provider_metadata: serde_json::Value::Null,
        }
    }
}

/// Facts of an object, as a HEAD or a listing gives them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObjectMetadata {
    /// The key.
    pub key: String,
    /// The body's length in bytes.
    pub size: u64,
    /// The media type; a listing does not tell it.
    pub content_type: Option<String>,
    /// The entity tag without its quotes.
    pub etag: Option<String>,
    /// When this version was written, to the second.
    pub last_modified: DateTime<Utc>,
    /// The storage class, where it is not the standard one or the provider tells it anyway.
    pub storage_class: Option<String>,
    /// The user's metadata, names in lower case without the protocol's prefix; a listing leaves it empty.
    pub metadata: Metadata,
}

/// Facts of a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BucketMetadata {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The region's code.
    pub region: String,
    /// Whether it keeps old versions; `false` also where a listing does not tell.
    pub versioning_enabled: bool,
}

impl BucketMetadata {
    /// A bucket made now, without versions.
    pub fn new(name: impl Into<String>, region: impl Into<String>) -> Self {
        Self { name: name.into(), created_at: Utc::now(), region: region.into(), versioning_enabled: false }
    }
}

/// Facts of a virtual machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceMetadata {
    /// The provider's identity of it.
    pub id: ResourceId,
    /// Its size in the provider's word.
    pub instance_type: String,
    /// Its state in the provider's word, such as `running`.
    pub state: String,
    /// Its address inside the network.
    pub private_ip: Option<String>,
    /// Its address outside, if it has one.
    pub public_ip: Option<String>,
    /// The network it is in.
    pub vpc_id: Option<ResourceId>,
    /// The subnet it is in.
    pub subnet_id: Option<ResourceId>,
    /// When it was started.
    pub launch_time: DateTime<Utc>,
    /// Its tags.
    pub tags: Metadata,
}

/// Facts of a virtual network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpcMetadata {
    /// The provider's identity of it.
    pub id: ResourceId,
    /// Its address range, such as `10.0.0.0/16`.
    pub cidr_block: String,
    /// Its state in the provider's word.
    pub state: String,
    /// Whether it is the account's default network.
    pub is_default: bool,
    /// Its tags.
    pub tags: Metadata,
}

/// Facts of a subnet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubnetMetadata {
    /// The provider's identity of it.
    pub id: ResourceId,
    /// The network it belongs to.
    pub vpc_id: ResourceId,
    /// Its address range.
    pub cidr_block: String,
    /// The zone it is in.
    pub availability_zone: String,
    /// Its tags.
    pub tags: Metadata,
}

/// Facts of a security group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecurityGroupMetadata {
    /// The provider's identity of it.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The network it belongs to.
    pub vpc_id: ResourceId,
    /// Its tags.
    pub tags: Metadata,
}

/// Media types that programs name often.
pub struct ContentType;

impl ContentType {
    /// JSON.
    pub const JSON: &'static str = "application/json";
    /// Plain text.
    pub const TEXT: &'static str = "text/plain";
    /// Bytes of no known type.
    pub const BINARY: &'static str = "application/octet-stream";
    /// HTML.
    pub const HTML: &'static str = "text/html";
    /// XML.
    pub const XML: &'static str = "application/xml";
    /// PDF.
    pub const PDF: &'static str = "application/pdf";
    /// PNG.
    pub const PNG: &'static str = "image/png";
    /// JPEG.
    pub const JPEG: &'static str = "image/jpeg";
}
