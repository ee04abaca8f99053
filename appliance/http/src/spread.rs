//! A listener that is one socket for all cores, such as a service manager's: one core accepts, and each connection goes to
//! the core that has the fewest.
//!
//! ```text
//! kernel --> accepting core --(counted for the target)--> mailbox of the target --> its server
//! ```
//! Invariant: an accepted connection is counted on one core from the moment it has a target, and no core ends while
//! a connection may still be on its way to it.
//! Left to others: what a connection is (`server`), the drain (`core`).

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::server::{ACCEPT_PAUSE, Server};
use crate::tls::TlsAcceptor;
use crate::{Handler, Shutdown};

/// One core's place at the table: what it is sent, and its way to the others.
pub struct Seat {
    index: usize,
    table: Table,
    arrivals: ring::Receiver<Arrival>,
}

/// What all cores know of each other.
#[derive(Clone)]
struct Table {
    places: Arc<[Place]>,
    /// Listeners whose connections are spread and that still accept.
    lent: Arc<AtomicUsize>,
}

struct Place {
    sender: ring::Sender<Arrival>,
    /// Connections open there, and on their way there.
    count: Arc<AtomicUsize>,
}

/// A connection that another core accepted.
struct Arrival {
    stream: std::net::TcpStream,
    peer: SocketAddr,
}

/// A listening socket whose connections go to all cores. No core ends its drain before it is served to its end or dropped.
pub struct Lent {
    socket: std::net::TcpListener,
    accepting: Accepting,
}

/// Counts a listener that accepts.
struct Accepting(Arc<AtomicUsize>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How often a core that drains looks whether anything can still come.
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(2);

/// Seats for `core_count` cores, to be given to their threads.
#[must_use]
pub fn seats(core_count: usize) -> Vec<Seat> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..core_count).map(|_| ring::mailbox::mailbox()).unzip();
    let places = senders.into_iter().map(|sender| Place { sender, count: Arc::default() }).collect();
    let table = Table { places, lent: Arc::default() };
    receivers
        .into_iter()
        .enumerate()
        .map(|(index, arrivals)| Seat { index, table: table.clone(), arrivals })
        .collect()
}

impl Seat {
    /// Puts a listening socket at this seat: this core accepts for all.
    #[must_use]
    pub fn lend(&self, socket: std::net::TcpListener) -> Lent {
        self.table.lent.fetch_add(1, Ordering::AcqRel);
        Lent { socket, accepting: Accepting(Arc::clone(&self.table.lent)) }
    }

    /// The count of connections of this core.
    pub(crate) fn own_count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.table.places[self.index].count)
    }

    /// Accepts for all cores until `shutdown` begins and what the kernel had connected by then has a core.
    ///
    /// # Errors
    /// What the kernel says when the socket is prepared for the reactor.
    ///
    /// # Panics
    /// Outside a reactor.
    pub fn accept_for_all<H: Handler>(
        &self,
        lent: Lent,
        server: Server<H>,
        shutdown: Shutdown,
    ) -> std::io::Result<impl Future<Output = ()> + use<H>> {
        let Lent { socket, accepting } = lent;
        let listener = ring::TcpListener::from_std(socket)?;
        let table = self.table.clone();
        Ok(async move {
            let limit = || server.core().limits.connections_per_core;
            while let Some(accepted) = next(&listener, &shutdown).await {
                match accepted {
                    Ok((stream, peer)) => table.place(stream, peer, &limit, &shutdown).await,
                    Err(_) => ring::sleep(ACCEPT_PAUSE).await,
                }
            }
            listener.close();
            while let Ok((stream, peer)) = listener.accept_socket().await {
                table.place(stream, peer, &limit, &shutdown).await;
            }
            drop(accepting);
        })
    }

    /// Serves what other cores accept for this one, until `shutdown` begins and nothing can come any more and the
    /// connections have ended, at most until its patience ends. Gives the number of connections that had not ended.
    pub async fn serve<H: Handler>(
        mut self,
        server: Server<H>,
        tls: Option<TlsAcceptor>,
        shutdown: Shutdown,
    ) -> usize {
        let deadline = loop {
            let mut begun = pin!(shutdown.begun());
            let arrival = poll_fn(|cx| match self.arrivals.poll_recv(cx) {
                Poll::Ready(arrival) => Poll::Ready(Ok(arrival)),
                Poll::Pending => begun.as_mut().poll(cx).map(Err),
            })
            .await;
            match arrival {
                Ok(Some(arrival)) => start(&server, tls.as_ref(), arrival),
                Ok(None) => break shutdown.begun().await,
                Err(deadline) => break deadline,
            }
        };
        server.core().start_draining();
        loop {
            // Asked before the mailbox is emptied: who stops accepting has sent everything before.
            let is_last = self.table.lent.load(Ordering::Acquire) == 0 || ring::now() >= deadline;
            while let Some(arrival) = self.arrivals.try_recv() {
                start(&server, tls.as_ref(), arrival);
            }
            if is_last {
                break;
            }
            ring::sleep(ARRIVAL_INTERVAL).await;
        }
        server.wait_for_end(deadline).await;
        server.connection_count()
    }
}

/// The next connection; `None` once the drain has begun.
async fn next(
    listener: &ring::TcpListener,
    shutdown: &Shutdown,
) -> Option<std::io::Result<(std::net::TcpStream, SocketAddr)>> {
    let mut accept = pin!(listener.accept_socket());
    let mut begun = pin!(shutdown.begun());
    poll_fn(|cx| {
        if begun.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        accept.as_mut().poll(cx).map(Some)
    })
    .await
}

fn start<H: Handler>(server: &Server<H>, tls: Option<&TlsAcceptor>, arrival: Arrival) {
    let guard = server.core().adopt_connection();
    // A socket that cannot be prepared is a connection that is gone; its guard counts it off.
    if let Ok(stream) = ring::TcpStream::from_std(arrival.stream) {
        server.start_counted(stream, arrival.peer, tls, guard);
    }
}

impl Table {
    /// Sends a connection to the core that has the fewest. Where all are full it waits; a drain gives it up then.
    async fn place(
        &self,
        stream: std::net::TcpStream,
        peer: SocketAddr,
        limit: &impl Fn() -> usize,
        shutdown: &Shutdown,
    ) {
        loop {
            let least = self.places.iter().min_by_key(|place| place.count.load(Ordering::Acquire));
            let Some(place) = least else { return };
            if place.count.load(Ordering::Acquire) < limit() {
                place.count.fetch_add(1, Ordering::AcqRel);
                if place.sender.send(Arrival { stream, peer }).is_err() {
                    place.count.fetch_sub(1, Ordering::AcqRel);
                }
                return;
            }
            if shutdown.has_begun() {
                return;
            }
            ring::sleep(ACCEPT_PAUSE).await;
        }
    }
}
