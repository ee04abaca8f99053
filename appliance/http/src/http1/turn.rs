//! One request and its answer on an HTTP/1 connection, as state without I/O.
//!
//! ```text
//! body:   Length | Chunked --bytes--> Done          any --> Failed
//! expect: Waiting --first read--> Told              Waiting --answer begins--> Declined
//! answer: Unsent --> Sized | Chunked | UntilClose | Bodyless --> Complete
//! ```
//!
//! Invariant: `keep_alive` only ever falls, and falls whenever the place where the next request begins is in doubt.
//! Left to others: the stream and the deadlines (`connection`).

use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http_types::{Method, StatusCode, header};

use crate::exchange::{Payload, Settlement};
use crate::http1::bulk;
use crate::http1::chunked::{Chunk, ChunkedDecoder};
use crate::http1::encode::{Framing, Persistence};
use crate::http1::head::ParsedHead;
use crate::pace::Pace;
use crate::{BodyError, BodyLength, Limits, ResponseHead, SendError, Version};

pub(crate) struct Turn {
    pub(crate) body: Incoming,
    pub(crate) expect: Expect,
    pub(crate) answer: Answer,
    pub(crate) keep_alive: bool,
    pub(crate) settled: Option<Settlement>,
    /// The connection's task, where it waits for a responder that outlived its handler.
    pub(crate) settled_waker: Option<Waker>,
    pub(crate) read_pace: Pace,
    pub(crate) write_pace: Pace,
    received_bytes: u64,
    is_head: bool,
    version: Version,
}

/// What of the request body is still to come.
#[derive(Debug)]
pub(crate) enum Incoming {
    Length(u64),
    Chunked(ChunkedDecoder),
    Done,
    Failed(BodyError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The client did not ask, or was told to send.
    Told,
    /// The client waits for `100 Continue`.
    Waiting,
    /// The final answer came first: the client may send the body or not, and nobody can tell which.
    Declined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Unsent,
    Sized { left_bytes: u64 },
    Chunked,
    UntilClose,
    Bodyless,
    Complete,
}

impl Incoming {
    pub(crate) fn new(framing: BodyLength, limits: &Limits) -> Self {
        match framing {
            BodyLength::None | BodyLength::Known(0) => Self::Done,
            BodyLength::Known(length) => Self::Length(length),
            BodyLength::Unknown => {
                let (extensions, trailers) = (limits.chunk_extension_bytes_max, limits.trailer_bytes_max);
                Self::Chunked(ChunkedDecoder::new(extensions, trailers))
            }
        }
    }
}

impl Turn {
    /// The turn of a connection that has not seen a request: nothing to read, nothing to answer.
    pub(crate) fn none() -> Self {
        Self {
            body: Incoming::Done,
            expect: Expect::Told,
            answer: Answer::Complete,
            keep_alive: true,
            settled: None,
            settled_waker: None,
            read_pace: Pace::default(),
            write_pace: Pace::default(),
            received_bytes: 0,
            is_head: false,
            version: Version::H11,
        }
    }

    pub(crate) fn new(parsed: &ParsedHead, limits: &Limits) -> Self {
        Self {
            body: Incoming::new(parsed.framing, limits),
            expect: if parsed.expects_continue { Expect::Waiting } else { Expect::Told },
            answer: Answer::Unsent,
            keep_alive: parsed.keep_alive,
            is_head: parsed.head.method == Method::HEAD,
            version: parsed.head.version,
            ..Self::none()
        }
    }

    /// Takes body bytes from the front of `buffer`: how many were consumed, and the data among them, which is empty
    /// where they were framing only.
    pub(crate) fn take_body(&mut self, buffer: &[u8], limits: &Limits) -> Result<(usize, Bytes), BodyError> {
        let taken = match &mut self.body {
            Incoming::Done => Ok((0, Bytes::new())),
            Incoming::Failed(error) => Err(*error),
            Incoming::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= length as u64;
                if *left == 0 {
                    self.body = Incoming::Done;
                }
                Ok((length, Bytes::copy_from_slice(&buffer[..length])))
            }
            Incoming::Chunked(decoder) => match take_chunks(decoder, buffer) {
                Ok((used, data, ended)) => {
                    if ended {
                        self.body = Incoming::Done;
                    }
                    Ok((used, data))
                }
                Err(reason) => Err(BodyError::Malformed(reason)),
            },
        };
        let (_, data) = taken.as_ref().map_err(|error| self.fail(*error))?;
        self.count(data.len(), limits)?;
        taken
    }

    /// How much may be read past the stream's own buffer in one piece, where enough of the body is left for that. Pieces
    /// end where a multiple of their size ends in the body, so that all but the first are whole if the client is fast.
    pub(crate) fn bulk_bytes(&self) -> Option<usize> {
        let piece_bytes = bulk::PIECE_BYTES as u64;
        match self.body {
            Incoming::Length(left) if left >= piece_bytes => {
                Some((piece_bytes - self.received_bytes % piece_bytes) as usize)
            }
            _ => None,
        }
    }

    /// Accounts for a piece that was read so; it is not longer than what was left.
    pub(crate) fn take_bulk(&mut self, data: &[u8], limits: &Limits) -> Result<(), BodyError> {
        let Incoming::Length(left) = &mut self.body else {
            unreachable!("bulk_bytes said that the body has a length");
        };
        *left -= data.len() as u64;
        if *left == 0 {
            self.body = Incoming::Done;
        }
        self.count(data.len(), limits)
    }

    fn count(&mut self, bytes: usize, limits: &Limits) -> Result<(), BodyError> {
        self.received_bytes += bytes as u64;
        if self.received_bytes > limits.body_bytes_max {
            return Err(self.fail(BodyError::TooLarge));
        }
        Ok(())
    }

    /// Gives the body up. The connection ends after the answer, since the next request cannot be found any more.
    pub(crate) fn fail(&mut self, error: BodyError) -> BodyError {
        self.body = Incoming::Failed(error);
        self.keep_alive = false;
        error
    }

    /// Whether the whole body was read.
    pub(crate) fn body_is_done(&self) -> bool {
        matches!(self.body, Incoming::Done)
    }

    /// Decides how the answer is framed and whether the connection outlives it. Gives also the body to stage.
    pub(crate) fn begin(
        &mut self,
        head: &ResponseHead,
        payload: Payload,
        may_keep: bool,
        limits: &Limits,
    ) -> Result<(Framing, Persistence, Bytes), SendError> {
        if self.answer != Answer::Unsent || head.status.is_informational() {
            return Err(SendError::InvalidHead);
        }
        self.keep_alive &= may_keep && !asks_to_close(head);
        if self.expect == Expect::Waiting && !self.body_is_done() {
            // Clients differ: some send the body they announced, others their next request. Reading either as the
            // other would be smuggling, so the connection ends here.
            self.expect = Expect::Declined;
            self.keep_alive = false;
        }
        if let (Payload::Whole(_), Incoming::Length(left)) = (&payload, &self.body) {
            self.keep_alive &= *left <= limits.drain_bytes_max;
        }
        let (framing, body) = self.frame(head, payload);
        let persistence = match (self.keep_alive, self.version) {
            (false, _) => Persistence::Close,
            (true, Version::H10) => Persistence::KeepAlive,
            (true, _) => Persistence::Default,
        };
        Ok((framing, persistence, body))
    }

    fn frame(&mut self, head: &ResponseHead, payload: Payload) -> (Framing, Bytes) {
        let status = head.status;
        if self.is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            self.answer = Answer::Bodyless;
            return (bodyless(head, &payload), Bytes::new());
        }
        match payload {
            Payload::Whole(body) => {
                self.answer = Answer::Sized { left_bytes: 0 };
                (Framing::Length(body.len() as u64), body)
            }
            Payload::Stream(Some(length)) => {
                self.answer = Answer::Sized { left_bytes: length };
                (Framing::Length(length), Bytes::new())
            }
            Payload::Stream(None) if self.version == Version::H10 => {
                self.answer = Answer::UntilClose;
                self.keep_alive = false;
                (Framing::UntilClose, Bytes::new())
            }
            Payload::Stream(None) => {
                self.answer = Answer::Chunked;
                (Framing::Chunked, Bytes::new())
            }
        }
    }

    /// Accounts for a piece of the answer: what goes out before it and after it, or `None` where it is not sent at
    /// all.
    pub(crate) fn write(&mut self, data_bytes: usize) -> Result<Option<(bool, &'static [u8])>, SendError> {
        match &mut self.answer {
            Answer::Bodyless => Ok(None),
            Answer::UntilClose => Ok(Some((false, b""))),
            // A chunk of size 0 would end the body.
            Answer::Chunked if data_bytes == 0 => Ok(None),
            Answer::Chunked => Ok(Some((true, b"\r\n"))),
            Answer::Sized { left_bytes } => {
                *left_bytes = left_bytes.checked_sub(data_bytes as u64).ok_or(SendError::LengthMismatch)?;
                Ok(Some((false, b"")))
            }
            Answer::Unsent | Answer::Complete => Err(SendError::InvalidHead),
        }
    }

    /// Ends the answer; gives the bytes that say so.
    pub(crate) fn finish(&mut self) -> Result<&'static [u8], SendError> {
        let end: &'static [u8] = match self.answer {
            Answer::Sized { left_bytes: 1.. } => return Err(SendError::LengthMismatch),
            Answer::Unsent => return Err(SendError::InvalidHead),
            Answer::Chunked => b"0\r\n\r\n",
            Answer::Sized { .. } | Answer::UntilClose | Answer::Bodyless | Answer::Complete => b"",
        };
        self.answer = Answer::Complete;
        Ok(end)
    }
}

/// RFC 9110 section 8.6: HEAD and 304 may tell the length of the body that is not there; 204 must not.
fn bodyless(head: &ResponseHead, payload: &Payload) -> Framing {
    if head.status == StatusCode::NO_CONTENT {
        return Framing::Bodyless { handler_length: false };
    }
    match payload {
        Payload::Whole(body) if !body.is_empty() => Framing::Length(body.len() as u64),
        Payload::Stream(Some(length)) => Framing::Length(*length),
        _ => Framing::Bodyless {
            handler_length: head.headers.get_all(header::CONTENT_LENGTH).iter().count() == 1,
        },
    }
}

fn asks_to_close(head: &ResponseHead) -> bool {
    head.headers
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// Decodes everything in `buffer`: bytes consumed, the data in one piece, whether the body ended.
fn take_chunks(decoder: &mut ChunkedDecoder, buffer: &[u8]) -> Result<(usize, Bytes, bool), &'static str> {
    let (mut used, mut data) = (0, BytesMut::new());
    loop {
        let (framing, chunk) = decoder.advance(&buffer[used..])?;
        used += framing;
        match chunk {
            Chunk::More => return Ok((used, data.freeze(), false)),
            Chunk::End => return Ok((used, data.freeze(), true)),
            Chunk::Data(length) => {
                if data.is_empty() {
                    // Often one chunk fills the buffer; else what follows fits in what is left of it.
                    data.reserve(buffer.len() - used);
                }
                data.extend_from_slice(&buffer[used..used + length]);
                used += length;
            }
        }
    }
}
