//! HTTP/2 (RFC 9113) on the `h2` crate.
//! Left to others: frames, HPACK and flow-control accounting (`h2`); telling it apart from HTTP/1 (`server`).

mod connection;
mod head;
mod stream;

pub(crate) use connection::serve;
