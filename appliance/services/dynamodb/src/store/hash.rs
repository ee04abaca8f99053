//! The hash that places items: SipHash-1-3 with 128 bits, under a key that the table's record keeps.
//! Invariant: equal key values have equal hashes for ever, on every machine; who chooses the values cannot choose the
//! hashes, so nobody can heap keys on one shard or into one hash.
//! Leaves to model/keys.rs: which bytes a value is hashed as.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use store::placement::SLOT_COUNT;
use store::{ShardId, Store};

use crate::model::table::KeyType;

/// Where the items of one partition key lie. Numbers are big-endian, so that the order of bytes is the order of slots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ItemHash(pub [u8; 16]);

impl ItemHash {
    /// The slot: the top 12 bits.
    #[must_use]
    pub fn slot(&self) -> u16 {
        (u16::from_be_bytes([self.0[0], self.0[1]]) >> 4) % SLOT_COUNT
    }

    /// The shard that owns the slot.
    #[must_use]
    pub fn shard(&self, store: &Store) -> ShardId {
        store.shard_of_slot(self.slot())
    }

    /// The top 64 bits, which segments of a scan divide.
    #[must_use]
    pub fn top(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Hashes the value of a partition key of one attribute.
#[must_use]
pub fn hash_one(key: &[u8; 16], kind: KeyType, bytes: &[u8]) -> ItemHash {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(&[type_byte(kind)]);
    hasher.write(bytes);
    finish(&hasher)
}

/// Hashes the values of a partition key: one as [`hash_one`] does, several each with its length, so that no two lists of
/// values are the same bytes.
#[must_use]
pub fn hash_all<'a>(
    key: &[u8; 16],
    mut values: impl ExactSizeIterator<Item = (KeyType, &'a [u8])>,
) -> ItemHash {
    if values.len() == 1
        && let Some((kind, bytes)) = values.next()
    {
        return hash_one(key, kind, bytes);
    }
    let mut hasher = SipHasher13::new_with_key(key);
    for (kind, bytes) in values {
        hasher.write(&[type_byte(kind)]);
        hasher.write(&(bytes.len() as u32).to_be_bytes());
        hasher.write(bytes);
    }
    finish(&hasher)
}

/// Sixteen bytes that stand for a sort key that is too long for the end of an index entry's key.
#[must_use]
pub fn digest(key: &[u8; 16], bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(bytes);
    finish(&hasher).0
}

fn type_byte(kind: KeyType) -> u8 {
    match kind {
        KeyType::S => b'S',
        KeyType::N => b'N',
        KeyType::B => b'B',
    }
}

fn finish(hasher: &SipHasher13) -> ItemHash {
    let hash = hasher.finish128();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.h1.to_be_bytes());
    bytes[8..].copy_from_slice(&hash.h2.to_be_bytes());
    ItemHash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = *b"0123456789abcdef";

    #[test]
    fn the_hash_of_a_key_never_changes() {
        // Stored items lie where these values say.
        let hashes = [
            hash_one(&KEY, KeyType::S, b"").top(),
            hash_one(&KEY, KeyType::S, b"user#1").top(),
            hash_one(&KEY, KeyType::B, b"user#1").top(),
            hash_all(&KEY, [(KeyType::S, &b"a"[..]), (KeyType::N, b"\x80")].into_iter()).top(),
        ];
        assert_eq!(hashes, PINNED, "{hashes:#x?}");
    }

    const PINNED: [u64; 4] =
        [0x4f37_b634_d924_593d, 0xa0d6_a4bb_d146_6bb8, 0x97f2_6faa_1f3c_b814, 0xcce5_caa9_912e_2ff3];

    #[test]
    fn lists_of_values_hash_by_their_borders_and_types() {
        let hash = |values: &[(KeyType, &[u8])]| hash_all(&KEY, values.iter().copied());
        let (s, b) = (KeyType::S, KeyType::B);
        assert_eq!(hash(&[(s, b"ab")]), hash_one(&KEY, s, b"ab"));
        let lists: [&[(KeyType, &[u8])]; 5] = [
            &[(s, b"ab"), (s, b"c")],
            &[(s, b"a"), (s, b"bc")],
            &[(s, b"a"), (b, b"bc")],
            &[(s, b"ab"), (s, b"c"), (s, b"")],
            &[(s, b"abc")],
        ];
        let distinct: std::collections::HashSet<_> = lists.iter().map(|list| hash(list)).collect();
        assert_eq!(distinct.len(), lists.len());
    }

    #[test]
    fn slots_are_the_top_of_the_hash() {
        let mut bytes = [0xff; 16];
        assert_eq!(ItemHash(bytes).slot(), SLOT_COUNT - 1);
        bytes[0] = 0;
        bytes[1] = 0x1f;
        assert_eq!(ItemHash(bytes).slot(), 1);
        assert_eq!(ItemHash([0; 16]).slot(), 0);
    }
}
