//! Sockets: what is written arrives, in order, once, and slow or dying peers hurt nobody else.

mod common;

use common::{any_port, run};
use ring::{Backend, TcpListener, TcpStream, spawn};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_both_backends!(an_echo_returns_what_was_sent, many_connections_are_served_at_once,);

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

fn echo_server() -> std::net::SocketAddr {
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

fn an_echo_returns_what_was_sent(backend: Backend) {
    run(backend, async {
        let address = echo_server();
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        for length in [1, 135, 4096, 20_000, 300_000] {
            let data: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
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
        let stats = ring::stats();
        assert!(stats.turns > 0 && stats.completions > 0);
    });
}
