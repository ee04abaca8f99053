//! What the content store keeps: tables of the store, their keys and values.
//! Invariant: numbers in keys are big-endian; every value begins with a version byte or is empty; all that belongs to a digest lies
//! on the digest's shard, a key record with what belongs to it on the shard of its key.
//! Leaves to the codecs below: the bytes of each.
//!
//! ```text
//! 100 BLOBS       digest                                -> length, created; its body is the blob      blob.rs
//! 101 ENTRIES     digest | namespace                    -> a namespace's share in a blob              entry.rs
//! 102 KEYS        namespace | 0 | dialect | key         -> key record                                 key.rs
//! 103 ACCESS      namespace | 0 | second u32 | kind | digest, or dialect | key -> nothing; oldest first
//! 104 USAGE       namespace, or nothing for the shard   -> counter: objects, stored bytes
//! 105 PINS        as KEYS, or digest | namespace        -> until, reason, who
//! 106 QUARANTINE  digest                                -> why, when; its body is what was found
//! 107 STATS       resolution | bucket start | namespace -> counters
//! 108 BLOCKED     digest                                -> when, why, who                 block.rs
//! 109 SCRUB       0                                     -> how far the scrubber is          scrub/place.rs
//! ```
//! Kind: 1 a blob, 2 a key record. Second: since 1970. A namespace's objects are its entries and its key records; the shard's
//! are its blobs and key records, so that what namespaces share counts once there.
//!
//! ```text
//!                    upload                     upload by another namespace
//!   absent ------------------------> BLOB + ENTRY ------------> BLOB + ENTRY + ENTRY
//!     ^                              |   |    ^                     |
//!     |  last entry goes             |   |    '---- an entry goes --'
//!     '------------------------------'   | the bytes are not those of the digest
//!     '--------------- QUARANTINE <------'
//! ```

pub mod blob;
pub mod entry;
pub mod key;

use store::{ShardId, Store, TableId, TableSet, Timestamp};

use crate::digest::{DIGEST_BYTES, Digest};
use crate::namespace::{KeyName, NAMESPACE_BYTES_MAX, Namespace};

/// The blobs.
pub const BLOBS: TableId = TableId(100);
/// Which namespaces have which blobs.
pub const ENTRIES: TableId = TableId(101);
/// Key records.
pub const KEYS: TableId = TableId(102);
/// What was used when.
pub const ACCESS: TableId = TableId(103);
/// Totals.
pub const USAGE: TableId = TableId(104);
/// What is never evicted.
pub const PINS: TableId = TableId(105);
/// Blobs whose bytes were not those of their digest.
pub const QUARANTINE: TableId = TableId(106);
/// Hits and misses by time.
pub const STATS: TableId = TableId(107);
/// Digests that an administrator has blocked.
pub const BLOCKED: TableId = TableId(108);
/// How far the scrubber is.
pub const SCRUB: TableId = TableId(109);

/// The tables of the content store whose records never have a body.
pub const BODYLESS: TableSet =
    TableSet::range(TableId(107), TableId(119)).with(ENTRIES).with(KEYS).with(ACCESS).with(USAGE).with(PINS);

/// The tables of the content store whose bodies come and go with what is evicted.
pub const PASSING: TableSet = TableSet::range(BLOBS, BLOBS).with(QUARANTINE);

/// Bytes of the segments in which the small blobs of a shard lie together. What is dead in one in which others live takes room of
/// the limit, so that they are a small part of it.
#[must_use]
pub fn segment_bytes(max_bytes: u64, shard_count: u16) -> u32 {
    const PART: u64 = 64;
    let bytes = max_bytes / u64::from(shard_count.max(1)) / PART;
    u32::try_from(bytes).unwrap_or(u32::MAX).clamp(256 << 10, 64 << 20)
}

/// What the records of a blob or a key record take beside its bytes. Measured: 89 bytes each in packed segments, and in the pages of
/// the index 380 where 256,168 blobs were only added, 680 where 935,000 came and went, of which a part waits for the next fold. The log
/// is recycled.
pub const RECORD_STORED_BYTES: u64 = 768;
/// Room of a large body is taken in blocks, and a block for its head.
const BLOCK_BYTES: u64 = 4_096;
/// Larger bodies lie in blocks of their own.
const PACKED_BYTES_MAX: u64 = 32 * 1_024;
/// Bytes of a large body behind one head.
const EXTENT_BYTES_MAX: u64 = 32 * 1_024 * 1_024;

/// What a blob of `length` bytes takes on the disk, its records included. The largest number there is for a length that no
/// disk holds.
#[must_use]
pub fn stored_bytes(length: u64) -> u64 {
    let body = if length <= PACKED_BYTES_MAX {
        length
    } else {
        let heads = length.div_ceil(EXTENT_BYTES_MAX).saturating_mul(BLOCK_BYTES);
        length.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).saturating_add(heads)
    };
    body.saturating_add(RECORD_STORED_BYTES)
}

/// The shard of a blob and of all that belongs to it.
#[must_use]
pub fn place_of(store: &Store, digest: &Digest) -> ShardId {
    store.place(digest.as_bytes())
}

/// The second of an instant, in which the order of use counts: what came together is evicted together, and small bodies that
/// came together lie together.
#[must_use]
pub fn second_of(at: Timestamp) -> u32 {
    u32::try_from(at.0 / 1_000).unwrap_or(u32::MAX)
}

/// The minute of an instant, in which statistics count.
#[must_use]
pub fn minute_of(at: Timestamp) -> u32 {
    u32::try_from(at.0 / 60_000).unwrap_or(u32::MAX)
}

/// A key of [`ENTRIES`], made without memory of its own.
#[derive(Clone, Copy)]
pub struct EntryKey {
    bytes: [u8; DIGEST_BYTES + NAMESPACE_BYTES_MAX],
    length: usize,
}

impl EntryKey {
    /// The key of a namespace's entry of a blob.
    #[must_use]
    pub fn new(digest: &Digest, ns: &Namespace) -> EntryKey {
        let ns = ns.as_bytes();
        let mut bytes = [0; DIGEST_BYTES + NAMESPACE_BYTES_MAX];
        bytes[..DIGEST_BYTES].copy_from_slice(digest.as_bytes());
        bytes[DIGEST_BYTES..DIGEST_BYTES + ns.len()].copy_from_slice(ns);
        EntryKey { bytes, length: DIGEST_BYTES + ns.len() }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What a key of [`ENTRIES`] names; nothing of any other bytes.
#[must_use]
pub fn digest_and_namespace(key: &[u8]) -> Option<(Digest, Namespace)> {
    let (digest, ns) = key.split_first_chunk::<DIGEST_BYTES>()?;
    Some((Digest::new(*digest), Namespace::parse(ns)?))
}

/// The key of a key record, which is also its partition key.
#[must_use]
pub fn key_key(name: &KeyName) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.ns().as_bytes().len() + 2 + name.key().len());
    key.extend_from_slice(name.ns().as_bytes());
    key.extend_from_slice(&[0, name.dialect() as u8]);
    key.extend_from_slice(name.key());
    key
}

/// The kind of blobs in [`ACCESS`].
pub const KIND_BLOB: u8 = 1;
/// The kind of key records in [`ACCESS`].
pub const KIND_KEY: u8 = 2;

/// The place of a blob in the order of use of a namespace.
#[must_use]
pub fn blob_access_key(ns: &Namespace, second: u32, digest: &Digest) -> Vec<u8> {
    access_key(ns, second, KIND_BLOB, digest.as_bytes())
}

/// The place of a key record in the order of use of its namespace.
#[must_use]
pub fn key_access_key(name: &KeyName, second: u32) -> Vec<u8> {
    let mut access = access_key(name.ns(), second, KIND_KEY, &[name.dialect() as u8]);
    access.extend_from_slice(name.key());
    access
}

fn access_key(ns: &Namespace, second: u32, kind: u8, what: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ns.as_bytes().len() + 6 + what.len());
    key.extend_from_slice(ns.as_bytes());
    key.push(0);
    key.extend_from_slice(&second.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(what);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Dialect;

    fn ns(text: &str) -> Namespace {
        Namespace::parse(text).expect("legal")
    }

    #[test]
    fn only_blobs_and_what_is_quarantined_have_bodies() {
        for table in 100..=119 {
            let table = TableId(table);
            assert_eq!(BODYLESS.contains(table), table != BLOBS && table != QUARANTINE, "{table:?}");
        }
        assert!(!BODYLESS.contains(TableId(99)) && !BODYLESS.contains(TableId(120)));
    }

    #[test]
    fn a_blob_is_counted_by_the_room_that_it_takes() {
        assert_eq!(stored_bytes(0), 768);
        assert_eq!(stored_bytes(4_096), 4_096 + 768);
        assert_eq!(stored_bytes(32_768), 32_768 + 768);
        assert_eq!(stored_bytes(32_769), 9 * 4_096 + 4_096 + 768);
        assert_eq!(stored_bytes(64 << 20), (64 << 20) + 2 * 4_096 + 768);
        assert_eq!(stored_bytes(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_key_of_an_entry_says_whose_it_is() {
        let digest = Digest::of(b"a");
        for name in ["a", "main", &"n".repeat(64)] {
            let key = EntryKey::new(&digest, &ns(name));
            assert_eq!(digest_and_namespace(key.as_bytes()), Some((digest, ns(name))));
        }
        for key in [&[][..], &[0; 31], &[0; 32], &[0; 33]] {
            assert_eq!(digest_and_namespace(key), None);
        }
    }

    #[test]
    fn the_longest_keys_fit_into_the_store() {
        let ns = ns(&"n".repeat(64));
        let name = KeyName::new(ns, Dialect::Webdav, vec![0xff; 512]).expect("legal");
        assert_eq!(key_key(&name).len(), 64 + 2 + 512);
        assert!(key_access_key(&name, u32::MAX).len() < 1_900);
    }

    #[test]
    fn no_key_of_one_namespace_begins_like_those_of_another() {
        let name =
            |text: &str, key: &[u8]| key_key(&KeyName::new(ns(text), Dialect::Nx, key).expect("legal"));
        let prefix = [b"ci".as_slice(), &[0]].concat();
        assert!(name("ci", b"-main").starts_with(&prefix));
        assert!(!name("ci-main", b"x").starts_with(&prefix));
    }

    #[test]
    fn the_order_of_use_is_the_order_of_seconds_within_a_namespace() {
        let digest = |byte| Digest::new([byte; 32]);
        let mut keys = [
            blob_access_key(&ns("b"), 1, &digest(0)),
            blob_access_key(&ns("a"), 256, &digest(0)),
            blob_access_key(&ns("a"), 255, &digest(9)),
        ];
        keys.sort();
        assert_eq!(keys[0], blob_access_key(&ns("a"), 255, &digest(9)));
        assert_eq!(keys[1], blob_access_key(&ns("a"), 256, &digest(0)));
    }
}
