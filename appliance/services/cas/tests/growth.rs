//! Uploads of a length that nobody knows, into a cache that is full: they wait for room where some can be made, and never take more
//! than there is.

mod background;
mod driver;

use background::{pass, settings, tick};
use bytes::Bytes;
use cas::store::stored_bytes;
use cas::{Digest, PutError, Quota, Settings, Stored};
use driver::{Wire, World, ns, upload, with_world};

/// Of the blobs that are there before.
const LENGTH: usize = 32_000;
const COUNT: u32 = 250;
const STORED: u64 = LENGTH as u64 + 768;
const MAX_BYTES: u64 = COUNT as u64 * STORED;

fn old(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(LENGTH / 4)
}

/// Fills the cache, and lets the leases of what it holds go by.
async fn fill(world: &World, name: &str, count: u32) {
    tick(world).await;
    world.clock.advance(std::time::Duration::from_secs(120));
    for number in 0..count {
        world.put(ns(name), &old(number)).await.expect("there is room");
    }
    world.clock.advance(std::time::Duration::from_secs(120));
    world.store.catch_up().await.expect("open");
}

/// Sends a body of which the head says nothing, in pieces as they come from a socket.
async fn send(world: &World, name: &str, bytes: &[u8]) -> Result<Stored, PutError> {
    let stored = world.receive(upload(ns(name), None, None), Wire::whole(bytes)).await;
    assert!(world.cas.stored_bytes() <= world.cas.settings().max_bytes);
    stored
}

#[test]
fn a_body_that_grows_in_a_full_cache_waits_for_evictions() {
    with_world("growth", settings(MAX_BYTES), |world| async move {
        fill(&world, "a", COUNT).await;
        assert_eq!(world.cas.stored_bytes(), MAX_BYTES);
        let body: Vec<u8> = (0..5_000_000_u32).map(|place| (place * 7 + place / 251) as u8).collect();
        let stored = send(&world, "a", &body).await.expect("what is old makes room");
        assert_eq!((stored.digest, stored.length), (Digest::of(&body), body.len() as u64));
        assert_eq!(world.get(ns("a"), stored.digest).await.as_deref(), Some(&body[..]));
        world.nothing_is_promised().await;
        // Nobody went for what did not come, but for a MiB of it and the tenth that an eviction takes beside.
        let left = world.usage(None)[0] - 1;
        assert!((30..=96).contains(&left), "{left} of {COUNT} are left");
    });
}

#[test]
fn a_body_whose_length_was_announced_and_is_long_waits_as_well() {
    let max_bytes = 24 << 20;
    with_world("growth-long", settings(max_bytes), |world| async move {
        fill(&world, "a", (max_bytes / STORED) as u32).await;
        // Longer than is promised at once.
        let body = vec![5; 20 << 20];
        let upload = upload(ns("a"), Some(Digest::of(&body)), Some(body.len() as u64));
        let stored = world.receive(upload, Wire::whole(&body)).await.expect("what is old makes room");
        assert_eq!(stored.length, body.len() as u64);
        assert!(world.cas.stored_bytes() <= max_bytes);
        world.nothing_is_promised().await;
    });
}

#[test]
fn where_nothing_can_go_the_body_is_given_up_and_leaves_nothing() {
    with_world("growth-leased", settings(MAX_BYTES), |world| async move {
        fill(&world, "a", COUNT - 5).await;
        assert!(stored_bytes(150_000) > 4 * STORED && stored_bytes(150_000) < 5 * STORED);
        for number in 0..COUNT - 5 {
            assert!(world.find(ns("a"), Digest::of(&old(number))).await.expect("readable").is_some());
        }
        let before = world.usage(None);
        let refused = send(&world, "a", &vec![1; 1_000_000]).await;
        assert!(matches!(refused, Err(PutError::Full)), "{refused:?}");
        assert_eq!(world.usage(None), before);
        world.nothing_is_promised().await;
        // What fits is taken, though there is no room to promise ahead of it.
        send(&world, "a", &[2; 150_000]).await.expect("it fits");
        let refused = send(&world, "a", &[3; 15_000]).await;
        assert!(matches!(refused, Err(PutError::Full)), "{refused:?}");
        pass(&world, 120).await;
        send(&world, "a", &vec![1; 1_000_000]).await.expect("what is leased no more makes room");
    });
}

#[test]
fn bodies_that_grow_beside_each_other_share_what_can_be_had() {
    with_world("growth-beside", settings(MAX_BYTES), |world| async move {
        fill(&world, "a", COUNT).await;
        let bodies: Vec<Vec<u8>> = (0..4_u8).map(|number| vec![number; 1_000_000]).collect();
        let send = |number: usize| send(&world, "a", &bodies[number]);
        let ((first, second), (third, fourth)) =
            driver::both(driver::both(send(0), send(1)), driver::both(send(2), send(3))).await;
        for (stored, body) in [first, second, third, fourth].into_iter().zip(&bodies) {
            let stored = stored.expect("there is room for all");
            assert_eq!(world.get(ns("a"), stored.digest).await.as_deref(), Some(&body[..]));
        }
        world.nothing_is_promised().await;
    });
}

#[test]
fn a_body_that_grows_over_a_quota_takes_from_its_own_namespace() {
    let quota = Quota { bytes: 60 * STORED, objects: 60 };
    let settings = Settings { quotas: [(ns("a"), quota)].into(), ..settings(MAX_BYTES) };
    with_world("growth-quota", settings, |world| async move {
        fill(&world, "other", 20).await;
        fill(&world, "a", 59).await;
        send(&world, "a", &vec![1; 1_200_000]).await.expect("its own oldest make room");
        assert_eq!(world.usage(Some(&ns("other")))[0], 20);
        let [objects, bytes] = world.usage(Some(&ns("a")));
        assert!(objects <= 60 && bytes <= quota.bytes as i64, "{objects} objects, {bytes} bytes");
        let refused = send(&world, "a", &vec![1; 61 * LENGTH]).await;
        assert!(matches!(refused, Err(PutError::QuotaFull)), "{refused:?}");
        assert_eq!(world.usage(Some(&ns("other")))[0], 20);
        world.nothing_is_promised().await;
    });
}

#[test]
fn a_client_that_goes_away_while_it_waits_keeps_no_room() {
    with_world("growth-cut", settings(MAX_BYTES), |world| async move {
        fill(&world, "a", COUNT).await;
        let wire = Wire::cut(&vec![3; 1_000_000]);
        let cut = world.receive(upload(ns("a"), None, None), wire).await;
        assert!(matches!(cut, Err(PutError::Body(_))), "{cut:?}");
        // A wait that is dropped in its midst: polled a few times, never to its end.
        for polls in 0..12 {
            let mut pieces = Wire::whole(&vec![4; 1_000_000]);
            pieces.pieces.push_front(Bytes::new());
            let mut sending = Box::pin(world.receive(upload(ns("a"), None, None), pieces));
            for _ in 0..polls {
                let polled =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(sending.as_mut().poll(cx))).await;
                if polled.is_ready() {
                    break;
                }
                ring::yield_now().await;
            }
            drop(sending);
        }
        world.nothing_is_promised().await;
        assert!(world.cas.stored_bytes() <= MAX_BYTES);
    });
}
