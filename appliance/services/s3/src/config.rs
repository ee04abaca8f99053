//! What the configuration says about S3.

use crate::model::object::STORAGE_CLASS_DEFAULT;
use crate::model::{BUCKET_COUNT_DEFAULT, Ownership, PublicAccessBlock};

/// The settings of the service; `Default` is what a configuration without an `[s3]` table means.
#[derive(Clone, Debug)]
pub struct Config {
    /// The region of this appliance.
    pub region: String,
    /// Host names below which a label names a bucket.
    pub virtual_hosts: Vec<String>,
    /// Ownership of new buckets that name none.
    pub default_ownership: Ownership,
    /// Public access switches of new buckets.
    pub default_public_access_block: Option<PublicAccessBlock>,
    /// Storage classes that objects may name; the first is the default class.
    pub storage_classes: Vec<String>,
    /// Buckets that one account may own.
    pub bucket_count_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            region: "us-east-1".to_owned(),
            virtual_hosts: vec!["localhost".to_owned()],
            default_ownership: Ownership::BucketOwnerEnforced,
            default_public_access_block: Some(PublicAccessBlock::ALL),
            storage_classes: vec![STORAGE_CLASS_DEFAULT.to_owned()],
            bucket_count_max: BUCKET_COUNT_DEFAULT,
        }
    }
}
