//! Accepting connections, telling HTTP/1 from HTTP/2, and the drain at the end.
//!
//! Invariant: a connection is counted from accept to drop, and never more than `connections_per_core` are open.
//! Left to others: the protocols (`http1`, `http2`), certificates (`tls`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::core::{ConnectionGuard, Core};
use crate::spread::Seat;
use crate::tls::TlsAcceptor;
use crate::{Handler, Limits, Shutdown, http1, http2};

/// What a connection can run on: a ring stream, TLS over one, or anything like them in tests.
pub trait Stream: AsyncRead + AsyncBufRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncBufRead + AsyncWrite + Unpin + 'static> Stream for T {}

/// The server of one core. Clones share limits, counts and the drain, so one core may serve several listeners.
#[derive(Clone)]
pub struct Server<H> {
    /// Of connections that begin now.
    core: Rc<RefCell<Rc<Core>>>,
    handler: H,
}

/// Serves one listener on this core until `shutdown` begins and the connections have ended, at most until its patience
/// ends. Gives the number of connections that had not ended by then; their handlers run on as long as the reactor does.
pub async fn serve<H: Handler>(
    listener: ring::TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    handler: H,
    shutdown: Shutdown,
) -> usize {
    Server::new(limits, handler).serve(listener, tls, shutdown).await
}

impl<H: Handler> Server<H> {
    /// A server without a listener yet.
    #[must_use]
    pub fn new(limits: Limits, handler: H) -> Self {
        Self { core: Rc::new(RefCell::new(Core::new(limits))), handler }
    }

    /// A server that also takes what other cores accept for it, at `seat`.
    #[must_use]
    pub fn at(seat: &Seat, limits: Limits, handler: H) -> Self {
        Self { core: Rc::new(RefCell::new(Core::with_count(limits, seat.own_count()))), handler }
    }

    /// Sets the limits of connections that begin from now on; the others keep theirs, but for their number.
    pub fn set_limits(&self, limits: Limits) {
        let core = self.core().with_limits(limits);
        *self.core.borrow_mut() = core;
    }

    pub(crate) fn core(&self) -> Rc<Core> {
        Rc::clone(&self.core.borrow())
    }

    /// Connections open now.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.core().connection_count()
    }

    /// As the free function `serve`, for one of several listeners.
    pub async fn serve(
        &self,
        listener: ring::TcpListener,
        tls: Option<TlsAcceptor>,
        shutdown: Shutdown,
    ) -> usize {
        let deadline = self.accept_all(&listener, tls.as_ref(), &shutdown).await;
        self.core().start_draining();
        // Clients that the kernel has connected do not see that nobody accepted them yet.
        listener.close();
        while let Ok((stream, peer)) = listener.accept().await {
            if self.is_full() {
                break;
            }
            self.start(stream, peer, tls.as_ref());
        }
        drop(listener);
        self.wait_for_end(deadline).await;
        self.core().connection_count()
    }

    /// Serves one connection that somebody else accepted, until it ends.
    pub async fn serve_stream<S: Stream>(&self, stream: S, peer: SocketAddr, tls: bool) {
        let _guard = self.core().open_connection();
        serve_sniffed(stream, self.handler.clone(), self.core(), peer, tls).await;
    }

    async fn accept_all(
        &self,
        listener: &ring::TcpListener,
        tls: Option<&TlsAcceptor>,
        shutdown: &Shutdown,
    ) -> Instant {
        loop {
            let accepted = {
                let mut accept = pin!(listener.accept());
                poll_fn(|cx| {
                    if let Poll::Ready(deadline) = shutdown.poll_begun(cx) {
                        return Poll::Ready(Err(deadline));
                    }
                    let core = self.core();
                    if core.connection_count() >= core.limits.connections_per_core {
                        core.wake_at_next_end(cx.waker());
                        return Poll::Pending;
                    }
                    accept.as_mut().poll(cx).map(Ok)
                })
                .await
            };
            match accepted {
                Err(deadline) => return deadline,
                Ok(Ok((stream, peer))) => self.start(stream, peer, tls),
                // Descriptors ran out, or the peer was gone before we came: neither is helped by haste.
                Ok(Err(_)) => ring::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Whether no further connection may be opened.
    fn is_full(&self) -> bool {
        let core = self.core();
        core.connection_count() >= core.limits.connections_per_core
    }

    fn start(&self, stream: ring::TcpStream, peer: SocketAddr, tls: Option<&TlsAcceptor>) {
        self.start_counted(stream, peer, tls, self.core().open_connection());
    }

    /// Of a connection that is counted already.
    pub(crate) fn start_counted(
        &self,
        stream: ring::TcpStream,
        peer: SocketAddr,
        tls: Option<&TlsAcceptor>,
        guard: ConnectionGuard,
    ) {
        let (core, handler) = (self.core(), self.handler.clone());
        match tls {
            None => ring::spawn(serve_plain(stream, handler, core, peer, guard)).detach(),
            Some(acceptor) => {
                ring::spawn(serve_tls(stream, acceptor.clone(), handler, core, peer, guard)).detach();
            }
        }
    }

    pub(crate) async fn wait_for_end(&self, deadline: Instant) {
        let mut limit = pin!(ring::sleep_until(deadline));
        poll_fn(|cx| {
            if self.core().connection_count() == 0 {
                return Poll::Ready(());
            }
            self.core().wake_at_next_end(cx.waker());
            limit.as_mut().poll(cx)
        })
        .await;
    }
}

/// Between two attempts to accept after one failed.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

async fn serve_plain<H: Handler>(
    stream: ring::TcpStream,
    handler: H,
    core: Rc<Core>,
    peer: SocketAddr,
    guard: ConnectionGuard,
) {
    serve_sniffed(stream, handler, core, peer, false).await;
    drop(guard);
}

async fn serve_tls<H: Handler>(
    stream: ring::TcpStream,
    acceptor: TlsAcceptor,
    handler: H,
    core: Rc<Core>,
    peer: SocketAddr,
    guard: ConnectionGuard,
) {
    // Boxed: the handshake's state is large and short-lived.
    let handshake = Box::pin(ring::timeout(core.limits.tls_handshake, acceptor.accept(stream)));
    if let Ok(Ok(stream)) = handshake.await {
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Box::pin(http2::serve(stream, Vec::new(), handler, core, peer, true)).await;
        } else {
            serve_sniffed(stream, handler, core, peer, true).await;
        }
    }
    drop(guard);
}

async fn serve_sniffed<S: Stream, H: Handler>(
    mut stream: S,
    handler: H,
    core: Rc<Core>,
    peer: SocketAddr,
    tls: bool,
) {
    match sniff(&mut stream, &core).await {
        Sniffed::Gone => {}
        Sniffed::Http1(partial) => {
            let connection = http1::Connection::new(stream, partial, &core, peer, tls);
            http1::serve(connection, handler, core).await;
        }
        // Boxed: an HTTP/2 connection's state is several times that of the common HTTP/1 one.
        Sniffed::Http2(prefix) => Box::pin(http2::serve(stream, prefix, handler, core, peer, tls)).await,
    }
}

/// The first line of the preface of every HTTP/2 connection (RFC 9113 section 3.4). It decides: no HTTP/1 request line
/// begins so.
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// What a client speaks, with the bytes that were taken from the stream to find out.
enum Sniffed {
    Http1(Vec<u8>),
    Http2(Vec<u8>),
    Gone,
}

async fn sniff<S: Stream>(stream: &mut S, core: &Rc<Core>) -> Sniffed {
    let mut seen = Vec::new();
    let watch = core.watches.watch();
    let deadline = ring::now() + core.limits.first_byte;
    poll_fn(|cx| {
        loop {
            let buffer = match Pin::new(&mut *stream).poll_fill_buf(cx) {
                Poll::Ready(Ok(buffer)) if !buffer.is_empty() => buffer,
                Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Sniffed::Gone),
                Poll::Pending => {
                    let deadline = if seen.is_empty() { core.idle_until(deadline) } else { deadline };
                    if deadline <= ring::now() {
                        return Poll::Ready(Sniffed::Gone);
                    }
                    watch.arm(deadline, cx.waker());
                    return Poll::Pending;
                }
            };
            // Decided by the first line, so that a client which sends no more than that is HTTP/2's problem, too.
            let wanted = &PREFACE_LINE[seen.len()..];
            let length = buffer.len().min(wanted.len());
            if buffer[..length] != wanted[..length] {
                return Poll::Ready(Sniffed::Http1(std::mem::take(&mut seen)));
            }
            if length == wanted.len() {
                return Poll::Ready(Sniffed::Http2(std::mem::take(&mut seen)));
            }
            seen.extend_from_slice(&buffer[..length]);
            Pin::new(&mut *stream).consume(length);
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::mem::size_of_val;
    use std::net::Ipv4Addr;

    use tokio::io::BufReader;

    use super::*;
    use crate::Request;
    use crate::testing::on_reactor;

    #[derive(Clone)]
    struct Large;

    impl Handler for Large {
        async fn call(&self, request: Request) {
            let state = [0_u8; 16 * 1024];
            ring::yield_now().await;
            assert_eq!(state[request.head.path.len()], 0);
        }
    }

    #[test]
    fn an_idle_connection_is_small_whatever_its_handler_needs() {
        on_reactor(async {
            // Ten thousand idle connections lie in 30 MB, sockets apart.
            const IDLE_BYTES_MAX: usize = 3_000;
            let core = Core::new(Limits::default());
            let (stream, _other) = tokio::io::duplex(64);
            let stream = BufReader::new(stream);
            let stream_bytes = size_of_val(&stream);
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let state_bytes = http1::connection_bytes::<BufReader<tokio::io::DuplexStream>>();
            let task = serve_sniffed(stream, Large, core, peer, false);
            let total = size_of_val(&task) + state_bytes;
            assert!(
                total < IDLE_BYTES_MAX,
                "task {} state {state_bytes} stream {stream_bytes}",
                size_of_val(&task)
            );
        });
    }
}
