//! A door for `bench/instructions`, which counts what reading the head of a request costs. Nothing else goes through it.
//! Leaves to http1/connection.rs: the stream, and heads that come in parts.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::http1::head;
use crate::{Limits, Refusal, RequestHead};

/// Finds, copies and parses the head at the front of `buffer`, as a connection does with one that came whole. Gives nothing
/// while its end is missing. Errors: what a client would be refused with.
pub fn read_head(buffer: &[u8], limits: &Limits, peer: SocketAddr) -> Result<Option<RequestHead>, Refusal> {
    let Some(end) = head::find_end(buffer, 0, limits)? else { return Ok(None) };
    let raw = Bytes::copy_from_slice(&buffer[..end]);
    head::parse(&raw, limits, peer, false).map(|parsed| Some(parsed.head))
}
