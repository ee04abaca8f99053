//! Every extension point through an `Arc`: what is shared plugs in where the thing itself would.

use super::{AuthProvider, LogEntry, LogLevel, Logger, MetricsCollector, OperationMetrics};
use super::{RetryDecision, RetryPolicy};
use crate::common::{CloudError, CloudResult, Credentials};
use async_trait::async_trait;
use std::sync::Arc;

#[async_trait]
impl<P: AuthProvider + ?Sized> AuthProvider for Arc<P> {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        (**self).get_credentials().await
    }

    async fn refresh_credentials(&self) -> CloudResult<Credentials> {
        (**self).refresh_credentials().await
    }

    async fn is_valid(&self) -> bool {
        (**self).is_valid().await
    }
}

impl<P: RetryPolicy + ?Sized> RetryPolicy for Arc<P> {
    fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision {
        (**self).should_retry(error, attempt)
    }

    fn max_attempts(&self) -> u32 {
        (**self).max_attempts()
    }
}

#[async_trait]
impl<C: MetricsCollector + ?Sized> MetricsCollector for Arc<C> {
    async fn record(&self, metrics: OperationMetrics) {
        (**self).record(metrics).await;
    }

    async fn increment_counter(&self, name: &str, value: u64, tags: &[(&str, &str)]) {
        (**self).increment_counter(name, value, tags).await;
    }

    async fn record_gauge(&self, name: &str, value: f64, tags: &[(&str, &str)]) {
        (**self).record_gauge(name, value, tags).await;
    }

    async fn record_histogram(&self, name: &str, value: f64, tags: &[(&str, &str)]) {
        (**self).record_histogram(name, value, tags).await;
    }
}

#[async_trait]
impl<L: Logger + ?Sized> Logger for Arc<L> {
    async fn log(&self, entry: LogEntry) {
        (**self).log(entry).await;
    }

    fn is_enabled(&self, level: LogLevel) -> bool {
        (**self).is_enabled(level)
    }
}
