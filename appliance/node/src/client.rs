//! The commands' way to a running node: where it is, which key signs, one request and its answer.
//! Invariant: the secret signs and never leaves; no wait is without a limit.
//! Leaves to the commands: what to ask, and how the answer is shown.

use std::io::Read as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws::account::Secret;
use aws::encoding::hex;
use aws::sigv4::SigningKey;
use aws::uri;
use bytes::Bytes;
use clap::Args;
use http::client::{Client, Protocol, RequestTo};
use http_types::{HeaderMap, HeaderValue, Method, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::Value;

use crate::config::{self, Config};
use crate::core::aws_now;
use crate::credentials;
use crate::env_command::Endpoint;
use crate::exit::Failure;
use crate::gocacheprog::split_port;
use crate::own_certificate::OwnCertificate;

/// Where a command finds its node.
#[derive(Args, Debug, Clone, Default)]
pub struct NodeArgs {
    /// The data directory of the node, which names its endpoint and its root key [default: ./zerocloud-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The node's URL, where it is not the one in its data directory
    #[arg(long, value_name = "URL", value_parser = config::parse_url)]
    pub endpoint: Option<String>,
    /// Certificates to trust besides the system's, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print a JSON document instead
    #[arg(long)]
    pub json: bool,
}

/// Where a running node is.
pub struct Place {
    url: String,
    trust: Trust,
}

/// Which certificates are taken.
enum Trust {
    /// Those under the system's authorities, and under those in these files.
    Authorities(Vec<PathBuf>),
    /// Any: this machine's own socket is asked whether it answers, and is told nothing.
    Any,
}

/// A running node, and the key that may manage it.
pub struct Node {
    place: Place,
    region: String,
    access_key: String,
    secret: Secret,
}

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest answer: every token there can be, with its namespaces.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The longest file of certificates.
const CA_BYTES_MAX: u64 = 1 << 20;

impl Place {
    /// Finds the node that the arguments or the environment name. Errors: none is running.
    pub fn find(args: &NodeArgs) -> Result<Place, Failure> {
        let environment = config::from_environment(&|name| std::env::var_os(name))?;
        let data = Config::data_or_default(args.data.as_deref().or(environment.data.as_deref()));
        // Who names a directory means the node there, whatever a shell has set for another one.
        let of_shell = || if args.data.is_none() { variable("AWS_ENDPOINT_URL") } else { None };
        let named = args.endpoint.clone().or_else(|| variable("ZEROCLOUD_ENDPOINT"));
        let of_data = || Endpoint::read(&data).map(|endpoint| endpoint.url);
        let url = named.or_else(of_data).or_else(of_shell).ok_or_else(|| {
            let data = data.display();
            Failure::held(format!(
                "{data}: no node is running here; start it (zerocloud serve --data {data}), name its directory with --data or its URL with --endpoint"
            ))
        })?;
        let url = config::parse_url(&url).map_err(Failure::usage)?;
        // The node's own authority, where it has one.
        let own = Some(OwnCertificate::of(&data).authority()).filter(|path| path.exists());
        Ok(Place { url, trust: Trust::Authorities(args.ca.clone().into_iter().chain(own).collect()) })
    }

    /// Finds the node for a question that needs no key. The one in a data directory is asked where it listens: the name that its
    /// certificate is for, and the way that its clients take, need not be open to a probe. Errors: none is running.
    pub fn to_probe(args: &NodeArgs) -> Result<Place, Failure> {
        let environment = config::from_environment(&|name| std::env::var_os(name))?;
        let data = Config::data_or_default(args.data.as_deref().or(environment.data.as_deref()));
        if args.endpoint.is_none()
            && variable("ZEROCLOUD_ENDPOINT").is_none()
            && let Some(listener) = Endpoint::read(&data).and_then(|endpoint| endpoint.listener)
        {
            return Ok(Place { url: listener, trust: Trust::Any });
        }
        Place::find(args)
    }

    /// Asks for a page that anyone may see; gives the answer's status and body. Errors: no answer.
    pub fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let (client, authority) = self.connect()?;
        let (method, target, headers) = (Method::GET, path.to_owned(), HeaderMap::new());
        self.fetch(&client, &RequestTo { method, target, authority, headers }, Bytes::new())
    }

    fn fetch(
        &self,
        client: &Client,
        request: &RequestTo,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let unreachable = |why: String| Failure::held(format!("{}: {why}", self.url));
        let config = ring::ReactorConfig { backend: ring::Backend::Epoll, ..ring::ReactorConfig::default() };
        let mut reactor = ring::Reactor::new(&config).map_err(|error| unreachable(error.to_string()))?;
        let answer = reactor
            .block_on(async { ring::timeout(ANSWER, client.fetch(request, body, ANSWER_BYTES_MAX)).await });
        let (head, bytes) = answer
            .map_err(|ring::Elapsed| unreachable("no answer in time".into()))?
            .map_err(|error| unreachable(format!("{error}; is the node running there?")))?;
        Ok((head.status, bytes))
    }

    fn connect(&self) -> Result<(Client, String), Failure> {
        let malformed = || Failure::usage(format!("`{}` must be like https://host:port", self.url));
        let (scheme, authority) = self.url.split_once("://").ok_or_else(malformed)?;
        let is_tls = scheme == "https";
        let (host, port) = split_port(authority, if is_tls { 443 } else { 80 }).ok_or_else(malformed)?;
        let address = resolve(&host, port).map_err(|why| Failure::held(format!("{}: {why}", self.url)))?;
        let client = if is_tls {
            let name = ServerName::try_from(host).map_err(|_| malformed())?;
            Client::with_tls(address, Protocol::Http1, Arc::new(self.trust()?), name)
        } else {
            Client::new(address, Protocol::Http1)
        };
        Ok((client, authority.to_owned()))
    }

    fn trust(&self) -> Result<ClientConfig, Failure> {
        let Trust::Authorities(authorities) = &self.trust else { return Ok(taking_any()) };
        let mut roots = RootCertStore::empty();
        // What cannot be read is not trusted. SSL_CERT_FILE names other roots.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for path in authorities {
            let wrong = |why: String| Failure::configuration(format!("{}: {why}", path.display()));
            let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
            let mut pem = Vec::new();
            file.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(|error| wrong(error.to_string()))?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let found = found.map_err(|error| wrong(error.to_string()))?;
            if roots.add_parsable_certificates(found).0 == 0 {
                return Err(wrong("no certificate is in it".into()));
            }
        }
        Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

impl Node {
    /// Finds the node that the arguments or the environment name. Errors: none is running, or no key is known.
    pub fn find(args: &NodeArgs) -> Result<Node, Failure> {
        let environment = config::from_environment(&|name| std::env::var_os(name))?;
        let data = Config::data_or_default(args.data.as_deref().or(environment.data.as_deref()));
        let region = variable("ZEROCLOUD_REGION")
            .or_else(|| Endpoint::read(&data).map(|endpoint| endpoint.region))
            .or_else(|| variable("AWS_REGION"))
            .unwrap_or_else(|| "us-east-1".into());
        let place = Place::find(args)?;
        let (access_key, secret) = key(&data)?;
        Ok(Node { place, region, access_key, secret })
    }

    /// Sends a signed request; gives the answer's status and document. Errors: no answer, or none in JSON.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let (client, authority) = self.place.connect()?;
        let body = body.map_or_else(Bytes::new, |document| document.to_string().into());
        let request = self.signed(method, path, query, &body, authority);
        let (status, bytes) = self.place.fetch(&client, &request, body)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// As `ask`, for answers that must be good. Errors: the node's refusal, in its words.
    pub fn ask_well(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let (status, document) = self.ask(method, path, query, body)?;
        if status.is_success() { Ok(document) } else { Err(self.refused(status, &document)) }
    }

    /// What to tell of a refusal.
    pub fn refused(&self, status: StatusCode, document: &Value) -> Failure {
        let word = |name: &str| document["error"][name].as_str().map(str::to_owned);
        let text = word("message").unwrap_or_else(|| format!("the node answers {status}"));
        let message = format!("{}: {text}", self.place.url);
        match status.as_u16() {
            401 | 403 => Failure::configuration(message),
            // Another collection runs, or the appliance starts: later it will do.
            409 if word("code").as_deref() == Some("GcRunning") => Failure::held(message),
            400..=499 => Failure::usage(message),
            503 => Failure::held(message),
            _ => Failure::storage(message),
        }
    }

    fn signed(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: &[u8],
        authority: String,
    ) -> RequestTo {
        let mut pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", uri::encode(name), uri::encode(value)))
            .collect();
        pairs.sort();
        let query = pairs.join("&");
        let now = String::from_utf8_lossy(&aws_now().to_basic()).into_owned();
        let date = &now[..8];
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let digest = hex(&hash::sha256(body));
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{authority}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n\n{SIGNED}\n{digest}"
        );
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", hex(&hash::sha256(canonical.as_bytes())));
        let key = SigningKey::derive(self.secret.reveal(), date, &self.region, "s3");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED}, Signature={}",
            self.access_key,
            hex(&key.sign(to_sign.as_bytes()))
        );
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", authorization),
            ("content-type", "application/json".into()),
            ("x-amz-content-sha256", digest),
            ("x-amz-date", now),
        ] {
            let value = HeaderValue::try_from(value).expect("keys, regions and digits are visible ASCII");
            headers.insert(name, value);
        }
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        RequestTo { method, target, authority, headers }
    }
}

/// Takes every certificate; whoever shows one has its key all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

fn taking_any() -> ClientConfig {
    let builder = ClientConfig::builder();
    let verifier = Arc::new(AnyCertificate(builder.crypto_provider().clone()));
    builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The headers that a signature covers.
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The root key: the environment's, that of the data directory, or the one that `zerocloud env` has set in this shell.
fn key(data: &Path) -> Result<(String, Secret), Failure> {
    let over = config::root_key_override(&|name| std::env::var_os(name))?;
    if let Some(key) = credentials::load(data, over)? {
        return Ok((key.access_key, key.secret_key));
    }
    let shell = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
    let (access, secret) = shell.ok_or_else(|| {
        let data = data.display();
        Failure::configuration(format!(
            "{data}: no credentials here; name the node's data directory with --data, or set ZEROCLOUD_ROOT_ACCESS_KEY and ZEROCLOUD_ROOT_SECRET_KEY"
        ))
    })?;
    let access = config::parse_access_key(&access).map_err(Failure::configuration)?;
    let secret = config::parse_secret_key(&secret).map_err(Failure::configuration)?;
    Ok((access, Secret::new(secret)))
}

/// An address of a host that takes connections.
fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        // A name may stand for addresses of both families, of which a node listens on one.
        match std::net::TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(address),
            Err(error) => why = format!("{error}; is the node running there?"),
        }
    }
    Err(why)
}

/// Writes a command's answer. Whoever reads only its beginning makes no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::storage(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}
