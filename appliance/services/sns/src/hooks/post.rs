//! One delivery: the name, the addresses' check, the connection, the request, the answer's status.
//!
//! Invariant: a connection goes to an address that was checked for this very delivery, so a name that meanwhile means
//! another one gains nothing; nothing of an answer is followed but its status. All of it takes 15 seconds at most.
//! Source: Amazon SNS developer guide, "Sending SNS messages to HTTP/HTTPS endpoints" and "Message delivery retries".
//! Leaves to `http::client`: the bytes on the wire. To retry.rs: when there is a next try.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::client::{Client, ClientError, Protocol as Version, RequestTo};
use http_types::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http_types::{HeaderMap, Method, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::address::{Listeners, Refused};
use super::endpoint::Endpoint;
use super::operations::Work;
use super::record::Kind;
use super::resolve::Resolver;
use crate::model::arn::{SubscriptionArn, TopicArn, Uuid};

/// The whole of one try.
const TRY_MAX: Duration = Duration::from_secs(15);
/// Bytes of an answer's body that are read so that its connection may serve again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Places to which connections are kept.
const CLIENT_COUNT_MAX: usize = 128;
/// What receivers that look at it expect.
const AGENT: HeaderValue = HeaderValue::from_static("Amazon Simple Notification Service Agent");

/// How a try ended that did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// Another try would end so too.
    Final { code: String, text: String },
    /// Another try may succeed.
    Passing { code: String, text: String },
}

/// Sends messages from one core.
pub(super) struct Sender {
    region: Box<str>,
    listeners: Listeners,
    resolver: Resolver,
    tls: RefCell<Option<Arc<ClientConfig>>>,
    clients: RefCell<HashMap<(SocketAddr, Option<String>), Client>>,
}

impl Sender {
    pub(super) fn new(region: Box<str>, listeners: Listeners) -> Sender {
        let (resolver, tls, clients) = Default::default();
        Sender { region, listeners, resolver, tls, clients }
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Makes one try.
    pub(super) async fn send(&self, work: &Work, subscription: Uuid) -> Result<(), Failure> {
        match ring::timeout(TRY_MAX, self.try_once(work, subscription)).await {
            Ok(outcome) => outcome,
            Err(ring::Elapsed) => Err(passing("Timeout", "the endpoint did not answer within 15 seconds")),
        }
    }

    async fn try_once(&self, work: &Work, subscription: Uuid) -> Result<(), Failure> {
        let Some(endpoint) = Endpoint::parse(&work.endpoint, work.protocol) else {
            return Err(lasting("InvalidEndpoint", "the endpoint is no URL of its protocol"));
        };
        let addresses = self.resolver.addresses(&endpoint).await;
        let addresses = addresses.map_err(|error| passing("UnknownHost", &error.to_string()))?;
        // One forbidden address among several is enough: which one a name gives first is up to whoever answers for it.
        for address in &addresses {
            self.listeners.check(*address).map_err(refused)?;
        }
        let request = self.request(work, subscription, &endpoint);
        let mut last = None;
        for address in addresses {
            match self.post(&endpoint, address, &request, work).await {
                Ok(status) => return judged(status),
                // Only where nothing was sent yet may the next address be tried.
                Err(ClientError::Io(error)) if is_unreached(&error) => last = Some(error.to_string()),
                Err(error) => return Err(passing("ConnectionFailure", &error.to_string())),
            }
        }
        Err(passing("ConnectionFailure", &last.unwrap_or_default()))
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
        request: &RequestTo,
        work: &Work,
    ) -> Result<StatusCode, ClientError> {
        let call = self.client(endpoint, address)?.start(request, Some(work.body.len() as u64)).await?;
        // A server may answer without reading: then its answer counts, not that the body did not get through.
        let sent = match call.write(work.body.clone()).await {
            Ok(()) => call.finish().await,
            Err(error) => Err(error),
        };
        let status = match (call.response().await, sent) {
            (Ok(head), _) => head.status,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        let mut left = ANSWER_BYTES_MAX;
        while let Some(Ok(piece)) = call.next().await {
            let Some(rest) = left.checked_sub(piece.len()) else { break };
            left = rest;
        }
        Ok(status)
    }

    fn client(&self, endpoint: &Endpoint, address: SocketAddr) -> Result<Client, ClientError> {
        let key = (address, endpoint.is_tls.then(|| endpoint.host.clone()));
        if let Some(client) = self.clients.borrow().get(&key) {
            return Ok(client.clone());
        }
        let client = if endpoint.is_tls {
            let name = ServerName::try_from(endpoint.host.clone());
            let name = name.map_err(|_| ClientError::Misuse("the host is no name for a certificate"))?;
            Client::with_tls(address, Version::Http1, self.tls(), name)
        } else {
            Client::new(address, Version::Http1)
        };
        let mut clients = self.clients.borrow_mut();
        if clients.len() >= CLIENT_COUNT_MAX {
            // All of them are only connections that can be made again.
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// TLS under the roots that this machine trusts (`SSL_CERT_FILE` names others).
    fn tls(&self) -> Arc<ClientConfig> {
        let mut tls = self.tls.borrow_mut();
        Arc::clone(tls.get_or_insert_with(|| {
            let mut roots = RootCertStore::empty();
            // What cannot be read is not trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
        }))
    }

    fn request(&self, work: &Work, subscription: Uuid, endpoint: &Endpoint) -> RequestTo {
        let topic = TopicArn { region: &self.region, account: &work.account, name: &work.topic };
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, text: &str| {
            // ARNs and ids are ASCII; anything else is left out.
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put(CONTENT_TYPE, work.policy.content_type().unwrap_or("text/plain; charset=UTF-8"));
        put(HeaderName::from_static("x-amz-sns-message-type"), work.kind.name());
        put(HeaderName::from_static("x-amz-sns-message-id"), &work.message.to_string());
        put(HeaderName::from_static("x-amz-sns-topic-arn"), &topic.to_string());
        if work.kind != Kind::SubscriptionConfirmation {
            let arn = SubscriptionArn { topic, id: subscription };
            put(HeaderName::from_static("x-amz-sns-subscription-arn"), &arn.to_string());
        }
        if work.kind == Kind::RawNotification {
            put(HeaderName::from_static("x-amz-sns-rawdelivery"), "true");
        }
        if let Some(authorization) = &endpoint.authorization {
            put(AUTHORIZATION, authorization);
        }
        headers.insert(USER_AGENT, AGENT);
        RequestTo {
            method: Method::POST,
            target: endpoint.target.clone(),
            authority: endpoint.authority.clone(),
            headers,
        }
    }
}

fn passing(code: &str, text: &str) -> Failure {
    Failure::Passing { code: code.to_owned(), text: text.to_owned() }
}

fn lasting(code: &str, text: &str) -> Failure {
    Failure::Final { code: code.to_owned(), text: text.to_owned() }
}

fn refused(refused: Refused) -> Failure {
    lasting("ForbiddenEndpoint", refused.reason())
}

fn is_unreached(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::TimedOut
    )
}

/// What a status means: 2xx is success, 4xx but 429 is final, everything else passes, redirects too.
fn judged(status: StatusCode) -> Result<(), Failure> {
    let (code, text) = (status.as_u16().to_string(), format!("the endpoint answered {status}"));
    if status.is_success() {
        Ok(())
    } else if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        Err(Failure::Final { code, text })
    } else {
        Err(Failure::Passing { code, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_decides_about_the_next_try() {
        for code in [200, 201, 204, 299] {
            assert_eq!(judged(StatusCode::from_u16(code).expect("a status")), Ok(()));
        }
        for code in [400, 401, 403, 404, 410, 499] {
            let outcome = judged(StatusCode::from_u16(code).expect("a status"));
            assert!(matches!(outcome, Err(Failure::Final { .. })), "{code}");
        }
        for code in [301, 302, 307, 429, 500, 503] {
            let outcome = judged(StatusCode::from_u16(code).expect("a status"));
            assert!(matches!(outcome, Err(Failure::Passing { .. })), "{code}");
        }
    }

    fn work(protocol: crate::model::subscription::Protocol, endpoint: String) -> Work {
        Work {
            account: "000000000000".into(),
            topic: "t".into(),
            protocol,
            endpoint: endpoint.into(),
            kind: Kind::RawNotification,
            message: Uuid::default(),
            body: bytes::Bytes::from_static(b"m"),
            failures: 0,
            policy: super::super::retry::DeliveryPolicy::default(),
        }
    }

    fn on_reactor(work: impl Future<Output = ()>) {
        let settings =
            ring::ReactorConfig { backend: ring::Backend::Epoll, ..ring::ReactorConfig::default() };
        ring::Reactor::new(&settings).expect("a reactor").block_on(work);
    }

    #[test]
    fn a_listener_of_this_appliance_gets_nothing_whatever_it_is_called() {
        use crate::model::subscription::Protocol::{Http, Https};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let everywhere = SocketAddr::new("0.0.0.0".parse().expect("an address"), address.port());
        for own in [address, everywhere] {
            let sender = Sender::new("eu-west-1".into(), Listeners::new(vec![own]));
            on_reactor(async move {
                for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"] {
                    for (protocol, scheme) in [(Http, "http"), (Https, "https")] {
                        let url = format!("{scheme}://{host}:{}/", address.port());
                        let outcome = sender.send(&work(protocol, url.clone()), Uuid::default()).await;
                        let Err(Failure::Final { code, .. }) = outcome else { panic!("{url} {outcome:?}") };
                        assert_eq!(code, "ForbiddenEndpoint", "{url}");
                    }
                }
            });
        }
        assert!(listener.accept().is_err(), "nobody came");
    }

    #[test]
    fn a_server_without_a_certificate_that_is_trusted_gets_no_message() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).expect("a pair");
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://localhost:{}/", listener.local_addr().expect("bound").port());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut tls = rustls::ServerConnection::new(config).expect("a server");
            let mut got = Vec::new();
            let mut session = rustls::Stream::new(&mut tls, &mut stream);
            // The client breaks off the handshake.
            assert!(std::io::Read::read_to_end(&mut session, &mut got).is_err());
            assert!(got.is_empty());
        });
        on_reactor(async move {
            let sender = Sender::new("eu-west-1".into(), Listeners::default());
            let work = work(crate::model::subscription::Protocol::Https, url);
            let outcome = sender.send(&work, Uuid::default()).await;
            assert!(matches!(outcome, Err(Failure::Passing { .. })), "{outcome:?}");
        });
        server.join().expect("the server ended well");
    }
}
