//! Sockets: what is written arrives, in order, once; ends, errors and drops are what they should be.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod common;

use common::streams::*;
use common::{PATIENCE, any_port, run};
use ring::{Backend, ListenOptions, TcpListener, TcpStream, sleep, spawn, timeout};
use std::io::{self, IoSlice, Read, Write};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

on_both_backends!(
    an_echo_returns_what_was_sent,
    many_connections_are_served_at_once,
    a_slow_writer_and_a_fast_one_both_arrive_whole,
    small_and_large_writes_arrive_in_their_order,
    half_closed_connections_still_answer,
    a_reset_is_an_error_to_the_peer,
    a_write_to_a_dead_peer_fails,
    a_dropped_stream_still_delivers_what_was_written,
    reads_dropped_in_any_state_lose_nothing,
    lines_are_read_across_chunks,
    a_refused_connection_is_an_error,
    an_abandoned_attempt_leaves_nothing_behind,
    a_closed_listener_serves_what_was_delivered,
    streams_outlive_their_reactor_without_harm,
);

fn an_echo_returns_what_was_sent(backend: Backend) {
    run(backend, async {
        let address = echo_server();
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        for length in [1, 135, 4096, 20_000, 300_000] {
            let data = pattern(length, length);
            let mut answer = vec![0; length];
            stream.write_all(&data).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer == data, "{length} bytes");
        }
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
    });
}

fn many_connections_are_served_at_once(backend: Backend) {
    run(backend, async {
        let address = echo_server();
        let mut tasks = Vec::new();
        for client in 0..200_u32 {
            tasks.push(spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for round in 0..20_u32 {
                    let data = (client * 1000 + round).to_le_bytes();
                    stream.write_all(&data).await.unwrap();
                    let mut answer = [0; 4];
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(answer, data);
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        settled(0).await;
    });
}

fn a_slow_writer_and_a_fast_one_both_arrive_whole(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let (mut near_reads, mut near_writes) = tokio::io::split(near_half(&mut near));
        let both = spawn(async move {
            let received = receive_pattern(&mut far, 5000, None).await;
            send_pattern(&mut far, 8 << 20, 300_000, None).await;
            received
        });
        for index in 0..50 {
            near_writes.write_all(&pattern(index * 777, 777)).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        near_writes.shutdown().await.unwrap();
        let mut total = 0;
        let mut buffer = vec![0; 3333];
        loop {
            let count = near_reads.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            assert!(is_pattern(&buffer[..count], total));
            total += count;
        }
        assert_eq!(total, 8 << 20);
        assert_eq!(both.await, 50 * 777);
    });
}

fn small_and_large_writes_arrive_in_their_order(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let reader = spawn(async move { receive_pattern(&mut far, 50_000, None).await });
        let lengths = [1, 40_000, 100, 33_000, 300_000, 5, 900_000, 32_768];
        let mut total = 0;
        for round in 0..200 {
            let data = pattern(total, lengths[round % lengths.len()]);
            // Some end up in the socket and some in the queue, in part or whole; what was taken is what counts.
            let (head, rest) = data.split_at(data.len().min(1 + round));
            let (body, tail) = rest.split_at(rest.len().saturating_sub(round));
            let parts = [IoSlice::new(head), IoSlice::new(body), IoSlice::new(tail)];
            total += near.write_vectored(&parts).await.unwrap();
            if round % 7 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        near.shutdown().await.unwrap();
        assert_eq!(reader.await, total);
    });
}

fn near_half(stream: &mut TcpStream) -> &mut TcpStream {
    stream
}

fn half_closed_connections_still_answer(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        near.write_all(b"question").await.unwrap();
        near.shutdown().await.unwrap();
        let error = near.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let mut question = Vec::new();
        far.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        far.write_all(b"answer").await.unwrap();
        drop(far);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    });
}

fn a_reset_is_an_error_to_the_peer(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        near.write_all(b"first").await.unwrap();
        far.read_exact(&mut [0; 5]).await.unwrap();
        near.reset();
        let error = far.read(&mut [0; 5]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        // With data that nobody takes, too: a reset does not wait for it.
        let (mut near, far) = pair_with_std().await;
        while timeout(Duration::from_millis(100), near.write(&[0; 1 << 20])).await.is_ok() {}
        near.reset();
        settled(1).await;
        let mut far = far;
        let error = std::io::copy(&mut far, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

fn a_write_to_a_dead_peer_fails(backend: Backend) {
    run(backend, async {
        let (mut near, far) = pair_with_std().await;
        drop(far);
        let failed = async {
            loop {
                if let Err(error) = near.write_all(&[0; 1000]).await {
                    return error;
                }
                if let Err(error) = near.flushed().await {
                    return error;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let error = timeout(PATIENCE, failed).await.unwrap();
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
        assert!(near.shutdown().await.is_err());
    });
}

fn a_dropped_stream_still_delivers_what_was_written(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let data = pattern(0, 200_000);
        near.write_all(&data).await.unwrap();
        // Never polled for reading, never flushed, dropped within the turn.
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert!(received == data);
        // And with a receive in flight.
        let (mut near, mut far) = pair().await;
        assert!(timeout(Duration::from_millis(1), near.read(&mut [0; 1])).await.is_err());
        near.write_all(&data).await.unwrap();
        drop(near);
        received.clear();
        far.read_to_end(&mut received).await.unwrap();
        assert!(received == data);
        drop(far);
        // The far end of the first pair is still here.
        settled(1).await;
    });
    // Even when the reactor goes before the data has left.
    let listener = std::net::TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    run(backend, async move {
        let mut near = TcpStream::connect(address).await.unwrap();
        near.write_all(&pattern(0, 200_000)).await.unwrap();
    });
    let mut received = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
    assert!(received == pattern(0, 200_000));
}

fn reads_dropped_in_any_state_lose_nothing(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let writer = spawn(async move {
            send_pattern(&mut near, 300_000, 1000, Some(Duration::from_micros(100))).await;
        });
        let mut received = Vec::new();
        let mut buffer = [0; 700];
        let mut round = 0_u64;
        loop {
            round += 1;
            // Limits from "before the first poll" to "long after the data came".
            let read = timeout(Duration::from_micros(round * 37 % 400), far.read(&mut buffer));
            match read.await {
                Ok(count) => match count.unwrap() {
                    0 => break,
                    count => received.extend_from_slice(&buffer[..count]),
                },
                Err(ring::Elapsed) => {
                    if round.is_multiple_of(50) {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        }
        assert_eq!(received.len(), 300_000);
        assert!(is_pattern(&received, 0));
        writer.await;
        // Streams dropped with reads and writes in flight: nothing leaks, nothing crashes.
        for round in 0..200_u64 {
            let (mut near, mut far) = pair().await;
            let read = spawn(async move { far.read(&mut [0; 100]).await.unwrap_or(0) });
            if round % 2 == 0 {
                near.write_all(&vec![0; 50_000]).await.unwrap();
            }
            for _ in 0..round % 5 {
                ring::yield_now().await;
            }
            drop(read);
            drop(near);
        }
        // The far end of the first pair is still here.
        settled(1).await;
    });
}

fn lines_are_read_across_chunks(backend: Backend) {
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let writer = spawn(async move {
            for piece in ["al", "pha\nbe", "ta\n", "gam", "ma"] {
                near.write_all(piece.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
        });
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if far.read_line(&mut line).await.unwrap() == 0 {
                break;
            }
            lines.push(line);
        }
        assert_eq!(lines, ["alpha\n", "beta\n", "gamma"]);
        assert!(far.fill_buf().await.unwrap().is_empty());
        writer.await;
    });
}

fn a_refused_connection_is_an_error(backend: Backend) {
    run(backend, async {
        // Bound, so that nobody else has the port, and not listening.
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind(&any_port().into()).unwrap();
        let address = bound.local_addr().unwrap().as_socket().unwrap();
        let error = TcpStream::connect(address).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

fn an_abandoned_attempt_leaves_nothing_behind(backend: Backend) {
    run(backend, async {
        // A listener with a full backlog does not answer, so attempts hang.
        let options = ListenOptions { reuse_port: false, backlog: 0 };
        let listener = TcpListener::bind_with(any_port(), options).unwrap();
        let address = listener.local_addr().unwrap();
        let mut hanging = 0;
        let mut connected = Vec::new();
        for _ in 0..8 {
            match timeout(Duration::from_millis(20), TcpStream::connect(address)).await {
                Ok(stream) => connected.push(stream.unwrap()),
                Err(ring::Elapsed) => hanging += 1,
            }
        }
        assert!(hanging > 0, "the backlog was meant to be full");
        let attempt = Box::pin(TcpStream::connect(address));
        drop(attempt);
        // Attempts that are dropped with their outcome ready.
        let answering = TcpListener::bind(any_port()).unwrap();
        let address = answering.local_addr().unwrap();
        for _ in 0..50 {
            let attempt = spawn(async move { TcpStream::connect(address).await });
            ring::yield_now().await;
            drop(attempt);
        }
        drop(connected);
        settled(0).await;
    });
}

fn a_closed_listener_serves_what_was_delivered(backend: Backend) {
    run(backend, async {
        let listener = TcpListener::bind(any_port()).unwrap();
        let address = listener.local_addr().unwrap();
        // Accepting starts, and then many clients come before the next accept.
        assert!(timeout(Duration::from_millis(5), listener.accept()).await.is_err());
        let clients: Vec<std::net::TcpStream> =
            (0..40).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        sleep(Duration::from_millis(20)).await;
        let late: Vec<std::net::TcpStream> =
            (0..10).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        while handshakes_under_way(address.port()) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        listener.close();
        let mut served = 0;
        let error = loop {
            match listener.accept().await {
                Ok((mut stream, _)) => {
                    stream.write_all(b"x").await.unwrap();
                    served += 1;
                }
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), served), (io::ErrorKind::NotConnected, 50));
        drop(listener);
        let refused = async {
            while std::net::TcpStream::connect(address).is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, refused).await.unwrap();
        // What was written leaves with the turns of this reactor, so somebody else reads it.
        let reader = std::thread::spawn(|| {
            for mut client in clients.into_iter().chain(late) {
                client.read_exact(&mut [0; 1]).unwrap();
            }
        });
        while !reader.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        reader.join().unwrap();
    });
}

/// Connections to a port of the loopback interface whose last acknowledgement the listener has not seen: their clients are
/// through with `connect`, and nobody can accept them yet.
fn handshakes_under_way(port: u16) -> usize {
    let (at_port, syn_received) = (format!(":{port:04X}"), "03");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_under_way = |line: &&str| {
        // proc(5): the local address is the second field, and the state the fourth.
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(fields[..], [_, local, _, state] if local.ends_with(&at_port) && state == syn_received)
    };
    table.lines().filter(is_under_way).count()
}

fn streams_outlive_their_reactor_without_harm(backend: Backend) {
    let (near, far) = run(backend, async {
        let (mut near, far) = pair_with_std().await;
        assert!(timeout(Duration::from_millis(1), near.read(&mut [0; 1])).await.is_err());
        near.write_all(b"last words").await.unwrap();
        (near, far)
    });
    let mut far = far;
    let mut words = [0; 10];
    far.read_exact(&mut words).unwrap();
    assert_eq!(&words, b"last words");
    far.write_all(b"nobody hears").unwrap();
    let mut near = near;
    run(backend, async {
        assert_eq!(near.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    });
    drop(near);
    // Its end, or a reset since it had unread data: in any case not silence.
    assert!(matches!(far.read(&mut [0; 1]), Ok(0) | Err(_)));
}
