//! What the streaming methods of [`ObjectStorage`](super::ObjectStorage) take and give.

use super::storage::PutOptions;
use crate::common::{ByteStream, CloudError, CloudResult, Metadata, ObjectMetadata};
use chrono::{DateTime, Utc};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// When a put takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutCondition {
    /// Only if there is no such object.
    Absent,
    /// Only if the object has this entity tag.
    Matches(String),
}

/// What goes with a body that is put as a stream.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PutStreamOptions {
    /// The media type.
    pub content_type: Option<String>,
    /// The `Cache-Control` that readers get.
    pub cache_control: Option<String>,
    /// The `Content-Encoding` that the body has.
    pub content_encoding: Option<String>,
    /// The storage class in the provider's word.
    pub storage_class: Option<String>,
    /// The user's metadata.
    pub metadata: Metadata,
    /// The object's tags.
    pub tags: Metadata,
    /// When the put takes effect; without one, always.
    pub condition: Option<PutCondition>,
    /// The size of a part where the provider sends the body in parts; without it, the provider's choice.
    pub part_bytes: Option<u64>,
    /// How many parts are sent at once; without it, the provider's choice.
    pub parallel_parts: Option<u32>,
    /// How long the whole call may take; without it, as long as bytes flow.
    pub deadline: Option<Duration>,
}

impl PutStreamOptions {
    /// Nothing goes with the body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets the `Cache-Control` that readers get.
    pub fn cache_control(mut self, cache_control: impl Into<String>) -> Self {
        self.cache_control = Some(cache_control.into());
        self
    }

    /// Sets the `Content-Encoding` that the body has.
    pub fn content_encoding(mut self, encoding: impl Into<String>) -> Self {
        self.content_encoding = Some(encoding.into());
        self
    }

    /// Sets the storage class.
    pub fn storage_class(mut self, class: impl Into<String>) -> Self {
        self.storage_class = Some(class.into());
        self
    }

    /// Adds a name and value of the user's metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Writes only if there is no such object.
    pub fn if_absent(mut self) -> Self {
        self.condition = Some(PutCondition::Absent);
        self
    }

    /// Writes only if the object has this entity tag.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.condition = Some(PutCondition::Matches(etag.into()));
        self
    }

    /// Sets the size of a part.
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = Some(bytes);
        self
    }

    /// Sets how many parts are sent at once.
    pub fn parallel_parts(mut self, count: u32) -> Self {
        self.parallel_parts = Some(count);
        self
    }

    /// Sets how long the whole call may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl From<PutOptions> for PutStreamOptions {
    fn from(options: PutOptions) -> Self {
        let PutOptions { content_type, cache_control, content_encoding, metadata, storage_class } = options;
        Self { content_type, cache_control, content_encoding, metadata, storage_class, ..Self::default() }
    }
}

impl From<PutStreamOptions> for PutOptions {
    /// What the old options have a place for; condition, tags and the manner of sending are lost.
    fn from(options: PutStreamOptions) -> Self {
        let PutStreamOptions {
            content_type, cache_control, content_encoding, metadata, storage_class, ..
        } = options;
        Self { content_type, cache_control, content_encoding, metadata, storage_class }
    }
}

/// How a checksum was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// The checksum of an object, as the provider confirmed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// Its value in Base64, as the wire has it; of an object in parts, with the number of parts after a dash where it is
    /// computed from those of the parts.
    pub value: String,
}

/// What a put gives back. What the provider does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutResult {
    /// The entity tag without its quotes.
    pub etag: Option<String>,
    /// The version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// The checksum that the provider confirmed.
    pub checksum: Option<Checksum>,
}

impl PutResult {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the entity tag.
    pub fn with_etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = Some(etag.into());
        self
    }

    /// Sets the version.
    pub fn with_version_id(mut self, id: impl Into<String>) -> Self {
        self.version_id = Some(id.into());
        self
    }

    /// Sets the checksum.
    pub fn with_checksum(mut self, algorithm: ChecksumAlgorithm, value: impl Into<String>) -> Self {
        self.checksum = Some(Checksum { algorithm, value: value.into() });
        self
    }
}

/// A part of an object. Displays as the value of a `Range` header (RFC 9110 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteRange {
    /// From this byte, counted from 0, to the end.
    From(u64),
    /// From the first of these bytes to the last, both included.
    Between(u64, u64),
    /// This many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// From the byte `first` to the byte `last`, both included.
    ///
    /// # Errors
    /// [`CloudError::Validation`] when `last` is before `first`.
    pub fn between(first: u64, last: u64) -> CloudResult<Self> {
        if last < first {
            return Err(CloudError::Validation(format!("the range {first} to {last} ends before it starts")));
        }
        Ok(Self::Between(first, last))
    }

    /// The bytes that it means in an object of this size, never none.
    ///
    /// # Errors
    /// [`CloudError::Provider`] with the code `InvalidRange` when it means none, which HTTP answers with 416.
    pub fn of(self, size_bytes: u64) -> CloudResult<Range<u64>> {
        let range = match self {
            Self::From(first) => first..size_bytes,
            Self::Between(first, last) => first..size_bytes.min(last.saturating_add(1)),
            Self::Last(count) => size_bytes.saturating_sub(count)..size_bytes,
        };
        if range.is_empty() {
            let message = format!("the range {self} lies outside an object of {size_bytes} bytes");
            return Err(CloudError::Provider {
                provider: String::from("cloudkit"),
                code: String::from("InvalidRange"),
                message,
            });
        }
        Ok(range)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(first) => write!(f, "bytes={first}-"),
            Self::Between(first, last) => write!(f, "bytes={first}-{last}"),
            Self::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

/// Which part of an object is read as a stream, on what condition, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct GetStreamOptions {
    /// Which part; without one, all.
    pub range: Option<ByteRange>,
    /// Read only if the object has this entity tag.
    pub if_match: Option<String>,
    /// Read only if the object has another entity tag than this.
    pub if_none_match: Option<String>,
    /// Which version; without one, the newest.
    pub version_id: Option<String>,
    /// How many ranges of a large object are read at once, if the provider can; the stream stays in order. Without it, one.
    pub parallel_ranges: Option<u32>,
    /// How long the call may take until the body begins; without it, the provider's choice.
    pub deadline: Option<Duration>,
}

impl GetStreamOptions {
    /// The whole newest version without a condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the part.
    pub fn range(mut self, range: ByteRange) -> Self {
        self.range = Some(range);
        self
    }

    /// Reads only if the object has this entity tag.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Reads only if the object has another entity tag than this.
    pub fn if_none_match(mut self, etag: impl Into<String>) -> Self {
        self.if_none_match = Some(etag.into());
        self
    }

    /// Sets the version.
    pub fn version_id(mut self, id: impl Into<String>) -> Self {
        self.version_id = Some(id.into());
        self
    }

    /// Sets how many ranges are read at once.
    pub fn parallel_ranges(mut self, count: u32) -> Self {
        self.parallel_ranges = Some(count);
        self
    }

    /// Sets how long the call may take until the body begins.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// An object that is being read.
#[derive(Debug)]
#[non_exhaustive]
pub struct ObjectStream {
    /// Its facts; `size` is that of the whole object.
    pub meta: ObjectMetadata,
    /// The part that was asked for.
    pub body: ByteStream,
    /// Where in the object the body begins.
    pub offset: u64,
    /// Which version it is, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// The `Cache-Control` that it was put with, if the provider tells.
    pub cache_control: Option<String>,
    /// The `Content-Encoding` that the body has, if the provider tells.
    pub content_encoding: Option<String>,
}

impl ObjectStream {
    /// An object from its first byte.
    pub fn new(meta: ObjectMetadata, body: ByteStream) -> Self {
        Self { meta, body, offset: 0, version_id: None, cache_control: None, content_encoding: None }
    }

    /// Sets where in the object the body begins.
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Sets which version it is.
    pub fn with_version_id(mut self, id: impl Into<String>) -> Self {
        self.version_id = Some(id.into());
        self
    }

    /// Sets the `Cache-Control` that it was put with.
    pub fn with_cache_control(mut self, cache_control: impl Into<String>) -> Self {
        self.cache_control = Some(cache_control.into());
        self
    }

    /// Sets the `Content-Encoding` that the body has.
    pub fn with_content_encoding(mut self, encoding: impl Into<String>) -> Self {
        self.content_encoding = Some(encoding.into());
        self
    }
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectVersion {
    /// The key.
    pub key: String,
    /// Which version.
    pub version_id: String,
    /// Whether it is the newest.
    pub is_latest: bool,
    /// Whether it says that the object is deleted; such a version has no body.
    pub is_delete_marker: bool,
    /// The body's length in bytes.
    pub size: u64,
    /// The entity tag without its quotes.
    pub etag: Option<String>,
    /// When it was written, if the provider tells.
    pub last_modified: Option<DateTime<Utc>>,
}

impl ObjectVersion {
    /// A version with a body of no bytes that is not the newest.
    pub fn new(key: impl Into<String>, version_id: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            version_id: version_id.into(),
            is_latest: false,
            is_delete_marker: false,
            size: 0,
            etag: None,
            last_modified: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::GetOptions;

    #[test]
    fn a_range_includes_both_ends_and_is_cut_at_the_objects_end() {
        assert_eq!(ByteRange::Between(2, 4).of(10).unwrap(), 2..5);
        assert_eq!(ByteRange::Between(2, u64::MAX).of(10).unwrap(), 2..10);
        assert_eq!(ByteRange::From(9).of(10).unwrap(), 9..10);
        assert_eq!(ByteRange::Last(3).of(10).unwrap(), 7..10);
        assert_eq!(ByteRange::Last(30).of(10).unwrap(), 0..10);
        for outside in [ByteRange::From(10), ByteRange::Between(10, 12), ByteRange::Last(0)] {
            let refused = outside.of(10).unwrap_err();
            assert!(matches!(refused, CloudError::Provider { ref code, .. } if code == "InvalidRange"));
        }
        let shown =
            [ByteRange::From(1), ByteRange::Between(1, 2), ByteRange::Last(3)].map(|one| one.to_string());
        assert_eq!(shown, ["bytes=1-", "bytes=1-2", "bytes=-3"]);
    }

    #[test]
    fn one_end_alone_is_honoured() {
        let options = |start, end| GetOptions { range_start: start, range_end: end, ..GetOptions::new() };
        assert_eq!(options(None, None).byte_range().unwrap(), None);
        assert_eq!(options(Some(3), None).byte_range().unwrap(), Some(ByteRange::From(3)));
        assert_eq!(options(None, Some(3)).byte_range().unwrap(), Some(ByteRange::Between(0, 3)));
        assert_eq!(GetOptions::new().range(3, 3).byte_range().unwrap(), Some(ByteRange::Between(3, 3)));
        assert!(matches!(GetOptions::new().range(4, 3).byte_range(), Err(CloudError::Validation(_))));
    }
}
