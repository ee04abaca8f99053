//! TLS for listeners: certificates from PEM, exchanged without a restart.
//!
//! Invariant: a handshake runs under one configuration from start to finish; a certificate that cannot be used never
//! replaces one that can.
//! Left to others: when to reload (`node`), the record layer (`rustls`).

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto::aws_lc_rs, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

/// What a listener needs to speak TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate chain, leaf first, as PEM.
    pub certificates_pem: Vec<u8>,
    /// The private key of the leaf, as PEM (PKCS #8, PKCS #1 or SEC 1).
    pub key_pem: Vec<u8>,
    /// Whether TLS 1.2 is spoken beside TLS 1.3.
    pub allow_tls12: bool,
}

/// Why a certificate and key cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM of the certificates cannot be read, or holds none.
    Certificates(String),
    /// The PEM of the key cannot be read, or holds none.
    Key(String),
    /// Certificate and key do not fit each other or this library.
    Mismatch(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates(reason) => write!(f, "the TLS certificate cannot be read: {reason}"),
            Self::Key(reason) => write!(f, "the TLS key cannot be read: {reason}"),
            Self::Mismatch(error) => write!(f, "the TLS certificate and key cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Accepts TLS connections under the newest certificate. Clones share it, across cores too.
#[derive(Clone)]
pub struct TlsAcceptor {
    /// Read once per handshake, not per request.
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl TlsAcceptor {
    /// An acceptor under these settings.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(RwLock::new(configure(settings)?)) })
    }

    /// Uses these settings for every handshake that begins from now on; connections that stand are untouched.
    ///
    /// # Errors
    /// See [`TlsError`]; the former settings stay in use.
    pub fn reload(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        let config = configure(settings)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Runs the handshake.
    ///
    /// # Errors
    /// What the stream or the handshake reports.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        tokio_rustls::TlsAcceptor::from(config).accept(stream).await
    }
}

fn configure(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&settings.certificates_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Certificates(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Certificates("no CERTIFICATE section".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&settings.key_pem).map_err(|error| TlsError::Key(error.to_string()))?;
    let versions: &[_] =
        if settings.allow_tls12 { &[&version::TLS13, &version::TLS12] } else { &[&version::TLS13] };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets spare returning clients the certificate exchange; the key rotates inside the provider.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Mismatch)?;
    Ok(Arc::new(config))
}
