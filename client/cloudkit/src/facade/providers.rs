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
    /// [`CloudError::Config`] when the provider's feature is off, with its name, or there is no such provider yet.
    async fn connect(&self, context: CloudContext) -> CloudResult<DynCloud> {
        #[cfg(feature = "zero")]
        if context.provider == cloudkit_core::common::ProviderType::Zero {
            return Ok(cloudkit_zero::ZeroClient::from_context(context)?.into_cloud());
        }
        #[cfg(feature = "aws")]
        if context.provider == cloudkit_core::common::ProviderType::Aws {
            return Ok(cloudkit_aws::AwsClient::from_context(context)?.into_cloud());
        }
        Err(missing(&context.provider.to_string()))
    }
}

/// The refusal of a provider whose feature is off, or that has none.
pub(super) fn missing(provider: &str) -> CloudError {
    if FEATURES.contains(&provider) {
        return CloudError::Config(format!(
            "this program was built without the feature `{provider}` of cloudkit"
        ));
    }
    let features = FEATURES.join("`, `");
    CloudError::Config(format!(
        "cloudkit has no provider of {provider} yet; its features of providers are `{features}`"
    ))
}

/// The features that bring a provider, each named as what it brings.
const FEATURES: [&str; 3] = ["zero", "aws", "testing"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_features_that_there_are() {
        let manifest = include_str!("../../Cargo.toml");
        for feature in FEATURES {
            assert!(manifest.contains(&format!("\n{feature} = [")), "{feature}");
            assert!(missing(feature).to_string().contains(&format!("without the feature `{feature}`")));
        }
        let refused = missing("azure").to_string();
        assert!(refused.contains("no provider of azure yet") && refused.contains("`zero`"), "{refused}");
        assert!(!refused.contains("`azure`"), "{refused}");
    }
}
