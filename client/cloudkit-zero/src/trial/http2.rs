//! Streams that are refused, reset, dropped, left out by a GOAWAY, or that stand still beside others.

use super::*;
use crate::body::{Body, stream_of};
use crate::call::Cause;
use crate::chunked::data_of;
use crate::error::{WireError, WireKind};
use crate::retry::Idempotency;
use std::io;

fn wire_error(result: Result<Answered, CallError>) -> (WireError, u32) {
    match result.expect_err("it fails") {
        CallError { attempts, cause: Cause::Wire(error) } => (error, attempts),
        other => panic!("the wire did not fail: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_and_leaves_nothing_behind() {
    let (caller, mut incoming) = single();
    let call = start(&caller, put("body"));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    assert_eq!(caller.in_flight().streams, 1);
    let data = peer.next(DATA).await;
    assert_eq!(
        (data.stream, data.flags & END_STREAM, data.payload.as_slice()),
        (stream, END_STREAM, &b"body"[..])
    );
    peer.answer(stream, b"fine").await;
    assert_eq!(body_of(call.await.unwrap()).await, "fine");
    let in_flight = caller.in_flight();
    assert_eq!((in_flight.connections, in_flight.streams, in_flight.bytes), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_sent_again_whatever_it_is() {
    let (caller, mut incoming) = single();
    let call = start(&caller, Request { idempotency: Idempotency::Never, ..put("x") });
    let mut peer = incoming.framed().await;
    for _ in 0..3 {
        let stream = peer.request().await;
        peer.reset(stream, REFUSED_STREAM).await;
    }
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    assert_eq!(call.await.unwrap().expect("it is answered").attempts, 4);
    assert_eq!(caller.in_flight().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reset_stream_is_repeated_only_if_that_changes_nothing() {
    for (idempotency, requests) in
        [(Idempotency::Never, 1), (Idempotency::IfNotSent, 1), (Idempotency::Always, 3)]
    {
        let (caller, mut incoming) = single();
        let call = start(&caller, Request { idempotency, ..put("x") });
        let mut peer = incoming.framed().await;
        for _ in 0..requests {
            let stream = peer.request().await;
            peer.reset(stream, CANCEL).await;
        }
        let (error, attempts) = wire_error(call.await.unwrap());
        assert_eq!((error.kind(), attempts), (WireKind::Reset, requests), "{idempotency:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_goaway_lets_running_streams_finish_and_moves_the_others() {
    let (caller, mut incoming) = single();
    let first = start(&caller, get());
    let mut old = incoming.framed().await;
    let one = old.request().await;
    let second = start(&caller, Request { idempotency: Idempotency::Never, ..get() });
    old.request().await;
    old.go_away(one, NO_ERROR).await;
    // The second is on a new connection before the first is answered on the old one.
    let mut new = incoming.framed().await;
    let moved = new.request().await;
    new.answer(moved, b"second").await;
    assert_eq!(body_of(second.await.unwrap()).await, "second");
    old.answer(one, b"first").await;
    assert_eq!(body_of(first.await.unwrap()).await, "first");
    let third = start(&caller, get());
    let stream = new.request().await;
    new.answer(stream, b"third").await;
    assert_eq!(body_of(third.await.unwrap()).await, "third");
    settle().await;
    let in_flight = caller.in_flight();
    assert_eq!((in_flight.connections, in_flight.streams, in_flight.bytes), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_while_idle_is_replaced_without_a_failure() {
    let (caller, mut incoming) = single();
    for round in 0..3 {
        let call = start(&caller, Request { idempotency: Idempotency::Never, ..get() });
        let mut peer = incoming.framed().await;
        let stream = peer.request().await;
        peer.answer(stream, b"").await;
        assert!(call.await.unwrap().is_ok(), "round {round}");
        drop(peer);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_under_a_request_fails_it_unless_it_may_be_repeated() {
    let (caller, mut incoming) = single();
    let call = start(&caller, Request { idempotency: Idempotency::IfNotSent, ..get() });
    let mut peer = incoming.framed().await;
    peer.request().await;
    drop(peer);
    assert_eq!(wire_error(call.await.unwrap()).0.kind(), WireKind::Closed);
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    peer.request().await;
    drop(peer);
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"again").await;
    assert_eq!(body_of(call.await.unwrap()).await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_resets_its_stream_and_gives_its_place_back() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    call.abort();
    let reset = peer.next(RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
    settle().await;
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_its_body_waits_resets_its_stream() {
    let (caller, mut incoming) = single();
    let call = start(&caller, put(vec![1; 1_000_000]));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    // The peer's window is full now.
    settle().await;
    assert!(caller.in_flight().bytes >= 1_000_000);
    call.abort();
    let reset = peer.next(RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
    settle().await;
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_body_resets_its_stream_and_gives_its_place_back() {
    let (caller, mut incoming) = single();
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 200, &[("content-length", "100")]).await;
    peer.send(DATA, 0, stream, b"some").await;
    let mut answered = call.await.unwrap().expect("it is answered");
    assert_eq!(answered.reply.body.data().await.unwrap().unwrap(), "some");
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (1, 100));
    drop(answered);
    let reset = peer.next(RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_whole_is_an_error() {
    let (caller, mut incoming) = single();
    let calls: Vec<_> = (0..2).map(|_| start(&caller, get())).collect();
    let mut peer = incoming.framed().await;
    for how in 0..2 {
        let stream = peer.request().await;
        peer.head(stream, 200, &[("content-length", "10")]).await;
        peer.send(DATA, 0, stream, b"12345").await;
        if how == 0 {
            peer.reset(stream, CANCEL).await;
        } else {
            peer.send(DATA, END_STREAM, stream, b"678").await;
        }
    }
    for call in calls {
        let mut reply = call.await.unwrap().expect("the head is there").reply;
        assert!(reply.body.collect(100).await.is_err());
        assert!(reply.body.data().await.is_none(), "nothing follows an error");
    }
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_early_refusal_ends_the_upload_and_is_told() {
    let (caller, mut incoming) = single();
    let call = start(&caller, put(vec![1; 1_000_000]));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.head(stream, 403, &[]).await;
    peer.send(DATA, END_STREAM, stream, b"<Error><Code>AccessDenied</Code></Error>").await;
    peer.reset(stream, NO_ERROR).await;
    match call.await.unwrap().expect_err("it is refused").cause {
        Cause::Fault(fault) => assert_eq!(fault.code, "AccessDenied"),
        Cause::Wire(error) => panic!("{error}"),
    }
    settle().await;
    assert_eq!((caller.in_flight().streams, caller.in_flight().bytes), (0, 0));
}

/// Reads a body of a request to its end and gives room for more.
async fn take_body(peer: &mut Peer, stream: u32) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let data = peer.next(DATA).await;
        assert_eq!(data.stream, stream);
        all.extend_from_slice(&data.payload);
        if data.flags & END_STREAM != 0 {
            return all;
        }
        if !data.payload.is_empty() {
            peer.open_window(stream, data.payload.len() as u32).await;
            peer.open_window(0, data.payload.len() as u32).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_arrive_as_they_were() {
    let (caller, mut incoming) = single();
    let body: Vec<u8> = (0..3_000_000_u32).map(|index| (index * 7 % 253) as u8).collect();
    let call = start(&caller, put(body.clone()));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    assert!(take_body(&mut peer, stream).await == body);
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
}

fn streamed(pieces: Vec<io::Result<Bytes>>, length: Option<u64>) -> Request {
    Request { body: Body::Stream(stream_of(pieces, length)), ..put("") }
}

#[tokio::test(start_paused = true)]
async fn a_stream_arrives_in_chunks_with_its_checksum() {
    let (caller, mut incoming) = single();
    let pieces = (0..100).map(|index| Ok(Bytes::from(vec![index; 5_000]))).collect();
    let call = start(&caller, streamed(pieces, Some(500_000)));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    let framed = take_body(&mut peer, stream).await;
    let (data, trailer) = data_of(&framed).expect("it is well framed");
    let expected: Vec<u8> = (0..100).flat_map(|index| vec![index; 5_000]).collect();
    assert!(data == expected);
    // peer.test is no loopback, so the chunks are signed.
    assert!(
        trailer.contains("x-amz-checksum-crc64nvme:") && trailer.contains("x-amz-trailer-signature:"),
        "{trailer}"
    );
    peer.answer(stream, b"").await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_resets_the_request_and_is_told() {
    let (caller, mut incoming) = single();
    let pieces = vec![Ok(Bytes::from(vec![0; 200_000])), Err(io::Error::other("the disk is gone"))];
    let call = start(&caller, streamed(pieces, None));
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    for window in [0, stream] {
        peer.open_window(window, 1_000_000).await;
    }
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
    let (error, attempts) = wire_error(call.await.unwrap());
    assert_eq!((error.kind(), attempts), (WireKind::Body, 1));
    assert!(error.message().contains("the disk is gone"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_again_before_its_first_byte_and_never_after_it() {
    let (caller, mut incoming) = single();
    // The first attempt meets a connection that takes nothing any more, before a byte of the stream was asked for.
    let call = start(&caller, get());
    let mut peer = incoming.framed().await;
    let one = peer.request().await;
    peer.go_away(one, NO_ERROR).await;
    settle().await;
    let upload = start(&caller, streamed(vec![Ok(Bytes::from_static(b"abc"))], Some(3)));
    let mut next = incoming.framed().await;
    let stream = next.request().await;
    let framed = take_body(&mut next, stream).await;
    assert_eq!(data_of(&framed).expect("it is well framed").0, b"abc");
    // Its bytes are gone now.
    next.reset(stream, REFUSED_STREAM).await;
    let (error, attempts) = wire_error(upload.await.unwrap());
    assert_eq!((error.kind(), attempts), (WireKind::NotProcessed, 2));
    peer.answer(one, b"").await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn bodies_that_nobody_reads_hold_up_no_other_stream() {
    const UNREAD: usize = 40;
    let (caller, mut incoming) = single();
    let calls: Vec<_> = (0..=UNREAD).map(|_| start(&caller, get())).collect();
    let io = incoming.next().await;
    // A peer that fills every window that it is given.
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(io).await.expect("the client greets");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut out =
                respond.send_response(http_types::Response::new(()), false).expect("the stream is open");
            out.send_data(Bytes::from(vec![0; 1024 * 1024]), true).expect("the stream is open");
        }
    });
    let mut held = Vec::new();
    for call in calls {
        held.push(call.await.unwrap().expect("the head comes"));
    }
    settle().await;
    let mut last = held.pop().expect("there are many");
    assert_eq!(last.reply.body.collect(usize::MAX).await.expect("it is whole").len(), 1024 * 1024);
    assert_eq!(caller.in_flight().streams, UNREAD);
    drop(held);
    assert_eq!(caller.in_flight().streams, 0);
}
