//! Checksums that are kept with an object or a part.
//! Invariant: the value has exactly the bytes that its algorithm produces, big-endian where it is a number.
//! Leaves to `hash`: computing them.

use hash::Algorithm;

/// Whether a multipart object's value covers its bytes or the values of its parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChecksumType {
    /// Over the object's bytes.
    FullObject,
    /// Over the raw values of the parts.
    Composite,
}

impl ChecksumType {
    /// Amazon's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ChecksumType::FullObject => "FULL_OBJECT",
            ChecksumType::Composite => "COMPOSITE",
        }
    }

    /// Reads Amazon's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<ChecksumType> {
        match text {
            "FULL_OBJECT" => Some(ChecksumType::FullObject),
            "COMPOSITE" => Some(ChecksumType::Composite),
            _ => None,
        }
    }
}

/// A value with its algorithm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// Over what.
    pub kind: ChecksumType,
    /// The raw value.
    pub value: Vec<u8>,
}

/// What S3 calls an algorithm, and what it allows for multipart uploads.
pub struct AlgorithmRow {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The byte that stands for it in a record; 0 stands for none.
    pub code: u8,
    /// As in `x-amz-checksum-algorithm`.
    pub name: &'static str,
    /// The header that carries a value.
    pub header: &'static str,
    /// The XML element that carries a value.
    pub element: &'static str,
    /// Whether part values combine into the whole object's without reading it.
    pub combines: bool,
    /// Whether a composite value is allowed.
    pub composite: bool,
}

/// Every algorithm of S3.
pub const ALGORITHMS: [AlgorithmRow; 10] = [
    row(Algorithm::Crc32, 1, "CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", true, true),
    row(Algorithm::Crc32c, 2, "CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", true, true),
    row(Algorithm::Crc64Nvme, 3, "CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", true, false),
    row(Algorithm::Sha1, 4, "SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", false, true),
    row(Algorithm::Sha256, 5, "SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", false, true),
    row(Algorithm::Sha512, 6, "SHA512", "x-amz-checksum-sha512", "ChecksumSHA512", false, true),
    row(Algorithm::Md5, 7, "MD5", "x-amz-checksum-md5", "ChecksumMD5", false, true),
    row(Algorithm::XxHash64, 8, "XXHASH64", "x-amz-checksum-xxhash64", "ChecksumXXHASH64", false, true),
    row(Algorithm::XxHash3, 9, "XXHASH3", "x-amz-checksum-xxhash3", "ChecksumXXHASH3", false, true),
    row(Algorithm::XxHash128, 10, "XXHASH128", "x-amz-checksum-xxhash128", "ChecksumXXHASH128", false, true),
];

const fn row(
    algorithm: Algorithm,
    code: u8,
    name: &'static str,
    header: &'static str,
    element: &'static str,
    combines: bool,
    composite: bool,
) -> AlgorithmRow {
    AlgorithmRow { algorithm, code, name, header, element, combines, composite }
}

/// The algorithm that is computed when the client names none.
pub const ALGORITHM_DEFAULT: Algorithm = Algorithm::Crc64Nvme;

/// The row of an algorithm.
#[must_use]
pub fn describe(algorithm: Algorithm) -> &'static AlgorithmRow {
    ALGORITHMS.iter().find(|row| row.algorithm == algorithm).expect("the table holds every algorithm")
}

/// The algorithm that a record's byte stands for.
#[must_use]
pub fn from_code(code: u8) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|row| row.code == code).map(|row| row.algorithm)
}

/// The algorithm with Amazon's name, in any case.
#[must_use]
pub fn by_name(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.algorithm)
}

/// The algorithm whose value a header carries, by the header's lower-case name.
#[must_use]
pub fn by_header(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|row| row.header == name).map(|row| row.algorithm)
}

/// The type that a multipart upload has when it names none.
#[must_use]
pub fn default_type(algorithm: Algorithm) -> ChecksumType {
    if describe(algorithm).composite { ChecksumType::Composite } else { ChecksumType::FullObject }
}

/// Whether a multipart upload may have this type with this algorithm.
#[must_use]
pub fn fits(algorithm: Algorithm, kind: ChecksumType) -> bool {
    match kind {
        ChecksumType::FullObject => describe(algorithm).combines,
        ChecksumType::Composite => describe(algorithm).composite,
    }
}

impl Checksum {
    /// Base64 of the value, and `-N` behind it where it is a composite of `part_count` parts.
    #[must_use]
    pub fn text(&self, part_count: u16) -> String {
        let value = aws::encoding::base64(&self.value);
        match self.kind {
            ChecksumType::FullObject => value,
            ChecksumType::Composite => format!("{value}-{part_count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_unambiguous_and_complete() {
        for row in &ALGORITHMS {
            assert_eq!(from_code(row.code), Some(row.algorithm));
            assert_eq!(by_name(row.name), Some(row.algorithm));
            assert_eq!(by_header(row.header), Some(row.algorithm));
            assert_eq!(describe(row.algorithm).name, row.name);
        }
        assert_eq!(from_code(0), None);
    }

    #[test]
    fn crc64nvme_is_never_composite_and_digests_never_combine() {
        assert!(!fits(Algorithm::Crc64Nvme, ChecksumType::Composite));
        assert!(!fits(Algorithm::Sha256, ChecksumType::FullObject));
        assert!(fits(Algorithm::Crc32, ChecksumType::FullObject));
        assert_eq!(default_type(Algorithm::Crc32), ChecksumType::Composite);
        assert_eq!(default_type(Algorithm::Crc64Nvme), ChecksumType::FullObject);
    }

    #[test]
    fn composite_values_name_their_part_count() {
        let sum = Checksum { algorithm: Algorithm::Crc32, kind: ChecksumType::Composite, value: vec![0; 4] };
        assert_eq!(sum.text(3), "AAAAAA==-3");
        assert_eq!(Checksum { kind: ChecksumType::FullObject, ..sum }.text(3), "AAAAAA==");
    }
}
