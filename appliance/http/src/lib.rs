//! HTTP/1.1 and HTTP/2 on ring streams: one port, both versions, plain or TLS.
//!
//! A [`Server`] turns bytes into [`Request`]s under the bounds of [`Limits`] and hands each to a [`Handler`], which
//! runs on the core that accepted the connection. The answer goes through the request's own [`Responder`].
//!
//! What this crate promises its callers:
//! - The request target reaches the handler byte for byte as it was sent: signatures are computed over it.
//! - Nothing ambiguous is interpreted. A message whose framing two implementations could read differently is refused
//!   and its connection closed (RFC 9112 section 11.2).
//! - A handler's future is never cancelled because its client went away: a write that began comes to its end, and only
//!   the calls on body and response report the loss.
//! - Every wait for a client has an end, and every buffer a bound.
//!
//! Left to others: routing, authentication, content coding, ranges. HTTP trailers are checked and dropped; protocol
//! upgrades (`Upgrade`, CONNECT) are not offered.
#![forbid(unsafe_code)]

mod body;
pub mod client;
mod core;
mod date;
mod exchange;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod http1;
mod http2;
mod limits;
#[doc(hidden)]
pub mod measured;
mod message;
mod pace;
mod respond;
mod server;
mod shutdown;
mod spread;
#[cfg(test)]
mod testing;
mod tls;
mod tracked;
mod watch;

pub use body::RequestBody;
pub use exchange::{Reply, ReplyFuture, detached_request};
pub use limits::Limits;
pub use message::{
    BodyError, BodyLength, Handler, Refusal, Request, RequestHead, ResponseHead, SendError, Version,
};
pub use respond::{Responder, ResponseWriter};
pub use server::{Server, Stream, serve};
pub use shutdown::Shutdown;
pub use spread::{Lent, Seat, seats};
pub use tls::{TlsAcceptor, TlsError, TlsSettings};
