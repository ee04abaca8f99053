//! What an operator decides about the service.
//! Invariant: every setting here has an effect.

/// The service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The region that ARNs name.
    pub region: String,
}
