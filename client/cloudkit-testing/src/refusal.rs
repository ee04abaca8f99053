//! How the cloud in memory says no: the failures of the appliance, with their codes, statuses and facts.

use cloudkit_core::common::{CloudError, ErrorDetail, Failure};

/// The provider's name.
pub(crate) const PROVIDER: &str = "memory";

/// What the state of a service gives.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// A refusal, which does not know yet of which operation.
#[derive(Debug)]
pub(crate) struct Refusal {
    kind: CloudError,
    status: u16,
    code: &'static str,
    hint: Option<String>,
}

impl Refusal {
    /// The arguments break a rule.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: CloudError::Validation(message.into()), status: 400, code, hint: None }
    }

    /// Something that no other variant describes.
    pub(crate) fn provider(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        let kind = CloudError::Provider {
            provider: String::from(PROVIDER),
            code: String::from(code),
            message: message.into(),
        };
        Self { kind, status, code, hint: None }
    }

    /// There is no such thing.
    pub(crate) fn missing(code: &'static str, resource_type: &str, resource_id: impl Into<String>) -> Self {
        let kind = CloudError::NotFound {
            resource_type: String::from(resource_type),
            resource_id: resource_id.into(),
        };
        Self { kind, status: 404, code, hint: None }
    }

    /// There is such a thing already.
    pub(crate) fn exists(code: &'static str, resource_type: &str, resource_id: impl Into<String>) -> Self {
        let kind = CloudError::AlreadyExists {
            resource_type: String::from(resource_type),
            resource_id: resource_id.into(),
        };
        Self { kind, status: 400, code, hint: None }
    }

    /// The memory that the cloud may use is full.
    pub(crate) fn full(what: &str) -> Self {
        Self::provider("LimitExceeded", 400, format!("the cloud in memory holds no more {what}"))
    }

    /// Whoever calls may not do this.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        let error = cloudkit_core::common::AuthError::InsufficientPermissions(message.into());
        Self { kind: CloudError::Auth(error), status: 403, code: "AccessDenied", hint: None }
    }

    /// Sets what would help.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether a condition did not hold.
    pub(crate) fn is_failed_condition(&self) -> bool {
        self.code == CONDITION_FAILED
    }

    /// The failure of an operation.
    pub(crate) fn of(self, operation: &str, resource: impl Into<String>) -> Failure {
        let mut detail = ErrorDetail::new(PROVIDER, operation)
            .with_resource(resource)
            .with_status(self.status)
            .with_code(self.code)
            .with_attempts(1);
        if let Some(hint) = self.hint {
            detail = detail.with_hint(hint);
        }
        Failure::new(self.kind, detail)
    }
}

/// Puts the operation and what it was about into a refusal.
pub(crate) trait Of<T> {
    /// The outcome with a [`Failure`], which `?` turns into a [`CloudError`] where one is asked for.
    fn of(self, operation: &str, resource: &str) -> Result<T, Failure>;
}

impl<T> Of<T> for Outcome<T> {
    fn of(self, operation: &str, resource: &str) -> Result<T, Failure> {
        self.map_err(|refusal| refusal.of(operation, resource))
    }
}

/// The code of a condition on an item that does not hold.
pub(crate) const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
