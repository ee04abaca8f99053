//! The appliance behind the local directory.
//! Invariant: whatever happens here costs the build no error and, in all, about a second of waiting at most (breaker.rs), and
//! `Limits::join` more at its end while uploads go on.
//! Leaves to worker.rs: the thread that does the work.

mod breaker;
mod exchange;
mod record;
mod worker;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;

use http::client::{Client, Protocol};
use http_types::HeaderValue;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::local::{Entry, Local};
use super::{Answers, GoCacheProgArgs};
use breaker::Limits;
use exchange::Exchange;
use worker::Worker;

/// The longest token file.
const TOKEN_BYTES_MAX: u64 = 4096;
/// The variables in which a token may stand, in this order.
const TOKEN_VARIABLES: [&str; 4] =
    ["ZIM_CLOUD_TOKEN", "ZIM_CACHE_TOKEN", "ZIM_CACHE_WRITE_TOKEN", "ZIM_CACHE_READ_TOKEN"];

/// Where the appliance is, and who asks.
pub struct Settings {
    is_tls: bool,
    host: String,
    port: u16,
    authority: String,
    prefix: String,
    query: String,
    authorization: Option<HeaderValue>,
    limits: Limits,
}

impl Settings {
    /// The settings of a command line; None without a URL. Errors: words for the user.
    pub fn of(args: &GoCacheProgArgs) -> Result<Option<Settings>, String> {
        let Some(url) = &args.url else { return Ok(None) };
        let token = match &args.token_file {
            Some(path) => Some(token_of_file(path)?),
            None => TOKEN_VARIABLES
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty())),
        };
        let settings = Settings::new(url, args.namespace.as_deref(), token.as_deref())?;
        if settings.authorization.is_some()
            && !settings.is_tls
            && !args.allow_plaintext
            && !settings.is_local()
        {
            return Err("the token would travel unencrypted; use https, or --allow-plaintext".into());
        }
        Ok(Some(settings))
    }

    fn new(url: &str, namespace: Option<&str>, token: Option<&str>) -> Result<Settings, String> {
        let malformed = || format!("the URL `{url}` must be like https://host:port or https://host/prefix");
        let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(malformed()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\"\\".contains(&byte));
        if !is_plain(rest) {
            return Err(malformed());
        }
        let (host, port) = split_port(authority, if is_tls { 443 } else { 80 }).ok_or_else(malformed)?;
        let query = match namespace {
            None => String::new(),
            Some(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => {
                format!("?ns={name}")
            }
            Some(name) => return Err(format!("`{name}` is no namespace")),
        };
        let authorization = token
            .map(|token| HeaderValue::try_from(format!("Bearer {}", token.trim())))
            .transpose()
            .map_err(|_| "the token holds characters that no token has")?;
        Ok(Settings {
            is_tls,
            host,
            port,
            authority: authority.to_owned(),
            prefix: path.trim_end_matches('/').to_owned(),
            query,
            authorization,
            limits: Limits::default(),
        })
    }

    /// Whether the way there does not leave this machine.
    fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }

    /// The addresses of the host, unless finding them takes longer than making a connection may.
    fn address(&self) -> Result<SocketAddr, String> {
        let (sender, receiver) = mpsc::channel();
        let (host, port) = (self.host.clone(), self.port);
        let resolver = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            let address = (host.as_str(), port).to_socket_addrs().map(|mut addresses| addresses.next());
            // Nobody waits any more if it took too long.
            drop(sender.send(address));
        });
        resolver.map_err(|error| error.to_string())?;
        match receiver.recv_timeout(self.limits.connect) {
            Ok(Ok(Some(address))) => Ok(address),
            Ok(Ok(None)) => Err(format!("{} has no address", self.host)),
            Ok(Err(error)) => Err(format!("{}: {error}", self.host)),
            Err(_) => Err(format!("{} was not resolved in time", self.host)),
        }
    }

    fn exchange(self) -> Result<Exchange, String> {
        let address = self.address()?;
        let client = if self.is_tls {
            let mut roots = RootCertStore::empty();
            // What cannot be read is not trusted. SSL_CERT_FILE names other roots.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            let name = ServerName::try_from(self.host.clone());
            let name = name.map_err(|_| format!("`{}` is no name for a certificate", self.host))?;
            Client::with_tls(address, Protocol::Http1, Arc::new(config), name)
        } else {
            Client::new(address, Protocol::Http1)
        };
        Ok(Exchange::new(client, self.authority, self.prefix, self.query, self.authorization, self.limits))
    }
}

/// Host and port of an authority; the brackets of an IPv6 address are left out.
/// Host and port of an authority.
pub fn split_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => default,
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn token_of_file(path: &std::path::Path) -> Result<String, String> {
    let shown = path.display();
    let is_small =
        std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?.len() <= TOKEN_BYTES_MAX;
    let text = if is_small { std::fs::read_to_string(path) } else { Err(io::ErrorKind::InvalidData.into()) };
    let text = text.map_err(|error| format!("{shown}: {error}"))?;
    let token = text.trim();
    if token.is_empty() { Err(format!("{shown} holds no token")) } else { Ok(token.to_owned()) }
}

/// What the thread is asked to do.
pub enum Job {
    /// Answer a look-up.
    Get {
        /// Of the request.
        id: i64,
        /// The key.
        action: Vec<u8>,
    },
    /// Upload an output.
    Put {
        /// The key.
        action: Vec<u8>,
        /// The output.
        entry: Entry,
    },
    /// Say when all uploads are through.
    Join(mpsc::Sender<()>),
}

/// The thread's handle.
pub struct Remote {
    jobs: ring::Sender<Job>,
    answers: Answers,
    limits: Limits,
}

impl Remote {
    /// Starts the thread. Errors: words for the user; then there is no thread.
    pub fn start(settings: Settings, local: Arc<Local>, answers: Answers) -> Result<Remote, String> {
        let (jobs, receiver) = ring::mailbox();
        let (ready, is_ready) = mpsc::channel();
        let (theirs, limits) = (answers.clone(), settings.limits);
        let work = move || serve(settings, receiver, local, theirs, &ready);
        let thread = std::thread::Builder::new().name("remote".into()).spawn(work);
        thread.map_err(|error| error.to_string())?;
        is_ready.recv().map_err(|error| error.to_string())??;
        Ok(Remote { jobs, answers, limits })
    }

    /// Answers a look-up, now or later.
    pub fn get(&self, id: i64, action: &[u8]) -> io::Result<()> {
        match self.jobs.send(Job::Get { id, action: action.to_vec() }) {
            Ok(()) => Ok(()),
            Err(_) => self.answers.miss(id),
        }
    }

    /// Uploads an output, later.
    pub fn put(&self, action: &[u8], entry: Entry) {
        if self.jobs.send(Job::Put { action: action.to_vec(), entry }).is_err() {
            self.answers.count(|counts| counts.uploads_left_out += 1);
        }
    }

    /// Waits for the uploads, but not for long.
    pub fn join(&self) {
        let (sender, receiver) = mpsc::channel();
        if self.jobs.send(Job::Join(sender)).is_ok() {
            // Late or gone, the build is over.
            receiver.recv_timeout(self.limits.join).ok();
        }
    }
}

/// The thread. Says whether it can work; then it does so until nobody can ask any more.
fn serve(
    settings: Settings,
    jobs: ring::Receiver<Job>,
    local: Arc<Local>,
    answers: Answers,
    ready: &mpsc::Sender<Result<(), String>>,
) {
    let backend = match ring::probe_io_uring() {
        Ok(_) => ring::Backend::IoUring,
        Err(_) => ring::Backend::Epoll,
    };
    let config =
        ring::ReactorConfig { backend, recv_buffer_count: RECEIVE_BUFFER_COUNT, ..Default::default() };
    let mut reactor = match ring::Reactor::new(&config) {
        Ok(reactor) => reactor,
        Err(error) => {
            ready.send(Err(error.to_string())).ok();
            return;
        }
    };
    ready.send(Ok(())).ok();
    // The name is looked up while the go command starts. Without an address each look-up is a miss.
    let limits = settings.limits;
    let exchange = settings.exchange().inspect_err(|reason| say(reason)).ok();
    reactor.block_on(Worker::new(exchange, local, answers, limits).run(jobs));
}

/// A build goes on without its remote cache, but its user should know why.
pub fn say(reason: &str) {
    eprintln!("zerocloud gocacheprog: no remote cache: {reason}");
}

/// Receive buffers of 16 KiB: a few connections are open.
const RECEIVE_BUFFER_COUNT: u16 = 64;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod url_tests {
    use super::*;

    #[test]
    fn urls_are_host_port_and_prefix() {
        let parts = |url: &str| {
            let settings = Settings::new(url, None, None).unwrap();
            (settings.is_tls, settings.host, settings.port, settings.prefix)
        };
        assert_eq!(parts("http://127.0.0.1:8080"), (false, "127.0.0.1".into(), 8080, String::new()));
        assert_eq!(parts("https://cache.example/a/b/"), (true, "cache.example".into(), 443, "/a/b".into()));
        assert_eq!(parts("http://[::1]:81/"), (false, "::1".into(), 81, String::new()));
        for url in [
            "",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:b",
            "http://u:p@a",
            "http://a?b",
            "http://[::1",
            "http://a b",
        ] {
            assert!(Settings::new(url, None, None).is_err(), "{url}");
        }
        assert!(Settings::new("http://a", Some("a&b"), None).is_err());
        assert!(Settings::new("http://a", None, Some("a\nb")).is_err());
    }
}
