//! The services that this binary has, made from the configuration.

use std::net::SocketAddr;
use std::sync::Arc;

use aws::sigv4::{Dialect, PathCoding, SigV2};
use cache::rate::{Rate, Rates};
use cas::{Ages, Cas, Namespace, Quota};
use plan::Service;
use s3::model::{Ownership, PublicAccessBlock};
use sns::failures::Failures;
use store::Receivers;
use tokens::{EnvironmentToken, Fingerprint, Scope, Scopes, Tokens};

use crate::config::cache::{SIZE_BYTES_DEFAULT, Size, days};
use crate::config::{self, Config};
use crate::door::{BodyPolicy, Door, IdForm};
use crate::route::ServiceId;

/// What the services of all cores have in common.
#[derive(Clone)]
pub struct Shared {
    /// Where topics count messages that nobody took.
    pub dropped: Failures,
    /// What the build cache keeps.
    pub cas: Cas,
    /// Whom the build cache lets in.
    pub tokens: Tokens,
    /// How much of it namespaces and addresses may have at once.
    pub rates: Arc<Rates>,
}

impl Shared {
    /// As the configuration wants it, on a disk of so many bytes.
    pub fn new(config: &Config, disk_bytes: Option<u64>) -> Shared {
        Shared {
            dropped: Failures::default(),
            cas: Cas::new(cas_settings(config, disk_bytes)),
            tokens: Tokens::new(token_settings(config)),
            rates: Arc::new(rates(config)),
        }
    }
}

/// The services of one core.
pub struct Doors {
    /// What they have in common with those of other cores.
    pub shared: Shared,
    s3: Door,
    dynamodb: Door,
    sqs: Door,
    sns: Door,
    cache: Door,
}

/// A sender that signs nothing, whom the policy of a queue lets in, has room for the longest message with most of its
/// characters escaped.
const ANONYMOUS_BODY_BYTES_MAX: usize = 2 << 20;

/// The part of the build cache that pins may hold.
const PINNED_SHARE_PERCENT: u8 = 50;

/// DynamoDB's own bound on requests, BatchWriteItem's 16 MB.
const DYNAMODB_BODY_BYTES_MAX: usize = 16 << 20;

impl Doors {
    /// All of them, as the configuration wants them.
    pub fn new(config: &Config, shared: &Shared) -> Doors {
        Doors {
            s3: s3(config),
            dynamodb: dynamodb(config),
            sqs: sqs(config),
            sns: sns(config, shared.dropped.clone(), config.listen.clone()),
            cache: cache(config, shared),
            shared: shared.clone(),
        }
    }

    /// For an appliance whose sockets have these addresses, which the configuration need not say: nothing that is published
    /// goes there.
    pub fn with_listeners(self, config: &Config, addresses: Vec<SocketAddr>) -> Doors {
        Doors { sns: sns(config, self.shared.dropped.clone(), addresses), ..self }
    }

    /// With another service in the place of tables.
    #[cfg(test)]
    pub fn with_dynamodb(config: &Config, service: Box<dyn Service>) -> Doors {
        Doors {
            dynamodb: door_of_dynamodb(config, service),
            ..Doors::new(config, &Shared::new(config, None))
        }
    }

    /// The way to one.
    pub fn of(&self, service: ServiceId) -> &Door {
        match service {
            ServiceId::S3 => &self.s3,
            ServiceId::Dynamodb => &self.dynamodb,
            ServiceId::Sqs => &self.sqs,
            ServiceId::Sns => &self.sns,
            ServiceId::Cache => &self.cache,
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
    let body = BodyPolicy::CollectFirst { limit_bytes: DYNAMODB_BODY_BYTES_MAX, anonymous_bytes: None };
    Door::new("dynamodb", service, body, IdForm::Json, dialect)
}

/// Queues.
fn sqs(config: &Config) -> Door {
    let service =
        sqs::Sqs::new(sqs::Config { region: config.region.clone(), public_url: config.public_url.clone() });
    let dialect = Dialect {
        service: "sqs",
        region: config.region.clone(),
        path_coding: PathCoding::Twice,
        sigv2: SigV2::Refused,
    };
    let body = BodyPolicy::CollectFirst {
        limit_bytes: sqs::BODY_BYTES_MAX,
        anonymous_bytes: Some(ANONYMOUS_BODY_BYTES_MAX),
    };
    Door::new("sqs", Box::new(service), body, IdForm::Uuid, dialect)
}

/// Topics.
fn sns(config: &Config, dropped: Failures, listeners: Vec<SocketAddr>) -> Door {
    let settings =
        sns::Config { region: config.region.clone(), public_url: config.public_url.clone(), listeners };
    let dialect = Dialect {
        service: "sns",
        region: config.region.clone(),
        path_coding: PathCoding::Twice,
        sigv2: SigV2::Refused,
    };
    // The links in messages are unsigned, and so is who fetches the certificate of their signatures.
    let body = BodyPolicy::CollectFirst {
        limit_bytes: sns::BODY_BYTES_MAX,
        anonymous_bytes: Some(ANONYMOUS_BODY_BYTES_MAX),
    };
    Door::new("sns", Box::new(sns::Sns::new(settings, dropped)), body, IdForm::Uuid, dialect)
}

/// The build cache. What is signed for it is signed as for S3, which every tool that signs knows.
fn cache(config: &Config, shared: &Shared) -> Door {
    let settings = cache::Config {
        root_aliases: config.cache_only,
        rates: Arc::clone(&shared.rates),
        first_byte: config.cache.first_byte,
        ..cache::Config::default()
    };
    let service = cache::Cache::new(settings, shared.cas.clone(), shared.tokens.clone());
    let dialect = Dialect {
        service: "s3",
        region: config.region.clone(),
        path_coding: PathCoding::Once,
        sigv2: SigV2::Refused,
    };
    Door::new("cache", Box::new(service), BodyPolicy::Streamed, IdForm::Plain, dialect).guarded_by_tokens()
}

/// How much the build cache keeps, and for how long.
fn cas_settings(config: &Config, disk_bytes: Option<u64>) -> cas::Settings {
    let settings = &config.cache;
    let max_bytes = match (settings.max_bytes, disk_bytes) {
        (Some(Size::Bytes(bytes)), _) => bytes,
        (Some(Size::Percent(percent)), Some(disk)) => disk / 100 * u64::from(percent),
        (None, Some(disk)) => SIZE_BYTES_DEFAULT.min(disk / 2),
        (Some(Size::Percent(_)) | None, None) => SIZE_BYTES_DEFAULT,
    };
    let quotas = settings.namespaces.iter().map(|namespace| {
        let bytes = namespace.max_bytes.unwrap_or(u64::MAX);
        (name_of(namespace), Quota { bytes, objects: namespace.max_objects.unwrap_or(u64::MAX) })
    });
    let ages = settings.namespaces.iter().map(|namespace| {
        let (retention, max_age) = (namespace.retention_days.map(days), namespace.max_age_days.map(days));
        (name_of(namespace), Ages { retention, max_age })
    });
    cas::Settings {
        max_bytes,
        retention: settings.retention,
        max_age: settings.max_age,
        lease: settings.lease,
        object_bytes_max: settings.max_object_bytes,
        quotas: quotas.collect(),
        ages: ages.collect(),
        pinned_share_percent: PINNED_SHARE_PERCENT,
        room_patience: cas::ROOM_PATIENCE,
        scrub: cas::Scrub { every: settings.scrub, bytes_per_second: settings.scrub_rate },
    }
}

/// How much of the build cache namespaces and addresses may have at once.
fn rates(config: &Config) -> Rates {
    let bounded = config.cache.namespaces.iter().filter_map(|namespace| {
        let (requests_per_second, bytes_per_second) =
            (namespace.requests_per_second, namespace.bytes_per_second);
        let is_bounded = requests_per_second.is_some() || bytes_per_second.is_some();
        is_bounded.then(|| (name_of(namespace), Rate { requests_per_second, bytes_per_second }))
    });
    Rates::new(bounded, config.cache.host_requests_per_minute)
}

fn name_of(namespace: &config::cache::Namespace) -> Namespace {
    Namespace::parse(&namespace.name).expect("the configuration took a namespace's name")
}

/// Whom the build cache lets in.
fn token_settings(config: &Config) -> tokens::Settings {
    let of = |label, scope, secret: &Option<aws::account::Secret>| {
        secret.as_ref().map(|secret| EnvironmentToken {
            label,
            scopes: Scopes::NONE.with(scope),
            fingerprint: Fingerprint::of(secret.reveal().as_bytes()),
        })
    };
    let read = of("env-read", Scope::CacheRead, &config.cache.read_token);
    let write = of("env-write", Scope::CacheWrite, &config.cache.write_token);
    tokens::Settings {
        root: config.account_id,
        environment: read.into_iter().chain(write).collect(),
        anonymous: config.cache.anonymous,
        allow_plaintext: config.allow_plaintext,
    }
}

/// Who takes what services send each other. `dropped`: where topics count messages that nobody took.
pub fn receivers(config: &Config, dropped: &Failures) -> Receivers {
    sqs::receivers(sns::receivers(Receivers::default(), dropped), &config.region)
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
            let config =
                Config::merge(Layer::default(), Layer::default(), Some(layer), false).expect("valid");
            Doors::new(&config, &Shared::new(&config, None));
        }
    }
}
