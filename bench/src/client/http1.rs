//! HTTP/1.1 from the caller's side: sends requests that were made before the clock, and reads their answers.
//!
//! Bytes of a head are ready, signature and all: sending copies them and a small body into one buffer and writes it once.
//! Invariant: after `exchange` gave an answer whose `keeps` is set, the connection stands at the beginning of the next one;
//! after anything else it must be thrown away.

use std::mem::{MaybeUninit, take};
use std::ops::Range;

use bytes::Bytes;

use super::wire::Wire;
use crate::load::recorder::Failure;

/// A body up to this length is sent with its head.
const TOGETHER_BYTES: usize = 64 << 10;
/// A larger one goes in pieces of this.
const PIECE_BYTES: usize = 256 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// Room for what a read gives.
const INPUT_BYTES: usize = 256 << 10;
/// So much of an answer is kept to be shown or looked at.
pub const WORDS_BYTES_MAX: usize = 300;
/// So much of an answer is kept that the plan hears: ten messages with their handles.
const HEARD_BYTES_MAX: usize = 64 << 10;

/// How much of an answer's body is kept.
fn kept_bytes_max(is_heard: bool, status: u16) -> usize {
    match (is_heard, status) {
        (_, 300..) => WORDS_BYTES_MAX,
        (true, _) => HEARD_BYTES_MAX,
        (false, _) => 0,
    }
}

/// An answer.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The length of its body, chunk framing not counted.
    pub body_bytes: u64,
    /// The beginning of its body, if it was asked for or the status is 300 or more.
    pub body: Vec<u8>,
    /// The value of its ETag, if it was asked for.
    pub etag: Vec<u8>,
    /// Whether a byte of its body is another than was looked for; what comes behind the end of that is.
    pub differs: bool,
    /// Whether the connection can be used again.
    pub keeps: bool,
}

/// What an answer is looked at for besides its status and its length.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'w> {
    /// Its ETag and the beginning of its body are kept whatever its status.
    pub is_heard: bool,
    /// Each byte of a good answer's body is compared with these.
    pub body: Option<&'w [u8]>,
}

/// A failure and what is known about it.
pub type Failed = (Failure, String);

/// A connection that sends one request at a time.
pub struct Connection {
    wire: Wire,
    output: Vec<u8>,
    /// What was received and not yet looked at begins at `start`.
    input: Vec<u8>,
    start: usize,
}

/// How far a body goes.
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What of an answer's head matters here.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) keeps: bool,
    /// Where the ETag's value lies; empty if there is none.
    pub(super) etag: Range<usize>,
}

impl Connection {
    /// Speaks over `wire`.
    pub fn new(wire: Wire) -> Connection {
        Connection {
            wire,
            output: Vec::with_capacity(8 << 10),
            input: Vec::with_capacity(INPUT_BYTES),
            start: 0,
        }
    }

    /// Sends a request, of any method but HEAD, and reads its answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is not HTTP. A status is never an error here.
    pub async fn exchange(
        &mut self,
        head: &[u8],
        body: &Bytes,
        wanted: Wanted<'_>,
    ) -> Result<Answer, Failed> {
        let sent = self.send(head, body).await;
        // A server that refuses a body answers and closes before it has read all: its answer says more than our EPIPE.
        let answer = self.receive(wanted).await;
        match (sent, answer) {
            (Ok(()), answer) => answer,
            (Err(_), Ok(answer)) => Ok(Answer { keeps: false, ..answer }),
            (Err(failed), Err(_)) => Err(failed),
        }
    }

    async fn send(&mut self, head: &[u8], body: &Bytes) -> Result<(), Failed> {
        let mut output = take(&mut self.output);
        output.clear();
        output.extend_from_slice(head);
        let together = if body.len() <= TOGETHER_BYTES { body.len() } else { 0 };
        output.extend_from_slice(&body[..together]);
        let (result, output) = self.wire.write(output).await;
        self.output = output;
        result.map_err(|error| broken("sending the head", &error))?;
        let mut rest = body.slice(together..);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            self.wire.write_piece(piece).await.map_err(|error| broken("sending the body", &error))?;
        }
        Ok(())
    }

    async fn receive(&mut self, wanted: Wanted<'_>) -> Result<Answer, Failed> {
        let (head, etag) = loop {
            let Some((head, head_bytes)) = parse(&self.input[self.start..])? else {
                self.fill().await?;
                continue;
            };
            let bytes = &self.input[self.start..];
            let etag = if wanted.is_heard { bytes[head.etag.clone()].to_vec() } else { Vec::new() };
            self.start += head_bytes;
            // 100 Continue and its like: the answer proper follows.
            if head.status >= 200 {
                break (head, etag);
            }
        };
        let mut answer = Answer { keeps: head.keeps, etag, ..Answer::of(head.status) };
        match head.framing {
            Framing::None => {}
            Framing::Length(length) => self.body(length, &mut answer, wanted).await?,
            Framing::Chunked => self.chunks(&mut answer, wanted).await?,
            Framing::UntilClose => self.until_close(&mut answer, wanted).await?,
        }
        Ok(answer)
    }

    async fn body(&mut self, mut left: u64, answer: &mut Answer, wanted: Wanted<'_>) -> Result<(), Failed> {
        while left > 0 {
            if self.start == self.input.len() {
                self.fill().await?;
            }
            let here = &self.input[self.start..];
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(here.len());
            answer.take(&here[..count], wanted);
            self.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// RFC 9112 7.1: size lines, data, an empty trailer section or one that is skipped.
    async fn chunks(&mut self, answer: &mut Answer, wanted: Wanted<'_>) -> Result<(), Failed> {
        loop {
            let Some((line_bytes, size)) = parse_chunk_size(&self.input[self.start..])? else {
                self.fill().await?;
                continue;
            };
            self.start += line_bytes;
            if size == 0 {
                while !self.passes_empty_line().await? {}
                return Ok(());
            }
            self.body(size, answer, wanted).await?;
            if !self.passes_empty_line().await? {
                return Err(longer_than_its_size());
            }
        }
    }

    async fn until_close(&mut self, answer: &mut Answer, wanted: Wanted<'_>) -> Result<(), Failed> {
        answer.keeps = false;
        loop {
            let here = &self.input[self.start..];
            answer.take(here, wanted);
            self.start = self.input.len();
            if self.fill().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Passes a line and says whether it was empty.
    async fn passes_empty_line(&mut self) -> Result<bool, Failed> {
        loop {
            if let Some((line_bytes, is_empty)) = parse_line(&self.input[self.start..]) {
                self.start += line_bytes;
                return Ok(is_empty);
            }
            self.fill().await?;
        }
    }

    /// Receives more; what was looked at already is let go first.
    async fn fill(&mut self) -> Result<(), Failed> {
        let mut input = take(&mut self.input);
        input.drain(..take(&mut self.start));
        if input.len() == input.capacity() {
            return Err((
                Failure::Malformed,
                format!("{} bytes without the end of a head or line", input.len()),
            ));
        }
        let (result, input) = self.wire.read(input).await;
        self.input = input;
        match result {
            Ok(0) => Err((
                Failure::Broken,
                "the server closed the connection before its answer was whole".to_owned(),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(broken("receiving the answer", &error)),
        }
    }
}

impl Answer {
    /// One of `status` whose body is still to come.
    pub fn of(status: u16) -> Answer {
        Answer { status, body_bytes: 0, body: Vec::new(), etag: Vec::new(), differs: false, keeps: true }
    }

    /// Counts a piece of the body, keeps as much of it as is wanted, and compares it with what should be there.
    pub fn take(&mut self, bytes: &[u8], wanted: Wanted<'_>) {
        let room = kept_bytes_max(wanted.is_heard, self.status).saturating_sub(self.body.len());
        self.body.extend_from_slice(&bytes[..room.min(bytes.len())]);
        if let Some(body) = wanted.body {
            let from = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
            let expected = body.get(from..from.saturating_add(bytes.len()));
            self.differs |= expected != Some(bytes);
        }
        self.body_bytes += bytes.len() as u64;
    }
}

pub(super) fn broken(what: &str, error: &std::io::Error) -> Failed {
    let failure = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Failure::Connect,
        _ => Failure::Broken,
    };
    (failure, format!("{what}: {error}"))
}

/// A whole head and its length, or nothing yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Failed> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    let head_bytes = match parsed {
        Ok(httparse::Status::Complete(count)) => count,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err((Failure::Malformed, "the head has no end".to_owned())),
        Err(error) => return Err((Failure::Malformed, format!("the head cannot be read: {error}"))),
    };
    let status = response.code.unwrap_or(0);
    let keeps = response.version == Some(1);
    let mut head = Head { status, framing: Framing::UntilClose, keeps, etag: 0..0 };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            let length =
                length.ok_or_else(|| (Failure::Malformed, "Content-Length is no number".to_owned()))?;
            head.framing = Framing::Length(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.keeps = !header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("etag") {
            let start = header.value.as_ptr() as usize - bytes.as_ptr() as usize;
            head.etag = start..start + header.value.len();
        }
    }
    // RFC 9112 6.3: these have no body, whatever their head says.
    if status < 200 || status == 204 || status == 304 {
        head.framing = Framing::None;
    }
    Ok(Some((head, head_bytes)))
}

/// The length of a chunk's first line and the chunk's size, or nothing yet.
pub(super) fn parse_chunk_size(bytes: &[u8]) -> Result<Option<(usize, u64)>, Failed> {
    match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete(parsed)) => Ok(Some(parsed)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err((Failure::Malformed, "a chunk's size cannot be read".to_owned())),
    }
}

/// The length of a line with its end, and whether there is nothing before that; or nothing yet.
pub(super) fn parse_line(bytes: &[u8]) -> Option<(usize, bool)> {
    let length = memchr::memchr(b'\n', bytes)?;
    Some((length + 1, matches!(&bytes[..length], b"" | b"\r")))
}

/// RFC 9112 7.1: a chunk's data is followed by an empty line.
pub(super) fn longer_than_its_size() -> Failed {
    (Failure::Malformed, "a chunk is longer than its size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).expect("HTTP").expect("whole").0
    }

    #[test]
    fn framing_follows_the_head() {
        let text = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 12\r\n\r\n";
        let plain = head(text);
        assert!(matches!(plain.framing, Framing::Length(12)) && plain.keeps);
        assert_eq!(&text[plain.etag], "\"a\"");
        let chunked = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        assert!(matches!(chunked.framing, Framing::Chunked) && !chunked.keeps);
        assert!(matches!(
            head("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").framing,
            Framing::None
        ));
        assert!(matches!(head("HTTP/1.0 200 OK\r\n\r\n").framing, Framing::UntilClose));
    }

    #[test]
    fn chunks_are_read_by_lines_of_which_only_empty_ones_end_anything() {
        assert_eq!(parse_chunk_size(b"1f;a=b\r\nrest"), Ok(Some((8, 31))));
        assert_eq!(parse_chunk_size(b"1f"), Ok(None));
        assert!(parse_chunk_size(b"x\r\n").is_err());
        assert_eq!((parse_line(b"\r\nmore"), parse_line(b"\n")), (Some((2, true)), Some((1, true))));
        assert_eq!((parse_line(b"a\n"), parse_line(b"a: b\r\n")), (Some((2, false)), Some((6, false))));
        assert_eq!(parse_line(b"a\r"), None);
    }

    #[test]
    fn a_head_in_parts_is_waited_for_and_one_without_an_end_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nA: b\r\n").expect("so far").is_none());
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert!(parse(&endless).is_err());
    }
}
