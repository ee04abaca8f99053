//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//! Left to others: telling it apart from HTTP/2 (`server`).

mod bulk;
pub(crate) mod chunked;
mod connection;
mod encode;
pub(crate) mod head;
mod outgoing;
mod serve;
mod turn;

pub(crate) use connection::Connection;
#[cfg(test)]
pub(crate) use connection::connection_bytes;
pub(crate) use encode::{is_ours, remove_ours};
pub(crate) use head::{HEADER_COUNT_CEILING, parse_host, parse_length};
pub(crate) use outgoing::Outgoing;
pub(crate) use serve::serve;
pub(crate) use turn::{Incoming, Turn};
