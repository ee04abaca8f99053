//! The insides of JSON strings: where they end, what their escapes stand for, and how text becomes one.
//!
//! Invariant: what `unescape` gives is UTF-8; `escape` followed by `unescape` changes nothing.

use super::JsonError;

/// The first byte at or behind `from` that a JSON string cannot hold as it is: a quote, a backslash or a control.
/// The length of `bytes` when there is none.
pub(super) fn plain_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    // Eight at a time: a byte below 0x20 borrows into its top bit, and so does one that equals a mark after the mark
    // is taken out of it. Bits above the lowest one set may be wrong, so only that one is used.
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let found = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash);
        let found = found & TOPS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    bytes[at..].iter().position(|byte| !is_plain(*byte)).map_or(bytes.len(), |behind| at + behind)
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
    let mut at = 0;
    loop {
        let end = plain_end(text, at);
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

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;
const HEX: &[u8; 16] = b"0123456789abcdef";
