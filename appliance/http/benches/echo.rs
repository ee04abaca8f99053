//! What a request costs: an echo of 4 KiB over HTTP/1.1 and HTTP/2, server on one core, client on another.
//! Prints requests per second and the server thread's CPU time per request, which is the number to watch: the rate
//! depends on the client too. `ECHO_SECONDS`, `ECHO_CONNECTIONS`, `ECHO_BYTES` and
//! `ECHO_ROUNDS` change the defaults; `ECHO_ONLY=h1` or `h2` leaves the other out.
#![allow(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::client::{Client, Protocol, RequestTo};
use http::{Handler, Limits, Request, ResponseHead, Shutdown};
use http_types::{HeaderMap, HeaderValue, Method, StatusCode};

#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    async fn call(&self, request: Request) {
        let Request { mut body, responder, .. } = request;
        let Ok(body) = body.collect(16 << 20).await else { return };
        responder.send(ResponseHead::new(StatusCode::OK), body).await.ok();
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn reactor(core: usize) -> ring::Reactor {
    let config = ring::ReactorConfig { core: Some(core), ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config).unwrap()
}

/// User and system time of this thread, in microseconds, from the kernel's own account.
fn thread_cpu_us() -> (u64, u64) {
    // Fields 14 and 15 of stat are in ticks of 10 ms: too coarse for one request, fine for seconds of them.
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap() * 10_000;
    (ticks(11), ticks(12))
}

fn measure(protocol: Protocol, connections: usize, streams: usize, body_bytes: usize, seconds: u64) {
    let (address_out, address_in) = mpsc::channel();
    let (cpu_out, cpu_in) = mpsc::channel();
    let shutdown = Shutdown::new();
    let signal = shutdown.clone();
    let server = thread::Builder::new().name("echo-server".to_owned()).spawn(move || {
        reactor(0).block_on(async {
            let listener = ring::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
            address_out.send(listener.local_addr().unwrap()).unwrap();
            http::serve(listener, None, Limits::default(), Echo, signal).await;
        });
        cpu_out.send(thread_cpu_us()).unwrap();
    });
    let server = server.unwrap();
    let address = address_in.recv().unwrap();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (count, elapsed) = reactor(1.min(cores - 1)).block_on(load(
        address,
        protocol,
        connections,
        streams,
        body_bytes,
        Duration::from_secs(seconds),
    ));
    shutdown.begin(Duration::from_secs(5));
    server.join().unwrap();
    let (user, system) = cpu_in.recv().unwrap();
    let per_request = |us: u64| us as f64 / count as f64;
    println!(
        "{protocol:?} connections={connections} streams={streams} body={body_bytes}: {:.0} requests/s, server CPU \
         {:.2} us/request (user {:.2}, system {:.2})",
        count as f64 / elapsed.as_secs_f64(),
        per_request(user + system),
        per_request(user),
        per_request(system),
    );
}

async fn load(
    address: SocketAddr,
    protocol: Protocol,
    connections: usize,
    streams: usize,
    body_bytes: usize,
    time: Duration,
) -> (u64, Duration) {
    let started = Instant::now();
    let count = Rc::new(Cell::new(0));
    let body = Bytes::from(vec![b'e'; body_bytes]);
    let mut headers = HeaderMap::new();
    for name in ["x-amz-date", "x-amz-content-sha256", "authorization", "user-agent"] {
        headers.insert(name, HeaderValue::from_static("0123456789abcdef0123456789abcdef"));
    }
    let request = RequestTo {
        method: Method::PUT,
        target: "/bucket/key".into(),
        authority: "localhost".into(),
        headers,
    };
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let client = Client::new(address, protocol);
        for _ in 0..streams {
            let (client, count, body, request) =
                (client.clone(), Rc::clone(&count), body.clone(), request.clone());
            tasks.push(ring::spawn(async move {
                while started.elapsed() < time {
                    let (head, echoed) = client.fetch(&request, body.clone(), body_bytes).await.unwrap();
                    assert!(head.status == StatusCode::OK && echoed.len() == body_bytes);
                    count.set(count.get() + 1);
                }
            }));
        }
    }
    for task in tasks {
        task.await;
    }
    (count.get(), started.elapsed())
}

fn main() {
    let seconds = setting("ECHO_SECONDS", 3) as u64;
    let connections = setting("ECHO_CONNECTIONS", 64);
    let body_bytes = setting("ECHO_BYTES", 4096);
    let only = std::env::var("ECHO_ONLY").unwrap_or_default();
    for _ in 0..setting("ECHO_ROUNDS", 2) {
        for bytes in [body_bytes, 0] {
            if only != "h2" {
                measure(Protocol::Http1, connections, 1, bytes, seconds);
            }
            if only != "h1" {
                measure(Protocol::Http2, 8, 32, bytes, seconds);
            }
        }
    }
}
