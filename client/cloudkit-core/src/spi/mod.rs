//! What a program may replace: where credentials come from, when to try again, where metrics and log entries go.

mod auth;
mod budget;
mod forward;
mod logger;
mod metrics;
mod retry;

pub use auth::{AuthProvider, BoxedAuthProvider, EnvAuthProvider, StaticAuthProvider};
pub use budget::RetryBudget;
pub use logger::{LogEntry, LogLevel, Logger, NoopLogger, TracingLogger};
pub use metrics::{LoggingMetrics, MetricsCollector, NoopMetrics, OperationMetrics, OperationOutcome};
pub use retry::{ExponentialBackoff, FixedDelay, NoRetry, RetryDecision, RetryPolicy};
