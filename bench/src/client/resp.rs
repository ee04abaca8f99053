//! RESP 2, the protocol of Redis ("Redis serialization protocol specification"): SET and GET.
//!
//! ```text
//! *3 CRLF $3 CRLF SET CRLF $<bytes> CRLF <key> CRLF $<bytes> CRLF | <value> CRLF      answered +OK, or -<words>
//! *2 CRLF $3 CRLF GET CRLF $<bytes> CRLF <key> CRLF               |                   answered $<bytes>, or $-1, or -<words>
//! ```
//!
//! What stands before the bar is a head, made ahead of the clock; the value is the body.
//! Invariant: after an answer the connection stands at the beginning of the next one; a value is counted, never kept.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr;

use super::buffered::{Buffered, malformed, outcome, refused, words};
use super::http1::{Answer, Failed};
use super::wire::Wire;
use crate::load::recorder::Failure;
use crate::scenario::Credentials;

/// The line that an answer begins with.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Redis' own bound (`proto-max-bulk-len`).
const VALUE_BYTES_MAX: u64 = 512 << 20;
/// What every SET begins with, and no GET.
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n";
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n";

/// Appends the head of a SET, to which a value of `value_bytes` belongs.
pub fn append_set(out: &mut Vec<u8>, key: &str, value_bytes: usize) {
    out.extend_from_slice(SET);
    append_text(out, key);
    out.extend_from_slice(format!("${value_bytes}\r\n").as_bytes());
}

/// Appends a GET.
pub fn append_get(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(GET);
    append_text(out, key);
}

fn append_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
}

/// What an answer begins with, and all of it but of a value.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// `+words`.
    Simple(String),
    /// `-words`.
    Error(String),
    /// `$<bytes>`: so many bytes and CRLF follow.
    Value(u64),
    /// `$-1`.
    Nothing,
}

/// Reads an answer's first line.
fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Failed> {
    let shown = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(&kind) = shown.first() else { return Ok(None) };
    if !b"+-$".contains(&kind) {
        return Err(malformed(format!("an answer that begins with {}", words(shown))));
    }
    let Some(end) = memchr(b'\n', shown) else {
        if shown.len() == LINE_BYTES_MAX {
            return Err(malformed("a line without an end"));
        }
        return Ok(None);
    };
    let Some(line) = shown[1..end].strip_suffix(b"\r") else {
        return Err(malformed(format!("a line that does not end as lines do: {}", words(shown))));
    };
    let reply = match kind {
        b'+' => Reply::Simple(words(line)),
        b'-' => Reply::Error(words(line)),
        _ if line == b"-1" => Reply::Nothing,
        _ => Reply::Value(length(line)?),
    };
    Ok(Some((reply, end + 1)))
}

fn length(digits: &[u8]) -> Result<u64, Failed> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = text.and_then(|text| text.parse().ok()).filter(|bytes| *bytes <= VALUE_BYTES_MAX);
    length.ok_or_else(|| malformed(format!("a value of {} bytes", words(digits))))
}

/// The CRLF behind a value.
fn parse_end(bytes: &[u8]) -> Result<Option<((), usize)>, Failed> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some(((), 2))),
        [] | [b'\r'] => Ok(None),
        _ => Err(malformed("a value is longer than its length")),
    }
}

/// A connection that sends one command at a time.
pub struct Connection {
    buffered: Buffered,
}

impl Connection {
    /// Speaks over `wire`, and finds out that Redis does too. Logs in if there are credentials.
    ///
    /// # Errors
    /// Nobody who speaks RESP, or who lets us in.
    pub async fn greet(wire: Wire, credentials: Option<&Credentials>) -> Result<Connection, Failed> {
        let mut connection = Connection { buffered: Buffered::new(wire) };
        let (greeting, expected) = greeting(credentials);
        connection.buffered.output().extend_from_slice(&greeting);
        connection.buffered.flush().await?;
        match connection.buffered.parsed(parse).await? {
            Reply::Simple(text) if text == expected => Ok(connection),
            Reply::Error(text) => Err(refused(text)),
            other => Err(malformed(format!("a greeting is answered {other:?}"))),
        }
    }

    /// Sends a command and reads its answer. A key that is not there is a 404.
    ///
    /// # Errors
    /// The connection broke, the server refuses, or its answer is not one to this command.
    pub async fn exchange(&mut self, head: &[u8], body: &Bytes) -> Result<Answer, Failed> {
        let is_set = head.starts_with(SET);
        self.buffered.output().extend_from_slice(head);
        let sent = self.buffered.send(body, if is_set { b"\r\n" } else { b"" }).await;
        let answer = self.receive(is_set).await;
        outcome(sent, answer)
    }

    async fn receive(&mut self, is_set: bool) -> Result<Answer, Failed> {
        let mut answer = Answer::of(200);
        match (self.buffered.parsed(parse).await?, is_set) {
            (Reply::Simple(text), true) if text == "OK" => {}
            (Reply::Value(value_bytes), false) => {
                self.buffered.skip(value_bytes).await?;
                self.buffered.parsed(parse_end).await?;
                answer.body_bytes = value_bytes;
            }
            (Reply::Nothing, false) => {
                answer.status = 404;
                answer.body = b"the key is not there".to_vec();
            }
            (Reply::Error(text), _) => return Err(refused(text)),
            (other, _) => return Err((Failure::Content, format!("an answer to another command: {other:?}"))),
        }
        if !self.buffered.unread().is_empty() {
            return Err(malformed("more than one answer to one command"));
        }
        Ok(answer)
    }
}

/// What is said first, and what is answered to it.
fn greeting(credentials: Option<&Credentials>) -> (Vec<u8>, &'static str) {
    let Some(credentials) = credentials else { return (b"*1\r\n$4\r\nPING\r\n".to_vec(), "PONG") };
    let mut out = b"*3\r\n$4\r\nAUTH\r\n".to_vec();
    append_text(&mut out, &credentials.access_key);
    append_text(&mut out, &credentials.secret_key);
    (out, "OK")
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A connection outside the clock, which makes what is there before the first request.
pub struct Filler {
    socket: TcpStream,
}

impl Filler {
    /// Connects, and logs in if there are credentials.
    ///
    /// # Errors
    /// In words: no connection, no Redis.
    pub fn connect(address: SocketAddr, credentials: Option<&Credentials>) -> Result<Filler, String> {
        let connect = || {
            let socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(SILENCE_MAX))?;
            socket.set_write_timeout(Some(SILENCE_MAX))?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = connect().map_err(|error| format!("{address} takes no connection: {error}"))?;
        let mut filler = Filler { socket };
        let (greeting, expected) = greeting(credentials);
        filler.ask(&greeting, expected)?;
        Ok(filler)
    }

    /// SET, acknowledged.
    ///
    /// # Errors
    /// In words: what was answered instead.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let mut command = Vec::with_capacity(key.len() + value.len() + SET.len() + 32);
        append_set(&mut command, key, value.len());
        command.extend_from_slice(value);
        command.extend_from_slice(b"\r\n");
        self.ask(&command, "OK")
    }

    fn ask(&mut self, command: &[u8], expected: &str) -> Result<(), String> {
        self.socket.write_all(command).map_err(|error| format!("sending: {error}"))?;
        let mut input = Vec::new();
        loop {
            match parse(&input).map_err(|(_, words)| words)? {
                Some((Reply::Simple(text), _)) if text == expected => return Ok(()),
                Some((Reply::Error(text), _)) => return Err(text),
                Some((other, _)) => return Err(format!("answered {other:?}")),
                None => {}
            }
            let mut piece = [0; 512];
            match self.socket.read(&mut piece).map_err(|error| format!("receiving: {error}"))? {
                0 => return Err("the server closed the connection".to_owned()),
                count => input.extend_from_slice(&piece[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::hostile;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        append_set(&mut out, "mykey", 5);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$5\r\nmykey\r\n$5\r\n");
        out.clear();
        append_get(&mut out, "mykey");
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$5\r\nmykey\r\n");
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let read = |bytes: &[u8]| parse(bytes).expect("RESP").expect("whole");
        assert_eq!(read(b"+OK\r\n"), (Reply::Simple("OK".to_owned()), 5));
        let error = "WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(read(format!("-{error}\r\n").as_bytes()).0, Reply::Error(error.to_owned()));
        assert_eq!(read(b"$5\r\nhello\r\n"), (Reply::Value(5), 4));
        assert_eq!(read(b"$0\r\n\r\n"), (Reply::Value(0), 4));
        assert_eq!(read(b"$-1\r\n"), (Reply::Nothing, 5));
    }

    #[test]
    fn what_is_not_an_answer_of_ours_is_refused() {
        for bytes in [
            b":1000\r\n".as_slice(),
            b"*0\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"$-2\r\n",
            b"$+5\r\n",
            b"$\r\n",
            b"$5 \r\n",
            b"$99999999999999999999\r\n",
            b"$536870913\r\n",
            b"+OK\n",
            b"\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{}", words(bytes));
        }
        let endless = [b"+".as_slice(), &vec![b'a'; LINE_BYTES_MAX]].concat();
        assert!(parse(&endless).is_err());
        assert!(parse_end(b"\r\n+").expect("an end").is_some() && parse_end(b"xx").is_err());
    }

    #[test]
    fn no_cut_and_no_change_of_an_answer_brings_the_parser_down() {
        for whole in [b"+OK\r\n".as_slice(), b"-ERR unknown\r\n", b"$1024\r\n", b"$-1\r\n"] {
            hostile::every_beginning(whole, |bytes| parse(bytes).map(|read| read.map(|(_, bytes)| bytes)));
            hostile::changed(whole, |bytes| drop(parse(bytes)));
        }
    }

    /// What comes of a command when the server answers so.
    fn answered(command: &[u8], body: &'static [u8], answers: &[&'static [u8]]) -> Result<Answer, Failed> {
        let greeting = b"+PONG\r\n".as_slice();
        let command = command.to_vec();
        hostile::against([&[greeting], answers].concat(), async move |wire| {
            let mut connection = Connection::greet(wire, None).await?;
            connection.exchange(&command, &Bytes::from_static(body)).await
        })
    }

    #[test]
    fn garbled_answers_end_an_exchange() {
        let mut command = Vec::new();
        append_get(&mut command, "key");
        hostile::garbled(&[b"+PONG\r\n", b"$5\r\nhello\r\n"], false, async |wire| {
            let mut connection = Connection::greet(wire, None).await?;
            connection.exchange(&command, &Bytes::new()).await
        });
    }

    #[test]
    fn an_answer_counts_when_it_is_one_to_the_command() {
        let (mut set, mut get) = (Vec::new(), Vec::new());
        append_set(&mut set, "key", 5);
        append_get(&mut get, "key");
        assert_eq!(answered(&set, b"hello", &[b"+OK\r\n"]).expect("stored").status, 200);
        let value = answered(&get, b"", &[b"$5\r\nhello\r\n"]).expect("a value");
        assert_eq!((value.status, value.body_bytes), (200, 5));
        assert_eq!(answered(&get, b"", &[b"$-1\r\n"]).expect("an answer").status, 404);
        let kind = |answer: Result<Answer, Failed>| answer.map(|_| ()).expect_err("a failure").0;
        assert_eq!(kind(answered(&set, b"hello", &[b"-OOM no memory\r\n"])), Failure::Refused);
        assert_eq!(kind(answered(&set, b"hello", &[b"$5\r\nhello\r\n"])), Failure::Content);
        assert_eq!(kind(answered(&set, b"hello", &[b"+OK\r\n+OK\r\n"])), Failure::Malformed);
        assert_eq!(kind(answered(&get, b"", &[b"$4\r\nhello\r\n"])), Failure::Malformed);
        assert_eq!(kind(answered(&get, b"", &[b"$6\r\nhello"])), Failure::Broken);
        assert_eq!(kind(answered(&get, b"", &[])), Failure::Broken);
    }
}
