//! When to try again, and after how long. Invariant: `attempt` is 1 after the first failure, and a policy of three attempts
//! makes three tries in all.

use crate::common::{CloudError, random_u64};
use std::time::Duration;

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this long.
    Retry(Duration),
    /// Return the error.
    DoNotRetry,
}

/// Decides whether a failed operation is tried again.
///
/// ```
/// # use cloudkit_core::{common::CloudError, spi::{RetryDecision, RetryPolicy}};
/// # use std::time::Duration;
/// struct OnceAfterASecond;
///
/// impl RetryPolicy for OnceAfterASecond {
///     fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision {
///         match attempt < self.max_attempts() && error.is_retryable() {
///             true => RetryDecision::Retry(Duration::from_secs(1)),
///             false => RetryDecision::DoNotRetry,
///         }
///     }
///
///     fn max_attempts(&self) -> u32 {
///         2
///     }
/// }
/// ```
pub trait RetryPolicy: Send + Sync {
    /// What follows this failure, the `attempt`-th of the operation, counted from 1.
    fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision;

    /// The most tries in all. No more are made, whatever [`should_retry`](Self::should_retry) says.
    fn max_attempts(&self) -> u32;
}

/// Waits a random time that may grow with each failure ("full jitter": anything between nothing and the ceiling, so that
/// clients that failed together do not come back together). A service that says how long to wait is obeyed instead.
#[derive(Debug, Clone)]
pub struct ExponentialBackoff {
    /// The ceiling of the wait after the first failure.
    pub initial_delay: Duration,
    /// The highest ceiling.
    pub max_delay: Duration,
    /// The most tries in all.
    pub max_attempts: u32,
    /// What the ceiling is multiplied by after each further failure.
    pub multiplier: f64,
}

impl ExponentialBackoff {
    /// The default with this many tries in all.
    pub fn new(max_attempts: u32) -> Self {
        Self { max_attempts, ..Self::default() }
    }

    /// Sets the ceiling of the wait after the first failure.
    pub fn with_initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Sets the highest ceiling.
    pub fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets what the ceiling is multiplied by after each further failure.
    pub fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The longest wait after the `attempt`-th failure, counted from 1.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial_delay.as_secs_f64() * self.multiplier.powi(exponent);
        // An infinite product, or one that is no number, is the highest ceiling too.
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max_delay).min(self.max_delay)
    }

    /// The wait after the `attempt`-th failure for this random number, which is spread evenly over all of `u64`.
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let nanoseconds = self.ceiling(attempt).as_nanos().min(u128::from(u64::MAX));
        let share = (u128::from(random) * (nanoseconds + 1)) >> 64;
        Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

impl Default for ExponentialBackoff {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            max_attempts: 3,
            multiplier: 2.0,
        }
    }
}

impl RetryPolicy for ExponentialBackoff {
    fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision {
        if attempt >= self.max_attempts || !error.is_retryable() {
            return RetryDecision::DoNotRetry;
        }
        RetryDecision::Retry(asked(error).unwrap_or_else(|| self.delay(attempt, random_u64())))
    }

    fn max_attempts(&self) -> u32 {
        self.max_attempts
    }
}

/// Never tries again.
#[derive(Debug, Clone, Default)]
pub struct NoRetry;

impl RetryPolicy for NoRetry {
    fn should_retry(&self, _error: &CloudError, _attempt: u32) -> RetryDecision {
        RetryDecision::DoNotRetry
    }

    fn max_attempts(&self) -> u32 {
        1
    }
}

/// Waits the same time after each failure; longer only if the service says so.
#[derive(Debug, Clone)]
pub struct FixedDelay {
    /// The wait.
    pub delay: Duration,
    /// The most tries in all.
    pub max_attempts: u32,
}

impl FixedDelay {
    /// A wait and the most tries in all.
    pub fn new(delay: Duration, max_attempts: u32) -> Self {
        Self { delay, max_attempts }
    }
}

impl RetryPolicy for FixedDelay {
    fn should_retry(&self, error: &CloudError, attempt: u32) -> RetryDecision {
        if attempt >= self.max_attempts || !error.is_retryable() {
            return RetryDecision::DoNotRetry;
        }
        RetryDecision::Retry(asked(error).map_or(self.delay, |asked| asked.max(self.delay)))
    }

    fn max_attempts(&self) -> u32 {
        self.max_attempts
    }
}

/// How long the service asks to wait.
fn asked(error: &CloudError) -> Option<Duration> {
    match error {
        CloudError::RateLimited { retry_after } => *retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::NetworkError;

    fn broken() -> CloudError {
        CloudError::Network(NetworkError::Connection(String::from("reset")))
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_highest() {
        let policy = ExponentialBackoff::default();
        let seconds: Vec<u128> = (1..=4).map(|attempt| policy.ceiling(attempt).as_millis()).collect();
        assert_eq!(seconds, [100, 200, 400, 800]);
        assert_eq!(policy.ceiling(0), policy.ceiling(1));
        assert_eq!(policy.ceiling(10), Duration::from_secs(30));
        assert_eq!(policy.ceiling(u32::MAX), Duration::from_secs(30));
        let odd = policy.with_multiplier(f64::NAN).with_max_delay(Duration::from_secs(2));
        assert_eq!(odd.ceiling(3), Duration::from_secs(2));
    }

    #[test]
    fn jitter_covers_everything_from_nothing_to_the_ceiling() {
        let policy = ExponentialBackoff::new(9).with_initial_delay(Duration::from_millis(80));
        assert_eq!(policy.delay(1, 0), Duration::ZERO);
        assert_eq!(policy.delay(1, u64::MAX), Duration::from_millis(80));
        assert_eq!(policy.delay(2, u64::MAX), Duration::from_millis(160));
        assert_eq!(policy.delay(1, u64::MAX / 2).as_micros(), 40_000);
        let huge = ExponentialBackoff::new(9).with_max_delay(Duration::MAX).with_initial_delay(Duration::MAX);
        assert_eq!(huge.delay(1, u64::MAX), Duration::from_nanos(u64::MAX));
        let mut quarters = [0_u32; 4];
        for _ in 0..4000 {
            let RetryDecision::Retry(wait) = policy.should_retry(&broken(), 1) else { panic!("not retried") };
            assert!(wait <= Duration::from_millis(80), "{wait:?}");
            quarters[usize::min(3, (wait.as_millis() / 20) as usize)] += 1;
        }
        // Each quarter holds 1,000 of 4,000; 700 is eleven standard deviations away.
        assert!(quarters.iter().all(|count| *count > 700), "{quarters:?}");
    }

    #[test]
    fn three_attempts_are_three_tries_in_all() {
        for policy in [&ExponentialBackoff::new(3) as &dyn RetryPolicy, &FixedDelay::new(Duration::ZERO, 3)] {
            assert!(matches!(policy.should_retry(&broken(), 1), RetryDecision::Retry(_)));
            assert!(matches!(policy.should_retry(&broken(), 2), RetryDecision::Retry(_)));
            assert_eq!(policy.should_retry(&broken(), 3), RetryDecision::DoNotRetry);
            assert_eq!(policy.max_attempts(), 3);
        }
        assert_eq!(NoRetry.should_retry(&broken(), 1), RetryDecision::DoNotRetry);
        assert_eq!(NoRetry.max_attempts(), 1);
    }

    #[test]
    fn a_lasting_failure_is_not_retried() {
        let refused = CloudError::Validation(String::from("no"));
        assert_eq!(ExponentialBackoff::new(9).should_retry(&refused, 1), RetryDecision::DoNotRetry);
        assert_eq!(FixedDelay::new(Duration::ZERO, 9).should_retry(&refused, 1), RetryDecision::DoNotRetry);
    }

    #[test]
    fn the_wait_that_the_service_asks_for_wins() {
        let wait = Duration::from_secs(45);
        let limited = CloudError::RateLimited { retry_after: Some(wait) };
        assert_eq!(ExponentialBackoff::new(3).should_retry(&limited, 1), RetryDecision::Retry(wait));
        let fixed = FixedDelay::new(Duration::from_secs(1), 3);
        assert_eq!(fixed.should_retry(&limited, 1), RetryDecision::Retry(wait));
        let short = CloudError::RateLimited { retry_after: Some(Duration::ZERO) };
        assert_eq!(fixed.should_retry(&short, 1), RetryDecision::Retry(Duration::from_secs(1)));
    }
}
