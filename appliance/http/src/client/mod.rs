//! A pooled client for HTTP/1.1 and HTTP/2 with prior knowledge, to one address, on one core.
//!
//! Invariant: an HTTP/1 connection returns to the pool only when both bodies were complete and the server keeps it.
//! Left to others: names, redirects, retries, time limits (`ring::timeout` around any call).

mod http1;
mod http2;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::{fmt, io};

use bytes::Bytes;
use http_types::{HeaderMap, Method};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::{Limits, ResponseHead, Stream};

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time per connection.
    Http1,
    /// HTTP/2, all requests on one connection.
    Http2,
}

/// The head of a request to send.
#[derive(Clone, Debug)]
pub struct RequestTo {
    /// The method.
    pub method: Method,
    /// Path and query as they are to be sent, percent-encoded.
    pub target: String,
    /// What `Host` or `:authority` says.
    pub authority: String,
    /// Further fields; framing fields are the client's business.
    pub headers: HeaderMap,
}

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection could not be made or broke.
    Io(io::Error),
    /// The server closed before its answer was complete.
    Closed,
    /// The server's answer is malformed, or over a bound.
    Malformed(&'static str),
    /// The call cannot be sent as it is: a bad target, or bytes beyond the announced length.
    Misuse(&'static str),
    /// HTTP/2 reported an error on the stream or the connection.
    Http2(h2::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::Closed => f.write_str("the server closed before its answer was complete"),
            Self::Malformed(what) => write!(f, "the answer is malformed: {what}"),
            Self::Misuse(what) => write!(f, "the request cannot be sent: {what}"),
            Self::Http2(error) => write!(f, "HTTP/2 failed: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<h2::Error> for ClientError {
    fn from(error: h2::Error) -> Self {
        Self::Http2(error)
    }
}

/// Connections to one server.
#[derive(Clone)]
pub struct Client {
    inner: Rc<Inner>,
}

struct Inner {
    address: SocketAddr,
    protocol: Protocol,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    idle: RefCell<Vec<http1::Idle>>,
    http2: RefCell<Option<http2::Sender>>,
    /// What is demanded of answers: the bounds of heads and framing.
    limits: Limits,
}

/// Idle HTTP/1 connections kept per client.
const IDLE_CONNECTIONS_MAX: usize = 1024;

impl Client {
    /// A client without a connection yet.
    #[must_use]
    pub fn new(address: SocketAddr, protocol: Protocol) -> Self {
        Self::build(address, protocol, None)
    }

    /// A client over TLS. Over HTTP/2 the configuration must offer `h2` by ALPN.
    #[must_use]
    pub fn with_tls(
        address: SocketAddr,
        protocol: Protocol,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Self {
        Self::build(address, protocol, Some((config, name)))
    }

    fn build(
        address: SocketAddr,
        protocol: Protocol,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Self {
        let (idle, http2) = Default::default();
        Self { inner: Rc::new(Inner { address, protocol, tls, idle, http2, limits: Limits::default() }) }
    }

    /// Sends the head of a request whose body follows by `Call::write`: of `length` bytes, or of any length.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start(&self, request: &RequestTo, length: Option<u64>) -> Result<Call, ClientError> {
        self.begin(request, length, Bytes::new()).await
    }

    /// Sends a whole request and collects the whole answer, of at most `body_bytes_max` bytes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fetch(
        &self,
        request: &RequestTo,
        body: Bytes,
        body_bytes_max: usize,
    ) -> Result<(ResponseHead, Bytes), ClientError> {
        let call = self.begin(request, Some(body.len() as u64), body).await?;
        let head = call.send_and_respond().await?;
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut total = 0;
        while let Some(piece) = call.next().await.transpose()? {
            total += piece.len();
            if total > body_bytes_max {
                return Err(ClientError::Malformed("the answer is longer than asked for"));
            }
            pieces.push(piece);
        }
        let whole = if pieces.len() == 1 { pieces.pop() } else { None };
        Ok((head, whole.unwrap_or_else(|| pieces.concat().into())))
    }

    async fn begin(
        &self,
        request: &RequestTo,
        length: Option<u64>,
        first: Bytes,
    ) -> Result<Call, ClientError> {
        Ok(match self.inner.protocol {
            Protocol::Http1 => {
                let connection = match self.idle_connection().await {
                    Some(connection) => connection,
                    None => http1::Idle::new(self.connect().await?),
                };
                Call::Http1(Box::new(connection.begin(request, length, first, &self.inner)?))
            }
            Protocol::Http2 => {
                let sender = match self.inner.http2.borrow().clone() {
                    Some(sender) if sender.is_open() => Some(sender),
                    _ => None,
                };
                let sender = match sender {
                    Some(sender) => sender,
                    None => {
                        let sender = http2::Sender::handshake(self.connect().await?).await?;
                        self.inner.http2.replace(Some(sender.clone()));
                        sender
                    }
                };
                Call::Http2(sender.begin(request, length, first, self.inner.tls.is_some()).await?)
            }
        })
    }

    /// A pooled connection that the server has not closed meanwhile.
    async fn idle_connection(&self) -> Option<http1::Idle> {
        loop {
            let mut idle = self.inner.idle.borrow_mut().pop()?;
            if poll_fn(|cx| Poll::Ready(idle.is_fresh(cx))).await {
                return Some(idle);
            }
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let stream = ring::TcpStream::connect(self.inner.address).await?;
        match &self.inner.tls {
            None => Ok(Box::new(stream)),
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                Ok(Box::new(connector.connect(name.clone(), stream).await?))
            }
        }
    }
}

impl Inner {
    fn give_back(&self, connection: http1::Idle) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }
}

/// A request under way. Its methods take `&self`, so that body and answer can be driven at the same time.
pub enum Call {
    /// Over HTTP/1.1.
    #[doc(hidden)]
    Http1(Box<http1::Call>),
    /// Over HTTP/2.
    #[doc(hidden)]
    Http2(http2::Call),
}

impl Call {
    /// Sends a piece of the body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn write(&self, data: Bytes) -> Result<(), ClientError> {
        match self {
            Self::Http1(call) => call.write(data).await,
            Self::Http2(call) => call.write(data).await,
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn finish(&self) -> Result<(), ClientError> {
        match self {
            Self::Http1(call) => call.finish().await,
            Self::Http2(call) => call.finish().await,
        }
    }

    /// Waits for the head of the answer. Interim answers are skipped.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn response(&self) -> Result<ResponseHead, ClientError> {
        match self {
            Self::Http1(call) => poll_fn(|cx| call.poll_response(cx)).await,
            Self::Http2(call) => poll_fn(|cx| call.poll_response(cx)).await,
        }
    }

    /// The next piece of the answer's body, or `None` at its end. Only after `response`.
    pub async fn next(&self) -> Option<Result<Bytes, ClientError>> {
        match self {
            Self::Http1(call) => poll_fn(|cx| call.poll_next(cx)).await,
            Self::Http2(call) => poll_fn(|cx| call.poll_next(cx)).await,
        }
    }

    /// Finishes the request while waiting for the answer: a server may answer without reading the body.
    async fn send_and_respond(&self) -> Result<ResponseHead, ClientError> {
        let mut sending = pin!(self.finish());
        let mut response = pin!(self.response());
        let mut sent = false;
        poll_fn(|cx| {
            // An error in sending is only worth telling if no answer explains it.
            let failed = match sent {
                false => match sending.as_mut().poll(cx) {
                    Poll::Ready(result) => {
                        sent = true;
                        result.err()
                    }
                    Poll::Pending => None,
                },
                true => None,
            };
            match (response.as_mut().poll(cx), failed) {
                (Poll::Ready(Ok(head)), _) => Poll::Ready(Ok(head)),
                (_, Some(error)) => Poll::Ready(Err(error)),
                (other, None) => other,
            }
        })
        .await
    }
}
