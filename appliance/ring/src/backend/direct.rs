//! Receiving and sending by a plain non-blocking call. Receiving: always with epoll, and with io_uring from connections
//! that bring a lot. Sending: what is large and finds nothing queued before it.
//!
//! A multishot receive takes whatever a fast sender has, a whole pool of buffers in one turn, and costs a second copy.
//! Called directly, the kernel copies once, into the reader's own buffer, and takes no more than the reader asks for.
//!
//! Invariant: a connection is received from directly only while its flow is `Readable`, when no receive is in flight. It
//! stays so until a short read or EAGAIN, so no data is left lying without an event to come. It is sent to directly only
//! while nothing is queued or in flight, so bytes leave in the order in which they were written.

use crate::connection::{Connection, Flow, State};
use crate::core::Core;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use tokio::io::ReadBuf;

/// What one connection may bring in one turn: a fast sender must not keep its reader busy for ever.
const RECEIVE_PER_TURN_BYTES: usize = 256 << 10;
/// What one connection may send directly in one turn: with a fast reader its writer would never have to wait.
const SEND_PER_TURN_BYTES: usize = 256 << 10;
/// Less than this is copied and leaves together with what else the turn writes.
const SEND_BYTES_MIN: usize = 32 << 10;
/// What is received in one go when the reader has no buffer of its own.
const SCRATCH_BYTES: usize = 16 << 10;

/// What direct receives share on one reactor.
pub(crate) struct Direct {
    /// Data is received here and then copied to its connection, so that an idle connection holds nothing.
    scratch: RefCell<Vec<u8>>,
    /// Connections that have received as much as they may in this turn; their readers go on in the next.
    tired: RefCell<Vec<Rc<Connection>>>,
}

impl Direct {
    pub fn new() -> Direct {
        Direct { scratch: RefCell::new(Vec::new()), tired: RefCell::new(Vec::new()) }
    }

    /// The connections whose readers must be woken after this turn.
    pub fn take_tired(&self) -> Vec<Rc<Connection>> {
        std::mem::take(&mut *self.tired.borrow_mut())
    }

    /// Receives one piece into the connection's queue, if the socket may have any.
    pub fn receive(&self, core: &Core, connection: &Rc<Connection>, state: &mut State) {
        if !is_open(state) {
            return;
        }
        if is_spent(core, state) {
            self.tired.borrow_mut().push(Rc::clone(connection));
            return;
        }
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        scratch.reserve(SCRATCH_BYTES);
        let room = scratch.capacity();
        let received = crate::sys::receive_into_vector(&connection.socket, &mut scratch);
        note_received(core, state, received, room);
        if !scratch.is_empty() {
            state.receive.push_copy(core, &scratch);
        }
    }
}

/// Reads straight into the reader's buffer; false if nothing came and the stream has not ended.
pub(crate) fn receive_into(
    core: &Core,
    connection: &Connection,
    state: &mut State,
    buffer: &mut ReadBuf<'_>,
) -> bool {
    if !is_open(state) || is_spent(core, state) {
        return false;
    }
    let room = buffer.remaining();
    let received = crate::sys::receive_into(&connection.socket, buffer);
    note_received(core, state, received, room)
}

/// Sends the front of `parts` without copying it first; says how much went. The caller queues the rest. An error is kept
/// in the send queue.
pub(crate) fn send_from(
    core: &Core,
    connection: &Connection,
    state: &mut State,
    parts: &[IoSlice<'_>],
) -> usize {
    let send = &mut state.send;
    let turn = core.counters.turns.get();
    let former = if send.budget.0 == turn { send.budget.1 } else { 0 };
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if bytes < SEND_BYTES_MIN || former >= SEND_PER_TURN_BYTES || send.busy || !send.is_empty() {
        return 0;
    }
    match connection.socket.send_vectored_with_flags(parts, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) {
        Ok(sent) => {
            send.budget = (turn, former + sent);
            sent
        }
        Err(error) => {
            if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                send.fail(core, error.raw_os_error().unwrap_or(libc::EIO));
            }
            0
        }
    }
}

fn is_open(state: &State) -> bool {
    let receive = &state.receive;
    receive.flow == Flow::Readable && !receive.ended && receive.failure.is_none()
}

/// True if the connection has received as much as it may in this turn.
fn is_spent(core: &Core, state: &State) -> bool {
    let (turn, bytes) = state.receive.budget;
    turn == core.counters.turns.get() && bytes >= RECEIVE_PER_TURN_BYTES
}

/// Keeps the books after a receive of up to `room` bytes; true if it brought bytes or the end.
fn note_received(core: &Core, state: &mut State, received: io::Result<usize>, room: usize) -> bool {
    let receive = &mut state.receive;
    match received {
        Ok(0) => {
            receive.ended = true;
            receive.flow = Flow::Idle;
            true
        }
        Ok(bytes) => {
            let turn = core.counters.turns.get();
            let former = if receive.budget.0 == turn { receive.budget.1 } else { 0 };
            receive.budget = (turn, former + bytes);
            // epoll(7): a short read of a stream socket has emptied it. The end may still be there to read.
            if bytes < room && !receive.hung_up {
                receive.flow = Flow::Idle;
            }
            true
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => {
                receive.flow = Flow::Idle;
                false
            }
            Some(libc::EINTR) => false,
            errno => {
                receive.failure = Some(errno.unwrap_or(libc::EIO));
                false
            }
        },
    }
}
