//! TCP streams: the tokio traits over a reactor's connection.
//!
//! Writing queues: everything that is written in one turn leaves in one send at its end. Only a large piece that finds
//! nothing queued before it goes to the kernel at once, as much of it as fits, which saves its copy. `poll_flush`
//! therefore does nothing; `flushed` and `poll_shutdown` wait until the kernel has it all.

use crate::backend::{Slot, direct};
use crate::connection::{Chunk, Connection, QUEUED_BYTES_MAX, State};
use crate::core::Core;
use crate::slab::Key;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// A TCP connection of this thread's reactor.
///
/// Dropping it closes the connection after what was written has been sent; if that takes longer than
/// `ReactorConfig::linger`, it is reset.
pub struct TcpStream {
    core: Rc<Core>,
    connection: Rc<Connection>,
    /// The chunk that is being read: out of the queue, so that `poll_fill_buf` can lend it.
    front: Option<Chunk>,
}

/// A connection attempt, as its slot holds it.
pub(crate) struct Connecting {
    socket: Option<Socket>,
    /// Boxed: the kernel reads it at submission, when the slot may have moved.
    pub address: Box<SockAddr>,
    pub outcome: Option<io::Result<()>>,
    pub waker: Option<Waker>,
    pub abandoned: bool,
}

impl Connecting {
    pub fn socket(&self) -> io::Result<&Socket> {
        self.socket.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }
}

impl TcpStream {
    pub(crate) fn from_socket(core: &Rc<Core>, socket: Socket) -> io::Result<TcpStream> {
        // Sends are gathered already; Nagle's algorithm would only hold the last part back.
        socket.set_tcp_nodelay(true)?;
        let connection = core.backend.add_connection(core, socket)?;
        Ok(TcpStream { core: Rc::clone(core), connection, front: None })
    }

    /// Takes over a connected socket.
    ///
    /// # Errors
    /// What the kernel says when the socket is prepared for the reactor.
    ///
    /// # Panics
    /// Outside a reactor.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_socket(&Core::current(), Socket::from(stream))
    }

    /// Connects to `address`. Dropping the future ends the attempt.
    ///
    /// # Errors
    /// What the kernel says: refused, unreachable, timed out.
    ///
    /// # Panics
    /// Outside a reactor.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let core = Core::current();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        let key = core.backend.start_connect(Connecting {
            socket: Some(socket),
            address: Box::new(SockAddr::from(address)),
            outcome: None,
            waker: None,
            abandoned: false,
        })?;
        let socket = Attempt { core: Rc::clone(&core), key: Some(key) }.await?;
        TcpStream::from_socket(&core, socket)
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// What the kernel says, for instance that the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let address = self.connection.socket.peer_addr()?;
        address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Our address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.connection.socket.local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Waits until the kernel has taken everything that was written.
    ///
    /// # Errors
    /// The error of a failed send; what was written may not have arrived.
    pub async fn flushed(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flushed(context)).await
    }

    /// As `flushed`, for hand-written futures.
    ///
    /// # Errors
    /// As `flushed`.
    pub fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.connection.state.borrow_mut();
        state.send.check()?;
        if state.send.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.core.closed.get() {
            return Poll::Ready(Err(reactor_is_gone()));
        }
        let former = state.send.writer.replace(context.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// Drops what is queued and resets the connection at once: the peer sees an error, not an end.
    pub fn reset(self) {
        self.core.backend.reset(&self.core, &self.connection);
    }

    /// Puts the next unread bytes into `front`, or leaves it empty at the end of the stream.
    fn poll_front(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.connection.state.borrow_mut();
        if !self.core.closed.get() {
            // Also with data at hand: a receive that was stopped for too much unread goes on while the rest is read.
            let is_empty = self.front.is_none() && state.receive.is_empty();
            self.core.backend.want_receive(&self.core, &self.connection, &mut state, is_empty);
        }
        let receive = &mut state.receive;
        if self.front.is_none() {
            self.front = receive.pop();
        }
        if self.front.is_some() || receive.ended {
            return Poll::Ready(Ok(()));
        }
        if let Some(errno) = receive.failure {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if self.core.closed.get() {
            return Poll::Ready(Err(reactor_is_gone()));
        }
        if receive.reader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let former = receive.reader.replace(context.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// Takes `bytes` bytes off the front chunk.
    fn consume_front(&mut self, bytes: usize) {
        let Some(front) = &mut self.front else {
            assert!(bytes == 0, "only bytes that were lent can be consumed");
            return;
        };
        self.connection.state.borrow_mut().receive.consume(&self.core, front, bytes);
        if front.bytes().is_empty() {
            self.front = None;
        }
    }

    /// Registers the writer, or says how much may be queued.
    fn poll_room(&self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        state.send.check()?;
        if state.send.shut {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        }
        if self.core.closed.get() {
            return Poll::Ready(Err(reactor_is_gone()));
        }
        if state.send.room_bytes(&self.core) == 0 {
            state.send.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

fn reactor_is_gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the reactor is gone")
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let stream = self.get_mut();
        if stream.front.is_none() && !stream.core.closed.get() {
            let mut state = stream.connection.state.borrow_mut();
            if state.receive.is_empty()
                && direct::receive_into(&stream.core, &stream.connection, &mut state, buffer)
            {
                return Poll::Ready(Ok(()));
            }
        }
        std::task::ready!(stream.poll_front(context))?;
        while let Some(front) = &stream.front {
            let bytes = front.bytes().len().min(buffer.remaining());
            if bytes == 0 {
                break;
            }
            buffer.put_slice(&front.bytes()[..bytes]);
            stream.consume_front(bytes);
            if stream.front.is_none() {
                stream.front = stream.connection.state.borrow_mut().receive.pop();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for TcpStream {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let stream = self.get_mut();
        std::task::ready!(stream.poll_front(context))?;
        Poll::Ready(Ok(stream.front.as_ref().map_or(&[], Chunk::bytes)))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().consume_front(amount);
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.connection.state.borrow_mut();
        std::task::ready!(self.poll_room(&mut state, context))?;
        let sent = direct::send_from(&self.core, &self.connection, &mut state, parts);
        state.send.check()?;
        let (mut skipped, mut queued) = (sent, 0);
        for part in parts {
            let rest = &part[skipped.min(part.len())..];
            skipped -= part.len() - rest.len();
            let taken = state.send.push(&self.core, rest);
            queued += taken;
            if taken < rest.len() {
                break;
            }
        }
        debug_assert!(queued <= QUEUED_BYTES_MAX);
        if queued > 0 {
            self.core.backend.gather(&self.connection, &mut state);
        }
        Poll::Ready(Ok(sent + queued))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Writing has marked the connection; the end of the turn sends.
        Poll::Ready(self.connection.state.borrow().send.check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.connection.state.borrow().send.shut {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(stream.poll_flushed(context))?;
        stream.connection.state.borrow_mut().send.shut = true;
        match stream.connection.socket.shutdown(Shutdown::Write) {
            // The peer was faster; there is nothing left to shut.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let unread = self.front.as_ref().map_or(0, |front| front.bytes().len());
        self.consume_front(unread);
        self.core.backend.orphan(&self.core, &self.connection);
    }
}

/// A connection attempt, as the caller awaits it.
struct Attempt {
    core: Rc<Core>,
    key: Option<Key>,
}

impl Future for Attempt {
    type Output = io::Result<Socket>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let key = self.key.expect("a future is not polled after it is ready");
        let mut slots = self.core.backend.slots.borrow_mut();
        let Some(Slot::Connecting(connecting)) = slots.get_mut(key) else {
            drop(slots);
            self.key = None;
            return Poll::Ready(Err(reactor_is_gone()));
        };
        let Some(outcome) = connecting.outcome.take() else {
            let former = connecting.waker.replace(context.waker().clone());
            drop(slots);
            drop(former);
            return Poll::Pending;
        };
        let socket = connecting.socket.take();
        let slot = slots.remove(key);
        drop(slots);
        drop(slot);
        self.key = None;
        outcome?;
        let socket = socket.expect("a socket is taken out of its slot only here");
        self.core.backend.connected(&socket)?;
        Poll::Ready(Ok(socket))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.backend.abandon_connect(key);
        }
    }
}
