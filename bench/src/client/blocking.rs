//! HTTP/1.1 on a blocking socket, plain or under TLS, for what happens outside the clock: making buckets and objects,
//! looking at one answer.
//! Invariant: after an exchange that gave an answer the next one may follow; the connection is made anew when the server
//! does not keep it.
//! Left to others: whom to trust (wire.rs), and everything that is measured (http1.rs).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::http1::{Framing, Head, longer_than_its_size, parse, parse_chunk_size, parse_line};
use super::wire::Tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A durable write to a busy disk may take long; a server that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Answers here are listings and errors.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// A client of one server.
pub struct Client {
    address: SocketAddr,
    tls: Option<Tls>,
    socket: Option<Box<dyn Stream>>,
    /// What was received and not yet looked at.
    input: Vec<u8>,
}

/// A socket, or TLS over one.
trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A socket whose operations begin again when they were interrupted. The kernel interrupts a thread that has a ring, as that
/// of a worker, to finish the ring's work, and operations with a time limit do not begin again by themselves (signal(7)).
struct Uninterrupted<S>(S);

impl<S: Read> Read for Uninterrupted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.read(buffer))
    }
}

impl<S: Write> Write for Uninterrupted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        again(|| self.0.flush())
    }
}

fn again<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// An answer, whole.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of `address`; it connects when it is first used. Whatever the load speaks, this is HTTP/1.1.
    pub fn new(address: SocketAddr, tls: Option<&Tls>) -> Client {
        Client { address, tls: tls.map(Tls::for_http1), socket: None, input: Vec::new() }
    }

    /// Sends a request, whose method is not HEAD, and reads its answer.
    ///
    /// # Errors
    /// No connection, a broken one, an answer that is not HTTP or above 64 MiB.
    pub fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<Answer, String> {
        if self.socket.is_none() {
            self.input.clear();
            let connected = self.connect();
            self.socket =
                Some(connected.map_err(|error| format!("{} takes no connection: {error}", self.address))?);
        }
        let sent = self.send(head, body);
        let received = sent.map_err(|error| format!("sending: {error}")).and_then(|()| self.receive());
        match received {
            Ok((answer, true)) => Ok(answer),
            Ok((answer, false)) => {
                self.socket = None;
                Ok(answer)
            }
            Err(error) => {
                self.socket = None;
                Err(format!("{}: {error}", self.address))
            }
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        socket.set_write_timeout(Some(SILENCE_MAX))?;
        let socket = Uninterrupted(socket);
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let connection = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone());
        let mut stream = StreamOwned::new(connection.map_err(io::Error::other)?, socket);
        // Here, so that a certificate that nobody trusts is named as what keeps the connection from being made.
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Box::new(stream))
    }

    fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if body.len() <= PIECE_BYTES {
            socket.write_all(&[head, body].concat())?;
        } else {
            socket.write_all(head)?;
            socket.write_all(body)?;
        }
        socket.flush()
    }

    /// The answer, and whether the connection is kept.
    fn receive(&mut self) -> Result<(Answer, bool), String> {
        let head = self.head()?;
        let mut answer = Answer { status: head.status, body: Vec::new() };
        match head.framing {
            Framing::None => {}
            Framing::Length(length) => self.body(length, &mut answer.body)?,
            Framing::Chunked => self.chunks(&mut answer.body)?,
            Framing::UntilClose => {
                while self.fill()? > 0 {}
                answer.body = std::mem::take(&mut self.input);
                return Ok((answer, false));
            }
        }
        Ok((answer, head.keeps))
    }

    fn head(&mut self) -> Result<Head, String> {
        loop {
            match parse(&self.input).map_err(|(_, words)| words)? {
                Some((head, head_bytes)) => {
                    self.input.drain(..head_bytes);
                    // 100 Continue and its like: the answer proper follows.
                    if head.status >= 200 {
                        return Ok(head);
                    }
                }
                None => self.more()?,
            }
        }
    }

    fn body(&mut self, length: u64, body: &mut Vec<u8>) -> Result<(), String> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX - body.len() {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
        }
        while self.input.len() < length {
            self.more()?;
        }
        body.extend(self.input.drain(..length));
        Ok(())
    }

    /// RFC 9112 7.1: size lines, data, an empty trailer section or one that is skipped.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let Some((line_bytes, size)) = parse_chunk_size(&self.input).map_err(|(_, words)| words)? else {
                self.more()?;
                continue;
            };
            self.input.drain(..line_bytes);
            if size == 0 {
                while !self.passes_empty_line()? {}
                return Ok(());
            }
            self.body(size, body)?;
            if !self.passes_empty_line()? {
                return Err(longer_than_its_size().1);
            }
        }
    }

    /// Passes a line and says whether it was empty.
    fn passes_empty_line(&mut self) -> Result<bool, String> {
        loop {
            if let Some((line_bytes, is_empty)) = parse_line(&self.input) {
                self.input.drain(..line_bytes);
                return Ok(is_empty);
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> Result<(), String> {
        match self.fill()? {
            0 => Err("the server closed the connection before its answer was whole".to_owned()),
            _ => Ok(()),
        }
    }

    /// Receives some bytes; 0 at the end of the connection.
    fn fill(&mut self) -> Result<usize, String> {
        let filled = self.input.len();
        if filled > ANSWER_BYTES_MAX {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
        }
        self.input.resize(filled + PIECE_BYTES, 0);
        let socket = self.socket.as_mut().ok_or("not connected")?;
        let result = socket.read(&mut self.input[filled..]);
        let count = result.map_err(|error| {
            self.input.truncate(filled);
            format!("receiving: {error}")
        })?;
        self.input.truncate(filled + count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Gives each answer to one request of three bytes, then closes; the client asks for all of them.
    fn answers(given: &'static [&'static str]) -> Vec<Result<Answer, String>> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut client = Client::new(listener.local_addr().expect("an address"), None);
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("accepted");
            for answer in given {
                socket.read_exact(&mut [0; 3]).expect("a request");
                // In pieces: no part of an answer may be taken for granted.
                for piece in answer.as_bytes().chunks(7) {
                    socket.write_all(piece).expect("written");
                }
            }
        });
        let answers = given.iter().map(|_| client.exchange(b"he", b"b")).collect();
        server.join().expect("ended");
        answers
    }

    /// Is interrupted every other time.
    struct Nervous {
        is_calm: bool,
    }

    impl Nervous {
        fn once(&mut self) -> io::Result<usize> {
            self.is_calm = !self.is_calm;
            if self.is_calm { Err(io::ErrorKind::Interrupted.into()) } else { Ok(1) }
        }
    }

    impl Read for Nervous {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.once()
        }
    }

    impl Write for Nervous {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.once()
        }

        fn flush(&mut self) -> io::Result<()> {
            self.once().map(drop)
        }
    }

    #[test]
    fn an_interrupted_operation_begins_again() {
        let mut socket = Uninterrupted(Nervous { is_calm: false });
        for _ in 0..2 {
            assert!(socket.read(&mut [0]).is_ok_and(|count| count == 1));
            assert!(socket.write(b"b").is_ok_and(|count| count == 1) && socket.flush().is_ok());
        }
    }

    #[test]
    fn every_framing_is_read_to_its_end_and_no_further() {
        let answers = answers(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n8\r\nde\r\nfghi\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe rest",
        ]);
        let seen: Vec<(u16, String)> = answers
            .into_iter()
            .map(|answer| answer.expect("an answer"))
            .map(|answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
            .collect();
        let expected = [(200, "hello"), (409, "abcde\r\nfghi"), (204, ""), (200, "the rest")];
        assert_eq!(seen, expected.map(|(status, body)| (status, body.to_owned())));
    }

    #[test]
    fn a_connection_that_the_server_does_not_keep_is_made_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut client = Client::new(listener.local_addr().expect("an address"), None);
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().expect("accepted");
                socket.read_exact(&mut [0; 3]).expect("a request");
                let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
                socket.write_all(answer).expect("written");
            }
        });
        for _ in 0..2 {
            assert_eq!(client.exchange(b"he", b"b").map(|answer| answer.body), Ok(b"a".to_vec()));
        }
        server.join().expect("ended");
    }

    #[test]
    fn an_answer_that_ends_too_early_is_an_error() {
        let answers = answers(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"]);
        assert!(answers[0].as_ref().is_err_and(|words| words.contains("before its answer was whole")));
    }

    /// A certificate, and what trusts it and speaks HTTP/2.
    fn certificate(name: &str) -> (rcgen::CertifiedKey<rcgen::KeyPair>, Tls) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let file = std::env::temp_dir().join(format!("zerobench-{name}-{}.pem", std::process::id()));
        std::fs::write(&file, made.cert.pem()).expect("written");
        let trusts = Tls::trusting(&file, "localhost:1", true).expect("trusts");
        std::fs::remove_file(&file).expect("removed");
        (made, trusts)
    }

    /// A server over TLS that answers one request of three bytes.
    fn over_tls(
        made: &rcgen::CertifiedKey<rcgen::KeyPair>,
    ) -> (SocketAddr, thread::JoinHandle<io::Result<()>>) {
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
            .expect("fits");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let connection = rustls::ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, listener.accept()?.0);
            stream.read_exact(&mut [0; 3])?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
            stream.flush()
        });
        (address, server)
    }

    #[test]
    fn under_tls_it_speaks_http_1_even_for_a_load_of_http_2() {
        let (made, trusts) = certificate("trusted");
        let (address, server) = over_tls(&made);
        let answer = Client::new(address, Some(&trusts)).exchange(b"he", b"b");
        assert_eq!(answer.map(|answer| answer.body), Ok(b"hello".to_vec()));
        server.join().expect("ended").expect("served");
    }

    #[test]
    fn a_server_whose_certificate_nobody_trusts_gets_no_request() {
        let (address, server) = over_tls(&certificate("stranger").0);
        let (_, trusts_another) = certificate("another");
        let answer = Client::new(address, Some(&trusts_another)).exchange(b"he", b"b");
        assert!(answer.is_err_and(|words| words.contains("takes no connection")));
        assert!(server.join().expect("ended").is_err());
    }
}
