//! Credentials between the core's trait and the SDK's.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use cloudkit_core::common::{AuthError, CloudError, CloudResult, Credentials};
use cloudkit_core::spi::AuthProvider;
use tokio::sync::OnceCell;

/// Where AWS's own tools look for credentials: the environment, the files of profiles, the machine's role.
#[derive(Clone, Debug, Default)]
pub struct AwsAuthProvider {
    profile: Option<String>,
    chain: Arc<OnceCell<DefaultCredentialsChain>>,
}

impl AwsAuthProvider {
    /// With the profile that the environment names.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this profile.
    pub fn profile(profile: impl Into<String>) -> Self {
        Self { profile: Some(profile.into()), ..Self::default() }
    }

    async fn found(&self) -> aws_credential_types::provider::Result {
        let chain = self.chain.get_or_init(|| async {
            let mut builder = DefaultCredentialsChain::builder();
            if let Some(profile) = &self.profile {
                builder = builder.profile_name(profile);
            }
            builder.build().await
        });
        chain.await.provide_credentials().await
    }
}

impl ProvideCredentials for AwsAuthProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.found())
    }
}

#[async_trait]
impl AuthProvider for AwsAuthProvider {
    async fn get_credentials(&self) -> CloudResult<Credentials> {
        let found = self.found().await.map_err(|error| {
            let words = aws_sdk_s3::error::DisplayErrorContext(&error).to_string();
            CloudError::Auth(AuthError::MissingCredentials(words))
        })?;
        let (access, secret) = (found.access_key_id(), found.secret_access_key());
        Ok(match found.session_token() {
            Some(token) => Credentials::with_session_token(access, secret, token),
            None => Credentials::new(access, secret),
        })
    }
}

/// A program's provider as the SDK asks for one. The SDK keeps what has no end for 15 minutes.
pub(crate) struct Provided(pub Arc<dyn AuthProvider>);

impl Provided {
    async fn asked(&self) -> aws_credential_types::provider::Result {
        let Credentials { access_key, secret_key, session_token } =
            self.0.get_credentials().await.map_err(CredentialsError::provider_error)?;
        Ok(aws_credential_types::Credentials::new(access_key, secret_key, session_token, None, "cloudkit"))
    }
}

impl ProvideCredentials for Provided {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.asked())
    }
}

impl std::fmt::Debug for Provided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provided(..)")
    }
}
