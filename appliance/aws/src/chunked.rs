//! The `aws-chunked` framing of request bodies: chunks with or without signatures, and trailers.
//!
//! ```text
//! chunk      size in hexadecimal [ ";chunk-signature=" 64 digits ] CRLF  data  CRLF
//! last       "0" [ ";chunk-signature=" 64 digits ] CRLF
//! trailer    *( name ":" value CRLF ) [ "x-amz-trailer-signature:" 64 digits CRLF ]
//! end        CRLF
//!
//! Head -> Data -> DataEnd -> Head ... -> Trailer -> Done
//! ```
//!
//! Invariant: the result, data and error alike, does not depend on how the input was cut into pieces. Data is
//! passed on before its chunk has been verified, so that no chunk is ever buffered; only [`Decoder::finish`]
//! says that the body is right, and nothing may become visible before. An error stays: every later call
//! repeats it.

use bytes::{Buf, Bytes};
use http_types::HeaderMap;
use sha2::{Digest, Sha256};

use crate::encoding::hex_digit;
use crate::error::ErrorReply;
use crate::payload::PayloadMode;
use crate::sigv4::{ChunkSigner, decode_signature, refusal};

/// Decodes one body.
pub struct Decoder {
    state: State,
    /// Set in the signed modes.
    signer: Option<Box<ChunkSigner>>,
    /// Whether the mode has trailers.
    has_trailers: bool,
    /// The head or trailer line that has not ended yet.
    line: Vec<u8>,
    /// Bytes of the current chunk that are still to come.
    remaining_bytes: u64,
    /// The digest of the current chunk's data so far.
    hash: Sha256,
    /// What the head of the current chunk claims.
    chunk_signature: [u8; 32],
    /// Data passed on or due, by the chunk heads seen.
    decoded_bytes: u64,
    /// What `x-amz-decoded-content-length` promised.
    expected_bytes: Option<u64>,
    /// The names in `x-amz-trailer`, lower-case.
    announced: Vec<String>,
    trailers: Vec<(String, String)>,
    trailer_signature: Option<[u8; 32]>,
    /// Whether the blank line that some clients put before the trailer's signature was seen.
    saw_blank: bool,
    failed: Option<ErrorReply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the line before a chunk.
    Head,
    /// In the data of a chunk.
    Data,
    /// Behind the data; so many bytes of the line end were seen.
    DataEnd(u8),
    /// In a line behind the last chunk.
    Trailer,
    /// Behind the end; so many bytes of one more line end were seen, which some clients send.
    Done(u8),
}

/// The trailers of a body that was right, in the order they came; names in lower case, without the signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers(pub Vec<(String, String)>);

impl Trailers {
    /// The value of the trailer with this lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What became of some input.
struct Step {
    consumed_bytes: usize,
    /// The last bytes consumed are data, so many.
    data_bytes: usize,
}

impl Decoder {
    /// A decoder for `mode`, which must be one of the streaming modes; the signed ones need `signer`.
    /// `expected_bytes` is the length of the data, where the client promised one, and `announced` the
    /// trailers' lower-case names.
    pub fn new(
        mode: PayloadMode,
        signer: Option<Box<ChunkSigner>>,
        expected_bytes: Option<u64>,
        announced: Vec<String>,
    ) -> Decoder {
        let (is_signed, has_trailers) = match mode {
            PayloadMode::StreamingSigned => (true, false),
            PayloadMode::StreamingSignedTrailer => (true, true),
            PayloadMode::StreamingUnsignedTrailer => (false, true),
            PayloadMode::Unsigned | PayloadMode::Sha256(_) => {
                panic!("a body without chunks has no chunk decoder")
            }
        };
        assert_eq!(is_signed, signer.is_some(), "signed chunks and only they need a signer");
        Decoder {
            state: State::Head,
            signer,
            has_trailers,
            line: Vec::new(),
            remaining_bytes: 0,
            hash: Sha256::new(),
            chunk_signature: [0; 32],
            decoded_bytes: 0,
            expected_bytes,
            announced,
            trailers: Vec::new(),
            trailer_signature: None,
            saw_blank: false,
            failed: None,
        }
    }

    /// A decoder for a request with these headers: `x-amz-decoded-content-length` and `x-amz-trailer`. A
    /// length that is no number is `InvalidArgument`, too many trailers are `MalformedTrailerError`.
    pub fn from_headers(
        mode: PayloadMode,
        signer: Option<Box<ChunkSigner>>,
        headers: &HeaderMap,
    ) -> Result<Decoder, ErrorReply> {
        let expected_bytes = match headers.get(DECODED_LENGTH_HEADER) {
            None => None,
            Some(value) => Some(decimal(value.as_bytes().trim_ascii()).ok_or_else(|| {
                let text = String::from_utf8_lossy(value.as_bytes());
                ErrorReply::invalid_argument("Invalid decoded content length", DECODED_LENGTH_HEADER, text)
            })?),
        };
        let mut announced = Vec::new();
        for value in headers.get_all("x-amz-trailer") {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| malformed_trailer())?;
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if announced.len() == TRAILER_COUNT_MAX {
                    return Err(malformed_trailer());
                }
                announced.push(name.to_ascii_lowercase());
            }
        }
        Ok(Decoder::new(mode, signer, expected_bytes, announced))
    }

    /// The length of the data that the client promised.
    pub fn expected_bytes(&self) -> Option<u64> {
        self.expected_bytes
    }

    /// Takes from the front of `input` and gives the next run of data, borrowed from it. `None` means that
    /// all of `input` was taken and more is needed, or that the body has ended. Call it until it gives
    /// `None`.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, ErrorReply> {
        let step = self.step(input)?;
        let (taken, rest) = input.split_at(step.consumed_bytes);
        *input = rest;
        let data = &taken[taken.len() - step.data_bytes..];
        Ok(if data.is_empty() { None } else { Some(data) })
    }

    /// Like [`Decoder::next`] for reference-counted bytes: the data shares their memory.
    pub fn next_bytes(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ErrorReply> {
        let step = self.step(input)?;
        input.advance(step.consumed_bytes - step.data_bytes);
        let data = input.split_to(step.data_bytes);
        Ok(if data.is_empty() { None } else { Some(data) })
    }

    /// Whether the end of the body was reached.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_)) && self.failed.is_none()
    }

    /// Ends the body. Gives its trailers if everything was right, else the first error; `IncompleteBody` if
    /// the body ended early.
    pub fn finish(mut self) -> Result<Trailers, ErrorReply> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.state {
            State::Done(_) => Ok(Trailers(self.trailers)),
            State::Head | State::Data | State::DataEnd(_) | State::Trailer => Err(incomplete_body()),
        }
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, ErrorReply> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance(input).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Goes on until there is data or no more input.
    fn advance(&mut self, input: &[u8]) -> Result<Step, ErrorReply> {
        let mut index = 0;
        loop {
            // This comes before the look at the input: a chunk is judged as soon as it is whole, wherever the
            // input was cut.
            if self.state == State::Data && self.remaining_bytes == 0 {
                self.end_chunk()?;
                self.state = State::DataEnd(0);
            }
            let rest = &input[index..];
            let Some(&byte) = rest.first() else {
                return Ok(Step { consumed_bytes: index, data_bytes: 0 });
            };
            match self.state {
                State::Head => {
                    index += self.take_line(rest).map_err(|()| invalid_chunk())?;
                    if self.line.ends_with(b"\n") {
                        self.head()?;
                        self.line.clear();
                    }
                }
                State::Data => {
                    let count = usize::try_from(self.remaining_bytes).unwrap_or(usize::MAX).min(rest.len());
                    if self.signer.is_some() {
                        self.hash.update(&rest[..count]);
                    }
                    self.remaining_bytes -= count as u64;
                    return Ok(Step { consumed_bytes: index + count, data_bytes: count });
                }
                State::DataEnd(seen) => {
                    if byte != LINE_END[usize::from(seen)] {
                        return Err(invalid_chunk());
                    }
                    index += 1;
                    self.state = if seen == 0 { State::DataEnd(1) } else { State::Head };
                }
                State::Trailer => {
                    index += self.take_line(rest).map_err(|()| malformed_trailer())?;
                    if self.line.ends_with(b"\n") {
                        self.trailer_line()?;
                        self.line.clear();
                    }
                }
                State::Done(seen) => {
                    if LINE_END.get(usize::from(seen)) != Some(&byte) {
                        return Err(malformed_trailer());
                    }
                    index += 1;
                    self.state = State::Done(seen + 1);
                }
            }
        }
    }

    /// Moves bytes into the line, at most to its end, and says how many.
    fn take_line(&mut self, rest: &[u8]) -> Result<usize, ()> {
        let space = LINE_BYTES_MAX - self.line.len();
        let window = &rest[..rest.len().min(space)];
        let count = match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if window.len() == space => return Err(()),
            None => window.len(),
        };
        self.line.extend_from_slice(&window[..count]);
        Ok(count)
    }

    fn head(&mut self) -> Result<(), ErrorReply> {
        let line = self.line.strip_suffix(LINE_END).ok_or_else(invalid_chunk)?;
        let digit_count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extensions) = line.split_at(digit_count);
        if digits.is_empty()
            || digits.len() > SIZE_DIGITS_MAX
            || !matches!(extensions.first(), None | Some(b';'))
        {
            return Err(invalid_chunk());
        }
        let size =
            digits.iter().fold(0u64, |size, &digit| (size << 4) | u64::from(hex_digit(digit).unwrap_or(0)));
        if self.signer.is_some() {
            let signature = extensions.split(|byte| *byte == b';').find_map(|extension| {
                let text = extension.strip_prefix(b"chunk-signature=")?;
                decode_signature(std::str::from_utf8(text).ok()?)
            });
            self.chunk_signature = signature.ok_or_else(refusal::bare_mismatch)?;
        }
        self.decoded_bytes = self.decoded_bytes.checked_add(size).ok_or_else(invalid_chunk)?;
        if self.expected_bytes.is_some_and(|expected| self.decoded_bytes > expected) {
            return Err(incomplete_body());
        }
        self.remaining_bytes = size;
        if size == 0 {
            self.end_chunk()?;
            self.state = State::Trailer;
        } else {
            self.state = State::Data;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), ErrorReply> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let digest: [u8; 32] = self.hash.finalize_reset().into();
        if signer.verify_chunk(&digest, &self.chunk_signature) {
            Ok(())
        } else {
            Err(refusal::bare_mismatch())
        }
    }

    fn trailer_line(&mut self) -> Result<(), ErrorReply> {
        // Clients of MinIO's end a trailer with a bare line feed and follow it by a blank line.
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            let awaits_signature =
                self.signer.is_some() && self.has_trailers && self.trailer_signature.is_none();
            if awaits_signature && !self.trailers.is_empty() && !self.saw_blank {
                self.saw_blank = true;
                return Ok(());
            }
            return self.end();
        }
        let text = std::str::from_utf8(line).map_err(|_| malformed_trailer())?;
        let (name, value) = text.split_once(':').ok_or_else(malformed_trailer)?;
        let (name, value) = (name.trim_matches(BLANKS).to_ascii_lowercase(), value.trim_matches(BLANKS));
        if !self.has_trailers || self.trailer_signature.is_some() || value.bytes().any(|byte| byte < b' ') {
            return Err(malformed_trailer());
        }
        if name == TRAILER_SIGNATURE {
            if self.signer.is_some() {
                self.trailer_signature = Some(decode_signature(value).ok_or_else(refusal::bare_mismatch)?);
            }
            return Ok(());
        }
        let is_repeated = self.trailers.iter().any(|(known, _)| *known == name);
        if is_repeated || self.saw_blank || !self.announced.contains(&name) {
            return Err(malformed_trailer());
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }

    /// Judges the whole.
    fn end(&mut self) -> Result<(), ErrorReply> {
        if self.expected_bytes.is_some_and(|expected| expected != self.decoded_bytes) {
            return Err(incomplete_body());
        }
        let is_there = |name: &String| self.trailers.iter().any(|(known, _)| known == name);
        if !self.announced.iter().all(is_there) {
            return Err(malformed_trailer());
        }
        if let Some(signer) = &mut self.signer
            && self.has_trailers
        {
            // Signed in the order of their names, however they came.
            let mut sorted: Vec<&(String, String)> = self.trailers.iter().collect();
            sorted.sort();
            let mut hash = Sha256::new();
            for (name, value) in sorted {
                for part in [name.as_bytes(), b":", value.as_bytes(), b"\n"] {
                    hash.update(part);
                }
            }
            let signature = self.trailer_signature.ok_or_else(refusal::bare_mismatch)?;
            if !signer.verify_trailer(&hash.finalize().into(), &signature) {
                return Err(refusal::bare_mismatch());
            }
        }
        self.state = State::Done(0);
        Ok(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// 400 InvalidChunkSizeError.
fn invalid_chunk() -> ErrorReply {
    ErrorReply::new("InvalidChunkSizeError", 400, "The framing of a chunk is broken")
}

/// 400 MalformedTrailerError.
fn malformed_trailer() -> ErrorReply {
    ErrorReply::new(
        "MalformedTrailerError",
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )
}

/// 400 IncompleteBody.
pub fn incomplete_body() -> ErrorReply {
    ErrorReply::new(
        "IncompleteBody",
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}

/// The header that gives the length of the data without its framing.
pub const DECODED_LENGTH_HEADER: &str = "x-amz-decoded-content-length";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
const LINE_END: &[u8; 2] = b"\r\n";
/// What may stand around a trailer's value; other controls are refused, not trimmed away.
const BLANKS: [char; 2] = [' ', '\t'];
/// A chunk's head, and a trailer's line, may be so long with its line end.
const LINE_BYTES_MAX: usize = 1024;
/// A chunk's size has at most so many digits; 2^60 bytes are more than any object has.
const SIZE_DIGITS_MAX: usize = 15;
/// So many trailers may be announced; hence no more can come.
const TRAILER_COUNT_MAX: usize = 16;

#[cfg(test)]
mod tests;
