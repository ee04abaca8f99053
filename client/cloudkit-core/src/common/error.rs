//! The one error type of all old methods. Invariant: its variants and their fields stay as they are, since programs match
//! them exhaustively; what they have no room for travels as a tail in their texts, which `detail.rs` writes and reads.

use super::detail::{self, ErrorDetail};
use std::fmt;
use std::time::Duration;

/// What every old method returns.
pub type CloudResult<T> = Result<T, CloudError>;

/// Why an operation failed.
///
/// Where the failure's facts are known (provider, operation, status, request id ..), it displays as [`ErrorDetail`] does;
/// [`detail`](Self::detail) gives them one by one.
#[derive(Debug)]
pub enum CloudError {
    /// Who calls is not known, or may not do this.
    Auth(AuthError),
    /// The request did not reach the service, or its answer did not come back whole.
    Network(NetworkError),
    /// There is no such resource.
    NotFound {
        /// What it would be, such as `Bucket`.
        resource_type: String,
        /// Which one.
        resource_id: String,
    },
    /// There is such a resource already.
    AlreadyExists {
        /// What it is, such as `Queue`.
        resource_type: String,
        /// Which one.
        resource_id: String,
    },
    /// The arguments break a rule; the same call will never succeed.
    Validation(String),
    /// The service asks for fewer requests.
    RateLimited {
        /// How long the service asks to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// The service cannot answer now.
    ServiceUnavailable {
        /// Which service.
        service: String,
        /// What it said.
        message: Option<String>,
    },
    /// The answer did not come in time. Whether the operation took effect is unknown.
    Timeout {
        /// The operation.
        operation: String,
        /// How long it was waited for.
        duration: Duration,
    },
    /// An answer of the provider that no other variant describes. A failed condition is one, with the code
    /// `PreconditionFailed` or `ConditionalCheckFailedException`.
    Provider {
        /// The provider in lower case.
        provider: String,
        /// Its code.
        code: String,
        /// What it said.
        message: String,
    },
    /// The client broke a rule of its own.
    Internal(String),
    /// The settings do not make sense.
    Config(String),
    /// A value could not be written to, or read from, its form on the wire.
    Serialization(String),
    /// Reading or writing on this machine failed.
    Io(std::io::Error),
    /// The service failed in a way that it did not name.
    ServiceError(String),
}

/// Why the caller was not accepted.
#[derive(Debug)]
pub enum AuthError {
    /// There are no credentials.
    MissingCredentials(String),
    /// The credentials are wrong.
    InvalidCredentials(String),
    /// The credentials were right until a while ago.
    ExpiredCredentials,
    /// The credentials are right, but do not permit this.
    InsufficientPermissions(String),
    /// New credentials could not be had.
    TokenRefreshFailed(String),
}

/// What went wrong between here and the service.
#[derive(Debug)]
pub enum NetworkError {
    /// No connection came about, or it broke.
    Connection(String),
    /// The name has no address.
    DnsResolution(String),
    /// No trust was established.
    Tls(String),
    /// The request could not be sent whole.
    Request(String),
    /// The answer is not in the protocol's form.
    ResponseParsing(String),
}

impl CloudError {
    /// The text in which this error can carry its facts; `None` for the variants that have exact fields only.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Auth(error) => error.text(),
            Self::Network(error) => Some(error.text()),
            Self::ServiceUnavailable { message, .. } => message.as_deref(),
            Self::Validation(text)
            | Self::Provider { message: text, .. }
            | Self::Internal(text)
            | Self::Config(text)
            | Self::Serialization(text)
            | Self::ServiceError(text) => Some(text),
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::RateLimited { .. }
            | Self::Timeout { .. }
            | Self::Io(_) => None,
        }
    }

    /// The same text to change. `ServiceUnavailable` without a message gets an empty one.
    pub(super) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Auth(error) => error.text_mut(),
            Self::Network(error) => Some(error.text_mut()),
            Self::ServiceUnavailable { message, .. } => Some(message.get_or_insert_default()),
            Self::Validation(text)
            | Self::Provider { message: text, .. }
            | Self::Internal(text)
            | Self::Config(text)
            | Self::Serialization(text)
            | Self::ServiceError(text) => Some(text),
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::RateLimited { .. }
            | Self::Timeout { .. }
            | Self::Io(_) => None,
        }
    }

    /// The facts of the failure, where the error carries them: provider, operation, resource, status, code, message,
    /// request id, attempts and hint.
    pub fn detail(&self) -> Option<ErrorDetail> {
        detail::parse(self.text()?)
    }
}

impl AuthError {
    fn text(&self) -> Option<&str> {
        match self {
            Self::MissingCredentials(text)
            | Self::InvalidCredentials(text)
            | Self::InsufficientPermissions(text)
            | Self::TokenRefreshFailed(text) => Some(text),
            Self::ExpiredCredentials => None,
        }
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::MissingCredentials(text)
            | Self::InvalidCredentials(text)
            | Self::InsufficientPermissions(text)
            | Self::TokenRefreshFailed(text) => Some(text),
            Self::ExpiredCredentials => None,
        }
    }
}

impl NetworkError {
    fn text(&self) -> &str {
        match self {
            Self::Connection(text)
            | Self::DnsResolution(text)
            | Self::Tls(text)
            | Self::Request(text)
            | Self::ResponseParsing(text) => text,
        }
    }

    fn text_mut(&mut self) -> &mut String {
        match self {
            Self::Connection(text)
            | Self::DnsResolution(text)
            | Self::Tls(text)
            | Self::Request(text)
            | Self::ResponseParsing(text) => text,
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(detail) = self.detail() {
            return detail.fmt(f);
        }
        match self {
            Self::Auth(error) => write!(f, "Authentication error: {error}"),
            Self::Network(error) => write!(f, "Network error: {error}"),
            Self::NotFound { resource_type, resource_id } => {
                write!(f, "{resource_type} not found: {resource_id}")
            }
            Self::AlreadyExists { resource_type, resource_id } => {
                write!(f, "{resource_type} already exists: {resource_id}")
            }
            Self::Validation(text) => write!(f, "Validation error: {text}"),
            Self::RateLimited { retry_after: Some(wait) } => write!(f, "Rate limited, retry after {wait:?}"),
            Self::RateLimited { retry_after: None } => f.write_str("Rate limited"),
            Self::ServiceUnavailable { service, message: Some(text) } => {
                write!(f, "Service {service} unavailable: {text}")
            }
            Self::ServiceUnavailable { service, message: None } => write!(f, "Service {service} unavailable"),
            Self::Timeout { operation, duration } => {
                write!(f, "Operation '{operation}' timed out after {duration:?}")
            }
            Self::Provider { provider, code, message } => write!(f, "[{provider}] {code}: {message}"),
            Self::Internal(text) => write!(f, "Internal error: {text}"),
            Self::Config(text) => write!(f, "Configuration error: {text}"),
            Self::Serialization(text) => write!(f, "Serialization error: {text}"),
            Self::Io(error) => write!(f, "IO error: {error}"),
            Self::ServiceError(text) => write!(f, "Service error: {text}"),
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tail belongs to the machine: a person reads the text before it.
        match self {
            Self::MissingCredentials(text) => write!(f, "Missing credentials: {}", detail::bare(text)),
            Self::InvalidCredentials(text) => write!(f, "Invalid credentials: {}", detail::bare(text)),
            Self::ExpiredCredentials => f.write_str("Credentials expired"),
            Self::InsufficientPermissions(text) => {
                write!(f, "Insufficient permissions: {}", detail::bare(text))
            }
            Self::TokenRefreshFailed(text) => write!(f, "Failed to refresh token: {}", detail::bare(text)),
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(text) => write!(f, "Connection failed: {}", detail::bare(text)),
            Self::DnsResolution(text) => write!(f, "DNS resolution failed: {}", detail::bare(text)),
            Self::Tls(text) => write!(f, "TLS error: {}", detail::bare(text)),
            Self::Request(text) => write!(f, "Request failed: {}", detail::bare(text)),
            Self::ResponseParsing(text) => write!(f, "Failed to parse response: {}", detail::bare(text)),
        }
    }
}

impl std::error::Error for CloudError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Auth(error) => Some(error),
            Self::Network(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl std::error::Error for AuthError {}

impl std::error::Error for NetworkError {}

impl From<AuthError> for CloudError {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<NetworkError> for CloudError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl From<std::io::Error> for CloudError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<serde_json::Error> for CloudError {
    fn from(error: serde_json::Error) -> Self {
        Self::Serialization(error.to_string())
    }
}

#[cfg(feature = "reqwest")]
impl From<reqwest::Error> for CloudError {
    fn from(error: reqwest::Error) -> Self {
        // `reqwest` does not tell how long it waited; its own default is the best that can be said.
        const REQWEST_TIMEOUT: Duration = Duration::from_secs(30);
        if error.is_timeout() {
            Self::Timeout { operation: String::from("HTTP request"), duration: REQWEST_TIMEOUT }
        } else if error.is_connect() {
            Self::Network(NetworkError::Connection(error.to_string()))
        } else if error.is_decode() {
            Self::Network(NetworkError::ResponseParsing(error.to_string()))
        } else {
            Self::Network(NetworkError::Request(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn an_error_without_facts_displays_as_it_always_did() {
        let text = String::from("x");
        let cases: [(CloudError, &str); 14] = [
            (CloudError::Auth(AuthError::ExpiredCredentials), "Authentication error: Credentials expired"),
            (CloudError::Network(NetworkError::Tls(text.clone())), "Network error: TLS error: x"),
            (
                CloudError::NotFound { resource_type: "Object".into(), resource_id: "b/k".into() },
                "Object not found: b/k",
            ),
            (
                CloudError::AlreadyExists { resource_type: "Bucket".into(), resource_id: "b".into() },
                "Bucket already exists: b",
            ),
            (CloudError::Validation(text.clone()), "Validation error: x"),
            (CloudError::RateLimited { retry_after: None }, "Rate limited"),
            (
                CloudError::RateLimited { retry_after: Some(Duration::from_secs(2)) },
                "Rate limited, retry after 2s",
            ),
            (
                CloudError::ServiceUnavailable { service: "s3".into(), message: None },
                "Service s3 unavailable",
            ),
            (
                CloudError::Timeout { operation: "get".into(), duration: Duration::from_secs(1) },
                "Operation 'get' timed out after 1s",
            ),
            (
                CloudError::Provider { provider: "zero".into(), code: "C".into(), message: "m".into() },
                "[zero] C: m",
            ),
            (CloudError::Internal(text.clone()), "Internal error: x"),
            (CloudError::Config(text.clone()), "Configuration error: x"),
            (CloudError::Serialization(text.clone()), "Serialization error: x"),
            (CloudError::ServiceError(text), "Service error: x"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn auth_network_and_io_have_a_source() {
        assert!(CloudError::Auth(AuthError::ExpiredCredentials).source().is_some());
        assert!(CloudError::Network(NetworkError::Connection(String::new())).source().is_some());
        assert!(CloudError::from(std::io::Error::other("disk")).source().is_some());
        assert!(CloudError::Internal(String::new()).source().is_none());
    }
}
