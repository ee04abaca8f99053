//! One connection of bytes to the endpoint: name, TCP, TLS, and which HTTP the peer agreed to.
//! Leaves the protocols to http2.rs and http1.rs, and how many connections there are to pool.rs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http_types::Uri;
use http_types::uri::{Authority, Scheme};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Sent, WireError, WireKind};

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whether it is met by TLS.
    pub is_tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// Of TCP.
    pub port: u16,
    /// Host and port as they stand in requests and signatures; without the port where it is the scheme's own.
    pub authority: Authority,
}

impl Target {
    /// Reads `http://host:port` or `https://host`. Errors: another scheme, no host, user, path or query.
    pub fn parse(url: &str) -> Result<Target, WireError> {
        let refuse = |why: &str| WireError::config(format!("endpoint {url:?}: {why}"));
        let uri: Uri = url.parse().map_err(|_| refuse("is not a URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse("begins with neither http:// nor https://")),
        };
        let given = uri.authority().ok_or_else(|| refuse("names no host"))?;
        if given.as_str().contains('@') {
            return Err(WireError::config("the endpoint holds a user; give credentials by other means"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("holds more than scheme, host and port"));
        }
        let own_port = if is_tls { 443 } else { 80 };
        let port = given.port_u16().unwrap_or(own_port);
        let bare = given.host();
        if bare.is_empty() {
            return Err(refuse("names no host"));
        }
        if given.as_str() != bare && given.port_u16().is_none() {
            return Err(refuse("has a port that is no number of one"));
        }
        let text = if port == own_port { bare.to_string() } else { format!("{bare}:{port}") };
        let authority = text.parse().map_err(|_| refuse("names no host"))?;
        let host = bare.trim_start_matches('[').trim_end_matches(']').to_string();
        Ok(Target { is_tls, host, port, authority })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Whether nobody but this machine sees the bytes.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// How connections are made.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// For name, TCP, TLS and the first bytes of HTTP together.
    pub timeout: Duration,
    /// Certificates to trust, PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must have, where it is not that of the endpoint.
    pub server_name: Option<String>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions { timeout: Duration::from_secs(3), ca_file: None, server_name: None }
    }
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreed {
    /// ALPN said HTTP/2.
    Http2,
    /// ALPN said HTTP/1.1, or the peer knows no ALPN.
    Http1,
    /// Plain TCP: nobody asked yet.
    Nothing,
}

/// Makes connections.
pub struct Connector {
    target: Target,
    options: ConnectOptions,
    /// Made at the first connection: reading the system's certificates takes milliseconds.
    tls: OnceLock<TlsConnector>,
    #[cfg(test)]
    dial: Option<Dial>,
}

/// A peer within the process.
#[cfg(test)]
pub type Dial = Box<dyn Fn() -> io::Result<tokio::io::DuplexStream> + Send + Sync>;

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.target.authority)
    }
}

impl Connector {
    /// To `target`; nothing is opened yet.
    pub fn new(target: Target, options: ConnectOptions) -> Connector {
        Connector {
            target,
            options,
            tls: OnceLock::new(),
            #[cfg(test)]
            dial: None,
        }
    }

    /// To a peer within the process, for tests with a clock of their own.
    #[cfg(test)]
    pub fn dialing(dial: Dial) -> Connector {
        let target = Target::parse("http://peer.test").expect("it is a URL");
        Connector { dial: Some(dial), ..Connector::new(target, ConnectOptions::default()) }
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How long one connection may take.
    pub fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// Opens one. The caller bounds the time. Errors: Dns, Connect, Tls, Config; nothing was sent in any case.
    pub async fn connect(&self) -> Result<(Io, Agreed), WireError> {
        #[cfg(test)]
        if let Some(dial) = &self.dial {
            let stream =
                dial().map_err(|error| WireError::new(WireKind::Connect, Sent::No, error.to_string()))?;
            return Ok((Io::new(Stream::Duplex(stream)), Agreed::Nothing));
        }
        let stream = self.connect_tcp().await?;
        if !self.target.is_tls {
            return Ok((Io::new(Stream::Plain(stream)), Agreed::Nothing));
        }
        let fail = |error: &dyn fmt::Display| {
            WireError::new(WireKind::Tls, Sent::No, format!("{}: {error}", self.target.authority))
        };
        let name = self.options.server_name.as_deref().unwrap_or(&self.target.host);
        let name = ServerName::try_from(name.to_string()).map_err(|error| fail(&error))?;
        let stream = self.tls()?.connect(name, stream).await.map_err(|error| fail(&error))?;
        let agreed = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Agreed::Http2,
            _ => Agreed::Http1,
        };
        Ok((Io::new(Stream::Tls(Box::new(stream))), agreed))
    }

    async fn connect_tcp(&self) -> Result<TcpStream, WireError> {
        let Target { host, port, .. } = &self.target;
        let addresses = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|error| WireError::new(WireKind::Dns, Sent::No, format!("{host}: {error}")))?;
        let mut last = WireError::new(WireKind::Dns, Sent::No, format!("{host} has no address"));
        for address in addresses {
            match TcpStream::connect(address)
                .await
                .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = WireError::new(WireKind::Connect, Sent::No, format!("{address}: {error}"))
                }
            }
        }
        Err(last)
    }

    fn tls(&self) -> Result<&TlsConnector, WireError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let made = TlsConnector::from(Arc::new(client_config(&self.options)?));
        Ok(self.tls.get_or_init(|| made))
    }
}

fn client_config(options: &ConnectOptions) -> Result<ClientConfig, WireError> {
    let mut roots = RootCertStore::empty();
    match &options.ca_file {
        Some(path) => {
            let refuse = |why: &dyn fmt::Display| WireError::config(format!("{}: {why}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refuse(&error))? {
                let certificate = certificate.map_err(|error| refuse(&error))?;
                roots.add(certificate).map_err(|error| refuse(&error))?;
            }
            if roots.is_empty() {
                return Err(refuse(&"holds no certificate"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(WireError::config(
                    "the system has no certificates to trust; name a file of them",
                ));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| WireError::config(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What a connection lets others see of it.
#[derive(Debug, Default)]
pub struct Watch {
    reads: AtomicU64,
    first_byte: AtomicU8,
}

/// How the peer began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It said nothing yet.
    Silent,
    /// Not with `H`, as every answer of HTTP/1 does; a frame of fewer than 4 MiB begins with a smaller byte.
    Frames,
    /// With `H`.
    Text,
}

impl Watch {
    /// Reads that brought bytes.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How the peer began.
    pub fn opening(&self) -> Opening {
        match self.first_byte.load(Ordering::Relaxed) {
            0 => Opening::Silent,
            1 => Opening::Frames,
            _ => Opening::Text,
        }
    }

    fn saw(&self, first: u8) {
        // Only the connection's own task writes, so this is no exchange.
        let count = self.reads.load(Ordering::Relaxed);
        if count == 0 {
            self.first_byte.store(if first == b'H' { 2 } else { 1 }, Ordering::Relaxed);
        }
        self.reads.store(count + 1, Ordering::Relaxed);
    }
}

/// A connection's bytes.
pub struct Io {
    stream: Stream,
    watch: Arc<Watch>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(test)]
    Duplex(tokio::io::DuplexStream),
}

impl Io {
    fn new(stream: Stream) -> Io {
        Io { stream, watch: Arc::default() }
    }

    /// What others see of it.
    pub fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
            #[cfg(test)]
            Stream::Duplex(stream) => stream,
        })
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            #[cfg(test)]
            Stream::Duplex(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Some(first) = buf.filled().get(before) {
            self.watch.saw(*first);
        }
        polled
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Stream::Duplex(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        let target = Target::parse("http://localhost:8080").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.authority.as_str()),
            ("localhost", 8080, "localhost:8080")
        );
        assert!(target.is_loopback() && !target.is_tls);
        let target = Target::parse("https://[::1]:443/").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.authority.as_str()), ("::1", 443, "[::1]"));
        assert!(target.is_loopback() && target.is_tls);
        assert_eq!(Target::parse("https://zero.example").unwrap().port, 443);
        assert!(!Target::parse("http://10.0.0.1").unwrap().is_loopback());
    }

    #[test]
    fn other_endpoints_are_refused_without_showing_a_password() {
        for url in [
            "",
            "localhost:8080",
            "ftp://h",
            "http://",
            "http://h/path",
            "http://h?q",
            "http://h:99999",
            "http://h:",
        ] {
            assert_eq!(Target::parse(url).expect_err(url).kind(), WireKind::Config, "{url}");
        }
        let error = Target::parse("http://user:hidden@h").expect_err("it holds a user");
        assert!(!error.message().contains("hidden"));
    }

    #[test]
    fn a_peer_is_known_by_its_first_byte() {
        for (byte, opening) in [(0, Opening::Frames), (b'H', Opening::Text)] {
            let watch = Watch::default();
            assert_eq!(watch.opening(), Opening::Silent);
            watch.saw(byte);
            watch.saw(b'x');
            assert_eq!((watch.opening(), watch.reads()), (opening, 2));
        }
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let path = std::env::temp_dir().join(format!("cloudkit-zero-empty-{}.pem", std::process::id()));
        std::fs::write(&path, "nothing").unwrap();
        let options = ConnectOptions { ca_file: Some(path.clone()), ..ConnectOptions::default() };
        let error = client_config(&options).expect_err("there is no certificate");
        std::fs::remove_file(&path).unwrap();
        assert!(error.message().contains("holds no certificate"), "{error}");
    }
}
