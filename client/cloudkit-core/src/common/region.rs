//! Regions: a provider's name for a place, its code in requests and its name for people.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A region of one provider. Displays as `provider/code`; the default is `aws/us-east-1`, as it always was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Region {
    provider: String,
    code: String,
    name: String,
}

impl Region {
    /// A region that has no constructor of its own here: the provider in lower case, the code as requests carry it, and a
    /// name for people.
    pub fn new(provider: impl Into<String>, code: impl Into<String>, name: impl Into<String>) -> Self {
        Self { provider: provider.into(), code: code.into(), name: name.into() }
    }

    /// The code as requests carry it, such as `us-east-1`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The provider in lower case, such as `aws`.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One constructor per known region.
macro_rules! regions {
    ($($function:ident $provider:literal $code:literal $name:literal;)*) => {
        impl Region {
            $(
                #[doc = concat!("`", $provider, "/", $code, "`, ", $name, ".")]
                pub fn $function() -> Self {
                    Self::new($provider, $code, $name)
                }
            )*

            /// The region of this provider and code, with its name if it is a known one and with the code for a name if not.
            pub fn find(provider: &str, code: &str) -> Self {
                match (provider, code) {
                    $(($provider, $code) => Self::$function(),)*
                    _ => Self::new(provider, code, code),
                }
            }
        }
    };
}

regions! {
    aws_us_east_1 "aws" "us-east-1" "US East (N. Virginia)";
    aws_us_east_2 "aws" "us-east-2" "US East (Ohio)";
    aws_us_west_1 "aws" "us-west-1" "US West (N. California)";
    aws_us_west_2 "aws" "us-west-2" "US West (Oregon)";
    aws_eu_west_1 "aws" "eu-west-1" "EU (Ireland)";
    aws_eu_central_1 "aws" "eu-central-1" "EU (Frankfurt)";
    aws_af_south_1 "aws" "af-south-1" "Africa (Cape Town)";
    azure_east_us "azure" "eastus" "East US";
    azure_west_us "azure" "westus" "West US";
    azure_west_europe "azure" "westeurope" "West Europe";
    azure_south_africa_north "azure" "southafricanorth" "South Africa North";
    gcp_us_central1 "gcp" "us-central1" "Iowa";
    gcp_us_east1 "gcp" "us-east1" "South Carolina";
    gcp_europe_west1 "gcp" "europe-west1" "Belgium";
    oracle_us_ashburn_1 "oracle" "us-ashburn-1" "US East (Ashburn)";
    oracle_uk_london_1 "oracle" "uk-london-1" "UK South (London)";
    oracle_af_johannesburg_1 "oracle" "af-johannesburg-1" "South Africa (Johannesburg)";
    zero_local "zero" "local" "ZeroCloud Local";
    zero_default "zero" "default" "ZeroCloud Default";
}

impl Default for Region {
    fn default() -> Self {
        Self::aws_us_east_1()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::Region;

    #[test]
    fn a_region_displays_as_provider_and_code() {
        assert_eq!(Region::default().to_string(), "aws/us-east-1");
        assert_eq!(Region::azure_south_africa_north().to_string(), "azure/southafricanorth");
        assert_eq!(Region::gcp_us_central1().to_string(), "gcp/us-central1");
        assert_eq!(Region::oracle_uk_london_1().to_string(), "oracle/uk-london-1");
        assert_eq!(Region::zero_local().to_string(), "zero/local");
        assert_eq!(Region::new("zero", "rack-7", "Cellar").to_string(), "zero/rack-7");
    }

    #[test]
    fn a_known_region_is_found_with_its_name() {
        assert_eq!(Region::find("zero", "local"), Region::zero_local());
        assert_eq!(Region::find("aws", "eu-west-1"), Region::aws_eu_west_1());
        assert_eq!(Region::find("aws", "mars-1"), Region::new("aws", "mars-1", "mars-1"));
    }

    #[test]
    fn a_region_survives_serde() {
        let text = serde_json::to_string(&Region::zero_default()).unwrap();
        assert_eq!(text, r#"{"provider":"zero","code":"default","name":"ZeroCloud Default"}"#);
        assert_eq!(serde_json::from_str::<Region>(&text).unwrap(), Region::zero_default());
    }
}
