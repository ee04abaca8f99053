//! The nouns of S3 as types that cannot hold an invalid value, and every limit of the service in one place.
//! Invariant: whoever holds a `BucketName`, an `ObjectKey` or `Tags` need not check it again.
//! Leaves to wire: which error a refused value becomes.

pub mod checksum;
pub mod condition;
pub mod etag;
pub mod object;
pub mod tags;

use std::fmt;

pub use checksum::{Checksum, ChecksumType};
pub use condition::{Conditions, EtagList, Subject, Verdict};
pub use etag::Etag;
pub use object::{Attributes, SystemHeader};
pub use tags::{TagFault, Tags};

/// The longest object key.
pub const KEY_BYTES_MAX: usize = 1024;
/// The largest body of one PUT, POST, part or copy source: 5 GiB.
pub const SINGLE_BODY_BYTES_MAX: u64 = 5 << 30;
/// The largest object: 10,000 parts of 5 GiB.
pub const OBJECT_BYTES_MAX: u64 = PART_COUNT_MAX as u64 * SINGLE_BODY_BYTES_MAX;
/// The smallest part that is not the last one.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// The largest part number, and so the most parts of one object.
pub const PART_COUNT_MAX: u16 = 10_000;
/// Parts that one manifest page names at most.
pub const MANIFEST_PAGE_PARTS: usize = 1_000;
/// Keys, versions, uploads or parts on one page of a listing.
pub const PAGE_COUNT_MAX: usize = 1_000;
/// Buckets on one page of ListBuckets.
pub const BUCKET_PAGE_COUNT_MAX: usize = 10_000;
/// Keys in one DeleteObjects.
pub const DELETE_KEY_COUNT_MAX: usize = 1_000;
/// The longest XML body of most requests.
pub const XML_BODY_BYTES_MAX: usize = 1 << 20;
/// The longest XML body of CompleteMultipartUpload and DeleteObjects.
pub const LARGE_XML_BODY_BYTES_MAX: usize = 2 << 20;
/// Names and values of user metadata together, the `x-amz-meta-` prefix not counted.
pub const METADATA_BYTES_MAX: usize = 2 * 1024;
/// System headers that are stored with an object, names and values together.
pub const SYSTEM_HEADER_BYTES_MAX: usize = 8 * 1024;
/// Fields of a POST form outside the file.
pub const FORM_FIELD_BYTES_MAX: usize = 20 * 1024;
/// Tags of an object.
pub const OBJECT_TAG_COUNT_MAX: usize = 10;
/// Tags of a bucket.
pub const BUCKET_TAG_COUNT_MAX: usize = 50;
/// Buckets of one account unless the configuration says otherwise.
pub const BUCKET_COUNT_DEFAULT: usize = 10_000;
/// How long a completed upload answers a repeated Complete.
pub const COMPLETED_UPLOAD_MS: u64 = 24 * 3_600 * 1_000;
/// Records that one turn of a listing may look at before other requests of the core get theirs.
pub const EXAMINED_PER_TURN_MAX: u64 = 4_000;

/// The name of a bucket, valid for CreateBucket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BucketName(String);

impl BucketName {
    /// Checks the naming rules of general purpose buckets, and refuses `api`, which is a path of the node.
    #[must_use]
    pub fn parse(text: &str) -> Option<BucketName> {
        let bytes = text.as_bytes();
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let shaped = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|&byte| inner(byte))
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && !text.contains("..");
        let reserved = RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || RESERVED_SUFFIXES.iter().any(|suffix| text.ends_with(suffix))
            || text == "api"
            || text.parse::<std::net::Ipv4Addr>().is_ok();
        (shaped && !reserved && !looks_like_ipv4(text)).then(|| BucketName(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Four groups of digits are refused even where a number is above 255, as on AWS.
fn looks_like_ipv4(text: &str) -> bool {
    let mut groups = 0;
    for group in text.split('.') {
        groups += 1;
        if group.is_empty() || group.len() > 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
    }
    groups == 4
}

/// Why a text is no object key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// No byte at all.
    Empty,
    /// More than `KEY_BYTES_MAX` bytes.
    TooLong(usize),
    /// A NUL, which separates a key from its version suffix in the store.
    Nul,
}

/// The key of an object: 1 to 1,024 bytes of UTF-8 without NUL, never normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Takes a key as it is. Errors: `KeyFault`.
    pub fn parse(text: String) -> Result<ObjectKey, KeyFault> {
        if text.is_empty() {
            return Err(KeyFault::Empty);
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(KeyFault::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(KeyFault::Nul);
        }
        Ok(ObjectKey(text))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's bytes, as they are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells one life of a bucket name from the next; every record of the bucket starts with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub u64);

/// Orders the versions of one key: a later one has a larger number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionNumber(pub u128);

/// How a request names a version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum VersionId {
    /// The version without an id, from before versioning or while it was suspended.
    Null,
    /// A numbered version.
    Number(VersionNumber),
}

impl VersionId {
    /// Reads the wire form. `None`: not well formed.
    #[must_use]
    pub fn parse(text: &str) -> Option<VersionId> {
        if text == "null" {
            return Some(VersionId::Null);
        }
        parse_hex_u128(text).map(|number| VersionId::Number(VersionNumber(number)))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionId::Null => f.write_str("null"),
            VersionId::Number(number) => write!(f, "{:032x}", number.0),
        }
    }
}

/// Names one multipart upload; uploads of one key sort by when they were started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UploadId(pub u128);

impl UploadId {
    /// Reads the wire form. `None`: it can be no upload of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<UploadId> {
        parse_hex_u128(text).map(UploadId)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Exactly 32 lower-case hex digits, so that each number has one spelling.
fn parse_hex_u128(text: &str) -> Option<u128> {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 32 || !text.bytes().all(lower_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// The number of a part, 1 to 10,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartNumber(u16);

impl PartNumber {
    /// Checks the range.
    #[must_use]
    pub fn new(number: u64) -> Option<PartNumber> {
        u16::try_from(number).ok().filter(|number| (1..=PART_COUNT_MAX).contains(number)).map(PartNumber)
    }

    /// Reads decimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<PartNumber> {
        // Rust would take a plus sign.
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_decimal).and_then(PartNumber::new)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Versioning {
    /// Never switched on: a PUT replaces the object.
    #[default]
    Never,
    /// Each PUT and DELETE adds a version.
    Enabled,
    /// New versions are the null version; numbered ones stay.
    Suspended,
}

/// Who owns objects of a bucket, and whether access control lists count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ownership {
    /// The bucket's owner owns everything and lists are switched off.
    #[default]
    BucketOwnerEnforced,
    /// The bucket's owner owns objects that were put with `bucket-owner-full-control`.
    BucketOwnerPreferred,
    /// The writer owns the object.
    ObjectWriter,
}

impl Ownership {
    /// Reads Amazon's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Ownership> {
        match text {
            "BucketOwnerEnforced" => Some(Ownership::BucketOwnerEnforced),
            "BucketOwnerPreferred" => Some(Ownership::BucketOwnerPreferred),
            "ObjectWriter" => Some(Ownership::ObjectWriter),
            _ => None,
        }
    }

    /// Amazon's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Ownership::BucketOwnerEnforced => "BucketOwnerEnforced",
            Ownership::BucketOwnerPreferred => "BucketOwnerPreferred",
            Ownership::ObjectWriter => "ObjectWriter",
        }
    }
}

/// Which public grants of a bucket are refused or ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PublicAccessBlock {
    /// Refuse requests that would add a public access control list.
    pub block_public_acls: bool,
    /// Treat public grants as absent.
    pub ignore_public_acls: bool,
    /// Refuse public bucket policies.
    pub block_public_policy: bool,
    /// Only the owner's account may use a bucket with a public policy.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// All four switches on, the state of a new bucket on AWS.
    pub const ALL: PublicAccessBlock = PublicAccessBlock {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_naming_rules() {
        for good in ["abc", "a-b", "my.bucket.1", "0ab", "192.168.5.400x", &"a".repeat(63)] {
            assert!(BucketName::parse(good).is_some(), "{good}");
        }
        let bad = [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "192.168.5.4",
            "192.168.5.400",
            "xn--abc",
            "sthree-x",
            "amzn-s3-demo-x",
            "abc-s3alias",
            "abc--ol-s3",
            "abc.mrap",
            "abc--x-s3",
            "abc--table-s3",
            "api",
            "a b",
            "aé",
            "foo\nbar",
            &"a".repeat(64),
        ];
        for bad in bad {
            assert!(BucketName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn keys_hold_1024_bytes_and_no_nul() {
        assert!(ObjectKey::parse("é".repeat(512)).is_ok());
        assert_eq!(ObjectKey::parse("a".repeat(1025)), Err(KeyFault::TooLong(1025)));
        assert_eq!(ObjectKey::parse(String::new()), Err(KeyFault::Empty));
        assert_eq!(ObjectKey::parse("a\0".into()), Err(KeyFault::Nul));
        assert_eq!(ObjectKey::parse("x/../y".into()).expect("valid").as_str(), "x/../y");
    }

    #[test]
    fn version_ids_round_trip_and_have_one_spelling() {
        let id = VersionId::Number(VersionNumber(0xabcdef));
        assert_eq!(VersionId::parse(&id.to_string()), Some(id));
        assert_eq!(VersionId::parse("null"), Some(VersionId::Null));
        for bad in ["", "NULL", "0", &id.to_string().to_uppercase(), "+0000000000000000000000000000000"] {
            assert_eq!(VersionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn part_numbers_are_1_to_10000() {
        assert_eq!(PartNumber::parse("10000").map(PartNumber::get), Some(10_000));
        for bad in ["0", "10001", "-1", "+1", "x", ""] {
            assert!(PartNumber::parse(bad).is_none(), "{bad}");
        }
    }
}
