//! Where a program begins with this provider: settings, then one client whose services share its connections, keys and figures.
//! Invariant: building asks nobody; server and credentials are looked for at the first call.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloudkit_core::common::{CloudConfig, CloudError, CloudResult, Failure, ProviderType, Region};
use cloudkit_core::core::{CloudContext, DynCloud};
use cloudkit_core::spi::{
    AuthProvider, BoxedAuthProvider, ExponentialBackoff, Logger, MetricsCollector, NoopMetrics, RetryPolicy,
};
use http_types::header::{HeaderMap, HeaderName, HeaderValue};
use http_types::{Method, StatusCode};

use crate::call::{Caller, Request, Settings};
use crate::connect::ConnectOptions;
use crate::credentials::{self, ProcessSurroundings, ProvidedKeys, ZeroAuthProvider};
use crate::dynamodb::ZeroDb;
use crate::iam::ZeroId;
use crate::lambda::ZeroFunc;
use crate::net::ZeroNet;
use crate::pool::PoolOptions;
use crate::retry::Idempotency;
use crate::s3::ZeroStore;
use crate::service::{ANSWER_BYTES_MAX, Operation, ServiceClient, Shared};
use crate::sns::ZeroTopics;
use crate::sqs::ZeroQueue;

/// Builds a [`ZeroClient`]. What is not set is looked for in the environment, then has a default.
///
/// | Setting | Without it |
/// |---|---|
/// | endpoint | `ZERO_URL`, `AWS_ENDPOINT_URL`, `http://localhost:8080` |
/// | auth_provider | `CLOUD_ACCESS_KEY` .., `AWS_ACCESS_KEY_ID` .., the appliance's file of credentials |
/// | region | `us-east-1`, as the appliance itself; `zero/local` and `zero/default` mean the same |
/// | retry_policy | three tries with full jitter |
/// | ca_file, server_name | the system's certificates; the endpoint's host |
/// | connections | up to four |
///
/// `ca_file`, `server_name` and `connections` can be parameters of the [`CloudConfig`] as well.
#[derive(Clone, Default)]
pub struct ZeroBuilder {
    config: CloudConfig,
    auth_provider: Option<BoxedAuthProvider>,
    retry_policy: Option<Arc<dyn RetryPolicy>>,
    metrics: Option<Arc<dyn MetricsCollector>>,
    logger: Option<Arc<dyn Logger>>,
}

impl ZeroBuilder {
    /// A builder in which nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets all settings at once.
    pub fn config(mut self, config: CloudConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the region that stands in signatures.
    pub fn region(mut self, region: Region) -> Self {
        self.config.region = region;
        self
    }

    /// Sets where the appliance listens: `http://host:8080`, `https://host`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.config.endpoint = Some(endpoint.into());
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

    /// Sets where figures go; each request is one operation.
    pub fn metrics<M: MetricsCollector + 'static>(mut self, metrics: M) -> Self {
        self.metrics = Some(Arc::new(metrics));
        self
    }

    /// Sets where log entries go: failures and calls that needed several tries at WARN, everything else at DEBUG.
    pub fn logger<L: Logger + 'static>(mut self, logger: L) -> Self {
        self.logger = Some(Arc::new(logger));
        self
    }

    /// Sets the file of certificates, PEM, to trust instead of the system's.
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.parameter(CA_FILE, path.into().display().to_string())
    }

    /// Sets the name that the appliance's certificate has, where it is not the endpoint's host.
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.parameter(SERVER_NAME, name.into())
    }

    /// Sets how many connections there are at most; for load, as many as the appliance has shards. 1 to 1,024.
    pub fn connections(self, count: usize) -> Self {
        self.parameter(CONNECTIONS, count.to_string())
    }

    fn parameter(mut self, name: &str, value: String) -> Self {
        self.config.parameters.insert(name.to_string(), value);
        self
    }

    /// The client. It needs neither server nor credentials.
    ///
    /// # Errors
    /// [`CloudError::Config`] for an endpoint or a parameter that cannot be used.
    pub async fn build(self) -> CloudResult<ZeroClient> {
        let ZeroBuilder { config, auth_provider, retry_policy, metrics, logger } = self;
        let tries = config.max_retries.max(1);
        let context = CloudContext {
            provider: ProviderType::Zero,
            auth_provider: auth_provider.unwrap_or_else(|| Arc::new(ZeroAuthProvider)),
            retry_policy: retry_policy.unwrap_or_else(|| Arc::new(ExponentialBackoff::new(tries))),
            metrics: metrics.clone().unwrap_or_else(|| Arc::new(NoopMetrics)),
            config,
        };
        ZeroClient::of(context, metrics, logger)
    }
}

impl fmt::Debug for ZeroBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A ZeroCloud appliance. Clones and all services share its connections.
#[derive(Clone)]
pub struct ZeroClient {
    shared: Arc<Shared>,
    /// One for all handles: it keeps what it knows of tables.
    tables: ZeroDb,
}

impl ZeroClient {
    /// A builder in which nothing is set.
    pub fn builder() -> ZeroBuilder {
        ZeroBuilder::new()
    }

    /// The client of a context; where that names no endpoint, the environment does.
    ///
    /// # Errors
    /// [`CloudError::Config`] for an endpoint or a parameter that cannot be used.
    pub fn from_context(context: CloudContext) -> CloudResult<ZeroClient> {
        let metrics = Some(context.metrics.clone());
        ZeroClient::of(context, metrics, None)
    }

    fn of(
        mut context: CloudContext,
        metrics: Option<Arc<dyn MetricsCollector>>,
        logger: Option<Arc<dyn Logger>>,
    ) -> CloudResult<ZeroClient> {
        let config = &mut context.config;
        let url = config.endpoint.get_or_insert_with(|| credentials::endpoint_url(&ProcessSurroundings));
        let url = url.trim_end_matches('/').to_string();
        let keys =
            ProvidedKeys { provider: context.auth_provider.clone(), clock: std::time::SystemTime::now };
        let settings = Settings {
            region: signed_region(&context.config.region).to_string(),
            connect: connect_options(&context.config),
            pool: pool_options(&context.config)?,
            attempt: context.config.request_timeout,
            policy: context.retry_policy.clone(),
            ..Settings::new(url, Arc::new(keys))
        };
        let caller =
            Caller::new(settings).map_err(|error| CloudError::Config(error.message().to_string()))?;
        Ok(ZeroClient::sharing(Shared { caller, context, metrics, logger }))
    }

    /// A client over a transport that a test made.
    #[cfg(test)]
    pub(crate) fn over(
        caller: Caller,
        metrics: Option<Arc<dyn MetricsCollector>>,
        logger: Option<Arc<dyn Logger>>,
    ) -> ZeroClient {
        let context = CloudContext {
            provider: ProviderType::Zero,
            auth_provider: Arc::new(ZeroAuthProvider),
            retry_policy: caller.settings().policy.clone(),
            metrics: metrics.clone().unwrap_or_else(|| Arc::new(NoopMetrics)),
            config: CloudConfig { enable_tracing: true, ..CloudConfig::default() },
        };
        ZeroClient::sharing(Shared { caller, context, metrics, logger })
    }

    fn sharing(shared: Shared) -> ZeroClient {
        let shared = Arc::new(shared);
        ZeroClient { tables: ZeroDb::new(shared.clone()), shared }
    }

    /// What the client was built of, the endpoint that was found included.
    pub fn context(&self) -> &CloudContext {
        &self.shared.context
    }

    /// Buckets and objects.
    pub fn storage(&self) -> ZeroStore {
        ZeroStore::new(self.shared.clone())
    }

    /// Tables and items.
    pub fn kv_store(&self) -> ZeroDb {
        self.tables.clone()
    }

    /// Queues and messages.
    pub fn queue(&self) -> ZeroQueue {
        ZeroQueue::new(self.shared.clone())
    }

    /// Topics and subscriptions.
    pub fn pubsub(&self) -> ZeroTopics {
        ZeroTopics::new(self.shared.clone())
    }

    /// Functions: not there yet, as its `capabilities()` say.
    pub fn functions(&self) -> ZeroFunc {
        ZeroFunc
    }

    /// Users, groups and sign-in: not there yet, as its `capabilities()` say.
    pub fn identity(&self) -> ZeroId {
        ZeroId
    }

    /// Networks: not there yet, as its `capabilities()` say.
    pub fn networking(&self) -> ZeroNet {
        ZeroNet
    }

    /// All services as trait objects.
    pub fn into_cloud(self) -> DynCloud {
        DynCloud::new(self.context().clone())
            .with_storage(self.storage())
            .with_kv_store(self.kv_store())
            .with_queue(self.queue())
            .with_pubsub(self.pubsub())
            .with_functions(self.functions())
            .with_identity(self.identity())
            .with_networking(self.networking())
    }

    /// What lies below: the [`Caller`], which sends any request to any service.
    pub fn inner<T: Any>(&self) -> Option<&T> {
        (&self.shared.caller as &dyn Any).downcast_ref()
    }

    /// A signed request of a program's own, for what the services have no method for. `service` is the name in signatures
    /// (`s3`, `dynamodb`, `sqs`, `sns`), `path` is percent-encoded, without a query.
    ///
    /// ```
    /// # async fn show(client: cloudkit_zero::ZeroClient) -> cloudkit_core::common::CloudResult<()> {
    /// let answer = client.request("s3", "GET", "/logs").query("location", "").send().await?;
    /// println!("{}: {} bytes", answer.status, answer.body.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&self, service: &'static str, method: &str, path: impl Into<String>) -> RawRequest {
        let method = Method::from_bytes(method.as_bytes());
        let is_bad = method.is_err();
        let mut request = Request::new(service, method.unwrap_or_default(), path);
        // Nobody here knows what it does.
        request.idempotency = match request.method {
            Method::GET | Method::HEAD | Method::OPTIONS => Idempotency::Always,
            _ => Idempotency::IfNotSent,
        };
        let refused = is_bad.then(|| String::from("the method is none of HTTP"));
        RawRequest { shared: self.shared.clone(), request, refused }
    }
}

impl Deref for ZeroClient {
    type Target = CloudContext;

    fn deref(&self) -> &CloudContext {
        self.context()
    }
}

impl fmt::Debug for ZeroClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroClient").field("context", self.context()).finish_non_exhaustive()
    }
}

/// A request of a program's own.
#[derive(Debug)]
#[must_use = "it is sent by `send`"]
pub struct RawRequest {
    shared: Arc<Shared>,
    request: Request,
    refused: Option<String>,
}

impl RawRequest {
    /// Adds a pair to the query; both are encoded here.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.request.query.push(name, value);
        self
    }

    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.request.headers.insert(name, value)),
            _ => self.refused = Some(format!("the header {name:?} cannot be sent")),
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.request.body = body.into().into();
        self
    }

    /// Says that sending it twice does the same as once, so that it may be tried again.
    pub fn idempotent(mut self) -> Self {
        self.request.idempotency = Idempotency::Always;
        self
    }

    /// Sends it, signed, and takes an answer of up to 32 MiB.
    ///
    /// # Errors
    /// What the service refuses with; [`CloudError::Validation`] for a method or a header that cannot be sent.
    pub async fn send(self) -> Result<RawAnswer, Failure> {
        let RawRequest { shared, request, refused } = self;
        let client = ServiceClient::new(shared, request.service, |_, _| ());
        let path = request.path.clone();
        let operation = Operation::on("Request", &path);
        if let Some(why) = refused {
            return Err(client.refusal(&operation, CloudError::Validation(why)));
        }
        let whole = client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        Ok(RawAnswer { status: whole.status, headers: whole.headers, body: whole.body })
    }
}

/// The answer to a request of a program's own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RawAnswer {
    /// A success.
    pub status: StatusCode,
    /// Of its head.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// The region in signatures. The appliance is in `us-east-1` unless its configuration says otherwise, and both names that
/// the core has for it mean just that.
fn signed_region(region: &Region) -> &str {
    match (region.provider(), region.code()) {
        ("zero", "local" | "default") => "us-east-1",
        (_, code) => code,
    }
}

fn connect_options(config: &CloudConfig) -> ConnectOptions {
    // The old default is what AWS needs over the world; nobody waits 30 s for a machine of his own.
    let is_set = config.timeout != CloudConfig::default().timeout;
    let timeout = if is_set { config.timeout } else { CONNECT_TIMEOUT };
    let parameter = |name: &str| config.parameters.get(name).filter(|value| !value.is_empty());
    ConnectOptions {
        timeout,
        ca_file: parameter(CA_FILE).map(PathBuf::from),
        server_name: parameter(SERVER_NAME).cloned(),
    }
}

fn pool_options(config: &CloudConfig) -> CloudResult<PoolOptions> {
    let defaults = PoolOptions::default();
    let Some(text) = config.parameters.get(CONNECTIONS) else { return Ok(defaults) };
    match text.parse() {
        Ok(connections_max @ 1..=CONNECTIONS_MAX) => Ok(PoolOptions { connections_max, ..defaults }),
        _ => Err(CloudError::Config(format!(
            "connections is {text:?}, not a number from 1 to {CONNECTIONS_MAX}"
        ))),
    }
}

const CA_FILE: &str = "ca_file";
const SERVER_NAME: &str = "server_name";
const CONNECTIONS: &str = "connections";
const CONNECTIONS_MAX: usize = 1_024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use cloudkit_core::api::Service;

    async fn built(builder: ZeroBuilder) -> ZeroClient {
        builder.endpoint("http://127.0.0.1:1/").build().await.expect("it is built")
    }

    #[tokio::test]
    async fn a_client_is_built_without_server_and_credentials() {
        let client = built(ZeroBuilder::new()).await;
        assert_eq!(client.provider(), ProviderType::Zero);
        assert_eq!(client.config.endpoint.as_deref(), Some("http://127.0.0.1:1/"));
        assert_eq!(client.retry_policy.max_attempts(), 3);
        assert!(client.inner::<Caller>().is_some() && client.inner::<String>().is_none());
        let settings = client.shared.caller.settings();
        assert_eq!((settings.url.as_str(), settings.region.as_str()), ("http://127.0.0.1:1", "us-east-1"));
        assert_eq!(settings.connect.timeout, CONNECT_TIMEOUT);
    }

    #[tokio::test]
    async fn settings_reach_the_transport() {
        let config = CloudConfig::builder().timeout(Duration::from_secs(7)).max_retries(9);
        let config = config.request_timeout(Duration::from_secs(8)).build().expect("it is good");
        let builder = ZeroBuilder::new().config(config).region(Region::new("zero", "eu-west-1", ""));
        let client = built(builder.connections(2).ca_file("/ca.pem").server_name("zc")).await;
        let settings = client.shared.caller.settings();
        assert_eq!((settings.pool.connections_max, settings.region.as_str()), (2, "eu-west-1"));
        assert_eq!(settings.connect.ca_file.as_deref(), Some(std::path::Path::new("/ca.pem")));
        assert_eq!(settings.connect.server_name.as_deref(), Some("zc"));
        assert_eq!((settings.connect.timeout.as_secs(), settings.attempt.as_secs()), (7, 8));
        assert_eq!(settings.policy.max_attempts(), 9);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_a_configuration_error() {
        for builder in [
            ZeroBuilder::new().endpoint("ftp://host"),
            ZeroBuilder::new().endpoint("http://host/path"),
            ZeroBuilder::new().endpoint("http://host").connections(0),
            ZeroBuilder::new().endpoint("http://host").connections(CONNECTIONS_MAX + 1),
        ] {
            let refused = builder.build().await.expect_err("it is refused");
            assert!(matches!(refused, CloudError::Config(_)), "{refused:?}");
        }
    }

    #[test]
    fn the_names_of_the_core_for_an_appliance_sign_as_it_does() {
        assert_eq!(signed_region(&Region::zero_local()), "us-east-1");
        assert_eq!(signed_region(&Region::zero_default()), "us-east-1");
        assert_eq!(signed_region(&Region::default()), "us-east-1");
        assert_eq!(signed_region(&Region::aws_eu_west_1()), "eu-west-1");
    }

    #[tokio::test]
    async fn a_cloud_has_the_services_and_names_those_that_do_nothing_yet() {
        let cloud = built(ZeroBuilder::new()).await.into_cloud();
        assert!(cloud.services().contains(&Service::ObjectStorage));
        let functions = cloud.functions().expect("its trait is there");
        let refused = functions.dyn_function_exists("f").await.expect_err("it is not there yet");
        assert!(refused.is_unsupported(), "{refused}");
        assert!(!functions.dyn_capabilities().supports("invoke"));
    }
}
