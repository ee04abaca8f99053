//! The value of a blob's record. Its body is the blob.
//! Invariant: `length` is that of the body.
//!
//! ```text
//! version u8 (1) | length number | created ms number
//! ```
//! The version byte leaves room for blobs whose bodies are chunks of others.

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

const VERSION: u8 = 1;

/// What is known of a blob, whoever has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobRecord {
    /// Number of bytes.
    pub length: u64,
    /// When the first upload of it was acknowledged.
    pub created_ms: u64,
}

impl BlobRecord {
    /// The stored value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.length);
        out.number(self.created_ms);
        out.into_bytes()
    }

    /// Reads a stored value. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<BlobRecord, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "blob")?;
        let record = BlobRecord { length: reader.number()?, created_ms: reader.number()? };
        if reader.is_empty() { Ok(record) } else { Err(reader.damaged("is longer than its fields")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_record_round_trips_and_its_truncations_are_faults() {
        let record = BlobRecord { length: 5 << 40, created_ms: 1_800_000_000_000 };
        let bytes = record.encode();
        assert_eq!(BlobRecord::decode(&bytes).expect("decodes"), record);
        for length in 0..bytes.len() {
            assert!(BlobRecord::decode(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(BlobRecord::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
