//! Speaking to servers: sockets on the ring, HTTP/1.1 and the protocols of other peers on them, and a stream for libraries
//! that want to be polled; outside the clock a plain blocking client.

pub mod amqp;
pub mod blocking;
mod buffered;
pub mod duplex;
#[cfg(test)]
mod hostile;
pub mod http1;
pub mod http2;
pub mod line;
pub mod nats;
pub mod resp;
pub mod wire;
