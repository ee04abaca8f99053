//! Which cloud a context speaks to.

use std::fmt;

/// A cloud. Displays in lower case, as it stands in errors, metrics and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderType {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud Platform.
    Gcp,
    /// Oracle Cloud Infrastructure.
    Oracle,
    /// ZeroCloud.
    Zero,
}

impl fmt::Display for ProviderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Oracle => "oracle",
            Self::Zero => "zero",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ProviderType;

    #[test]
    fn a_provider_displays_in_lower_case() {
        let all = [
            ProviderType::Aws,
            ProviderType::Azure,
            ProviderType::Gcp,
            ProviderType::Oracle,
            ProviderType::Zero,
        ];
        assert_eq!(all.map(|one| one.to_string()), ["aws", "azure", "gcp", "oracle", "zero"]);
    }
}
