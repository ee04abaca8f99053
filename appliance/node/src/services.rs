//! The services that this binary has, made from the configuration.

use aws::sigv4::{Dialect, PathCoding, SigV2};
use plan::Service;
use s3::model::{Ownership, PublicAccessBlock};

use crate::config::Config;
use crate::door::{BodyPolicy, Door, IdForm};
use crate::route::ServiceId;

/// The services of one core.
pub struct Doors {
    s3: Door,
    dynamodb: Door,
}

/// DynamoDB's own bound on requests, BatchWriteItem's 16 MB.
const DYNAMODB_BODY_BYTES_MAX: usize = 16 << 20;

impl Doors {
    /// All of them, as the configuration wants them.
    pub fn new(config: &Config) -> Doors {
        Doors { s3: s3(config), dynamodb: dynamodb(config) }
    }

    /// With another service in the place of tables.
    #[cfg(test)]
    pub fn with_dynamodb(config: &Config, service: Box<dyn Service>) -> Doors {
        Doors { dynamodb: door_of_dynamodb(config, service), ..Doors::new(config) }
    }

    /// The way to one.
    pub fn of(&self, service: ServiceId) -> &Door {
        match service {
            ServiceId::S3 => &self.s3,
            ServiceId::Dynamodb => &self.dynamodb,
        }
    }
}

/// Objects.
fn s3(config: &Config) -> Door {
    let settings = &config.s3;
    let service = s3::S3::new(s3::Config {
        region: config.region.clone(),
        virtual_hosts: config.virtual_hosts.clone(),
        default_ownership: Ownership::parse(&settings.default_ownership)
            .expect("the configuration took one of Amazon's three words"),
        default_public_access_block: settings.default_public_access_block.then_some(PublicAccessBlock::ALL),
        storage_classes: settings.storage_classes.clone(),
        bucket_count_max: usize::try_from(settings.buckets_per_account).unwrap_or(usize::MAX),
    });
    let dialect = Dialect {
        service: "s3",
        region: config.region.clone(),
        path_coding: PathCoding::Once,
        sigv2: settings.sigv2,
    };
    Door::new("s3", Box::new(service), BodyPolicy::Streamed, IdForm::S3, dialect)
}

/// Tables, and the streams of their changes.
fn dynamodb(config: &Config) -> Door {
    let service = dynamodb::Dynamo::new(dynamodb::Config { region: config.region.clone() });
    door_of_dynamodb(config, Box::new(service))
}

fn door_of_dynamodb(config: &Config, service: Box<dyn Service>) -> Door {
    let dialect = Dialect {
        service: "dynamodb",
        region: config.region.clone(),
        path_coding: PathCoding::Twice,
        sigv2: SigV2::Refused,
    };
    let body = BodyPolicy::CollectFirst { limit_bytes: DYNAMODB_BODY_BYTES_MAX };
    Door::new("dynamodb", service, body, IdForm::Json, dialect)
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
            Doors::new(
                &Config::merge(Layer::default(), Layer::default(), Some(layer), false).expect("valid"),
            );
        }
    }
}
