//! Gzip bodies, in and out (RFC 1952).
//!
//! Invariant: a body never grows past its limit in memory, however small it was on the wire.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

/// Why a body could not be unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecompressError {
    /// It is no gzip, or not whole, or its checksum differs.
    Malformed,
    /// It is longer than the limit.
    TooLarge,
}

/// Unpacks a gzip body of one member and at most `bytes_max` bytes.
pub fn decompress(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(bytes_max));
    // One byte more than is allowed tells a body of the largest size from a larger one.
    let mut limited = GzDecoder::new(body).take(bytes_max as u64 + 1);
    limited.read_to_end(&mut out).map_err(|_| DecompressError::Malformed)?;
    if out.len() > bytes_max {
        return Err(DecompressError::TooLarge);
    }
    // A second member would be allowed, but no client sends one, and a body of a million empty ones costs seconds.
    if !limited.into_inner().into_inner().is_empty() {
        return Err(DecompressError::Malformed);
    }
    Ok(out)
}

/// Packs a body, rather quickly than small.
#[must_use]
pub fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3 + 64), Compression::fast());
    encoder.write_all(body).expect("memory takes every write");
    encoder.finish().expect("memory takes every write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_body_comes_back() {
        for length in [0, 1, 100, 100_000] {
            let body: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            assert_eq!(decompress(&compress(&body), length), Ok(body));
        }
    }

    #[test]
    fn a_body_stops_at_its_limit() {
        let bomb = compress(&vec![b'['; 10_000_000]);
        assert!(bomb.len() < 100_000, "it is small on the wire");
        assert_eq!(decompress(&bomb, 1_000_000), Err(DecompressError::TooLarge));
    }

    #[test]
    fn what_follows_the_one_member_is_refused() {
        let twice = [compress(b"a"), compress(b"b")].concat();
        assert_eq!(decompress(&twice, 100), Err(DecompressError::Malformed));
    }

    #[test]
    fn what_is_cut_or_damaged_is_refused() {
        let packed = compress(b"some body");
        for length in 0..packed.len() {
            assert_eq!(decompress(&packed[..length], 100), Err(DecompressError::Malformed), "{length}");
        }
        for place in packed.len() - 8..packed.len() {
            let mut damaged = packed.clone();
            damaged[place] ^= 1;
            assert_eq!(decompress(&damaged, 100), Err(DecompressError::Malformed), "{place}");
        }
    }
}
