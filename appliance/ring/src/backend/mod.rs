//! What both backends share: the slots that own whatever the kernel may still touch, and the order of a turn.
//!
//! Invariant: a slot leaves the slab only when no operation of the kernel names it any more.

pub(crate) mod companion;
pub(crate) mod direct;
pub(crate) mod epoll;
pub(crate) mod pool;
pub(crate) mod uring;

use crate::connection::{Connection, Flow, State};
use crate::core::Core;
use crate::file::{FileSlot, Job};
use crate::inbox::Inbox;
use crate::listener::Listening;
use crate::reactor::{Backend, ReactorConfig};
use crate::slab::{Key, Slab};
use crate::stats::{count, uncount};
use crate::stream::Connecting;
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// More orphans than this do not linger: they are cut.
const LINGERING_COUNT_MAX: usize = 4096;
/// Entries of finished orphans that the queue of deadlines may keep before it is swept.
const FINISHED_ORPHANS_MAX: usize = 4096;
/// How long a dropped reactor lets written data leave and file operations end.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// How long it then waits for cancelled operations.
const CLOSE_CANCEL: Duration = Duration::from_secs(2);

/// How long a turn may block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Not,
    Until(Instant),
    Forever,
}

/// What a slot owns.
pub(crate) enum Slot {
    Connection(Rc<Connection>),
    Listener(Rc<Listening>),
    Connecting(Connecting),
    File(FileSlot),
}

enum Kind {
    Uring(Box<uring::Uring>),
    Epoll(Box<epoll::Epoll>),
}

/// A backend with its slots.
pub(crate) struct Driver {
    kind: Kind,
    direct: direct::Direct,
    pub slots: RefCell<Slab<Slot>>,
    /// Connections that have something to send at the end of this turn.
    gathered: RefCell<Vec<Rc<Connection>>>,
    /// Orphans that still send, by the time at which they are cut. All have the same patience, so this is a queue.
    lingering: RefCell<VecDeque<(Instant, Key)>>,
    lingering_count: Cell<usize>,
    linger: Duration,
}

impl Driver {
    pub fn new(config: &ReactorConfig, inbox: &Arc<Inbox>) -> io::Result<Driver> {
        let kind = match config.backend {
            Backend::IoUring => Kind::Uring(Box::new(uring::Uring::new(config, inbox)?)),
            Backend::Epoll => Kind::Epoll(Box::new(epoll::Epoll::new(config, inbox)?)),
        };
        Ok(Driver {
            kind,
            direct: direct::Direct::new(),
            slots: RefCell::new(Slab::new()),
            gathered: RefCell::new(Vec::new()),
            lingering: RefCell::new(VecDeque::new()),
            lingering_count: Cell::new(0),
            linger: config.linger,
        })
    }

    pub fn held_receive_buffers(&self) -> usize {
        match &self.kind {
            Kind::Uring(uring) => usize::from(uring.pool.held_count()),
            Kind::Epoll(_) => 0,
        }
    }

    /// Non-blocking sockets are right for readiness and wrong for completions: io_uring answers EAGAIN on them.
    pub fn wants_nonblocking_sockets(&self) -> bool {
        matches!(self.kind, Kind::Epoll(_))
    }

    /// Gives the connection a slot and, with epoll, starts to watch it.
    pub fn add_connection(&self, core: &Core, socket: Socket) -> io::Result<Rc<Connection>> {
        socket.set_nonblocking(self.wants_nonblocking_sockets())?;
        let connection = Rc::new(Connection::new(socket));
        let key = self.slots.borrow_mut().insert(Slot::Connection(Rc::clone(&connection)));
        connection.key.set(key);
        if let Kind::Epoll(epoll) = &self.kind
            && let Err(error) = epoll.watch_connection(&connection)
        {
            self.slots.borrow_mut().remove(key);
            return Err(error);
        }
        count(&core.counters.connections);
        Ok(connection)
    }

    /// Sees to it that the reader is woken when there is something to read. If the reader `is_empty`, this may receive
    /// directly.
    pub fn want_receive(&self, core: &Core, connection: &Rc<Connection>, state: &mut State, is_empty: bool) {
        if is_empty {
            self.direct.receive(core, connection, state);
        }
        if let Kind::Uring(uring) = &self.kind
            && state.receive.wants_more(core)
        {
            state.receive.flow = Flow::Armed;
            uring.arm_receive(connection, &state.receive);
        }
    }

    /// Remembers to send at the end of the turn.
    pub fn gather(&self, connection: &Rc<Connection>, state: &mut State) {
        if !state.gathered {
            state.gathered = true;
            self.gathered.borrow_mut().push(Rc::clone(connection));
        }
    }

    /// Starts the sends of all gathered connections.
    pub fn submit_gathered(&self, core: &Core) {
        let mut gathered = std::mem::take(&mut *self.gathered.borrow_mut());
        for connection in gathered.drain(..) {
            let mut state = connection.state.borrow_mut();
            state.gathered = false;
            let waker = self.start_send(core, &connection, &mut state);
            drop(state);
            wake(waker);
            self.try_close(core, &connection);
        }
        // Wakers above may have gathered more; those leave next turn. The emptied vector keeps its capacity.
        let mut slot = self.gathered.borrow_mut();
        if slot.is_empty() {
            *slot = gathered;
        }
    }

    /// Sends what is queued unless a send is under way; gives the writer to wake, if that made room.
    fn start_send(&self, core: &Core, connection: &Rc<Connection>, state: &mut State) -> Option<Waker> {
        if state.send.busy || state.send.failure.is_some() {
            return None;
        }
        match &self.kind {
            Kind::Uring(uring) => {
                uring.send(connection, state);
                None
            }
            Kind::Epoll(_) => epoll::send(core, connection, state),
        }
    }

    /// The stream is gone: send what was written, then let go of the socket.
    pub fn orphan(&self, core: &Core, connection: &Rc<Connection>) {
        let mut state = connection.state.borrow_mut();
        state.orphaned = true;
        let wakers = (state.receive.reader.take(), state.send.writer.take());
        state.receive.clear(core);
        let lingers = !state.send.is_empty() && !core.closed.get();
        state.lingering = lingers;
        drop(state);
        drop(wakers);
        if core.closed.get() {
            return;
        }
        if lingers {
            self.lingering_count.set(self.lingering_count.get() + 1);
            self.remember_orphan(core.now.get() + self.linger, connection.key.get());
            if self.lingering_count.get() > LINGERING_COUNT_MAX {
                self.cut(core, connection);
            }
        }
        self.try_close(core, connection);
    }

    fn remember_orphan(&self, deadline: Instant, key: Key) {
        let mut lingering = self.lingering.borrow_mut();
        lingering.push_back((deadline, key));
        if lingering.len() > 2 * self.lingering_count.get() + FINISHED_ORPHANS_MAX {
            // Most orphans finish at once, long before their deadline.
            let slots = self.slots.borrow();
            lingering.retain(|(_, key)| slots.get(*key).is_some());
        }
    }

    /// Lets go of an orphan's slot, and with it of the socket, as soon as nothing is in flight or queued.
    pub fn try_close(&self, core: &Core, connection: &Rc<Connection>) {
        let mut state = connection.state.borrow_mut();
        if !state.orphaned {
            return;
        }
        if let Kind::Uring(uring) = &self.kind
            && state.receive.flow == Flow::Armed
        {
            state.receive.flow = Flow::Stopping;
            uring.cancel_receive(connection);
        }
        let is_receiving = matches!(state.receive.flow, Flow::Armed | Flow::Stopping);
        if is_receiving || !state.send.is_empty() {
            return;
        }
        if std::mem::take(&mut state.lingering) {
            self.lingering_count.set(self.lingering_count.get() - 1);
        }
        drop(state);
        let slot = self.slots.borrow_mut().remove(connection.key.replace(Key::VACANT));
        if slot.is_some() {
            if let Kind::Epoll(epoll) = &self.kind {
                epoll.forget_connection(connection);
            }
            uncount(&core.counters.connections);
        }
        drop(slot);
    }

    /// Gives up on a connection: what was not sent is dropped, and closing it will reset it, so that the peer cannot take
    /// the part for the whole.
    fn cut(&self, core: &Core, connection: &Rc<Connection>) {
        let set = connection.socket.set_linger(Some(Duration::ZERO));
        debug_assert!(set.is_ok(), "a TCP socket takes a linger time");
        let mut state = connection.state.borrow_mut();
        match &self.kind {
            Kind::Uring(uring) if state.send.busy => {
                state.send.doomed = Some(libc::ECONNABORTED);
                uring.cancel_send(connection);
            }
            _ => state.send.fail(core, libc::ECONNABORTED),
        }
    }

    /// Drops what is queued for sending and makes closing a reset.
    pub fn reset(&self, core: &Core, connection: &Rc<Connection>) {
        self.cut(core, connection);
    }

    /// When the first lingering orphan must be cut.
    pub fn next_linger_deadline(&self) -> Option<Instant> {
        let mut lingering = self.lingering.borrow_mut();
        let slots = self.slots.borrow();
        while let Some((deadline, key)) = lingering.front() {
            if slots.get(*key).is_some() {
                return Some(*deadline);
            }
            lingering.pop_front();
        }
        None
    }

    fn cut_overdue(&self, core: &Core) {
        while let Some(deadline) = self.next_linger_deadline() {
            if deadline > core.now.get() {
                return;
            }
            let overdue = self.lingering.borrow_mut().pop_front();
            let Some((_, key)) = overdue else { return };
            if let Some(connection) = self.connection(key) {
                self.cut(core, &connection);
                self.try_close(core, &connection);
            }
        }
    }

    pub fn connection(&self, key: Key) -> Option<Rc<Connection>> {
        match self.slots.borrow().get(key) {
            Some(Slot::Connection(connection)) => Some(Rc::clone(connection)),
            _ => None,
        }
    }

    /// Gives the listener a slot and, with epoll, starts to watch it.
    pub fn add_listener(&self, listening: &Rc<Listening>) -> io::Result<()> {
        listening.socket.set_nonblocking(self.wants_nonblocking_sockets())?;
        let key = self.slots.borrow_mut().insert(Slot::Listener(Rc::clone(listening)));
        listening.key.set(key);
        if let Kind::Epoll(epoll) = &self.kind
            && let Err(error) = epoll.watch_listener(listening)
        {
            self.slots.borrow_mut().remove(key);
            return Err(error);
        }
        Ok(())
    }

    /// Asks for connections; with epoll this takes at once what is there.
    pub fn want_accept(&self, listening: &Rc<Listening>) {
        match &self.kind {
            Kind::Uring(uring) => uring.arm_accept(listening),
            Kind::Epoll(_) => epoll::accept(listening),
        }
    }

    /// Stops accepting; what was delivered stays in the listener's queue.
    pub fn stop_accept(&self, listening: &Rc<Listening>) {
        if let Kind::Uring(uring) = &self.kind {
            uring.cancel_accept(listening);
        }
        self.try_close_listener(listening);
    }

    /// Frees the slot of a closed listener when no accept is in flight, taking the backlog over first.
    pub fn try_close_listener(&self, listening: &Rc<Listening>) {
        let state = listening.state.borrow();
        if !state.closing || matches!(state.flow, Flow::Armed | Flow::Stopping) {
            return;
        }
        drop(state);
        let slot = self.slots.borrow_mut().remove(listening.key.replace(Key::VACANT));
        if slot.is_some() {
            if let Kind::Epoll(epoll) = &self.kind {
                epoll.forget_listener(listening);
            }
            listening.take_backlog();
        }
        drop(slot);
    }

    /// Starts a connection attempt and names its slot.
    pub fn start_connect(&self, connecting: Connecting) -> io::Result<Key> {
        connecting.socket()?.set_nonblocking(self.wants_nonblocking_sockets())?;
        let key = self.slots.borrow_mut().insert(Slot::Connecting(connecting));
        let mut slots = self.slots.borrow_mut();
        let Some(Slot::Connecting(connecting)) = slots.get_mut(key) else {
            unreachable!("the slot was filled two lines up");
        };
        let started = match &self.kind {
            Kind::Uring(uring) => uring.connect(key, connecting),
            Kind::Epoll(epoll) => epoll.connect(key, connecting),
        };
        if let Err(error) = started {
            slots.remove(key);
            return Err(error);
        }
        Ok(key)
    }

    /// The attempt is over and `socket` is about to get a slot as a connection.
    pub fn connected(&self, socket: &Socket) -> io::Result<()> {
        match &self.kind {
            Kind::Uring(_) => Ok(()),
            Kind::Epoll(epoll) => epoll.forget_attempt(socket),
        }
    }

    /// The future of a connection attempt was dropped.
    pub fn abandon_connect(&self, key: Key) {
        let mut slots = self.slots.borrow_mut();
        let Some(Slot::Connecting(connecting)) = slots.get_mut(key) else { return };
        connecting.waker = None;
        connecting.abandoned = true;
        match &self.kind {
            Kind::Uring(uring) if connecting.outcome.is_none() => uring.cancel_connect(key),
            _ => {
                // Closing the socket ends the attempt, and epoll's watch with it.
                let slot = slots.remove(key);
                drop(slots);
                drop(slot);
            }
        }
    }

    /// Starts a file operation and names its slot.
    pub fn start_job(&self, core: &Core, job: Job) -> Key {
        count(&core.counters.file_operations);
        let mut slots = self.slots.borrow_mut();
        let key = slots.insert(Slot::File(FileSlot::new(job)));
        let Some(Slot::File(slot)) = slots.get_mut(key) else {
            unreachable!("the slot was filled two lines up");
        };
        match &self.kind {
            Kind::Uring(uring) => uring.start_job(key, slot),
            Kind::Epoll(epoll) => epoll.start_job(key, slot),
        }
        key
    }

    /// Submits, waits, and hands out what the kernel has done.
    pub fn turn(&self, core: &Core, wait: Wait) {
        let tired = self.direct.take_tired();
        let wait = if tired.is_empty() { wait } else { Wait::Not };
        match &self.kind {
            Kind::Uring(uring) => uring.turn(self, core, wait),
            Kind::Epoll(epoll) => epoll.turn(self, core, wait),
        }
        for connection in tired {
            let reader = connection.state.borrow_mut().receive.reader.take();
            wake(reader);
        }
    }

    /// What is due by the clock.
    pub fn after_turn(&self, core: &Core) {
        self.cut_overdue(core);
    }

    /// A companion thread has finished a job and can take the next.
    pub fn job_done(&self, job: &Job) {
        if let Kind::Epoll(epoll) = &self.kind {
            epoll.job_done(job);
        }
    }

    /// Sees everything off when the reactor is dropped. Memory that the kernel does not let go of is leaked.
    pub fn close(&self, core: &Core) {
        self.abandon_all(core);
        let deadline = Instant::now() + CLOSE_GRACE;
        self.turn_until(core, deadline, || self.slots.borrow().len() == 0);
        if let Kind::Uring(uring) = &self.kind {
            let deadline = Instant::now() + CLOSE_CANCEL;
            uring.cancel_everything();
            self.turn_until(core, deadline, || uring.is_quiet());
            if !uring.is_quiet() {
                let slots = std::mem::replace(&mut *self.slots.borrow_mut(), Slab::new());
                std::mem::forget(slots);
                std::mem::forget(Rc::clone(&uring.pool));
            }
        }
        let slots = std::mem::replace(&mut *self.slots.borrow_mut(), Slab::new());
        drop(slots);
    }

    fn turn_until(&self, core: &Core, deadline: Instant, is_done: impl Fn() -> bool) {
        while Instant::now() < deadline {
            self.submit_gathered(core);
            // After the sends: with epoll they may have been the last thing to wait for.
            if is_done() {
                return;
            }
            self.turn(core, Wait::Until(deadline));
            core.take_foreign();
        }
    }

    /// Nobody will ask for anything any more.
    fn abandon_all(&self, core: &Core) {
        let mut connections = Vec::new();
        let mut listeners = Vec::new();
        for (_, slot) in self.slots.borrow().iter() {
            match slot {
                Slot::Connection(connection) => connections.push(Rc::clone(connection)),
                Slot::Listener(listening) => listeners.push(Rc::clone(listening)),
                Slot::Connecting(_) | Slot::File(_) => {}
            }
        }
        for listening in listeners {
            listening.close();
            self.stop_accept(&listening);
        }
        for connection in connections {
            // A stream that outlives its reactor has no way to send any more.
            connection.state.borrow_mut().orphaned = true;
            self.try_close(core, &connection);
        }
    }
}

/// Calls a waker that was taken out of a borrowed state.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
