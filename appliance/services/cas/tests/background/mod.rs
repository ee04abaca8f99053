//! Time that passes for a content store, with the work in the background that it brings.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::time::Duration;

use cas::{GcRequest, GcState, Pin, PinError, Pinned, Settings};

use crate::driver::{self, Wire, World};

/// A lease of a minute, and a limit of so many bytes.
pub fn settings(max_bytes: u64) -> Settings {
    Settings { max_bytes, lease: Duration::from_secs(60), ..driver::settings() }
}

/// Does what the node does each second for each shard, until nothing more is due.
pub async fn tick(world: &World) {
    /// A background that always has more to do is stuck.
    const ROUNDS_MAX: usize = 10_000;
    for shard in world.store.shards() {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "the background of {shard} does not come to an end");
            let Some(plan) = world.with_context(|cx| world.cas.tick(cx, shard)) else { break };
            let status = world.drive(plan, Wire::default()).await.status;
            assert_ne!(status, http_types::StatusCode::INTERNAL_SERVER_ERROR, "a slice failed");
            if status != plan::MORE_IS_DUE {
                break;
            }
        }
    }
}

/// Lets time pass, then lets the background work.
pub async fn pass(world: &World, seconds: u64) {
    world.clock.advance(Duration::from_secs(seconds));
    world.store.catch_up().await.expect("the store is open");
    tick(world).await;
}

/// Runs a collection to its end.
pub async fn collect(world: &World, request: GcRequest) -> GcState {
    /// Each second does a slice on each shard at least.
    const SECONDS_MAX: usize = 1_000;
    let id = world.with_context(|cx| world.cas.gc_start(cx, request)).expect("none is under way");
    for _ in 0..SECONDS_MAX {
        tick(world).await;
        let state = world.cas.gc_state(id).expect("it is known");
        if state.is_done {
            return state;
        }
    }
    panic!("collection {id} does not end");
}

pub async fn pin(world: &World, what: &Pinned, until: Option<store::Timestamp>) -> Result<(), PinError> {
    let pin = Pin { until, stored_bytes: 0, reason: "a test".into(), who: "test".into() };
    world.ask(|cx, done| world.cas.pin(cx, what, pin, done)).await
}

pub async fn unpin(world: &World, what: &Pinned) -> bool {
    world.ask(|cx, done| world.cas.unpin(cx, what, done)).await.expect("the store is open")
}
