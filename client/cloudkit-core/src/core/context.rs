//! The context of a client: which cloud, its settings, and what the program put in place of the defaults.

use super::cloud::{Connector, DynCloud};
use crate::common::{CloudConfig, CloudError, CloudResult, ProviderType, Region};
use crate::spi::{
    AuthProvider, BoxedAuthProvider, EnvAuthProvider, ExponentialBackoff, MetricsCollector, NoopMetrics,
    RetryPolicy,
};
use std::fmt;
use std::sync::Arc;

/// The context of a client. Cloning shares what the program put in.
#[derive(Clone)]
pub struct CloudContext {
    /// Which cloud.
    pub provider: ProviderType,
    /// Its settings.
    pub config: CloudConfig,
    /// Where credentials come from.
    pub auth_provider: BoxedAuthProvider,
    /// When a call is tried again.
    pub retry_policy: Arc<dyn RetryPolicy>,
    /// Where figures go.
    pub metrics: Arc<dyn MetricsCollector>,
}

impl CloudContext {
    /// A builder for a context of this cloud.
    pub fn builder(provider: ProviderType) -> CloudContextBuilder {
        CloudContextBuilder::new(provider)
    }

    /// Which cloud.
    pub fn provider(&self) -> ProviderType {
        self.provider
    }

    /// Where.
    pub fn region(&self) -> &Region {
        &self.config.region
    }
}

impl fmt::Debug for CloudContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudContext")
            .field("provider", &self.provider)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Builds a [`CloudContext`], or with [`connect`](Self::connect) a cloud. Neither needs a server or credentials.
#[derive(Clone)]
pub struct CloudContextBuilder {
    provider: ProviderType,
    config: CloudConfig,
    auth_provider: Option<BoxedAuthProvider>,
    retry_policy: Option<Arc<dyn RetryPolicy>>,
    metrics: Option<Arc<dyn MetricsCollector>>,
    connector: Option<Arc<dyn Connector>>,
}

impl CloudContextBuilder {
    /// A builder in which nothing is set.
    pub fn new(provider: ProviderType) -> Self {
        Self {
            provider,
            config: CloudConfig::default(),
            auth_provider: None,
            retry_policy: None,
            metrics: None,
            connector: None,
        }
    }

    /// Sets all settings at once.
    pub fn config(mut self, config: CloudConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets where.
    pub fn region(mut self, region: Region) -> Self {
        self.config.region = region;
        self
    }

    /// Sets where the service listens.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.config.endpoint = Some(endpoint.into());
        self
    }

    /// Sets where credentials come from; without it, from the environment.
    pub fn auth_provider<A: AuthProvider + 'static>(mut self, provider: A) -> Self {
        self.auth_provider = Some(Arc::new(provider));
        self
    }

    /// Sets when a call is tried again; without it, an [`ExponentialBackoff`] of as many tries as the settings say.
    pub fn retry_policy<R: RetryPolicy + 'static>(mut self, policy: R) -> Self {
        self.retry_policy = Some(Arc::new(policy));
        self
    }

    /// Sets where figures go; without it, nowhere.
    pub fn metrics<M: MetricsCollector + 'static>(mut self, metrics: M) -> Self {
        self.metrics = Some(Arc::new(metrics));
        self
    }

    /// Sets what makes a cloud of the context. The facade does so; a provider of a program's own does it here.
    pub fn connector<C: Connector + 'static>(mut self, connector: C) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// The context.
    ///
    /// # Errors
    /// None today.
    pub async fn build(self) -> CloudResult<CloudContext> {
        Ok(self.into_context())
    }

    /// The cloud behind the context, as trait objects.
    ///
    /// # Errors
    /// [`CloudError::Config`] when the provider is not part of this program.
    pub async fn connect(mut self) -> CloudResult<DynCloud> {
        match self.connector.take() {
            Some(connector) => connector.connect(self.into_context()).await,
            None => Err(not_linked(self.provider)),
        }
    }

    fn into_context(self) -> CloudContext {
        let tries = self.config.max_retries.max(1);
        CloudContext {
            provider: self.provider,
            auth_provider: self.auth_provider.unwrap_or_else(|| Arc::new(EnvAuthProvider)),
            retry_policy: self.retry_policy.unwrap_or_else(|| Arc::new(ExponentialBackoff::new(tries))),
            metrics: self.metrics.unwrap_or_else(|| Arc::new(NoopMetrics)),
            config: self.config,
        }
    }
}

impl fmt::Debug for CloudContextBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudContextBuilder")
            .field("provider", &self.provider)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The refusal of a provider whose crate is not linked.
fn not_linked(provider: ProviderType) -> CloudError {
    CloudError::Config(format!(
        "no provider of {provider} is part of this context; a builder of the crate cloudkit brings those that it was built with"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Credentials;
    use crate::spi::{NoRetry, StaticAuthProvider};

    #[tokio::test]
    async fn a_context_builds_offline_with_its_defaults() {
        let context = CloudContext::builder(ProviderType::Zero)
            .region(Region::zero_local())
            .endpoint("http://localhost:1")
            .build()
            .await
            .unwrap();
        assert_eq!(context.provider(), ProviderType::Zero);
        assert_eq!(context.region().code(), "local");
        assert_eq!(context.config.endpoint.as_deref(), Some("http://localhost:1"));
        assert_eq!(context.retry_policy.max_attempts(), 3);
    }

    #[tokio::test]
    async fn the_settings_shape_the_default_policy_only() {
        let tries = |retries| CloudConfig { max_retries: retries, ..CloudConfig::default() };
        for (retries, expected) in [(0, 1), (1, 1), (2, 2), (7, 7)] {
            let builder = CloudContextBuilder::new(ProviderType::Aws).config(tries(retries));
            assert_eq!(builder.build().await.unwrap().retry_policy.max_attempts(), expected);
        }
        let builder = CloudContextBuilder::new(ProviderType::Aws).config(tries(7)).retry_policy(NoRetry);
        assert_eq!(builder.build().await.unwrap().retry_policy.max_attempts(), 1);
    }

    #[tokio::test]
    async fn a_shared_provider_plugs_in_as_it_is() {
        let shared: BoxedAuthProvider = Arc::new(StaticAuthProvider::new(Credentials::new("a", "s3cr3t")));
        let builder = CloudContextBuilder::new(ProviderType::Gcp).auth_provider(shared);
        let context = builder.build().await.unwrap();
        assert_eq!(context.auth_provider.get_credentials().await.unwrap().access_key, "a");
        assert!(!format!("{context:?}").contains("s3cr3t"));
    }

    #[tokio::test]
    async fn connecting_without_a_provider_names_it() {
        let refused = CloudContextBuilder::new(ProviderType::Azure).connect().await.unwrap_err();
        assert!(
            matches!(&refused, CloudError::Config(text) if text.contains("no provider of azure")),
            "{refused}"
        );
    }
}
