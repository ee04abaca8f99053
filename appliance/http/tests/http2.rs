//! HTTP/2 on real sockets: prior knowledge and ALPN, flow control, resets, floods, drains. The pooled client is the
//! other side, or the `h2` crate where the other side misbehaves.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, Raw, SHORT, on_reactor, patient_limits, start, start_with};
use h2::client::SendRequest;
use http::client::{Client, Protocol, RequestTo};
use http::{Limits, TlsAcceptor, TlsSettings};
use http_types::{HeaderMap, Method, Request, StatusCode};

fn to(method: Method, target: &str) -> RequestTo {
    RequestTo { method, target: target.to_owned(), authority: "h".to_owned(), headers: HeaderMap::new() }
}

fn get(target: &str) -> RequestTo {
    to(Method::GET, target)
}

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

#[test]
fn both_protocols_give_the_same_answers_on_one_port() {
    on_reactor(async {
        let server = start(patient_limits());
        let clients = BOTH.map(|protocol| Client::new(server.address, protocol));
        for (client, protocol) in clients.iter().zip(BOTH) {
            for _ in 0..2 {
                let (head, body) =
                    client.fetch(&get("/a%2F/../b?x=%20&y"), Bytes::new(), 1000).await.unwrap();
                assert_eq!(
                    (head.status, &body[..]),
                    (StatusCode::OK, &b"GET /a%2F/../b?x=%20&y h false"[..])
                );
                assert!(head.headers.contains_key("date"));
            }
            let (_, body) = client.fetch(&to(Method::POST, "/echo"), "abc".into(), 1000).await.unwrap();
            assert_eq!(&body[..], b"abc");
            let (_, body) = client.fetch(&get("/chunks"), Bytes::new(), 1000).await.unwrap();
            assert_eq!(&body[..], b"onetwothree");
            for (method, path, status, length) in [
                (Method::HEAD, "/length", 200, Some("1234")),
                (Method::HEAD, "/x", 200, Some("15")),
                (Method::HEAD, "/chunks", 200, None),
                (Method::HEAD, "/big?70000", 200, Some("70000")),
                (Method::GET, "/304", 304, Some("1234")),
                (Method::GET, "/204", 204, None),
                (Method::GET, "/big?0", 200, Some("0")),
            ] {
                let (head, body) = client.fetch(&to(method, path), Bytes::new(), 1000).await.unwrap();
                let got = head.headers.get("content-length").map(|value| value.to_str().unwrap());
                assert_eq!(
                    (head.status.as_u16(), got, body.len()),
                    (status, length, 0),
                    "{protocol:?} {path}"
                );
            }
        }
        // One connection each: both clients reused theirs.
        assert_eq!(server.server.connection_count(), 2);
    });
}

#[test]
fn large_bodies_flow_both_ways_at_once() {
    for protocol in BOTH {
        on_reactor(async {
            let server = start(patient_limits());
            let client = Client::new(server.address, protocol);
            let piece = Bytes::from(vec![b'p'; 100_000]);
            for length in [Some(10_000_000), None] {
                let call = client.start(&to(Method::PUT, "/pipe"), length).await.unwrap();
                let send = async {
                    for _ in 0..100 {
                        call.write(piece.clone()).await.unwrap();
                    }
                    call.finish().await.unwrap();
                };
                let receive = async {
                    assert_eq!(call.response().await.unwrap().status, StatusCode::OK);
                    let mut total = 0;
                    while let Some(piece) = call.next().await {
                        total += piece.unwrap().len();
                    }
                    total
                };
                let total = join(send, receive).await;
                assert_eq!(total, 10_000_000);
            }
            assert_eq!(server.server.connection_count(), 1, "{protocol:?}");
        });
    }
}

async fn join<T>(first: impl Future<Output = ()>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    let (mut done, mut result) = (false, None);
    poll_fn(|cx| {
        done = done || first.as_mut().poll(cx).is_ready();
        if result.is_none()
            && let Poll::Ready(value) = second.as_mut().poll(cx)
        {
            result = Some(value);
        }
        if done { result.take().map_or(Poll::Pending, Poll::Ready) } else { Poll::Pending }
    })
    .await
}

#[test]
fn many_streams_run_at_once() {
    on_reactor(async {
        let server = start(patient_limits());
        let client = Client::new(server.address, Protocol::Http2);
        client.fetch(&get("/x"), Bytes::new(), 100).await.unwrap();
        // Each answers once all are there, the one before included.
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let client = client.clone();
                ring::spawn(
                    async move { client.fetch(&get("/together?101"), Bytes::new(), 100).await.unwrap() },
                )
            })
            .collect();
        for task in tasks {
            assert_eq!(&task.await.1[..], b"together");
        }
        assert_eq!(server.server.connection_count(), 1);
    });
}

#[test]
fn an_unread_body_leaves_the_connection_usable() {
    on_reactor(async {
        let server = start(patient_limits());
        let client = Client::new(server.address, Protocol::Http2);
        for _ in 0..5 {
            // More than the stream's window and, over the rounds, more than the connection's.
            let body = Bytes::from(vec![b'u'; 3_000_000]);
            let (head, body) = client.fetch(&to(Method::PUT, "/refuse"), body, 100).await.unwrap();
            assert_eq!((head.status, &body[..]), (StatusCode::FORBIDDEN, &b"no"[..]));
        }
        assert_eq!(server.server.connection_count(), 1);
    });
}

#[test]
fn aborts_and_drops_are_seen_by_the_client() {
    for protocol in BOTH {
        on_reactor(async {
            let server = start(patient_limits());
            let client = Client::new(server.address, protocol);
            for path in ["/abort", "/abort?10", "/short"] {
                assert!(client.fetch(&get(path), Bytes::new(), 100).await.is_err(), "{protocol:?} {path}");
            }
            let (head, _) = client.fetch(&get("/drop"), Bytes::new(), 100).await.unwrap();
            assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
        });
    }
}

async fn connect(address: SocketAddr) -> (SendRequest<Bytes>, ring::Task<Result<(), h2::Error>>) {
    let stream = ring::TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (requests, connection) =
        builder.max_concurrent_reset_streams(10_000).handshake(stream).await.unwrap();
    (requests, ring::spawn(connection))
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(format!("http://h{path}")).body(()).unwrap()
}

#[test]
fn continue_is_sent_when_the_handler_reads() {
    on_reactor(async {
        let server = start(patient_limits());
        let (requests, _driver) = connect(server.address).await;
        for (path, interim) in [("/echo", true), ("/refuse", false)] {
            let mut head = request(path);
            *head.method_mut() = Method::PUT;
            head.headers_mut().insert("expect", "100-continue".parse().unwrap());
            let mut ready = requests.clone().ready().await.unwrap();
            let (mut response, mut send) = ready.send_request(head, false).unwrap();
            if interim {
                let got = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
                assert_eq!(got.status(), 100);
                send.send_data("abc".into(), true).unwrap();
            }
            assert_eq!(response.await.unwrap().status(), if interim { 200 } else { 403 });
        }
    });
}

#[test]
fn malformed_heads_are_refused_without_harm() {
    on_reactor(async {
        let server = start(patient_limits());
        let (requests, _driver) = connect(server.address).await;
        let mut long = request("/x");
        long.headers_mut().insert("x", "a".repeat(40_000).parse().unwrap());
        let mut host = request("/x");
        host.headers_mut().insert("host", "other".parse().unwrap());
        let mut expect = request("/x");
        expect.headers_mut().insert("expect", "tea".parse().unwrap());
        let mut many = request("/x");
        for index in 0..200 {
            many.headers_mut().insert(
                http_types::HeaderName::from_bytes(format!("x{index}").as_bytes()).unwrap(),
                "a".parse().unwrap(),
            );
        }
        let path = request(&format!("/{}", "p".repeat(20_000)));
        for (head, status) in
            [(long, 431), (host, 400), (expect, 417), (many, 431), (path, 414), (request("/x"), 200)]
        {
            let mut ready = requests.clone().ready().await.unwrap();
            let (response, _) = ready.send_request(head, true).unwrap();
            assert_eq!(response.await.unwrap().status(), status);
        }
        assert_eq!(server.seen.requests.get(), 1);
    });
}

#[test]
fn a_reset_flood_ends_the_connection_and_bounds_the_handlers() {
    on_reactor(async {
        let limits = Limits { h2_streams_max: 10, h2_pending_resets_max: 20, ..patient_limits() };
        let server = start(limits);
        let (requests, driver) = connect(server.address).await;
        let flood = async {
            loop {
                let Ok(mut ready) = requests.clone().ready().await else { return };
                match ready.send_request(request("/held"), false) {
                    Ok((_, mut stream)) => stream.send_reset(h2::Reason::CANCEL),
                    Err(_) => return,
                }
                ring::yield_now().await;
            }
        };
        flood.await;
        let error = driver.await.unwrap_err();
        // The GOAWAY may be lost to the reset that closing on unread frames causes.
        assert!(error.is_io() || error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
        assert!(server.seen.requests.get() <= 10);
        server.seen.released.set(true);
        // The handlers of reset streams ran to their end, and the server serves on.
        while server.seen.finished.get() < server.seen.requests.get() {
            ring::sleep(Duration::from_millis(10)).await;
        }
        let client = Client::new(server.address, Protocol::Http2);
        assert_eq!(client.fetch(&get("/x"), Bytes::new(), 100).await.unwrap().0.status, 200);
    });
}

#[test]
fn a_client_that_grants_no_window_is_given_up() {
    on_reactor(async {
        let server = start(Limits { write_stall: SHORT, ..patient_limits() });
        let (requests, _driver) = connect(server.address).await;
        let mut ready = requests.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(request("/big?10000000"), true).unwrap();
        let _unread = response.await.unwrap();
        while server.seen.finished.get() == 0 {
            ring::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(server.seen.send_errors.get(), 1);
    });
}

#[test]
fn a_slow_body_times_out_and_a_reset_is_noticed() {
    on_reactor(async {
        let server = start(Limits { body_idle: SHORT, ..patient_limits() });
        let (requests, _driver) = connect(server.address).await;
        let mut ready = requests.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(request("/echo"), false).unwrap();
        stream.send_data("abc".into(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
        let mut ready = requests.clone().ready().await.unwrap();
        let (_response, mut stream) = ready.send_request(request("/wait"), true).unwrap();
        while server.seen.requests.get() < 2 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        while server.seen.gone.get() == 0 {
            ring::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_wrong_content_length_does_not_reach_the_handler_as_a_whole_body() {
    on_reactor(async {
        let server = start(patient_limits());
        let (requests, _driver) = connect(server.address).await;
        let mut head = request("/echo");
        head.headers_mut().insert("content-length", "10".parse().unwrap());
        let mut ready = requests.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(head, false).unwrap();
        stream.send_data("abc".into(), true).unwrap();
        assert!(response.await.is_err_and(|error| error.is_reset()));
        assert_eq!(server.seen.body_errors.get(), 1);
    });
}

#[test]
fn idle_connections_are_sent_away() {
    on_reactor(async {
        let server = start(Limits { idle: SHORT, ..patient_limits() });
        let (_requests, driver) = connect(server.address).await;
        driver.await.expect("the server said goodbye in order");
        // Where this core stands still, a connection is idle before its request is there.
        let driver = loop {
            let (requests, driver) = connect(server.address).await;
            let Ok(mut ready) = requests.clone().ready().await else { continue };
            let Ok((response, _)) = ready.send_request(request("/x"), true) else { continue };
            match response.await {
                Ok(response) => {
                    assert_eq!(response.status(), 200);
                    break driver;
                }
                Err(_) => continue,
            }
        };
        driver.await.expect("the server said goodbye in order");
        let server = start(Limits { first_byte: SHORT, drain_time: SHORT, ..patient_limits() });
        let mut mute = Raw::connect(server.address).await;
        mute.send("PRI * HTTP/2.0\r\n\r\nSM").await;
        mute.rest().await;
        let mut slow = Raw::connect(server.address).await;
        slow.send("PRI").await;
        slow.assert_closed().await;
        while server.server.connection_count() > 0 {
            ring::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_silent_client_with_open_streams_is_asked_for_a_sign_of_life() {
    on_reactor(async {
        // Long enough for a core that stands still between a ping and its answer.
        let h2_ping_interval = Some(Duration::from_secs(10));
        let server = start(Limits { h2_ping_interval, ..patient_limits() });
        let (requests, _driver) = connect(server.address).await;
        let mut ready = requests.clone().ready().await.unwrap();
        // The h2 crate answers pings.
        let (response, _) = ready.send_request(request("/held"), true).unwrap();
        while server.seen.requests.get() == 0 {
            ring::sleep(Duration::from_millis(5)).await;
        }
        // This one never does. SETTINGS, then HEADERS of `GET /wait` with END_STREAM.
        let mut mute = Raw::connect(server.address).await;
        mute.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        mute.send(b"\0\0\x0c\x01\x05\0\0\0\x01\x82\x86\x04\x05/wait\x01\x01h").await;
        mute.rest().await;
        while server.seen.gone.get() == 0 {
            ring::sleep(Duration::from_millis(5)).await;
        }
        // What began before the silent one has outlived it.
        server.seen.released.set(true);
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn a_drain_says_goaway_and_lets_streams_finish() {
    on_reactor(async {
        let server = start(patient_limits());
        let (requests, driver) = connect(server.address).await;
        let mut ready = requests.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(request("/slow?100"), true).unwrap();
        while server.seen.requests.get() == 0 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        server.shutdown.begin(PATIENCE);
        assert_eq!(response.await.unwrap().status(), 200);
        drop((requests, ready));
        driver.await.expect("the server said goodbye in order");
        assert_eq!(server.ended.await, 0);
    });
}

#[test]
fn the_preface_is_recognised_in_single_bytes_and_only_whole() {
    on_reactor(async {
        let server = start(patient_limits());
        let mut raw = Raw::connect(server.address).await;
        for byte in *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
            raw.send([byte]).await;
            ring::sleep(Duration::from_millis(1)).await;
        }
        assert!(raw.more().await);
        // A SETTINGS frame: type 4 at its fourth byte.
        assert_eq!(raw.received[3], 4);
        let mut raw = Raw::connect(server.address).await;
        raw.send("PRI").await;
        ring::sleep(Duration::from_millis(5)).await;
        raw.send("VATE /x HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.response().await.body, b"PRIVATE /x h false");
    });
}

fn certificate(name: &str) -> (TlsSettings, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let settings = TlsSettings {
        certificates_pem: made.cert.pem().into_bytes(),
        key_pem: made.signing_key.serialize_pem().into_bytes(),
        allow_tls12: false,
    };
    (settings, made.cert.der().to_vec())
}

fn trusting(
    der: &[u8],
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der.to_vec().into()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

#[test]
fn tls_serves_both_protocols_by_alpn() {
    on_reactor(async {
        let (settings, der) = certificate("localhost");
        let server = start_with(patient_limits(), Some(TlsAcceptor::new(&settings).unwrap()));
        for (protocol, alpn) in [
            (Protocol::Http1, &[][..]),
            (Protocol::Http1, &[&b"http/1.1"[..]][..]),
            (Protocol::Http2, &[&b"h2"[..]][..]),
        ] {
            let config = trusting(&der, alpn, TLS13).into();
            let name = "localhost".try_into().unwrap();
            let client = Client::with_tls(server.address, protocol, config, name);
            let (_, body) = client.fetch(&get("/x"), Bytes::new(), 100).await.unwrap();
            assert_eq!(&body[..], b"GET /x h true");
            let body = Bytes::from(vec![b't'; 3_000_000]);
            let (_, echoed) = client.fetch(&to(Method::PUT, "/echo"), body.clone(), 4_000_000).await.unwrap();
            assert!(echoed == body);
        }
    });
}

#[test]
fn certificates_are_exchanged_while_serving_and_bad_ones_refused() {
    on_reactor(async {
        let (first, first_der) = certificate("localhost");
        let (second, second_der) = certificate("localhost");
        let acceptor = TlsAcceptor::new(&first).unwrap();
        let server = start_with(patient_limits(), Some(acceptor.clone()));
        let client = |der: &[u8]| {
            let config = trusting(der, &[], TLS13).into();
            Client::with_tls(server.address, Protocol::Http1, config, "localhost".try_into().unwrap())
        };
        let standing = client(&first_der);
        standing.fetch(&get("/x"), Bytes::new(), 100).await.unwrap();
        assert!(acceptor.reload(&TlsSettings { key_pem: second.key_pem.clone(), ..first.clone() }).is_err());
        assert!(acceptor.reload(&TlsSettings { certificates_pem: Vec::new(), ..first.clone() }).is_err());
        client(&first_der).fetch(&get("/x"), Bytes::new(), 100).await.unwrap();
        acceptor.reload(&second).unwrap();
        client(&second_der).fetch(&get("/x"), Bytes::new(), 100).await.unwrap();
        assert!(client(&first_der).fetch(&get("/x"), Bytes::new(), 100).await.is_err());
        standing.fetch(&get("/x"), Bytes::new(), 100).await.expect("a standing connection is untouched");
    });
}

#[test]
fn tls12_is_spoken_only_where_allowed() {
    on_reactor(async {
        for allow_tls12 in [false, true] {
            let (settings, der) = certificate("localhost");
            let acceptor = TlsAcceptor::new(&TlsSettings { allow_tls12, ..settings }).unwrap();
            let server = start_with(patient_limits(), Some(acceptor));
            let config = trusting(&der, &[], &[&rustls::version::TLS12]).into();
            let client =
                Client::with_tls(server.address, Protocol::Http1, config, "localhost".try_into().unwrap());
            assert_eq!(client.fetch(&get("/x"), Bytes::new(), 100).await.is_ok(), allow_tls12);
        }
    });
}

#[test]
fn a_stalled_handshake_and_plain_text_on_a_tls_port_end() {
    on_reactor(async {
        let (settings, _) = certificate("localhost");
        let limits = Limits { tls_handshake: SHORT, drain_time: SHORT, ..patient_limits() };
        let server = start_with(limits, Some(TlsAcceptor::new(&settings).unwrap()));
        let mut silent = Raw::connect(server.address).await;
        let mut plain = Raw::connect(server.address).await;
        plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        plain.rest().await;
        silent.assert_closed().await;
        while server.server.connection_count() > 0 {
            ring::sleep(Duration::from_millis(5)).await;
        }
    });
}
