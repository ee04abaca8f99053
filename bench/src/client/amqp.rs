//! AMQP 0-9-1 ("AMQP: Advanced Message Queuing Protocol Specification", 4.2) with RabbitMQ's publisher confirms: one
//! message into a queue, and the word that the queue has it.
//!
//! ```text
//! frame    type u8 | channel u16 | size u32 | payload | 0xCE           numbers are big-endian
//! method   1 | class u16 | method u16 | arguments
//! header   2 | class u16 | weight u16 = 0 | body size u64 | property flags u16 | properties
//! body     3 | bytes, at most what was agreed on for a frame
//! ```
//!
//! Frames of method and header are the head, made ahead of the clock; those of the body are made around its bytes.
//! Invariant: a request is good only if basic.ack names its number. A message that no queue takes comes back as
//! basic.return, and that, basic.nack and both kinds of close are failures with the server's words.

use bytes::Bytes;

use super::buffered::{Buffered, PIECE_BYTES, malformed, outcome, refused, words};
use super::http1::{Answer, Failed};
use super::wire::Wire;
use crate::scenario::Credentials;

/// Of the queue: a message goes to the default exchange under its name.
const QUEUE_DURABLE: &str = "zerobench";
const QUEUE_TRANSIENT: &str = "zerobench-transient";
/// What we offer; servers may want less.
const FRAME_BYTES_MAX: u32 = 128 << 10;
/// AMQP 0-9-1 4.2.3: what every peer takes.
const FRAME_BYTES_MIN: u32 = 4_096;
/// Type, channel, size and end.
const FRAMING_BYTES: usize = 8;
const FRAME_END: u8 = 0xCE;
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const CHANNEL: u16 = 1;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

type MethodId = (u16, u16);
const CONNECTION_START: MethodId = (10, 10);
const CONNECTION_START_OK: MethodId = (10, 11);
const CONNECTION_TUNE: MethodId = (10, 30);
const CONNECTION_TUNE_OK: MethodId = (10, 31);
const CONNECTION_OPEN: MethodId = (10, 40);
const CONNECTION_OPEN_OK: MethodId = (10, 41);
const CONNECTION_CLOSE: MethodId = (10, 50);
const CONNECTION_BLOCKED: MethodId = (10, 60);
const CONNECTION_UNBLOCKED: MethodId = (10, 61);
const CHANNEL_OPEN: MethodId = (20, 10);
const CHANNEL_OPEN_OK: MethodId = (20, 11);
const CHANNEL_CLOSE: MethodId = (20, 40);
const QUEUE_DECLARE: MethodId = (50, 10);
const QUEUE_DECLARE_OK: MethodId = (50, 11);
const BASIC_PUBLISH: MethodId = (60, 40);
const BASIC_RETURN: MethodId = (60, 50);
const BASIC_ACK: MethodId = (60, 80);
const BASIC_NACK: MethodId = (60, 120);
const CONFIRM_SELECT: MethodId = (85, 10);
const CONFIRM_SELECT_OK: MethodId = (85, 11);

/// basic.publish: a message that no queue takes comes back.
const MANDATORY: u8 = 1;
/// basic.ack: this message and all before it.
const MULTIPLE: u8 = 1;
/// queue.declare.
const DURABLE: u8 = 2;
/// Of a header: it has a delivery mode, and nothing else.
const HAS_DELIVERY_MODE: u16 = 1 << 12;
const PERSISTENT: u8 = 2;
const NOT_PERSISTENT: u8 = 1;

/// Appends the head of a publication, to which a body of `body_bytes` belongs.
pub fn append_publish(out: &mut Vec<u8>, is_durable: bool, body_bytes: usize) {
    append_method(out, CHANNEL, BASIC_PUBLISH, |out| {
        out.extend_from_slice(&[0, 0]);
        append_short(out, "");
        append_short(out, queue(is_durable));
        out.push(MANDATORY);
    });
    append_frame(out, HEADER, CHANNEL, |out| {
        out.extend_from_slice(&BASIC_PUBLISH.0.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(body_bytes as u64).to_be_bytes());
        out.extend_from_slice(&HAS_DELIVERY_MODE.to_be_bytes());
        out.push(if is_durable { PERSISTENT } else { NOT_PERSISTENT });
    });
}

/// Appends the frame of a body of at most [`BATCHED_BYTES_MAX`].
pub fn append_body(out: &mut Vec<u8>, body: &[u8]) {
    append_frame(out, BODY, CHANNEL, |out| out.extend_from_slice(body));
}

/// The longest body of a message among several.
pub const BATCHED_BYTES_MAX: usize = FRAME_BYTES_MIN as usize - FRAMING_BYTES;

/// How many publications begin in frames of ours.
fn publication_count(mut frames: &[u8]) -> u64 {
    let publish = [BASIC_PUBLISH.0.to_be_bytes(), BASIC_PUBLISH.1.to_be_bytes()].concat();
    let mut count = 0;
    while let Some((&kind, rest)) = frames.split_first() {
        let size = rest[2..6].iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
        count += u64::from(kind == METHOD && rest[6..6 + size].starts_with(&publish));
        frames = &rest[6 + size + 1..];
    }
    count
}

fn queue(is_durable: bool) -> &'static str {
    if is_durable { QUEUE_DURABLE } else { QUEUE_TRANSIENT }
}

fn append_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(FRAME_END);
}

fn append_method(out: &mut Vec<u8>, channel: u16, id: MethodId, arguments: impl FnOnce(&mut Vec<u8>)) {
    append_frame(out, METHOD, channel, |out| {
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&id.1.to_be_bytes());
        arguments(out);
    });
}

/// A text of ours, of less than 256 bytes.
fn append_short(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn append_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A frame that came, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    /// Something was asked for and is answered: the method and its arguments.
    Method { channel: u16, id: MethodId, arguments: Vec<u8> },
    /// Header or body of a message that comes back, or a heartbeat.
    Other,
}

/// Reads a frame.
fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Failed> {
    // A server that speaks another version says which, and closes.
    if bytes.starts_with(b"AMQP") {
        return Err(malformed("the server speaks another version of AMQP"));
    }
    if bytes.first().is_some_and(|kind| !is_kind(*kind)) && !b"AMQP".starts_with(bytes) {
        return Err(not_a_frame(bytes));
    }
    let Some((&[kind, channel_high, channel_low, ref size @ ..], rest)) = bytes.split_first_chunk::<7>()
    else {
        return Ok(None);
    };
    let size_bytes = u32::from_be_bytes(*size) as usize;
    if size_bytes + FRAMING_BYTES > FRAME_BYTES_MAX as usize {
        return Err(not_a_frame(bytes));
    }
    let Some(end) = rest.get(size_bytes) else { return Ok(None) };
    if *end != FRAME_END {
        return Err(malformed("a frame without its end"));
    }
    let frame = match (kind, &rest[..size_bytes]) {
        (METHOD, [class_high, class_low, method_high, method_low, arguments @ ..]) => Frame::Method {
            channel: u16::from_be_bytes([channel_high, channel_low]),
            id: (
                u16::from_be_bytes([*class_high, *class_low]),
                u16::from_be_bytes([*method_high, *method_low]),
            ),
            arguments: arguments.to_vec(),
        },
        (METHOD, _) => return Err(malformed("a method without its number")),
        _ => Frame::Other,
    };
    Ok(Some((frame, size_bytes + FRAMING_BYTES)))
}

fn is_kind(kind: u8) -> bool {
    [METHOD, HEADER, BODY, HEARTBEAT].contains(&kind)
}

fn not_a_frame(bytes: &[u8]) -> Failed {
    malformed(format!("not a frame: {}", words(bytes)))
}

/// Reads arguments from their beginning.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failed> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*first)
    }

    fn short(&mut self) -> Result<u16, Failed> {
        self.array().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Result<u32, Failed> {
        self.array().map(u32::from_be_bytes)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failed> {
        let (first, rest) = self.0.split_at_checked(count).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(first)
    }

    fn short_text(&mut self) -> Result<&'a [u8], Failed> {
        let [count] = self.array()?;
        self.bytes(count.into())
    }

    fn long_text(&mut self) -> Result<&'a [u8], Failed> {
        let count = self.long()?;
        self.bytes(count as usize)
    }
}

fn cut_short() -> Failed {
    malformed("arguments that end too early")
}

/// The failure that a method means, whatever was asked.
fn complaint(id: MethodId, arguments: &[u8]) -> Result<(), Failed> {
    let mut arguments = Arguments(arguments);
    match id {
        CONNECTION_CLOSE | CHANNEL_CLOSE | BASIC_RETURN => {
            let (code, text) = (arguments.short()?, words(arguments.short_text()?));
            let what = match id {
                CONNECTION_CLOSE => "the connection is closed",
                CHANNEL_CLOSE => "the channel is closed",
                _ => "the message comes back",
            };
            Err(refused(format!("{what}: {code} {text}")))
        }
        CONNECTION_BLOCKED => {
            Err(refused(format!("the server takes no more: {}", words(arguments.short_text()?))))
        }
        BASIC_NACK => Err(refused("the queue did not take the message (basic.nack)")),
        _ => Ok(()),
    }
}

/// connection.start: a version of 0-9 and PLAIN among the ways to log in.
fn check_start(arguments: &[u8]) -> Result<(), Failed> {
    let mut arguments = Arguments(arguments);
    let version: [u8; 2] = arguments.array()?;
    arguments.long_text()?;
    let mechanisms = arguments.long_text()?;
    arguments.long_text()?;
    let has_plain = mechanisms.split(|byte| *byte == b' ').any(|name| name == b"PLAIN");
    if version != [0, 9] || !has_plain {
        return Err(refused(format!(
            "the server speaks AMQP {}-{} and lets in by {}",
            version[0],
            version[1],
            words(mechanisms)
        )));
    }
    Ok(())
}

/// connection.tune: how long frames may be, as far as we want them; 0 leaves it to us.
fn frame_bytes_max(arguments: &[u8]) -> Result<u32, Failed> {
    let mut arguments = Arguments(arguments);
    arguments.short()?;
    let theirs = arguments.long()?;
    arguments.short()?;
    match theirs {
        0 => Ok(FRAME_BYTES_MAX),
        theirs if theirs < FRAME_BYTES_MIN => Err(malformed(format!("frames of {theirs} bytes"))),
        theirs => Ok(theirs.min(FRAME_BYTES_MAX)),
    }
}

fn append_start_ok(out: &mut Vec<u8>, credentials: Option<&Credentials>) {
    let (user, password) = credentials.map_or(("guest", "guest"), |credentials| {
        (credentials.access_key.as_str(), credentials.secret_key.as_str())
    });
    append_method(out, 0, CONNECTION_START_OK, |out| {
        let mut properties = Vec::new();
        append_field(&mut properties, "product", b'S', |out| append_long(out, b"zerobench"));
        // Without these the server neither confirms nor says that it is blocked.
        append_field(&mut properties, "capabilities", b'F', |out| {
            let mut capabilities = Vec::new();
            for name in
                ["publisher_confirms", "basic.nack", "connection.blocked", "authentication_failure_close"]
            {
                append_field(&mut capabilities, name, b't', |out| out.push(1));
            }
            append_long(out, &capabilities);
        });
        append_long(out, &properties);
        append_short(out, "PLAIN");
        append_long(out, format!("\0{user}\0{password}").as_bytes());
        append_short(out, "en_US");
    });
}

/// A field of a table: name, type, value.
fn append_field(out: &mut Vec<u8>, name: &str, kind: u8, value: impl FnOnce(&mut Vec<u8>)) {
    append_short(out, name);
    out.push(kind);
    value(out);
}

fn append_declare(out: &mut Vec<u8>, is_durable: bool) {
    append_method(out, CHANNEL, QUEUE_DECLARE, |out| {
        out.extend_from_slice(&[0, 0]);
        append_short(out, queue(is_durable));
        out.push(if is_durable { DURABLE } else { 0 });
        let mut table = Vec::new();
        let kind: &[u8] = if is_durable { b"quorum" } else { b"classic" };
        append_field(&mut table, "x-queue-type", b'S', |out| append_long(out, kind));
        append_long(out, &table);
    });
}

/// A connection with one channel, which publishes one message at a time.
pub struct Connection {
    buffered: Buffered,
    /// Of the next frame of a body, without its framing.
    piece_bytes: usize,
    /// Of the message before: the server counts them from 1.
    delivery_tag: u64,
}

impl Connection {
    /// Speaks over `wire`: logs in, as guest if there are no credentials, opens a channel that confirms, and makes the
    /// queue unless it is there: a quorum queue, or a classic one that no restart outlives.
    ///
    /// # Errors
    /// Nobody who speaks AMQP 0-9-1 and lets us in, or a queue of that name that is another one.
    pub async fn greet(
        wire: Wire,
        credentials: Option<&Credentials>,
        is_durable: bool,
    ) -> Result<Connection, Failed> {
        let buffered = Buffered::new(wire);
        let mut connection = Connection { buffered, piece_bytes: 0, delivery_tag: 0 };
        connection.say(|out| out.extend_from_slice(PROTOCOL_HEADER)).await?;
        check_start(&connection.answer(0, CONNECTION_START).await?)?;
        connection.say(|out| append_start_ok(out, credentials)).await?;
        let frame_bytes_max = frame_bytes_max(&connection.answer(0, CONNECTION_TUNE).await?)?;
        connection.piece_bytes = PIECE_BYTES.min(frame_bytes_max as usize - FRAMING_BYTES);
        let tune_ok = |out: &mut Vec<u8>| {
            out.extend_from_slice(&CHANNEL.to_be_bytes());
            out.extend_from_slice(&frame_bytes_max.to_be_bytes());
            // No heartbeats: the run's watchdog sees a server that is gone.
            out.extend_from_slice(&[0, 0]);
        };
        let open = |out: &mut Vec<u8>| {
            append_short(out, "/");
            out.extend_from_slice(&[0, 0]);
        };
        connection
            .say(|out| {
                append_method(out, 0, CONNECTION_TUNE_OK, tune_ok);
                append_method(out, 0, CONNECTION_OPEN, open);
            })
            .await?;
        connection.answer(0, CONNECTION_OPEN_OK).await?;
        connection.say(|out| append_method(out, CHANNEL, CHANNEL_OPEN, |out| append_short(out, ""))).await?;
        connection.answer(CHANNEL, CHANNEL_OPEN_OK).await?;
        connection.say(|out| append_method(out, CHANNEL, CONFIRM_SELECT, |out| out.push(0))).await?;
        connection.answer(CHANNEL, CONFIRM_SELECT_OK).await?;
        connection.say(|out| append_declare(out, is_durable)).await?;
        connection.answer(CHANNEL, QUEUE_DECLARE_OK).await?;
        Ok(connection)
    }

    async fn say(&mut self, what: impl FnOnce(&mut Vec<u8>)) -> Result<(), Failed> {
        what(self.buffered.output());
        self.buffered.flush().await
    }

    /// Publishes and awaits the confirmation. A head may hold several publications, whole but for the last one's body.
    ///
    /// # Errors
    /// The connection broke, the server refuses, or its answer is not a confirmation of these messages.
    pub async fn exchange(&mut self, head: &[u8], body: &Bytes) -> Result<Answer, Failed> {
        let first = self.delivery_tag + 1;
        self.delivery_tag += publication_count(head);
        let sent = self.publish(head, body).await;
        let answer = self.confirmation(first).await;
        outcome(sent, answer)
    }

    async fn publish(&mut self, head: &[u8], body: &Bytes) -> Result<(), Failed> {
        self.buffered.output().extend_from_slice(head);
        for piece in body.chunks(self.piece_bytes) {
            let output = self.buffered.output();
            append_frame(output, BODY, CHANNEL, |out| out.extend_from_slice(piece));
            if output.len() >= PIECE_BYTES {
                self.buffered.flush().await?;
            }
        }
        if self.buffered.output().is_empty() { Ok(()) } else { self.buffered.flush().await }
    }

    /// Until every message from `first` on is confirmed: each by its number, or several up to one.
    async fn confirmation(&mut self, first: u64) -> Result<Answer, Failed> {
        let mut open: Vec<u64> = (first..=self.delivery_tag).collect();
        while !open.is_empty() {
            let arguments = self.answer(CHANNEL, BASIC_ACK).await?;
            let tag = Arguments(&arguments).array().map(u64::from_be_bytes)?;
            let is_multiple = arguments.get(8).is_some_and(|flags| flags & MULTIPLE != 0);
            let before = open.len();
            open.retain(|number| *number != tag && !(is_multiple && *number < tag));
            if open.len() == before {
                return Err(malformed(format!(
                    "message {tag} is confirmed instead of {}",
                    self.delivery_tag
                )));
            }
        }
        Ok(Answer::of(200))
    }

    /// The arguments of the method that is expected next.
    async fn answer(&mut self, channel: u16, expected: MethodId) -> Result<Vec<u8>, Failed> {
        loop {
            let (from, id, arguments) = match self.buffered.parsed(parse).await? {
                Frame::Method { channel, id, arguments } => (channel, id, arguments),
                Frame::Other => continue,
            };
            if id == expected && from == channel {
                return Ok(arguments);
            }
            complaint(id, &arguments)?;
            if id != CONNECTION_UNBLOCKED {
                return Err(malformed(format!(
                    "method {}.{} on channel {from} instead of {}.{} on {channel}",
                    id.0, id.1, expected.0, expected.1
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests;
