//! A socket of monoio's as the poll-based stream that `h2` and `tokio-rustls` want.
//!
//! Two tasks own the two halves; the stream itself only moves bytes between buffers. What is written in one turn of the
//! loop leaves in one send: with `h2`, which flushes after nearly every frame, that is 60 % of its CPU (spec/engine.md 1).
//! Invariant: at most INBOX_MAX bytes wait to be read and OUTBOX_MAX to be sent. A stream that is dropped closes its
//! sending side; the tasks end when the connection does.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::TcpStream;
use monoio::net::tcp::{TcpOwnedReadHalf, TcpOwnedWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const READ_BYTES: usize = 64 << 10;
const INBOX_MAX: usize = 1 << 20;
const OUTBOX_MAX: usize = 256 << 10;

#[derive(Default)]
struct State {
    inbox: Vec<u8>,
    /// How much of the inbox was read already.
    taken: usize,
    outbox: Vec<u8>,
    /// The connection's end or fault, once; kinds only, since errors cannot be cloned.
    ended: Option<Result<(), io::ErrorKind>>,
    is_closed: bool,
    reading: Option<Waker>,
    writing: Option<Waker>,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

thread_local! {
    /// Tasks of this worker's streams that have not ended.
    static TASKS: Cell<usize> = const { Cell::new(0) };
}

/// Tasks of this thread that still read or write: a runtime may not end before them, since the kernel holds their buffers.
pub fn task_count() -> usize {
    TASKS.get()
}

/// Counts a task from here to its end.
struct Counted;

impl Counted {
    fn new() -> Counted {
        TASKS.set(TASKS.get() + 1);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        TASKS.set(TASKS.get() - 1);
    }
}

/// The stream.
pub struct Duplex(Rc<RefCell<State>>);

impl Duplex {
    /// Starts the two tasks of `socket`.
    pub fn start(socket: TcpStream) -> Duplex {
        let state = Rc::new(RefCell::new(State::default()));
        let (reader, writer) = socket.into_split();
        let (receiving, sending) = (Counted::new(), Counted::new());
        let (to_receive, to_send) = (Rc::clone(&state), Rc::clone(&state));
        drop(monoio::spawn(async move {
            receive(reader, to_receive).await;
            drop(receiving);
        }));
        drop(monoio::spawn(async move {
            send(writer, to_send).await;
            drop(sending);
        }));
        Duplex(state)
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.is_closed = true;
        wake(&mut state.sender);
        wake(&mut state.receiver);
    }
}

async fn receive(mut socket: TcpOwnedReadHalf, state: Rc<RefCell<State>>) {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        poll_fn(|context| {
            let mut state = state.borrow_mut();
            if state.is_closed || state.inbox.len() - state.taken < INBOX_MAX {
                return Poll::Ready(());
            }
            state.receiver = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        buffer.clear();
        let (result, back) = socket.read(buffer).await;
        buffer = back;
        let mut state = state.borrow_mut();
        match result {
            Ok(0) => state.ended = Some(Ok(())),
            Ok(_) => state.inbox.extend_from_slice(&buffer),
            Err(error) => state.ended = Some(Err(error.kind())),
        }
        wake(&mut state.reading);
        if state.ended.is_some() {
            // A writer that waits for room would wait for ever.
            wake(&mut state.writing);
            wake(&mut state.sender);
            return;
        }
    }
}

async fn send(mut socket: TcpOwnedWriteHalf, state: Rc<RefCell<State>>) {
    let mut spare = Vec::new();
    loop {
        let goes_on = poll_fn(|context| {
            let mut state = state.borrow_mut();
            if !state.outbox.is_empty() {
                return Poll::Ready(true);
            }
            if state.is_closed || state.ended.is_some() {
                return Poll::Ready(false);
            }
            state.sender = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        if !goes_on {
            // The other side sees the end of what we send; our reader then sees the end of theirs.
            drop(socket.shutdown().await);
            return;
        }
        spare.clear();
        std::mem::swap(&mut spare, &mut state.borrow_mut().outbox);
        let (result, back) = socket.write_all(spare).await;
        spare = back;
        let mut state = state.borrow_mut();
        if let Err(error) = result {
            state.ended = Some(Err(error.kind()));
            wake(&mut state.reading);
        }
        wake(&mut state.writing);
        if state.ended.is_some() {
            return;
        }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let waiting = &state.inbox[state.taken..];
        if !waiting.is_empty() {
            let count = waiting.len().min(buffer.remaining());
            buffer.put_slice(&waiting[..count]);
            state.taken += count;
            if state.taken == state.inbox.len() {
                state.inbox.clear();
                state.taken = 0;
                wake(&mut state.receiver);
            }
            return Poll::Ready(Ok(()));
        }
        match state.ended {
            Some(ended) => Poll::Ready(ended.map_err(io::Error::from)),
            None => {
                state.reading = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        if let Some(ended) = state.ended {
            let kind = ended.err().unwrap_or(io::ErrorKind::BrokenPipe);
            return Poll::Ready(Err(kind.into()));
        }
        let room = OUTBOX_MAX.saturating_sub(state.outbox.len()).min(bytes.len());
        if room == 0 {
            state.writing = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.outbox.extend_from_slice(&bytes[..room]);
        wake(&mut state.sender);
        Poll::Ready(Ok(room))
    }

    /// Everything that was written is on its way without being asked.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        state.is_closed = true;
        wake(&mut state.sender);
        Poll::Ready(Ok(()))
    }
}
