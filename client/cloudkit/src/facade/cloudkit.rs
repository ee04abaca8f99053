//! The entry: one constructor per cloud.

use super::address::CloudUrl;
use super::providers::Providers;
use cloudkit_core::common::{CloudConfig, CloudResult, ProviderType};
use cloudkit_core::core::{CloudContextBuilder, DynCloud};

/// Where a program begins.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cloudkit::common::CloudResult<()> {
/// use cloudkit::prelude::*;
///
/// let context = CloudKit::aws().region(Region::aws_eu_west_1()).build().await?;
/// assert_eq!(context.region().code(), "eu-west-1");
/// # Ok(())
/// # }
/// ```
///
/// The constructor of a cloud whose provider is part of the program gives that provider's builder; otherwise that of a bare
/// context, with the same methods.
pub struct CloudKit;

impl CloudKit {
    /// Amazon Web Services, or what speaks its protocols at an endpoint.
    #[cfg(feature = "aws")]
    pub fn aws() -> cloudkit_aws::AwsBuilder {
        cloudkit_aws::AwsBuilder::new()
    }

    /// Amazon Web Services.
    #[cfg(not(feature = "aws"))]
    pub fn aws() -> CloudContextBuilder {
        context(ProviderType::Aws)
    }

    /// Microsoft Azure.
    pub fn azure() -> CloudContextBuilder {
        context(ProviderType::Azure)
    }

    /// Google Cloud Platform.
    pub fn gcp() -> CloudContextBuilder {
        context(ProviderType::Gcp)
    }

    /// Oracle Cloud Infrastructure.
    pub fn oracle() -> CloudContextBuilder {
        context(ProviderType::Oracle)
    }

    /// ZeroCloud, at `ZERO_URL`, else `AWS_ENDPOINT_URL`, else `http://localhost:8080`, unless told otherwise.
    #[cfg(feature = "zero")]
    pub fn zero() -> cloudkit_zero::ZeroBuilder {
        cloudkit_zero::ZeroBuilder::new()
    }

    /// ZeroCloud, at `http://localhost:8080` unless told otherwise.
    #[cfg(not(feature = "zero"))]
    pub fn zero() -> CloudContextBuilder {
        context(ProviderType::Zero).endpoint(local(ProviderType::Zero))
    }

    /// A cloud's double on this machine, at the port where it usually listens.
    pub fn cloudemu(provider: ProviderType) -> CloudContextBuilder {
        context(provider).endpoint(local(provider))
    }

    /// The cloud that the settings are for; [`connect`](CloudContextBuilder::connect) gives its services.
    pub fn from_config(provider: ProviderType, config: CloudConfig) -> CloudContextBuilder {
        context(provider).config(config)
    }

    /// The cloud at an address such as `zero://host:8080?tls=1&region=local`; see [`CloudUrl`] for its form.
    ///
    /// # Errors
    /// [`CloudError::Config`](cloudkit_core::common::CloudError::Config) when the address has another form, or the feature of
    /// its provider is off.
    pub async fn from_url(url: &str) -> CloudResult<DynCloud> {
        let CloudUrl { provider, config } = CloudUrl::parse(url)?;
        match provider {
            Some(provider) => Self::from_config(provider, config).connect().await,
            None => super::memory::connect(config).await,
        }
    }
}

/// The builder of a context that the providers of this program can make a cloud of.
fn context(provider: ProviderType) -> CloudContextBuilder {
    let builder = CloudContextBuilder::new(provider).connector(Providers);
    #[cfg(feature = "zero")]
    if provider == ProviderType::Zero {
        // The environment first, as everywhere, then the appliance's own file.
        return builder.auth_provider(cloudkit_zero::ZeroAuthProvider);
    }
    #[cfg(feature = "aws")]
    if provider == ProviderType::Aws {
        return builder.auth_provider(cloudkit_aws::AwsAuthProvider::new());
    }
    builder
}

/// Where a cloud's double usually listens.
fn local(provider: ProviderType) -> &'static str {
    match provider {
        ProviderType::Aws => "http://localhost:4566",
        ProviderType::Azure => "http://localhost:4567",
        ProviderType::Gcp => "http://localhost:4568",
        ProviderType::Oracle => "http://localhost:4569",
        ProviderType::Zero => "http://localhost:8080",
    }
}
