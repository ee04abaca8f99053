//! What the tests of the reactor share: each test body runs once per backend.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]
#![allow(dead_code, reason = "every test binary uses its own part of this module")]

pub mod streams;

use ring::{Backend, Reactor, ReactorConfig};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

/// Nothing that a test waits for takes longer, on a busy machine neither: what would hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A configuration for tests. Orphans linger for longer than a test waits, so that one which must go by itself does.
pub fn config(backend: Backend) -> ReactorConfig {
    ReactorConfig { backend, linger: 10 * PATIENCE, ..ReactorConfig::default() }
}

/// Runs a future on a fresh reactor of this thread.
pub fn run<F: Future>(backend: Backend, future: F) -> F::Output {
    run_with(&config(backend), future)
}

/// Runs a future on a fresh reactor of this thread, made as told.
pub fn run_with<F: Future>(config: &ReactorConfig, future: F) -> F::Output {
    allow_open_files();
    Reactor::new(config).expect("the test machine allows this backend").block_on(future)
}

/// As many open files as this process may have: a shell mostly gives 1,024, and crowds of connections are more.
#[allow(unsafe_code, reason = "limits are read and set by raw system calls")]
fn allow_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to `limit`, which lives through the call and is written by it.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to `limit`, which lives through the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!((read, set), (0, 0));
}

/// Any free port of the loopback interface.
pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("a literal address")
}

/// Makes two tests of each function that takes a backend.
#[macro_export]
macro_rules! on_both_backends {
    ($($name:ident),+ $(,)?) => {
        mod on_io_uring {
            $(#[test] fn $name() { super::$name(ring::Backend::IoUring); })+
        }
        mod on_epoll {
            $(#[test] fn $name() { super::$name(ring::Backend::Epoll); })+
        }
    };
}
