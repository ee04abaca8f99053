//! The surface that programs compile against, part one: the layer `common` and the context.
//!
//! Each item of it is named here with its exact fields, variants and signatures: struct literals name all fields, matches
//! have no wildcard, and derives are asked for. A change that breaks a program breaks this file first.

use chrono::{DateTime, Utc};
use cloudkit_core::common::*;
use cloudkit_core::core::{CloudContext, CloudContextBuilder};
use cloudkit_core::spi::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

fn data<T: Debug + Clone + Send + Sync + 'static>() {}
fn served<T: Debug + Clone + Serialize + DeserializeOwned + Send + Sync + 'static>() {}
fn word<T: Debug + Clone + Copy + Eq + Send + Sync + 'static>() {}
fn error<T: Debug + Display + Error + Send + Sync + 'static>() {}
fn name<T: Debug + Clone + Eq + Hash + Serialize + DeserializeOwned>() {}

#[test]
fn derives_are_there() {
    error::<CloudError>();
    error::<AuthError>();
    error::<NetworkError>();
    name::<Region>();
    name::<ResourceId>();
    word::<ProviderType>();
    data::<Credentials>();
    served::<CloudConfig>();
    data::<CloudConfigBuilder>();
    data::<CloudContext>();
    data::<CloudContextBuilder>();
    served::<ResourceMetadata>();
    served::<BucketMetadata>();
    served::<ObjectMetadata>();
    served::<InstanceMetadata>();
    served::<VpcMetadata>();
    served::<SubnetMetadata>();
    served::<SecurityGroupMetadata>();
    served::<PaginationToken>();
    served::<ListResult<u8>>();
    let _: fn() -> Region = Region::default;
    let _: fn() -> CloudConfig = CloudConfig::default;
    let _: fn() -> CloudConfigBuilder = CloudConfigBuilder::default;
}

/// A match without a wildcard, in both directions: every variant with its fields, and no other.
fn taken_apart(error: CloudError) -> CloudError {
    match error {
        CloudError::Auth(inner) => CloudError::Auth(match inner {
            AuthError::MissingCredentials(text) => AuthError::MissingCredentials(text),
            AuthError::InvalidCredentials(text) => AuthError::InvalidCredentials(text),
            AuthError::ExpiredCredentials => AuthError::ExpiredCredentials,
            AuthError::InsufficientPermissions(text) => AuthError::InsufficientPermissions(text),
            AuthError::TokenRefreshFailed(text) => AuthError::TokenRefreshFailed(text),
        }),
        CloudError::Network(inner) => CloudError::Network(match inner {
            NetworkError::Connection(text) => NetworkError::Connection(text),
            NetworkError::DnsResolution(text) => NetworkError::DnsResolution(text),
            NetworkError::Tls(text) => NetworkError::Tls(text),
            NetworkError::Request(text) => NetworkError::Request(text),
            NetworkError::ResponseParsing(text) => NetworkError::ResponseParsing(text),
        }),
        CloudError::NotFound { resource_type, resource_id } => {
            CloudError::NotFound { resource_type, resource_id }
        }
        CloudError::AlreadyExists { resource_type, resource_id } => {
            CloudError::AlreadyExists { resource_type, resource_id }
        }
        CloudError::Validation(text) => CloudError::Validation(text),
        CloudError::RateLimited { retry_after } => {
            let retry_after: Option<Duration> = retry_after;
            CloudError::RateLimited { retry_after }
        }
        CloudError::ServiceUnavailable { service, message } => {
            let message: Option<String> = message;
            CloudError::ServiceUnavailable { service, message }
        }
        CloudError::Timeout { operation, duration } => {
            let duration: Duration = duration;
            CloudError::Timeout { operation, duration }
        }
        CloudError::Provider { provider, code, message } => CloudError::Provider { provider, code, message },
        CloudError::Internal(text) => CloudError::Internal(text),
        CloudError::Config(text) => CloudError::Config(text),
        CloudError::Serialization(text) => CloudError::Serialization(text),
        CloudError::Io(inner) => {
            let inner: std::io::Error = inner;
            CloudError::Io(inner)
        }
        CloudError::ServiceError(text) => CloudError::ServiceError(text),
    }
}

#[test]
fn errors_are_taken_apart_and_converted() {
    let text = |error: CloudResult<()>| error.unwrap_err().to_string();
    assert_eq!(taken_apart(CloudError::Internal("x".into())).to_string(), "Internal error: x");
    assert_eq!(text(Err(std::io::Error::other("disk").into())), "IO error: disk");
    let no_json = serde_json::from_str::<u8>("x").unwrap_err();
    assert!(matches!(CloudError::from(no_json), CloudError::Serialization(_)));
    assert!(matches!(CloudError::from(AuthError::ExpiredCredentials), CloudError::Auth(_)));
    let no_name = NetworkError::DnsResolution(String::from("x"));
    assert!(matches!(CloudError::from(no_name), CloudError::Network(_)));
    let error: Box<dyn Error> = CloudError::Config("c".into()).into();
    assert_eq!(error.to_string(), "Configuration error: c");
    for method in [
        CloudError::is_not_found as fn(&CloudError) -> bool,
        CloudError::is_conflict,
        CloudError::is_precondition_failed,
        CloudError::is_throttled,
        CloudError::is_retryable,
    ] {
        assert!(!method(&CloudError::Validation(String::new())));
    }
    let _: fn(&CloudError) -> Option<String> = CloudError::request_id;
    let _: fn(&CloudError) -> Option<String> = CloudError::hint;
}

#[cfg(feature = "reqwest")]
#[test]
fn errors_of_reqwest_convert() {
    let _: fn(reqwest::Error) -> CloudError = CloudError::from;
}

#[test]
fn regions_have_their_constructors() {
    type Constructor = fn() -> Region;
    let regions: [(Constructor, &str); 19] = [
        (Region::aws_us_east_1, "aws/us-east-1"),
        (Region::aws_us_east_2, "aws/us-east-2"),
        (Region::aws_us_west_1, "aws/us-west-1"),
        (Region::aws_us_west_2, "aws/us-west-2"),
        (Region::aws_eu_west_1, "aws/eu-west-1"),
        (Region::aws_eu_central_1, "aws/eu-central-1"),
        (Region::aws_af_south_1, "aws/af-south-1"),
        (Region::azure_east_us, "azure/eastus"),
        (Region::azure_west_us, "azure/westus"),
        (Region::azure_west_europe, "azure/westeurope"),
        (Region::azure_south_africa_north, "azure/southafricanorth"),
        (Region::gcp_us_central1, "gcp/us-central1"),
        (Region::gcp_us_east1, "gcp/us-east1"),
        (Region::gcp_europe_west1, "gcp/europe-west1"),
        (Region::oracle_us_ashburn_1, "oracle/us-ashburn-1"),
        (Region::oracle_uk_london_1, "oracle/uk-london-1"),
        (Region::oracle_af_johannesburg_1, "oracle/af-johannesburg-1"),
        (Region::zero_local, "zero/local"),
        (Region::zero_default, "zero/default"),
    ];
    for (region, shown) in regions {
        assert_eq!(region().to_string(), shown);
    }
    let region = Region::new("p", String::from("c"), "n");
    let parts: [&str; 3] = [region.provider(), region.code(), region.name()];
    assert_eq!(parts, ["p", "c", "n"]);
}

#[test]
fn providers_are_these_five() {
    let code = |provider: ProviderType| match provider {
        ProviderType::Aws => "aws",
        ProviderType::Azure => "azure",
        ProviderType::Gcp => "gcp",
        ProviderType::Oracle => "oracle",
        ProviderType::Zero => "zero",
    };
    assert_eq!(code(ProviderType::Oracle), ProviderType::Oracle.to_string());
}

#[test]
fn credentials_and_configuration_are_built() {
    let Credentials { access_key, secret_key, session_token } = Credentials {
        access_key: String::from("a"),
        secret_key: String::from("b"),
        session_token: Some(String::from("c")),
    };
    assert_eq!(Credentials::new(access_key, "x").session_token, None);
    assert_eq!(Credentials::with_session_token("x", secret_key, "t").session_token.as_deref(), Some("t"));
    assert_eq!(session_token.as_deref(), Some("c"));
    let _: fn() -> CloudResult<Credentials> = Credentials::from_env;

    let config = CloudConfig {
        region: Region::zero_local(),
        timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(2),
        max_retries: 3_u32,
        enable_tracing: true,
        endpoint: Some(String::from("http://x")),
        parameters: HashMap::from([(String::from("a"), String::from("b"))]),
    };
    let built: CloudConfig = CloudConfig::builder()
        .region(Region::zero_local())
        .timeout(Duration::from_secs(1))
        .request_timeout(Duration::from_secs(2))
        .max_retries(3)
        .enable_tracing(true)
        .endpoint("http://x")
        .parameters(HashMap::new())
        .parameter("a", String::from("b"))
        .build()
        .unwrap();
    assert_eq!(serde_json::to_value(&built).unwrap(), serde_json::to_value(&config).unwrap());
}

#[tokio::test]
async fn a_context_is_built_with_every_setter() {
    let built: CloudResult<CloudContext> = CloudContextBuilder::new(ProviderType::Zero)
        .config(CloudConfig::default())
        .region(Region::zero_default())
        .endpoint(String::from("http://x"))
        .auth_provider(EnvAuthProvider)
        .retry_policy(NoRetry)
        .metrics(LoggingMetrics)
        .build()
        .await;
    let CloudContext { provider, config, auth_provider, retry_policy, metrics } = built.unwrap();
    let context = CloudContext {
        provider,
        config,
        auth_provider: auth_provider as Arc<dyn AuthProvider>,
        retry_policy: retry_policy as Arc<dyn RetryPolicy>,
        metrics: metrics as Arc<dyn MetricsCollector>,
    };
    let _: fn(ProviderType) -> CloudContextBuilder = CloudContext::builder;
    let (provider, region): (ProviderType, &Region) = (context.provider(), context.region());
    assert_eq!((provider, region.code()), (ProviderType::Zero, "default"));
}

#[test]
fn identities_and_metadata_are_built() {
    let id = ResourceId::new("i");
    let ids = [ResourceId::from("i"), ResourceId::from(String::from("i")), id.clone()];
    assert!(ids.iter().all(|one| *one == id && one.as_str() == "i" && one.to_string() == "i"));
    let _: fn() -> ResourceId = ResourceId::generate;
    let (now, tags): (DateTime<Utc>, Metadata) = (Utc::now(), Metadata::new());
    let tags: HashMap<String, String> = tags;
    let _ = ResourceMetadata {
        id: id.clone(),
        name: String::new(),
        created_at: now,
        updated_at: now,
        tags: tags.clone(),
        provider_metadata: serde_json::Value::Null,
    };
    assert_eq!(ResourceMetadata::new("i", "n").name, "n");
    let _ = BucketMetadata {
        name: String::new(),
        created_at: now,
        region: String::new(),
        versioning_enabled: true,
    };
    assert!(!BucketMetadata::new("n", "r").versioning_enabled);
    let _ = ObjectMetadata {
        key: String::new(),
        size: 0_u64,
        content_type: None::<String>,
        etag: None::<String>,
        last_modified: now,
        storage_class: None::<String>,
        metadata: tags.clone(),
    };
    let _ = InstanceMetadata {
        id: id.clone(),
        instance_type: String::new(),
        state: String::new(),
        private_ip: None::<String>,
        public_ip: None::<String>,
        vpc_id: Some(id.clone()),
        subnet_id: Some(id.clone()),
        launch_time: now,
        tags: tags.clone(),
    };
    let _ = VpcMetadata {
        id: id.clone(),
        cidr_block: String::new(),
        state: String::new(),
        is_default: true,
        tags: tags.clone(),
    };
    let _ = SubnetMetadata {
        id: id.clone(),
        vpc_id: id.clone(),
        cidr_block: String::new(),
        availability_zone: String::new(),
        tags: tags.clone(),
    };
    let _ = SecurityGroupMetadata {
        id: id.clone(),
        name: String::new(),
        description: None::<String>,
        vpc_id: id,
        tags,
    };
}

#[test]
fn pages_and_media_types_are_named() {
    let PaginationToken(inner) = PaginationToken::some("t");
    assert_eq!(inner.as_deref(), Some("t"));
    assert!(!PaginationToken(None::<String>).has_more() && !PaginationToken::none().has_more());
    let page =
        ListResult { items: vec![1_u8], next_token: PaginationToken::none(), total_count: Some(1_u64) };
    assert!(!page.has_more());
    assert_eq!(ListResult::new(page.items, PaginationToken::some("t")).total_count, None);
    let media: [&'static str; 8] = [
        ContentType::JSON,
        ContentType::TEXT,
        ContentType::BINARY,
        ContentType::HTML,
        ContentType::XML,
        ContentType::PDF,
        ContentType::PNG,
        ContentType::JPEG,
    ];
    assert_eq!(media[2], "application/octet-stream");
}
