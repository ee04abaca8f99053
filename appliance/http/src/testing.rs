//! A reactor for unit tests.

use std::future::Future;

pub(crate) fn on_reactor<F: Future>(future: F) -> F::Output {
    let mut reactor = ring::Reactor::new(&ring::ReactorConfig::default()).expect("a reactor for the test");
    reactor.block_on(future)
}
