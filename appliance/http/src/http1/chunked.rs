//! The chunked transfer coding (RFC 9112 section 7.1), decoded incrementally.
//!
//! ```text
//! Size -hex-> Size -CR-> SizeLf -LF-> Data (size > 0) | TrailerStart (size = 0)
//! Size -;-> Extension -CR-> SizeLf
//! Data -size bytes-> DataCr -CR-> DataLf -LF-> Size
//! TrailerStart -CR-> EndLf -LF-> Done
//! TrailerStart -token-> TrailerName -:-> TrailerValue -CR-> TrailerLf -LF-> TrailerStart
//! ```
//!
//! Invariant: the result does not depend on how the input was split, and no byte past the end is consumed.
//! Left to others: copying the data, and the bound of the whole body.

use crate::http1::head::is_token_byte;

/// A decoder for one body.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: State,
    /// Bytes left of the current chunk, or its size as far as its digits were read.
    left: u64,
    digits: u8,
    extension_bytes_left: usize,
    trailer_bytes_left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// What the decoder found after the framing bytes that it consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// The input is used up.
    More,
    /// The next this many bytes, at least one, are data. The decoder counts them as taken.
    Data(usize),
    /// The body is over; what follows belongs to the next message.
    End,
}

/// 16 hex digits are 64 bits; more can only be padding or overflow.
const SIZE_DIGITS_MAX: u8 = 16;

impl ChunkedDecoder {
    pub(crate) fn new(extension_bytes_max: usize, trailer_bytes_max: usize) -> Self {
        Self {
            state: State::Size,
            left: 0,
            digits: 0,
            extension_bytes_left: extension_bytes_max,
            trailer_bytes_left: trailer_bytes_max,
        }
    }

    /// Consumes framing bytes up to the next data, the end of the body or the end of the input, and says how many.
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<(usize, Chunk), &'static str> {
        let mut used = 0;
        loop {
            match self.state {
                State::Done => return Ok((used, Chunk::End)),
                State::Data if used < input.len() => {
                    let available = input.len() - used;
                    let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
                    self.left -= taken as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok((used, Chunk::Data(taken)));
                }
                _ => {}
            }
            let Some(&byte) = input.get(used) else { return Ok((used, Chunk::More)) };
            self.state = self.next(byte)?;
            used += 1;
        }
    }

    fn next(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => State::Extension,
            (State::Size, digit) => {
                self.push_size_digit(digit)?;
                State::Size
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, byte) if is_field_byte(byte) => {
                spend(&mut self.extension_bytes_left, "chunk extensions over the limit")?;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, byte) if is_token_byte(byte) => {
                spend(&mut self.trailer_bytes_left, TRAILER_TOO_LONG)?;
                State::TrailerName
            }
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if is_field_byte(byte) => {
                spend(&mut self.trailer_bytes_left, TRAILER_TOO_LONG)?;
                State::TrailerValue
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            (State::DataCr | State::DataLf, _) => return Err("a chunk is longer than its size"),
            _ => return Err("a byte that chunked coding does not allow"),
        })
    }

    fn push_size_digit(&mut self, byte: u8) -> Result<(), &'static str> {
        let digit = char::from(byte).to_digit(16).ok_or("a chunk size that is not hexadecimal")?;
        if self.digits == SIZE_DIGITS_MAX {
            return Err("a chunk size that is too long");
        }
        self.digits += 1;
        // 16 digits fill 64 bits exactly, so the shift loses nothing.
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }
}

const TRAILER_TOO_LONG: &str = "trailers over the limit";

fn spend(budget: &mut usize, message: &'static str) -> Result<(), &'static str> {
    *budget = budget.checked_sub(1).ok_or(message)?;
    Ok(())
}

/// HTAB, visible characters, blank, and obs-text: what field values and chunk extensions may hold.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` cut into pieces of `step` bytes; gives the data and the bytes consumed.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), &'static str> {
        let mut decoder = ChunkedDecoder::new(32, 32);
        let (mut data, mut position) = (Vec::new(), 0);
        for piece in input.chunks(step) {
            let mut at = 0;
            loop {
                let (used, chunk) = decoder.advance(&piece[at..])?;
                at += used;
                position += used;
                match chunk {
                    Chunk::More => break,
                    Chunk::Data(len) => {
                        data.extend_from_slice(&piece[at..at + len]);
                        at += len;
                        position += len;
                    }
                    Chunk::End => return Ok((data, position, true)),
                }
            }
        }
        Ok((data, position, false))
    }

    #[test]
    fn every_split_gives_the_same_result() {
        let cases: &[&[u8]] = &[
            b"5\r\nhello\r\n0\r\n\r\nGET /",
            b"5;a=b\r\nhello\r\n00003\r\nabc\r\n0;x\r\nTrailer: v\r\nB:\r\n\r\nrest",
            b"5\r\nhel",
            b"",
        ];
        for case in cases {
            let whole = decode(case, usize::MAX).unwrap();
            for step in 1..=case.len() {
                assert_eq!(decode(case, step).unwrap(), whole, "step {step}");
            }
        }
    }

    #[test]
    fn the_end_leaves_the_next_message_alone() {
        let (data, position, ended) = decode(b"3\r\nabc\r\n0\r\n\r\nGET", 64).unwrap();
        assert_eq!((data.as_slice(), position, ended), (&b"abc"[..], 13, true));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let cases: &[&[u8]] = &[
            b"\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5 \r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"g\r\n",
            b";a\r\n",
            b"5\r\nhello!\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5;\x00\r\nhello\r\n",
            b"10000000000000000\r\n",
            b"00000000000000001\r\n",
            b"0\r\n folded: x\r\n\r\n",
            b"0\r\nname : x\r\n\r\n",
            b"0\r\nname\r\n\r\n",
            b"0\r\nname: a\nb: c\r\n\r\n",
            b"0\r\n\n",
            b"0\r\n\r\r",
            b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
            b"0\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: x\r\n\r\n",
        ];
        for case in cases {
            assert!(decode(case, usize::MAX).is_err(), "{:?}", String::from_utf8_lossy(case));
            assert!(decode(case, 1).is_err(), "{:?} bytewise", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn the_extension_budget_is_per_body_not_per_chunk() {
        let chunk = b"1;0123456789\r\nx\r\n";
        let many = chunk.repeat(5);
        assert!(decode(&many[..chunk.len() * 2], 64).is_ok());
        assert!(decode(&many, 64).is_err());
    }
}
