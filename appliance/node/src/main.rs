//! The appliance.
#![forbid(unsafe_code)]
fn main() {}
