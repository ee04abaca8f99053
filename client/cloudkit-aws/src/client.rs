//! Where a program begins with this provider: settings, then one client with a handle for each service.
//! Invariant: building asks nobody; credentials and services are looked for at the first call.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use cloudkit_core::common::{CloudConfig, CloudError, CloudResult, ProviderType, Region};
use cloudkit_core::core::{CloudContext, DynCloud};
use cloudkit_core::spi::{
    AuthProvider, ExponentialBackoff, Logger, MetricsCollector, NoopMetrics, RetryPolicy,
};

use crate::attempt::{Count, Judge};
use crate::caller::Shared;
use crate::credentials::{AwsAuthProvider, Provided};
use crate::dynamodb::DynamoDbStore;
use crate::s3::{BlankKeys, S3Storage};
use crate::sns::SnsPubSub;
use crate::sqs::SqsQueue;

/// Builds an [`AwsClient`]. What is not set is looked for in the environment, then has a default.
///
/// | Setting | Without it |
/// |---|---|
/// | endpoint | `AWS_ENDPOINT_URL`, then AWS itself |
/// | region | `AWS_REGION`, `AWS_DEFAULT_REGION`, `us-east-1` |
/// | auth_provider | what AWS's own tools find: environment, profile, the machine's role |
/// | retry_policy | the SDK's own, with as many tries as `max_retries` says |
#[derive(Clone, Default)]
pub struct AwsBuilder {
    config: CloudConfig,
    is_region_set: bool,
    profile: Option<String>,
    auth_provider: Option<Arc<dyn AuthProvider>>,
    retry_policy: Option<Arc<dyn RetryPolicy>>,
    metrics: Option<Arc<dyn MetricsCollector>>,
    logger: Option<Arc<dyn Logger>>,
}

impl AwsBuilder {
    /// A builder in which nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets all settings at once, the region included.
    pub fn config(mut self, config: CloudConfig) -> Self {
        self.config = config;
        self.is_region_set = true;
        self
    }

    /// Sets the region.
    pub fn region(mut self, region: Region) -> Self {
        self.config.region = region;
        self.is_region_set = true;
        self
    }

    /// Sets where all services are: `http://host:8080`, `https://host`. Without it they are AWS's own.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.config.endpoint = Some(endpoint.into());
        self
    }

    /// Sets which profile of AWS's files has the credentials. An `auth_provider` goes before it.
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// Sets where credentials come from.
    pub fn auth_provider<A: AuthProvider + 'static>(mut self, provider: A) -> Self {
        self.auth_provider = Some(Arc::new(provider));
        self
    }

    /// Sets when a call is tried again; it is asked only where a repetition does no harm.
    pub fn retry_policy<R: RetryPolicy + 'static>(mut self, policy: R) -> Self {
        self.retry_policy = Some(Arc::new(policy));
        self
    }

    /// Sets where figures go; each call is one operation.
    pub fn metrics<M: MetricsCollector + 'static>(mut self, metrics: M) -> Self {
        self.metrics = Some(Arc::new(metrics));
        self
    }

    /// Sets where log entries go: failures and calls that needed several tries at WARN, everything else at DEBUG.
    pub fn logger<L: Logger + 'static>(mut self, logger: L) -> Self {
        self.logger = Some(Arc::new(logger));
        self
    }

    /// The client. It needs neither server nor credentials.
    ///
    /// # Errors
    /// [`CloudError::Config`] for an endpoint that cannot be used.
    pub async fn build(self) -> CloudResult<AwsClient> {
        let AwsBuilder { mut config, is_region_set, profile, auth_provider, retry_policy, metrics, logger } =
            self;
        if !is_region_set
            && let Some(code) = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"))
        {
            config.region = Region::find("aws", &code);
        }
        let own = profile.clone().map_or_else(AwsAuthProvider::new, AwsAuthProvider::profile);
        let credentials = match &auth_provider {
            Some(provider) => SharedCredentialsProvider::new(Provided(provider.clone())),
            None => SharedCredentialsProvider::new(own.clone()),
        };
        let tries = config.max_retries.max(1);
        let context = CloudContext {
            provider: ProviderType::Aws,
            auth_provider: auth_provider.unwrap_or_else(|| Arc::new(own)),
            retry_policy: retry_policy.clone().unwrap_or_else(|| Arc::new(ExponentialBackoff::new(tries))),
            metrics: metrics.clone().unwrap_or_else(|| Arc::new(NoopMetrics)),
            config,
        };
        let client = AwsClient::of(context, credentials, retry_policy, metrics, logger)?;
        Ok(AwsClient { profile, ..client })
    }
}

impl fmt::Debug for AwsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// AWS, or what speaks its protocols. Clones and all handles share connections, credentials and figures.
#[derive(Clone)]
pub struct AwsClient {
    shared: Arc<Shared>,
    /// One for all handles: it keeps what it knows of tables.
    tables: DynamoDbStore,
    profile: Option<String>,
}

/// The settings of one service, from those of all.
macro_rules! settings {
    ($sdk:ident, $all:expr, $judge:expr) => {
        $sdk::config::Builder::from($all).interceptor(Count).retry_classifier($judge.clone())
    };
}

impl AwsClient {
    /// A builder in which nothing is set.
    pub fn builder() -> AwsBuilder {
        AwsBuilder::new()
    }

    /// The client of a context; where that names no endpoint, the environment does.
    ///
    /// # Errors
    /// [`CloudError::Config`] for an endpoint that cannot be used.
    pub fn from_context(context: CloudContext) -> CloudResult<AwsClient> {
        let credentials = SharedCredentialsProvider::new(Provided(context.auth_provider.clone()));
        let (policy, metrics) = (Some(context.retry_policy.clone()), Some(context.metrics.clone()));
        AwsClient::of(context, credentials, policy, metrics, None)
    }

    fn of(
        mut context: CloudContext,
        credentials: SharedCredentialsProvider,
        policy: Option<Arc<dyn RetryPolicy>>,
        metrics: Option<Arc<dyn MetricsCollector>>,
        logger: Option<Arc<dyn Logger>>,
    ) -> CloudResult<AwsClient> {
        let config = &mut context.config;
        config.endpoint = config.endpoint.take().or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = config.endpoint.as_deref().map(checked).transpose()?;
        let tries = policy.as_ref().map_or(config.max_retries, |policy| policy.max_attempts()).max(1);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.timeout)
            .operation_attempt_timeout(config.request_timeout)
            .build();
        let mut all = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_config::Region::new(config.region.code().to_string()))
            .credentials_provider(credentials)
            .timeout_config(timeouts)
            .retry_config(
                RetryConfig::standard().with_max_attempts(tries).with_max_backoff(config.request_timeout),
            );
        if let Some(endpoint) = endpoint {
            all = all.endpoint_url(endpoint);
        }
        let (all, judge) = (all.build(), Judge { policy });
        let mut s3 = settings!(aws_sdk_s3, &all, judge).interceptor(BlankKeys);
        if endpoint.is_some() {
            // What is not AWS has no address for each bucket, and may not know the checksums that AWS asks for.
            s3 = s3
                .force_path_style(true)
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        }
        let shared = Arc::new(Shared {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(settings!(aws_sdk_dynamodb, &all, judge).build()),
            sqs: aws_sdk_sqs::Client::from_conf(settings!(aws_sdk_sqs, &all, judge).build()),
            sns: aws_sdk_sns::Client::from_conf(settings!(aws_sdk_sns, &all, judge).build()),
            context,
            metrics,
            logger,
        });
        Ok(AwsClient { tables: DynamoDbStore::new(shared.clone()), shared, profile: None })
    }

    /// What the client was built of, the endpoint that was found included.
    pub fn context(&self) -> &CloudContext {
        &self.shared.context
    }

    /// The profile that the builder was given.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// Buckets and objects.
    pub fn storage(&self) -> S3Storage {
        S3Storage::new(self.shared.clone())
    }

    /// Tables and items.
    pub fn kv_store(&self) -> DynamoDbStore {
        self.tables.clone()
    }

    /// Queues and messages.
    pub fn queue(&self) -> SqsQueue {
        SqsQueue::new(self.shared.clone())
    }

    /// Topics and subscriptions.
    pub fn pubsub(&self) -> SnsPubSub {
        SnsPubSub::new(self.shared.clone())
    }

    /// All services as trait objects.
    pub fn into_cloud(self) -> DynCloud {
        DynCloud::new(self.context().clone())
            .with_storage(self.storage())
            .with_kv_store(self.kv_store())
            .with_queue(self.queue())
            .with_pubsub(self.pubsub())
    }

    /// A client of the SDK, for what the services have no method for: `aws_sdk_s3::Client`, `aws_sdk_dynamodb::Client`,
    /// `aws_sdk_sqs::Client` or `aws_sdk_sns::Client`.
    pub fn inner<T: Any>(&self) -> Option<&T> {
        let clients: [&dyn Any; 4] =
            [&self.shared.s3, &self.shared.dynamodb, &self.shared.sqs, &self.shared.sns];
        clients.into_iter().find_map(|client| client.downcast_ref())
    }
}

impl Deref for AwsClient {
    type Target = CloudContext;

    fn deref(&self) -> &CloudContext {
        self.context()
    }
}

impl fmt::Debug for AwsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsClient").field("context", self.context()).finish_non_exhaustive()
    }
}

/// A setting of the environment that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An endpoint without what the SDK would put into every path.
fn checked(endpoint: &str) -> CloudResult<&str> {
    let url = endpoint.trim_end_matches('/');
    let place = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let is_place = place.is_some_and(|place| !place.is_empty() && !place.contains(['/', '?', '#', '@']));
    if is_place {
        return Ok(url);
    }
    Err(CloudError::Config(format!("the endpoint {endpoint:?} is no http:// or https:// with a host alone")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudkit_core::api::Service;

    #[tokio::test]
    async fn a_client_is_built_without_server_and_credentials() {
        let client = AwsBuilder::new()
            .region(Region::aws_eu_west_1())
            .endpoint("http://127.0.0.1:1/")
            .profile("nobody")
            .build()
            .await
            .expect("it is built");
        assert_eq!(client.provider(), ProviderType::Aws);
        assert_eq!(client.config.endpoint.as_deref(), Some("http://127.0.0.1:1/"));
        assert_eq!(client.region().code(), "eu-west-1");
        let inner = client.inner::<aws_sdk_s3::Client>().expect("it is there");
        assert_eq!(inner.config().region().map(AsRef::as_ref), Some("eu-west-1"));
        assert!(client.inner::<aws_sdk_sns::Client>().is_some() && client.inner::<String>().is_none());
        let cloud = client.into_cloud();
        assert!(cloud.services().contains(&Service::PubSub));
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_a_configuration_error() {
        for endpoint in ["ftp://host", "http://host/path", "http://", "host", "http://a@b"] {
            let refused = AwsBuilder::new().endpoint(endpoint).build().await.expect_err("it is refused");
            assert!(matches!(refused, CloudError::Config(_)), "{refused:?}");
        }
    }
}
