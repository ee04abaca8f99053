//! Where the figures of operations go.

use async_trait::async_trait;
use std::time::Duration;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationOutcome {
    /// It succeeded.
    Success,
    /// It failed for good.
    Failure,
    /// It failed and is tried again. Only collectors that count tries themselves use it.
    Retry,
}

/// The figures of one operation, all its tries together.
#[derive(Debug, Clone)]
pub struct OperationMetrics {
    /// The provider in lower case.
    pub provider: String,
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// From the first try to the end, waits included.
    pub duration: Duration,
    /// How it ended.
    pub outcome: OperationOutcome,
    /// How many tries followed the first.
    pub retry_count: u32,
    /// How many bytes of bodies went over the wire, both ways.
    pub bytes_transferred: Option<u64>,
    /// The HTTP status of the last answer.
    pub status_code: Option<u16>,
    /// The code of the failure.
    pub error_code: Option<String>,
}

impl OperationMetrics {
    /// The figures of an operation that succeeded at once.
    pub fn success(
        provider: impl Into<String>,
        service: impl Into<String>,
        operation: impl Into<String>,
        duration: Duration,
    ) -> Self {
        Self {
            provider: provider.into(),
            service: service.into(),
            operation: operation.into(),
            duration,
            outcome: OperationOutcome::Success,
            retry_count: 0,
            bytes_transferred: None,
            status_code: None,
            error_code: None,
        }
    }

    /// The figures of an operation that failed at once.
    pub fn failure(
        provider: impl Into<String>,
        service: impl Into<String>,
        operation: impl Into<String>,
        duration: Duration,
        error_code: impl Into<String>,
    ) -> Self {
        Self {
            outcome: OperationOutcome::Failure,
            error_code: Some(error_code.into()),
            ..Self::success(provider, service, operation, duration)
        }
    }

    /// Sets how many tries followed the first.
    pub fn with_retry_count(mut self, count: u32) -> Self {
        self.retry_count = count;
        self
    }

    /// Sets how many bytes went over the wire.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes_transferred = Some(bytes);
        self
    }

    /// Sets the HTTP status.
    pub fn with_status_code(mut self, code: u16) -> Self {
        self.status_code = Some(code);
        self
    }
}

/// Takes the figures. It is awaited at the end of each operation, so it must not wait for anything slow.
#[async_trait]
pub trait MetricsCollector: Send + Sync {
    /// Takes the figures of one operation.
    async fn record(&self, metrics: OperationMetrics);

    /// Adds to a counter.
    async fn increment_counter(&self, name: &str, value: u64, tags: &[(&str, &str)]);

    /// Sets a gauge.
    async fn record_gauge(&self, name: &str, value: f64, tags: &[(&str, &str)]);

    /// Adds a value to a histogram.
    async fn record_histogram(&self, name: &str, value: f64, tags: &[(&str, &str)]);
}

/// Takes all figures and keeps none.
#[derive(Debug, Clone, Default)]
pub struct NoopMetrics;

#[async_trait]
impl MetricsCollector for NoopMetrics {
    async fn record(&self, _metrics: OperationMetrics) {}

    async fn increment_counter(&self, _name: &str, _value: u64, _tags: &[(&str, &str)]) {}

    async fn record_gauge(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}

    async fn record_histogram(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}
}

/// Makes a `tracing` event at level INFO of each figure.
#[derive(Debug, Clone, Default)]
pub struct LoggingMetrics;

#[async_trait]
impl MetricsCollector for LoggingMetrics {
    async fn record(&self, metrics: OperationMetrics) {
        tracing::info!(
            provider = metrics.provider,
            service = metrics.service,
            operation = metrics.operation,
            duration_us = u64::try_from(metrics.duration.as_micros()).unwrap_or(u64::MAX),
            outcome = ?metrics.outcome,
            retries = metrics.retry_count,
            bytes = metrics.bytes_transferred,
            status = metrics.status_code,
            code = metrics.error_code,
            "operation"
        );
    }

    async fn increment_counter(&self, name: &str, value: u64, tags: &[(&str, &str)]) {
        tracing::info!(name, value, ?tags, "counter");
    }

    async fn record_gauge(&self, name: &str, value: f64, tags: &[(&str, &str)]) {
        tracing::info!(name, value, ?tags, "gauge");
    }

    async fn record_histogram(&self, name: &str, value: f64, tags: &[(&str, &str)]) {
        tracing::info!(name, value, ?tags, "histogram");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_start_with_what_is_known() {
        let took = Duration::from_millis(3);
        let good =
            OperationMetrics::success("zero", "s3", "PutObject", took).with_bytes(9).with_retry_count(2);
        assert_eq!((good.outcome, good.retry_count), (OperationOutcome::Success, 2));
        assert_eq!((good.bytes_transferred, good.status_code, good.error_code), (Some(9), None, None));
        let bad =
            OperationMetrics::failure("zero", "s3", "PutObject", took, "SlowDown").with_status_code(503);
        assert_eq!((bad.outcome, bad.duration), (OperationOutcome::Failure, took));
        assert_eq!((bad.status_code, bad.error_code.as_deref()), (Some(503), Some("SlowDown")));
    }
}
