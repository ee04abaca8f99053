//! Bytes to and from a server: a socket on monoio's ring, or a TLS stream over one.
//!
//! Invariant: a read appends to the buffer that it is given; buffers come back whatever happens, so that a connection
//! allocates nothing once it is warm. No operation is dropped in flight (see load/runtime.rs).

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use rustix::io::Errno;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::duplex::Duplex;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends a connection from outside of the task that reads it.
pub struct Closer(TcpStream);

impl Closer {
    /// Another one of the same connection.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn again(&self) -> io::Result<Closer> {
        self.0.try_clone().map(Closer)
    }

    /// Whatever is being read or written completes with an error or an end.
    pub fn close(&self) {
        // The other side may have closed it first, and then there is nothing left to do.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

/// Whether a connection may be waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It may.
    BeforeTheClock,
    /// Others would be late.
    InTheRun,
}

/// How to speak TLS: trust, offered protocols, and the name that the certificate must have.
#[derive(Clone)]
pub struct Tls {
    /// Trust and ALPN.
    pub config: Arc<ClientConfig>,
    /// The server's name.
    pub name: ServerName<'static>,
}

/// Connects before the clock starts, where waiting costs nothing. Gives a second handle that can end the connection.
///
/// # Errors
/// What the kernel says, or nothing within five seconds.
fn connect_waiting(address: SocketAddr) -> io::Result<(monoio::net::TcpStream, Closer)> {
    let socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    socket.set_nodelay(true)?;
    let closer = Closer(socket.try_clone()?);
    Ok((monoio::net::TcpStream::from_std(socket)?, closer))
}

/// Begins a connection and waits for nothing: what is sent first waits for its end, on the ring. A worker that blocked here
/// would be late for all of its other connections.
///
/// # Errors
/// What the kernel says at once.
fn connect(address: SocketAddr) -> io::Result<(monoio::net::TcpStream, Closer)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The ring waits only for sockets that would block.
    socket.set_nonblocking(false)?;
    let socket = TcpStream::from(socket);
    let closer = Closer(socket.try_clone()?);
    Ok((monoio::net::TcpStream::from_std(socket)?, closer))
}

impl Tls {
    /// TLS to `host`, which may have a port, trusting the certificates of a PEM file and nobody else.
    ///
    /// # Errors
    /// In words: a file that holds no certificate, a host that is no name.
    pub fn trusting(ca: &Path, host: &str, is_http2: bool) -> Result<Tls, String> {
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(ca).map_err(|error| format!("{}: {error}", ca.display()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| format!("{}: {error}", ca.display()))?;
            roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
        }
        if roots.is_empty() {
            return Err(format!("{} holds no certificate", ca.display()));
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let name =
            ServerName::try_from(name.to_owned()).map_err(|_| format!("{name} is no name of a server"))?;
        Ok(Tls { config: Arc::new(config), name })
    }

    /// The same trust, for a connection that speaks HTTP/1.1 whatever the others speak.
    pub fn for_http1(&self) -> Tls {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Tls { config: Arc::new(config), name: self.name.clone() }
    }

    async fn agree(&self, socket: monoio::net::TcpStream) -> io::Result<TlsStream<Duplex>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.name.clone(), Duplex::start(socket)).await
    }
}

fn open(address: SocketAddr, when: When) -> io::Result<(monoio::net::TcpStream, Closer)> {
    match when {
        When::BeforeTheClock => connect_waiting(address),
        When::InTheRun => connect(address),
    }
}

/// What `h2` speaks over.
pub trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ReadWrite for S {}

/// A connection as a stream that is polled, for HTTP/2.
///
/// # Errors
/// No connection, or no agreement on TLS or, under it, on HTTP/2.
pub async fn connect_stream(
    address: SocketAddr,
    tls: Option<&Tls>,
    when: When,
) -> io::Result<(Box<dyn ReadWrite>, Closer)> {
    let (socket, closer) = open(address, when)?;
    let Some(tls) = tls else { return Ok((Box::new(Duplex::start(socket)), closer)) };
    let stream = tls.agree(socket).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the server does not offer HTTP/2"));
    }
    Ok((Box::new(stream), closer))
}

/// A connection as bytes.
pub enum Wire {
    /// Plain: operations on the ring with owned buffers.
    Plain(monoio::net::TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<Duplex>>),
}

impl Wire {
    /// A connection to `address`, and what can end it.
    ///
    /// # Errors
    /// No connection, or no agreement on TLS.
    pub async fn connect(address: SocketAddr, tls: Option<&Tls>, when: When) -> io::Result<(Wire, Closer)> {
        let (socket, closer) = open(address, when)?;
        let Some(tls) = tls else { return Ok((Wire::Plain(socket), closer)) };
        Ok((Wire::Tls(Box::new(tls.agree(socket).await?)), closer))
    }

    /// Appends what has arrived to `buffer`, at most to its capacity, of which some must be left: how many bytes, 0 at the
    /// end of the connection.
    pub async fn read(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let filled = buffer.len();
        assert!(filled < buffer.capacity(), "a full buffer would look like the end of the connection");
        match self {
            Wire::Plain(socket) => {
                let (result, slice) = socket.read(buffer.slice_mut(filled..)).await;
                (result, slice.into_inner())
            }
            Wire::Tls(stream) => (stream.read_buf(&mut buffer).await, buffer),
        }
    }

    /// Sends all of `bytes`.
    pub async fn write(&mut self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Wire::Plain(socket) => {
                let (result, bytes) = socket.write_all(bytes).await;
                (result.map(drop), bytes)
            }
            Wire::Tls(stream) => {
                let mut result = stream.write_all(&bytes).await;
                if result.is_ok() {
                    result = stream.flush().await;
                }
                (result, bytes)
            }
        }
    }

    /// Sends all of a piece of a body, without a copy of it unless it is encrypted.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn write_piece(&mut self, piece: Bytes) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.write_all(piece).await.0.map(drop),
            Wire::Tls(stream) => {
                stream.write_all(&piece).await?;
                stream.flush().await
            }
        }
    }
}
