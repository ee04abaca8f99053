//! The keyspaces that the store keeps for itself, and how a record key is made.
//! Invariant: a record key is the table's byte and the service's key; services own the tables from 16 on.
//!
//! ```text
//!  0 META      "applied" -> checkpoint of the last fold; "folding" -> empty, inside a fold of several transactions
//!  1 DEAD      shard u16be | segment u64be | offset u32be -> data_bytes u32: extents that no record names any more
//!  2 PREPARED  transaction id u128be -> state, participants, effects
//!  3 DUE       time u64be | table u8 | key -> empty: what falls due when
//!  4 OUTBOX    sequence u128be -> target, id, payload
//!  5 PACKED    segment u64be -> its books, see fold.rs (written by the fold only, never logged)
//!  6 DELIVERED source u16be | sequence u128be -> empty: what this shard has taken already
//! ```

use crate::types::{ExtentId, KEY_BYTES_MAX, TableId};

/// What the fold has applied.
pub(crate) const META: TableId = TableId(0);
/// Extents to give back.
pub(crate) const DEAD: TableId = TableId(1);
/// Transactions over shards that are not forgotten yet.
pub(crate) const PREPARED: TableId = TableId(2);
/// The due index.
pub(crate) const DUE: TableId = TableId(3);
/// Messages to other shards.
pub(crate) const OUTBOX: TableId = TableId(4);
/// Live bytes of packed segments.
pub(crate) const PACKED: TableId = TableId(5);
/// Outbox entries that were taken.
pub(crate) const DELIVERED: TableId = TableId(6);
/// The first table that a service may use.
pub const FIRST_SERVICE_TABLE: TableId = TableId(16);

/// The record key of the checkpoint.
pub(crate) const APPLIED_KEY: &[u8] = &[0, b'a', b'p', b'p', b'l', b'i', b'e', b'd'];

/// There from the first commit of an index on.
pub(crate) const MADE_KEY: &[u8] = &[0, b'm', b'a', b'd', b'e'];

/// There while a fold of several transactions is under way.
pub(crate) const FOLDING_KEY: &[u8] = &[0, b'f', b'o', b'l', b'd', b'i', b'n', b'g'];

/// A record key: the table's byte, then the key. Panics when the key is longer than `KEY_BYTES_MAX`, which services bound,
/// and on table 255, which ends the last one.
pub(crate) fn record_key(table: TableId, key: &[u8]) -> Vec<u8> {
    assert!(table.0 < u8::MAX, "services own the tables from 16 to 254");
    assert!(key.len() <= KEY_BYTES_MAX, "a service handed in a key of {} bytes", key.len());
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table.0);
    full.extend_from_slice(key);
    full
}

/// The key of an extent in `DEAD`.
pub(crate) fn dead_key(id: ExtentId) -> [u8; 14] {
    let mut key = [0; 14];
    key[..2].copy_from_slice(&id.shard.0.to_be_bytes());
    key[2..10].copy_from_slice(&id.segment.to_be_bytes());
    key[10..].copy_from_slice(&id.offset.to_be_bytes());
    key
}

/// The extent that a key of `DEAD` names, or nothing when the key has not the right length.
pub(crate) fn dead_extent(key: &[u8]) -> Option<ExtentId> {
    let (shard, rest) = key.split_first_chunk::<2>()?;
    let (segment, rest) = rest.split_first_chunk::<8>()?;
    let offset = <[u8; 4]>::try_from(rest).ok()?;
    Some(ExtentId {
        shard: crate::types::ShardId(u16::from_be_bytes(*shard)),
        segment: u64::from_be_bytes(*segment),
        offset: u32::from_be_bytes(offset),
    })
}
