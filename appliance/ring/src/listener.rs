//! TCP listeners.
//!
//! Invariant: a connection that the kernel has delivered is in `accepted` until `accept` gives it out. Closing a
//! listener takes over the kernel's backlog too, so that no client that believes itself connected is reset.

use crate::connection::Flow;
use crate::core::Core;
use crate::slab::Key;
use crate::stream::TcpStream;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Connections that the kernel keeps for a listener; it cuts this down to net.core.somaxconn.
const BACKLOG_COUNT: i32 = 4096;

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Let other listeners, one per core, share the address; the kernel spreads the connections over them.
    pub reuse_port: bool,
    /// How many connections the kernel keeps until they are accepted.
    pub backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { reuse_port: true, backlog: BACKLOG_COUNT }
    }
}

/// A listening socket of this thread's reactor. Dropping it stops listening.
pub struct TcpListener {
    core: Rc<Core>,
    listening: Rc<Listening>,
}

/// What the backend's slot shares with the listener.
pub(crate) struct Listening {
    pub socket: Socket,
    pub key: Cell<Key>,
    pub state: RefCell<ListenState>,
}

pub(crate) struct ListenState {
    pub flow: Flow,
    pub accepted: VecDeque<OwnedFd>,
    /// The errno that the next `accept` reports.
    failure: Option<i32>,
    pub closing: bool,
    pub acceptors: Vec<Waker>,
}

impl ListenState {
    /// Keeps an error for the next `accept`, unless it concerns only a connection that is gone.
    pub fn note_failure(&mut self, errno: i32) {
        // accept(2): the network's own errors appear here and are to be treated like EAGAIN.
        let is_passing = matches!(
            errno,
            libc::ECANCELED
                | libc::EINTR
                | libc::EAGAIN
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENOPROTOOPT
                | libc::ENONET
        );
        if !is_passing {
            self.failure = Some(errno);
        }
    }
}

impl Listening {
    /// Stops: nothing new is accepted from now on.
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.closing = true;
        let acceptors = std::mem::take(&mut state.acceptors);
        drop(state);
        acceptors.into_iter().for_each(Waker::wake);
    }

    /// Moves what the kernel still keeps into `accepted`; the listener is closing and nothing else accepts.
    pub fn take_backlog(&self) {
        // Blocking would be for ever on an empty backlog. If this fails, the backlog is lost, which is no worse than
        // a plain close.
        if self.socket.set_nonblocking(true).is_err() {
            return;
        }
        let mut state = self.state.borrow_mut();
        for _ in 0..BACKLOG_COUNT {
            match self.socket.accept_raw() {
                Ok((socket, _)) => {
                    // accept_raw sets no flags; a child process must not inherit the connection.
                    if socket.set_cloexec(true).is_ok() {
                        state.accepted.push_back(OwnedFd::from(socket));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }
}

impl TcpListener {
    /// Listens on `address` with the default options: shared with other cores' listeners.
    ///
    /// # Errors
    /// What the kernel says: the address is in use, or not ours.
    ///
    /// # Panics
    /// Outside a reactor.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind_with(address, ListenOptions::default())
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// What the kernel says: the address is in use, or not ours.
    ///
    /// # Panics
    /// Outside a reactor.
    pub fn bind_with(address: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(options.backlog)?;
        TcpListener::from_socket(socket)
    }

    /// Takes over a listening socket, for instance from the service manager.
    ///
    /// # Errors
    /// What the kernel says when the socket is prepared for the reactor.
    ///
    /// # Panics
    /// Outside a reactor.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_socket(Socket::from(listener))
    }

    fn from_socket(socket: Socket) -> io::Result<TcpListener> {
        let core = Core::current();
        let listening = Rc::new(Listening {
            socket,
            key: Cell::new(Key::VACANT),
            state: RefCell::new(ListenState {
                flow: Flow::Idle,
                accepted: VecDeque::new(),
                failure: None,
                closing: false,
                acceptors: Vec::new(),
            }),
        });
        core.backend.add_listener(&listening)?;
        Ok(TcpListener { core, listening })
    }

    /// The address on which it listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.listening.socket.local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// `NotConnected` when the listener is closed and everything that was accepted has been given out. Otherwise want of
    /// descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): the connection waits in the kernel, and the caller should
    /// pause before it tries again.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    /// As `accept`, for hand-written futures.
    ///
    /// # Errors
    /// As `accept`.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let (socket, peer) = ready!(self.poll_accept_socket(context))?;
            // A socket that cannot be prepared is a connection that is gone.
            if let Ok(stream) = TcpStream::from_socket(&self.core, socket) {
                return Poll::Ready(Ok((stream, peer)));
            }
        }
    }

    /// Waits for the next connection, for a reactor on another thread to take over.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn accept_socket(&self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        poll_fn(|context| self.poll_accept_socket(context)).await.map(|(socket, peer)| (socket.into(), peer))
    }

    fn poll_accept_socket(&self, context: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        loop {
            if let Some(accepted) = self.take_accepted() {
                return Poll::Ready(Ok(accepted));
            }
            if self.core.closed.get() {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected)));
            }
            self.core.backend.want_accept(&self.listening);
            let mut state = self.listening.state.borrow_mut();
            if !state.accepted.is_empty() {
                continue;
            }
            if let Some(errno) = state.failure.take() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
            if state.closing && self.listening.key.get() == Key::VACANT {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::NotConnected,
                    "the listener is closed",
                )));
            }
            if !state.acceptors.iter().any(|waker| waker.will_wake(context.waker())) {
                state.acceptors.push(context.waker().clone());
            }
            return Poll::Pending;
        }
    }

    /// Gives out what was accepted, skipping connections that are gone already.
    fn take_accepted(&self) -> Option<(Socket, SocketAddr)> {
        loop {
            let fd = self.listening.state.borrow_mut().accepted.pop_front()?;
            let socket = Socket::from(fd);
            // A peer that has reset the connection leaves no address behind.
            let Ok(Some(peer)) = socket.peer_addr().map(|address| address.as_socket()) else { continue };
            return Some((socket, peer));
        }
    }

    /// Stops listening. What was delivered, and what waits in the kernel's backlog, is still given out by `accept`;
    /// after that it answers `NotConnected`.
    pub fn close(&self) {
        self.listening.close();
        if !self.core.closed.get() {
            self.core.backend.stop_accept(&self.listening);
        }
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.close();
    }
}
