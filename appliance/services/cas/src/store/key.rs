//! The value of a key record: what a build tool stored under a key of its own, and the blobs that it names.
//! Invariant: decoding undoes encoding; damaged bytes are `Fault::Corrupt` and never size an allocation beyond their own length.
//!
//! ```text
//! version u8 (1) | created ms number | access second number | nonce u128
//! | count number | (name bytes | value bytes)*   metadata
//! | count number | (digest 32 | length number)*  references
//! | inline value bytes | provenance
//! ```
//! The nonce is another one each time that the record is written, so that whoever drops a record can tell that it is still the
//! one that it judged.

use bytes::Bytes;
use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use super::RECORD_STORED_BYTES;
use super::entry::{read_provenance, read_second, write_provenance};
use crate::digest::{DIGEST_BYTES, Digest};
use crate::namespace::Provenance;

const VERSION: u8 = 1;

/// References of one key record at most.
pub const REFERENCE_COUNT_MAX: usize = 10_000;
/// Bytes of the inline value of a key record at most. With all references and metadata it fits into a record and a batch.
pub const INLINE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of names and values of the metadata of a key record at most, together.
pub const METADATA_BYTES_MAX: usize = 4_096;

/// What a dialect keeps with a value: pairs of a name and a value, such as a content type, in their order.
pub type Metadata = Vec<(Box<str>, Box<str>)>;

/// A blob that a key record names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reference {
    /// Which blob.
    pub digest: Digest,
    /// Its number of bytes.
    pub length: u64,
}

/// A key record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRecord {
    /// When it was written.
    pub created_ms: u64,
    /// The second under which it lies in the order of use.
    pub access_second: u32,
    /// Tells it from every other record that was ever under its key.
    pub nonce: u128,
    /// What the dialect keeps with it.
    pub metadata: Metadata,
    /// All blobs without which it is worth nothing, at most [`REFERENCE_COUNT_MAX`].
    pub references: Vec<Reference>,
    /// What the dialect answers, where that is not the first reference.
    pub value: Bytes,
    /// Who wrote it.
    pub by: Provenance,
}

impl KeyRecord {
    /// The stored value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.created_ms);
        out.number(u64::from(self.access_second));
        out.fixed(self.nonce);
        out.number(self.metadata.len() as u64);
        for (name, value) in &self.metadata {
            out.bytes(name.as_bytes());
            out.bytes(value.as_bytes());
        }
        out.number(self.references.len() as u64);
        for reference in &self.references {
            out.raw(reference.digest.as_bytes());
            out.number(reference.length);
        }
        out.bytes(&self.value);
        write_provenance(&mut out, &self.by);
        out.into_bytes()
    }

    /// Reads a stored value. Errors: `Fault::Corrupt`.
    pub fn decode(encoded: &[u8]) -> Result<KeyRecord, Fault> {
        let (mut reader, created_ms, access_second, nonce) = read_head(encoded)?;
        let mut metadata = Vec::new();
        for _ in 0..reader.count()? {
            metadata.push((Box::from(reader.text()?), Box::from(reader.text()?)));
        }
        let count = reader.count()?;
        let mut references = Vec::with_capacity(count.min(reader.remaining() / DIGEST_BYTES));
        for _ in 0..count {
            references.push(Reference { digest: Digest::new(reader.array()?), length: reader.number()? });
        }
        let value = Bytes::copy_from_slice(reader.bytes()?);
        let by = read_provenance(&mut reader)?;
        if !reader.is_empty() {
            return Err(reader.damaged("is longer than its fields"));
        }
        Ok(KeyRecord { created_ms, access_second, nonce, metadata, references, value, by })
    }
}

/// What evicts and touches key records needs of one: the second of its access, the nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyHead {
    /// As in [`KeyRecord`].
    pub created_ms: u64,
    /// As in [`KeyRecord`].
    pub access_second: u32,
    /// As in [`KeyRecord`].
    pub nonce: u128,
}

impl KeyHead {
    /// Reads the first fields of a stored value. Errors: `Fault::Corrupt`.
    pub fn decode(encoded: &[u8]) -> Result<KeyHead, Fault> {
        let (_, created_ms, access_second, nonce) = read_head(encoded)?;
        Ok(KeyHead { created_ms, access_second, nonce })
    }
}

fn read_head(encoded: &[u8]) -> Result<(FieldReader<'_>, u64, u32, u128), Fault> {
    let mut reader = FieldReader::new(encoded, VERSION, "cache key")?;
    let created_ms = reader.number()?;
    let access_second = read_second(&mut reader)?;
    let nonce = reader.fixed()?;
    Ok((reader, created_ms, access_second, nonce))
}

/// What a key record takes on the disk, whose key in the store and whose value have these many bytes.
#[must_use]
pub fn key_stored_bytes(key_bytes: usize, value_bytes: usize) -> u64 {
    key_bytes as u64 + value_bytes as u64 + RECORD_STORED_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> KeyRecord {
        let reference = |byte, length| Reference { digest: Digest::new([byte; 32]), length };
        KeyRecord {
            created_ms: 1_800_000_000_000,
            access_second: 1_800_000_000,
            nonce: 7,
            metadata: vec![("content-type".into(), "text/plain".into()), ("tag".into(), "".into())],
            references: vec![reference(1, 0), reference(0xff, u64::MAX)],
            value: Bytes::from_static(b"value"),
            by: Provenance { token: "abcdefgh".into(), address: "192.0.2.7".parse().ok() },
        }
    }

    #[test]
    fn a_key_record_round_trips_and_its_truncations_are_faults() {
        let record = sample();
        let bytes = record.encode();
        assert_eq!(KeyRecord::decode(&bytes).expect("decodes"), record);
        let head = KeyHead::decode(&bytes).expect("decodes");
        assert_eq!((head.access_second, head.nonce), (record.access_second, record.nonce));
        for length in 0..bytes.len() {
            assert!(KeyRecord::decode(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(KeyRecord::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn the_largest_key_record_fits_into_a_record_of_the_store() {
        let reference = Reference { digest: Digest::new([1; 32]), length: u64::MAX };
        let record = KeyRecord {
            metadata: vec![("n".repeat(METADATA_BYTES_MAX).into(), "".into())],
            references: vec![reference; REFERENCE_COUNT_MAX],
            value: vec![0; INLINE_BYTES_MAX].into(),
            ..sample()
        };
        assert!(record.encode().len() < store::VALUE_BYTES_MAX);
    }

    #[test]
    fn a_count_of_references_that_no_bytes_follow_is_a_fault() {
        let mut out = FieldWriter::new(VERSION);
        out.number(1);
        out.number(1);
        out.fixed(1);
        out.number(0);
        out.number(u64::MAX >> 1);
        assert!(KeyRecord::decode(&out.into_bytes()).is_err());
    }
}
