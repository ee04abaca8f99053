//! Calls: attempts and their waits, the budget, the peer's clock, checksums of answers.

use super::*;
use crate::call::Cause;
use crate::checksum::{Check, crc64nvme_of};
use crate::credentials::{KeySource, Lease, LeaseFuture};
use crate::error::WireKind;
use crate::retry::Idempotency;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::time::Instant;

/// Answers the next request with a status, headers and a body.
async fn refuse(peer: &mut Peer, status: u16, headers: &[(&str, &str)], body: &str) {
    let stream = peer.request().await;
    peer.head(stream, status, headers).await;
    peer.send(DATA, END_STREAM, stream, body.as_bytes()).await;
}

async fn accept(peer: &mut Peer) {
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed() {
    let (caller, mut incoming) = single();
    let call = start(&caller, Request { idempotency: Idempotency::IfNotSent, ..get() });
    let mut peer = incoming.framed().await;
    let begin = Instant::now();
    refuse(&mut peer, 503, &[("retry-after", "2")], "").await;
    // In ten seconds by the clock of the client.
    refuse(&mut peer, 429, &[("retry-after", "Tue, 14 Nov 2023 22:13:30 GMT")], "").await;
    accept(&mut peer).await;
    assert_eq!(call.await.unwrap().expect("it is answered").attempts, 3);
    assert_eq!(begin.elapsed().as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn three_attempts_are_three_and_the_last_refusal_is_told_whole() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    for _ in 0..3 {
        let body =
            "<Error><Code>InternalError</Code><Message>oops</Message><RequestId>R7</RequestId></Error>";
        refuse(&mut peer, 500, &[], body).await;
    }
    let error = call.await.unwrap().expect_err("it failed three times");
    assert_eq!(error.to_string(), "InternalError (500): oops [request R7, 3 attempts]");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_not_repeated_unless_it_may() {
    for (status, idempotency) in
        [(500, Idempotency::IfNotSent), (503, Idempotency::Never), (404, Idempotency::Always)]
    {
        let (caller, mut incoming) = single();
        let call = start(&caller, Request { idempotency, ..get() });
        let mut peer = incoming.framed().await;
        refuse(&mut peer, status, &[], "").await;
        assert_eq!(call.await.unwrap().expect_err("it is refused").attempts, 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_lets_the_first_failure_through() {
    let (caller, mut incoming) = single();
    let mut call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let mut attempts = 0;
    for _ in 0..60 {
        refuse(&mut peer, 500, &[], "").await;
        while !call.is_finished() {
            tokio::select! {
                () = refuse(&mut peer, 500, &[], "") => {}
                () = tokio::time::sleep(Duration::from_secs(100)) => {}
            }
        }
        attempts = call.await.unwrap().expect_err("it is refused").attempts;
        call = start(&caller, get());
    }
    // 500 tokens pay for 100 repetitions, which is two in each of 50 calls.
    assert_eq!(attempts, 1);
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn the_peers_clock_is_learned_and_the_request_signed_anew() {
    let (caller, mut incoming) = single();
    let call = start(&caller, Request { idempotency: Idempotency::Never, ..get() });
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 403, &[("date", "Tue, 14 Nov 2023 23:13:20 GMT")]).await;
    peer.send(DATA, END_STREAM, stream, b"<Error><Code>RequestTimeTooSkewed</Code></Error>").await;
    accept(&mut peer).await;
    assert_eq!(call.await.unwrap().expect("it is answered").attempts, 2);
    let url = caller
        .presign(
            Method::GET,
            "/b/k",
            crate::encode::Query::new(),
            &Default::default(),
            Duration::from_secs(60),
        )
        .await
        .expect("it is signed");
    assert!(url.contains("&X-Amz-Date=20231114T231320Z&"), "{url}");
    // A peer that is never content is believed once.
    let call = start(&caller, get());
    for _ in 0..2 {
        refuse(&mut peer, 403, &[], "<Error><Code>RequestTimeTooSkewed</Code></Error>").await;
    }
    assert_eq!(call.await.unwrap().expect_err("it is refused").attempts, 2);
}

/// Keys with another name each time.
struct Renewing(AtomicU32);

impl KeySource for Renewing {
    fn lease(&self) -> LeaseFuture<'_> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(
            async move { Ok(Lease { keys: Arc::new(Keys::new(format!("AK{number}"), "s")), expires: None }) },
        )
    }
}

#[tokio::test(start_paused = true)]
async fn expired_keys_are_replaced_and_the_request_sent_again() {
    let keys = Arc::new(Renewing(AtomicU32::new(0)));
    let (caller, mut incoming) = client(Settings { keys: keys.clone(), ..settings() });
    let call = start(&caller, Request { idempotency: Idempotency::Never, ..get() });
    let mut peer = incoming.framed().await;
    refuse(&mut peer, 400, &[], "<Error><Code>ExpiredToken</Code></Error>").await;
    accept(&mut peer).await;
    assert_eq!(call.await.unwrap().expect("it is answered").attempts, 2);
    assert_eq!(keys.0.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_with_another_checksum_is_an_error_at_its_end() {
    for (sum, is_good) in [(crc64nvme_of(b"whole body"), true), (crc64nvme_of(b"other body"), false)] {
        let (caller, mut incoming) = single();
        let call = start(&caller, get());
        let mut peer = incoming.framed().await;
        let stream = peer.request().await;
        peer.head(stream, 200, &[("x-amz-checksum-crc64nvme", &sum)]).await;
        peer.send(DATA, 0, stream, b"whole ").await;
        peer.send(DATA, END_STREAM, stream, b"body").await;
        let mut reply = call.await.unwrap().expect("the head is there").reply;
        let check = Check::from_headers(&reply.headers);
        reply.body.verify(check);
        let collected = reply.body.collect(100).await;
        assert_eq!(collected.is_ok(), is_good);
        if let Err(error) = collected {
            assert_eq!(error.kind(), WireKind::Checksum);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_beyond_its_bound_is_refused() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 200, &[]).await;
    for _ in 0..3 {
        peer.send(DATA, 0, stream, &[0; 100]).await;
    }
    let mut reply = call.await.unwrap().expect("the head is there").reply;
    assert_eq!(reply.body.collect(250).await.expect_err("it is too large").kind(), WireKind::Answer);
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_there_is_tried_as_often_as_any_other() {
    let (caller, incoming) = client(settings());
    drop(incoming);
    let error = start(&caller, get()).await.unwrap().expect_err("nobody is there");
    assert_eq!(error.attempts, 3);
    assert!(matches!(error.cause, Cause::Wire(error) if error.kind() == WireKind::Connect));
}
