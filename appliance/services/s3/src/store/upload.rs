//! The records of multipart uploads: the upload, its parts, the manifest of the finished object, and what is left of
//! an upload so that a repeated Complete gets the same reply.
//! Invariant: parts on a manifest page ascend, and page n holds the parts from n * `MANIFEST_PAGE_PARTS` on.
//!
//! ```text
//! upload    version u8 (1) | initiated_ms | flags u8 (1 has owner, 2 algorithm was named, 4 has initiator)
//!           | algorithm u8 | type u8 | [owner 64] | [initiator 64] | attributes
//! part      version u8 (1) | object key | modified_ms | size | md5 16 | checksum
//! page      version u8 (1) | object key | count (number | size | checksum value bytes)*
//! completed version u8 (1) | expires_ms | list digest 16 | md5 16 | part_count | version id u8 [fixed] | checksum
//! ```

use aws::account::CanonicalId;
use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use super::bucket::decode_canonical;
use super::record::{decode_checksum, decode_rest, encode_attributes, encode_checksum};
use crate::model::checksum::{describe, from_code};
use crate::model::{Attributes, Checksum, ChecksumType, Etag, PartNumber, VersionId, VersionNumber};

const VERSION: u8 = 1;

/// A multipart upload that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadRecord {
    /// When it was started.
    pub initiated_ms: u64,
    /// The algorithm of its parts and of the object.
    pub algorithm: hash::Algorithm,
    /// What the object's value covers.
    pub kind: ChecksumType,
    /// Whether Create named the algorithm; if not, parts may come with any.
    pub is_algorithm_named: bool,
    /// The account that started it; `None` for an anonymous one.
    pub initiator: Option<CanonicalId>,
    /// What the object will carry.
    pub attributes: Attributes,
}

const HAS_OWNER: u8 = 1;
const ALGORITHM_NAMED: u8 = 2;
const HAS_INITIATOR: u8 = 4;

impl UploadRecord {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.initiated_ms);
        let mut flags = 0;
        flags |= if self.attributes.owner.is_some() { HAS_OWNER } else { 0 };
        flags |= if self.is_algorithm_named { ALGORITHM_NAMED } else { 0 };
        flags |= if self.initiator.is_some() { HAS_INITIATOR } else { 0 };
        out.byte(flags);
        out.byte(describe(self.algorithm).code);
        out.byte(u8::from(self.kind == ChecksumType::Composite));
        for id in [self.attributes.owner, self.initiator].into_iter().flatten() {
            out.raw(id.as_str().as_bytes());
        }
        encode_attributes(&self.attributes, &mut out);
        out.into_bytes()
    }

    /// Reads the stored form.
    pub fn decode(value: &[u8]) -> Result<UploadRecord, Fault> {
        let mut fields = FieldReader::new(value, VERSION, "S3 upload")?;
        let initiated_ms = fields.number()?;
        let flags = fields.byte()?;
        let code = fields.byte()?;
        let algorithm = from_code(code).ok_or_else(|| fields.damaged("has an unknown algorithm"))?;
        let kind = if fields.byte()? == 0 { ChecksumType::FullObject } else { ChecksumType::Composite };
        let owner = if flags & HAS_OWNER != 0 { Some(decode_canonical(&mut fields)?) } else { None };
        let initiator = if flags & HAS_INITIATOR != 0 { Some(decode_canonical(&mut fields)?) } else { None };
        let storage_class = fields.text()?;
        let attributes = decode_rest(&mut fields, storage_class, owner)?;
        let is_algorithm_named = flags & ALGORITHM_NAMED != 0;
        Ok(UploadRecord { initiated_ms, algorithm, kind, is_algorithm_named, initiator, attributes })
    }
}

/// A part that was received. Its record has one body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartRecord {
    /// The object key, which decides where the record lies.
    pub key: Vec<u8>,
    /// When it was received.
    pub modified_ms: u64,
    /// Its bytes.
    pub size: u64,
    /// Their MD5.
    pub md5: [u8; 16],
    /// Their value under the upload's algorithm.
    pub checksum: Checksum,
}

impl PartRecord {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.bytes(&self.key);
        out.number(self.modified_ms);
        out.number(self.size);
        out.raw(&self.md5);
        encode_checksum(&self.checksum, &mut out);
        out.into_bytes()
    }

    /// Reads the stored form.
    pub fn decode(value: &[u8]) -> Result<PartRecord, Fault> {
        let mut fields = FieldReader::new(value, VERSION, "S3 part")?;
        Ok(PartRecord {
            key: fields.bytes()?.to_vec(),
            modified_ms: fields.number()?,
            size: fields.number()?,
            md5: fields.array()?,
            checksum: decode_checksum(&mut fields)?,
        })
    }
}

/// One part of a finished object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestPart {
    /// Its number, which need not be its position.
    pub number: PartNumber,
    /// Its bytes.
    pub size: u64,
    /// Its value under the object's algorithm.
    pub checksum: Vec<u8>,
}

/// Up to `MANIFEST_PAGE_PARTS` parts; the record's bodies are theirs, in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ManifestPage {
    /// The object key, which decides where the record lies.
    pub key: Vec<u8>,
    /// The parts.
    pub parts: Vec<ManifestPart>,
}

impl ManifestPage {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.bytes(&self.key);
        out.number(self.parts.len() as u64);
        for part in &self.parts {
            out.number(u64::from(part.number.get()));
            out.number(part.size);
            out.bytes(&part.checksum);
        }
        out.into_bytes()
    }

    /// Reads the stored form.
    pub fn decode(value: &[u8]) -> Result<ManifestPage, Fault> {
        let mut fields = FieldReader::new(value, VERSION, "S3 manifest")?;
        let key = fields.bytes()?.to_vec();
        let mut parts = Vec::new();
        for _ in 0..fields.count()? {
            let number = fields.number()?;
            let number = PartNumber::new(number).ok_or_else(|| fields.damaged("has an impossible part"))?;
            parts.push(ManifestPart { number, size: fields.number()?, checksum: fields.bytes()?.to_vec() });
        }
        Ok(ManifestPage { key, parts })
    }
}

/// What a repeated Complete is answered from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompletedRecord {
    /// From then on the record may go.
    pub expires_ms: u64,
    /// MD5 of the list of parts that was asked for.
    pub list_digest: [u8; 16],
    /// The object's tag.
    pub etag: Etag,
    /// The object's version, where the bucket kept versions.
    pub version: Option<VersionId>,
    /// The object's checksum.
    pub checksum: Checksum,
}

impl CompletedRecord {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.expires_ms);
        out.raw(&self.list_digest);
        out.raw(&self.etag.md5);
        out.number(u64::from(self.etag.part_count));
        match self.version {
            None => out.byte(0),
            Some(VersionId::Null) => out.byte(1),
            Some(VersionId::Number(number)) => {
                out.byte(2);
                out.fixed(number.0);
            }
        }
        encode_checksum(&self.checksum, &mut out);
        out.into_bytes()
    }

    /// Reads the stored form.
    pub fn decode(value: &[u8]) -> Result<CompletedRecord, Fault> {
        let mut fields = FieldReader::new(value, VERSION, "S3 completed upload")?;
        let expires_ms = fields.number()?;
        let list_digest = fields.array()?;
        let md5 = fields.array()?;
        let part_count = fields.number()?;
        let part_count =
            u16::try_from(part_count).map_err(|_| fields.damaged("has an impossible part count"))?;
        let version = match fields.byte()? {
            0 => None,
            1 => Some(VersionId::Null),
            2 => Some(VersionId::Number(VersionNumber(fields.fixed()?))),
            _ => return Err(fields.damaged("has an unknown version form")),
        };
        let checksum = decode_checksum(&mut fields)?;
        Ok(CompletedRecord { expires_ms, list_digest, etag: Etag { md5, part_count }, version, checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum() -> Checksum {
        Checksum {
            algorithm: hash::Algorithm::Crc32,
            kind: ChecksumType::FullObject,
            value: vec![1, 2, 3, 4],
        }
    }

    fn truncations_fail<T>(bytes: &[u8], decode: fn(&[u8]) -> Result<T, Fault>) {
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn uploads_round_trip() {
        let owner = crate::store::record::tests::sample().attributes.owner;
        for (owner, initiator, is_algorithm_named) in [(None, None, false), (owner, owner, true)] {
            let upload = UploadRecord {
                initiated_ms: 5,
                algorithm: hash::Algorithm::Sha1,
                kind: ChecksumType::Composite,
                is_algorithm_named,
                initiator,
                attributes: Attributes { owner, ..crate::store::record::tests::sample().attributes },
            };
            let bytes = upload.encode();
            assert_eq!(UploadRecord::decode(&bytes).expect("decodes"), upload);
            truncations_fail(&bytes, UploadRecord::decode);
        }
    }

    #[test]
    fn parts_and_pages_round_trip() {
        let part = PartRecord {
            key: b"k".to_vec(),
            modified_ms: 1,
            size: 5 << 30,
            md5: [7; 16],
            checksum: checksum(),
        };
        assert_eq!(PartRecord::decode(&part.encode()).expect("decodes"), part);
        truncations_fail(&part.encode(), PartRecord::decode);
        let number = PartNumber::new(10_000).expect("valid");
        let page = ManifestPage {
            key: b"k".to_vec(),
            parts: vec![ManifestPart { number, size: 9, checksum: vec![8; 32] }; 3],
        };
        assert_eq!(ManifestPage::decode(&page.encode()).expect("decodes"), page);
        truncations_fail(&page.encode(), ManifestPage::decode);
    }

    #[test]
    fn completed_uploads_round_trip() {
        for version in [None, Some(VersionId::Null), Some(VersionId::Number(VersionNumber(3)))] {
            let completed = CompletedRecord {
                expires_ms: 9,
                list_digest: [1; 16],
                etag: Etag { md5: [2; 16], part_count: 3 },
                version,
                checksum: checksum(),
            };
            assert_eq!(CompletedRecord::decode(&completed.encode()).expect("decodes"), completed);
            truncations_fail(&completed.encode(), CompletedRecord::decode);
        }
    }
}
