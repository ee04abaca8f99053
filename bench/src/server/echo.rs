//! The limits that the reactor and HTTP set, as servers: both give a fixed answer of 128 bytes to every request.
//!
//! The bare one looks for the end of a head and writes ready bytes: what the ring and the kernel's TCP cost. The other has
//! all of the appliance's HTTP around the same bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Handler, Limits, Request, ResponseHead, Shutdown};
use http_types::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes of the answer's body.
const BODY_BYTES: usize = 128;
const READ_BYTES: usize = 16 << 10;

#[derive(Clone)]
struct Fixed(Bytes);

impl Handler for Fixed {
    async fn call(&self, request: Request) {
        let Request { mut body, responder, .. } = request;
        while let Some(Ok(_)) = body.next().await {}
        // A client that left needs no answer.
        let _sent: Result<(), http::SendError> =
            responder.send(ResponseHead::new(StatusCode::OK), self.0.clone()).await;
    }
}

/// Serves on `core` until killed; says where on the first line of its output.
///
/// # Errors
/// What the kernel says.
pub fn serve(core: Option<usize>, is_bare: bool) -> std::io::Result<()> {
    let config = ring::ReactorConfig { core, ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config)?.block_on(async {
        let listener = ring::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        println!("zerobench echo ready on http://{}", listener.local_addr()?);
        if is_bare {
            return bare(listener).await;
        }
        let fixed = Fixed(vec![b'e'; BODY_BYTES].into());
        http::serve(listener, None, Limits::default(), fixed, Shutdown::new()).await;
        Ok(())
    })
}

async fn bare(listener: ring::TcpListener) -> std::io::Result<()> {
    let answer: Bytes = {
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&[b'e'; BODY_BYTES]);
        bytes.into()
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => ring::spawn(answer_all(stream, answer.clone())).detach(),
            // Too many descriptors pass.
            Err(_) => ring::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Answers every head that ends; requests have no bodies here.
async fn answer_all(mut stream: ring::TcpStream, answer: Bytes) {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        if buffer.len() >= READ_BYTES {
            return;
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
            buffer.drain(..end + 4);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
