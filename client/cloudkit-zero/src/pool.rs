//! Which connection a request takes.
//!
//! ```text
//! nothing known --frames--> HTTP/2: up to N connections, a further one when 32 streams are in flight on each
//!               --text----> HTTP/1: remembered; one exchange per connection, idle ones kept
//! ```
//! Invariant: one attempt to connect at a time, made by a task of its own, so that a caller that goes away takes nothing with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::connect::{Agreed, Connector};
use crate::error::{Sent, WireError, WireKind};
use crate::http1;
use crate::http2::{Connection, Refusal, StreamLease};

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Of HTTP/2, at least one.
    pub connections_max: usize,
    /// Streams on each before a further one is opened.
    pub streams_per_connection: usize,
    /// Of HTTP/1, where each carries one exchange; waiting receives count.
    pub http1_connections_max: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions { connections_max: 4, streams_per_connection: 32, http1_connections_max: 128 }
    }
}

/// From here a body goes to the connection with the fewest bytes in flight.
pub const LARGE_BODY_BYTES: u64 = 1024 * 1024;
/// After a further connection could not be made, the next attempt waits this long.
const FURTHER_PAUSE: Duration = Duration::from_secs(1);
/// Then HTTP/1 is tried: a peer that is being stopped hangs up, too, but not again and again.
const SILENCES_MAX: usize = 3;
/// Fresh connections that end before they are used, until the caller hears of it.
const ROUNDS_MAX: usize = 8;

/// A place to send one request.
#[derive(Debug)]
pub enum Leased {
    /// A stream.
    Http2(StreamLease),
    /// A connection.
    Http1(http1::Lease),
}

/// The connections to one endpoint.
#[derive(Debug)]
pub struct Pool {
    connector: Connector,
    options: PoolOptions,
    state: Mutex<State>,
    speaks_http1: AtomicBool,
    /// Connections in a row on which the peer hung up without a word.
    silences: AtomicUsize,
    idle: Arc<http1::Idle>,
    http1_permits: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    attempt: Option<Attempt>,
    further_after: Option<Instant>,
}

/// How an attempt ended; None while it runs.
type Attempt = watch::Receiver<Option<Result<(), WireError>>>;

/// What is in flight; for tests and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InFlight {
    /// Open connections of HTTP/2.
    pub connections: usize,
    /// Streams on them.
    pub streams: usize,
    /// Bytes told of.
    pub bytes: u64,
    /// Exchanges over HTTP/1.
    pub http1: usize,
    /// Idle connections of HTTP/1.
    pub http1_idle: usize,
}

enum Picked {
    Stream(StreamLease),
    Wait(Attempt),
}

impl Pool {
    /// Opens nothing yet. `connections_max` of zero counts as one.
    pub fn new(connector: Connector, options: PoolOptions) -> Arc<Pool> {
        Arc::new(Pool {
            connector,
            options,
            state: Mutex::default(),
            speaks_http1: AtomicBool::new(false),
            silences: AtomicUsize::new(0),
            idle: Arc::default(),
            http1_permits: Arc::new(Semaphore::new(options.http1_connections_max.max(1))),
        })
    }

    /// Where it leads.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A place for a request that will move about `weight` bytes. The caller bounds the time beyond that of one connection.
    /// Errors: why there is no connection; nothing was sent.
    pub async fn lease(self: &Arc<Self>, weight: u64) -> Result<Leased, WireError> {
        for _ in 0..ROUNDS_MAX {
            if self.speaks_http1.load(Ordering::Relaxed) {
                return self.lease_http1().await.map(Leased::Http1);
            }
            let mut attempt = match self.pick(weight) {
                Picked::Stream(lease) => return Ok(Leased::Http2(lease)),
                Picked::Wait(attempt) => attempt,
            };
            match attempt.wait_for(Option::is_some).await {
                Ok(ended) => {
                    if let Some(Err(error)) = &*ended {
                        return Err(error.clone());
                    }
                }
                // The task went away with its runtime; another attempt is made by this one.
                Err(_) => continue,
            }
        }
        let words = "the peer closes each connection at once";
        Err(WireError::new(WireKind::Closed, Sent::No, words))
    }

    /// What is in flight.
    pub fn in_flight(&self) -> InFlight {
        let state = self.state();
        let open = || state.connections.iter().filter(|connection| !connection.shared().is_closed());
        InFlight {
            connections: open().count(),
            streams: state.connections.iter().map(|connection| connection.shared().streams()).sum(),
            bytes: state.connections.iter().map(|connection| connection.shared().bytes()).sum(),
            http1: self.options.http1_connections_max.max(1) - self.http1_permits.available_permits(),
            http1_idle: self.idle.count(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pick(self: &Arc<Self>, weight: u64) -> Picked {
        let mut state = self.state();
        state.connections.retain(|connection| !connection.shared().is_closed());
        let is_large = weight >= LARGE_BODY_BYTES;
        let best = state.connections.iter().min_by_key(|connection| {
            let shared = connection.shared();
            if is_large { (shared.bytes(), shared.streams()) } else { (0, shared.streams()) }
        });
        let Some(best) = best.cloned() else { return Picked::Wait(self.attempt(&mut state)) };
        let per_connection = self.options.streams_per_connection;
        let is_full = |connection: &Arc<Connection>| connection.shared().streams() >= per_connection;
        if state.connections.len() < self.options.connections_max
            && state.connections.iter().all(is_full)
            && state.further_after.is_none_or(|after| after <= Instant::now())
        {
            // It serves those that come later; this one goes ahead where it is.
            drop(self.attempt(&mut state));
        }
        Picked::Stream(best.lease(weight))
    }

    /// The attempt that runs, or a new one.
    fn attempt(self: &Arc<Self>, state: &mut State) -> Attempt {
        if let Some(attempt) = &state.attempt
            && attempt.has_changed().is_ok()
        {
            return attempt.clone();
        }
        let (tell, attempt) = watch::channel(None);
        state.attempt = Some(attempt.clone());
        let pool = self.clone();
        tokio::spawn(async move {
            let within = pool.connector.timeout();
            let made = tokio::time::timeout(within, pool.connect()).await.unwrap_or_else(|_| {
                let words = format!("{} after {within:?}", pool.connector.target().authority);
                Err(WireError::new(WireKind::ConnectTimeout, Sent::No, words))
            });
            let mut state = pool.state();
            state.attempt = None;
            let ended = match made {
                Ok(connection) => {
                    state.further_after = None;
                    state.connections.extend(connection);
                    Ok(())
                }
                Err(error) => {
                    state.further_after = Some(Instant::now() + FURTHER_PAUSE);
                    Err(error)
                }
            };
            drop(state);
            tell.send_replace(Some(ended));
        });
        attempt
    }

    /// A connection of HTTP/2; None when there is none and the next round may know more: HTTP/1 is remembered.
    async fn connect(&self) -> Result<Option<Arc<Connection>>, WireError> {
        let (io, agreed) = self.connector.connect().await?;
        if agreed == Agreed::Http1 {
            self.speaks_http1.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        match Connection::open(io).await {
            Ok(connection) => {
                self.silences.store(0, Ordering::Relaxed);
                Ok(Some(Arc::new(connection)))
            }
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Silence) => {
                let count = self.silences.fetch_add(1, Ordering::Relaxed) + 1;
                if agreed == Agreed::Nothing && count >= SILENCES_MAX {
                    self.speaks_http1.store(true, Ordering::Relaxed);
                }
                Ok(None)
            }
            Err(Refusal::Text) if agreed == Agreed::Nothing => {
                self.speaks_http1.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(Refusal::Text) => {
                let words = "the peer agreed to HTTP/2 and does not speak it";
                Err(WireError::new(WireKind::Protocol, Sent::No, words))
            }
        }
    }

    async fn lease_http1(&self) -> Result<http1::Lease, WireError> {
        let permit = self.http1_permits.clone().acquire_owned().await.map_err(|_| {
            // The semaphore is never closed.
            WireError::new(WireKind::Closed, Sent::No, "the pool is closed")
        })?;
        let sender = match self.idle.take() {
            Some(sender) => sender,
            None => {
                let within = self.connector.timeout();
                let made = async {
                    let (io, _) = self.connector.connect().await?;
                    http1::open(io).await
                };
                tokio::time::timeout(within, made).await.map_err(|_| {
                    let words = format!("{} after {within:?}", self.connector.target().authority);
                    WireError::new(WireKind::ConnectTimeout, Sent::No, words)
                })??
            }
        };
        Ok(http1::Lease { sender: Some(sender), idle: self.idle.clone(), permit })
    }

    /// Forgets that the peer speaks HTTP/1: it failed to, and may be another one by now.
    pub fn forget_http1(&self) {
        self.speaks_http1.store(false, Ordering::Relaxed);
    }
}
