//! Sockets under pressure: slow, stuck and flooding peers are held to their bounds and hurt nobody else.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod common;

use common::streams::*;
use common::{PATIENCE, any_port, config, run, run_with};
use ring::{Backend, TcpListener, TcpStream, sleep, spawn, timeout};
use std::io::{self, Read, Write};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_both_backends!(
    a_slow_reader_gets_everything_and_holds_little,
    a_peer_that_does_not_read_stops_the_writer,
    dribbled_bytes_do_not_exhaust_the_buffers,
    a_flood_of_connections_is_accepted_whole,
    two_buffers_are_enough,
    a_tiny_ring_is_enough,
    a_flooding_sender_leaves_room_for_others,
    a_greedy_reader_leaves_room_for_others,
    a_crowd_of_slow_readers_is_held_to_one_bound,
    an_orphan_that_nobody_reads_is_reset,
    idle_readers_do_not_starve_a_busy_one,
    an_idle_connection_costs_little,
);

/// A peer that took nothing for so long takes nothing: a kernel whose own threads wait for a core looks full for a moment.
const STUCK: Duration = Duration::from_secs(3);

fn a_slow_reader_gets_everything_and_holds_little(backend: Backend) {
    const TOTAL: usize = 24 << 20;
    run(backend, async {
        let (mut near, mut far) = pair().await;
        let writer = spawn(async move { send_pattern(&mut near, TOTAL, 1 << 20, None).await });
        // Let data pile up before anything is read: the first poll arms the receive.
        let mut first = [0; 1];
        far.read_exact(&mut first).await.unwrap();
        assert_eq!(first[0], byte_at(0));
        let paused = async {
            while backend == Backend::IoUring && ring::stats().receive_pauses == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, paused).await.expect("a reader that is behind is given no more");
        sleep(Duration::from_millis(100)).await;
        let stats = ring::stats();
        let held = stats.held_recv_buffers * (16 << 10) + stats.copied_recv_bytes;
        // The bound is 256 KiB; what one turn brings after the bound is seen comes on top.
        assert!(held <= 2 << 20, "{held} bytes held for one slow reader");
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

fn a_peer_that_does_not_read_stops_the_writer(backend: Backend) {
    run(backend, async {
        let (mut near, far) = pair_with_std().await;
        let data = vec![1; 1 << 20];
        let mut written = 0_usize;
        // Kernel buffers and our queue are bounded, so the writer comes to a halt well below this.
        while written < 64 << 20 {
            match timeout(STUCK, near.write(&data)).await {
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

fn a_crowd_of_slow_readers_is_held_to_one_bound(backend: Backend) {
    run(backend, async {
        let mut crowd = Vec::new();
        for _ in 0..400 {
            let (near, far) = pair_with_std().await;
            crowd.push((near, far));
        }
        let data = vec![0; 512 << 10];
        let mut stuck = 0;
        for _ in 0..20 {
            for (near, _) in &mut crowd {
                // Polled once: takes what there is room for, and does not wait.
                let written = timeout(Duration::ZERO, near.write(&data)).await;
                stuck += u32::from(written.is_err());
            }
            ring::yield_now().await;
        }
        let unsent = ring::stats().unsent_bytes;
        assert!(stuck > 0 && unsent > 0);
        // The bound, and for each of the crowd what it may still queue and what it had in flight when the bound was seen.
        let bound = (64 << 20) + 400 * (32 << 10) + (512 << 10);
        assert!(unsent <= bound, "{unsent} bytes unsent");
        for (near, far) in crowd {
            near.reset();
            drop(far);
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
        assert!(timeout(PATIENCE, reader).await.unwrap() > 0);
        flood.join().unwrap();
    });
}

fn a_greedy_reader_leaves_room_for_others(backend: Backend) {
    run(backend, async {
        let (mut near, far) = pair_with_std().await;
        let greedy = std::thread::spawn(move || {
            let mut far = far;
            let mut buffer = vec![0; 1 << 20];
            while far.read(&mut buffer).unwrap() > 0 {}
        });
        let writer = spawn(async move {
            let data = vec![0; 64 << 10];
            loop {
                near.write_all(&data).await.unwrap();
            }
        });
        // Timers and other tasks still get their turns.
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
        drop::<ring::Task<()>>(writer);
        // The dropped stream's end reaches the reader while the reactor still turns.
        while !greedy.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        greedy.join().unwrap();
    });
}

fn an_orphan_that_nobody_reads_is_reset(backend: Backend) {
    let config = ring::ReactorConfig { linger: Duration::from_millis(50), ..config(backend) };
    run_with(&config, async {
        let (mut near, mut far) = pair_with_std().await;
        while timeout(STUCK, near.write(&[0; 1 << 20])).await.is_ok() {}
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
