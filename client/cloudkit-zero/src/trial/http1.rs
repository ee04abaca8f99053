//! A peer that speaks HTTP/1 only: found out once, remembered, and spoken to over connections that are kept.

use super::*;
use crate::body::{Body, stream_of};
use crate::call::Cause;
use crate::chunked::data_of;
use crate::error::WireKind;
use crate::retry::Idempotency;

/// The far end of a connection of HTTP/1.
struct Text {
    io: DuplexStream,
    pending: Vec<u8>,
}

impl Text {
    async fn next(incoming: &mut Incoming) -> Text {
        Text { io: incoming.next().await, pending: Vec::new() }
    }

    /// A head, up to its empty line; None when the client hung up.
    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.pending.drain(..end + 4).collect();
                return Some(String::from_utf8(head).expect("heads are text").to_lowercase());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 4096];
        match in_time(self.io.read(&mut piece)).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.pending.extend_from_slice(&piece[..count]);
                Some(())
            }
        }
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.pending.len() < length {
            self.more().await.expect("the client sends on");
        }
        self.pending.drain(..length).collect()
    }

    async fn say(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.expect("the client reads");
    }
}

/// What a server of HTTP/1 makes of the preface of HTTP/2.
async fn refuse_preface(incoming: &mut Incoming) {
    let mut text = Text::next(incoming).await;
    assert!(text.head().await.expect("the client begins").starts_with("pri * http/2.0"));
    text.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
}

fn length_of(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.expect("it says its length").parse().expect("it is a number")
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_in_text_is_remembered_and_its_connection_kept() {
    let (caller, mut incoming) = client(settings());
    let mut first = Some(start(&caller, put("hello")));
    refuse_preface(&mut incoming).await;
    let mut text = Text::next(&mut incoming).await;
    for _ in 0..3 {
        let call = first.take().unwrap_or_else(|| start(&caller, put("hello")));
        let head = text.head().await.expect("it is kept");
        assert!(
            head.starts_with("put /bucket/key http/1.1\r\n") && head.contains("\r\nhost: peer.test\r\n"),
            "{head}"
        );
        assert!(head.contains("signedheaders=host;"), "{head}");
        assert_eq!(text.body(length_of(&head)).await, b"hello");
        text.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").await;
        assert_eq!(body_of(call.await.unwrap()).await, "yes");
    }
    settle().await;
    assert!(!incoming.has_next(), "no other connection was made");
    assert_eq!((caller.in_flight().http1, caller.in_flight().http1_idle), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_ended_is_replaced_without_a_failure() {
    let (caller, mut incoming) = client(settings());
    let mut first = Some(start(&caller, get()));
    refuse_preface(&mut incoming).await;
    for _ in 0..3 {
        let call = first
            .take()
            .unwrap_or_else(|| start(&caller, Request { idempotency: Idempotency::Never, ..get() }));
        let mut text = Text::next(&mut incoming).await;
        text.head().await.expect("there is a request");
        text.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(call.await.unwrap().is_ok());
        drop(text);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_have_a_connection_each_and_a_dropped_one_closes_its_own() {
    let (caller, mut incoming) = client(settings());
    let waiting = start(&caller, get());
    refuse_preface(&mut incoming).await;
    let mut one = Text::next(&mut incoming).await;
    one.head().await.expect("there is a request");
    let call = start(&caller, get());
    let mut two = Text::next(&mut incoming).await;
    two.head().await.expect("the waiting one does not hold it up");
    two.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(body_of(call.await.unwrap()).await, "abc");
    assert_eq!(caller.in_flight().http1, 1);
    waiting.abort();
    assert!(one.head().await.is_none(), "the client hangs up");
    settle().await;
    assert_eq!((caller.in_flight().http1, caller.in_flight().http1_idle), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_an_error() {
    let (caller, mut incoming) = client(settings());
    let call = start(&caller, get());
    refuse_preface(&mut incoming).await;
    let mut text = Text::next(&mut incoming).await;
    text.head().await.expect("there is a request");
    text.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    drop(text);
    let mut reply = call.await.unwrap().expect("the head is there").reply;
    assert_eq!(reply.body.collect(100).await.expect_err("it is cut").kind(), WireKind::Closed);
    assert_eq!((caller.in_flight().http1, caller.in_flight().http1_idle), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn streams_go_out_in_chunks_of_aws_within_a_known_length() {
    let (caller, mut incoming) = client(settings());
    let body = Body::Stream(stream_of(vec![Ok(Bytes::from(vec![5; 70_000]))], Some(70_000)));
    let call = start(&caller, Request { body, ..put("") });
    refuse_preface(&mut incoming).await;
    let mut text = Text::next(&mut incoming).await;
    let head = text.head().await.expect("there is a request");
    assert!(head.contains("\r\nx-amz-decoded-content-length: 70000\r\n"), "{head}");
    let framed = text.body(length_of(&head)).await;
    assert!(data_of(&framed).expect("it is well framed").0 == vec![5; 70_000]);
    text.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up() {
    let (caller, mut incoming) = client(settings());
    let call = start(&caller, Request { idempotency: Idempotency::IfNotSent, ..get() });
    refuse_preface(&mut incoming).await;
    let mut text = Text::next(&mut incoming).await;
    text.head().await.expect("there is a request");
    assert!(text.head().await.is_none(), "the client hangs up");
    match call.await.unwrap().expect_err("nothing came").cause {
        Cause::Wire(error) => assert_eq!(error.kind(), WireKind::AttemptTimeout),
        Cause::Fault(fault) => panic!("{}", fault.code),
    }
    assert_eq!(caller.in_flight().http1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_twice_without_a_word_is_still_asked_for_frames() {
    let (caller, mut incoming) = client(settings());
    let call = start(&caller, get());
    for _ in 0..2 {
        drop(incoming.next().await);
    }
    let mut peer = incoming.framed().await;
    let stream = peer.request().await;
    peer.answer(stream, b"frames").await;
    assert_eq!(body_of(call.await.unwrap()).await, "frames");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_always_hangs_up_on_frames_is_spoken_to_in_text() {
    let (caller, mut incoming) = client(settings());
    let call = start(&caller, get());
    for _ in 0..3 {
        drop(incoming.next().await);
    }
    let mut text = Text::next(&mut incoming).await;
    assert!(text.head().await.expect("there is a request").starts_with("get /bucket/key"));
    text.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext").await;
    assert_eq!(body_of(call.await.unwrap()).await, "text");
}
