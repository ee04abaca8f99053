//! Sockets: what is written arrives, in order, once, and slow or dying peers hurt nobody else.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod common;

use common::{any_port, config, run, run_with};
use ring::{Backend, ListenOptions, TcpListener, TcpStream, sleep, spawn, timeout};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

on_both_backends!(
    an_echo_returns_what_was_sent,
    many_connections_are_served_at_once,
    a_slow_reader_gets_everything_and_holds_little,
    a_slow_writer_and_a_fast_one_both_arrive_whole,
    a_peer_that_does_not_read_stops_the_writer,
    half_closed_connections_still_answer,
    a_reset_is_an_error_to_the_peer,
    a_write_to_a_dead_peer_fails,
    a_dropped_stream_still_delivers_what_was_written,
    reads_dropped_in_any_state_lose_nothing,
    lines_are_read_across_chunks,
    a_refused_connection_is_an_error,
    an_abandoned_attempt_leaves_nothing_behind,
    a_closed_listener_serves_what_was_delivered,
    dribbled_bytes_do_not_exhaust_the_buffers,
    a_flood_of_connections_is_accepted_whole,
    streams_outlive_their_reactor_without_harm,
    two_buffers_are_enough,
    a_tiny_ring_is_enough,
    a_flooding_sender_leaves_room_for_others,
    an_orphan_that_nobody_reads_is_reset,
    idle_readers_do_not_starve_a_busy_one,
    an_idle_connection_costs_little,
);

async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let mut total = 0;
    let mut buffer = vec![0; 32 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            stream.shutdown().await?;
            return Ok(total);
        }
        total += count as u64;
        stream.write_all(&buffer[..count]).await?;
    }
}

fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(async move { drop(echo(stream).await) }).detach();
        }
    })
    .detach();
    address
}

/// Waits until all but `open` connections are gone and nothing received is held.
async fn settled(open: u64) {
    let settle = async {
        loop {
            let stats = ring::stats();
            if (stats.connections, stats.held_recv_buffers, stats.copied_recv_bytes) == (open, 0, 0) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    // Shorter than the linger time: orphans must go by themselves.
    let settled = timeout(Duration::from_secs(8), settle).await;
    assert!(settled.is_ok(), "{open} connections were to remain: {:?}", ring::stats());
}

/// A connected pair on this reactor: the one that connected and the one that was accepted.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, near.local_addr().unwrap());
    (near, far)
}

/// A pair whose other end is a blocking socket of the standard library.
async fn pair_with_std() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().await.unwrap();
    (near, far)
}

/// The byte that belongs at `position` of a long stream; the period is no divisor of any buffer size.
fn byte_at(position: usize) -> u8 {
    (position % 65_521 % 253) as u8
}

fn is_pattern(data: &[u8], start: usize) -> bool {
    data.iter().enumerate().all(|(index, byte)| *byte == byte_at(start + index))
}

fn pattern(start: usize, bytes: usize) -> Vec<u8> {
    (start..start + bytes).map(byte_at).collect()
}

async fn send_pattern(stream: &mut TcpStream, total: usize, piece: usize, pause: Option<Duration>) {
    let mut sent = 0;
    while sent < total {
        let bytes = piece.min(total - sent);
        stream.write_all(&pattern(sent, bytes)).await.unwrap();
        sent += bytes;
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
    stream.shutdown().await.unwrap();
}

/// Reads to the end, checks every byte, and says how many there were.
async fn receive_pattern(stream: &mut TcpStream, piece: usize, pause: Option<Duration>) -> usize {
    let mut buffer = vec![0; piece];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            return total;
        }
        assert!(is_pattern(&buffer[..count], total), "wrong bytes near {total}");
        total += count;
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
}

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

fn a_slow_reader_gets_everything_and_holds_little(backend: Backend) {
    const TOTAL: usize = 24 << 20;
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let writer = spawn(async move { send_pattern(&mut near, TOTAL, 1 << 20, None).await });
        // Let data pile up before anything is read: the first poll arms the receive.
        let mut first = [0; 1];
        far.read_exact(&mut first).await.unwrap();
        assert_eq!(first[0], byte_at(0));
        sleep(Duration::from_millis(100)).await;
        let stats = ring::stats();
        let held = stats.held_recv_buffers * (16 << 10) + stats.copied_recv_bytes;
        // The bound is 256 KiB; what one turn brings after the bound is seen comes on top.
        assert!(held <= 2 << 20, "{held} bytes held for one slow reader");
        if backend == Backend::IoUring {
            assert!(stats.receive_pauses > 0);
        }
        let mut total = 1;
        let mut buffer = vec![0; 100_000];
        loop {
            let count = far.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            assert!(is_pattern(&buffer[..count], total), "wrong bytes near {total}");
            total += count;
            if total % (1 << 20) < 100_000 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(total, TOTAL);
        writer.await;
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

fn near_half(stream: &mut TcpStream) -> &mut TcpStream {
    stream
}

fn a_peer_that_does_not_read_stops_the_writer(backend: Backend) {
    run(backend, async {
        let (mut near, far) = pair_with_std().await;
        let data = vec![1; 1 << 20];
        let mut written = 0_usize;
        // Kernel buffers and our queue are bounded, so the writer comes to a halt well below this.
        while written < 64 << 20 {
            match timeout(Duration::from_millis(300), near.write(&data)).await {
                Ok(count) => written += count.unwrap(),
                Err(ring::Elapsed) => break,
            }
        }
        assert!(written < 64 << 20, "the writer was never stopped");
        assert!(timeout(Duration::from_millis(10), near.flushed()).await.is_err());
        let reader = std::thread::spawn(move || {
            let mut total = 0;
            let mut far = far;
            let mut buffer = vec![0; 1 << 20];
            loop {
                match far.read(&mut buffer).unwrap() {
                    0 => return total,
                    count => total += count,
                }
            }
        });
        near.shutdown().await.unwrap();
        drop(near);
        assert_eq!(reader.join().unwrap(), written);
    });
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
        let error = timeout(Duration::from_secs(10), failed).await.unwrap();
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
        let listener = std::net::TcpListener::bind(any_port()).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
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
        sleep(Duration::from_millis(20)).await;
        assert!(std::net::TcpStream::connect(address).is_err());
        for mut client in clients.into_iter().chain(late) {
            client.read_exact(&mut [0; 1]).unwrap();
        }
    });
}

fn dribbled_bytes_do_not_exhaust_the_buffers(backend: Backend) {
    run(backend, async {
        let mut victims = Vec::new();
        for _ in 0..20 {
            let (mut near, far) = pair_with_std().await;
            far.set_nodelay(true).unwrap();
            // One read that takes nothing but starts the receiving.
            assert!(timeout(Duration::from_millis(1), near.read(&mut [0; 1])).await.is_err());
            victims.push((near, far));
        }
        for round in 0..100_u8 {
            for (_, far) in &mut victims {
                far.write_all(&[round]).unwrap();
            }
            ring::yield_now().await;
            if round % 10 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        sleep(Duration::from_millis(20)).await;
        let stats = ring::stats();
        assert!(stats.held_recv_buffers <= 40, "{} buffers held by 2,000 bytes", stats.held_recv_buffers);
        for (near, _) in &mut victims {
            let mut data = [0; 100];
            near.read_exact(&mut data).await.unwrap();
            assert!(data.iter().enumerate().all(|(index, byte)| *byte == index as u8));
        }
        assert_eq!(ring::stats().copied_recv_bytes, 0);
    });
}

fn a_flood_of_connections_is_accepted_whole(backend: Backend) {
    run(backend, async {
        let listener = TcpListener::bind(any_port()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(timeout(Duration::from_millis(5), listener.accept()).await.is_err());
        let clients = std::thread::spawn(move || {
            let clients: Vec<_> = (0..700).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            for mut client in clients {
                client.read_exact(&mut [0; 1]).unwrap();
            }
        });
        // More than a listener keeps by itself: the rest waits in the kernel.
        sleep(Duration::from_millis(100)).await;
        for _ in 0..700 {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"x").await.unwrap();
        }
        while !clients.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        clients.join().unwrap();
    });
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

fn two_buffers_are_enough(backend: Backend) {
    let config = ring::ReactorConfig { recv_buffer_count: 2, recv_buffer_bytes: 512, ..config(backend) };
    run_with(&config, async {
        let mut tasks = Vec::new();
        for _ in 0..30 {
            let (mut near, mut far) = pair().await;
            tasks.push(spawn(async move {
                send_pattern(&mut near, 100_000, 10_000, None).await;
                0
            }));
            tasks.push(spawn(async move { receive_pattern(&mut far, 3000, None).await }));
        }
        let mut total = 0;
        for task in tasks {
            total += task.await;
        }
        assert_eq!(total, 30 * 100_000);
        let stats = ring::stats();
        if backend == Backend::IoUring {
            assert!(stats.enobufs > 0, "the buffers were meant to run out");
        }
        assert_eq!((stats.held_recv_buffers, stats.copied_recv_bytes), (0, 0));
    });
}

fn a_tiny_ring_is_enough(backend: Backend) {
    // Eight entries and 32 completions for 300 connections: entries wait their turn and completions overflow.
    let config = ring::ReactorConfig { entries: 8, ..config(backend) };
    run_with(&config, async {
        let address = echo_server();
        let mut tasks = Vec::new();
        for client in 0..300_u32 {
            tasks.push(spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for round in 0..10_u32 {
                    let data = (client * 1000 + round).to_le_bytes().repeat(500);
                    stream.write_all(&data).await.unwrap();
                    let mut answer = vec![0; data.len()];
                    stream.read_exact(&mut answer).await.unwrap();
                    assert!(answer == data);
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        settled(0).await;
    });
}

fn a_flooding_sender_leaves_room_for_others(backend: Backend) {
    run(backend, async {
        let (mut near, far) = pair_with_std().await;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let flood = std::thread::spawn(move || {
            let mut far = far;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                far.write_all(&[0; 1 << 20]).unwrap();
            }
        });
        let reader = spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            let mut total = 0_u64;
            loop {
                match near.read(&mut buffer).await.unwrap() {
                    0 => return total,
                    count => total += count as u64,
                }
            }
        });
        // Timers and other tasks still get their turns.
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(timeout(Duration::from_secs(20), reader).await.unwrap() > 0);
        flood.join().unwrap();
    });
}

fn an_orphan_that_nobody_reads_is_reset(backend: Backend) {
    let config = ring::ReactorConfig { linger: Duration::from_millis(50), ..config(backend) };
    run_with(&config, async {
        let (mut near, mut far) = pair_with_std().await;
        while timeout(Duration::from_millis(50), near.write(&[0; 1 << 20])).await.is_ok() {}
        drop(near);
        settled(0).await;
        let error = std::io::copy(&mut far, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

fn idle_readers_do_not_starve_a_busy_one(backend: Backend) {
    let config = ring::ReactorConfig { recv_buffer_count: 16, recv_buffer_bytes: 4096, ..config(backend) };
    run_with(&config, async {
        let mut stuck = Vec::new();
        for _ in 0..10 {
            let (mut near, far) = pair_with_std().await;
            assert!(timeout(Duration::from_millis(1), near.read(&mut [0; 1])).await.is_err());
            far.set_nonblocking(true).unwrap();
            let mut far = far;
            // Fill whatever takes it; nobody ever reads.
            while far.write(&[0; 64 << 10]).is_ok() {}
            stuck.push((near, far));
        }
        sleep(Duration::from_millis(50)).await;
        let (mut near, mut far) = pair().await;
        let writer = spawn(async move { send_pattern(&mut near, 4 << 20, 100_000, None).await });
        assert_eq!(receive_pattern(&mut far, 10_000, None).await, 4 << 20);
        writer.await;
        let stats = ring::stats();
        assert!(stats.held_recv_buffers < 16);
        assert!(stats.copied_recv_bytes < 10 * (2 << 20), "{} bytes", stats.copied_recv_bytes);
    });
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn an_idle_connection_costs_little(backend: Backend) {
    const PAIRS: u64 = 1000;
    run(backend, async {
        let mut pairs = Vec::with_capacity(PAIRS as usize);
        pairs.push(pair().await);
        let before = resident_kib();
        for _ in 0..PAIRS {
            let (mut near, mut far) = pair().await;
            // Idle as a keep-alive connection is: it has served a request and waits for the next.
            near.write_all(&[0; 500]).await.unwrap();
            far.read_exact(&mut [0; 500]).await.unwrap();
            assert!(timeout(Duration::from_micros(1), far.read(&mut [0; 1])).await.is_err());
            pairs.push((near, far));
        }
        // Other tests of this process run meanwhile, hence the generous bound; alone it is below 1 KiB.
        let grown = resident_kib().saturating_sub(before);
        let each = grown * 1024 / (2 * PAIRS);
        println!("{backend:?}: {each} resident bytes per idle connection");
        assert!(std::mem::size_of::<TcpStream>() <= 128);
    });
}
