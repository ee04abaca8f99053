//! The transport against peers within the process, whose every frame is written by the test.
//! Time stands still and moves on when nobody has anything to do, so no test depends on how fast the machine is.

mod answers;
pub(crate) mod appliance;
mod between;
mod calls;
mod downloads;
mod http1;
mod http2;
mod pool;
mod restarts;
pub(crate) mod services;
mod storage;
mod streams;
mod waits;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_types::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::call::{Answered, CallError, Caller, Request, Settings};
use crate::connect::Connector;
use crate::credentials::{FixedKeys, Keys};
use crate::pool::PoolOptions;

/// The ends of the connections that a client opens.
pub struct Incoming(mpsc::UnboundedReceiver<DuplexStream>);

impl Incoming {
    /// The next connection. Waits for it.
    pub async fn next(&mut self) -> DuplexStream {
        in_time(self.0.recv()).await.expect("the client lives")
    }

    /// The next connection, greeted by frames.
    pub async fn framed(&mut self) -> Peer {
        Peer::greet(self.next().await).await
    }

    /// Whether a connection is waiting that nobody took.
    pub fn has_next(&mut self) -> bool {
        !self.0.is_empty()
    }
}

pub fn settings() -> Settings {
    fn clock() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }
    let keys = Arc::new(FixedKeys(Arc::new(Keys::new("AKIDEXAMPLE", "secret"))));
    Settings { clock, ..Settings::new("http://peer.test", keys) }
}

/// A client and the connections that it opens.
pub fn client(settings: Settings) -> (Caller, Incoming) {
    let (tell, incoming) = mpsc::unbounded_channel();
    let connector = Connector::dialing(Box::new(move || {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        tell.send(theirs).map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
        Ok(ours)
    }));
    (Caller::with_connector(settings, connector), Incoming(incoming))
}

/// A client with one connection at most.
pub fn single() -> (Caller, Incoming) {
    let pool = PoolOptions { connections_max: 1, ..PoolOptions::default() };
    client(Settings { pool, ..settings() })
}

pub fn get() -> Request {
    Request::new("s3", Method::GET, "/bucket/key")
}

pub fn put(body: impl Into<Bytes>) -> Request {
    Request { body: body.into().into(), ..Request::new("s3", Method::PUT, "/bucket/key") }
}

/// The call in a task of its own.
pub fn start(caller: &Caller, request: Request) -> tokio::task::JoinHandle<Result<Answered, CallError>> {
    let caller = caller.clone();
    tokio::spawn(async move { caller.call(request).await })
}

/// The whole body of an answer.
pub async fn body_of(answered: Result<Answered, CallError>) -> Bytes {
    let mut reply = answered.expect("it is answered").reply;
    reply.body.collect(usize::MAX).await.expect("the body is whole")
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// A frame as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The far end of a connection, frame by frame.
pub struct Peer {
    io: DuplexStream,
}

impl Peer {
    /// Takes the client's preface and sends settings.
    pub async fn greet(mut io: DuplexStream) -> Peer {
        let mut preface = [0; 24];
        io.read_exact(&mut preface).await.expect("the client begins");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Peer { io };
        peer.send(SETTINGS, 0, 0, &[]).await;
        peer
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.io.write_all(&frame).await.expect("the client reads");
    }

    /// The next frame of any kind; None when the client hung up.
    pub async fn any(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        in_time(self.io.read_exact(&mut head)).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of `kind`; others are passed over, settings and pings answered.
    pub async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.any().await.expect("the client does not hang up");
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, &[]).await;
            }
            if frame.kind == kind {
                return frame;
            }
            if frame.kind == PING && frame.flags & ACK == 0 {
                self.send(PING, ACK, 0, &frame.payload).await;
            }
        }
    }

    /// The stream of the next request.
    pub async fn request(&mut self) -> u32 {
        self.next(HEADERS).await.stream
    }

    /// Status 200 and a body.
    pub async fn answer(&mut self, stream: u32, body: &[u8]) {
        self.head(stream, 200, &[]).await;
        self.send(DATA, END_STREAM, stream, body).await;
    }

    /// A head that a body follows.
    pub async fn head(&mut self, stream: u32, status: u16, headers: &[(&str, &str)]) {
        let block = block(status, headers);
        self.send(HEADERS, END_HEADERS, stream, &block).await;
    }

    pub async fn reset(&mut self, stream: u32, reason: u32) {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    pub async fn go_away(&mut self, last: u32, reason: u32) {
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    /// Gives the client room to send: on a stream, or on the connection (0).
    pub async fn open_window(&mut self, stream: u32, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()).await;
    }
}

/// Headers as literals that are never indexed (RFC 7541 6.2.3).
fn block(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let status = status.to_string();
    let mut block = Vec::new();
    for (name, value) in std::iter::once((":status", status.as_str())).chain(headers.iter().copied()) {
        assert!(name.len() < 127 && value.len() < 127, "lengths of one byte suffice here");
        block.extend_from_slice(&[0x10, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// What does not come in an hour of a clock that moves only when nobody can run does not come.
pub async fn in_time<F: Future>(waiting: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(3_600), waiting).await.expect("it comes")
}

/// Lets every task do what it can.
pub async fn settle() {
    // The clock moves only when nobody can run.
    tokio::time::sleep(Duration::from_millis(1)).await;
}
