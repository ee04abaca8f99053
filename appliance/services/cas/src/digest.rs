//! The identity of a blob: the SHA-256 of its bytes.
//! Invariant: a digest is 32 bytes; its text is 64 lower-case hexadecimal digits, and no other text is read as one.

use std::fmt;

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;
/// Characters of its text.
pub const DIGEST_TEXT_BYTES: usize = 2 * DIGEST_BYTES;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The SHA-256 of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Digest {
    /// A digest that somebody has computed.
    #[must_use]
    pub const fn new(bytes: [u8; DIGEST_BYTES]) -> Digest {
        Digest(bytes)
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(hash::sha256(bytes))
    }

    /// Reads 64 lower-case hexadecimal digits; nothing of any other text.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Option<Digest> {
        let text: &[u8; DIGEST_TEXT_BYTES] = text.as_ref().try_into().ok()?;
        let mut bytes = [0; DIGEST_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Digest(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }

    /// The 64 characters.
    #[must_use]
    pub fn text(&self) -> [u8; DIGEST_TEXT_BYTES] {
        let mut text = [0; DIGEST_TEXT_BYTES];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        text
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4: the digest of no bytes.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_its_own_text() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY), Some(Digest::of(b"")));
        for byte in 0..=u8::MAX {
            let digest = Digest::new([byte; DIGEST_BYTES]);
            assert_eq!(Digest::parse(digest.text()), Some(digest));
        }
    }

    #[test]
    fn no_other_text_is_a_digest() {
        let upper = EMPTY.to_uppercase();
        let longer = format!("{EMPTY}0");
        for text in
            ["", "e3", &EMPTY[1..], &longer, &upper, &EMPTY.replace('b', "g"), &EMPTY.replace('b', "/")]
        {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }
}
