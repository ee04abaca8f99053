//! The services that this binary has, made from the configuration.

use plan::Service;
use s3::model::{Ownership, PublicAccessBlock};

use crate::config::Config;

/// Objects.
pub fn s3(config: &Config) -> Box<dyn Service> {
    let settings = &config.s3;
    Box::new(s3::S3::new(s3::Config {
        region: config.region.clone(),
        virtual_hosts: config.virtual_hosts.clone(),
        default_ownership: Ownership::parse(&settings.default_ownership)
            .expect("the configuration took one of Amazon's three words"),
        default_public_access_block: settings.default_public_access_block.then_some(PublicAccessBlock::ALL),
        storage_classes: settings.storage_classes.clone(),
        bucket_count_max: usize::try_from(settings.buckets_per_account).unwrap_or(usize::MAX),
    }))
}

/// Settings that are read and that no service of this version acts on.
pub fn without_effect(config: &Config) -> Vec<&'static str> {
    let mut names = Vec::new();
    if !config.s3.kms_keys.is_empty() {
        names.push("s3.kms_keys");
    }
    if !config.s3.sse_c_needs_tls {
        names.push("s3.sse_c_needs_tls");
    }
    // It would allow customer keys, bearer tokens and basic auth, none of which this version takes anywhere.
    if config.allow_plaintext {
        names.push("allow_plaintext");
    }
    if config.day_seconds > 0 {
        names.push("debug.day_seconds");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, from_text};

    #[test]
    fn every_ownership_word_of_the_configuration_is_one_of_the_service() {
        for word in ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] {
            let text = format!("[s3]\ndefault_ownership = \"{word}\"\n");
            let layer = from_text(std::path::Path::new("f"), &text).expect("valid");
            s3(&Config::merge(Layer::default(), Layer::default(), Some(layer), false).expect("valid"));
        }
    }
}
