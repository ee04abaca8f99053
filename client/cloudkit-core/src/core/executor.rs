//! Runs an operation until it succeeds, the policy gives up, or the budget is spent, and records what came of it.
//!
//! ```text
//! try --ok--> recorded as success
//!  ^ '--failed, attempt n--> policy --no--> recorded as failure
//!  |                           '--yes--> budget --spent--> recorded as failure
//!  '-------------- wait <------------------'
//! ```

use crate::common::{AuthError, CloudError, CloudResult, NetworkError};
use crate::spi::{
    LogEntry, LogLevel, Logger, MetricsCollector, OperationMetrics, RetryBudget, RetryDecision, RetryPolicy,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Runs the operations of one service: tries again as the policy says, and records each operation once, with its retries.
pub struct OperationExecutor {
    provider: String,
    service: String,
    retry_policy: Arc<dyn RetryPolicy>,
    metrics: Arc<dyn MetricsCollector>,
    budget: Option<Arc<RetryBudget>>,
    logger: Option<Arc<dyn Logger>>,
}

impl OperationExecutor {
    /// An executor for this service, without a budget.
    pub fn new(
        provider: impl Into<String>,
        service: impl Into<String>,
        retry_policy: Arc<dyn RetryPolicy>,
        metrics: Arc<dyn MetricsCollector>,
    ) -> Self {
        Self {
            provider: provider.into(),
            service: service.into(),
            retry_policy,
            metrics,
            budget: None,
            logger: None,
        }
    }

    /// Pays for each retry from this budget; share it among all executors of one service.
    pub fn with_budget(mut self, budget: Arc<RetryBudget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Tells this logger of each retry, at level WARN; without one, `tracing` is told.
    pub fn with_logger(mut self, logger: Arc<dyn Logger>) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Runs the operation, again and again if it fails and may be tried again. Whether it may, in view of what it does, the
    /// caller decides: what must not run twice goes through [`execute_once`](Self::execute_once).
    ///
    /// # Errors
    /// The last failure, with the number of attempts among its facts if it carries any.
    pub async fn execute<F, Fut, T>(&self, operation_name: &str, operation: F) -> CloudResult<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = CloudResult<T>>,
    {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match operation().await {
                Ok(result) => {
                    self.succeeded(operation_name, started, attempt).await;
                    return Ok(result);
                }
                Err(error) => error,
            };
            let Some(delay) = self.delay(&error, attempt) else {
                self.failed(operation_name, started, attempt, &error).await;
                return Err(if attempt > 1 { error.with_attempts(attempt) } else { error });
            };
            self.tell(operation_name, attempt, delay, &error).await;
            tokio::time::sleep(delay).await;
            attempt += 1;
        }
    }

    /// Runs the operation once, whatever comes of it.
    ///
    /// # Errors
    /// The failure.
    pub async fn execute_once<F, Fut, T>(&self, operation_name: &str, operation: F) -> CloudResult<T>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = CloudResult<T>>,
    {
        let started = Instant::now();
        let outcome = operation().await;
        match &outcome {
            Ok(_) => self.succeeded(operation_name, started, 1).await,
            Err(error) => self.failed(operation_name, started, 1, error).await,
        }
        outcome
    }

    /// How long to wait before the next try; `None` if there is none.
    fn delay(&self, error: &CloudError, attempt: u32) -> Option<Duration> {
        if attempt >= self.retry_policy.max_attempts() {
            return None;
        }
        match self.retry_policy.should_retry(error, attempt) {
            RetryDecision::Retry(delay) if self.budget.as_ref().is_none_or(|budget| budget.spend(error)) => {
                Some(delay)
            }
            RetryDecision::Retry(_) | RetryDecision::DoNotRetry => None,
        }
    }

    async fn succeeded(&self, operation: &str, started: Instant, attempts: u32) {
        if let Some(budget) = &self.budget {
            budget.succeeded();
        }
        let figures = OperationMetrics::success(&self.provider, &self.service, operation, started.elapsed());
        self.metrics.record(figures.with_retry_count(attempts - 1)).await;
    }

    async fn failed(&self, operation: &str, started: Instant, attempts: u32, error: &CloudError) {
        let mut figures = OperationMetrics::failure(
            &self.provider,
            &self.service,
            operation,
            started.elapsed(),
            code(error),
        );
        figures.status_code = error.detail().and_then(|detail| detail.status);
        self.metrics.record(figures.with_retry_count(attempts - 1)).await;
    }

    async fn tell(&self, operation: &str, attempt: u32, delay: Duration, error: &CloudError) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let (provider, service) = (&self.provider, &self.service);
        match &self.logger {
            Some(logger) if logger.is_enabled(LogLevel::Warn) => {
                let entry =
                    LogEntry::new(LogLevel::Warn, format!("an operation failed and is tried again: {error}"))
                        .with_target("cloudkit")
                        .with_field("provider", provider)
                        .with_field("service", service)
                        .with_field("operation", operation)
                        .with_field("attempt", attempt.to_string())
                        .with_field("delay_ms", delay_ms.to_string());
                logger.log(entry).await;
            }
            Some(_) => {}
            None => tracing::warn!(
                provider,
                service,
                operation,
                attempt,
                delay_ms,
                %error,
                "an operation failed and is tried again"
            ),
        }
    }
}

/// The provider's code of a failure; where there is none, a word for its variant.
fn code(error: &CloudError) -> String {
    if let Some(code) = error.detail().and_then(|detail| detail.code) {
        return code;
    }
    let word = match error {
        CloudError::Provider { code, .. } => code,
        CloudError::Auth(AuthError::ExpiredCredentials) => "ExpiredCredentials",
        CloudError::Auth(_) => "AuthError",
        CloudError::Network(NetworkError::Tls(_)) => "TlsError",
        CloudError::Network(_) => "NetworkError",
        CloudError::NotFound { .. } => "NotFound",
        CloudError::AlreadyExists { .. } => "AlreadyExists",
        CloudError::Validation(_) => "ValidationError",
        CloudError::RateLimited { .. } => "RateLimited",
        CloudError::ServiceUnavailable { .. } => "ServiceUnavailable",
        CloudError::Timeout { .. } => "Timeout",
        CloudError::Internal(_) => "InternalError",
        CloudError::Config(_) => "ConfigError",
        CloudError::Serialization(_) => "SerializationError",
        CloudError::Io(_) => "IoError",
        CloudError::ServiceError(_) => "ServiceError",
    };
    word.to_owned()
}
