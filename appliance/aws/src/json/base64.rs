//! Base64 as the protocol carries binaries, with AWS's words for what is none.
//!
//! Invariant: each binary has one spelling.

use std::borrow::Cow;

use crate::encoding::base64_into;

use super::JsonError;

/// The number of bytes that `text` stands for, if it is base64 at all. Errors: a length that is no multiple of 4.
pub fn decoded_bytes(text: &[u8]) -> Result<usize, JsonError> {
    if !text.len().is_multiple_of(4) {
        let length = text.len();
        let words = format!("Base64 encoded length is expected a multiple of 4 bytes but found: {length}");
        return Err(JsonError::Type(words.into()));
    }
    let padding_count = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    Ok(text.len() / 4 * 3 - padding_count)
}

/// Appends the bytes that `text` stands for, as many as `decoded_bytes` said. Errors: a character that is not of the
/// alphabet, padding that is not at the end, and bits behind the end.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let padding_count = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding_count];
    let (whole, last) = digits.split_at(digits.len() / 4 * 4);
    for group in whole.chunks_exact(4) {
        let [a, b, c, d] = [digit(group[0]), digit(group[1]), digit(group[2]), digit(group[3])];
        if (a | b | c | d) & NO_DIGIT != 0 {
            return Err(foreign(group));
        }
        out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    match *last {
        [] => Ok(()),
        [first, second] => {
            let [a, b] = [digit(first), digit(second)];
            if (a | b) & NO_DIGIT != 0 {
                return Err(foreign(last));
            }
            out.push(a << 2 | b >> 4);
            ends_clean(b & 15)
        }
        [first, second, third] => {
            let [a, b, c] = [digit(first), digit(second), digit(third)];
            if (a | b | c) & NO_DIGIT != 0 {
                return Err(foreign(last));
            }
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
            ends_clean(c & 3)
        }
        // One digit and its padding cannot be, since only two bytes at the end may be padding.
        _ => Err(foreign(last)),
    }
}

/// Appends `bytes` as a JSON string of base64.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    base64_into(bytes, &mut out[start..]);
    out.push(b'"');
}

fn ends_clean(bits: u8) -> Result<(), JsonError> {
    if bits == 0 { Ok(()) } else { Err(JsonError::Type(UNCLEAN.into())) }
}

/// AWS names the first foreign character; a `=` in front of the end is one.
fn foreign(group: &[u8]) -> JsonError {
    let found = group.iter().find(|byte| digit(**byte) & NO_DIGIT != 0).copied().unwrap_or(b'=');
    if found == b'=' || !found.is_ascii_graphic() {
        return JsonError::Type(Cow::Borrowed(UNCLEAN));
    }
    JsonError::Type(format!("Invalid Base64 character: '{}'", char::from(found)).into())
}

fn digit(byte: u8) -> u8 {
    DIGITS[usize::from(byte)]
}

const fn digits() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// The value of each digit; `NO_DIGIT` for other bytes.
const DIGITS: [u8; 256] = digits();
const NO_DIGIT: u8 = 0x80;
/// The spelling is AWS's.
const UNCLEAN: &str = "Invalid last non-pad Base64 character dectected";
