//! What an operator decides about this service.

use std::net::SocketAddr;

/// The service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The region of this appliance.
    pub region: String,
    /// Where clients find this appliance, scheme and authority without a slash at the end, as it stands in the URLs that
    /// messages carry. None: as the request's Host says.
    pub public_url: Option<String>,
    /// Where this appliance listens, to which no message is sent.
    pub listeners: Vec<SocketAddr>,
}
