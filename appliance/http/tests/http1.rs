//! HTTP/1 on real sockets: what is answered, in what order, and whether the connection outlives it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::time::Duration;

use common::{PATIENCE, Raw, SHORT, on_reactor, patient_limits, start};
use http::Limits;
use tokio::io::AsyncWriteExt as _;

const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_request_is_answered_and_the_connection_kept() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        for _ in 0..3 {
            raw.send("GET /a%2Fb?q= HTTP/1.1\r\nHost: h:1\r\n\r\n").await;
            let response = raw.response().await;
            assert_eq!((response.status, response.body.as_slice()), (200, &b"GET /a%2Fb?q= h:1 false"[..]));
            assert!(response.field("date").unwrap().ends_with("GMT"));
            assert_eq!(response.field("connection"), None);
        }
    });
}

#[test]
fn a_head_in_single_bytes_is_the_same_head() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        for byte in
            "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .bytes()
        {
            raw.send([byte]).await;
            ring::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(raw.response().await.body, b"abc");
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        let mut script = String::from("GET /slow?30 HTTP/1.1\r\nHost: h\r\n\r\n");
        script += "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        script += "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nde\r\n0\r\nT: v\r\n\r\n";
        script += GET;
        raw.send(script).await;
        for expected in ["slow", "abc", "de", "GET /x h false"] {
            assert_eq!(String::from_utf8(raw.response().await.body).unwrap(), expected);
        }
    });
}

#[test]
fn nothing_after_a_refused_message_is_served() {
    for bad in [
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n",
    ] {
        on_reactor(async {
            let server = start(patient_limits());
            let mut raw = Raw::connect(server.address).await;
            raw.send(format!("{bad}{GET}")).await;
            let response = raw.response().await;
            assert_eq!((response.status, response.closes()), (400, true), "{bad:?}");
            raw.assert_closed().await;
            assert_eq!(server.seen.requests.get(), 0, "{bad:?}");
        });
    }
}

#[test]
fn broken_chunks_end_the_connection() {
    for bad in [
        "5\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "-1\r\n",
        "3 \r\nabc\r\n",
    ] {
        on_reactor(async {
            let server = start(patient_limits());
            let mut raw = Raw::connect(server.address).await;
            raw.send(format!(
                "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{bad}{GET}"
            ))
            .await;
            let response = raw.response().await;
            assert_eq!((response.status, response.closes()), (400, true), "{bad:?}");
            raw.assert_closed().await;
            assert_eq!((server.seen.requests.get(), server.seen.body_errors.get()), (1, 1));
        });
    }
}

#[test]
fn each_bound_of_the_head_has_its_status() {
    let line = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(20_000));
    let field = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    let count = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (request, status) in [
        (line.as_str(), 414),
        (field.as_str(), 431),
        (count.as_str(), 431),
        ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417),
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    ] {
        on_reactor(async {
            let server = start(patient_limits());
            let mut raw = Raw::connect(server.address).await;
            raw.send(request).await;
            let response = raw.response().await;
            assert_eq!((response.status, response.closes()), (status, true));
            raw.assert_closed().await;
        });
    }
}

#[test]
fn a_large_head_within_bounds_is_served() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        let field = "a".repeat(12_000);
        let path = "p".repeat(15_000);
        raw.send(format!("GET /{path} HTTP/1.1\r\nHost: h\r\nX: {field}\r\n\r\n{GET}")).await;
        assert_eq!(raw.response().await.body.len(), 15_000 + "GET / h false".len());
        assert_eq!(raw.response().await.status, 200);
    });
}

#[test]
fn a_slow_head_gets_408_and_an_idle_connection_nothing() {
    on_reactor(async {
        let server = start(Limits { head_time: SHORT, ..patient_limits() });
        let mut slow = Raw::connect(server.address).await;
        slow.send("GET / HT").await;
        let response = slow.response().await;
        assert_eq!((response.status, response.closes()), (408, true));
        slow.assert_closed().await;
        let server = start(Limits { first_byte: SHORT, ..patient_limits() });
        Raw::connect(server.address).await.assert_closed().await;
        let server = start(Limits { idle: SHORT, ..patient_limits() });
        let mut idle = Raw::connect(server.address).await;
        idle.send(GET).await;
        assert_eq!(idle.response().await.status, 200);
        idle.assert_closed().await;
    });
}

#[test]
fn a_client_that_stood_still_with_the_core_is_not_late() {
    for (limits, first) in [
        (Limits { first_byte: SHORT, ..patient_limits() }, ""),
        (Limits { head_time: SHORT, ..patient_limits() }, &GET[..5]),
    ] {
        let limits = Limits { timer_resolution: SHORT, ..limits };
        // A machine that stalls at other moments too may make it late all the same.
        let is_served = (0..10).any(|_| on_reactor(serves_behind_a_standstill(limits.clone(), first)));
        assert!(is_served, "{first:?}");
    }
}

/// Whether a request is answered whose `first` bytes came before the core stood still for longer than they have time, and the rest
/// right behind that.
async fn serves_behind_a_standstill(limits: Limits, first: &str) -> bool {
    let server = start(limits);
    let mut raw = Raw::connect(server.address).await;
    raw.send(first).await;
    while server.server.connection_count() == 0 {
        ring::yield_now().await;
    }
    ring::sleep(SHORT / 10).await;
    std::thread::sleep(4 * SHORT);
    // Time enough to look at deadlines.
    ring::sleep(Duration::from_millis(1)).await;
    let rest = &GET.as_bytes()[first.len()..];
    raw.stream.write_all(rest).await.is_ok()
        && raw.stream.flush().await.is_ok()
        && raw.more().await
        && raw.received.starts_with(b"HTTP/1.1 200")
}

#[test]
fn a_dribbled_head_does_not_extend_its_time() {
    on_reactor(async {
        let server = start(Limits { head_time: SHORT, ..patient_limits() });
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET / HTTP/1.1\r\n").await;
        let mut writer = Raw { stream: raw.stream, received: Vec::new() };
        // Each byte comes well within the limit; all together would take ten times that.
        for _ in 0..500 {
            if ring::timeout(Duration::from_millis(20), writer.more()).await.is_ok() {
                break;
            }
            if writer.stream.write_all(b"X").await.is_err() {
                break;
            }
        }
        assert!(writer.received.starts_with(b"HTTP/1.1 408"));
    });
}

#[test]
fn a_slow_body_times_out_for_the_handler() {
    on_reactor(async {
        let server = start(Limits { body_idle: SHORT, ..patient_limits() });
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await;
        let response = raw.response().await;
        assert_eq!((response.status, response.closes()), (408, true));
        raw.assert_closed().await;
    });
}

#[test]
fn a_body_below_the_minimum_rate_times_out() {
    on_reactor(async {
        let limits = Limits { rate_grace: SHORT, ..patient_limits() };
        let server = start(limits);
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n").await;
        let mut sent = 0;
        while sent < 1000 && ring::timeout(Duration::from_millis(50), raw.more()).await.is_err() {
            raw.send("a").await;
            sent += 1;
        }
        assert_eq!(raw.response().await.status, 408);
        assert!(sent < 100);
    });
}

#[test]
fn continue_is_sent_when_the_handler_reads_and_not_before() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await;
        assert_eq!(raw.head().await, (100, "HTTP/1.1 100 Continue\r\n\r\n".to_owned()));
        raw.send("abc").await;
        assert_eq!(raw.response().await.body, b"abc");
        // A client that does not wait is served as well.
        raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\ndef")
            .await;
        assert_eq!(raw.head().await.0, 100);
        assert_eq!(raw.response().await.body, b"def");
    });
}

#[test]
fn an_early_answer_to_a_waiting_client_closes() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        // Whether the next bytes are the body or a request cannot be known, so they must be neither.
        let head = "POST /refuse HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 29\r\n\r\n";
        raw.send(format!("{head}{GET}")).await;
        let response = raw.response().await;
        assert_eq!((response.status, response.closes()), (403, true));
        raw.assert_closed().await;
        assert_eq!(server.seen.requests.get(), 1);
    });
}

#[test]
fn http10_gets_no_continue_and_no_chunks() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        let response = raw.response().await;
        assert_eq!((response.status, response.field("connection")), (200, Some("keep-alive")));
        raw.send("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        let (_, head) = raw.head().await;
        assert!(!head.contains("transfer-encoding") && head.contains("connection: close"));
        assert_eq!(raw.rest().await, "onetwothree");
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET /x HTTP/1.0\r\n\r\n").await;
        assert!(raw.response().await.closes());
        raw.assert_closed().await;
    });
}

#[test]
fn a_small_unread_body_is_drained_and_the_next_request_served() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        let body = "b".repeat(100_000);
        let head = "POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
        raw.send(format!("{head}{body}{GET}")).await;
        let response = raw.response().await;
        assert_eq!((response.status, response.closes()), (403, false));
        assert_eq!(raw.response().await.body, b"GET /x h false");
        let chunked =
            "POST /refuse HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        raw.send(format!("{chunked}{GET}")).await;
        assert_eq!(raw.response().await.status, 403);
        assert_eq!(raw.response().await.body, b"GET /x h false");
    });
}

#[test]
fn a_large_unread_body_closes_and_the_answer_survives() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").await;
        // More than fits both socket buffers would block; the server discards some and then closes.
        raw.send("b".repeat(200_000)).await;
        let response = raw.response().await;
        assert_eq!((response.status, response.closes()), (403, true));
        assert_eq!(raw.rest().await, "");
    });
}

#[test]
fn an_unread_body_that_never_comes_does_not_hold_the_connection() {
    on_reactor(async {
        let server = start(Limits { drain_time: SHORT, ..patient_limits() });
        let mut raw = Raw::connect(server.address).await;
        raw.send("POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n").await;
        assert_eq!(raw.response().await.status, 403);
        raw.assert_closed().await;
    });
}

#[test]
fn answers_without_body_keep_the_framing() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        for (request, length) in [
            ("HEAD /length", Some("1234")),
            ("HEAD /x", Some("15")),
            ("HEAD /big?70000", Some("70000")),
            ("HEAD /chunks", None),
            ("GET /304", Some("1234")),
            ("GET /204", None),
        ] {
            raw.send(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            let (_, head) = raw.head().await;
            let response = common::RawResponse { status: 0, head, body: Vec::new() };
            assert_eq!(response.field("content-length"), length, "{request}");
            assert_eq!(response.field("transfer-encoding"), None, "{request}");
        }
        raw.send(GET).await;
        assert_eq!(raw.response().await.body, b"GET /x h false");
    });
}

#[test]
fn streamed_answers_are_chunked_and_empty_pieces_do_not_end_them() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET /chunks HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        let (_, head) = raw.head().await;
        assert!(head.contains("transfer-encoding: chunked") && head.contains("connection: close"));
        assert_eq!(raw.rest().await, "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    });
}

#[test]
fn an_aborted_answer_is_seen_to_be_short() {
    for (path, expected) in [("/abort", "4\r\npart\r\n"), ("/abort?10", "part"), ("/short", "part")] {
        on_reactor(async {
            let server = start(patient_limits());
            let mut raw = Raw::connect(server.address).await;
            raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            assert_eq!(raw.head().await.0, 200);
            assert_eq!(raw.rest().await, expected);
        });
    }
}

#[test]
fn a_dropped_responder_is_a_500_and_a_detached_one_is_waited_for() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        raw.send(format!("GET /detach HTTP/1.1\r\nHost: h\r\n\r\n{GET}")).await;
        assert_eq!(raw.response().await.body, b"detached");
        assert_eq!(raw.response().await.status, 200);
        raw.send("GET /drop HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let response = raw.response().await;
        assert_eq!((response.status, response.closes()), (500, true));
        raw.assert_closed().await;
    });
}

#[test]
fn the_handler_and_the_request_count_can_close() {
    on_reactor(async {
        let server = start(Limits { requests_per_connection: 2, ..patient_limits() });
        let mut raw = Raw::connect(server.address).await;
        raw.send(format!("{GET}{GET}{GET}")).await;
        assert!(!raw.response().await.closes());
        assert!(raw.response().await.closes());
        raw.assert_closed().await;
        let mut raw = Raw::connect(server.address).await;
        raw.send(format!("GET /close HTTP/1.1\r\nHost: h\r\n\r\n{GET}")).await;
        assert!(raw.response().await.closes());
        raw.assert_closed().await;
    });
}

#[test]
fn large_bodies_go_both_ways_through_bounded_buffers() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        let body = vec![b'z'; 5_000_000];
        raw.send(format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len())).await;
        raw.send(&body).await;
        assert!(raw.response().await.body == body);
        raw.send("GET /big?9000000 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.response().await.body.len(), 9_000_000);
    });
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    on_reactor(async {
        let server = start(Limits { write_stall: SHORT, drain_time: SHORT, ..patient_limits() });
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET /big?100000000 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        while server.seen.finished.get() == 0 {
            ring::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(server.seen.send_errors.get(), 1);
        while server.server.connection_count() > 0 {
            ring::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn a_handler_outlives_its_client() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        raw.send("GET /slow?100 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut half = Raw::connect(server.address).await;
        half.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await;
        let mut waiting = Raw::connect(server.address).await;
        waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
        while server.seen.requests.get() < 3 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        drop((raw, half, waiting));
        while server.seen.finished.get() < 3 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((server.seen.body_errors.get(), server.seen.gone.get()), (1, 1));
    });
}

#[test]
fn a_drain_finishes_what_runs_and_closes_what_is_idle() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut idle = Raw::connect(server.address).await;
        idle.send(GET).await;
        idle.response().await;
        let mut fresh = Raw::connect(server.address).await;
        let mut busy = Raw::connect(server.address).await;
        busy.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n").await;
        while server.seen.requests.get() < 2 || server.server.connection_count() < 3 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        server.shutdown.begin(PATIENCE);
        idle.assert_closed().await;
        fresh.assert_closed().await;
        server.seen.released.set(true);
        let response = busy.response().await;
        assert_eq!((response.body.as_slice(), response.closes()), (&b"held"[..], true));
        drop(busy);
        assert_eq!(server.ended.await, 0);
        while ring::TcpStream::connect(server.address).await.is_ok() {
            ring::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn where_somebody_takes_over_idle_connections_may_still_bring_a_request() {
    on_reactor(async {
        let server = start(Limits { drain_idle: PATIENCE, ..patient_limits() });
        let mut idle = Raw::connect(server.address).await;
        idle.send(GET).await;
        idle.response().await;
        let mut fresh = Raw::connect(server.address).await;
        while server.server.connection_count() < 2 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        server.shutdown.begin(PATIENCE);
        while ring::TcpStream::connect(server.address).await.is_ok() {
            ring::sleep(Duration::from_millis(1)).await;
        }
        for client in [&mut idle, &mut fresh] {
            client.send(GET).await;
            let response = client.response().await;
            assert_eq!((response.status, response.closes()), (200, true));
            client.assert_closed().await;
        }
        drop((idle, fresh));
        assert_eq!(server.ended.await, 0);
    });
}

#[test]
fn idle_connections_that_bring_nothing_are_closed_in_a_drain_all_the_same() {
    on_reactor(async {
        let server = start(Limits { drain_idle: SHORT, ..patient_limits() });
        let mut idle = Raw::connect(server.address).await;
        idle.send(GET).await;
        idle.response().await;
        let mut fresh = Raw::connect(server.address).await;
        while server.server.connection_count() < 2 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        server.shutdown.begin(PATIENCE);
        idle.assert_closed().await;
        fresh.assert_closed().await;
        assert_eq!(server.ended.await, 0);
    });
}

#[test]
fn a_drain_ends_at_its_deadline() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut busy = Raw::connect(server.address).await;
        busy.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n").await;
        while server.seen.requests.get() == 0 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        server.shutdown.begin(Duration::from_millis(50));
        assert_eq!(server.ended.await, 1);
    });
}

#[test]
fn connections_over_the_bound_wait_for_a_place() {
    on_reactor(async {
        let server = start(Limits { connections_per_core: 1, ..patient_limits() });
        let mut first = Raw::connect(server.address).await;
        first.send(GET).await;
        assert_eq!(first.response().await.status, 200);
        let mut second = Raw::connect(server.address).await;
        second.send(GET).await;
        assert!(ring::timeout(Duration::from_millis(100), second.more()).await.is_err());
        drop(first);
        assert_eq!(second.response().await.status, 200);
    });
}

#[test]
fn new_limits_let_waiting_connections_in_and_count_for_later_heads() {
    on_reactor(async {
        let server = start(Limits { connections_per_core: 1, ..patient_limits() });
        let mut first = Raw::connect(server.address).await;
        first.send(GET).await;
        assert_eq!(first.response().await.status, 200);
        let mut second = Raw::connect(server.address).await;
        second.send(GET).await;
        assert!(ring::timeout(Duration::from_millis(100), second.more()).await.is_err());
        server.server.set_limits(Limits { head_bytes_max: 300, ..patient_limits() });
        assert_eq!(second.response().await.status, 200);
        assert_eq!(server.server.connection_count(), 2);
        let large = format!("GET / HTTP/1.1\r\nHost: h\r\nX-Large: {}\r\n\r\n", "a".repeat(300));
        second.send(&large).await;
        assert_eq!(second.response().await.status, 431);
        // A connection that began before keeps the limits that it began with.
        first.send(&large).await;
        assert_eq!(first.response().await.status, 200);
    });
}
