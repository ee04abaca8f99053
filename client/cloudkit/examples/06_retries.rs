//! A retry policy of one's own: after five failures in a row it gives up at once, until a minute has passed. The client asks it
//! only where a repetition does no harm, and pays for each from a budget.
//!
//! `ZERO_URL=http://localhost:8080 ZERO_CREDENTIALS_FILE=zerocloud-data/credentials cargo run -p cloudkit --example 06_retries`

use cloudkit::prelude::*;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Open after so many failures in a row, for a while.
struct CircuitBreaker {
    state: Mutex<State>,
    inner: ExponentialBackoff,
}

#[derive(Default)]
struct State {
    failures: u32,
    opened: Option<Instant>,
}

const FAILURES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_secs(60);

impl CircuitBreaker {
    fn new() -> Self {
        let inner = ExponentialBackoff::new(4).with_initial_delay(Duration::from_millis(20));
        Self { state: Mutex::default(), inner }
    }
}

impl RetryPolicy for CircuitBreaker {
    fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision {
        let Ok(mut state) = self.state.lock() else { return RetryDecision::DoNotRetry };
        if state.opened.is_some_and(|opened| opened.elapsed() < PAUSE) {
            return RetryDecision::DoNotRetry;
        }
        state.failures += u32::from(error.is_retryable());
        if state.failures >= FAILURES_MAX {
            println!("the circuit opens after {} failures", state.failures);
            *state = State { failures: 0, opened: Some(Instant::now()) };
            return RetryDecision::DoNotRetry;
        }
        self.inner.should_retry(error, attempt)
    }

    fn max_attempts(&self) -> u32 {
        self.inner.max_attempts()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> CloudResult<()> {
    let zero = CloudKit::zero().retry_policy(CircuitBreaker::new()).build().await?;
    println!("{} buckets; nothing had to be repeated", zero.storage().list_buckets().await?.len());

    // Where nobody listens.
    let keys = StaticAuthProvider::new(Credentials::new("AKIDEXAMPLE", "secret"));
    let zero = CloudKit::zero().endpoint("http://127.0.0.1:9").auth_provider(keys);
    let zero = zero.retry_policy(CircuitBreaker::new()).build().await?;
    for _ in 0..3 {
        if let Err(error) = zero.storage().list_buckets().await {
            println!("{error}");
        }
    }
    Ok(())
}
