//! What the operator says about this service.

/// The configuration of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The region of every queue.
    pub region: String,
    /// How clients reach this appliance, where that is not the host that they send; with its scheme.
    pub public_url: Option<String>,
}
