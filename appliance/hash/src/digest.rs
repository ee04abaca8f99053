//! One type for every algorithm, chosen at run time.
//! Invariant: a value has exactly the algorithm's number of bytes, numbers among them in big-endian order, which is the
//! order in which S3 writes its checksums in base64.

use std::fmt;
use std::ops::Deref;

use crate::{Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256, Sha512, XxHash3, XxHash64, XxHash128};

/// Bytes of the longest digest, SHA-512's.
pub const DIGEST_BYTES_MAX: usize = 64;

/// Names a digest or checksum algorithm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// CRC-32 as in gzip.
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5.
    Md5,
    /// XXH64 with seed 0.
    XxHash64,
    /// XXH3 of 64 bits with seed 0.
    XxHash3,
    /// XXH3 of 128 bits with seed 0.
    XxHash128,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 10] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Nvme,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha512,
        Algorithm::Md5,
        Algorithm::XxHash64,
        Algorithm::XxHash3,
        Algorithm::XxHash128,
    ];

    /// The name as Amazon S3 writes it in `x-amz-checksum-algorithm`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
            Algorithm::Sha512 => "SHA512",
            Algorithm::Md5 => "MD5",
            Algorithm::XxHash64 => "XXHASH64",
            Algorithm::XxHash3 => "XXHASH3",
            Algorithm::XxHash128 => "XXHASH128",
        }
    }

    /// The algorithm with this name, in any mix of case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Number of bytes of a digest.
    #[must_use]
    pub fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme | Algorithm::XxHash64 | Algorithm::XxHash3 => 8,
            Algorithm::Md5 | Algorithm::XxHash128 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

/// A finished digest: up to `DIGEST_BYTES_MAX` bytes, held in place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Zero behind `length`, so that the derived comparison is that of the bytes.
    bytes: [u8; DIGEST_BYTES_MAX],
    length: u8,
}

impl Value {
    /// Holds a copy of `bytes`; `None` when they are more than `DIGEST_BYTES_MAX`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Value> {
        let length = u8::try_from(bytes.len()).ok()?;
        let mut value = Value { bytes: [0; DIGEST_BYTES_MAX], length };
        value.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(value)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// In hexadecimal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({self})")
    }
}

/// A digest of bytes that arrive in pieces.
#[derive(Clone)]
pub struct Digest(State);

#[derive(Clone)]
enum State {
    Crc32(Box<Crc32>),
    Crc32c(Box<Crc32c>),
    Crc64Nvme(Box<Crc64Nvme>),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    Md5(Md5),
    XxHash64(XxHash64),
    XxHash3(XxHash3),
    XxHash128(XxHash128),
}

macro_rules! with_state {
    ($digest:expr, $state:ident => $body:expr) => {
        match $digest {
            State::Crc32($state) => $body,
            State::Crc32c($state) => $body,
            State::Crc64Nvme($state) => $body,
            State::Sha1($state) => $body,
            State::Sha256($state) => $body,
            State::Sha512($state) => $body,
            State::Md5($state) => $body,
            State::XxHash64($state) => $body,
            State::XxHash3($state) => $body,
            State::XxHash128($state) => $body,
        }
    };
}

impl Digest {
    /// The digest of no bytes yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Digest {
        Digest(match algorithm {
            Algorithm::Crc32 => State::Crc32(Box::default()),
            Algorithm::Crc32c => State::Crc32c(Box::default()),
            Algorithm::Crc64Nvme => State::Crc64Nvme(Box::default()),
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
            Algorithm::Md5 => State::Md5(Md5::new()),
            Algorithm::XxHash64 => State::XxHash64(XxHash64::new()),
            Algorithm::XxHash3 => State::XxHash3(XxHash3::new()),
            Algorithm::XxHash128 => State::XxHash128(XxHash128::new()),
        })
    }

    /// Which algorithm this is.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Crc32(_) => Algorithm::Crc32,
            State::Crc32c(_) => Algorithm::Crc32c,
            State::Crc64Nvme(_) => Algorithm::Crc64Nvme,
            State::Sha1(_) => Algorithm::Sha1,
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
            State::Md5(_) => Algorithm::Md5,
            State::XxHash64(_) => Algorithm::XxHash64,
            State::XxHash3(_) => Algorithm::XxHash3,
            State::XxHash128(_) => Algorithm::XxHash128,
        }
    }

    /// Adds `data` at the end.
    pub fn update(&mut self, data: &[u8]) {
        with_state!(&mut self.0, state => state.update(data));
    }

    /// The MD5 inside, so that it can be advanced together with others by `md5_update_many`.
    pub fn as_md5_mut(&mut self) -> Option<&mut Md5> {
        match &mut self.0 {
            State::Md5(md5) => Some(md5),
            _ => None,
        }
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(self) -> Value {
        let value = match self.0 {
            State::Crc32(state) => Value::from_bytes(&state.finish().to_be_bytes()),
            State::Crc32c(state) => Value::from_bytes(&state.finish().to_be_bytes()),
            State::Crc64Nvme(state) => Value::from_bytes(&state.finish().to_be_bytes()),
            State::Sha1(state) => Value::from_bytes(&state.finish()),
            State::Sha256(state) => Value::from_bytes(&state.finish()),
            State::Sha512(state) => Value::from_bytes(&state.finish()),
            State::Md5(state) => Value::from_bytes(&state.finish()),
            State::XxHash64(state) => Value::from_bytes(&state.finish().to_be_bytes()),
            State::XxHash3(state) => Value::from_bytes(&state.finish().to_be_bytes()),
            State::XxHash128(state) => Value::from_bytes(&state.finish().to_be_bytes()),
        };
        value.expect("no algorithm gives more than DIGEST_BYTES_MAX")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.algorithm().name())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reproducible bytes for this crate's tests.
    pub(crate) struct Random(u64);

    impl Random {
        pub(crate) fn new(seed: u64) -> Random {
            Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
        }

        pub(crate) fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from((self.0 >> 11) % bound as u64).unwrap()
        }

        pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
            (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
        }
    }

    #[test]
    fn each_algorithm_gives_its_published_value_for_abc() {
        // RFC 1321, FIPS 180-4; the CRCs and XXHs from their reference tools.
        let expected = [
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                Algorithm::Sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (Algorithm::Crc32, "352441c2"),
            (Algorithm::Crc32c, "364b3fb7"),
            (Algorithm::XxHash64, "44bc2cf5ad770999"),
            (Algorithm::XxHash3, "78af5f94892f3950"),
            (Algorithm::XxHash128, "06b05ab6733a618578af5f94892f3950"),
        ];
        for (algorithm, hexadecimal) in expected {
            let mut digest = Digest::new(algorithm);
            digest.update(b"abc");
            assert_eq!(digest.finish().to_string(), hexadecimal, "{}", algorithm.name());
        }
    }

    #[test]
    fn a_digest_does_not_depend_on_how_the_bytes_are_cut() {
        let mut random = Random::new(11);
        for algorithm in Algorithm::ALL {
            for _ in 0..40 {
                let length = random.below(2_000);
                let data = random.bytes(length);
                let mut whole = Digest::new(algorithm);
                whole.update(&data);
                let (mut pieces, mut rest) = (Digest::new(algorithm), &data[..]);
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(random.below(rest.len().min(300)) + 1);
                    pieces.update(piece);
                    rest = behind;
                }
                let value = whole.finish();
                assert_eq!(value.len(), algorithm.digest_bytes());
                assert_eq!(pieces.finish(), value, "{}", algorithm.name());
            }
        }
    }

    #[test]
    fn a_name_leads_back_to_its_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
            assert_eq!(Digest::new(algorithm).algorithm(), algorithm);
        }
        assert_eq!(Algorithm::from_name("CRC16"), None);
        assert!(Value::from_bytes(&[0; 65]).is_none());
    }
}
