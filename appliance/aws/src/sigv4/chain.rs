//! The chain of signatures over a streaming body: each signs the one before, the first that of the request.
//!
//! Invariant: the chain moves on only past a signature that was right. The framing is the business of
//! [`crate::chunked`].

use sha2::{Digest, Sha256};

use super::keys::SigningKey;
use crate::encoding::{hex, hex_append};
use crate::time::Timestamp;

/// What it takes to verify the chunks of a streaming body: the signing key, what every string to sign shares,
/// and the signature before.
#[derive(Clone)]
pub struct ChunkSigner {
    key: SigningKey,
    /// Timestamp, line feed, scope, line feed.
    shared: Box<str>,
    /// The signature of the request, then of each chunk, in hexadecimal.
    previous: [u8; 64],
    scratch: Vec<u8>,
}

impl ChunkSigner {
    /// Starts the chain at `seed`, the signature of the request, which was signed at `signed_at` for `scope`.
    pub fn new(key: SigningKey, signed_at: Timestamp, scope: &str, seed: &[u8; 32]) -> ChunkSigner {
        let basic = signed_at.to_basic();
        let date = std::str::from_utf8(&basic).expect("a timestamp is ASCII");
        let shared = format!("{date}\n{scope}\n").into_boxed_str();
        ChunkSigner { key, shared, previous: hex64(seed), scratch: Vec::new() }
    }

    /// Whether `signature` is that of the next chunk, whose data has this digest; if so, the chain moves on.
    pub(crate) fn verify_chunk(&mut self, digest: &[u8; 32], signature: &[u8; 32]) -> bool {
        self.prepare(b"AWS4-HMAC-SHA256-PAYLOAD\n");
        // The digest of nothing stands where trailing headers once were meant to be.
        self.scratch.extend_from_slice(EMPTY_SHA256.as_bytes());
        self.scratch.push(b'\n');
        hex_append(&mut self.scratch, digest);
        self.check(signature)
    }

    /// Whether `signature` is that of the trailer, whose canonical lines have this digest.
    pub(crate) fn verify_trailer(&mut self, digest: &[u8; 32], signature: &[u8; 32]) -> bool {
        self.prepare(b"AWS4-HMAC-SHA256-TRAILER\n");
        hex_append(&mut self.scratch, digest);
        self.check(signature)
    }

    /// The signature of the next chunk; the chain moves on. For clients and tests.
    pub fn sign_chunk(&mut self, data: &[u8]) -> [u8; 32] {
        self.prepare(b"AWS4-HMAC-SHA256-PAYLOAD\n");
        self.scratch.extend_from_slice(EMPTY_SHA256.as_bytes());
        self.scratch.push(b'\n');
        hex_append(&mut self.scratch, &Sha256::digest(data));
        self.advance()
    }

    /// The signature of the trailer, given as lines `name:value\n`. For clients and tests.
    pub fn sign_trailer(&mut self, lines: &[u8]) -> [u8; 32] {
        self.prepare(b"AWS4-HMAC-SHA256-TRAILER\n");
        hex_append(&mut self.scratch, &Sha256::digest(lines));
        self.advance()
    }

    fn prepare(&mut self, algorithm: &[u8]) {
        self.scratch.clear();
        self.scratch.extend_from_slice(algorithm);
        self.scratch.extend_from_slice(self.shared.as_bytes());
        self.scratch.extend_from_slice(&self.previous);
        self.scratch.push(b'\n');
    }

    fn check(&mut self, signature: &[u8; 32]) -> bool {
        let right = self.key.verify(&self.scratch, signature);
        if right {
            self.previous = hex64(signature);
        }
        right
    }

    fn advance(&mut self) -> [u8; 32] {
        let signature = self.key.sign(&self.scratch);
        self.previous = hex64(&signature);
        signature
    }
}

fn hex64(bytes: &[u8; 32]) -> [u8; 64] {
    hex(bytes).into_bytes().try_into().expect("32 bytes have 64 digits")
}

/// SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
