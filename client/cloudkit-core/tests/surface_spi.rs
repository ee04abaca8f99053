//! The surface that programs compile against, part two: the layers `spi` and `core`.

use async_trait::async_trait;
use cloudkit_core::common::{CloudError, CloudResult, Credentials};
use cloudkit_core::core::OperationExecutor;
use cloudkit_core::spi::*;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

fn data<T: Debug + Clone + Send + Sync + 'static>() {}
fn word<T: Debug + Clone + Copy + Eq + Send + Sync + 'static>() {}

#[test]
fn derives_are_there() {
    data::<StaticAuthProvider>();
    data::<RetryDecision>();
    data::<ExponentialBackoff>();
    data::<NoRetry>();
    data::<FixedDelay>();
    data::<OperationMetrics>();
    data::<NoopMetrics>();
    data::<LoggingMetrics>();
    data::<LogEntry>();
    data::<TracingLogger>();
    data::<NoopLogger>();
    word::<OperationOutcome>();
    word::<LogLevel>();
    fn ordered<T: Ord + Default>() {}
    ordered::<LogLevel>();
    fn shown<T: Debug + Default>() {}
    shown::<EnvAuthProvider>();
    shown::<NoRetry>();
    shown::<NoopMetrics>();
    shown::<LoggingMetrics>();
    shown::<NoopLogger>();
    shown::<TracingLogger>();
    let _: BoxedAuthProvider = Arc::new(EnvAuthProvider) as Arc<dyn AuthProvider>;
}

struct Own;

#[async_trait]
impl AuthProvider for Own {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        Ok(Credentials::new("a", "b"))
    }
}

/// Without the attribute; `Other` has it. Both forms exist in programs.
impl RetryPolicy for Own {
    fn should_retry(&self, _error: &CloudError, _attempt: u32) -> RetryDecision {
        RetryDecision::Retry(Duration::ZERO)
    }

    fn max_attempts(&self) -> u32 {
        4
    }
}

struct Other;

#[async_trait]
impl AuthProvider for Other {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        self.refresh_credentials().await
    }

    async fn refresh_credentials(&self) -> CloudResult<Credentials> {
        Ok(Credentials::new("new", "b"))
    }

    async fn is_valid(&self) -> bool {
        false
    }
}

#[async_trait]
impl RetryPolicy for Other {
    fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision {
        match NoRetry.should_retry(error, attempt) {
            RetryDecision::Retry(delay) => RetryDecision::Retry(delay),
            RetryDecision::DoNotRetry => RetryDecision::DoNotRetry,
        }
    }

    fn max_attempts(&self) -> u32 {
        1
    }
}

#[async_trait]
impl MetricsCollector for Own {
    async fn record(&self, metrics: OperationMetrics) {
        drop(metrics);
    }

    async fn increment_counter(&self, _name: &str, _value: u64, _tags: &[(&str, &str)]) {}

    async fn record_gauge(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}

    async fn record_histogram(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}
}

#[async_trait]
impl Logger for Own {
    async fn log(&self, entry: LogEntry) {
        drop(entry);
    }

    fn is_enabled(&self, level: LogLevel) -> bool {
        level > LogLevel::Debug
    }
}

#[tokio::test]
async fn a_programs_own_parts_plug_in_directly_and_shared() {
    async fn key<A: AuthProvider>(auth: A) -> (bool, String) {
        (auth.is_valid().await, auth.refresh_credentials().await.unwrap().access_key)
    }
    assert_eq!(key(Own).await, (true, "a".into()));
    assert_eq!(key(Other).await, (false, "new".into()));
    assert_eq!(
        key(Arc::new(Other)).await,
        (false, "new".into()),
        "an Arc forwards the overridden methods too"
    );
    let object: Arc<dyn AuthProvider> = Arc::new(Other);
    assert_eq!(key(object).await, (false, "new".into()));

    let policies: [Arc<dyn RetryPolicy>; 3] = [Arc::new(Own), Arc::new(Other), Arc::new(Arc::new(Own))];
    assert_eq!(policies.map(|policy| policy.max_attempts()), [4, 1, 4]);

    async fn used<M: MetricsCollector>(metrics: M) {
        metrics.record(OperationMetrics::success("p", "s", "o", Duration::ZERO)).await;
        metrics.increment_counter("n", 1, &[("a", "b")]).await;
        metrics.record_gauge("n", 1.0, &[]).await;
        metrics.record_histogram("n", 1.0, &[]).await;
    }
    used(Own).await;
    used(Arc::new(Own) as Arc<dyn MetricsCollector>).await;
    used(NoopMetrics).await;
    used(LoggingMetrics).await;

    async fn logged<L: Logger>(logger: L) -> bool {
        logger.log(LogEntry::new(LogLevel::Warn, "m")).await;
        logger.is_enabled(LogLevel::Info)
    }
    assert!(logged(Own).await && logged(Arc::new(Own) as Arc<dyn Logger>).await);
    assert!(logged(TracingLogger::new(LogLevel::Info)).await && !logged(NoopLogger).await);
}

#[tokio::test]
async fn the_ready_made_parts_are_built() {
    let auth = StaticAuthProvider::new(Credentials::new("a", "b"));
    assert!(auth.is_valid().await);
    let ExponentialBackoff { initial_delay, max_delay, max_attempts, multiplier } = ExponentialBackoff {
        initial_delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(2),
        max_attempts: 3_u32,
        multiplier: 1.5_f64,
    };
    let built = ExponentialBackoff::new(max_attempts)
        .with_initial_delay(initial_delay)
        .with_max_delay(max_delay)
        .with_multiplier(multiplier);
    assert_eq!(
        format!("{built:?}"),
        "ExponentialBackoff { initial_delay: 1s, max_delay: 2s, max_attempts: 3, multiplier: 1.5 }"
    );
    let default = ExponentialBackoff::default();
    assert_eq!((default.initial_delay.as_millis(), default.max_delay.as_secs()), (100, 30));
    assert_eq!((default.max_attempts, default.multiplier), (3, 2.0));
    let FixedDelay { delay, max_attempts } = FixedDelay { delay: Duration::ZERO, max_attempts: 2_u32 };
    assert_eq!(FixedDelay::new(delay, max_attempts).max_attempts(), 2);
}

#[test]
fn figures_and_entries_are_built() {
    let figures = OperationMetrics {
        provider: String::new(),
        service: String::new(),
        operation: String::new(),
        duration: Duration::ZERO,
        outcome: OperationOutcome::Retry,
        retry_count: 0_u32,
        bytes_transferred: None::<u64>,
        status_code: None::<u16>,
        error_code: None::<String>,
    };
    let built = OperationMetrics::failure("p", "s", String::from("o"), Duration::ZERO, "C")
        .with_retry_count(1)
        .with_bytes(2)
        .with_status_code(3);
    assert_eq!((built.retry_count, built.bytes_transferred, built.status_code), (1, Some(2), Some(3)));
    let word = |outcome: OperationOutcome| match outcome {
        OperationOutcome::Success => 's',
        OperationOutcome::Failure => 'f',
        OperationOutcome::Retry => 'r',
    };
    assert_eq!([word(figures.outcome), word(built.outcome)], ['r', 'f']);

    let entry = LogEntry {
        level: LogLevel::Trace,
        message: String::new(),
        target: String::new(),
        fields: HashMap::<String, String>::new(),
    };
    let built = LogEntry::new(LogLevel::Error, "m").with_target("t").with_field("k", String::from("v"));
    let rank = |level: LogLevel| match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
    };
    assert_eq!([rank(entry.level), rank(built.level)], [0, 4]);
}

#[tokio::test]
async fn an_executor_runs_functions_and_closures() {
    let executor = OperationExecutor::new("p", String::from("s"), Arc::new(NoRetry), Arc::new(NoopMetrics));
    async fn one() -> CloudResult<u8> {
        Ok(1)
    }
    let moved = String::from("x");
    assert_eq!(executor.execute("o", one).await.unwrap(), 1);
    assert_eq!(executor.execute("o", || async { Ok::<_, CloudError>(2) }).await.unwrap(), 2);
    assert_eq!(executor.execute_once("o", || async move { Ok(moved) }).await.unwrap(), "x");
}
