//! Entries of secondary indexes: keys that sort as the index does and lead back to the item.
//! Invariant: an item has at most one entry in an index; the entry lies on the item's shard, and its key says the item's
//! hash; entries with equal sort keys are in the order of the items' keys, so that pages go on where they ended.
//! Leaves to engine/apply.rs: when an entry is written.
//!
//! ```text
//! LOCAL   table u32 | index u16 | hash 16 | mid(index sort) | tail
//! GLOBAL  table u32 | index u16 | index hash 16 | mid(index sort)* | hash 16 | tail
//! tail    the item's sort key if it has at most 256 B, else its first 240 B and 16 B of its digest
//! place   nothing where the tail is the whole sort key, else version u8 (1) | the item's sort key
//! ```

use super::hash::{ItemHash, digest};
use super::item_key;
use super::sort_key::mid_bytes;
use crate::model::table::{Index, IndexNumber, TableNumber};

/// Bytes of `table u32 | index u16 | hash 16`.
pub const ENTRY_FRONT_BYTES: usize = 4 + 2 + 16;

const TAIL_BYTES_MAX: usize = 256;
const TAIL_KEPT_BYTES: usize = TAIL_BYTES_MAX - 16;
const VERSION: u8 = 1;

/// Begins the key of an entry, or of a range of entries: for a local index with the item's hash.
#[must_use]
pub fn front(table: TableNumber, index: IndexNumber, hash: ItemHash) -> Vec<u8> {
    let mut key = Vec::with_capacity(ENTRY_FRONT_BYTES + 64);
    key.extend_from_slice(&table.0.to_be_bytes());
    key.extend_from_slice(&index.0.to_be_bytes());
    key.extend_from_slice(&hash.0);
    key
}

/// Ends the key of an entry behind the sort values: `hash` and `sort` are the item's; a local index says no hash here.
pub fn append_tail(key: &mut Vec<u8>, hash_key: &[u8; 16], hash: Option<ItemHash>, sort: &[u8]) {
    if let Some(hash) = hash {
        key.extend_from_slice(&hash.0);
    }
    if sort.len() <= TAIL_BYTES_MAX {
        key.extend_from_slice(sort);
    } else {
        key.extend_from_slice(&sort[..TAIL_KEPT_BYTES]);
        key.extend_from_slice(&digest(hash_key, sort));
    }
}

/// The value of an entry: what its tail does not say.
#[must_use]
pub fn place(sort: &[u8]) -> Vec<u8> {
    if sort.len() <= TAIL_BYTES_MAX {
        return Vec::new();
    }
    let mut value = Vec::with_capacity(1 + sort.len());
    value.push(VERSION);
    value.extend_from_slice(sort);
    value
}

/// The key of the item to which an entry leads; None: the entry is damaged.
#[must_use]
pub fn item_key_of(
    table: TableNumber,
    index: &Index,
    is_local: bool,
    key: &[u8],
    place: &[u8],
) -> Option<Vec<u8>> {
    let mut rest = key.get(ENTRY_FRONT_BYTES..)?;
    for attribute in &index.sort {
        rest = &rest[mid_bytes(attribute.kind, rest)?..];
    }
    let hash = if is_local {
        key.get(ENTRY_FRONT_BYTES - 16..ENTRY_FRONT_BYTES)?.try_into().ok()?
    } else {
        let (hash, tail) = rest.split_first_chunk::<16>()?;
        rest = tail;
        *hash
    };
    let sort = match place {
        [] => rest,
        [VERSION, sort @ ..] => sort,
        _ => return None,
    };
    Some(item_key(table, ItemHash(hash), sort))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::table::{IndexState, KeyAttribute, KeyType, Projected, Throughput};
    use crate::store::sort_key::append_mid;

    fn index(sort: &[KeyType]) -> Index {
        let attribute = |kind| KeyAttribute { name: "a".into(), kind };
        Index {
            number: IndexNumber(3),
            name: "i".into(),
            hash: vec![attribute(KeyType::S)],
            sort: sort.iter().copied().map(attribute).collect(),
            projected: Projected::All,
            state: IndexState::Active,
            throughput: Throughput::default(),
            on_demand: None,
            warm: None,
        }
    }

    #[test]
    fn an_entry_leads_back_to_its_item() {
        let (table, item, other) = (TableNumber(5), ItemHash([1; 16]), ItemHash([2; 16]));
        for sort_bytes in [0, 1, 255, 256, 257, 1_024] {
            let sort: Vec<u8> = (0..sort_bytes).map(|byte| byte as u8).collect();
            for (is_local, hash) in [(true, item), (false, other)] {
                let index = index(&[KeyType::S, KeyType::B]);
                let mut key = front(table, index.number, hash);
                append_mid(KeyType::S, b"twelve bytes", &mut key);
                append_mid(KeyType::B, b"", &mut key);
                append_tail(&mut key, &[9; 16], (!is_local).then_some(item), &sort);
                let found = item_key_of(table, &index, is_local, &key, &place(&sort));
                assert_eq!(found, Some(item_key(table, item, &sort)), "{sort_bytes} {is_local}");
            }
        }
    }

    #[test]
    fn damaged_entries_lead_nowhere() {
        let index = index(&[KeyType::S]);
        let mut key = front(TableNumber(5), index.number, ItemHash([1; 16]));
        append_mid(KeyType::S, b"a", &mut key);
        let whole = key.len() + 16;
        append_tail(&mut key, &[9; 16], Some(ItemHash([2; 16])), b"");
        for length in 0..whole {
            assert_eq!(
                item_key_of(TableNumber(5), &index, false, &key[..length], b""),
                None,
                "length {length}"
            );
        }
        assert_eq!(item_key_of(TableNumber(5), &index, false, &key, b"\x02abc"), None);
    }

    #[test]
    fn the_longest_keys_fit_into_the_store() {
        let index = index(&[KeyType::B; 4]);
        let mut key = front(TableNumber(5), index.number, ItemHash([1; 16]));
        // Together the sort attributes of an index have at most as many bytes as one.
        for length in [1_021, 1, 1, 1] {
            append_mid(KeyType::B, &vec![0xff; length], &mut key);
        }
        append_tail(&mut key, &[9; 16], Some(ItemHash([2; 16])), &[0xff; 1_024]);
        assert!(key.len() < store::types::KEY_BYTES_MAX, "{}", key.len());
        // Spread evenly they take at most one group more each.
        let spread = (crate::model::limits::SORT_KEY_BYTES_MAX / 8 + 4) * 9;
        assert!(ENTRY_FRONT_BYTES + spread + 16 + TAIL_BYTES_MAX < store::types::KEY_BYTES_MAX);
    }
}
