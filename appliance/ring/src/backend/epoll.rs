//! The epoll backend: edge-triggered readiness, the same gathering of sends, file work on companion threads.
//!
//! Invariant: a socket that is marked readable or not busy has not answered EAGAIN since its last event, so whoever
//! stops before EAGAIN (or a short read) keeps the mark and no event is missed.

use super::companion::Companions;
use super::{Driver, Slot, Wait, wake};
use crate::connection::{Connection, Flow, State};
use crate::core::Core;
use crate::file::{FileSlot, Job};
use crate::inbox::Inbox;
use crate::listener::Listening;
use crate::reactor::ReactorConfig;
use crate::slab::Key;
use crate::stats::count;
use crate::stream::Connecting;
use crate::sys::{EpollFd, Ready};
use socket2::Socket;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// Stands for the wake-up event among the keys of slots.
const EVENT_WORD: u64 = u64::MAX;
/// Connections taken from the kernel in one go.
const ACCEPTS_PER_CALL: usize = 64;
const CONNECTION_EVENTS: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

/// An epoll instance and its companions.
pub(crate) struct Epoll {
    epoll: EpollFd,
    inbox: Arc<Inbox>,
    companions: Companions,
    ready: RefCell<Vec<Ready>>,
}

impl Epoll {
    pub fn new(config: &ReactorConfig, inbox: &Arc<Inbox>) -> io::Result<Epoll> {
        let epoll = EpollFd::new()?;
        epoll.add(inbox.event().as_fd(), libc::EPOLLIN, EVENT_WORD)?;
        Ok(Epoll {
            epoll,
            inbox: Arc::clone(inbox),
            companions: Companions::new(Arc::clone(inbox), config.file_threads),
            ready: RefCell::new(Vec::new()),
        })
    }

    pub fn watch_connection(&self, connection: &Connection) -> io::Result<()> {
        // The first look may find data or nothing; both are right.
        connection.state.borrow_mut().receive.flow = Flow::Readable;
        self.epoll.add(connection.socket.as_fd(), CONNECTION_EVENTS, connection.key.get().pack(0))
    }

    pub fn forget_connection(&self, connection: &Connection) {
        // The stream may live on with the descriptor. It cannot fail for a descriptor that was added.
        let removed = self.epoll.remove(connection.socket.as_fd());
        debug_assert!(removed.is_ok());
    }

    pub fn watch_listener(&self, listening: &Listening) -> io::Result<()> {
        listening.state.borrow_mut().flow = Flow::Readable;
        let events = libc::EPOLLIN | libc::EPOLLET;
        self.epoll.add(listening.socket.as_fd(), events, listening.key.get().pack(0))
    }

    pub fn forget_listener(&self, listening: &Listening) {
        let removed = self.epoll.remove(listening.socket.as_fd());
        debug_assert!(removed.is_ok());
    }

    pub fn connect(&self, key: Key, connecting: &mut Connecting) -> io::Result<()> {
        let socket = connecting.socket()?;
        let outcome = socket.connect(&connecting.address);
        // Watched in every case: the attempt's end takes it out again.
        self.epoll.add(socket.as_fd(), libc::EPOLLOUT | libc::EPOLLET, key.pack(0))?;
        match outcome {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            other => connecting.outcome = Some(other),
        }
        Ok(())
    }

    pub fn forget_attempt(&self, socket: &Socket) -> io::Result<()> {
        self.epoll.remove(socket.as_fd())
    }

    pub fn start_job(&self, key: Key, slot: &mut FileSlot) {
        let mut job = slot.job.take().expect("a new slot holds its job");
        job.key = key;
        self.companions.start(job);
    }

    pub fn job_done(&self, _job: &Job) {
        self.companions.one_done();
    }

    /// Waits as told and dispatches what is ready.
    pub fn turn(&self, driver: &Driver, core: &Core, wait: Wait) {
        let timeout_ms = match wait {
            Wait::Not => 0,
            Wait::Forever => -1,
            Wait::Until(deadline) => milliseconds_until(deadline),
        };
        let timeout_ms = if timeout_ms == 0 {
            0
        } else {
            self.inbox.fall_asleep();
            if core.take_last_foreign() { 0 } else { timeout_ms }
        };
        let mut ready = std::mem::take(&mut *self.ready.borrow_mut());
        let waited = self.epoll.wait(timeout_ms, &mut ready);
        self.inbox.awake();
        if let Err(error) = waited {
            // A signal is not news; nothing else can go wrong with a descriptor of our own.
            assert!(error.kind() == io::ErrorKind::Interrupted, "epoll_wait failed: {error}");
        }
        for event in ready.drain(..) {
            count(&core.counters.completions);
            self.dispatch(driver, core, event);
        }
        *self.ready.borrow_mut() = ready;
    }

    fn dispatch(&self, driver: &Driver, core: &Core, event: Ready) {
        if event.word == EVENT_WORD {
            self.inbox.clear_event();
            return;
        }
        let (key, _) = Key::unpack(event.word);
        let mut slots = driver.slots.borrow_mut();
        match slots.get_mut(key) {
            Some(Slot::Connection(connection)) => {
                let connection = Rc::clone(connection);
                drop(slots);
                connection_ready(driver, core, &connection, event.events);
            }
            Some(Slot::Listener(listening)) => {
                let listening = Rc::clone(listening);
                drop(slots);
                let mut state = listening.state.borrow_mut();
                state.flow = Flow::Readable;
                let acceptors = std::mem::take(&mut state.acceptors);
                drop(state);
                acceptors.into_iter().for_each(Waker::wake);
            }
            Some(Slot::Connecting(connecting)) => {
                if connecting.outcome.is_some() {
                    return;
                }
                connecting.outcome = connecting.socket().and_then(attempt_outcome).transpose();
                let waker = if connecting.outcome.is_some() { connecting.waker.take() } else { None };
                drop(slots);
                wake(waker);
            }
            Some(Slot::File(_)) | None => {}
        }
    }
}

/// The result of a connection attempt after an event; `None` if it goes on.
fn attempt_outcome(socket: &Socket) -> io::Result<Option<()>> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(Some(())),
        // The first event of a fresh socket says only that it is not connected yet.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}

/// Rounded up: a timer must not be looked at before it is due.
fn milliseconds_until(deadline: Instant) -> i32 {
    let left = deadline.saturating_duration_since(Instant::now());
    i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}

fn connection_ready(driver: &Driver, core: &Core, connection: &Rc<Connection>, events: u32) {
    let has = |mask: i32| events & mask as u32 != 0;
    let mut state = connection.state.borrow_mut();
    let mut reader = None;
    if has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) {
        state.receive.hung_up = true;
    }
    if has(libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) {
        state.receive.flow = Flow::Readable;
        reader = state.receive.reader.take();
    }
    let mut writer = None;
    if has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) && state.send.busy {
        state.send.busy = false;
        writer = send(core, connection, &mut state);
    }
    drop(state);
    wake(reader);
    wake(writer);
    driver.try_close(core, connection);
}

/// Sends what is queued until the socket is full; gives the writer to wake if there is room again.
pub(crate) fn send(core: &Core, connection: &Connection, state: &mut State) -> Option<Waker> {
    while let Some(bytes) = state.send.next() {
        let sent = connection.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
        match sent {
            Ok(sent) => state.send.advance(core, sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.send.busy = true;
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => state.send.fail(core, error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
    let has_room = state.send.room_bytes(core) > 0;
    if has_room || state.send.failure.is_some() { state.send.writer.take() } else { None }
}

/// Takes connections until there are none, up to a bound.
pub(crate) fn accept(listening: &Listening) {
    let mut state = listening.state.borrow_mut();
    if state.flow != Flow::Readable || state.closing {
        return;
    }
    for _ in state.accepted.len()..ACCEPTS_PER_CALL {
        match listening.socket.accept() {
            Ok((socket, _)) => state.accepted.push_back(OwnedFd::from(socket)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.flow = Flow::Idle;
                return;
            }
            Err(error) => {
                state.note_failure(error.raw_os_error().unwrap_or(libc::EIO));
                return;
            }
        }
    }
}
