//! The io_uring backend: operations go in once per turn, completions come out once per turn.
//!
//! Invariant: every entry that is pushed refers only to memory and descriptors that a slot of the driver, or the
//! pool, owns; the slot is freed only when the operation's last completion has been seen. `in_flight` counts the
//! completions that are still to come, so zero means that the kernel holds nothing of ours.
#![allow(unsafe_code, reason = "submission entries carry raw pointers to the kernel")]

use super::pool::{BUFFER_GROUP, Pool};
use super::{Driver, Slot, Wait, wake};
use crate::connection::{Connection, Flow, ReceiveQueue, State};
use crate::core::Core;
use crate::file::{FileSlot, Operation};
use crate::inbox::Inbox;
use crate::listener::Listening;
use crate::reactor::ReactorConfig;
use crate::slab::Key;
use crate::stats::count;
use crate::stream::Connecting;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a completion is about; stands in the top byte of its word.
const KIND_CANCEL: u8 = 0;
const KIND_RECEIVE: u8 = 1;
const KIND_SEND: u8 = 2;
const KIND_ACCEPT: u8 = 3;
const KIND_CONNECT: u8 = 4;
const KIND_FILE: u8 = 5;
const KIND_FILE_SYNC: u8 = 6;
const KIND_EVENT: u8 = 7;

/// A ring with fewer entries than this is not worth having.
const ENTRIES_MIN: u32 = 8;
const ENTRIES_MAX: u32 = 4096;
/// Completions that fit before the kernel must keep them for us, as a multiple of the entries.
const COMPLETIONS_PER_ENTRY: u32 = 4;
/// Below this memory-lock limit a ring is kept small, so that one per core fits.
const MEMORY_LOCK_SMALL_BYTES: u64 = 512 << 10;
/// One page each for the entries, the completions and the buffer ring.
const ENTRIES_WHEN_SMALL: u32 = 32;
const BUFFER_COUNT_WHEN_SMALL: u16 = 128;
/// Those three pages: below this no ring starts.
const MEMORY_LOCK_MIN_BYTES: u64 = 3 * 4096;
/// A closed ring's locked memory is given back by a thread of the kernel, which a busy machine keeps waiting: so long a start is
/// tried again before it fails.
const START_PATIENCE: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(5);
/// A receive in bulk mode that brings less than this ends it.
const BULK_BYTES_MIN: i32 = 4 << 10;
/// Connections that one listener keeps for its acceptor; beyond that the kernel's backlog keeps them.
const ACCEPTED_COUNT_MAX: usize = 256;

/// One entry, or two that must be submitted together because the first is linked to the second.
enum Queued {
    One(Entry),
    Pair(Entry, Entry),
}

/// A ring and what goes through it.
pub(crate) struct Uring {
    ring: RefCell<IoUring>,
    pub pool: Rc<Pool>,
    inbox: Arc<Inbox>,
    /// Entries that found the submission queue full.
    backlog: RefCell<VecDeque<Queued>>,
    completions: RefCell<Vec<cqueue::Entry>>,
    starved: RefCell<Vec<Rc<Connection>>>,
    in_flight: Cell<usize>,
}

/// Repeats a start that found no locked memory, where the limit is one under which a ring can start.
pub(crate) fn with_patience<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    let patience = if crate::sys::memory_lock_limit_bytes() < MEMORY_LOCK_MIN_BYTES {
        Duration::ZERO
    } else {
        START_PATIENCE
    };
    loop {
        match start() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && begun.elapsed() < patience => {
                std::thread::sleep(START_PAUSE);
            }
            other => return other,
        }
    }
}

/// The entries and receive buffers that a reactor asks for under the present memory-lock limit.
pub(crate) fn affordable(entries: u32, buffer_count: u16) -> (u32, u16) {
    if crate::sys::memory_lock_limit_bytes() < MEMORY_LOCK_SMALL_BYTES {
        (entries.min(ENTRIES_WHEN_SMALL), buffer_count.min(BUFFER_COUNT_WHEN_SMALL))
    } else {
        (entries, buffer_count)
    }
}

/// Makes a ring with the flags that a reactor needs; smaller where the memory-lock limit asks for it.
pub(crate) fn build_ring(entries: u32) -> io::Result<IoUring> {
    let mut entries = entries.clamp(ENTRIES_MIN, ENTRIES_MAX).next_power_of_two();
    loop {
        // DEFER_TASKRUN makes completions run only when the reactor asks: measured, it saves nearly half of the CPU
        // per request. TASKRUN_FLAG tells a busy reactor that there is something to ask for.
        let built = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(entries * COMPLETIONS_PER_ENTRY)
            .dontfork()
            .build(entries);
        match built {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > ENTRIES_MIN => entries /= 2,
            other => return other,
        }
    }
}

impl Uring {
    pub fn new(config: &ReactorConfig, inbox: &Arc<Inbox>) -> io::Result<Uring> {
        let (entries, buffer_count) = affordable(config.entries, config.recv_buffer_count);
        let (ring, pool) = with_patience(|| {
            let ring = build_ring(entries)?;
            let pool = Pool::register(&ring, buffer_count, config.recv_buffer_bytes)?;
            Ok((ring, pool))
        })?;
        let uring = Uring {
            ring: RefCell::new(ring),
            pool,
            inbox: Arc::clone(inbox),
            backlog: RefCell::new(VecDeque::new()),
            completions: RefCell::new(Vec::new()),
            starved: RefCell::new(Vec::new()),
            in_flight: Cell::new(0),
        };
        uring.arm_event();
        Ok(uring)
    }

    /// True when the kernel holds nothing of ours.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.get() == 0
    }

    fn push(&self, entry: Entry) {
        self.queue(Queued::One(entry), 1);
    }

    fn queue(&self, queued: Queued, completions: usize) {
        self.in_flight.set(self.in_flight.get() + completions);
        let mut backlog = self.backlog.borrow_mut();
        // Entries keep their order: a cancellation must not overtake what it cancels.
        if !backlog.is_empty() || !push_now(&mut self.ring.borrow_mut(), &queued) {
            backlog.push_back(queued);
        }
    }

    fn arm_event(&self) {
        let event = Fd(self.inbox.event().as_raw_fd());
        let read = opcode::PollAdd::new(event, libc::POLLIN as u32);
        self.push(read.build().user_data(Key::VACANT.pack(KIND_EVENT)));
    }

    pub fn arm_receive(&self, connection: &Connection, queue: &ReceiveQueue) {
        let socket = Fd(connection.socket.as_raw_fd());
        let receive = if queue.is_bulk {
            // One buffer; the length of zero stands for the buffer's own.
            let receive = opcode::Recv::new(socket, std::ptr::null_mut(), 0).buf_group(BUFFER_GROUP);
            receive.build().flags(Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, BUFFER_GROUP).build()
        };
        self.push(receive.user_data(connection.key.get().pack(KIND_RECEIVE)));
    }

    pub fn cancel_receive(&self, connection: &Connection) {
        self.cancel(connection.key.get().pack(KIND_RECEIVE));
    }

    pub fn cancel_send(&self, connection: &Connection) {
        self.cancel(connection.key.get().pack(KIND_SEND));
    }

    fn cancel(&self, word: u64) {
        let cancel = opcode::AsyncCancel::new(word);
        self.push(cancel.build().user_data(Key::VACANT.pack(KIND_CANCEL)));
    }

    /// Cancels all that is in flight.
    pub fn cancel_everything(&self) {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any());
        self.push(cancel.build().user_data(Key::VACANT.pack(KIND_CANCEL)));
    }

    /// Starts the send of what is queued, if there is anything.
    pub fn send(&self, connection: &Connection, state: &mut State) {
        let Some(bytes) = state.send.next() else { return };
        let length = u32::try_from(bytes.len()).expect("the queue is bounded far below 4 GiB");
        // WAITALL: one completion for the whole buffer. NOSIGNAL: EPIPE instead of a signal that ends the process.
        let send = opcode::Send::new(Fd(connection.socket.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL);
        state.send.busy = true;
        self.push(send.build().user_data(connection.key.get().pack(KIND_SEND)));
    }

    pub fn arm_accept(&self, listening: &Listening) {
        let mut state = listening.state.borrow_mut();
        if state.flow != Flow::Idle || state.closing || state.accepted.len() >= ACCEPTED_COUNT_MAX {
            return;
        }
        state.flow = Flow::Armed;
        let accept = opcode::AcceptMulti::new(Fd(listening.socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(listening.key.get().pack(KIND_ACCEPT)));
    }

    pub fn cancel_accept(&self, listening: &Listening) {
        let mut state = listening.state.borrow_mut();
        if state.flow == Flow::Armed {
            state.flow = Flow::Stopping;
            self.cancel(listening.key.get().pack(KIND_ACCEPT));
        }
    }

    pub fn connect(&self, key: Key, connecting: &Connecting) -> io::Result<()> {
        let socket = Fd(connecting.socket()?.as_raw_fd());
        let address = &connecting.address;
        let connect = opcode::Connect::new(socket, address.as_ptr().cast(), address.len());
        self.push(connect.build().user_data(key.pack(KIND_CONNECT)));
        Ok(())
    }

    pub fn cancel_connect(&self, key: Key) {
        self.cancel(key.pack(KIND_CONNECT));
    }

    /// Starts the file operation that `slot` holds.
    pub fn start_job(&self, key: Key, slot: &mut FileSlot) {
        let job = slot.job.as_mut().expect("a new slot holds its job");
        let file = Fd(job.file.as_raw_fd());
        let sync =
            |kind| opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build().user_data(key.pack(kind));
        match job.operation {
            Operation::Read { length } => {
                let pointer = job.buffer.prepare_read(length);
                let read = opcode::Read::new(file, pointer, length as u32).offset(job.offset);
                self.push(read.build().user_data(key.pack(KIND_FILE)));
            }
            Operation::WriteParts => {
                slot.vector = job.parts.iter().map(|part| vector_of(part)).collect();
                let count = u32::try_from(slot.vector.len()).expect("parts are bounded far below that");
                let write = opcode::Writev::new(file, slot.vector.as_ptr(), count).offset(job.offset);
                self.push(write.build().user_data(key.pack(KIND_FILE)));
            }
            Operation::Write | Operation::WriteSync => {
                let write = opcode::Write::new(file, job.buffer.as_ptr(), job.buffer.len() as u32);
                let write = write.offset(job.offset).build().user_data(key.pack(KIND_FILE));
                if job.operation == Operation::Write {
                    self.push(write);
                } else {
                    slot.outstanding = 2;
                    let pair = Queued::Pair(write.flags(Flags::IO_LINK), sync(KIND_FILE_SYNC));
                    self.queue(pair, 2);
                }
            }
            Operation::WriteDurable => {
                let write = opcode::Write::new(file, job.buffer.as_ptr(), job.buffer.len() as u32);
                let write = write.offset(job.offset).rw_flags(libc::RWF_DSYNC);
                self.push(write.build().user_data(key.pack(KIND_FILE)));
                // It takes long, and whoever asked for it has work to do meanwhile. A linked sync would not do: with
                // DEFER_TASKRUN the kernel begins it only when this thread comes back to it.
                self.start_now();
            }
            Operation::Sync => self.push(sync(KIND_FILE)),
        }
    }

    /// Hands over what is queued without waiting for the end of the turn. What the kernel does not take goes with that.
    fn start_now(&self) {
        if self.backlog.borrow().is_empty() {
            is_entered(self.ring.borrow_mut().submit());
        }
    }

    /// Submits, waits as told, and dispatches the completions.
    pub fn turn(&self, driver: &Driver, core: &Core, wait: Wait) {
        let wait = if matches!(wait, Wait::Not) {
            wait
        } else {
            self.inbox.fall_asleep();
            if core.take_last_foreign() { Wait::Not } else { wait }
        };
        self.enter(wait);
        self.inbox.awake();
        let mut completions = std::mem::take(&mut *self.completions.borrow_mut());
        completions.extend(self.ring.borrow_mut().completion());
        for completion in completions.drain(..) {
            count(&core.counters.completions);
            self.dispatch(driver, core, &completion);
        }
        *self.completions.borrow_mut() = completions;
        self.feed_starved(core);
    }

    fn enter(&self, wait: Wait) {
        let mut ring = self.ring.borrow_mut();
        let mut backlog = self.backlog.borrow_mut();
        while let Some(queued) = backlog.front() {
            if push_now(&mut ring, queued) {
                backlog.pop_front();
                continue;
            }
            if !is_entered(ring.submit()) {
                return;
            }
        }
        let entered = match wait {
            Wait::Not => {
                let submission = ring.submission();
                let has_work = !submission.is_empty() || submission.taskrun() || submission.cq_overflow();
                drop(submission);
                if has_work { ring.submit() } else { Ok(0) }
            }
            Wait::Forever => ring.submit_and_wait(1),
            Wait::Until(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = Timespec::from(left);
                ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&left))
            }
        };
        is_entered(entered);
    }

    fn dispatch(&self, driver: &Driver, core: &Core, completion: &cqueue::Entry) {
        let (key, kind) = Key::unpack(completion.user_data());
        let is_last = !cqueue::more(completion.flags());
        if is_last {
            self.in_flight.set(self.in_flight.get() - 1);
        }
        let result = completion.result();
        match kind {
            KIND_CANCEL => {}
            KIND_EVENT => {
                self.inbox.clear_event();
                if !core.closed.get() {
                    self.arm_event();
                }
            }
            KIND_RECEIVE => self.received(driver, core, key, completion),
            KIND_SEND => self.sent(driver, core, key, result),
            KIND_ACCEPT => self.accepted(driver, key, result, is_last),
            KIND_CONNECT => connected(driver, key, result),
            KIND_FILE | KIND_FILE_SYNC => file_done(driver, core, key, kind, result),
            _ => unreachable!("completions carry only the kinds that this file submits"),
        }
    }

    fn received(&self, driver: &Driver, core: &Core, key: Key, completion: &cqueue::Entry) {
        let result = completion.result();
        // Before anything else: the buffer must find its way back whatever becomes of the connection.
        let buffer = cqueue::buffer_select(completion.flags())
            .map(|id| self.pool.take(id, u32::try_from(result).unwrap_or(0)));
        let Some(connection) = driver.connection(key) else { return };
        let mut state = connection.state.borrow_mut();
        let receive = &mut state.receive;
        let is_last = !cqueue::more(completion.flags());
        if is_last {
            // A trickle ends bulk mode: it is cheaper to be told about every piece.
            receive.is_bulk &= !(1..BULK_BYTES_MIN).contains(&result);
            receive.flow = if receive.is_bulk { Flow::Readable } else { Flow::Idle };
        }
        match (result, buffer) {
            (1.., Some(buffer)) => {
                receive.push_pooled(core, buffer, self.pool.is_low());
                if receive.flow == Flow::Armed && receive.is_full(core) {
                    count(&core.counters.receive_pauses);
                    receive.is_bulk = true;
                    receive.flow = Flow::Stopping;
                    self.cancel_receive(&connection);
                }
            }
            (0.., _) => receive.ended = true,
            (error, _) => match -error {
                libc::ENOBUFS => {
                    count(&core.counters.enobufs);
                    receive.flow = Flow::Starved;
                    self.starved.borrow_mut().push(Rc::clone(&connection));
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                errno => receive.failure = Some(errno),
            },
        }
        if state.orphaned {
            state.receive.clear(core);
            drop(state);
            driver.try_close(core, &connection);
            return;
        }
        let receive = &state.receive;
        let has_news = !receive.is_empty()
            || receive.ended
            || receive.failure.is_some()
            || receive.flow == Flow::Readable;
        let reader = if has_news { state.receive.reader.take() } else { None };
        if state.receive.reader.is_some() && state.receive.wants_more(core) {
            // It was stopped while its reader waits: go on.
            state.receive.flow = Flow::Armed;
            self.arm_receive(&connection, &state.receive);
        }
        drop(state);
        wake(reader);
    }

    /// Arms the receives that had run out of buffers, as far as there are buffers now.
    fn feed_starved(&self, core: &Core) {
        let mut starved = self.starved.borrow_mut();
        let count = starved.len().min(usize::from(self.pool.free_count()));
        for connection in starved.drain(..count) {
            let mut state = connection.state.borrow_mut();
            if state.receive.flow != Flow::Starved {
                continue;
            }
            state.receive.flow = Flow::Idle;
            if !state.orphaned && state.receive.wants_more(core) {
                state.receive.flow = Flow::Armed;
                self.arm_receive(&connection, &state.receive);
            }
        }
    }

    fn sent(&self, driver: &Driver, core: &Core, key: Key, result: i32) {
        let Some(connection) = driver.connection(key) else { return };
        let mut state = connection.state.borrow_mut();
        state.send.busy = false;
        let doom = state.send.doomed.take();
        match result {
            _ if doom.is_some() => state.send.fail(core, doom.unwrap_or(libc::ECONNABORTED)),
            1.. => state.send.advance(core, result as usize),
            // A send of something that takes nothing has lost its peer.
            0 => state.send.fail(core, libc::EPIPE),
            error => match -error {
                libc::EINTR | libc::EAGAIN => {}
                errno => state.send.fail(core, errno),
            },
        }
        self.send(&connection, &mut state);
        let writer = state.send.writer.take();
        drop(state);
        wake(writer);
        driver.try_close(core, &connection);
    }

    fn accepted(&self, driver: &Driver, key: Key, result: i32, is_last: bool) {
        let listening = match driver.slots.borrow().get(key) {
            Some(Slot::Listener(listening)) => Rc::clone(listening),
            _ => {
                // Cannot happen while slots outlive their operations; a descriptor must not leak all the same.
                if result >= 0 {
                    drop(crate::sys::own_fd(result));
                }
                return;
            }
        };
        let mut state = listening.state.borrow_mut();
        if is_last {
            state.flow = Flow::Idle;
        }
        if result >= 0 {
            state.accepted.push_back(crate::sys::own_fd(result));
        } else {
            state.note_failure(-result);
        }
        let is_full = state.accepted.len() >= ACCEPTED_COUNT_MAX;
        let wakers = std::mem::take(&mut state.acceptors);
        drop(state);
        if is_full {
            self.cancel_accept(&listening);
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
        driver.try_close_listener(&listening);
    }
}

fn vector_of(part: &[u8]) -> libc::iovec {
    // The kernel only reads what a write names.
    libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }
}

/// Puts an entry, or a linked pair, into the submission queue; false if there is no room.
fn push_now(ring: &mut IoUring, queued: &Queued) -> bool {
    let mut submission = ring.submission();
    let room = submission.capacity() - submission.len();
    match queued {
        Queued::One(entry) if room >= 1 => {
            // SAFETY: entries are made only in this file, from memory that a slot or the pool owns until the completion.
            unsafe { submission.push(entry) }.is_ok()
        }
        Queued::Pair(first, second) if room >= 2 => {
            // SAFETY: as above; both entries belong to one slot, which waits for both completions.
            unsafe { submission.push_multiple(&[first.clone(), second.clone()]) }.is_ok()
        }
        _ => false,
    }
}

/// Says whether the kernel took the entries. What it refused stays in the queue for the next turn.
fn is_entered(result: io::Result<usize>) -> bool {
    match result {
        Ok(_) => true,
        // ETIME: the wait ended by its timeout. EINTR: by a signal. EBUSY and EAGAIN: completions must be taken, or
        // memory freed, first.
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR) => true,
            Some(libc::EBUSY | libc::EAGAIN) => false,
            _ => panic!("io_uring_enter failed: {error}"),
        },
    }
}

fn connected(driver: &Driver, key: Key, result: i32) {
    let mut slots = driver.slots.borrow_mut();
    let Some(Slot::Connecting(connecting)) = slots.get_mut(key) else { return };
    connecting.outcome = Some(if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) });
    if connecting.abandoned {
        let slot = slots.remove(key);
        drop(slots);
        drop(slot);
        return;
    }
    let waker = connecting.waker.take();
    drop(slots);
    wake(waker);
}

fn file_done(driver: &Driver, core: &Core, key: Key, kind: u8, result: i32) {
    let mut slots = driver.slots.borrow_mut();
    let Some(Slot::File(slot)) = slots.get_mut(key) else { return };
    slot.outstanding -= 1;
    if kind == KIND_FILE_SYNC {
        slot.sync_result = result;
    } else {
        slot.result = result;
    }
    if slot.outstanding > 0 {
        return;
    }
    slot.conclude();
    drop(slots);
    crate::file::concluded(driver, core, key);
}

/// Receives one byte through a multishot receive with provided buffers, to see whether the kernel can.
pub(crate) fn try_multishot_receive(mut ring: IoUring) -> io::Result<()> {
    use std::io::Write;
    let pool = Pool::register(&ring, 2, 512)?;
    let (mut near, far) = std::os::unix::net::UnixStream::pair()?;
    near.write_all(b"x")?;
    let receive = opcode::RecvMulti::new(Fd(far.as_raw_fd()), BUFFER_GROUP);
    let queued = Queued::One(receive.build().user_data(Key::VACANT.pack(KIND_RECEIVE)));
    assert!(push_now(&mut ring, &queued), "a fresh ring has room");
    // Closing the sender ends the multishot receive, so nothing is in flight when the ring goes.
    drop(near);
    let mut received = false;
    loop {
        if let Err(error) = ring.submit_and_wait(1) {
            // The receive may be in flight, so the kernel may yet write to the pool.
            std::mem::forget(pool);
            return Err(error);
        }
        let completions: Vec<cqueue::Entry> = ring.completion().collect();
        for completion in completions {
            if completion.result() < 0 {
                return Err(io::Error::from_raw_os_error(-completion.result()));
            }
            received |= cqueue::buffer_select(completion.flags()).is_some();
            if !cqueue::more(completion.flags()) {
                drop(ring);
                drop(pool);
                return if received { Ok(()) } else { Err(io::Error::from(io::ErrorKind::Unsupported)) };
            }
        }
    }
}
