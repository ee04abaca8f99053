//! The bounds that DynamoDB's documentation names for items, keys and requests, in one place.
//! Invariant: whoever checks one of them names it from here.
//! Leaves to wire: the bounds of single members, which have no meaning beside their check.

/// Bytes of an item, attribute names included.
pub const ITEM_BYTES_MAX: u32 = 409_600;
/// Bytes of the value of a partition key.
pub const HASH_KEY_BYTES_MAX: usize = 2_048;
/// Bytes of the value of a sort key.
pub const SORT_KEY_BYTES_MAX: usize = 1_024;
/// Partition key attributes of a global index.
pub const INDEX_HASH_COUNT_MAX: usize = 4;
/// Sort key attributes of a global index.
pub const INDEX_SORT_COUNT_MAX: usize = 4;
/// Bytes of items that a page of Query or Scan looks at before it ends.
pub const PAGE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of items that one BatchGetItem answers.
pub const BATCH_GET_BYTES_MAX: u64 = 16 << 20;
/// Keys of one BatchGetItem.
pub const BATCH_GET_COUNT_MAX: usize = 100;
/// Requests of one BatchWriteItem.
pub const BATCH_WRITE_COUNT_MAX: usize = 25;
/// Actions of one transaction.
pub const TRANSACT_COUNT_MAX: usize = 100;
/// Bytes of the items of one transaction.
pub const TRANSACT_BYTES_MAX: u64 = 4 << 20;
/// Bytes of all items of one partition key in a table with local indexes, 10 GB.
pub const COLLECTION_BYTES_MAX: i64 = 10 << 30;
/// How long a ClientRequestToken keeps its meaning.
pub const TOKEN_LIFE_MS: u64 = 10 * 60 * 1_000;
/// Bytes that one read unit pays for.
pub const READ_UNIT_BYTES: u64 = 4_096;
/// Bytes that one write unit pays for.
pub const WRITE_UNIT_BYTES: u64 = 1_024;

/// Keys that a read looks at before it lets others run.
pub const EXAMINED_PER_TURN_MAX: u64 = 256;
/// Bytes of items that a read looks at before it lets others run.
pub const BYTES_PER_TURN_MAX: u64 = 64 << 10;
/// Times that a write is tried again because its table changed meanwhile.
pub const STALE_ATTEMPTS_MAX: u32 = 8;
/// Times that a transaction is tried again because a table of it was changing.
pub const CONFLICT_ATTEMPTS_MAX: u32 = 8;
