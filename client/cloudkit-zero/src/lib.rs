//! The zero provider: the client of a ZeroCloud appliance.
//!
//! ```no_run
//! # async fn show() -> cloudkit_core::common::CloudResult<()> {
//! use cloudkit_core::api::ObjectStorage;
//!
//! let client = cloudkit_zero::ZeroBuilder::new().endpoint("http://localhost:8080").build().await?;
//! client.storage().put_object("logs", "a.txt", b"hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Arrows down: client -> s3 and the other services -> service (names, figures, failures) -> call (attempts, signatures) -> wire (one request, one answer) -> pool -> http2, http1 -> connect. A service makes a
//! `call::Request` and reads the `reply::Reply`; nothing below call.rs knows of services, nothing above connect.rs of sockets.
#![forbid(unsafe_code)]

pub mod body;
pub mod call;
pub mod checksum;
pub mod chunked;
mod client;
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
pub mod iam;
pub mod lambda;
pub mod net;
pub mod pool;
mod profile;
pub mod reply;
pub mod retry;
mod rounds;
pub mod s3;
pub mod service;
pub mod sign;
pub mod sns;
pub mod sqs;
#[cfg(test)]
mod trial;
pub mod wire;
pub mod xml;

pub use client::{RawAnswer, RawRequest, ZeroBuilder, ZeroClient};
pub use credentials::ZeroAuthProvider;
