//! The appliance: one process that serves a data directory, and the commands that look after it.
//! Invariant: what goes wrong before serving is one line on stderr and an exit code that tells a supervisor what to do.
//! Leaves to serve.rs: serving. Leaves to the services: what requests mean.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod credentials;
mod env_command;
mod exit;
mod log;
mod machine;
mod metrics;
mod private_file;
mod random;
#[cfg(test)]
mod scratch;

fn main() {}
