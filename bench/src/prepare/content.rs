//! Bodies of one size: incompressible, different from each other, made once from a seed and shared by all requests.
//!
//! All of them are windows on one pool, each a byte further than the one before: a thousand bodies take the memory of one.
//! Invariant: a body's digest is that of its bytes. Bodies come again after `count` of them, so a server that stores equal
//! bodies once saves work on a run that is longer than that.

use aws::encoding::hex;
use bytes::Bytes;

use crate::load::schedule::SplitMix;

/// Different bodies at most.
const COUNT_MAX: usize = 4_096;
/// Bytes digested before the first request, about half a second's worth: large bodies are fewer.
const DIGESTED_BYTES_MAX: usize = 256 << 20;
/// Different bodies at least, however large.
const COUNT_MIN: usize = 4;

/// Bodies of one size.
pub struct Content {
    pool: Bytes,
    body_bytes: usize,
    /// SHA-256 by body, in hexadecimal.
    digests: Vec<String>,
}

impl Content {
    /// Bodies of `body_bytes` each.
    pub fn new(body_bytes: usize, seed: u64) -> Content {
        let count = (DIGESTED_BYTES_MAX / body_bytes.max(1)).clamp(COUNT_MIN, COUNT_MAX);
        let mut random = SplitMix(seed);
        let mut pool = Vec::with_capacity(body_bytes + count + size_of::<u64>());
        while pool.len() < body_bytes + count {
            pool.extend_from_slice(&random.next().to_le_bytes());
        }
        let digests = (0..count).map(|index| hex(&hash::sha256(&pool[index..index + body_bytes]))).collect();
        Content { pool: pool.into(), body_bytes, digests }
    }

    /// The length of every body.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Body `index`, counted around.
    pub fn body(&self, index: usize) -> Bytes {
        let first = index % self.digests.len();
        self.pool.slice(first..first + self.body_bytes)
    }

    /// The digest of body `index` in hexadecimal.
    pub fn digest(&self, index: usize) -> &str {
        &self.digests[index % self.digests.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bodies_have_the_size_differ_and_come_again_by_seed() {
        let content = Content::new(1_024, 1);
        let bodies: HashSet<Bytes> = (0..COUNT_MAX).map(|index| content.body(index)).collect();
        assert_eq!(bodies.len(), COUNT_MAX);
        assert!(bodies.iter().all(|body| body.len() == 1_024));
        assert_eq!(content.body(5), content.body(5 + COUNT_MAX));
        assert_eq!(content.body(5), Content::new(1_024, 1).body(5));
        assert_ne!(content.body(5), Content::new(1_024, 2).body(5));
    }

    #[test]
    fn a_digest_is_that_of_its_body() {
        let content = Content::new(100, 1);
        for index in [0, 1, 4_095, 4_096] {
            assert_eq!(content.digest(index), hex(&hash::sha256(&content.body(index))));
        }
        let empty = Content::new(0, 1);
        assert_eq!((empty.body(9).len(), empty.digest(9)), (0, crate::prepare::sign::EMPTY_DIGEST));
    }

    #[test]
    fn all_byte_values_are_about_as_frequent() {
        let content = Content::new(1 << 20, 1);
        let mut counts = [0_usize; 256];
        for byte in &content.body(0) {
            counts[usize::from(*byte)] += 1;
        }
        // 4,096 each; the standard deviation is 64.
        assert!(counts.iter().all(|count| count.abs_diff(4_096) < 400));
    }
}
