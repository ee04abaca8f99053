//! What a load consists of: a scenario makes what must be there, and then the requests of each run, ahead of the clock.
//! Invariant: a plan allocates nothing and computes nothing that is not the request's own; whatever is costly (keys drawn,
//! bodies made, heads signed) happened in `plan`, but for what only answers can say.

use std::net::{SocketAddr, ToSocketAddrs as _};

use bytes::Bytes;
use clap::ValueEnum;

use crate::client::http1::{Answer, Failed};
use crate::client::wire::Tls;
use crate::load::recorder::Failure;
use crate::server::process::Process;

/// Who is asked.
#[derive(Clone)]
pub struct Target {
    /// As the caller named it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What the Host header says.
    pub host: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// How to speak TLS, if so.
    pub tls: Option<Tls>,
    /// Whose requests these are; nothing sends them unsigned.
    pub credentials: Option<Credentials>,
    /// What a cache is shown instead of a signature.
    pub token: Option<String>,
    /// How a cache is asked.
    pub cache_api: CacheApi,
    /// Messages that wait in its queue besides, before each run.
    pub backlog_count: usize,
}

impl Target {
    /// A server without TLS or signatures. `url` is `http://host:port`.
    ///
    /// # Errors
    /// In words: no such URL, or a name without an address.
    pub fn plain(url: &str) -> Result<Target, String> {
        let host = url.strip_prefix("http://").ok_or_else(|| format!("{url} is no http:// URL"))?;
        Target::at(host.trim_end_matches('/'))
    }

    /// As sentences name it: with its address and, where they are known, its process ids.
    #[must_use]
    pub fn called(&self, server: Option<&Process>) -> String {
        let pids = server.map_or_else(String::new, |server| format!(" ({server})"));
        format!("{} {}{pids}", self.name, self.address)
    }

    /// A server by host and port.
    ///
    /// # Errors
    /// In words: a name without an address.
    pub fn at(host: &str) -> Result<Target, String> {
        let address = host.to_socket_addrs().ok().and_then(|mut all| all.next());
        let address = address.ok_or_else(|| format!("{host} has no address with a port"))?;
        Ok(Target {
            name: "server".to_owned(),
            address,
            host: host.to_owned(),
            protocol: Protocol::Http,
            tls: None,
            credentials: None,
            token: None,
            cache_api: CacheApi::Native,
            backlog_count: 0,
        })
    }
}

/// How a cache is asked for a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CacheApi {
    /// The appliance's own API, by SHA-256.
    #[default]
    Native,
    /// WebDAV PUT and static files.
    Files,
    /// Turborepo's artifacts, as turborepo-remote-cache takes them.
    Turbo,
    /// As the native one, to an echo, whose bodies are not compared with anything.
    Echo,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/2.
    Http,
    /// RESP: puts are SET, gets are GET.
    Redis,
    /// NATS: puts are messages into a JetStream stream on disk.
    Nats,
    /// AMQP 0-9-1: puts are messages into a queue, confirmed.
    Amqp {
        /// A quorum queue and persistent messages; else neither outlives the server.
        is_durable: bool,
    },
}

impl Protocol {
    /// What a URL says: the protocol, host and port, and whether under TLS.
    ///
    /// # Errors
    /// In words: a scheme that is not spoken.
    pub fn of(url: &str) -> Result<(Protocol, &str, bool), String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let host = rest.trim_end_matches('/');
        match scheme {
            "http" => Ok((Protocol::Http, host, false)),
            "https" => Ok((Protocol::Http, host, true)),
            "redis" => Ok((Protocol::Redis, host, false)),
            "nats" => Ok((Protocol::Nats, host, false)),
            "amqp" => match host.strip_suffix("/transient") {
                Some(host) => Ok((Protocol::Amqp { is_durable: false }, host, false)),
                None => Ok((Protocol::Amqp { is_durable: true }, host, false)),
            },
            "rediss" | "amqps" | "tls" => {
                Err(format!("{scheme}:// is not spoken: redis, nats and amqp go without TLS"))
            }
            _ => Err(format!("{url} is no http, https, redis, nats or amqp URL")),
        }
    }

    /// As reports call it, but for HTTP, which has two versions.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP",
            Protocol::Redis => "RESP 2",
            Protocol::Nats => "NATS JetStream",
            Protocol::Amqp { .. } => "AMQP 0-9-1",
        }
    }
}

/// The key that signs, or that a server without signatures lets in.
#[derive(Clone)]
pub struct Credentials {
    /// Its public part.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The region that signatures name.
    pub region: String,
}

/// One kind of load.
pub trait Scenario: Send + Sync {
    /// In a few words, with its sizes.
    fn title(&self) -> String;

    /// Its sizes as the report gives them, where it has any.
    fn sizes(&self) -> Sizes {
        Sizes::default()
    }

    /// Makes whatever must be there before the first request; outside the clock, once per server.
    ///
    /// # Errors
    /// In words: what the server answered.
    fn fill(&self, target: &Target) -> Result<(), String>;

    /// A load of nothing but its writes, to see what a server does for one; nothing where it only reads, or where
    /// they do not come alone.
    fn writes(&self) -> Option<Box<dyn Scenario>> {
        None
    }

    /// The requests of worker `worker` for one run, `count_max` of them at most; after that they come again, or
    /// there are none left.
    ///
    /// # Errors
    /// In words: why they cannot be made.
    fn plan(&self, target: &Target, worker: usize, count_max: usize) -> Result<Box<dyn Plan>, String>;
}

/// What the values and keys of a load are like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Of a value, where all are alike.
    pub value_bytes: Option<u64>,
    /// How many keys there are.
    pub key_count: Option<u64>,
    /// How keys are drawn.
    pub distribution: Option<String>,
    /// Of an upload, whose parts are the values.
    pub part_count: Option<u64>,
    /// The part of reads where reads and writes are mixed.
    pub read_percent: Option<u32>,
}

/// Ready requests.
pub trait Plan {
    /// The next one; nothing when there are none left, and then the run is void.
    fn next(&mut self) -> Option<Prepared>;

    /// Hears the good answer to a request that asked for that. Gives how many of the bytes that were moved count.
    ///
    /// # Errors
    /// The answer is not what the request was for.
    fn answered(&mut self, _tag: u32, _answer: &Answer, body_bytes: u64) -> Result<u64, Failed> {
        Ok(body_bytes)
    }

    /// Ends what the plan began on the server and looks at what it left, outside the clock. Gives what is to be said of its
    /// requests, in sentences without figures that differ from run to run.
    ///
    /// # Errors
    /// In words: why its good answers are none after all.
    fn finish(&mut self) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// A request as bytes.
#[derive(Clone)]
pub struct Prepared {
    /// Request line and header, signature and all, to the empty line.
    pub head: Bytes,
    /// What follows.
    pub body: Bytes,
    /// What a good answer is.
    pub expect: Expect,
    /// By what the plan knows the request when it hears the answer; nothing if it does not care.
    pub tag: Option<u32>,
}

/// What a good answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Its status.
    pub status: u16,
    /// How long its body is, or which.
    pub length: Length,
}

/// How long the body of a good answer is, or which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Length {
    /// As long as it likes.
    Any,
    /// So many bytes.
    Exactly(u64),
    /// So many bytes or more.
    AtLeast(u64),
    /// These very bytes.
    Same(Bytes),
}

impl Prepared {
    /// Gives the bytes of bodies that the exchange moved.
    ///
    /// # Errors
    /// The answer is not the one expected.
    pub fn judge(&self, answer: &Answer) -> Result<u64, Failed> {
        if answer.status != self.expect.status {
            let words = format!(
                "status {} instead of {}: {}",
                answer.status,
                self.expect.status,
                String::from_utf8_lossy(&answer.body)
            );
            return Err((Failure::Status(answer.status), words));
        }
        let body_bytes = answer.body_bytes;
        let missed = match &self.expect.length {
            Length::Exactly(expected) if body_bytes != *expected => Some(format!("instead of {expected}")),
            Length::AtLeast(least) if body_bytes < *least => Some(format!("instead of {least} or more")),
            Length::Same(body) if body_bytes != body.len() as u64 => {
                Some(format!("instead of {}", body.len()))
            }
            Length::Same(_) if answer.differs => Some("that are not those which were put there".to_owned()),
            Length::Any | Length::Exactly(_) | Length::AtLeast(_) | Length::Same(_) => None,
        };
        if let Some(missed) = missed {
            return Err((Failure::Content, format!("a body of {body_bytes} bytes {missed}")));
        }
        Ok(body_bytes + self.body.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_by_its_status_and_its_length() {
        let judged = |status, body_bytes, length| {
            let expect = Expect { status: 200, length };
            let answer = Answer { body_bytes, ..Answer::of(status) };
            Prepared { head: Bytes::new(), body: Bytes::from_static(b"four"), expect, tag: None }
                .judge(&answer)
        };
        assert_eq!(judged(200, 3, Length::Any), Ok(7));
        assert_eq!(judged(200, 3, Length::Exactly(3)), Ok(7));
        assert_eq!(judged(200, 3, Length::AtLeast(3)), Ok(7));
        assert!(matches!(judged(503, 3, Length::Any), Err((Failure::Status(503), _))));
        for (length, words) in [
            (Length::Exactly(2), "3 bytes instead of 2"),
            (Length::AtLeast(4), "3 bytes instead of 4 or more"),
        ] {
            assert!(
                judged(200, 3, length)
                    .is_err_and(|(failure, said)| { failure == Failure::Content && said.ends_with(words) })
            );
        }
    }

    #[test]
    fn a_url_says_what_is_spoken_and_what_is_not_is_refused_by_name() {
        let host = "127.0.0.1:1";
        let of =
            |url: &str| Protocol::of(url).map(|(protocol, host, is_tls)| (protocol, host.to_owned(), is_tls));
        let said = |protocol, is_tls| Ok((protocol, host.to_owned(), is_tls));
        assert_eq!(of("http://127.0.0.1:1/"), said(Protocol::Http, false));
        assert_eq!(of("https://127.0.0.1:1"), said(Protocol::Http, true));
        assert_eq!(of("redis://127.0.0.1:1"), said(Protocol::Redis, false));
        assert_eq!(of("nats://127.0.0.1:1"), said(Protocol::Nats, false));
        assert_eq!(of("amqp://127.0.0.1:1"), said(Protocol::Amqp { is_durable: true }, false));
        assert_eq!(of("amqp://127.0.0.1:1/transient"), said(Protocol::Amqp { is_durable: false }, false));
        assert_eq!(
            of("rediss://127.0.0.1:1"),
            Err("rediss:// is not spoken: redis, nats and amqp go without TLS".to_owned())
        );
        let unknown = "ftp://h:1 is no http, https, redis, nats or amqp URL".to_owned();
        assert_eq!(of("ftp://h:1"), Err(unknown));
    }
}
