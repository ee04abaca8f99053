//! Names to addresses, beside the reactor: the C library's resolver blocks.
//! Invariant: at most `THREADS_MAX` look-ups run at once for one worker, also those that nobody waits for any more.
//! Leaves to address.rs: which of the addresses may be used.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::endpoint::Endpoint;

/// Look-ups at once.
const THREADS_MAX: usize = 16;
/// Addresses of a name that are looked at.
const ADDRESS_COUNT_MAX: usize = 64;

/// Looks names up.
#[derive(Clone)]
pub(super) struct Resolver {
    room: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver { room: Arc::new(Semaphore::new(THREADS_MAX)) }
    }
}

impl Resolver {
    /// The addresses of an endpoint's host, with its port. Errors: those of the resolver; none found.
    pub(super) async fn addresses(&self, endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
        if let Some(ip) = endpoint.address() {
            return Ok(vec![SocketAddr::new(ip, endpoint.port)]);
        }
        // The permit travels with the thread, so that a caller who gives up does not make room for one more.
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(io::Error::other)?;
        let (sender, receiver) = oneshot::channel();
        let place = (endpoint.host.clone(), endpoint.port);
        std::thread::Builder::new().name("sns-name".into()).spawn(move || {
            let found = place.to_socket_addrs().map(|all| all.take(ADDRESS_COUNT_MAX).collect::<Vec<_>>());
            drop(permit);
            // Nobody may be there for the answer.
            drop(sender.send(found));
        })?;
        let found = receiver.await.map_err(io::Error::other)??;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}
