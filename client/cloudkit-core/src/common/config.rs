//! What a program sets once for all services of a cloud.

use super::error::{CloudError, CloudResult};
use super::region::Region;
use super::resource::Metadata;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The settings of a context.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CloudConfig {
    /// Where.
    pub region: Region,
    /// How long connecting may take. A provider may lower the default when nobody set it.
    pub timeout: Duration,
    /// How long one attempt of a request may take.
    pub request_timeout: Duration,
    /// How many tries the default retry policy makes in all; 0 and 1 both mean a single one. Counts like
    /// [`RetryPolicy::max_attempts`](crate::spi::RetryPolicy::max_attempts); without effect on a policy of the program's own.
    pub max_retries: u32,
    /// Whether the provider emits a `tracing` span per operation.
    pub enable_tracing: bool,
    /// Where the service listens, if not where the provider's regions are.
    pub endpoint: Option<String>,
    /// Settings that only one provider knows.
    pub parameters: Metadata,
}

impl Default for CloudConfig {
    fn default() -> Self {
        Self {
            region: Region::default(),
            timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(60),
            max_retries: 3,
            enable_tracing: false,
            endpoint: None,
            parameters: Metadata::new(),
        }
    }
}

impl CloudConfig {
    /// A builder in which nothing is set.
    pub fn builder() -> CloudConfigBuilder {
        CloudConfigBuilder::default()
    }
}

/// Builds a [`CloudConfig`]; what is not set takes its default.
#[derive(Debug, Clone, Default)]
pub struct CloudConfigBuilder {
    config: CloudConfig,
}

impl CloudConfigBuilder {
    /// Where.
    pub fn region(mut self, region: Region) -> Self {
        self.config.region = region;
        self
    }

    /// How long connecting may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long one attempt of a request may take.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// How many tries the default retry policy makes in all.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.config.max_retries = retries;
        self
    }

    /// Whether the provider emits a `tracing` span per operation.
    pub fn enable_tracing(mut self, enabled: bool) -> Self {
        self.config.enable_tracing = enabled;
        self
    }

    /// Where the service listens.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.config.endpoint = Some(endpoint.into());
        self
    }

    /// Adds a setting that only one provider knows.
    pub fn parameter(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.parameters.insert(key.into(), value.into());
        self
    }

    /// Replaces all such settings.
    pub fn parameters(mut self, parameters: Metadata) -> Self {
        self.config.parameters = parameters;
        self
    }

    /// The settings.
    ///
    /// # Errors
    /// [`CloudError::Config`] for a timeout of zero, with which nothing could ever succeed.
    pub fn build(self) -> CloudResult<CloudConfig> {
        if self.config.timeout.is_zero() || self.config.request_timeout.is_zero() {
            return Err(CloudError::Config(String::from("a timeout of zero leaves no time for any request")));
        }
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_takes_its_default() {
        let built = CloudConfig::builder().max_retries(7).parameter("a", "b").build().unwrap();
        assert_eq!(built.max_retries, 7);
        assert_eq!(
            (built.timeout, built.request_timeout),
            (Duration::from_secs(30), Duration::from_secs(60))
        );
        assert_eq!(built.region, Region::aws_us_east_1());
        assert_eq!(built.parameters["a"], "b");
        assert_eq!(built.endpoint, None);
        assert!(!built.enable_tracing);
    }

    #[test]
    fn a_timeout_of_zero_is_refused() {
        let refused = CloudConfig::builder().timeout(Duration::ZERO).build();
        assert!(matches!(refused, Err(CloudError::Config(_))));
        let refused = CloudConfig::builder().request_timeout(Duration::ZERO).build();
        assert!(matches!(refused, Err(CloudError::Config(_))));
    }
}
