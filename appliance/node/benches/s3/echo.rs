//! The limit that HTTP itself sets: the same reactor and the same HTTP code, with a handler that only moves bytes.
//!
//! `PUT /echo` gives the body back; `GET /static/N` gives N bytes from memory, in pieces if they are many; `PUT /sink`
//! takes everything and answers with nothing.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Handler, Limits, Request, ResponseHead, Shutdown};
use http_types::StatusCode;

/// The first argument that makes this program the echo.
pub const ARGUMENT: &str = "--serve-echo";

/// What is larger goes in pieces of this size, as the node sends stored bodies.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Clone)]
struct Echo {
    content: Bytes,
}

impl Handler for Echo {
    async fn call(&self, request: Request) {
        let Request { head, mut body, responder } = request;
        let answer = ResponseHead::new(StatusCode::OK);
        if head.path == "/echo" {
            let Ok(body) = body.collect(PIECE_BYTES).await else { return };
            responder.send(answer, body).await.ok();
        } else if let Some(text) = head.path.strip_prefix("/static/") {
            let length: usize = text.parse().unwrap();
            if length <= PIECE_BYTES {
                responder.send(answer, self.content.slice(..length)).await.ok();
                return;
            }
            let Ok(mut writer) = responder.start(answer, Some(length as u64)).await else { return };
            let mut left = length;
            while left > 0 {
                let piece = self.content.slice(..left.min(PIECE_BYTES));
                left -= piece.len();
                if writer.write(piece).await.is_err() {
                    return;
                }
            }
            writer.finish().await.ok();
        } else {
            while let Some(Ok(_)) = body.next().await {}
            responder.send(answer, Bytes::new()).await.ok();
        }
    }
}

/// Serves until killed.
pub fn serve() {
    let config = ring::ReactorConfig { core: Some(ring::cores()[0]), ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config).unwrap().block_on(async {
        let listener = ring::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        println!("zerocloud ready on http://{}", listener.local_addr().unwrap());
        let echo = Echo { content: vec![b'e'; PIECE_BYTES].into() };
        http::serve(listener, None, Limits::default(), echo, Shutdown::new()).await;
    });
}
