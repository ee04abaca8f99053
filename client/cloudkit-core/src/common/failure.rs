//! What the new methods fail with: an old error together with everything that is known about it.
//! Invariant: the text of `kind` carries no tail, since `detail` holds the facts.

use super::detail::{self, ErrorDetail};
use super::error::CloudError;
use std::fmt;

/// A failed operation: what kind of failure, and its facts. `?` turns it into a [`CloudError`] where one is asked for.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The failure as the old methods name it, for programs that match on it.
    pub kind: CloudError,
    /// Provider, operation, resource, status, code, message, request id, attempts and hint.
    pub detail: Box<ErrorDetail>,
}

impl Failure {
    /// A failure with its facts. A detail without a message takes the text of the kind.
    pub fn new(mut kind: CloudError, mut detail: ErrorDetail) -> Self {
        if kind.detail().is_some()
            && let Some(text) = kind.text_mut()
        {
            *text = detail::bare(text).to_owned();
        }
        if detail.message.is_empty() {
            detail.message = message_of(&kind);
        }
        Self { kind, detail: Box::new(detail) }
    }

    /// The failure of a method that the provider does not have. Nothing was sent.
    pub fn unsupported(
        provider: impl Into<String>,
        method: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        let (provider, method, why) = (provider.into(), method.into(), why.into());
        let message = if why.is_empty() {
            format!("{provider} does not support {method}")
        } else {
            format!("{provider} does not support {method}: {why}")
        };
        let detail = ErrorDetail::new(provider.clone(), method)
            .with_code(UNSUPPORTED)
            .with_message(message.clone())
            .with_hint("capabilities() tells what is supported before a call");
        Self::new(CloudError::Provider { provider, code: String::from(UNSUPPORTED), message }, detail)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.detail.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl From<Failure> for CloudError {
    /// The kind, with the facts as a tail of its text. A kind that has exact fields only keeps them as they are; its facts go
    /// into one `tracing` event at level DEBUG.
    fn from(failure: Failure) -> Self {
        let Failure { mut kind, detail } = failure;
        match kind.text_mut() {
            Some(text) => {
                let bare = if text.is_empty() { &detail.message } else { &*text };
                *text = detail::join(bare, &detail);
            }
            None => tracing::debug!(
                provider = detail.provider,
                operation = detail.operation,
                resource = detail.resource,
                status = detail.status,
                code = detail.code,
                request_id = detail.request_id,
                attempts = detail.attempts,
                hint = detail.hint,
                "{detail}"
            ),
        }
        kind
    }
}

impl From<CloudError> for Failure {
    /// The facts that the error carries; where it carries none, those that its variant names.
    fn from(kind: CloudError) -> Self {
        let detail = kind.detail().unwrap_or_else(|| named(&kind));
        Self::new(kind, detail)
    }
}

/// What a variant says of itself.
fn named(kind: &CloudError) -> ErrorDetail {
    let detail = ErrorDetail::default();
    match kind {
        CloudError::NotFound { resource_type, resource_id }
        | CloudError::AlreadyExists { resource_type, resource_id } => {
            detail.with_resource(format!("{resource_type} {resource_id}"))
        }
        CloudError::Provider { provider, code, .. } => ErrorDetail::new(provider, "").with_code(code),
        CloudError::ServiceUnavailable { service, .. } => detail.with_resource(service),
        CloudError::Timeout { operation, .. } => ErrorDetail::new("", operation),
        CloudError::Auth(_)
        | CloudError::Network(_)
        | CloudError::Validation(_)
        | CloudError::RateLimited { .. }
        | CloudError::Internal(_)
        | CloudError::Config(_)
        | CloudError::Serialization(_)
        | CloudError::Io(_)
        | CloudError::ServiceError(_) => detail,
    }
}

/// The text of the kind, or what it displays if it has none.
fn message_of(kind: &CloudError) -> String {
    match kind.text() {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => kind.to_string(),
    }
}

/// The code of a failure because the provider does not have the method.
pub const UNSUPPORTED: &str = "Unsupported";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{AuthError, NetworkError};
    use std::time::Duration;

    fn detail() -> ErrorDetail {
        ErrorDetail::new("zero", "PutObject").with_status(412).with_request_id("01J").with_attempts(2)
    }

    #[test]
    fn facts_survive_the_way_through_every_variant_with_a_text() {
        let text = || String::from("words");
        let kinds = [
            CloudError::Auth(AuthError::MissingCredentials(text())),
            CloudError::Auth(AuthError::InvalidCredentials(text())),
            CloudError::Auth(AuthError::InsufficientPermissions(text())),
            CloudError::Auth(AuthError::TokenRefreshFailed(text())),
            CloudError::Network(NetworkError::Connection(text())),
            CloudError::Network(NetworkError::DnsResolution(text())),
            CloudError::Network(NetworkError::Tls(text())),
            CloudError::Network(NetworkError::Request(text())),
            CloudError::Network(NetworkError::ResponseParsing(text())),
            CloudError::Validation(text()),
            CloudError::ServiceUnavailable { service: text(), message: Some(text()) },
            CloudError::Provider { provider: text(), code: text(), message: text() },
            CloudError::Internal(text()),
            CloudError::Config(text()),
            CloudError::Serialization(text()),
            CloudError::ServiceError(text()),
        ];
        for kind in kinds {
            let before = format!("{kind:?}");
            let error = CloudError::from(Failure::new(kind, detail()));
            assert_eq!(error.detail(), Some(detail().with_message("words")), "{error:?}");
            assert_eq!(error.to_string(), detail().with_message("words").to_string());
            let failure = Failure::from(error);
            assert_eq!(format!("{:?}", failure.kind), before, "the tail must not stay in the kind");
            assert_eq!(*failure.detail, detail().with_message("words"));
        }
    }

    #[test]
    fn exact_variants_keep_their_fields_and_display() {
        let kind = CloudError::NotFound { resource_type: "Bucket".into(), resource_id: "b".into() };
        let error = CloudError::from(Failure::new(kind, detail()));
        assert_eq!(error.to_string(), "Bucket not found: b");
        assert_eq!(error.detail(), None);
        let kind = CloudError::RateLimited { retry_after: Some(Duration::from_secs(1)) };
        assert_eq!(Failure::new(kind, detail()).detail.message, "Rate limited, retry after 1s");
    }

    #[test]
    fn a_service_without_a_message_gets_one_for_its_facts() {
        let kind = CloudError::ServiceUnavailable { service: "s3".into(), message: None };
        let error = CloudError::from(Failure::new(kind, detail()));
        assert_eq!(error.detail().unwrap().request_id.as_deref(), Some("01J"));
        assert_eq!(error.detail().unwrap().message, "Service s3 unavailable");
    }

    #[test]
    fn unsupported_names_provider_and_method() {
        let failure = Failure::unsupported("memory", "list_versions", "");
        assert_eq!(
            failure.to_string(),
            "memory list_versions: Unsupported: memory does not support list_versions [not sent]. \
             Hint: capabilities() tells what is supported before a call"
        );
        assert!(CloudError::from(failure).is_unsupported());
    }

    #[test]
    fn an_old_error_becomes_a_failure_with_what_its_variant_names() {
        let failure = Failure::from(CloudError::Provider {
            provider: "aws".into(),
            code: "SlowDown".into(),
            message: "reduce".into(),
        });
        assert_eq!(failure.detail.provider, "aws");
        assert_eq!(failure.detail.code.as_deref(), Some("SlowDown"));
        assert_eq!(failure.detail.message, "reduce");
        let failure =
            Failure::from(CloudError::Timeout { operation: "get".into(), duration: Duration::from_secs(3) });
        assert_eq!(failure.detail.operation, "get");
    }
}
