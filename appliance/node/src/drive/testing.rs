//! A reactor for one test.

use std::future::Future;

/// Runs a future on a reactor of its own; epoll, which works wherever tests run.
pub fn on_reactor<T>(future: impl Future<Output = T>) -> T {
    let config = ring::ReactorConfig { backend: ring::Backend::Epoll, ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config).expect("epoll works everywhere").block_on(future)
}
