//! Percent coding (RFC 3986) and query strings, the way signatures and S3 read them.
//!
//! Invariant: a path is decoded exactly once and never normalised, so `x/../y`, `//` and `.` stay themselves.
//! `+` is a plus in a path and a blank in a query.

use std::borrow::Cow;

use crate::encoding::hex_digit;

/// Why a path or a query component cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// A `%` that two hexadecimal digits do not follow.
    Escape,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
    /// The decoded text holds U+0000, which keys may not (it would break the byte order of the key layout).
    Nul,
}

/// Decodes a path or a part of one. `+` stays a plus.
pub fn decode_path(raw: &str) -> Result<Cow<'_, str>, UriError> {
    let text = if raw.contains('%') {
        let mut bytes = Vec::with_capacity(raw.len());
        decode_into(&mut bytes, raw.as_bytes(), Plus::Literal, BadEscape::Refuse)?;
        Cow::Owned(String::from_utf8(bytes).map_err(|_| UriError::NotUtf8)?)
    } else {
        Cow::Borrowed(raw)
    };
    if text.as_bytes().contains(&0) { Err(UriError::Nul) } else { Ok(text) }
}

/// Decodes a query name or value. `+` is a blank. A `%` without its digits stands for itself, as browsers and
/// Amazon's own parsers have it.
pub fn decode_query(raw: &str) -> Result<Cow<'_, str>, UriError> {
    if !raw.contains(['%', '+']) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    decode_into(&mut bytes, raw.as_bytes(), Plus::Blank, BadEscape::Keep)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| UriError::NotUtf8)
}

/// The raw `(name, value)` pairs of a query, in order, undecoded. Empty pairs (`&&`) are skipped; a name
/// without `=` has an empty value.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Encodes `text` with every byte outside RFC 3986's unreserved set escaped, `/` included.
pub fn encode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    encode_append(&mut out, text.as_bytes(), Slash::Escape);
    String::from_utf8(out).expect("percent coding yields ASCII")
}

/// Encodes `text` as [`encode`] does but leaves `/` alone, as a key in a path or in an encoded listing is.
pub fn encode_path(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    encode_append(&mut out, text.as_bytes(), Slash::Keep);
    String::from_utf8(out).expect("percent coding yields ASCII")
}

/// What becomes of `/` when encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slash {
    /// It stays, as between the segments of a path.
    Keep,
    /// It becomes `%2F`, as in a query.
    Escape,
}

/// Appends the percent-coded form of `bytes` to `out`.
pub fn encode_append(out: &mut Vec<u8>, bytes: &[u8], slash: Slash) {
    for &byte in bytes {
        if UNRESERVED[usize::from(byte)] || (byte == b'/' && slash == Slash::Keep) {
            out.push(byte);
        } else {
            escape(out, byte);
        }
    }
}

/// Appends the canonical form of a raw query component: decoded, then encoded. One pass, no buffer between.
pub(crate) fn canonical_query_append(out: &mut Vec<u8>, raw: &[u8]) {
    let mut index = 0;
    while index < raw.len() {
        let (byte, length) = match raw[index] {
            b'%' => escaped_byte(&raw[index..]).map_or((b'%', 1), |byte| (byte, 3)),
            b'+' => (b' ', 1),
            byte => (byte, 1),
        };
        index += length;
        encode_append(out, &[byte], Slash::Escape);
    }
}

/// Appends the canonical form of a raw path: decoded, then encoded once, slashes kept. A `%` without its
/// digits is taken as itself; such a path is refused later, when it is decoded for use.
pub(crate) fn canonical_path_append(out: &mut Vec<u8>, raw: &[u8]) {
    let mut index = 0;
    while index < raw.len() {
        let (byte, length) = match raw[index] {
            b'%' => escaped_byte(&raw[index..]).map_or((b'%', 1), |byte| (byte, 3)),
            byte => (byte, 1),
        };
        index += length;
        encode_append(out, &[byte], Slash::Keep);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Literal,
    Blank,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BadEscape {
    Refuse,
    Keep,
}

fn decode_into(out: &mut Vec<u8>, raw: &[u8], plus: Plus, bad_escape: BadEscape) -> Result<(), UriError> {
    let mut index = 0;
    while index < raw.len() {
        match raw[index] {
            b'%' => match escaped_byte(&raw[index..]) {
                Some(byte) => {
                    out.push(byte);
                    index += 3;
                }
                None if bad_escape == BadEscape::Keep => {
                    out.push(b'%');
                    index += 1;
                }
                None => return Err(UriError::Escape),
            },
            b'+' if plus == Plus::Blank => {
                out.push(b' ');
                index += 1;
            }
            byte => {
                out.push(byte);
                index += 1;
            }
        }
    }
    Ok(())
}

/// The byte that `%XX` at the start of `raw` stands for.
fn escaped_byte(raw: &[u8]) -> Option<u8> {
    match raw {
        [b'%', high, low, ..] => Some((hex_digit(*high)? << 4) | hex_digit(*low)?),
        _ => None,
    }
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[b'%', HEX_UPPER[usize::from(byte >> 4)], HEX_UPPER[usize::from(byte & 15)]]);
}

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 3986 2.3: letters, digits, `-`, `.`, `_`, `~`.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_plus_in_a_path_and_a_blank_in_a_query() {
        assert_eq!(decode_path("a+b%2Bc").as_deref(), Ok("a+b+c"));
        assert_eq!(decode_query("a+b%2Bc").as_deref(), Ok("a b+c"));
    }

    #[test]
    fn paths_are_not_normalised() {
        for path in ["/b/x/../y", "/b//k", "/b/.", "/b/k/", "/b/..", "/b/%2E%2E/k"] {
            assert_eq!(decode_path(path).as_deref(), Ok(path.replace("%2E", ".").as_str()));
        }
        assert_eq!(decode_path("/b/a%2Fb").as_deref(), Ok("/b/a/b"));
    }

    #[test]
    fn bad_paths_are_refused_by_kind() {
        assert_eq!(decode_path("/%ff"), Err(UriError::NotUtf8));
        assert_eq!(decode_path("/%C3"), Err(UriError::NotUtf8));
        assert_eq!(decode_path("/a%00b"), Err(UriError::Nul));
        assert_eq!(decode_path("/a\0b"), Err(UriError::Nul));
        for path in ["/%", "/%2", "/%zz", "/%2x", "/a%"] {
            assert_eq!(decode_path(path), Err(UriError::Escape), "{path}");
        }
    }

    #[test]
    fn every_character_survives_encoding_and_decoding() {
        let text: String = (1..=0x2fff).filter_map(char::from_u32).chain(['😀', '\u{10ffff}']).collect();
        assert_eq!(decode_path(&encode(&text)).as_deref(), Ok(text.as_str()));
        assert_eq!(decode_query(&encode(&text)).as_deref(), Ok(text.as_str()));
        assert_eq!(decode_path(&encode_path(&text)).as_deref(), Ok(text.as_str()));
        assert_eq!(encode("a/b ~é"), "a%2Fb%20~%C3%A9");
        assert_eq!(encode_path("a/b ~é"), "a/b%20~%C3%A9");
    }

    #[test]
    fn query_pairs_keep_empty_values_and_skip_empty_pairs() {
        let pairs: Vec<_> = query_pairs("acl&&a=&b=c=d&=e").collect();
        assert_eq!(pairs, [("acl", ""), ("a", ""), ("b", "c=d"), ("", "e")]);
        assert_eq!(query_pairs("").count(), 0);
    }

    #[test]
    fn canonical_forms_agree_with_decoding_then_encoding() {
        for raw in ["a+b", "%41", "%zz", "%", "é", "a%2fb", "%e2%82%ac", "100%"] {
            let mut out = Vec::new();
            canonical_query_append(&mut out, raw.as_bytes());
            assert_eq!(out, encode(&decode_query(raw).unwrap()).as_bytes(), "{raw}");
        }
        let mut out = Vec::new();
        canonical_path_append(&mut out, b"/b/a+b%2fc!");
        assert_eq!(out, b"/b/a%2Bb/c%21");
    }
}
