//! One listening socket whose connections are served by two cores.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use common::{PATIENCE, on_reactor, patient_limits};
use http::{Handler, Lent, Limits, Request, ResponseHead, Seat, Server, Shutdown};
use http_types::StatusCode;

/// Answers with the number of its core.
#[derive(Clone)]
struct Number(usize);

impl Handler for Number {
    async fn call(&self, request: Request) {
        let body = self.0.to_string();
        // A client that leaves in between is not what these tests are about.
        request.responder.send(ResponseHead::new(StatusCode::OK), body.into()).await.ok();
    }
}

struct Cores {
    address: SocketAddr,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<usize>>,
}

/// Two cores; the first accepts.
fn start(socket: TcpListener, limits: &Limits, shutdown: Shutdown) -> Cores {
    let address = socket.local_addr().expect("listens");
    let seats = http::seats(2);
    let mut lent = Some(seats[0].lend(socket));
    let threads = seats
        .into_iter()
        .enumerate()
        .map(|(index, seat)| {
            let (lent, limits, shutdown) = (lent.take(), limits.clone(), shutdown.clone());
            std::thread::spawn(move || on_reactor(core(index, seat, lent, limits, shutdown)))
        })
        .collect();
    Cores { address, shutdown, threads }
}

async fn core(index: usize, seat: Seat, lent: Option<Lent>, limits: Limits, shutdown: Shutdown) -> usize {
    let server = Server::at(&seat, limits, Number(index));
    if let Some(lent) = lent {
        let accepting = seat.accept_for_all(lent, server.clone(), shutdown.clone()).expect("a socket");
        ring::spawn(accepting).detach();
    }
    seat.serve(server, None, shutdown).await
}

impl Cores {
    fn stop(self) -> usize {
        self.shutdown.begin(PATIENCE);
        self.threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
}

/// The head and the core.
fn answer(stream: &mut TcpStream) -> (String, usize) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    // The body is one digit.
    while !text.windows(4).any(|window| window == b"\r\n\r\n") || text.ends_with(b"\n") {
        let length = stream.read(&mut piece).expect("answered");
        assert!(length > 0, "closed without an answer: {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..length]);
    }
    let text = String::from_utf8(text).expect("text");
    let core = text[text.len() - 1..].parse().expect("a digit");
    (text, core)
}

#[test]
fn connections_go_to_the_core_that_has_the_fewest() {
    let cores = start(listener(), &patient_limits(), Shutdown::new());
    let mut clients = Vec::new();
    let mut counts = [0; 2];
    for _ in 0..10 {
        let mut client = TcpStream::connect(cores.address).expect("connects");
        ask(&mut client);
        counts[answer(&mut client).1] += 1;
        clients.push(client);
    }
    assert_eq!(counts, [5, 5]);
    for client in &mut clients {
        ask(client);
        answer(client);
    }
    drop(clients);
    assert_eq!(cores.stop(), 0);
}

#[test]
fn who_was_connected_when_the_drain_began_is_answered() {
    let socket = listener();
    let address = socket.local_addr().expect("listens");
    let mut clients: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(address).expect("connects")).collect();
    clients[..10].iter_mut().for_each(ask);
    let shutdown = Shutdown::new();
    shutdown.begin(PATIENCE);
    let cores = start(socket, &Limits { drain_idle: PATIENCE, ..patient_limits() }, shutdown);
    // Half of them speak only now.
    clients[10..].iter_mut().for_each(ask);
    let mut counts = [0; 2];
    for mut client in clients {
        let (head, core) = answer(&mut client);
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
        counts[core] += 1;
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(cores.stop(), 0);
}

#[test]
fn connections_over_the_bound_of_all_cores_wait_for_a_place() {
    let limits = Limits { connections_per_core: 1, ..patient_limits() };
    let cores = start(listener(), &limits, Shutdown::new());
    let mut clients: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(cores.address).expect("connects")).collect();
    clients.iter_mut().for_each(ask);
    let mut third = clients.pop().expect("three");
    let taken: Vec<usize> = clients.iter_mut().map(|client| answer(client).1).collect();
    assert_ne!(taken[0], taken[1]);
    third.set_nonblocking(true).expect("a socket");
    let early = third.read(&mut [0; 1]);
    assert_eq!(early.expect_err("nobody has a place").kind(), std::io::ErrorKind::WouldBlock);
    third.set_nonblocking(false).expect("a socket");
    drop(clients.pop());
    assert_eq!(answer(&mut third).1, taken[1]);
    drop((clients, third));
    assert_eq!(cores.stop(), 0);
}
