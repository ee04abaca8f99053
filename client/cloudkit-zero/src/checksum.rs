//! Checksums over bodies: CRC64NVME of what is sent, and of what comes back whichever the peer names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http_types::HeaderMap;
use sha2::{Digest, Sha256};

/// The header and the trailer of a CRC64NVME.
pub const CRC64NVME_NAME: &str = "x-amz-checksum-crc64nvme";

/// One that is being computed.
#[derive(Debug)]
pub enum Checksum {
    /// Of the CRC family, with the bytes of its value.
    Crc(crc_fast::Digest, usize),
    /// SHA-256.
    Sha256(Sha256),
}

impl Checksum {
    /// CRC64NVME.
    pub fn crc64nvme() -> Checksum {
        Checksum::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme), 8)
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Checksum::Crc(digest, _) => digest.update(bytes),
            Checksum::Sha256(digest) => digest.update(bytes),
        }
    }

    /// The value in base64, as S3 writes it.
    pub fn value(&self) -> String {
        match self {
            Checksum::Crc(digest, width) => STANDARD.encode(&digest.finalize().to_be_bytes()[8 - width..]),
            Checksum::Sha256(digest) => STANDARD.encode(digest.clone().finalize()),
        }
    }
}

/// CRC64NVME of bytes that are all there, in base64.
pub fn crc64nvme_of(bytes: &[u8]) -> String {
    Crc64::of(bytes).value()
}

/// A CRC64NVME as a number, so that those of parts give that of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crc64(u64);

impl Crc64 {
    /// Of bytes that are all there. That of no bytes is the default.
    pub fn of(bytes: &[u8]) -> Crc64 {
        Crc64(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes))
    }

    /// Of these bytes with others behind them, of which checksum and length are known.
    pub fn followed_by(self, next: Crc64, next_bytes: u64) -> Crc64 {
        Crc64(crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, self.0, next.0, next_bytes))
    }

    /// In base64, as S3 writes it.
    pub fn value(self) -> String {
        STANDARD.encode(self.0.to_be_bytes())
    }
}

/// A checksum together with the value that it shall have in the end.
#[derive(Debug)]
pub struct Check {
    name: &'static str,
    expected: Box<str>,
    state: Checksum,
}

impl Check {
    /// The strongest that the head of an answer names and that covers the whole body. None without one; a value with `-N` behind it is
    /// one over the checksums of parts, which nobody can recompute from the body alone.
    pub fn from_headers(headers: &HeaderMap) -> Option<Check> {
        type Make = fn() -> Checksum;
        const KNOWN: [(&str, Make); 4] = [
            (CRC64NVME_NAME, Checksum::crc64nvme),
            ("x-amz-checksum-sha256", || Checksum::Sha256(Sha256::new())),
            ("x-amz-checksum-crc32c", || Checksum::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi), 4)),
            ("x-amz-checksum-crc32", || Checksum::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc), 4)),
        ];
        KNOWN.into_iter().find_map(|(name, make)| {
            let expected = headers.get(name)?.to_str().ok()?.trim();
            (!expected.contains('-')).then(|| Check { name, expected: expected.into(), state: make() })
        })
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// At the end of the body. Errors: the words of a difference.
    pub fn finish(&self) -> Result<(), String> {
        let found = self.state.value();
        if found == *self.expected {
            return Ok(());
        }
        Err(format!("{} of the body is {found}, the answer said {}", self.name, self.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_types::{HeaderName, HeaderValue};

    // The check value of each algorithm is that of the text "123456789": AE8B14860A799888 for CRC64NVME.
    const VALUES: [(&str, &str); 4] = [
        (CRC64NVME_NAME, "rosUhgp5mIg="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];

    fn check(name: &'static str, value: &str) -> Option<Check> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        Check::from_headers(&headers)
    }

    #[test]
    fn every_algorithm_has_its_published_value_whatever_the_pieces() {
        for (name, value) in VALUES {
            let mut check = check(name, value).expect("it is known");
            for piece in ["1", "", "2345", "6789"] {
                check.update(piece.as_bytes());
            }
            assert_eq!(check.finish(), Ok(()), "{name}");
            check.update(b"0");
            assert!(check.finish().is_err(), "{name}");
        }
        assert_eq!(crc64nvme_of(b"123456789"), VALUES[0].1);
    }

    #[test]
    fn checksums_of_parts_give_that_of_the_whole() {
        let whole = b"123456789";
        for cut in 0..=whole.len() {
            let (first, last) = whole.split_at(cut);
            let both = Crc64::of(first).followed_by(Crc64::of(last), last.len() as u64);
            assert_eq!(both.value(), VALUES[0].1, "{cut}");
        }
        assert_eq!(Crc64::default(), Crc64::of(b""));
    }

    #[test]
    fn a_checksum_of_parts_is_left_alone() {
        assert!(check("x-amz-checksum-crc32", "y/Q5Jg==-3").is_none());
        assert!(Check::from_headers(&HeaderMap::new()).is_none());
    }
}
