//! Entity tags: what names the content of an object.
//! Invariant: a plain object's tag is the MD5 of its bytes; a multipart object's is the MD5 of its parts' MD5s and
//! their count, so that both can be computed without reading a body again.

use std::fmt;

/// The entity tag of an object or part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Etag {
    /// The MD5.
    pub md5: [u8; 16],
    /// Number of parts; 0 for an object that was put in one piece.
    pub part_count: u16,
}

impl Etag {
    /// The tag of a body with this MD5.
    #[must_use]
    pub fn plain(md5: [u8; 16]) -> Etag {
        Etag { md5, part_count: 0 }
    }

    /// With the quotes that headers and XML carry.
    #[must_use]
    pub fn quoted(&self) -> String {
        let mut text = String::with_capacity(TEXT_BYTES_MAX);
        text.push('"');
        self.append(&mut text);
        text.push('"');
        text
    }

    fn append(&self, text: &mut String) {
        for byte in self.md5 {
            text.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
        }
        if self.part_count > 0 {
            text.push('-');
            text.push_str(&self.part_count.to_string());
        }
    }

    /// Whether a client's spelling, quoted or not, names this tag.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        unquote(text).eq_ignore_ascii_case(&self.to_string())
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_BYTES_MAX);
        self.append(&mut text);
        f.write_str(&text)
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Two quotes, 32 digits, a dash and five digits.
const TEXT_BYTES_MAX: usize = 40;

/// Takes off blanks, a weak mark and the quotes, if there are any.
#[must_use]
pub fn unquote(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_recognised_quoted_and_unquoted() {
        let etag = Etag { md5: [0xab; 16], part_count: 3 };
        let text = format!("{}-3", "ab".repeat(16));
        assert_eq!(etag.to_string(), text);
        assert!(etag.is(&text) && etag.is(&etag.quoted()) && etag.is(&format!(" W/\"{text}\" ")));
        assert!(!etag.is(&"ab".repeat(16)) && !etag.is("\"\"") && !etag.is(""));
    }
}
