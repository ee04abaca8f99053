//! One TCP connection as both backends see it: what was received and not read, what was written and not sent.
//!
//! Invariant: the bytes of `SendQueue::in_flight` do not move or change while a send is in flight, and the slot of
//! the backend keeps the connection until no operation on it is in flight.

use crate::backend::pool::PooledBuffer;
use crate::core::{Core, Spares};
use crate::slab::Key;
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::task::Waker;

/// A connection with this much unread is not received from until its reader has caught up.
pub(crate) const UNREAD_BYTES_MAX: usize = 256 << 10;
/// Receiving goes on at this much unread.
const UNREAD_BYTES_RESUME: usize = UNREAD_BYTES_MAX / 2;
/// While all connections of a core together have this much copied data unread, each may have only little.
const COPIED_BYTES_MAX: usize = 32 << 20;
/// What little means.
const UNREAD_BYTES_MAX_WHEN_CROWDED: usize = 16 << 10;
/// Provided buffers that one connection may hold.
const POOLED_PER_CONNECTION_MAX: usize = 16;
/// Data up to this size is copied behind unread data: dribbled bytes must not hold a whole buffer each.
const SMALL_RECEIVE_BYTES: usize = 2 << 10;
/// The least capacity of a copy, so that what is dribbled after it fits behind.
const COPIED_CAPACITY_BYTES: usize = 4 << 10;
/// Written bytes that wait for the send in flight; as many may be in flight.
pub(crate) const QUEUED_BYTES_MAX: usize = 256 << 10;
/// While all connections of a core together have this much unsent, each may queue only little.
const UNSENT_BYTES_MAX: usize = 64 << 20;
const QUEUED_BYTES_MAX_WHEN_CROWDED: usize = 16 << 10;

/// A connection.
pub(crate) struct Connection {
    pub socket: Socket,
    pub key: Cell<Key>,
    pub state: RefCell<State>,
}

/// What changes about it.
pub(crate) struct State {
    pub receive: ReceiveQueue,
    pub send: SendQueue,
    /// The stream was dropped: the connection only lives to send what was written and to see its operations end.
    pub orphaned: bool,
    /// It is an orphan that still has something to send.
    pub lingering: bool,
    /// In the list of connections that send at the end of the turn.
    pub gathered: bool,
}

impl Connection {
    pub fn new(socket: Socket) -> Connection {
        Connection {
            socket,
            key: Cell::new(Key::VACANT),
            state: RefCell::new(State {
                receive: ReceiveQueue::new(),
                send: SendQueue::new(),
                orphaned: false,
                lingering: false,
                gathered: false,
            }),
        }
    }
}

/// Whether the kernel is asked for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Not asked (io_uring), or nothing to be had until the next event (epoll).
    Idle,
    /// A multishot receive is in flight (io_uring).
    Armed,
    /// It is in flight, and so is its cancellation (io_uring).
    Stopping,
    /// It ended for want of buffers and is armed again as soon as there are some (io_uring).
    Starved,
    /// The socket may have data, to be received directly.
    Readable,
}

/// Received bytes in one piece; out of the queue while a reader looks at it.
pub(crate) enum Chunk {
    Pooled(PooledBuffer),
    Copied { bytes: Vec<u8>, start: usize },
}

impl Chunk {
    /// What is unread of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Pooled(buffer) => buffer.bytes(),
            Chunk::Copied { bytes, start } => &bytes[*start..],
        }
    }
}

/// Received and not yet read.
pub(crate) struct ReceiveQueue {
    /// The next chunk; apart from the others, so that a small request costs no allocation.
    front: Option<Chunk>,
    /// The chunks behind it.
    chunks: VecDeque<Chunk>,
    unread_bytes: usize,
    pooled_count: usize,
    pub flow: Flow,
    /// The peer has closed its side.
    pub ended: bool,
    /// The errno of a failed receive.
    pub failure: Option<i32>,
    /// The peer's end was announced: a short read is not the last word (epoll).
    pub hung_up: bool,
    /// The connection brings more than a multishot receive should take: it is received from directly, and awaited one
    /// buffer at a time (io_uring).
    pub is_bulk: bool,
    /// The turn in which something was last received directly, and how much it was.
    pub budget: (u64, usize),
    pub reader: Option<Waker>,
}

impl ReceiveQueue {
    fn new() -> Self {
        ReceiveQueue {
            front: None,
            chunks: VecDeque::new(),
            unread_bytes: 0,
            pooled_count: 0,
            flow: Flow::Idle,
            ended: false,
            failure: None,
            hung_up: false,
            is_bulk: false,
            budget: (0, 0),
            reader: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// Takes the next chunk. Its bytes count as unread until they are `consumed`.
    pub fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.front.take();
        self.front = self.chunks.pop_front();
        if self.chunks.is_empty() && self.chunks.capacity() > 0 {
            // An idle connection keeps no memory for its queue.
            self.chunks = VecDeque::new();
        }
        chunk
    }

    fn push(&mut self, chunk: Chunk) {
        if self.front.is_none() {
            self.front = Some(chunk);
        } else {
            self.chunks.push_back(chunk);
        }
    }

    /// Takes `bytes` bytes off the front of a popped chunk.
    pub fn consume(&mut self, core: &Core, chunk: &mut Chunk, bytes: usize) {
        self.unread_bytes -= bytes;
        match chunk {
            Chunk::Pooled(buffer) => {
                buffer.consume(bytes);
                self.pooled_count -= usize::from(buffer.bytes().is_empty());
            }
            Chunk::Copied { start, .. } => {
                *start += bytes;
                core.copied_receive_bytes.set(core.copied_receive_bytes.get() - bytes);
            }
        }
    }

    /// Forgets what nobody will read.
    pub fn clear(&mut self, core: &Core) {
        while let Some(mut chunk) = self.pop() {
            let bytes = chunk.bytes().len();
            self.consume(core, &mut chunk, bytes);
        }
    }

    /// Appends what the kernel put into a provided buffer; keeps the buffer while there are plenty.
    pub fn push_pooled(&mut self, core: &Core, buffer: PooledBuffer, is_low: bool) {
        let bytes = buffer.bytes().len();
        let is_small = bytes <= SMALL_RECEIVE_BYTES && !self.is_empty();
        if is_low || is_small || self.pooled_count >= POOLED_PER_CONNECTION_MAX {
            self.push_copy(core, buffer.bytes());
            return;
        }
        self.unread_bytes += bytes;
        self.pooled_count += 1;
        self.push(Chunk::Pooled(buffer));
    }

    /// Appends a copy of `data`.
    pub fn push_copy(&mut self, core: &Core, data: &[u8]) {
        self.unread_bytes += data.len();
        core.copied_receive_bytes.set(core.copied_receive_bytes.get() + data.len());
        if let Some(Chunk::Copied { bytes, .. }) = self.chunks.back_mut().or(self.front.as_mut())
            && bytes.capacity() - bytes.len() >= data.len()
        {
            bytes.extend_from_slice(data);
            return;
        }
        // Not from the spares: a slow reader must not sit on more capacity than it has data.
        let mut bytes = Vec::with_capacity(data.len().max(COPIED_CAPACITY_BYTES));
        bytes.extend_from_slice(data);
        self.push(Chunk::Copied { bytes, start: 0 });
    }

    /// Says whether so much is unread that receiving must stop.
    pub fn is_full(&self, core: &Core) -> bool {
        let limit = if core.copied_receive_bytes.get() > COPIED_BYTES_MAX {
            UNREAD_BYTES_MAX_WHEN_CROWDED
        } else {
            UNREAD_BYTES_MAX
        };
        self.unread_bytes >= limit
    }

    /// Says whether a receive that is not armed should be.
    pub fn wants_more(&self, core: &Core) -> bool {
        let may_resume = self.unread_bytes <= UNREAD_BYTES_RESUME && !self.is_full(core);
        self.flow == Flow::Idle && !self.ended && self.failure.is_none() && may_resume
    }
}

/// Written and not yet taken by the kernel.
pub(crate) struct SendQueue {
    queued: Vec<u8>,
    in_flight: Vec<u8>,
    sent_bytes: usize,
    /// A send of `in_flight` is with the kernel (io_uring), or the socket was full (epoll).
    pub busy: bool,
    /// The errno with which the queue fails when the send in flight, which is being cancelled, has ended (io_uring).
    pub doomed: Option<i32>,
    /// The errno of a failed send: nothing more will leave.
    pub failure: Option<i32>,
    /// The write side was shut down.
    pub shut: bool,
    /// The turn in which something was last sent directly, and how much it was.
    pub budget: (u64, usize),
    pub writer: Option<Waker>,
}

impl SendQueue {
    fn new() -> Self {
        SendQueue {
            queued: Vec::new(),
            in_flight: Vec::new(),
            sent_bytes: 0,
            busy: false,
            doomed: None,
            failure: None,
            shut: false,
            budget: (0, 0),
            writer: None,
        }
    }

    /// Bytes that can be queued now.
    pub fn room_bytes(&self, core: &Core) -> usize {
        let is_crowded = core.unsent_bytes.get() > UNSENT_BYTES_MAX;
        let limit = if is_crowded { QUEUED_BYTES_MAX_WHEN_CROWDED } else { QUEUED_BYTES_MAX };
        limit.saturating_sub(self.queued.len())
    }

    /// Queues as much of `data` as there is room for and says how much that was.
    pub fn push(&mut self, core: &Core, data: &[u8]) -> usize {
        let spares = &core.spares;
        let taken = data.len().min(self.room_bytes(core));
        core.unsent_bytes.set(core.unsent_bytes.get() + taken);
        let needed = self.queued.len() + taken;
        if needed > self.queued.capacity() {
            let mut larger = spares.take(needed);
            larger.extend_from_slice(&self.queued);
            spares.give(std::mem::replace(&mut self.queued, larger));
        }
        self.queued.extend_from_slice(&data[..taken]);
        taken
    }

    /// The kernel has everything that was written.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// What to send next; must not be called while a send is in flight.
    pub fn next(&mut self) -> Option<&[u8]> {
        if self.in_flight.is_empty() {
            if self.queued.is_empty() {
                return None;
            }
            std::mem::swap(&mut self.in_flight, &mut self.queued);
            self.sent_bytes = 0;
        }
        Some(&self.in_flight[self.sent_bytes..])
    }

    /// The kernel has taken `bytes` bytes of what `next` gave.
    pub fn advance(&mut self, core: &Core, bytes: usize) {
        self.sent_bytes += bytes;
        core.unsent_bytes.set(core.unsent_bytes.get() - bytes);
        assert!(self.sent_bytes <= self.in_flight.len(), "the kernel takes no more than it was given");
        if self.sent_bytes == self.in_flight.len() {
            self.in_flight.clear();
            self.release(&core.spares);
        }
    }

    /// Nothing more will leave; no send may be in flight.
    pub fn fail(&mut self, core: &Core, errno: i32) {
        self.failure = Some(errno);
        let unsent = self.queued.len() + self.in_flight.len() - self.sent_bytes;
        core.unsent_bytes.set(core.unsent_bytes.get() - unsent);
        self.queued.clear();
        self.in_flight.clear();
        self.release(&core.spares);
    }

    fn release(&mut self, spares: &Spares) {
        self.sent_bytes = 0;
        spares.give(std::mem::take(&mut self.in_flight));
        if self.queued.is_empty() {
            spares.give(std::mem::take(&mut self.queued));
        }
    }

    /// The failure as an error, if there is one.
    pub fn check(&self) -> io::Result<()> {
        match self.failure {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}
