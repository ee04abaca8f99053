//! The attempts of one call: counted, and judged by the program's retry policy where it has one.
//! Invariant: what a second request would do twice is sent again only if the service refused to begin with the first one.
//!
//! The SDK decides by classifiers, each of which may overrule those before it. Ours comes last, and knows the call that it is
//! about by the task that the call runs in.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::ErrorKind;
use cloudkit_core::common::{CloudError, NetworkError};
use cloudkit_core::spi::{RetryDecision, RetryPolicy};

use crate::fault::PROVIDER;
use crate::operation::Repeat;

tokio::task_local! {
    static CALL: Call;
}

/// A call that is under way.
struct Call {
    attempts: Cell<u32>,
    repeat: Repeat,
    /// Of a key that the SDK takes for none: what it is in an address.
    blank_key: Option<String>,
}

/// The key of the call under way, as it stands in an address, if the SDK takes it for none.
pub(crate) fn blank_key() -> Option<String> {
    CALL.try_with(|call| call.blank_key.clone()).ok().flatten()
}

/// Runs a call; gives its outcome, and how many requests were sent for it.
pub(crate) async fn counted<T>(
    repeat: Repeat,
    blank_key: Option<String>,
    call: impl Future<Output = T>,
) -> (T, u32) {
    let scope = async {
        let outcome = call.await;
        (outcome, CALL.with(|call| call.attempts.get()))
    };
    CALL.scope(Call { attempts: Cell::new(0), repeat, blank_key }, scope).await
}

/// Counts what is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count;

#[dyn_dispatch_hint]
impl Intercept for Count {
    fn name(&self) -> &'static str {
        "cloudkit attempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Outside of a call, as a program's own client is, nobody counts.
        CALL.try_with(|call| call.attempts.set(call.attempts.get() + 1)).ok();
        Ok(())
    }
}

/// The last word on whether a request is sent again.
#[derive(Clone)]
pub(crate) struct Judge {
    /// None: the SDK decides, but for what must not be done twice.
    pub policy: Option<Arc<dyn RetryPolicy>>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("has_policy", &self.policy.is_some()).finish()
    }
}

impl ClassifyRetry for Judge {
    fn name(&self) -> &'static str {
        "cloudkit policy"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        self.classify_retry_v2(context, &RetryAction::NoActionIndicated)
    }

    fn classify_retry_v2(&self, context: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        let status = context.response().map(|response| response.status().as_u16());
        let facts = CALL.try_with(|call| (call.repeat, call.attempts.get()));
        let (repeat, attempts) = facts.unwrap_or((Repeat::Harmless, 1));
        judged(self.policy.as_deref(), repeat, attempts, status, previous)
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// What becomes of a request that failed. `status`: of its answer, if there was one.
fn judged(
    policy: Option<&dyn RetryPolicy>,
    repeat: Repeat,
    attempts: u32,
    status: Option<u16>,
    previous: &RetryAction,
) -> RetryAction {
    let RetryAction::RetryIndicated(RetryReason::RetryableError { kind, retry_after }) = previous else {
        return RetryAction::NoActionIndicated;
    };
    let was_refused =
        *kind == ErrorKind::ThrottlingError || status.is_some_and(|status| status < 500 || status == 503);
    if repeat == Repeat::Harmful && !was_refused {
        return RetryAction::RetryForbidden;
    }
    let Some(policy) = policy else { return RetryAction::NoActionIndicated };
    let error = match (kind, status) {
        (ErrorKind::ThrottlingError, _) => CloudError::RateLimited { retry_after: *retry_after },
        (_, None) => CloudError::Network(NetworkError::Connection(String::from("no answer came"))),
        (_, Some(status)) => CloudError::ServiceUnavailable {
            service: PROVIDER.into(),
            message: Some(format!("the service answered {status}")),
        },
    };
    match policy.should_retry(&error, attempts) {
        RetryDecision::Retry(wait) => RetryAction::retryable_error_with_explicit_delay(*kind, wait),
        RetryDecision::DoNotRetry => RetryAction::RetryForbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudkit_core::spi::{FixedDelay, NoRetry};
    use std::time::Duration;

    #[test]
    fn what_would_be_done_twice_is_sent_again_only_after_a_refusal() {
        let judged =
            |repeat, status, kind| judged(None, repeat, 1, status, &RetryAction::retryable_error(kind));
        let forbidden = RetryAction::RetryForbidden;
        for status in [None, Some(500), Some(502), Some(504)] {
            assert_eq!(judged(Repeat::Harmful, status, ErrorKind::TransientError), forbidden, "{status:?}");
            let harmless = judged(Repeat::Harmless, status, ErrorKind::TransientError);
            assert_eq!(harmless, RetryAction::NoActionIndicated, "the SDK decides");
        }
        for (status, kind) in
            [(Some(503), ErrorKind::TransientError), (Some(400), ErrorKind::ThrottlingError)]
        {
            assert_eq!(judged(Repeat::Harmful, status, kind), RetryAction::NoActionIndicated);
        }
    }

    #[test]
    fn a_policy_has_the_last_word() {
        let judged = |policy: &dyn RetryPolicy, attempts| {
            judged(Some(policy), Repeat::Harmless, attempts, Some(500), &RetryAction::server_error())
        };
        let wait = Duration::from_millis(7);
        let fixed = FixedDelay::new(wait, 3);
        let again = RetryAction::retryable_error_with_explicit_delay(ErrorKind::ServerError, wait);
        assert_eq!(judged(&fixed, 1), again);
        assert_eq!(judged(&fixed, 3), RetryAction::RetryForbidden);
        assert_eq!(judged(&NoRetry, 1), RetryAction::RetryForbidden);
        let final_one =
            super::judged(Some(&fixed), Repeat::Harmless, 1, Some(400), &RetryAction::NoActionIndicated);
        assert_eq!(final_one, RetryAction::NoActionIndicated, "what will not go well is not asked about");
    }

    #[tokio::test]
    async fn attempts_belong_to_their_call() {
        let sent = async {
            CALL.with(|call| call.attempts.set(call.attempts.get() + 2));
            5
        };
        assert_eq!(counted(Repeat::Harmless, None, sent).await, (5, 2));
        assert_eq!(counted(Repeat::Harmless, None, async {}).await, ((), 0));
    }
}
