//! The limits that the reactor and HTTP set, as servers: both give a fixed answer to every request.
//!
//! The bare one looks for the end of a head and writes ready bytes: what the ring and the kernel's TCP cost. The other has
//! all of the appliance's HTTP around the same bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Handler, Limits, Request, ResponseHead, Shutdown};
use http_types::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const READ_BYTES: usize = 16 << 10;

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// So many letters.
    Letters {
        /// How many.
        body_bytes: usize,
        /// Without the appliance's HTTP.
        is_bare: bool,
    },
    /// So many letters to GET, nothing to PUT.
    Blob {
        /// How many.
        body_bytes: usize,
        /// Bodies are digested each time, those of both directions.
        digests: bool,
    },
    /// What GetItem answers for an item of this size, to whatever is asked.
    Item {
        /// By DynamoDB's rule: names and values.
        item_bytes: usize,
    },
}

#[derive(Clone)]
struct Fixed {
    headers: HeaderMap,
    body: Bytes,
    /// What a PUT is answered.
    put_body: Bytes,
    digests: bool,
}

impl Fixed {
    fn letters(body_bytes: usize) -> Fixed {
        let body = Bytes::from(vec![b'e'; body_bytes]);
        Fixed { headers: HeaderMap::new(), put_body: body.clone(), body, digests: false }
    }

    /// The headers are those of AWS's replies; identifier and checksum are ready too.
    fn item(item_bytes: usize) -> Fixed {
        let key = "0123456789abcdef";
        let value = "v".repeat(item_bytes.saturating_sub("pk".len() + key.len() + "v".len()));
        let body = format!(r#"{{"Item":{{"pk":{{"S":"{key}"}},"v":{{"S":"{value}"}}}}}}"#);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        let id = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ";
        headers.insert(HeaderName::from_static("x-amzn-requestid"), HeaderValue::from_static(id));
        let sum = hash::crc32(body.as_bytes());
        headers.insert(HeaderName::from_static("x-amz-crc32"), HeaderValue::from(sum));
        let body = Bytes::from(body);
        Fixed { headers, put_body: body.clone(), body, digests: false }
    }
}

impl Handler for Fixed {
    async fn call(&self, request: Request) {
        let Request { head, mut body, responder, .. } = request;
        let mut digest = hash::Sha256::new();
        while let Some(Ok(piece)) = body.next().await {
            if self.digests {
                digest.update(&piece);
            }
        }
        let answer = if head.method == Method::PUT { &self.put_body } else { &self.body }.clone();
        if self.digests {
            digest.update(&answer);
            std::hint::black_box(digest.finish());
        }
        // A client that left needs no answer.
        let _sent: Result<(), http::SendError> = responder
            .send(ResponseHead { status: StatusCode::OK, headers: self.headers.clone() }, answer)
            .await;
    }
}

/// Serves on `core` until killed; says where on the first line of its output.
///
/// # Errors
/// What the kernel says.
pub fn serve(core: Option<usize>, port: u16, answer: Answer) -> std::io::Result<()> {
    let config = ring::ReactorConfig { core, ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config)?.block_on(async {
        let listener = ring::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        println!("zerobench echo ready on http://{}", listener.local_addr()?);
        let fixed = match answer {
            Answer::Letters { body_bytes, is_bare: true } => return bare(listener, body_bytes).await,
            Answer::Letters { body_bytes, is_bare: false } => Fixed::letters(body_bytes),
            Answer::Blob { body_bytes, digests } => {
                Fixed { put_body: Bytes::new(), digests, ..Fixed::letters(body_bytes) }
            }
            Answer::Item { item_bytes } => Fixed::item(item_bytes),
        };
        http::serve(listener, None, Limits::default(), fixed, Shutdown::new()).await;
        Ok(())
    })
}

async fn bare(listener: ring::TcpListener, body_bytes: usize) -> std::io::Result<()> {
    let answer: Bytes = {
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + body_bytes, b'e');
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
