//! What the service keeps in the store: tables of the store, their keys and values.
//! Invariant: numbers in keys are big-endian; every value begins with a version byte or is empty; an item, its index
//! entries, its stream record and its entry in DUE lie on one shard and change in one batch.
//! Leaves to the codecs below: the bytes of each.
//!
//! ```text
//! 40 TABLES       account 12 | name                                                  table.rs      every shard
//! 41 FENCE        table u32                                                          table.rs      every shard
//! 42 ITEMS        table u32 | hash 16 | sort                        -> item          sort_key.rs   the hash's shard
//! 43 LOCAL        table u32 | index u16 | hash 16 | mid | tail      -> place         index_key.rs  the item's shard
//! 44 GLOBAL       table u32 | index u16 | index hash 16 | mid* | hash 16 | tail -> place  index_key.rs  the item's shard
//! 45 COLLECTIONS  table u32 | hash 16                               -> counter: bytes, 0           tables with a local index
//! 46 STATS        table u32 | index u16 (0: the table)              -> counter: items, bytes       each shard its own
//! 47 STREAM       stream u64 | sequence u128 | part u8                               stream.rs     the item's shard
//! 48 STREAMS      account 12 | name | 0 | opened ms u64                              stream.rs     every shard
//! 49 TOKENS       account 12 | hash of the token 16                 -> token         token.rs      place(key)
//! 50 DUE          ms u64 | kind u8 | what                                            due.rs        beside what it names
//! 51 DROPPED      table u32 [| index u16]                                            pending.rs    every shard
//! 52 BACKFILL     table u32 | index u16                                              pending.rs    every shard
//! ```
//! Hash: see hash.rs. Its top 12 bits are the slot and slots lie on shards in ascending runs, so that walking the shards in
//! order walks a table in the order of its hashes. The key of the hash is in the table's record: to place an item
//! elsewhere one must read TABLES first.

pub mod due;
pub mod hash;
pub mod index_key;
pub mod pending;
pub mod sort_key;
pub mod stream;
pub mod table;
pub mod token;

use store::{TableId, TableSet};

use crate::model::table::{IndexNumber, TableNumber};
use hash::ItemHash;

/// All tables of the store that this service has. None of their records has a body: items are their values.
pub const BODYLESS: TableSet = TableSet::range(TableId(40), TableId(59));

/// The items of all tables.
pub const ITEMS: TableId = TableId(42);
/// Entries of local secondary indexes.
pub const LOCAL: TableId = TableId(43);
/// Entries of global secondary indexes.
pub const GLOBAL: TableId = TableId(44);
/// Bytes of all items of one partition key.
pub const COLLECTIONS: TableId = TableId(45);
/// Items and bytes of tables and indexes.
pub const STATS: TableId = TableId(46);
/// What is known of ClientRequestTokens.
pub const TOKENS: TableId = TableId(49);

/// Bytes of `table u32 | hash 16`.
pub const ITEM_FRONT_BYTES: usize = 4 + 16;

/// The key of an item; `sort` as sort_key.rs encodes it.
#[must_use]
pub fn item_key(table: TableNumber, hash: ItemHash, sort: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ITEM_FRONT_BYTES + sort.len());
    key.extend_from_slice(&table.0.to_be_bytes());
    key.extend_from_slice(&hash.0);
    key.extend_from_slice(sort);
    key
}

/// The key of an item collection's counter.
#[must_use]
pub fn collection_key(table: TableNumber, hash: ItemHash) -> [u8; ITEM_FRONT_BYTES] {
    let mut key = [0; ITEM_FRONT_BYTES];
    key[..4].copy_from_slice(&table.0.to_be_bytes());
    key[4..].copy_from_slice(&hash.0);
    key
}

/// The key of the counter of a table (index 0) or of an index.
#[must_use]
pub fn stats_key(table: TableNumber, index: IndexNumber) -> [u8; 6] {
    let mut key = [0; 6];
    key[..4].copy_from_slice(&table.0.to_be_bytes());
    key[4..].copy_from_slice(&index.0.to_be_bytes());
    key
}

/// The table itself, where STATS counts tables and indexes.
pub const TABLE_ITSELF: IndexNumber = IndexNumber(0);

/// The first byte string behind all those that begin with `prefix`; None: there is none.
#[must_use]
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_lies_behind_every_key_with_the_prefix() {
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff\xff"), None);
        assert_eq!(successor(b""), None);
    }

    #[test]
    fn a_collection_has_the_key_that_its_items_begin_with() {
        let (table, hash) = (TableNumber(9), ItemHash([7; 16]));
        assert_eq!(collection_key(table, hash)[..], item_key(table, hash, b"")[..]);
        assert!(item_key(table, hash, b"sort").starts_with(&collection_key(table, hash)));
    }
}
