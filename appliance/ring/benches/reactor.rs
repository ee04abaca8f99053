//! Benchmarks of the reactor.
fn main() {}
