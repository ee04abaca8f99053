//! What ends by itself: connections that do not come, answers that do not, bodies that stand still, peers that fell silent.

use super::*;
use crate::call::Cause;
use crate::error::{Sent, WireError, WireKind};
use crate::retry::Idempotency;
use tokio::time::Instant;

fn failed(result: Result<Answered, CallError>) -> WireError {
    match result.expect_err("it fails").cause {
        Cause::Wire(error) => error,
        Cause::Fault(fault) => panic!("{}", fault.code),
    }
}

fn once(request: Request) -> Request {
    Request { idempotency: Idempotency::IfNotSent, ..request }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_greets_is_given_up_after_the_time_to_connect() {
    let (caller, mut incoming) =
        client(Settings { policy: Arc::new(cloudkit_core::spi::NoRetry), ..settings() });
    let call = start(&caller, get());
    let begin = Instant::now();
    let silent = incoming.next().await;
    let error = failed(call.await.unwrap());
    assert_eq!((error.kind(), error.sent()), (WireKind::ConnectTimeout, Sent::No));
    assert_eq!(begin.elapsed().as_secs(), 3);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up_and_its_stream_reset() {
    let (caller, mut incoming) = single();
    let call = start(&caller, once(get()));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    // Answers to pings keep the connection while the stream waits.
    let reset = peer.next(RST_STREAM).await;
    assert_eq!(reset.stream, stream);
    let error = failed(call.await.unwrap());
    assert_eq!((error.kind(), error.sent()), (WireKind::AttemptTimeout, Sent::Maybe));
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn long_polling_waits_longer_by_what_it_asked_for() {
    let (caller, mut incoming) = single();
    let call = start(&caller, Request { wait: Duration::from_secs(20), ..once(get()) });
    let mut peer = incoming.framed().await;
    let begin = Instant::now();
    peer.request().await;
    peer.next(RST_STREAM).await;
    assert_eq!(begin.elapsed().as_secs(), 80);
    assert_eq!(failed(call.await.unwrap()).kind(), WireKind::AttemptTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_whatever_it_waits_for() {
    let within = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
    let (caller, mut incoming) = single();
    // For a connection.
    let call = start(&caller, Request { deadline: within(1), ..get() });
    let begin = Instant::now();
    let error = failed(call.await.unwrap());
    assert_eq!((error.kind(), error.sent(), begin.elapsed().as_secs()), (WireKind::Deadline, Sent::No, 1));
    // For an answer.
    let mut peer = Peer::greet(incoming.next().await).await;
    let begin = Instant::now();
    let call = start(&caller, Request { deadline: within(7), ..get() });
    peer.request().await;
    assert_eq!((failed(call.await.unwrap()).kind(), begin.elapsed().as_secs()), (WireKind::Deadline, 7));
    // For a body.
    let begin = Instant::now();
    let call = start(&caller, Request { deadline: within(9), ..get() });
    let stream = peer.request().await;
    peer.head(stream, 200, &[]).await;
    let mut reply = call.await.unwrap().expect("the head came").reply;
    let error = reply.body.data().await.expect("it does not end").expect_err("nothing came");
    assert_eq!((error.kind(), begin.elapsed().as_secs()), (WireKind::Deadline, 9));
    // For the next attempt: it would come too late, so the first failure is told at once.
    let begin = Instant::now();
    let call = start(&caller, Request { deadline: within(9), ..get() });
    let stream = peer.request().await;
    peer.head(stream, 503, &[("retry-after", "10")]).await;
    peer.send(DATA, END_STREAM, stream, b"").await;
    assert!(matches!(call.await.unwrap().expect_err("it is refused").cause, Cause::Fault(_)));
    assert_eq!(begin.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up_and_one_that_moves_slowly_is_not() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 200, &[]).await;
    let mut reply = call.await.unwrap().expect("the head came").reply;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(19)).await;
        peer.send(DATA, 0, stream, b"x").await;
        assert_eq!(reply.body.data().await.expect("it goes on").expect("it is there"), "x");
    }
    let begin = Instant::now();
    let reader = tokio::spawn(async move { reply.body.data().await });
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
    assert_eq!(begin.elapsed().as_secs(), 20);
    let error = reader.await.unwrap().expect("it does not end").expect_err("nothing came");
    assert_eq!(error.kind(), WireKind::Stalled);
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_peer_does_not_take_is_given_up_and_a_slow_one_is_not() {
    let (caller, mut incoming) = single();
    let call = start(&caller, once(put(vec![0; 200_000])));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(19)).await;
        peer.open_window(stream, 1_000).await;
        peer.open_window(0, 1_000).await;
    }
    let begin = Instant::now();
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
    assert_eq!(begin.elapsed().as_secs(), 20);
    assert_eq!(failed(call.await.unwrap()).kind(), WireKind::Stalled);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_asked_for_a_sign_of_life_and_replaced_without_one() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
    let begin = Instant::now();
    // `next` does not answer the ping that it is asked for.
    peer.next(PING).await;
    assert!((20..=40).contains(&begin.elapsed().as_secs()));
    while peer.any().await.is_some() {}
    assert!((40..=60).contains(&begin.elapsed().as_secs()));
    let call = start(&caller, Request { idempotency: Idempotency::Never, ..get() });
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
    assert_eq!(caller.in_flight().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_pings_lives_on() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(600) {
        let ping = peer.next(PING).await;
        peer.send(PING, ACK, 0, &ping.payload).await;
    }
    assert_eq!(caller.in_flight().connections, 1);
    assert!(!incoming.has_next());
}
