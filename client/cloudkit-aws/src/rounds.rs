//! Rounds over what a service left over of a batch, with the pauses of the retry policy.

use std::time::Duration;

use cloudkit_core::common::CloudError;
use cloudkit_core::spi::RetryDecision;

use crate::caller::Caller;

/// How often what is left was asked for. A round that got something done begins anew.
#[derive(Default, Debug)]
pub(crate) struct Rounds {
    attempt: u32,
    left_before: Option<usize>,
}

impl Rounds {
    /// How long to wait before the next round over so many; None: it was tried often enough.
    pub fn wait(&mut self, caller: &Caller, left: usize) -> Option<Duration> {
        let is_progress = self.left_before.is_some_and(|before| left < before);
        self.attempt = if is_progress { 1 } else { self.attempt + 1 };
        self.left_before = Some(left);
        let throttled = CloudError::RateLimited { retry_after: None };
        match caller.shared.context.retry_policy.should_retry(&throttled, self.attempt) {
            RetryDecision::Retry(wait) => Some(wait),
            RetryDecision::DoNotRetry => None,
        }
    }

    /// Rounds since the last that got something done.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }
}
