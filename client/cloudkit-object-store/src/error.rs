//! What an error of a provider means to `object_store`.
//!
//! | Here | There |
//! |---|---|
//! | not found: object, version, bucket | `NotFound` |
//! | the condition of a create-only put, or another writer at the object | `AlreadyExists` |
//! | the condition of an update or a read; an update of what is not there, or with another writer at it | `Precondition` |
//! | not modified | `NotModified` |
//! | unsupported | `NotSupported` |
//! | credentials that do not permit it | `PermissionDenied` |
//! | credentials that are missing, wrong or over | `Unauthenticated` |
//! | anything else | `Generic` |

use cloudkit_core::common::{AuthError, CloudError};
use object_store::Error;
use object_store::path::Path;

/// When a write was to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Any,
    Create,
    Update,
}

/// The error of a read, a deletion or a write without a condition.
pub(crate) fn error(error: impl Into<CloudError>, location: &Path) -> Error {
    error_of(error.into(), location, Intent::Any)
}

/// The error of a write.
pub(crate) fn error_of(error: CloudError, location: &Path, intent: Intent) -> Error {
    let path = location.to_string();
    let condition = error.is_precondition_failed();
    let rival = error.is_conflict();
    let missing = error.is_not_found();
    let is_bucket = matches!(&error, CloudError::NotFound { resource_type, .. } if resource_type == "Bucket");
    match intent {
        Intent::Create if condition || rival => {
            return Error::AlreadyExists { path, source: error.into() };
        }
        Intent::Update if condition || rival || (missing && !is_bucket) => {
            return Error::Precondition { path, source: error.into() };
        }
        Intent::Any | Intent::Create | Intent::Update => {}
    }
    if missing {
        return Error::NotFound { path, source: error.into() };
    }
    if condition {
        return Error::Precondition { path, source: error.into() };
    }
    if error.is_not_modified() {
        return Error::NotModified { path, source: error.into() };
    }
    if error.is_unsupported() {
        return Error::NotSupported { source: error.into() };
    }
    match error {
        CloudError::Auth(AuthError::InsufficientPermissions(_)) => {
            Error::PermissionDenied { path, source: error.into() }
        }
        CloudError::Auth(_) => Error::Unauthenticated { path, source: error.into() },
        other => generic(other),
    }
}

/// An error that no other variant describes.
pub(crate) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: STORE, source: source.into() }
}

/// The name of this store in errors.
pub(crate) const STORE: &str = "CloudKit";

#[cfg(test)]
mod tests {
    use super::*;
    use cloudkit_core::common::{ErrorDetail, Failure, NetworkError};

    fn provider(code: &str, status: u16) -> CloudError {
        let kind =
            CloudError::Provider { provider: "p".into(), code: code.into(), message: String::from("m") };
        Failure::new(kind, ErrorDetail::new("p", "Op").with_status(status)).into()
    }

    fn missing(what: &str) -> CloudError {
        CloudError::NotFound { resource_type: what.into(), resource_id: String::from("b/k") }
    }

    /// The variant's name.
    fn variant(error: CloudError, intent: Intent) -> String {
        let shown = format!("{:?}", error_of(error, &Path::from("k"), intent));
        shown.split([' ', '{']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn each_error_has_its_variant() {
        let text = || String::from("t");
        let cases = [
            (missing("Object"), Intent::Any, "NotFound"),
            (missing("Object"), Intent::Update, "Precondition"),
            (missing("Bucket"), Intent::Update, "NotFound"),
            (missing("Bucket"), Intent::Create, "NotFound"),
            (provider("Whatever", 404), Intent::Any, "NotFound"),
            (provider("PreconditionFailed", 412), Intent::Any, "Precondition"),
            (provider("PreconditionFailed", 412), Intent::Create, "AlreadyExists"),
            (provider("PreconditionFailed", 412), Intent::Update, "Precondition"),
            (provider("ConditionalRequestConflict", 409), Intent::Create, "AlreadyExists"),
            (provider("ConditionalRequestConflict", 409), Intent::Update, "Precondition"),
            (provider("OperationAborted", 409), Intent::Any, "Generic"),
            (provider("NotModified", 304), Intent::Any, "NotModified"),
            (Failure::unsupported("p", "put_tags", "").into(), Intent::Create, "NotSupported"),
            (AuthError::InsufficientPermissions(text()).into(), Intent::Any, "PermissionDenied"),
            (AuthError::ExpiredCredentials.into(), Intent::Any, "Unauthenticated"),
            (NetworkError::Connection(text()).into(), Intent::Update, "Generic"),
            (CloudError::Validation(text()), Intent::Any, "Generic"),
        ];
        for (error, intent, expected) in cases {
            let shown = format!("{error:?} {intent:?}");
            assert_eq!(variant(error, intent), expected, "{shown}");
        }
    }
}
