//! The reactor: one per core, one thread each, sharing nothing that a request has to lock.
//!
//! A reactor owns a thread. It runs that thread's `!Send` tasks, its sockets, its file operations and its timers,
//! on io_uring or, where that is forbidden, on epoll behind the same types. One turn of its loop runs the
//! tasks that were ready, calls the turn-end hooks, hands every gathered send and file operation to the kernel in
//! one system call, and takes the completions.
//!
//! Invariant: memory that the kernel may still read or write belongs to a slot of the backend until the kernel
//! has said that it is done. Dropping a future or a stream only orphans its slot.
//!
//! What bytes mean is left to others: `http` for the network, `store` for the disk.

mod backend;
mod buffer;
mod connection;
mod core;
mod executor;
mod file;
mod hooks;
mod inbox;
mod listener;
mod mailbox_channel;
mod probe;
mod reactor;
mod slab;
mod stats;
mod stream;
mod sys;
mod time;
mod timers;

pub mod topology;

/// Owned, page-aligned byte buffers.
pub mod buf {
    pub use crate::buffer::Buffer;
}

/// Files whose operations never block the reactor.
pub mod fs {
    pub use crate::file::File;
}

/// Messages between cores.
pub mod mailbox {
    pub use crate::mailbox_channel::{Receiver, Sender, mailbox, mailbox_with_limit};
}

/// TCP listeners and streams.
pub mod net {
    pub use crate::listener::{ListenOptions, TcpListener};
    pub use crate::stream::TcpStream;
}

pub use crate::buffer::Buffer;
pub use crate::executor::{Task, YieldNow, spawn, yield_now};
pub use crate::file::File;
pub use crate::hooks::{TurnHook, at_turn_end};
pub use crate::inbox::Remote;
pub use crate::listener::{ListenOptions, TcpListener};
pub use crate::mailbox_channel::{Receiver, Sender, mailbox, mailbox_with_limit};
pub use crate::probe::{Capabilities, probe_io_uring};
pub use crate::reactor::{Backend, Reactor, ReactorConfig};
pub use crate::stats::{Stats, stats};
pub use crate::stream::TcpStream;
pub use crate::time::{Elapsed, Sleep, now, sleep, sleep_until, timeout};
pub use crate::topology::cores;
