//! The end of patience with a whole call, waits and retries included.

use super::detail::ErrorDetail;
use super::error::CloudError;
use super::failure::Failure;
use std::time::Duration;

/// The call's outcome if it comes within the deadline; without one, whenever it comes. The call is dropped at its deadline.
///
/// # Errors
/// [`CloudError::Timeout`] at the deadline; what the call fails with before it.
pub async fn within<T>(
    deadline: Option<Duration>,
    provider: &str,
    operation: &str,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(duration) = deadline else { return call.await };
    match tokio::time::timeout(duration, call).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let kind = CloudError::Timeout { operation: operation.to_owned(), duration };
            Err(Failure::new(kind, ErrorDetail::new(provider, operation).with_attempts(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline() {
        let never = std::future::pending::<Result<(), Failure>>();
        let failure = within(Some(Duration::from_secs(5)), "p", "get", never).await.unwrap_err();
        assert!(matches!(failure.kind, CloudError::Timeout { duration, .. } if duration.as_secs() == 5));
        let soon = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok(7)
        };
        assert_eq!(within(Some(Duration::from_secs(5)), "p", "get", soon).await.unwrap(), 7);
    }
}
