//! The identities and units that every part of the store shares.
//! Invariant: each identity has its own type, so that a shard is never taken for a core or an LSN for an offset.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names one shard of a data directory, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard-{:03}", self.0)
    }
}

/// The number of a batch in one shard's log. The first batch is 1; 0 means "before everything".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first batch.
    pub const ZERO: Lsn = Lsn(0);
    /// Sees everything, pending effects included.
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// The LSN that follows this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A keyspace. Services own 16..=255; the store keeps 0..=15 for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableId(pub u8);

/// Some of the keyspaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableSet([u64; 4]);

impl TableSet {
    /// No keyspace.
    pub const EMPTY: TableSet = TableSet([0; 4]);

    /// The keyspaces from `first` to `last`, both included.
    #[must_use]
    pub const fn range(first: TableId, last: TableId) -> TableSet {
        let mut set = TableSet::EMPTY;
        let mut table = first.0 as u16;
        while table <= last.0 as u16 {
            set = set.with(TableId(table as u8));
            table += 1;
        }
        set
    }

    /// The set with one keyspace more.
    #[must_use]
    pub const fn with(mut self, table: TableId) -> TableSet {
        self.0[table.0 as usize / 64] |= 1 << (table.0 % 64);
        self
    }

    /// Whether the set has this keyspace.
    #[must_use]
    pub const fn contains(self, table: TableId) -> bool {
        self.0[table.0 as usize / 64] & (1 << (table.0 % 64)) != 0
    }
}

/// Identifies a data directory; drawn at random when it is made, and named by every file format in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DirectoryId(pub [u8; 16]);

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Reads the system clock; a clock before 1970 counts as 1970.
    #[must_use]
    pub fn from_system_clock() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// This instant and `ms` milliseconds more.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
}

/// Where bytes lie in a shard's log: segment sequence number and byte offset in that segment's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogPosition {
    /// Sequence number of the segment; grows by one with each segment used.
    pub segment: u64,
    /// Byte offset from the start of the file.
    pub offset: u32,
}

/// Where one extent lies. Extents live in the files of the shard whose core received them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExtentId {
    /// The shard in whose directory the segment file lies.
    pub shard: ShardId,
    /// The segment's sequence number.
    pub segment: u64,
    /// Byte offset of the extent's header block, a multiple of 4,096.
    pub offset: u32,
}

/// An extent and the number of body bytes in it (the header block not counted).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// Where its header block starts.
    pub id: ExtentId,
    /// Body bytes behind the header block.
    pub data_bytes: u32,
}

/// Bodies up to this many bytes are part of their record.
pub const INLINE_BYTES_MAX: usize = 512;
/// Bodies up to this many bytes travel in the log batch; larger ones are extents.
pub const LOG_BODY_BYTES_MAX: usize = 32 * 1024;
/// Body bytes in one extent at most.
pub const EXTENT_DATA_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// The unit that has its own checksum in an extent.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// The disk block that nothing acknowledged shares with something written later.
pub const BLOCK_BYTES: usize = 4096;
/// The longest key of a record, its table byte not counted.
pub const KEY_BYTES_MAX: usize = 1_900;
/// The longest value of a record, bodies not counted.
pub const VALUE_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_tables_holds_its_ends_and_nothing_beside_them() {
        for (first, last) in [(0, 0), (40, 59), (63, 64), (16, 255)] {
            let set = TableSet::range(TableId(first), TableId(last));
            for table in 0..=u8::MAX {
                assert_eq!(set.contains(TableId(table)), (first..=last).contains(&table), "table {table}");
            }
        }
        assert!(!TableSet::EMPTY.contains(TableId(0)));
    }
}
