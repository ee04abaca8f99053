//! The record of one version of an object, or of a delete marker.
//! Invariant: fields that listings need come first, so that a listing decodes nothing else.
//! Leaves to versions: where the record lies.
//!
//! ```text
//! version u8 (1) | flags u8 (1 marker, 2 null version, 4 has null_at, 8 has manifest, 16 has owner, 32 has checksum)
//! | number fixed | [null_at fixed] | modified_ms number | size number | md5 16 | part_count number
//! | [manifest fixed] | [owner canonical id 64] | [algorithm u8 | type u8 | value bytes] | storage class text
//! | headers: count (code u8 | bytes)* | metadata: count (text | bytes)* | tags | grants
//! ```
//! A version with a manifest has no body of its own; its parts' bodies belong to the manifest's pages.

use aws::account::CanonicalId;
use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use super::bucket::{decode_canonical, decode_grants, decode_tags, encode_grants, encode_tags};
use crate::model::checksum::{describe, from_code};
use crate::model::{
    Attributes, Checksum, ChecksumType, Etag, Subject, SystemHeader, UploadId, VersionId, VersionNumber,
};

/// One version of an object, or a delete marker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionRecord {
    /// Its place among the versions of the key.
    pub number: VersionNumber,
    /// Whether it is a delete marker; then it has no size, tag or attributes.
    pub is_marker: bool,
    /// Whether it is the null version.
    pub is_null: bool,
    /// In the newest record of a key: where the null version lies in `VERSIONS`, if it is another one.
    pub null_at: Option<VersionNumber>,
    /// When it was put.
    pub modified_ms: u64,
    /// Bytes of the object.
    pub size: u64,
    /// Its entity tag.
    pub etag: Etag,
    /// Where its parts are listed, if it was made of parts.
    pub manifest: Option<UploadId>,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Everything that the request set.
    pub attributes: Attributes,
}

/// What listings show of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary<'a> {
    /// Its place among the versions of the key.
    pub number: VersionNumber,
    /// Whether it is a delete marker.
    pub is_marker: bool,
    /// Whether it is the null version.
    pub is_null: bool,
    /// Where the null version lies, in the newest record.
    pub null_at: Option<VersionNumber>,
    /// When it was put.
    pub modified_ms: u64,
    /// Bytes of the object.
    pub size: u64,
    /// Its entity tag.
    pub etag: Etag,
    /// Where its parts are listed.
    pub manifest: Option<UploadId>,
    /// The owner, where it is not the bucket's.
    pub owner: Option<CanonicalId>,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Its storage class.
    pub storage_class: &'a str,
}

const VERSION: u8 = 1;
const MARKER: u8 = 1;
const NULL: u8 = 2;
const NULL_AT: u8 = 4;
const MANIFEST: u8 = 8;
const OWNER: u8 = 16;
const CHECKSUM: u8 = 32;

impl VersionRecord {
    /// A delete marker.
    #[must_use]
    pub fn marker(
        number: VersionNumber,
        is_null: bool,
        modified_ms: u64,
        owner: Option<CanonicalId>,
    ) -> Self {
        VersionRecord {
            number,
            is_marker: true,
            is_null,
            null_at: None,
            modified_ms,
            size: 0,
            etag: Etag::plain([0; 16]),
            manifest: None,
            checksum: None,
            attributes: Attributes { owner, ..Attributes::default() },
        }
    }

    /// The id that replies name it by.
    #[must_use]
    pub fn id(&self) -> VersionId {
        if self.is_null { VersionId::Null } else { VersionId::Number(self.number) }
    }

    /// What conditions look at.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject { etag: self.etag, modified_ms: self.modified_ms, size: self.size }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let attributes = &self.attributes;
        let mut flags = 0;
        flags |= if self.is_marker { MARKER } else { 0 };
        flags |= if self.is_null { NULL } else { 0 };
        flags |= if self.null_at.is_some() { NULL_AT } else { 0 };
        flags |= if self.manifest.is_some() { MANIFEST } else { 0 };
        flags |= if attributes.owner.is_some() { OWNER } else { 0 };
        flags |= if self.checksum.is_some() { CHECKSUM } else { 0 };
        let mut out = FieldWriter::new(VERSION);
        out.byte(flags);
        out.fixed(self.number.0);
        if let Some(null_at) = self.null_at {
            out.fixed(null_at.0);
        }
        out.number(self.modified_ms);
        out.number(self.size);
        out.raw(&self.etag.md5);
        out.number(u64::from(self.etag.part_count));
        if let Some(manifest) = self.manifest {
            out.fixed(manifest.0);
        }
        if let Some(owner) = attributes.owner {
            out.raw(owner.as_str().as_bytes());
        }
        if let Some(checksum) = &self.checksum {
            encode_checksum(checksum, &mut out);
        }
        encode_attributes(attributes, &mut out);
        out.into_bytes()
    }

    /// Reads the stored form.
    pub fn decode(value: &[u8]) -> Result<VersionRecord, Fault> {
        let mut fields = FieldReader::new(value, VERSION, "S3 version")?;
        let summary = decode_front(&mut fields)?;
        let attributes = decode_rest(&mut fields, summary.storage_class, summary.owner)?;
        Ok(VersionRecord {
            number: summary.number,
            is_marker: summary.is_marker,
            is_null: summary.is_null,
            null_at: summary.null_at,
            modified_ms: summary.modified_ms,
            size: summary.size,
            etag: summary.etag,
            manifest: summary.manifest,
            checksum: summary.checksum,
            attributes,
        })
    }
}

impl Summary<'_> {
    /// Reads the front of a stored version.
    pub fn decode(value: &[u8]) -> Result<Summary<'_>, Fault> {
        decode_front(&mut FieldReader::new(value, VERSION, "S3 version")?)
    }

    /// The id that replies name it by.
    #[must_use]
    pub fn id(&self) -> VersionId {
        if self.is_null { VersionId::Null } else { VersionId::Number(self.number) }
    }
}

fn decode_front<'a>(fields: &mut FieldReader<'a>) -> Result<Summary<'a>, Fault> {
    let flags = fields.byte()?;
    let number = VersionNumber(fields.fixed()?);
    let null_at = if flags & NULL_AT != 0 { Some(VersionNumber(fields.fixed()?)) } else { None };
    let modified_ms = fields.number()?;
    let size = fields.number()?;
    let md5 = fields.array::<16>()?;
    let part_count =
        u16::try_from(fields.number()?).map_err(|_| fields.damaged("has an impossible part count"))?;
    let manifest = if flags & MANIFEST != 0 { Some(UploadId(fields.fixed()?)) } else { None };
    let owner = if flags & OWNER != 0 { Some(decode_canonical(fields)?) } else { None };
    let checksum = if flags & CHECKSUM != 0 { Some(decode_checksum(fields)?) } else { None };
    let storage_class = fields.text()?;
    Ok(Summary {
        number,
        is_marker: flags & MARKER != 0,
        is_null: flags & NULL != 0,
        null_at,
        modified_ms,
        size,
        etag: Etag { md5, part_count },
        manifest,
        owner,
        checksum,
        storage_class,
    })
}

/// Writes a checksum: algorithm, type, value.
pub(super) fn encode_checksum(checksum: &Checksum, out: &mut FieldWriter) {
    out.byte(describe(checksum.algorithm).code);
    out.byte(match checksum.kind {
        ChecksumType::FullObject => 0,
        ChecksumType::Composite => 1,
    });
    out.bytes(&checksum.value);
}

/// Reads a checksum.
pub(super) fn decode_checksum(fields: &mut FieldReader<'_>) -> Result<Checksum, Fault> {
    let code = fields.byte()?;
    let algorithm = from_code(code).ok_or_else(|| fields.damaged("has an unknown algorithm"))?;
    let kind = match fields.byte()? {
        0 => ChecksumType::FullObject,
        1 => ChecksumType::Composite,
        _ => return Err(fields.damaged("has an unknown checksum type")),
    };
    Ok(Checksum { algorithm, kind, value: fields.bytes()?.to_vec() })
}

/// Writes attributes, the owner excepted.
pub(super) fn encode_attributes(attributes: &Attributes, out: &mut FieldWriter) {
    out.bytes(attributes.storage_class.as_bytes());
    out.number(attributes.headers.len() as u64);
    for (header, value) in &attributes.headers {
        out.byte(header.code());
        out.bytes(value);
    }
    out.number(attributes.metadata.len() as u64);
    for (name, value) in &attributes.metadata {
        out.bytes(name.as_bytes());
        out.bytes(value);
    }
    encode_tags(attributes.tags.pairs(), out);
    encode_grants(attributes.grants.as_deref(), out);
}

/// Reads attributes behind the storage class.
pub(super) fn decode_rest(
    fields: &mut FieldReader<'_>,
    storage_class: &str,
    owner: Option<CanonicalId>,
) -> Result<Attributes, Fault> {
    let mut headers = Vec::new();
    for _ in 0..fields.count()? {
        let code = fields.byte()?;
        let header = SystemHeader::from_code(code).ok_or_else(|| fields.damaged("has an unknown header"))?;
        headers.push((header, fields.bytes()?.to_vec()));
    }
    let mut metadata = Vec::new();
    for _ in 0..fields.count()? {
        metadata.push((fields.text()?.to_owned(), fields.bytes()?.to_vec()));
    }
    let tags = decode_tags(fields)?;
    let grants = decode_grants(fields)?;
    Ok(Attributes { headers, metadata, tags, storage_class: storage_class.to_owned(), owner, grants })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Tags;

    pub(crate) fn sample() -> VersionRecord {
        let owner = CanonicalId::derive(aws::account::AccountId::parse("111111111111").expect("digits"));
        VersionRecord {
            number: VersionNumber(7 << 80),
            is_marker: false,
            is_null: true,
            null_at: Some(VersionNumber(3)),
            modified_ms: 1_700_000_000_123,
            size: u64::MAX,
            etag: Etag { md5: [9; 16], part_count: 10_000 },
            manifest: Some(UploadId(44)),
            checksum: Some(Checksum {
                algorithm: hash::Algorithm::Sha512,
                kind: ChecksumType::Composite,
                value: vec![3; 64],
            }),
            attributes: Attributes {
                headers: vec![(SystemHeader::ContentType, b"text/plain".to_vec())],
                metadata: vec![("name".into(), vec![0xff, 0x00])],
                tags: Tags::new(vec![("k".into(), "v".into())], 10).expect("valid"),
                storage_class: "STANDARD".into(),
                owner: Some(owner),
                grants: Some(vec![]),
            },
        }
    }

    #[test]
    fn a_version_round_trips_and_truncation_is_a_fault() {
        let record = sample();
        let bytes = record.encode();
        assert_eq!(VersionRecord::decode(&bytes).expect("decodes"), record);
        for length in 0..bytes.len() {
            assert!(VersionRecord::decode(&bytes[..length]).is_err(), "length {length}");
        }
        let marker = VersionRecord::marker(VersionNumber(1), false, 5, None);
        assert_eq!(VersionRecord::decode(&marker.encode()).expect("decodes"), marker);
    }

    #[test]
    fn a_summary_shows_the_front_of_the_record() {
        let record = sample();
        let bytes = record.encode();
        let summary = Summary::decode(&bytes).expect("decodes");
        assert_eq!(summary.id(), VersionId::Null);
        assert_eq!(summary.size, record.size);
        assert_eq!(summary.etag, record.etag);
        assert_eq!(summary.storage_class, "STANDARD");
        assert_eq!(summary.owner, record.attributes.owner);
    }
}
