//! HTTP/2 from the caller's side, by `h2` over a socket of the ring: many requests at once on one connection.
//!
//! Requests come as ready HTTP/1.1 heads and are taken apart here, in the clock: about a microsecond of this program's time.
//! Invariant: a connection that failed is given up by all of its streams, and the first that needs one makes it anew.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http_types::header::ETAG;
use http_types::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use tokio::sync::Mutex;

use super::http1::{Answer, Failed, Wanted};
use super::wire::{Closer, Tls, When, connect_stream};
use crate::load::recorder::Failure;

/// What the server may send ahead of our reading, of one stream and of all.
const WINDOW_BYTES: u32 = 4 << 20;
const HEADERS_MAX: usize = 32;

/// One connection and what its lanes need to make it again.
pub struct Shared {
    address: SocketAddr,
    tls: Option<Tls>,
    send: RefCell<Option<SendRequest<Bytes>>>,
    closer: RefCell<Option<Closer>>,
    connecting: Mutex<()>,
    /// Connections made, so that a stream of an earlier one does not give up the present one.
    generation: Cell<u64>,
}

impl Shared {
    /// A connection to `address`.
    ///
    /// # Errors
    /// No connection, or no agreement on TLS or HTTP/2.
    pub async fn connect(address: SocketAddr, tls: Option<Tls>) -> std::io::Result<Shared> {
        let shared = Shared {
            address,
            tls,
            send: RefCell::default(),
            closer: RefCell::default(),
            connecting: Mutex::new(()),
            generation: Cell::new(0),
        };
        shared.reconnect(When::BeforeTheClock).await?;
        Ok(shared)
    }

    /// Ends the connection.
    pub fn close(&self) {
        if let Some(closer) = &*self.closer.borrow() {
            closer.close();
        }
    }

    /// Of many streams without a connection one makes it, the others wait for it.
    async fn reconnect_once(&self) -> std::io::Result<(SendRequest<Bytes>, bool)> {
        let _one = self.connecting.lock().await;
        let made = self.send.borrow().clone();
        match made {
            Some(send) => Ok((send, false)),
            None => Ok((self.reconnect(When::InTheRun).await?, true)),
        }
    }

    async fn reconnect(&self, when: When) -> std::io::Result<SendRequest<Bytes>> {
        let (stream, closer) = connect_stream(self.address, self.tls.as_ref(), when).await?;
        let handshake = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false)
            .handshake::<_, Bytes>(stream);
        let (send, connection) = handshake.await.map_err(std::io::Error::other)?;
        drop(monoio::spawn(async move {
            // Its streams say what happened.
            drop(connection.await);
        }));
        *self.closer.borrow_mut() = Some(closer);
        *self.send.borrow_mut() = Some(send.clone());
        self.generation.set(self.generation.get() + 1);
        Ok(send)
    }

    /// Sends a request and reads its answer. Gives it with whether a connection had to be made.
    ///
    /// # Errors
    /// The stream or its connection broke, or the answer is not HTTP/2. A status is never an error here.
    pub async fn exchange(
        &self,
        head: &[u8],
        body: &Bytes,
        wanted: Wanted<'_>,
    ) -> (Result<Answer, Failed>, bool) {
        let open = self.send.borrow().clone();
        let (send, is_new) = match open {
            Some(send) => (send, false),
            None => match self.reconnect_once().await {
                Ok(made) => made,
                Err(error) => return (Err((Failure::Connect, error.to_string())), true),
            },
        };
        let generation = self.generation.get();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let result = exchange(send, scheme, head, body, wanted).await;
        if result.is_err() && self.generation.get() == generation {
            *self.send.borrow_mut() = None;
        }
        (result, is_new)
    }
}

async fn exchange(
    send: SendRequest<Bytes>,
    scheme: &str,
    head: &[u8],
    body: &Bytes,
    wanted: Wanted<'_>,
) -> Result<Answer, Failed> {
    let request = request(scheme, head)?;
    let mut send = send.ready().await.map_err(|error| broken("waiting for a stream", &error))?;
    let (response, mut stream) =
        send.send_request(request, body.is_empty()).map_err(|error| broken("sending the head", &error))?;
    let mut rest = body.clone();
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(0)) => {}
            Some(Ok(room)) => {
                let piece = rest.split_to(room.min(rest.len()));
                let is_last = rest.is_empty();
                if let Err(error) = stream.send_data(piece, is_last) {
                    return Err(broken("sending the body", &error));
                }
            }
            // The server refused the rest: its answer says why.
            None | Some(Err(_)) => break,
        }
    }
    let response = response.await.map_err(|error| broken("receiving the answer", &error))?;
    let status = response.status().as_u16();
    let etag = response.headers().get(ETAG).filter(|_| wanted.is_heard);
    let etag = etag.map_or_else(Vec::new, |value| value.as_bytes().to_vec());
    let mut answer = Answer { etag, ..Answer::of(status) };
    let mut incoming = response.into_body();
    while let Some(data) = incoming.data().await {
        let data = data.map_err(|error| broken("receiving the answer's body", &error))?;
        answer.take(&data, wanted);
        incoming
            .flow_control()
            .release_capacity(data.len())
            .map_err(|error| broken("receiving the answer's body", &error))?;
    }
    Ok(answer)
}

fn broken(what: &str, error: &h2::Error) -> Failed {
    (Failure::Broken, format!("{what}: {error}"))
}

/// The ready head as HTTP/2 has it: the host becomes the authority, framing and connection headers go.
fn request(scheme: &str, head: &[u8]) -> Result<Request<()>, Failed> {
    let cannot = |what: &str| (Failure::Malformed, format!("our own request cannot be sent: {what}"));
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).map_err(|error| cannot(&error.to_string()))?;
    let method = parsed.method.unwrap_or("GET").parse::<Method>().map_err(|_| cannot("method"))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    let mut authority = "";
    for header in parsed.headers.iter() {
        let value = HeaderValue::from_bytes(header.value).map_err(|_| cannot(header.name))?;
        if header.name.eq_ignore_ascii_case("host") {
            authority = std::str::from_utf8(header.value).map_err(|_| cannot(header.name))?;
        } else if !header.name.eq_ignore_ascii_case("connection") {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| cannot(header.name))?;
            request.headers_mut().append(name, value);
        }
    }
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(parsed.path.unwrap_or("/"))
        .build()
        .map_err(|error| cannot(&error.to_string()))?;
    *request.uri_mut() = uri;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_head_becomes_a_request_of_http_2() {
        let head = b"PUT /b/k?x=1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
        let request = request("http", head).expect("is one");
        assert_eq!(request.uri().to_string(), "http://h:1/b/k?x=1");
        assert_eq!((request.method(), request.headers().len()), (&Method::PUT, 1));
        assert!(super::request("http", b"PUT\r\n\r\n").is_err());
    }
}
