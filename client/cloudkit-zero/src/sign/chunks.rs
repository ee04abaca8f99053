//! Signatures of chunks and trailers: each one covers the one before it, so none can be left out, added or moved.
//!
//! ```text
//! chunk    AWS4-HMAC-SHA256-PAYLOAD \n date \n scope \n previous \n sha256("") \n sha256(data)
//! trailer  AWS4-HMAC-SHA256-TRAILER \n date \n scope \n previous \n sha256("name:value\n")
//! ```

use sha2::{Digest, Sha256};

use super::{EMPTY_SHA256, Seed};
use crate::encode;

/// The chain of signatures of one body.
#[derive(Debug)]
pub struct ChunkSigner {
    /// Its signature is that of what came last.
    seed: Seed,
}

impl ChunkSigner {
    /// Begins behind the signature of the head.
    pub fn new(seed: Seed) -> ChunkSigner {
        ChunkSigner { seed }
    }

    /// The signature of the next chunk, whose SHA-256 is `digest`; the last chunk is empty.
    pub fn sign_chunk(&mut self, digest: &[u8; 32]) -> [u8; 64] {
        self.link(b"AWS4-HMAC-SHA256-PAYLOAD\n", &[EMPTY_SHA256, b"\n", &encode::hex_of_digest(digest)])
    }

    /// The signature of the trailer `name: value`, once the last chunk is signed.
    pub fn sign_trailer(&mut self, name: &str, value: &str) -> [u8; 64] {
        let mut hash = Sha256::new();
        for part in [name, ":", value, "\n"] {
            hash.update(part.as_bytes());
        }
        self.link(b"AWS4-HMAC-SHA256-TRAILER\n", &[&encode::hex_of_digest(&hash.finalize().into())])
    }

    fn link(&mut self, algorithm: &[u8], tail: &[&[u8]]) -> [u8; 64] {
        let seed = &mut self.seed;
        let mut to_sign = Vec::with_capacity(320);
        to_sign.extend_from_slice(algorithm);
        for part in [seed.date.as_bytes().as_slice(), seed.scope.as_bytes(), &seed.signature] {
            to_sign.extend_from_slice(part);
            to_sign.push(b'\n');
        }
        for part in tail {
            to_sign.extend_from_slice(part);
        }
        seed.signature = seed.key.sign(&to_sign);
        seed.signature
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Payload, Signer, Subject};
    use super::*;
    use crate::credentials::Keys;
    use crate::date::AmzDate;
    use http_types::HeaderMap;

    // The example of AWS's page "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
    #[test]
    fn the_published_chain_comes_out() {
        let subject = Subject {
            method: "PUT",
            path: "/examplebucket/chunkObject.txt",
            query: "",
            host: "s3.amazonaws.com",
            service: "s3",
            region: "us-east-1",
        };
        let keys = Keys::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let mut headers = HeaderMap::new();
        let date = AmzDate::of(1_369_353_600);
        let mut seed = Signer::new()
            .sign_headers(&subject, &keys, Payload::SignedChunks, &mut headers, date)
            .expect("it is signed");
        // The example signs content-length, which we do not; from its seed on the chain is the same.
        seed.signature = *b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let mut signer = ChunkSigner::new(seed);
        let data = [b'a'; 65_536];
        let sums =
            [&data[..], &data[..1024], &[]].map(|part| signer.sign_chunk(&Sha256::digest(part).into()));
        let expected = [
            b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        assert_eq!(sums.each_ref(), expected);
    }
}
