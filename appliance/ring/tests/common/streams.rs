//! Streams for tests: servers, pairs, and long patterns that show every lost or doubled byte.

use super::{PATIENCE, any_port};
use ring::{TcpListener, TcpStream, sleep, spawn, timeout};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends back what comes, until the peer ends.
pub async fn echo(mut stream: TcpStream) -> io::Result<u64> {
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

/// A listener on this reactor whose connections all echo.
pub fn echo_server() -> SocketAddr {
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
pub async fn settled(open: u64) {
    let settle = async {
        loop {
            let stats = ring::stats();
            let held = stats.held_recv_buffers + stats.copied_recv_bytes + stats.unsent_bytes;
            if (stats.connections, held) == (open, 0) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let settled = timeout(PATIENCE, settle).await;
    assert!(settled.is_ok(), "{open} connections were to remain: {:?}", ring::stats());
}

/// A connected pair on this reactor: the one that connected and the one that was accepted.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, near.local_addr().unwrap());
    (near, far)
}

/// A pair whose other end is a blocking socket of the standard library.
pub async fn pair_with_std() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().await.unwrap();
    (near, far)
}

/// The byte that belongs at `position` of a long stream; the period is no divisor of any buffer size.
pub fn byte_at(position: usize) -> u8 {
    (position % 65_521 % 253) as u8
}

/// True if `data` is what belongs at `start`.
pub fn is_pattern(data: &[u8], start: usize) -> bool {
    data.iter().enumerate().all(|(index, byte)| *byte == byte_at(start + index))
}

/// What belongs at `start`.
pub fn pattern(start: usize, bytes: usize) -> Vec<u8> {
    (start..start + bytes).map(byte_at).collect()
}

/// Sends the first `total` bytes of the pattern and ends.
pub async fn send_pattern(stream: &mut TcpStream, total: usize, piece: usize, pause: Option<Duration>) {
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
pub async fn receive_pattern(stream: &mut TcpStream, piece: usize, pause: Option<Duration>) -> usize {
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
