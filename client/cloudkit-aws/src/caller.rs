//! What all services share: whatever becomes of an operation is told in one place, to the caller as a `Failure` with its facts, to
//! the program's metrics and log, and as a `tracing` span where the settings ask for it.
//! Invariant: every request of a service goes through `run`, so that none is left uncounted.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cloudkit_core::common::{AuthError, CloudError, ErrorDetail, Failure, NetworkError};
use cloudkit_core::core::CloudContext;
use cloudkit_core::spi::{LogEntry, LogLevel, Logger, MetricsCollector, OperationMetrics};
use tokio::time::Instant;
use tracing::Instrument;

use crate::attempt::counted;
use crate::fault::{PROVIDER, failure_of};
use crate::operation::Operation;

/// What a service knows better: what kind a code is there, which resource is meant, and what would help.
pub(crate) type Explain = fn(&Operation<'_>, &mut Failure);

/// What all services of a client have in common.
pub(crate) struct Shared {
    /// What the client was built of.
    pub context: CloudContext,
    /// Where figures go; None: the program named no place, and none are made.
    pub metrics: Option<Arc<dyn MetricsCollector>>,
    /// Where entries go; None: nowhere.
    pub logger: Option<Arc<dyn Logger>>,
    pub s3: aws_sdk_s3::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub sns: aws_sdk_sns::Client,
}

/// Calls one service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Caller {
    pub shared: Arc<Shared>,
    service: &'static str,
    explain: Explain,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("service", &self.service)
            .field("context", &self.shared.context)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// Of a service's name in figures: `s3`, `dynamodb`, `sqs`, `sns`.
    pub fn new(shared: Arc<Shared>, service: &'static str, explain: Explain) -> Caller {
        Caller { shared, service, explain }
    }

    /// Calls. Errors: the last attempt's.
    pub async fn run<T, E>(
        &self,
        operation: &Operation<'_>,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let started = Instant::now();
        let counted = counted(operation.repeat, crate::s3::blank_key_of(operation), call);
        let (outcome, attempts) = if self.shared.context.config.enable_tracing {
            let span = tracing::info_span!("aws", service = self.service, about = %operation);
            counted.instrument(span).await
        } else {
            counted.await
        };
        let duration = started.elapsed();
        match outcome {
            Ok(answer) => {
                self.tell_success(operation, duration, attempts).await;
                Ok(answer)
            }
            Err(error) => {
                let mut failure = failure_of(operation, &error, attempts, duration);
                // Kept across the explanation: only what the service cannot say better is filled in here.
                (self.explain)(operation, &mut failure);
                if failure.detail.hint.is_none() {
                    failure.detail.hint = self.hint(&failure.kind);
                }
                self.tell_failure(operation, duration, &failure).await;
                Err(failure)
            }
        }
    }

    /// A refusal before anything was sent, or of an answer that says something else than it should.
    pub fn refusal(&self, operation: &Operation<'_>, kind: CloudError) -> Failure {
        let mut detail = ErrorDetail::new(PROVIDER, operation.name);
        detail.resource = operation.resource_text();
        let mut failure = Failure::new(kind, detail);
        (self.explain)(operation, &mut failure);
        failure
    }

    /// The same of an argument that breaks a rule.
    pub fn invalid(&self, operation: &Operation<'_>, words: impl Into<String>) -> Failure {
        self.refusal(operation, CloudError::Validation(words.into()))
    }

    /// An answer in another form than the protocol's. `what` says what is missing or wrong.
    pub fn malformed(&self, operation: &Operation<'_>, what: &str) -> Failure {
        let words = format!("the answer to {} cannot be read: {what}", operation.name);
        let mut failure = self.refusal(operation, CloudError::Network(NetworkError::ResponseParsing(words)));
        failure.detail.attempts = 1;
        failure
    }

    /// What would help, as far as that follows from the kind alone.
    fn hint(&self, kind: &CloudError) -> Option<String> {
        let place = self.shared.context.config.endpoint.as_deref().unwrap_or("AWS");
        let hint = match kind {
            CloudError::Auth(AuthError::MissingCredentials(_)) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile(..)".into()
            }
            CloudError::Auth(AuthError::InvalidCredentials(_)) => {
                "these are not keys of this account, or not of this endpoint".into()
            }
            CloudError::Network(NetworkError::Connection(_)) => format!("is {place} reachable from here?"),
            CloudError::Network(NetworkError::DnsResolution(_)) => {
                format!("the endpoint is {place}; endpoint(..) or AWS_ENDPOINT_URL names another one")
            }
            _ => return None,
        };
        Some(hint)
    }

    async fn tell_success(&self, operation: &Operation<'_>, duration: Duration, attempts: u32) {
        if let Some(metrics) = &self.shared.metrics {
            let figures = OperationMetrics::success(PROVIDER, self.service, operation.name, duration)
                .with_retry_count(attempts.saturating_sub(1));
            metrics.record(figures).await;
        }
        // A call that took several attempts is what an operator wants to see; the others are for a search.
        let level = if attempts > 1 { LogLevel::Warn } else { LogLevel::Debug };
        if let Some(logger) = self.logger(level) {
            let words = format!("{operation} succeeded");
            logger.log(self.entry(level, words, operation, duration, attempts)).await;
        }
    }

    async fn tell_failure(&self, operation: &Operation<'_>, duration: Duration, failure: &Failure) {
        let detail = &*failure.detail;
        if let Some(metrics) = &self.shared.metrics {
            let code = detail.code.as_deref().unwrap_or("NoAnswer");
            let mut figures =
                OperationMetrics::failure(PROVIDER, self.service, operation.name, duration, code)
                    .with_retry_count(detail.attempts.saturating_sub(1));
            figures.status_code = detail.status;
            metrics.record(figures).await;
        }
        // What a program may well expect is none of the operator's business.
        let kind = &failure.kind;
        let is_expected = kind.is_not_found() || kind.is_precondition_failed() || kind.is_not_modified();
        let level = if is_expected { LogLevel::Debug } else { LogLevel::Warn };
        if let Some(logger) = self.logger(level) {
            logger.log(self.entry(level, failure.to_string(), operation, duration, detail.attempts)).await;
        }
    }

    fn logger(&self, level: LogLevel) -> Option<&Arc<dyn Logger>> {
        self.shared.logger.as_ref().filter(|logger| logger.is_enabled(level))
    }

    fn entry(
        &self,
        level: LogLevel,
        words: String,
        operation: &Operation<'_>,
        duration: Duration,
        attempts: u32,
    ) -> LogEntry {
        let entry = LogEntry::new(level, words)
            .with_target("cloudkit_aws")
            .with_field("provider", PROVIDER)
            .with_field("service", self.service)
            .with_field("operation", operation.name)
            .with_field("attempts", attempts.to_string())
            .with_field("duration_us", duration.as_micros().to_string());
        match operation.resource_text() {
            Some(resource) => entry.with_field("resource", resource),
            None => entry,
        }
    }
}
