//! Where credentials come from.

use crate::common::{CloudResult, Credentials};
use async_trait::async_trait;
use std::sync::Arc;

/// A source of credentials. A provider asks at the first call, not when it is built.
///
/// ```
/// # use cloudkit_core::{common::{CloudResult, Credentials}, spi::AuthProvider};
/// struct Vault;
///
/// #[async_trait::async_trait]
/// impl AuthProvider for Vault {
///     async fn get_credentials(&self) -> CloudResult<Credentials> {
///         Ok(Credentials::new("key from the vault", "secret from the vault"))
///     }
/// }
/// ```
#[async_trait]
pub trait AuthProvider: Send + Sync {
    /// The credentials that are valid now.
    ///
    /// # Errors
    /// [`CloudError::Auth`](crate::common::CloudError::Auth) when there are none.
    async fn get_credentials(&self) -> CloudResult<Credentials>;

    /// New credentials in place of those that a service refused or that are about to expire. By default the same as
    /// [`get_credentials`](Self::get_credentials).
    ///
    /// # Errors
    /// [`AuthError::TokenRefreshFailed`](crate::common::AuthError::TokenRefreshFailed) when there are none.
    async fn refresh_credentials(&self) -> CloudResult<Credentials> {
        self.get_credentials().await
    }

    /// Whether there are credentials now. By default whether [`get_credentials`](Self::get_credentials) succeeds.
    async fn is_valid(&self) -> bool {
        self.get_credentials().await.is_ok()
    }
}

/// Credentials from the environment, read at each call: see [`Credentials::from_env`].
#[derive(Debug, Clone, Default)]
pub struct EnvAuthProvider;

#[async_trait]
impl AuthProvider for EnvAuthProvider {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        Credentials::from_env()
    }
}

/// Credentials that never change.
#[derive(Debug, Clone)]
pub struct StaticAuthProvider {
    credentials: Credentials,
}

impl StaticAuthProvider {
    /// Gives these credentials at each call.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials }
    }
}

#[async_trait]
impl AuthProvider for StaticAuthProvider {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        Ok(self.credentials.clone())
    }
}

/// Any source of credentials, shared.
pub type BoxedAuthProvider = Arc<dyn AuthProvider>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{AuthError, CloudError};

    struct Empty;

    #[async_trait]
    impl AuthProvider for Empty {
        async fn get_credentials(&self) -> CloudResult<Credentials> {
            Err(CloudError::Auth(AuthError::ExpiredCredentials))
        }
    }

    #[tokio::test]
    async fn the_defaults_ask_for_the_credentials() {
        let fixed = StaticAuthProvider::new(Credentials::new("a", "b"));
        assert!(fixed.is_valid().await);
        assert_eq!(fixed.refresh_credentials().await.unwrap().access_key, "a");
        assert!(!Empty.is_valid().await);
        assert!(Empty.refresh_credentials().await.is_err());
    }
}
