//! A server on a real socket with a handler that does one thing per path, and a client that speaks in bytes.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::Cell;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Handler, Limits, Request, ResponseHead, Server, Shutdown, TlsAcceptor};
use http_types::{HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Nothing in a test takes longer, on a busy machine neither: it tells a test that hangs from one that waits its turn.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub fn on_reactor<F: Future>(future: F) -> F::Output {
    let mut config = ring::ReactorConfig::default();
    // `HTTP_TEST_EPOLL=1` runs every test on the other backend.
    if std::env::var_os("HTTP_TEST_EPOLL").is_some() {
        config.backend = ring::Backend::Epoll;
    }
    let mut reactor = ring::Reactor::new(&config).unwrap();
    reactor.block_on(async { ring::timeout(PATIENCE, future).await.expect("the test hangs") })
}

/// A limit that a test waits for.
pub const SHORT: Duration = Duration::from_millis(300);

/// Limits that wait for longer than any test does. A test shortens the one that it is about, so that a core which stands still
/// for a while meets no other.
pub fn patient_limits() -> Limits {
    const LONG: Duration = Duration::from_secs(2 * PATIENCE.as_secs());
    Limits {
        first_byte: LONG,
        head_time: LONG,
        idle: LONG,
        body_idle: LONG,
        rate_grace: LONG,
        write_stall: LONG,
        drain_time: LONG,
        tls_handshake: LONG,
        timer_resolution: Duration::from_millis(10),
        ..Limits::default()
    }
}

/// What the handler saw, for assertions.
#[derive(Default)]
pub struct Seen {
    pub requests: Cell<usize>,
    pub finished: Cell<usize>,
    pub body_errors: Cell<usize>,
    pub send_errors: Cell<usize>,
    pub gone: Cell<usize>,
    /// Set by a test: `/held` answers from then on.
    pub released: Cell<bool>,
}

#[derive(Clone, Default)]
pub struct Paths {
    pub seen: Rc<Seen>,
}

fn add(counter: &Cell<usize>) {
    counter.set(counter.get() + 1);
}

fn ok() -> ResponseHead {
    ResponseHead::new(StatusCode::OK)
}

fn with(mut head: ResponseHead, name: header::HeaderName, value: &'static str) -> ResponseHead {
    head.headers.insert(name, HeaderValue::from_static(value));
    head
}

impl Handler for Paths {
    async fn call(&self, request: Request) {
        add(&self.seen.requests);
        if self.answer(request).await.is_err() {
            add(&self.seen.send_errors);
        }
        add(&self.seen.finished);
    }
}

impl Paths {
    async fn answer(&self, request: Request) -> Result<(), http::SendError> {
        let Request { head, mut body, responder } = request;
        let number: u64 = head.query.as_deref().and_then(|query| query.parse().ok()).unwrap_or(0);
        match head.path.as_str() {
            "/echo" => {
                let mut pieces = Vec::new();
                while let Some(piece) = body.next().await {
                    match piece {
                        Ok(piece) => pieces.push(piece),
                        Err(error) => {
                            add(&self.seen.body_errors);
                            let status = match error {
                                http::BodyError::TimedOut => StatusCode::REQUEST_TIMEOUT,
                                http::BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                                _ => StatusCode::BAD_REQUEST,
                            };
                            return responder.send(ResponseHead::new(status), Bytes::new()).await;
                        }
                    }
                }
                responder.send(ok(), pieces.concat().into()).await
            }
            "/pipe" => {
                let length = match body.length() {
                    http::BodyLength::Known(length) => Some(length),
                    _ => None,
                };
                let mut writer = responder.start(ok(), length).await?;
                while let Some(piece) = body.next().await {
                    let Ok(piece) = piece else {
                        add(&self.seen.body_errors);
                        return Err(http::SendError::Closed);
                    };
                    writer.write(piece).await?;
                }
                writer.finish().await
            }
            "/refuse" => responder.send(ResponseHead::new(StatusCode::FORBIDDEN), "no".into()).await,
            "/slow" => {
                ring::sleep(Duration::from_millis(number)).await;
                responder.send(ok(), "slow".into()).await
            }
            "/held" => {
                while !self.seen.released.get() {
                    ring::sleep(Duration::from_millis(1)).await;
                }
                responder.send(ok(), "held".into()).await
            }
            "/together" => {
                while (self.seen.requests.get() as u64) < number {
                    ring::sleep(Duration::from_millis(1)).await;
                }
                responder.send(ok(), "together".into()).await
            }
            "/wait" => {
                responder.client_gone().await;
                add(&self.seen.gone);
                responder.send(ok(), "late".into()).await
            }
            "/big" => {
                let mut writer = responder.start(ok(), Some(number)).await?;
                let piece = Bytes::from(vec![b'x'; 64 * 1024]);
                let mut left = number as usize;
                while left > 0 {
                    let length = left.min(piece.len());
                    writer.write(piece.slice(..length)).await?;
                    left -= length;
                }
                writer.finish().await
            }
            "/chunks" => {
                let mut writer = responder.start(ok(), None).await?;
                for piece in ["one", "", "two", "three"] {
                    writer.write(piece.into()).await?;
                }
                writer.finish().await
            }
            "/abort" => {
                let mut writer = responder.start(ok(), if number == 0 { None } else { Some(number) }).await?;
                writer.write("part".into()).await?;
                writer.abort();
                Ok(())
            }
            "/short" => {
                let mut writer = responder.start(ok(), Some(10)).await?;
                writer.write("part".into()).await?;
                writer.finish().await
            }
            "/drop" => {
                drop(responder);
                Ok(())
            }
            "/length" => responder.send(with(ok(), header::CONTENT_LENGTH, "1234"), Bytes::new()).await,
            "/304" => {
                let head = ResponseHead::new(StatusCode::NOT_MODIFIED);
                responder.send(with(head, header::CONTENT_LENGTH, "1234"), Bytes::new()).await
            }
            "/204" => responder.send(ResponseHead::new(StatusCode::NO_CONTENT), Bytes::new()).await,
            "/close" => responder.send(with(ok(), header::CONNECTION, "close"), "bye".into()).await,
            "/detach" => {
                ring::spawn(async move {
                    ring::sleep(Duration::from_millis(20)).await;
                    responder.send(ok(), "detached".into()).await.ok();
                })
                .detach();
                Ok(())
            }
            path => {
                let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
                let host = head.authority.unwrap_or_default();
                responder
                    .send(ok(), format!("{} {path}{query} {host} {}", head.method, head.tls).into())
                    .await
            }
        }
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    pub seen: Rc<Seen>,
    pub shutdown: Shutdown,
    pub server: Server<Paths>,
    pub ended: ring::Task<usize>,
}

pub fn start(limits: Limits) -> TestServer {
    start_with(limits, None)
}

pub fn start_with(limits: Limits, tls: Option<TlsAcceptor>) -> TestServer {
    let listener = ring::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let paths = Paths::default();
    let seen = Rc::clone(&paths.seen);
    let shutdown = Shutdown::new();
    let server = Server::new(limits, paths);
    let (serving, signal) = (server.clone(), shutdown.clone());
    let ended = ring::spawn(async move { serving.serve(listener, tls, signal).await });
    TestServer { address, seen, shutdown, server, ended }
}

/// A client that sends exactly the bytes it is given.
pub struct Raw {
    pub stream: ring::TcpStream,
    pub received: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct RawResponse {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl RawResponse {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: ring::TcpStream::connect(address).await.unwrap(), received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads more; false at the end of the stream.
    pub async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                true
            }
        }
    }

    pub async fn head(&mut self) -> (u16, String) {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let so_far = String::from_utf8_lossy(&self.received).into_owned();
            assert!(self.more().await, "closed before a whole head: {so_far:?}");
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        (head[9..12].parse().unwrap(), head)
    }

    /// Reads one final response with a Content-Length body.
    pub async fn response(&mut self) -> RawResponse {
        let (status, head) = self.head().await;
        let mut response = RawResponse { status, head, body: Vec::new() };
        let length: usize = response.field("content-length").map_or(0, |value| value.parse().unwrap());
        while self.received.len() < length {
            assert!(self.more().await, "closed inside a body");
        }
        response.body = self.received.drain(..length).collect();
        response
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned()
    }

    /// Asserts that the server closes without another byte.
    pub async fn assert_closed(&mut self) {
        assert_eq!(self.rest().await, "");
    }
}
