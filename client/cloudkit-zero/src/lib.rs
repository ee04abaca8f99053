//! The zero provider: the client of a ZeroCloud appliance.
//!
//! Arrows down: call (attempts, signatures) -> wire (one request, one answer) -> pool -> http2, http1 -> connect. A service makes a
//! `call::Request` and reads the `reply::Reply`; nothing below call.rs knows of services, nothing above connect.rs of sockets.
#![forbid(unsafe_code)]

pub mod body;
pub mod call;
pub mod checksum;
pub mod chunked;
pub mod connect;
pub mod credentials;
pub mod date;
pub mod download;
pub mod dynamodb;
pub mod encode;
pub mod error;
mod failure;
pub mod fault;
pub mod http1;
pub mod http2;
pub mod pool;
mod profile;
pub mod reply;
pub mod retry;
mod rounds;
pub mod service;
pub mod sign;
pub mod sns;
pub mod sqs;
#[cfg(test)]
mod trial;
pub mod wire;
pub mod xml;
