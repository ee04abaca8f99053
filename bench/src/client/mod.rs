//! Speaking to servers: sockets on the ring, HTTP/1.1 on them, and a stream for libraries that want to be polled; outside
//! the clock a plain blocking client.

pub mod blocking;
pub mod duplex;
pub mod http1;
pub mod http2;
pub mod wire;
