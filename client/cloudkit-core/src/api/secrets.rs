//! Secrets and their versions.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Facts of a secret, without its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretMetadata {
    /// The name.
    pub name: String,
    /// The provider's identity of it.
    pub arn: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// When it was last read.
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// Its tags.
    pub tags: Metadata,
    /// The version that is current.
    pub version_id: Option<String>,
    /// Whether the provider changes it by itself.
    pub rotation_enabled: bool,
}

impl SecretMetadata {
    /// A secret of which only the name is known.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arn: None,
            description: None,
            created_at: None,
            updated_at: None,
            last_accessed_at: None,
            tags: Metadata::new(),
            version_id: None,
            rotation_enabled: false,
        }
    }
}

/// A version of a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretVersion {
    /// Which version.
    pub version_id: String,
    /// The names by which it is found, such as `AWSCURRENT`.
    pub stages: Vec<String>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
}

/// How a secret is made.
#[derive(Debug, Clone, Default)]
pub struct CreateSecretOptions {
    /// What it is for.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Metadata,
    /// The key that encrypts it.
    pub kms_key_id: Option<String>,
}

/// Secrets and their versions.
#[async_trait]
pub trait SecretsManager: Send + Sync {
    /// Makes a secret.
    async fn create_secret(
        &self,
        name: &str,
        value: &str,
        options: CreateSecretOptions,
    ) -> CloudResult<SecretMetadata>;

    /// The current value.
    async fn get_secret(&self, name: &str) -> CloudResult<String>;

    /// The value of one version.
    async fn get_secret_version(&self, name: &str, version_id: &str) -> CloudResult<String>;

    /// Gives a secret a new value.
    async fn update_secret(&self, name: &str, value: &str) -> CloudResult<SecretMetadata>;

    /// Deletes a secret; without `force` it can be restored for a while.
    async fn delete_secret(&self, name: &str, force: bool) -> CloudResult<()>;

    /// Brings a deleted secret back.
    async fn restore_secret(&self, name: &str) -> CloudResult<SecretMetadata>;

    /// The facts of all secrets.
    async fn list_secrets(&self) -> CloudResult<Vec<SecretMetadata>>;

    /// The facts of a secret.
    async fn describe_secret(&self, name: &str) -> CloudResult<SecretMetadata>;

    /// The versions of a secret.
    async fn list_secret_versions(&self, name: &str) -> CloudResult<Vec<SecretVersion>>;

    /// Lets the provider change a secret now.
    async fn rotate_secret(&self, name: &str) -> CloudResult<()>;

    /// Adds tags.
    async fn tag_secret(&self, name: &str, tags: Metadata) -> CloudResult<()>;

    /// Takes tags away.
    async fn untag_secret(&self, name: &str, tag_keys: &[&str]) -> CloudResult<()>;

    /// What this provider's secrets can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::SecretsManager)
    }
}
