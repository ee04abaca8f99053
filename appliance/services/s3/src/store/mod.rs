//! Where S3's state lies in the store.
//! Invariant: every key that belongs to a bucket starts with the bucket's generation, so a re-created bucket starts
//! empty; every record of one object key lies on the shard that `placement` names, so one thread orders its versions.
//! Leaves to records: what the values hold. Leaves to versions: which records an object's versions occupy.
//!
//! ```text
//! 16 BUCKETS    tenant | 00 | name                                   -> BucketRecord, on every shard
//! 17 OWNED      account id (12 digits) | name                        -> when made, on every shard
//! 18 CURRENT    generation | key                                     -> VersionRecord: the newest version, an object
//! 19 VERSIONS   generation | key | 00 | ~number                      -> VersionRecord: older ones and delete markers
//! 20 UPLOADS    generation | key | 00 | upload id                    -> UploadRecord
//! 21 PARTS      generation | upload id | part number                 -> PartRecord, one body
//! 22 MANIFESTS  generation | manifest id | page                      -> ManifestPage, one body for each part
//! 23 COMPLETED  generation | key | 00 | upload id                    -> CompletedRecord, for 24 h
//! 24 EXPIRING   when u64 | key in COMPLETED                          -> nothing
//! ```
//! Numbers are big-endian: generation 8 bytes, number and ids 16, part number and page 2. `~number` is the number's
//! complement, so the newest version comes first. Keys hold no NUL: `a`, then all of `a` 00, then `a` 01.
//! Parts and pages have short keys, since Complete moves 10,000 of them in one batch; their values name the object key,
//! so that every record tells where it belongs.
//! The object annotations of 2026 would be table 25, with the keys of VERSIONS and a name behind them.

pub mod bucket;
pub mod record;
pub mod upload;
pub mod versions;

use store::TableId;

use crate::model::{Generation, PartNumber, UploadId, VersionNumber};

/// Buckets by tenant and name.
pub const BUCKETS: TableId = TableId(16);
/// Buckets by owner.
pub const OWNED: TableId = TableId(17);
/// The newest version of each key whose newest version is an object.
pub const CURRENT: TableId = TableId(18);
/// Older versions and delete markers.
pub const VERSIONS: TableId = TableId(19);
/// Multipart uploads that run.
pub const UPLOADS: TableId = TableId(20);
/// Their parts.
pub const PARTS: TableId = TableId(21);
/// The parts of multipart objects.
pub const MANIFESTS: TableId = TableId(22);
/// Uploads that were completed not long ago.
pub const COMPLETED: TableId = TableId(23);
/// When records of `COMPLETED` may go.
pub const EXPIRING: TableId = TableId(24);

const GENERATION_BYTES: usize = 8;
const NUMBER_BYTES: usize = 16;

/// The key in `BUCKETS`.
#[must_use]
pub fn bucket_key(tenant: &str, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(tenant.len() + 1 + name.len());
    key.extend_from_slice(tenant.as_bytes());
    key.push(0);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The key in `OWNED`.
#[must_use]
pub fn owned_key(account: &str, name: &str) -> Vec<u8> {
    [account.as_bytes(), name.as_bytes()].concat()
}

/// The key in `CURRENT`, and what decides on which shard all records of the object key lie.
#[must_use]
pub fn object_key(generation: Generation, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(GENERATION_BYTES + key.len() + 1 + NUMBER_BYTES + 2);
    out.extend_from_slice(&generation.0.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// The front that all of a key's records share in every table but `CURRENT`.
#[must_use]
pub fn family_prefix(generation: Generation, key: &[u8]) -> Vec<u8> {
    let mut out = object_key(generation, key);
    out.push(0);
    out
}

/// The key in `VERSIONS`.
#[must_use]
pub fn version_key(generation: Generation, key: &[u8], number: VersionNumber) -> Vec<u8> {
    let mut out = family_prefix(generation, key);
    out.extend_from_slice(&(!number.0).to_be_bytes());
    out
}

/// The key in `UPLOADS` and in `COMPLETED`.
#[must_use]
pub fn upload_key(generation: Generation, key: &[u8], upload: UploadId) -> Vec<u8> {
    let mut out = family_prefix(generation, key);
    out.extend_from_slice(&upload.0.to_be_bytes());
    out
}

/// The front of the keys of an upload's parts, and of a manifest's pages. A manifest has the id of its upload.
#[must_use]
pub fn parts_prefix(generation: Generation, upload: UploadId) -> Vec<u8> {
    let mut out = Vec::with_capacity(GENERATION_BYTES + NUMBER_BYTES + 2);
    out.extend_from_slice(&generation.0.to_be_bytes());
    out.extend_from_slice(&upload.0.to_be_bytes());
    out
}

/// The key in `PARTS`.
#[must_use]
pub fn part_key(generation: Generation, upload: UploadId, number: PartNumber) -> Vec<u8> {
    let mut out = parts_prefix(generation, upload);
    out.extend_from_slice(&number.get().to_be_bytes());
    out
}

/// The part number in a key of `PARTS`; `None` when it belongs to another upload.
#[must_use]
pub fn number_of_part(prefix: &[u8], stored: &[u8]) -> Option<PartNumber> {
    let number = <[u8; 2]>::try_from(stored.strip_prefix(prefix)?).ok()?;
    PartNumber::new(u64::from(u16::from_be_bytes(number)))
}

/// The key in `MANIFESTS`.
#[must_use]
pub fn manifest_key(generation: Generation, manifest: UploadId, page: u16) -> Vec<u8> {
    let mut out = parts_prefix(generation, manifest);
    out.extend_from_slice(&page.to_be_bytes());
    out
}

/// The key in `EXPIRING`.
#[must_use]
pub fn expiring_key(when_ms: u64, completed: &[u8]) -> Vec<u8> {
    [&when_ms.to_be_bytes()[..], completed].concat()
}

/// The object key in a key of `CURRENT`; `None` when it belongs to another bucket.
#[must_use]
pub fn key_of_current(generation: Generation, stored: &[u8]) -> Option<&[u8]> {
    stored.strip_prefix(&generation.0.to_be_bytes())
}

/// The object key and the number behind it in a key of `VERSIONS`, `UPLOADS` or `COMPLETED`. The number is as stored:
/// complemented in `VERSIONS`.
#[must_use]
pub fn key_and_number(generation: Generation, stored: &[u8]) -> Option<(&[u8], u128)> {
    let rest = stored.strip_prefix(&generation.0.to_be_bytes())?;
    let (key, number) = rest.split_last_chunk::<NUMBER_BYTES>()?;
    let (nul, key) = key.split_last()?;
    (*nul == 0).then_some((key, u128::from_be_bytes(*number)))
}

/// The first key behind all keys that start with `prefix`; `None` when there is none.
#[must_use]
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut out = prefix.to_vec();
    while let Some(last) = out.pop() {
        if last < u8::MAX {
            out.push(last + 1);
            return Some(out);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_key_sort_newest_first_and_before_longer_keys() {
        let generation = Generation(5);
        let mut keys = Vec::new();
        for key in ["a", "a\u{1}", "a!", "ab", "b", "é"] {
            for number in [1, 2, u128::MAX >> 1] {
                keys.push((key, std::cmp::Reverse(number)));
            }
        }
        keys.sort();
        let stored = |(key, number): &(&str, std::cmp::Reverse<u128>)| {
            version_key(generation, key.as_bytes(), VersionNumber(number.0))
        };
        let encoded: Vec<_> = keys.iter().map(stored).collect();
        assert!(encoded.is_sorted());
        for (plain, encoded) in keys.iter().zip(&encoded) {
            let (key, number) = key_and_number(generation, encoded).expect("valid");
            assert_eq!((key, !number), (plain.0.as_bytes(), plain.1.0));
            assert!(key_and_number(Generation(6), encoded).is_none());
        }
    }

    #[test]
    fn the_longest_key_fits_the_store() {
        let key = vec![b'k'; crate::model::KEY_BYTES_MAX];
        let longest = upload_key(Generation(1), &key, UploadId(1));
        assert!(expiring_key(1, &longest).len() <= store::types::KEY_BYTES_MAX);
    }

    #[test]
    fn part_keys_name_their_number() {
        let prefix = parts_prefix(Generation(1), UploadId(2));
        let number = PartNumber::new(10_000).expect("valid");
        assert_eq!(number_of_part(&prefix, &part_key(Generation(1), UploadId(2), number)), Some(number));
        assert_eq!(number_of_part(&prefix, &part_key(Generation(1), UploadId(3), number)), None);
        assert_eq!(number_of_part(&prefix, &prefix), None);
    }

    #[test]
    fn the_successor_lies_behind_every_key_with_the_prefix() {
        assert_eq!(successor(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(successor(&[1, 0xff]), Some(vec![2]));
        assert_eq!(successor(&[0xff, 0xff]), None);
    }
}
