//! An appliance through the provider of AWS as a subject of the suite.

use cloudkit_aws::{AwsBuilder, AwsClient};
use cloudkit_conformance::random::Services;
use cloudkit_conformance::{Appliance, OverAppliance};
use cloudkit_core::common::CloudConfig;
use cloudkit_core::spi::StaticAuthProvider;
use std::time::Duration;

/// An appliance of its own, what the suite must know of it, and a client.
pub struct Aws {
    /// Ends with this.
    pub appliance: Appliance,
    /// Its names and its way to open signed addresses.
    pub subject: OverAppliance,
    /// The provider.
    pub client: AwsClient,
}

impl Aws {
    /// Starts the appliance.
    pub async fn start() -> Self {
        let appliance = Appliance::start().expect("ZEROCLOUD_BINARY names an appliance that starts");
        let keys = appliance.credentials().expect("it has written its keys");
        // A machine that stands still for a while makes no test fail.
        let config = CloudConfig { timeout: PATIENCE, request_timeout: PATIENCE, ..CloudConfig::default() };
        let builder = AwsBuilder::new().config(config).auth_provider(StaticAuthProvider::new(keys));
        let client = builder.endpoint(appliance.url()).build().await.expect("the address is good");
        let subject = OverAppliance::new("aws", &appliance).expect("it speaks plain HTTP");
        Self { appliance, subject, client }
    }

    /// Its services beside those of others. The appliance lives as long as the first of both.
    #[allow(dead_code, reason = "not every test compares")]
    pub fn services(self) -> (Appliance, Services) {
        let Self { appliance, subject, client } = self;
        let services =
            Services::new(subject, client.storage(), client.kv_store(), client.queue(), client.pubsub());
        (appliance, services)
    }
}

const PATIENCE: Duration = Duration::from_secs(600);
