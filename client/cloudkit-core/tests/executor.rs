//! The executor under a paused clock: how often it tries, how long it waits, what it records, and when the budget ends it.
#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use async_trait::async_trait;
use cloudkit_core::common::*;
use cloudkit_core::core::OperationExecutor;
use cloudkit_core::spi::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Default)]
struct Seen(Mutex<Vec<OperationMetrics>>);

#[async_trait]
impl MetricsCollector for Seen {
    async fn record(&self, metrics: OperationMetrics) {
        self.0.lock().unwrap().push(metrics);
    }

    async fn increment_counter(&self, _name: &str, _value: u64, _tags: &[(&str, &str)]) {}

    async fn record_gauge(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}

    async fn record_histogram(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}
}

impl Seen {
    /// The only record.
    fn one(&self) -> OperationMetrics {
        let seen = self.0.lock().unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

/// Notes the attempts that it is asked about and waits as many seconds.
#[derive(Default)]
struct Counting(Mutex<Vec<u32>>);

impl RetryPolicy for Counting {
    fn should_retry(&self, _error: &CloudError, attempt: u32) -> RetryDecision {
        self.0.lock().unwrap().push(attempt);
        RetryDecision::Retry(Duration::from_secs(attempt.into()))
    }

    fn max_attempts(&self) -> u32 {
        4
    }
}

fn executor(policy: impl RetryPolicy + 'static) -> (OperationExecutor, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    (OperationExecutor::new("zero", "s3", Arc::new(policy), seen.clone()), seen)
}

fn broken() -> CloudError {
    CloudError::Network(NetworkError::Connection(String::from("reset")))
}

/// Fails this many times, then gives how many times it ran.
async fn fails(
    executor: &OperationExecutor,
    times: u32,
    error: fn() -> CloudError,
) -> (CloudResult<u32>, u32) {
    let ran = AtomicU32::new(0);
    let outcome = executor
        .execute("PutObject", || async {
            let run = ran.fetch_add(1, Ordering::SeqCst) + 1;
            if run <= times { Err(error()) } else { Ok(run) }
        })
        .await;
    (outcome, ran.into_inner())
}

#[tokio::test(start_paused = true)]
async fn it_tries_until_it_succeeds_and_records_once() {
    let policy = Arc::new(Counting::default());
    let (executor, seen) = executor(policy.clone());
    let started = Instant::now();
    assert_eq!(fails(&executor, 2, broken).await.0.unwrap(), 3);
    assert_eq!(started.elapsed(), Duration::from_secs(1 + 2));
    assert_eq!(*policy.0.lock().unwrap(), [1, 2], "attempt is 1 after the first failure");
    let record = seen.one();
    assert_eq!((record.outcome, record.retry_count), (OperationOutcome::Success, 2));
    assert_eq!(record.duration, Duration::from_secs(3));
    assert_eq!((&*record.provider, &*record.service, &*record.operation), ("zero", "s3", "PutObject"));
}

#[tokio::test(start_paused = true)]
async fn the_policys_most_attempts_end_it_whatever_it_says() {
    let policy = Arc::new(Counting::default());
    let (executor, seen) = executor(policy.clone());
    let (outcome, ran) = fails(&executor, 99, broken).await;
    assert!(matches!(outcome, Err(CloudError::Network(_))));
    assert_eq!(ran, 4, "4 attempts are four tries in all");
    assert_eq!(*policy.0.lock().unwrap(), [1, 2, 3]);
    let record = seen.one();
    assert_eq!((record.outcome, record.retry_count), (OperationOutcome::Failure, 3));
    assert_eq!(record.error_code.as_deref(), Some("NetworkError"));
}

#[tokio::test(start_paused = true)]
async fn three_attempts_of_the_default_policy_are_three_tries() {
    let (executor, _) = executor(ExponentialBackoff::default());
    let started = Instant::now();
    assert_eq!(fails(&executor, 99, broken).await.1, 3);
    assert!(started.elapsed() <= Duration::from_millis(100 + 200 + 2), "{:?}", started.elapsed());
    let (executor, _) = self::executor(NoRetry);
    assert_eq!(fails(&executor, 99, broken).await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_the_service_asks_for_is_kept() {
    let (executor, _) = executor(ExponentialBackoff::default());
    let started = Instant::now();
    let limited = || CloudError::RateLimited { retry_after: Some(Duration::from_secs(70)) };
    assert_eq!(fails(&executor, 1, limited).await.0.unwrap(), 2);
    assert_eq!(started.elapsed(), Duration::from_secs(70));
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_is_tried_once_and_recorded_with_its_facts() {
    fn refused() -> CloudError {
        let detail =
            ErrorDetail::new("zero", "PutObject").with_status(403).with_code("AccessDenied").with_attempts(1);
        let kind = CloudError::Auth(AuthError::InsufficientPermissions(String::from("no")));
        Failure::new(kind, detail).into()
    }
    let (executor, seen) = executor(ExponentialBackoff::default());
    assert_eq!(fails(&executor, 99, refused).await.1, 1);
    let record = seen.one();
    assert_eq!((record.status_code, record.error_code.as_deref()), (Some(403), Some("AccessDenied")));
    assert_eq!(record.retry_count, 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_tells_how_many_attempts_there_were() {
    fn busy() -> CloudError {
        let detail = ErrorDetail::new("zero", "PutObject").with_status(503).with_attempts(1);
        Failure::new(CloudError::ServiceUnavailable { service: "s3".into(), message: None }, detail).into()
    }
    let (executor, _) = executor(ExponentialBackoff::new(5));
    let error = fails(&executor, 99, busy).await.0.unwrap_err();
    assert_eq!(error.detail().unwrap().attempts, 5);
    assert!(error.to_string().ends_with("[5 attempts]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_returns_the_first_failure_and_successes_fill_it() {
    let budget = Arc::new(RetryBudget::new(10));
    let (executor, _) = executor(FixedDelay::new(Duration::from_millis(1), 9));
    let executor = executor.with_budget(budget.clone());
    assert_eq!(fails(&executor, 99, broken).await.1, 3, "10 tokens pay for two retries");
    assert_eq!(fails(&executor, 99, broken).await.1, 1);
    for _ in 0..5 {
        assert_eq!(fails(&executor, 0, broken).await.1, 1);
    }
    assert_eq!(budget.tokens(), 5);
    assert_eq!(fails(&executor, 1, broken).await.0.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn once_is_once() {
    let (executor, seen) = executor(Counting::default());
    let outcome: CloudResult<()> = executor.execute_once("Invoke", || async { Err(broken()) }).await;
    assert!(outcome.is_err());
    assert_eq!((seen.one().outcome, seen.one().retry_count), (OperationOutcome::Failure, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_told_to_the_logger() {
    #[derive(Default)]
    struct Told(Mutex<Vec<LogEntry>>);

    #[async_trait]
    impl Logger for Told {
        async fn log(&self, entry: LogEntry) {
            self.0.lock().unwrap().push(entry);
        }

        fn is_enabled(&self, level: LogLevel) -> bool {
            level >= LogLevel::Warn
        }
    }

    let told = Arc::new(Told::default());
    let (executor, _) = executor(Counting::default());
    let executor = executor.with_logger(told.clone());
    assert!(fails(&executor, 2, broken).await.0.is_ok());
    let entries = told.0.lock().unwrap();
    let attempts: Vec<&str> = entries.iter().map(|entry| entry.fields["attempt"].as_str()).collect();
    assert_eq!(attempts, ["1", "2"]);
    assert_eq!((entries[1].level, entries[1].fields["delay_ms"].as_str()), (LogLevel::Warn, "2000"));
}
