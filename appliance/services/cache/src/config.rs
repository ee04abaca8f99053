//! What the configuration says about the cache's doors. How much is kept, and for how long, is `cas::Settings`.

/// The settings of the service; `Default` is what a configuration without a `[cache]` table means.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whether the listeners serve nothing but the cache, so that words that may be names of buckets are ours: `/cas/`,
    /// `/ac/`, `/status`.
    pub root_aliases: bool,
}
