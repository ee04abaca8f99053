//! The providers that this program was built with.

use async_trait::async_trait;
use cloudkit_core::common::{CloudError, CloudResult};
use cloudkit_core::core::{CloudContext, Connector, DynCloud};

/// Makes clouds of those providers whose features are enabled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Providers;

#[async_trait]
impl Connector for Providers {
    /// # Errors
    /// [`CloudError::Config`] when the provider's feature is off, with its name.
    async fn connect(&self, context: CloudContext) -> CloudResult<DynCloud> {
        #[cfg(feature = "zero")]
        if context.provider == cloudkit_core::common::ProviderType::Zero {
            return Ok(cloudkit_zero::ZeroClient::from_context(context)?.into_cloud());
        }
        Err(missing(&context.provider.to_string()))
    }
}

/// The refusal of a provider whose feature is off.
pub(super) fn missing(feature: &str) -> CloudError {
    CloudError::Config(format!("this program was built without the feature `{feature}` of cloudkit"))
}
