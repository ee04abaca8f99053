//! Keys that the provider keeps, and what is done with them.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Texts that must be the same at decryption as they were at encryption.
pub type EncryptionContext = Metadata;

/// Facts of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyMetadata {
    /// Its identity.
    pub key_id: String,
    /// The provider's long identity of it.
    pub arn: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it can be used.
    pub state: KeyState,
    /// What it can be used for.
    pub usage: KeyUsage,
    /// What kind it is.
    pub key_spec: KeySpec,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When it will be gone.
    pub deletion_date: Option<DateTime<Utc>>,
    /// Whether it can be used.
    pub enabled: bool,
    /// Whether other regions have it too.
    pub multi_region: bool,
    /// Its tags.
    pub tags: Metadata,
}

impl KeyMetadata {
    /// A symmetric key that can be used.
    pub fn new(key_id: impl Into<String>) -> Self {
        Self {
            key_id: key_id.into(),
            arn: None,
            description: None,
            state: KeyState::Enabled,
            usage: KeyUsage::EncryptDecrypt,
            key_spec: KeySpec::SymmetricDefault,
            created_at: None,
            deletion_date: None,
            enabled: true,
            multi_region: false,
            tags: Metadata::new(),
        }
    }
}

/// Whether a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum KeyState {
    /// It is being made.
    Creating,
    /// It can.
    #[default]
    Enabled,
    /// It was put out of use.
    Disabled,
    /// It will be deleted.
    PendingDeletion,
    /// Its material is still to come.
    PendingImport,
    /// The provider cannot reach it.
    Unavailable,
}

/// What a key can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum KeyUsage {
    /// To encrypt and decrypt.
    #[default]
    EncryptDecrypt,
    /// To sign and verify.
    SignVerify,
    /// To agree on a secret.
    KeyAgreement,
    /// To make and verify message authentication codes.
    GenerateVerifyMac,
}

/// What kind a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum KeySpec {
    /// The provider's symmetric kind.
    #[default]
    SymmetricDefault,
    /// RSA with 2,048 bits.
    Rsa2048,
    /// RSA with 3,072 bits.
    Rsa3072,
    /// RSA with 4,096 bits.
    Rsa4096,
    /// The curve P-256.
    EccNistP256,
    /// The curve P-384.
    EccNistP384,
    /// The curve P-521.
    EccNistP521,
    /// The curve secp256k1.
    EccSecgP256K1,
    /// HMAC with SHA-256.
    Hmac256,
    /// HMAC with SHA-384.
    Hmac384,
    /// HMAC with SHA-512.
    Hmac512,
}

/// How a key is made.
#[derive(Debug, Clone, Default)]
pub struct CreateKeyOptions {
    /// What it is for.
    pub description: Option<String>,
    /// What it can be used for.
    pub usage: KeyUsage,
    /// What kind it is.
    pub key_spec: KeySpec,
    /// Whether other regions have it too.
    pub multi_region: bool,
    /// Its tags.
    pub tags: Metadata,
}

/// What encryption gave.
#[derive(Debug, Clone)]
pub struct EncryptResult {
    /// The bytes, encrypted.
    pub ciphertext: Vec<u8>,
    /// The key.
    pub key_id: String,
    /// How they were encrypted.
    pub algorithm: Option<String>,
}

/// What decryption gave. Debug does not show the bytes.
#[derive(Clone)]
pub struct DecryptResult {
    /// The bytes.
    pub plaintext: Vec<u8>,
    /// The key.
    pub key_id: String,
}

impl fmt::Debug for DecryptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptResult").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A key to encrypt data with, both as it is and encrypted. Debug does not show it as it is.
#[derive(Clone)]
pub struct DataKey {
    /// The key as it is, to be used and forgotten.
    pub plaintext: Vec<u8>,
    /// The key encrypted, to be kept beside the data.
    pub ciphertext: Vec<u8>,
    /// The key that encrypted it.
    pub key_id: String,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey")
            .field("ciphertext", &self.ciphertext)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SigningAlgorithm {
    /// RSASSA-PSS with SHA-256.
    #[default]
    RsassaPssSha256,
    /// RSASSA-PSS with SHA-384.
    RsassaPssSha384,
    /// RSASSA-PSS with SHA-512.
    RsassaPssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsassaPkcs1V15Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsassaPkcs1V15Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsassaPkcs1V15Sha512,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
}

/// Keys that the provider keeps, and what is done with them.
#[async_trait]
pub trait KeyManagement: Send + Sync {
    /// Makes a key.
    async fn create_key(&self, options: CreateKeyOptions) -> CloudResult<KeyMetadata>;

    /// The facts of a key.
    async fn describe_key(&self, key_id: &str) -> CloudResult<KeyMetadata>;

    /// The facts of all keys.
    async fn list_keys(&self) -> CloudResult<Vec<KeyMetadata>>;

    /// Puts a key in use.
    async fn enable_key(&self, key_id: &str) -> CloudResult<()>;

    /// Puts a key out of use.
    async fn disable_key(&self, key_id: &str) -> CloudResult<()>;

    /// Lets a key be deleted after this many days and tells when that is.
    async fn schedule_key_deletion(
        &self,
        key_id: &str,
        pending_window_days: u32,
    ) -> CloudResult<DateTime<Utc>>;

    /// Keeps a key that would have been deleted.
    async fn cancel_key_deletion(&self, key_id: &str) -> CloudResult<()>;

    /// Says what a key is for.
    async fn update_key_description(&self, key_id: &str, description: &str) -> CloudResult<()>;

    /// Encrypts bytes.
    async fn encrypt(
        &self,
        key_id: &str,
        plaintext: &[u8],
        context: Option<EncryptionContext>,
    ) -> CloudResult<EncryptResult>;

    /// Decrypts bytes.
    async fn decrypt(
        &self,
        ciphertext: &[u8],
        context: Option<EncryptionContext>,
    ) -> CloudResult<DecryptResult>;

    /// Encrypts with another key what one has encrypted.
    async fn re_encrypt(
        &self,
        ciphertext: &[u8],
        dest_key_id: &str,
        source_context: Option<EncryptionContext>,
        dest_context: Option<EncryptionContext>,
    ) -> CloudResult<EncryptResult>;

    /// Makes a key to encrypt data with.
    async fn generate_data_key(
        &self,
        key_id: &str,
        context: Option<EncryptionContext>,
    ) -> CloudResult<DataKey>;

    /// Makes a key to encrypt data with, and gives it encrypted only.
    async fn generate_data_key_without_plaintext(
        &self,
        key_id: &str,
        context: Option<EncryptionContext>,
    ) -> CloudResult<Vec<u8>>;

    /// Signs a message.
    async fn sign(&self, key_id: &str, message: &[u8], algorithm: SigningAlgorithm) -> CloudResult<Vec<u8>>;

    /// Whether a signature is the key's over the message.
    async fn verify(
        &self,
        key_id: &str,
        message: &[u8],
        signature: &[u8],
        algorithm: SigningAlgorithm,
    ) -> CloudResult<bool>;

    /// Adds tags.
    async fn tag_key(&self, key_id: &str, tags: Metadata) -> CloudResult<()>;

    /// Takes tags away.
    async fn untag_key(&self, key_id: &str, tag_keys: &[&str]) -> CloudResult<()>;

    /// The tags of a key.
    async fn list_key_tags(&self, key_id: &str) -> CloudResult<Metadata>;

    /// What this provider's keys can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::KeyManagement)
    }
}
