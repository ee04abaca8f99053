//! The insides of JSON strings: where they end, what their escapes stand for, and how text becomes one.
//!
//! Invariant: what `unescape` gives is UTF-8; `escape` followed by `unescape` changes nothing.

use super::JsonError;

/// The first byte at or behind `from` that a JSON string cannot hold as it is: a quote, a backslash or a control.
/// The length of `bytes` when there is none.
#[inline]
pub(super) fn plain_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    if at >= bytes.len() {
        return bytes.len();
    }
    // Behind the last byte the word is zero, which is a mark as well.
    at + marks(last_word(bytes, bytes.len() - at)).trailing_zeros() as usize / 8
}

/// A bit for each byte of `word` that a JSON string cannot hold as it is. A byte below 0x20 borrows into its top bit, and
/// so does one that equals a mark after the mark is taken out of it. Bits above the lowest one set may be wrong.
#[inline]
fn marks(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let found = (word.wrapping_sub(ONES * 0x20) & !word)
        | (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash);
    found & TOPS
}

/// The last `count` bytes, 1 to 7 of them, as the low bytes of a word.
#[inline]
fn last_word(bytes: &[u8], count: usize) -> u64 {
    if let Some(last) = bytes.last_chunk() {
        return u64::from_le_bytes(*last) >> (8 * (8 - count));
    }
    let last = &bytes[bytes.len() - count..];
    if let (Some(low), Some(high)) = (last.first_chunk(), last.last_chunk()) {
        return u64::from(u32::from_le_bytes(*low))
            | u64::from(u32::from_le_bytes(*high)) << (8 * (count - 4));
    }
    let byte = |index: usize| u64::from(last[index]) << (8 * index);
    byte(0) | byte(count / 2) | byte(count - 1)
}

/// Reads the rest of a string whose plain beginning `out` holds. `at` is the first byte that is not plain. Gives where
/// the string ends, behind its quote.
///
/// Errors: `Syntax` for a control, an unknown escape, a surrogate that stands alone (it is no character, and whatever
/// was stored for it could not be given back), and a text that ends.
pub(super) fn unescape(text: &str, mut at: usize, out: &mut String) -> Result<usize, JsonError> {
    let bytes = text.as_bytes();
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {}
            _ => return Err(JsonError::Syntax),
        }
        let escape = *bytes.get(at + 1).ok_or(JsonError::Syntax)?;
        at += 2;
        match escape {
            b'"' | b'\\' | b'/' => out.push(char::from(escape)),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let (character, end) = unicode(bytes, at)?;
                out.push(character);
                at = end;
            }
            _ => return Err(JsonError::Syntax),
        }
        let end = plain_end(bytes, at);
        out.push_str(text.get(at..end).ok_or(JsonError::Syntax)?);
        at = end;
    }
}

/// Appends `text` as a JSON string, with its quotes.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let (mut at, mut end) = (0, plain_end(text, 0));
    loop {
        out.extend_from_slice(&text[at..end]);
        let Some(&byte) = text.get(end) else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        at = end + 1;
        end = plain_end(text, at);
    }
    out.push(b'"');
}

/// The character of the four digits at `at`, joined with a second escape if they are the first half of a pair.
fn unicode(bytes: &[u8], at: usize) -> Result<(char, usize), JsonError> {
    let first = four_digits(bytes, at)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Ok((char::from_u32(first).ok_or(JsonError::Syntax)?, at + 4));
    }
    if bytes.get(at + 4..at + 6) != Some(b"\\u") {
        return Err(JsonError::Syntax);
    }
    let second = four_digits(bytes, at + 6)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(JsonError::Syntax);
    }
    let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok((char::from_u32(joined).ok_or(JsonError::Syntax)?, at + 10))
}

fn four_digits(bytes: &[u8], at: usize) -> Result<u32, JsonError> {
    let digits = bytes.get(at..at + 4).ok_or(JsonError::Syntax)?;
    digits.iter().try_fold(0, |sum, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(JsonError::Syntax)?;
        Ok(sum * 16 + value)
    })
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;
const HEX: &[u8; 16] = b"0123456789abcdef";
