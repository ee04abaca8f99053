//! What the binaries share: the choice of one target by its name.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

/// A fuzz function: it takes any bytes and panics if an invariant does not hold.
pub type Target = fn(&[u8]);

/// The variable that names the target.
pub const VARIABLE: &str = "FUZZ_TARGET";

/// Calls the one of `targets` that the environment names, without looking it up a second time.
pub fn run(targets: &[(&str, Target)], data: &[u8]) {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    let target = CHOSEN.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).unwrap_or_default();
        let found = targets.iter().find(|(name, _)| *name == wanted);
        let names: Vec<_> = targets.iter().map(|(name, _)| *name).collect();
        found.unwrap_or_else(|| panic!("{VARIABLE} must be one of {}", names.join(", "))).1
    });
    target(data);
}
