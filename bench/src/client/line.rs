//! A connection of its own to a server, whatever it speaks.
//! Invariant: what can end a connection is known before the first word is waited for.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::http1::{Answer, Failed, Wanted};
use super::wire::{Closer, When, Wire};
use super::{amqp, http1, nats, resp};
use crate::load::recorder::Failure;
use crate::scenario::{Protocol, Target};

/// Before the clock, a server that says nothing for so long speaks something else.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// A connection that sends one request at a time.
pub enum Line {
    /// HTTP/1.1.
    Http(http1::Connection),
    /// Redis.
    Resp(resp::Connection),
    /// NATS.
    Nats(nats::Connection),
    /// RabbitMQ.
    Amqp(amqp::Connection),
}

impl Line {
    /// Connects, and says what comes before the first request. What can end the connection is given to `keep` before that.
    ///
    /// # Errors
    /// No connection, or a server that does not let us in.
    pub async fn connect(target: &Target, when: When, keep: impl FnOnce(Closer)) -> Result<Line, Failed> {
        let address: SocketAddr = target.address;
        let connected = Wire::connect(address, target.tls.as_ref(), when).await;
        let (wire, closer) = connected.map_err(|error| (Failure::Connect, error.to_string()))?;
        let limit = match (when, &target.protocol) {
            (When::InTheRun, _) | (_, Protocol::Http) => None,
            (When::BeforeTheClock, _) => Some(Limit::start(&closer)?),
        };
        keep(closer);
        let line = Line::greet(target, wire).await;
        if limit.is_some_and(Limit::was_reached) {
            let words = format!("nothing that ends a greeting within {} s", GREETING_MAX.as_secs());
            return Err((Failure::Connect, words));
        }
        line
    }

    async fn greet(target: &Target, wire: Wire) -> Result<Line, Failed> {
        let credentials = target.credentials.as_ref();
        Ok(match target.protocol {
            Protocol::Http => Line::Http(http1::Connection::new(wire)),
            Protocol::Redis => Line::Resp(resp::Connection::greet(wire, credentials).await?),
            Protocol::Nats => Line::Nats(nats::Connection::greet(wire, credentials).await?),
            Protocol::Amqp { is_durable } => {
                Line::Amqp(amqp::Connection::greet(wire, credentials, is_durable).await?)
            }
        })
    }

    /// Sends a request and reads its answer. What is wanted of it is of HTTP.
    ///
    /// # Errors
    /// The connection broke, or what came is not an answer.
    pub async fn exchange(
        &mut self,
        head: &[u8],
        body: &Bytes,
        wanted: Wanted<'_>,
    ) -> Result<Answer, Failed> {
        match self {
            Line::Http(connection) => connection.exchange(head, body, wanted).await,
            Line::Resp(connection) => connection.exchange(head, body).await,
            Line::Nats(connection) => connection.exchange(head, body).await,
            Line::Amqp(connection) => connection.exchange(head, body).await,
        }
    }
}

/// Ends a connection after a while, unless it is told that there was no need. A thread, since the ring has no timers here (runtime.rs).
struct Limit {
    alive: mpsc::Sender<()>,
    waiting: thread::JoinHandle<bool>,
}

impl Limit {
    fn start(closer: &Closer) -> Result<Limit, Failed> {
        let closer = closer.again().map_err(|error| (Failure::Connect, error.to_string()))?;
        let (alive, ended) = mpsc::channel::<()>();
        let waiting = thread::spawn(move || {
            let is_late = ended.recv_timeout(GREETING_MAX) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                closer.close();
            }
            is_late
        });
        Ok(Limit { alive, waiting })
    }

    /// Whether it ended the connection; it does not any more.
    fn was_reached(self) -> bool {
        drop(self.alive);
        self.waiting.join().expect("nothing in the thread panics")
    }
}
