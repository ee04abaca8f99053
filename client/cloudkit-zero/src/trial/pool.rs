//! How many connections there are, and which one a request takes.

use super::*;
use tokio::task::JoinHandle;

type Running = JoinHandle<Result<Answered, CallError>>;

/// Starts as many calls and reads their requests on `peer`.
async fn fill(caller: &Caller, peer: &mut Peer, count: usize) -> Vec<(Running, u32)> {
    let mut running = Vec::new();
    for _ in 0..count {
        let call = start(caller, get());
        running.push((call, peer.request().await));
    }
    running
}

#[tokio::test(start_paused = true)]
async fn a_further_connection_is_made_when_each_has_32_streams() {
    let (caller, mut incoming) = client(settings());
    let first = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    let running = fill(&caller, &mut peer, 31).await;
    settle().await;
    assert!(!incoming.has_next(), "32 streams are what one connection carries");
    // This one goes ahead where there is a connection; the further one is for those that come later.
    let more = fill(&caller, &mut peer, 1).await;
    let mut second = incoming.framed().await;
    settle().await;
    let elsewhere = start(&caller, get());
    let on_second = second.request().await;
    assert_eq!(caller.in_flight().connections, 2);
    second.answer(on_second, b"").await;
    assert!(elsewhere.await.unwrap().is_ok());
    peer.answer(stream, b"").await;
    assert!(first.await.unwrap().is_ok());
    for (call, stream) in running.into_iter().chain(more) {
        peer.answer(stream, b"").await;
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn one_connection_carries_everything_where_that_is_set() {
    let (caller, mut incoming) = single();
    let first = start(&caller, get());
    let mut peer = incoming.framed().await;
    peer.request().await;
    let running = fill(&caller, &mut peer, 90).await;
    settle().await;
    assert!(!incoming.has_next());
    assert_eq!(caller.in_flight().streams, 91);
    first.abort();
    running.iter().for_each(|(call, _)| call.abort());
    settle().await;
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_takes_the_connection_with_the_fewest_bytes() {
    let pool = PoolOptions { connections_max: 2, streams_per_connection: 1, ..PoolOptions::default() };
    let (caller, mut incoming) = client(Settings { pool, ..settings() });
    let large = start(&caller, put(vec![0; 8 << 20]));
    let mut one = incoming.framed().await;
    one.request().await;
    let call = start(&caller, get());
    let on_one = one.request().await;
    one.answer(on_one, b"").await;
    assert!(call.await.unwrap().is_ok());
    let mut two = incoming.framed().await;
    settle().await;
    // Three small ones make the second connection the one with more streams, and still that with fewer bytes.
    let mut small = Vec::new();
    while small.len() < 3 {
        let call = start(&caller, Request { answer_bytes: 2 << 20, ..get() });
        two.request().await;
        small.push(call);
    }
    let second = start(&caller, put(vec![0; 4 << 20]));
    two.request().await;
    for call in [large, second].into_iter().chain(small) {
        call.abort();
    }
    settle().await;
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_connection_share_one_and_may_be_dropped() {
    let (caller, mut incoming) = client(settings());
    let first = start(&caller, get());
    let others: Vec<_> = (0..10).map(|_| start(&caller, get())).collect();
    let io = incoming.next().await;
    first.abort();
    settle().await;
    let mut peer = Peer::greet(io).await;
    for call in others {
        let stream = peer.request().await;
        peer.answer(stream, b"").await;
        drop(call);
    }
    settle().await;
    assert!(!incoming.has_next());
    assert_eq!(caller.in_flight().streams, 0);
}
