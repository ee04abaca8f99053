//! What the configuration says about the cache's doors. How much is kept, and for how long, is `cas::Settings`.

use std::sync::Arc;
use std::time::Duration;

use crate::rate::Rates;

/// The settings of the service; `Default` is what a configuration without a `[cache]` table means.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether the listeners serve nothing but the cache, so that words that may be names of buckets are ours: `/cas/`,
    /// `/ac/`, `/status`.
    pub root_aliases: bool,
    /// How much namespaces and addresses may have at once; one for all cores.
    pub rates: Arc<Rates>,
    /// How long a lookup may take until the first byte of its answer: what is not there by then is shed, since a build had better do
    /// its work than wait.
    pub first_byte: Duration,
    /// Lookups of one core that may wait for the store at once; one more is shed right away.
    pub waiting_count_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            root_aliases: false,
            rates: Arc::default(),
            first_byte: Duration::from_millis(250),
            waiting_count_max: 1_024,
        }
    }
}
