//! NATS ("NATS Protocols: Client Protocol") as far as JetStream needs it: publish into a stream, and await that it is stored.
//!
//! ```text
//! PUB <subject> <inbox> <bytes> CRLF | <payload> CRLF                  head, made ahead of the clock, and body
//! MSG <inbox> 1 <bytes> CRLF {"stream":"..","seq":N} CRLF              the acknowledgement: stored as the stream promises
//! PING CRLF                                                            answered PONG CRLF whenever it comes
//! -ERR '<words>' CRLF                                                  the end of the connection
//! ```
//!
//! Each connection has an inbox of its own, written over the blank that a head has in its place.
//! Invariant: a request is good only if the server names the stream and a place in it; what comes under another name than
//! our inbox, or is not expected, is a failure.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memchr::memchr;
use serde::Deserialize;

use super::buffered::{Buffered, malformed, outcome, refused, words};
use super::http1::{Answer, Failed};
use super::wire::Wire;
use crate::load::schedule::SplitMix;
use crate::scenario::Credentials;

/// The stream that is published into, and its only subject: every message goes under the same one, as into a queue.
const STREAM: &str = "zerobench";
/// `_INBOX.` and 16 digits.
const INBOX_BYTES: usize = 23;
const BLANK_INBOX: &str = "_INBOX.0000000000000000";
/// A line: the server's INFO is the longest.
const LINE_BYTES_MAX: usize = 32 << 10;
/// A message to us: the answer to the stream's creation is the longest.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Appends the head of a publication, to which a payload of `payload_bytes` belongs.
pub fn append_publish(out: &mut Vec<u8>, payload_bytes: usize) {
    append_to(out, STREAM, BLANK_INBOX, payload_bytes);
}

fn append_to(out: &mut Vec<u8>, subject: &str, inbox: &str, payload_bytes: usize) {
    out.extend_from_slice(format!("PUB {subject} {inbox} {payload_bytes}\r\n").as_bytes());
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// INFO, with its JSON.
    Info(String),
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// +OK.
    Ok,
    /// -ERR, with its words.
    Error(String),
    /// MSG or HMSG.
    Message { subject: String, header: Vec<u8>, payload: Vec<u8> },
}

/// Reads what a server says, with the payload of a message.
fn parse(bytes: &[u8]) -> Result<Option<(Said, usize)>, Failed> {
    let shown = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr(b'\n', shown) else {
        if shown.len() == LINE_BYTES_MAX {
            return Err(malformed("a line without an end"));
        }
        return Ok(None);
    };
    let line = shown[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let line =
        line.ok_or_else(|| malformed(format!("a line that is none of NATS: {}", words(&shown[..end]))))?;
    let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let said = match verb {
        "MSG" | "HMSG" => return message(verb == "HMSG", rest, bytes, end + 1),
        "INFO" => Said::Info(rest.trim().to_owned()),
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        "+OK" => Said::Ok,
        "-ERR" => Said::Error(words(rest.trim().trim_matches('\'').as_bytes())),
        _ => return Err(malformed(format!("a line that is none of NATS: {}", words(line.as_bytes())))),
    };
    Ok(Some((said, end + 1)))
}

/// `subject sid [reply-to] [header-bytes] total-bytes`, then header and payload, then CRLF.
fn message(
    has_header: bool,
    rest: &str,
    bytes: &[u8],
    start: usize,
) -> Result<Option<(Said, usize)>, Failed> {
    let bad = || malformed(format!("a message that is announced so: {}", words(rest.as_bytes())));
    let mut fields = rest.split_ascii_whitespace();
    let subject = fields.next().ok_or_else(bad)?;
    if fields.next() != Some(SUBSCRIPTION) {
        return Err(bad());
    }
    let mut rest = [""; 3];
    let mut count = 0;
    for field in fields {
        *rest.get_mut(count).ok_or_else(bad)? = field;
        count += 1;
    }
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<usize>().ok().filter(|bytes| is_number && *bytes <= MESSAGE_BYTES_MAX);
        number.ok_or_else(bad)
    };
    let (header_bytes, total_bytes) = match (has_header, count) {
        (false, 1 | 2) => (0, number(rest[count - 1])?),
        (true, 2 | 3) => (number(rest[count - 2])?, number(rest[count - 1])?),
        _ => return Err(bad()),
    };
    if header_bytes > total_bytes {
        return Err(bad());
    }
    let whole = &bytes[start..];
    if whole.len() < total_bytes + 2 {
        return Ok(None);
    }
    if &whole[total_bytes..total_bytes + 2] != b"\r\n" {
        return Err(malformed("a message is longer than its length"));
    }
    let said = Said::Message {
        subject: subject.to_owned(),
        header: whole[..header_bytes].to_vec(),
        payload: whole[header_bytes..total_bytes].to_vec(),
    };
    Ok(Some((said, start + total_bytes + 2)))
}

/// Of our only subscription.
const SUBSCRIPTION: &str = "1";

/// What JetStream answers to a publication ("JetStream API: PubAck"), or to a stream's creation.
#[derive(Deserialize)]
struct Stored {
    error: Option<ApiError>,
    stream: Option<String>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct ApiError {
    code: u64,
    description: Option<String>,
}

/// Reads JetStream's answer; an error in it is one of ours.
fn stored(header: &[u8], payload: &[u8]) -> Result<Stored, Failed> {
    // "NATS/1.0 503": nobody hears what was published, so there is no stream.
    let mut status =
        header.split(|byte| *byte == b'\r').next().unwrap_or_default().split(|byte| *byte == b' ');
    if let (Some(b"NATS/1.0"), Some(status)) = (status.next(), status.next()) {
        return Err(refused(format!("status {} instead of an acknowledgement", words(status))));
    }
    let stored: Stored = serde_json::from_slice(payload).map_err(|error| {
        malformed(format!("an acknowledgement that is not JSON ({error}): {}", words(payload)))
    })?;
    match stored.error {
        Some(ApiError { code, description }) => {
            let words = words(description.unwrap_or_default().as_bytes());
            Err(refused(format!("error {code}: {words}")))
        }
        None => Ok(stored),
    }
}

/// A connection that publishes one message at a time.
pub struct Connection {
    buffered: Buffered,
    inbox: String,
    payload_bytes_max: usize,
}

/// What of a server's INFO matters here.
#[derive(Deserialize)]
struct Info {
    max_payload: usize,
    #[serde(default)]
    headers: bool,
    #[serde(default)]
    tls_required: bool,
}

impl Connection {
    /// Speaks over `wire`: connects, subscribes to an inbox of its own, and makes the stream unless it is there.
    ///
    /// # Errors
    /// Nobody who speaks NATS, lets us in, and has JetStream.
    pub async fn greet(wire: Wire, credentials: Option<&Credentials>) -> Result<Connection, Failed> {
        Connection::greet_as(wire, credentials, inbox()).await
    }

    async fn greet_as(
        wire: Wire,
        credentials: Option<&Credentials>,
        inbox: String,
    ) -> Result<Connection, Failed> {
        let mut connection = Connection { buffered: Buffered::new(wire), inbox, payload_bytes_max: 0 };
        let info = match connection.buffered.parsed(parse).await? {
            Said::Info(info) => info,
            other => return Err(malformed(format!("a server that does not introduce itself: {other:?}"))),
        };
        let info: Info = serde_json::from_str(&info).map_err(|error| malformed(format!("INFO: {error}")))?;
        if info.tls_required || !info.headers {
            return Err(refused("the server wants TLS, or knows no headers"));
        }
        connection.payload_bytes_max = info.max_payload;
        let greeting = connection.greeting(credentials);
        connection.buffered.output().extend_from_slice(&greeting);
        connection.buffered.flush().await?;
        match connection.heard().await? {
            Said::Pong => {}
            other => return Err(malformed(format!("PING is answered {other:?}"))),
        }
        connection.make_stream().await?;
        Ok(connection)
    }

    fn greeting(&self, credentials: Option<&Credentials>) -> Vec<u8> {
        let mut options = serde_json::json!({
            "verbose": false, "pedantic": false, "tls_required": false, "name": "zerobench", "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "headers": true, "no_responders": true,
        });
        if let Some(credentials) = credentials {
            options["user"] = credentials.access_key.as_str().into();
            options["pass"] = credentials.secret_key.as_str().into();
        }
        format!("CONNECT {options}\r\nSUB {} {SUBSCRIPTION}\r\nPING\r\n", self.inbox).into_bytes()
    }

    /// Creation of a stream that is there and is the same succeeds too.
    async fn make_stream(&mut self) -> Result<(), Failed> {
        let settings = serde_json::json!({
            "name": STREAM, "subjects": [STREAM], "storage": "file", "retention": "limits", "num_replicas": 1,
        });
        let settings = settings.to_string();
        let output = self.buffered.output();
        append_to(output, &format!("$JS.API.STREAM.CREATE.{STREAM}"), &self.inbox, settings.len());
        output.extend_from_slice(settings.as_bytes());
        output.extend_from_slice(b"\r\n");
        self.buffered.flush().await?;
        let (header, payload) = self.answer().await?;
        stored(&header, &payload).map(drop)
    }

    /// Publishes and awaits the acknowledgement.
    ///
    /// # Errors
    /// The connection broke, the server refuses, or its answer is not an acknowledgement.
    pub async fn exchange(&mut self, head: &[u8], body: &Bytes) -> Result<Answer, Failed> {
        if body.len() > self.payload_bytes_max {
            return Err(refused(format!("the server takes {} bytes at most", self.payload_bytes_max)));
        }
        let output = self.buffered.output();
        output.extend_from_slice(head);
        address(output, &self.inbox);
        let sent = self.buffered.send(body, b"\r\n").await;
        let answer = self.acknowledgement().await;
        outcome(sent, answer)
    }

    async fn acknowledgement(&mut self) -> Result<Answer, Failed> {
        let (header, payload) = self.answer().await?;
        let stored = stored(&header, &payload)?;
        if stored.stream.as_deref() != Some(STREAM) || stored.seq.unwrap_or(0) == 0 || stored.duplicate {
            return Err(malformed(format!("no acknowledgement of a new message: {}", words(&payload))));
        }
        Ok(Answer::of(200))
    }

    async fn answer(&mut self) -> Result<(Vec<u8>, Vec<u8>), Failed> {
        match self.heard().await? {
            Said::Message { subject, header, payload } if subject == self.inbox => Ok((header, payload)),
            other => Err(malformed(format!("not an answer to what was published: {other:?}"))),
        }
    }

    /// The next thing that the server says of which something follows.
    async fn heard(&mut self) -> Result<Said, Failed> {
        loop {
            match self.buffered.parsed(parse).await? {
                Said::Ping => {
                    self.buffered.output().extend_from_slice(b"PONG\r\n");
                    self.buffered.flush().await?;
                }
                // INFO tells of other servers that come and go.
                Said::Info(_) | Said::Ok => {}
                Said::Error(text) => return Err(refused(text)),
                said @ (Said::Pong | Said::Message { .. }) => return Ok(said),
            }
        }
    }
}

/// Writes the inbox over the blank of the head that `output` ends with: the field before the last.
fn address(output: &mut [u8], inbox: &str) {
    let end = memchr::memrchr(b' ', output).expect("append_publish wrote it");
    output[end - INBOX_BYTES..end].copy_from_slice(inbox.as_bytes());
}

/// A name that no other connection has, of this program or of another that runs at the same time.
fn inbox() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = SplitMix((u64::from(std::process::id()) << 32) ^ number).next();
    format!("_INBOX.{name:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::hostile;
    use crate::load::recorder::Failure;

    fn read(bytes: &[u8]) -> Said {
        let (said, said_bytes) = parse(bytes).expect("NATS").expect("whole");
        assert_eq!(said_bytes, bytes.len());
        said
    }

    fn message(subject: &str, header: &[u8], payload: &[u8]) -> Said {
        Said::Message { subject: subject.to_owned(), header: header.to_vec(), payload: payload.to_vec() }
    }

    #[test]
    fn the_examples_of_the_specification_are_written_and_read() {
        let mut out = Vec::new();
        append_to(&mut out, "FRONT.DOOR", "JOKE.22", 11);
        assert_eq!(out, b"PUB FRONT.DOOR JOKE.22 11\r\n");
        let info = "{\"server_id\":\"Zk0GQ3JBSrg3oyxCRRlE09\",\"version\":\"1.2.0\",\"max_payload\":1048576}";
        assert_eq!(read(format!("INFO {info} \r\n").as_bytes()), Said::Info(info.to_owned()));
        assert_eq!(read(b"PING\r\n"), Said::Ping);
        assert_eq!(read(b"PONG\r\n"), Said::Pong);
        assert_eq!(read(b"+OK\r\n"), Said::Ok);
        assert_eq!(
            read(b"-ERR 'Unknown Protocol Operation'\r\n"),
            Said::Error("Unknown Protocol Operation".to_owned())
        );
        assert_eq!(read(b"MSG FOO.BAR 1 11\r\nHello World\r\n"), message("FOO.BAR", b"", b"Hello World"));
        assert_eq!(
            read(b"MSG FOO.BAR 1 GREETING.34 11\r\nHello World\r\n"),
            message("FOO.BAR", b"", b"Hello World")
        );
        let header = b"NATS/1.0\r\nFoodGroup: vegetable\r\n\r\n";
        assert_eq!(
            read(b"HMSG FOO.BAR 1 34 45\r\nNATS/1.0\r\nFoodGroup: vegetable\r\n\r\nHello World\r\n"),
            message("FOO.BAR", header, b"Hello World")
        );
    }

    #[test]
    fn what_is_not_said_to_us_is_refused() {
        for bytes in [
            b"HTTP/1.1 200 OK\r\n".as_slice(),
            b"PING\n",
            b"\xff\xfe\r\n",
            b"\r\n",
            b"MSG\r\n",
            b"MSG a 2 1\r\nx\r\n",
            b"MSG a 1\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 b c 1\r\n",
            b"MSG a 1 b c d e f 1\r\n",
            b"MSG a 1 65537\r\n",
            b"MSG a 1 99999999999999999999\r\n",
            b"MSG a 1 1\r\nxyz\r\n",
            b"HMSG a 1 5 4\r\nabcd\r\n",
            b"HMSG a 1 4\r\nabcd\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{}", words(bytes));
        }
        assert!(parse(&vec![b'a'; LINE_BYTES_MAX]).is_err());
    }

    #[test]
    fn an_acknowledgement_names_stream_and_place_and_an_error_is_a_failure() {
        assert_eq!(
            stored(b"", br#"{"stream":"zerobench","seq":7}"#).map(|stored| stored.seq).ok(),
            Some(Some(7))
        );
        let error = br#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"zerobench","seq":0}"#;
        let failed = stored(b"", error).map(drop).expect_err("a failure");
        assert_eq!(failed, (Failure::Refused, "error 503: maximum messages exceeded".to_owned()));
        let nobody = stored(b"NATS/1.0 503\r\n\r\n", b"").map(drop).expect_err("a failure");
        assert_eq!(nobody, (Failure::Refused, "status 503 instead of an acknowledgement".to_owned()));
        assert_eq!(stored(b"", b"+OK").map(drop).expect_err("a failure").0, Failure::Malformed);
    }

    #[test]
    fn a_head_gets_the_inbox_of_its_connection() {
        let mut out = Vec::new();
        append_publish(&mut out, 1_024);
        let inbox = inbox();
        address(&mut out, &inbox);
        assert_eq!(out, format!("PUB zerobench {inbox} 1024\r\n").as_bytes());
        assert_ne!(inbox, super::inbox());
    }

    #[test]
    fn no_cut_and_no_change_of_what_is_said_brings_the_parser_down() {
        for whole in [
            b"INFO {\"max_payload\":1048576}\r\n".as_slice(),
            b"-ERR 'Stale Connection'\r\n",
            b"MSG _INBOX.1 1 30\r\n{\"stream\":\"zerobench\",\"seq\":7}\r\n",
            b"HMSG _INBOX.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        ] {
            hostile::every_beginning(whole, |bytes| parse(bytes).map(|read| read.map(|(_, bytes)| bytes)));
            hostile::changed(whole, |bytes| {
                if let Ok(Some((Said::Message { header, payload, .. }, _))) = parse(bytes) {
                    drop(stored(&header, &payload));
                }
            });
        }
    }

    const INFO: &[u8] = b"INFO {\"max_payload\":16,\"headers\":true}\r\n";

    /// What comes of a connection and a publication when a server says `made` to the stream's creation and `answer` then.
    fn published(body: &'static [u8], made: &str, answer: &str) -> Result<Answer, Failed> {
        let inbox = inbox();
        let say = |text: &str| match text.strip_prefix('-') {
            Some(_) => format!("{text}\r\n"),
            None => format!("MSG {inbox} 1 {}\r\n{text}\r\n", text.len()),
        };
        let (made, answer) = (say(made), format!("PING\r\n{}", say(answer)));
        let name = inbox.clone();
        let answers = vec![INFO, b"PONG\r\n", made.as_bytes(), answer.as_bytes()];
        hostile::against_first(answers, async move |wire| {
            let mut connection = Connection::greet_as(wire, None, name).await?;
            let mut head = Vec::new();
            append_publish(&mut head, body.len());
            connection.exchange(&head, &Bytes::from_static(body)).await
        })
    }

    #[test]
    fn garbled_answers_end_an_exchange() {
        let inbox = inbox();
        let good = format!("MSG {inbox} 1 30\r\n{{\"stream\":\"zerobench\",\"seq\":7}}\r\n");
        let answers = [INFO, b"PONG\r\n", good.as_bytes(), good.as_bytes()];
        let mut head = Vec::new();
        append_publish(&mut head, 5);
        hostile::garbled(&answers, true, async |wire| {
            let mut connection = Connection::greet_as(wire, None, inbox.clone()).await?;
            connection.exchange(&head, &Bytes::from_static(b"hello")).await
        });
    }

    #[test]
    fn a_publication_is_good_when_it_is_acknowledged_and_pings_are_answered() {
        let good = r#"{"stream":"zerobench","seq":1}"#;
        let made = r#"{"type":"io.nats.jetstream.api.v1.stream_create_response","did_create":true}"#;
        assert_eq!(published(b"hello", made, good).expect("stored").status, 200);
        let failed = |made, answer| published(b"hello", made, answer).map(drop).expect_err("a failure");
        assert_eq!(failed(made, "-ERR 'Slow Consumer'"), (Failure::Refused, "Slow Consumer".to_owned()));
        let error = r#"{"error":{"code":400,"description":"no room"}}"#;
        assert_eq!(failed(error, good), (Failure::Refused, "error 400: no room".to_owned()));
        assert_eq!(failed(made, error), (Failure::Refused, "error 400: no room".to_owned()));
        assert_eq!(failed(made, r#"{"stream":"other","seq":1}"#).0, Failure::Malformed);
        assert_eq!(failed(made, r#"{"stream":"zerobench"}"#).0, Failure::Malformed);
        let large = published(&[0; 17], made, good).map(drop).expect_err("a failure");
        assert_eq!(large, (Failure::Refused, "the server takes 16 bytes at most".to_owned()));
    }
}
