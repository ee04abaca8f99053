//! What all services share: an operation has a name and something that it is about, and whatever becomes of it is told in one place:
//! to the caller as a `Failure` with its facts, to the program's metrics and log, and as a `tracing` span where the settings ask for it.
//! Invariant: every request of a service goes through `start` or `whole`, so that none is left uncounted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cloudkit_core::common::{AuthError, CloudError, ErrorDetail, Failure, NetworkError};
use cloudkit_core::core::CloudContext;
use cloudkit_core::spi::{LogEntry, LogLevel, Logger, MetricsCollector, OperationMetrics};
use tokio::time::Instant;
use tracing::Instrument;

use crate::call::{Answered, CallError, Caller, Cause, Request, Whole};
use crate::error::{WireError, WireKind};
use crate::failure::PROVIDER;

/// What is done, and to what. The resource becomes text only when something is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Amazon's word: `PutObject`.
    pub name: &'static str,
    /// What it is about.
    pub resource: Resource<'a>,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The whole service.
    Service,
    /// A bucket, a table, a queue, a topic.
    One(&'a str),
    /// An object of a bucket, an item of a table.
    Inside(&'a str, &'a str),
}

impl<'a> Operation<'a> {
    /// On the whole service: `ListBuckets`.
    pub fn new(name: &'static str) -> Operation<'a> {
        Operation { name, resource: Resource::Service }
    }

    /// On a bucket, a table, a queue, a topic.
    pub fn on(name: &'static str, resource: &'a str) -> Operation<'a> {
        Operation { name, resource: Resource::One(resource) }
    }

    /// On something inside: `Inside("bucket", "key")` reads `bucket/key`.
    pub fn inside(name: &'static str, outer: &'a str, inner: &'a str) -> Operation<'a> {
        Operation { name, resource: Resource::Inside(outer, inner) }
    }

    fn resource_text(&self) -> Option<String> {
        match self.resource {
            Resource::Service => None,
            Resource::One(one) => Some(one.to_string()),
            Resource::Inside(outer, inner) => Some([outer, "/", inner].concat()),
        }
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.resource {
            Resource::Service => Ok(()),
            Resource::One(one) => write!(f, " {one}"),
            Resource::Inside(outer, inner) => write!(f, " {outer}/{inner}"),
        }
    }
}

/// What a service knows better than the transport: what kind a code is there, which resource is meant, and what would help.
/// It may change everything of the failure; a hint that it leaves empty is filled by `ServiceClient`.
pub type Explain = fn(&Operation<'_>, &mut Failure);

/// Calls one service. Clones share everything.
#[derive(Clone)]
pub struct ServiceClient {
    shared: Arc<Shared>,
    service: &'static str,
    explain: Explain,
}

/// What all services of a client have in common.
pub struct Shared {
    /// Calls the endpoint.
    pub caller: Caller,
    /// What the client was built of.
    pub context: CloudContext,
    /// Where figures go; None: the program named no place, and none are made.
    pub metrics: Option<Arc<dyn MetricsCollector>>,
    /// Where entries go; None: nowhere.
    pub logger: Option<Arc<dyn Logger>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("context", &self.context).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceClient({} at {:?})", self.service, self.shared.caller)
    }
}

impl ServiceClient {
    /// Of a service's name in figures: `s3`, `dynamodb`, `sqs`, `sns`.
    pub fn new(shared: Arc<Shared>, service: &'static str, explain: Explain) -> ServiceClient {
        ServiceClient { shared, service, explain }
    }

    /// What calls.
    pub fn caller(&self) -> &Caller {
        &self.shared.caller
    }

    /// What the client was built of.
    pub fn context(&self) -> &CloudContext {
        &self.shared.context
    }

    /// The code of the region in which the service is.
    pub fn region_code(&self) -> &str {
        &self.shared.caller.settings().region
    }

    /// Calls; the answer's body may still be on its way. Errors: the last attempt's.
    pub async fn start(&self, operation: &Operation<'_>, request: Request) -> Result<Answered, Failure> {
        let sent_bytes = request.body.length().unwrap_or(0);
        let call = self.shared.caller.call(request);
        self.told(operation, sent_bytes, call, |answered| {
            (answered.attempts, answered.reply.status.as_u16(), 0)
        })
        .await
    }

    /// Calls and takes the whole body. Errors: the last attempt's, and a body of more than `bytes_max`.
    pub async fn whole(
        &self,
        operation: &Operation<'_>,
        request: Request,
        bytes_max: usize,
    ) -> Result<Whole, Failure> {
        let sent_bytes = request.body.length().unwrap_or(0);
        let call = self.shared.caller.call_whole(request, bytes_max);
        self.told(operation, sent_bytes, call, |whole| {
            (whole.attempts, whole.status.as_u16(), whole.body.len() as u64)
        })
        .await
    }

    /// The failure of a call.
    pub fn failure(&self, operation: &Operation<'_>, error: CallError) -> Failure {
        let hint = hint_of(&error, &self.shared);
        let is_unsent = matches!(&error.cause, Cause::Wire(wire)
            if matches!(wire.kind(), WireKind::Config | WireKind::Credentials));
        let mut failure = error.into_failure(operation.name, operation.resource_text(), None);
        if is_unsent {
            failure.detail.attempts = 0;
        }
        (self.explain)(operation, &mut failure);
        if failure.detail.hint.is_none() {
            failure.detail.hint = hint;
        }
        failure
    }

    /// The failure of something on the wire outside a call: an answer that cannot be read, a URL that cannot be signed.
    pub fn wire_failure(&self, operation: &Operation<'_>, attempts: u32, error: WireError) -> Failure {
        self.failure(operation, CallError { attempts, cause: Cause::Wire(error) })
    }

    /// A refusal before anything was sent, or of an answer that says something else than it should.
    pub fn refusal(&self, operation: &Operation<'_>, kind: CloudError) -> Failure {
        let mut detail = ErrorDetail::new(PROVIDER, operation.name);
        detail.resource = operation.resource_text();
        let mut failure = Failure::new(kind, detail);
        (self.explain)(operation, &mut failure);
        failure
    }

    /// An answer in another form than the protocol's. `what` says what is missing or wrong.
    pub fn malformed(&self, operation: &Operation<'_>, what: &str) -> Failure {
        let words = format!("the answer to {} cannot be read: {what}", operation.name);
        let mut failure = self.refusal(operation, CloudError::Network(NetworkError::ResponseParsing(words)));
        failure.detail.attempts = 1;
        failure
    }

    /// Runs a call in its span, and tells of it what it has to.
    async fn told<T>(
        &self,
        operation: &Operation<'_>,
        sent_bytes: u64,
        call: impl Future<Output = Result<T, CallError>>,
        facts: impl FnOnce(&T) -> (u32, u16, u64),
    ) -> Result<T, Failure> {
        let shared = &*self.shared;
        let started = shared.is_watched().then(Instant::now);
        let outcome = if shared.context.config.enable_tracing {
            let service = self.service;
            let span = tracing::info_span!("zero", service, operation = operation.name, about = %operation);
            call.instrument(span).await
        } else {
            call.await
        };
        let outcome = match outcome {
            Ok(answer) => Ok((facts(&answer), answer)),
            Err(error) => Err(self.failure(operation, error)),
        };
        if let Some(started) = started {
            let duration = started.elapsed();
            match &outcome {
                Ok(((attempts, status, bytes), _)) => {
                    let bytes = sent_bytes + bytes;
                    self.tell_success(operation, duration, *attempts, *status, bytes).await;
                }
                Err(failure) => self.tell_failure(operation, duration, failure).await,
            }
        }
        outcome.map(|(_, answer)| answer)
    }

    async fn tell_success(
        &self,
        operation: &Operation<'_>,
        duration: Duration,
        attempts: u32,
        status: u16,
        bytes: u64,
    ) {
        if let Some(metrics) = &self.shared.metrics {
            let figures = OperationMetrics::success(PROVIDER, self.service, operation.name, duration)
                .with_retry_count(attempts.saturating_sub(1))
                .with_status_code(status)
                .with_bytes(bytes);
            metrics.record(figures).await;
        }
        // A call that took several attempts is what an operator wants to see; the others are for a search.
        let level = if attempts > 1 { LogLevel::Warn } else { LogLevel::Debug };
        if let Some(logger) = self.logger(level) {
            let words = format!("{operation} succeeded");
            let entry = self.entry(level, words, operation, duration, attempts);
            logger.log(entry.with_field("status", status.to_string())).await;
        }
    }

    async fn tell_failure(&self, operation: &Operation<'_>, duration: Duration, failure: &Failure) {
        let detail = &*failure.detail;
        if let Some(metrics) = &self.shared.metrics {
            let code = detail.code.as_deref().unwrap_or_else(|| word_of(&failure.kind));
            let mut figures =
                OperationMetrics::failure(PROVIDER, self.service, operation.name, duration, code)
                    .with_retry_count(detail.attempts.saturating_sub(1));
            figures.status_code = detail.status;
            metrics.record(figures).await;
        }
        // What a program may well expect is none of the operator's business.
        let is_expected = failure.kind.is_not_found()
            || failure.kind.is_precondition_failed()
            || failure.kind.is_not_modified();
        let level = if is_expected { LogLevel::Debug } else { LogLevel::Warn };
        if let Some(logger) = self.logger(level) {
            let entry = self.entry(level, failure.to_string(), operation, duration, detail.attempts);
            logger.log(entry).await;
        }
    }

    fn logger(&self, level: LogLevel) -> Option<&Arc<dyn Logger>> {
        self.shared.logger.as_ref().filter(|logger| logger.is_enabled(level))
    }

    fn entry(
        &self,
        level: LogLevel,
        words: impl Into<String>,
        operation: &Operation<'_>,
        duration: Duration,
        attempts: u32,
    ) -> LogEntry {
        let entry = LogEntry::new(level, words)
            .with_target("cloudkit_zero")
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

impl Shared {
    fn is_watched(&self) -> bool {
        self.metrics.is_some() || self.logger.is_some()
    }
}

/// What would help, as far as that follows from the transport alone.
fn hint_of(error: &CallError, shared: &Shared) -> Option<String> {
    let url = &shared.caller.settings().url;
    let (kind, code) = match &error.cause {
        Cause::Wire(wire) => (error.cause.kind(), wire.message()),
        Cause::Fault(fault) => (error.cause.kind(), fault.code.as_str()),
    };
    let hint = match (&kind, code) {
        (_, "AuthorizationHeaderMalformed") => {
            "give the builder the region of the appliance, such as region(Region::new(\"zero\", \"eu-west-1\", \"\"))".into()
        }
        (_, "RequestTimeTooSkewed") => "set this machine's clock".into(),
        (CloudError::Auth(AuthError::MissingCredentials(_)), _) => {
            "set CLOUD_ACCESS_KEY and CLOUD_SECRET_KEY, or ZERO_CREDENTIALS_FILE=<data directory>/credentials"
                .into()
        }
        (CloudError::Auth(AuthError::InvalidCredentials(_)), _) => {
            "take the keys from the file `credentials` in the data directory of this appliance".into()
        }
        (CloudError::Network(NetworkError::Connection(_)), _) => {
            format!("is an appliance listening at {url}? `zerocloud serve` starts one")
        }
        (CloudError::Network(NetworkError::Tls(_)), _) => {
            "trust the appliance's certificate with ca_file(..), or name it with server_name(..)".into()
        }
        (CloudError::Network(NetworkError::DnsResolution(_)), _) => {
            format!("the endpoint is {url}; endpoint(..) or ZERO_URL names another one")
        }
        _ => return None,
    };
    Some(hint)
}

/// A word for a failure that has no code.
fn word_of(kind: &CloudError) -> &'static str {
    match kind {
        CloudError::Auth(_) => "AuthError",
        CloudError::Network(_) => "NetworkError",
        CloudError::NotFound { .. } => "NotFound",
        CloudError::AlreadyExists { .. } => "AlreadyExists",
        CloudError::Validation(_) => "ValidationError",
        CloudError::RateLimited { .. } => "RateLimited",
        CloudError::ServiceUnavailable { .. } => "ServiceUnavailable",
        CloudError::Timeout { .. } => "Timeout",
        CloudError::Provider { .. } => "ProviderError",
        CloudError::Internal(_) => "InternalError",
        CloudError::Config(_) => "ConfigError",
        CloudError::Serialization(_) => "SerializationError",
        CloudError::Io(_) => "IoError",
        CloudError::ServiceError(_) => "ServiceError",
    }
}

/// Bodies of answers that are read whole are bounded by this, unless the service says otherwise: a page of a listing, a batch.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
