//! A budget for retries: while most calls succeed they are free, and when a service is down they dry up, so that a crowd of
//! clients does not keep it down.

use crate::common::CloudError;
use std::sync::atomic::{AtomicU32, Ordering};

/// Tokens that retries cost and successes bring back. One budget serves all calls to one service; share it in an `Arc`.
///
/// It starts full with 500 tokens. A retry costs 5, after a timeout 10; a success brings back 1, up to the 500. A retry for
/// which the tokens do not suffice is not made, and costs nothing.
#[derive(Debug)]
pub struct RetryBudget {
    tokens: AtomicU32,
    tokens_max: u32,
}

impl RetryBudget {
    /// A full budget of this many tokens.
    pub fn new(tokens_max: u32) -> Self {
        Self { tokens: AtomicU32::new(tokens_max), tokens_max }
    }

    /// Pays for a retry after this failure; `false` means that the failure is returned at once.
    pub fn spend(&self, after: &CloudError) -> bool {
        let cost = match after {
            CloudError::Timeout { .. } => TIMEOUT_TOKENS,
            _ => RETRY_TOKENS,
        };
        let take = |tokens: u32| tokens.checked_sub(cost);
        // Nothing else is ordered by the count: relaxed suffices.
        self.tokens.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Notes a call that succeeded.
    pub fn succeeded(&self) {
        let give = |tokens: u32| tokens.saturating_add(SUCCESS_TOKENS).min(self.tokens_max);
        self.tokens.update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    /// How many tokens are left.
    pub fn tokens(&self) -> u32 {
        self.tokens.load(Ordering::Relaxed)
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(TOKENS_MAX)
    }
}

const TOKENS_MAX: u32 = 500;
const RETRY_TOKENS: u32 = 5;
const TIMEOUT_TOKENS: u32 = 10;
const SUCCESS_TOKENS: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn unavailable() -> CloudError {
        CloudError::ServiceUnavailable { service: String::from("s3"), message: None }
    }

    fn timeout() -> CloudError {
        CloudError::Timeout { operation: String::from("get"), duration: Duration::from_secs(1) }
    }

    #[test]
    fn a_full_budget_pays_for_a_hundred_retries_and_no_more() {
        let budget = RetryBudget::default();
        let paid = (0..200).filter(|_| budget.spend(&unavailable())).count();
        assert_eq!((paid, budget.tokens()), (100, 0));
        let budget = RetryBudget::default();
        let paid = (0..200).filter(|_| budget.spend(&timeout())).count();
        assert_eq!((paid, budget.tokens()), (50, 0));
    }

    #[test]
    fn a_success_brings_one_token_back_up_to_the_full_budget() {
        let budget = RetryBudget::new(12);
        budget.succeeded();
        assert_eq!(budget.tokens(), 12);
        assert!(budget.spend(&timeout()));
        assert!(!budget.spend(&unavailable()), "2 tokens do not pay for a retry");
        assert_eq!(budget.tokens(), 2, "a retry that was not made costs nothing");
        for _ in 0..3 {
            budget.succeeded();
        }
        assert!(budget.spend(&unavailable()));
        assert_eq!(budget.tokens(), 0);
    }
}
