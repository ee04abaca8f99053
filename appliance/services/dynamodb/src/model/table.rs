//! A table as its record says it: keys, indexes, settings.
//! Invariant: `epoch` grows with every change of the record, and a write that was decided under another epoch is not done.
//! Leaves to store/table.rs: the bytes of the record.

use store::Timestamp;

/// Names a table's life: drawn at random when the table is made, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableNumber(pub u32);

/// Names an index within its table; 0 is the table itself. Grows, and is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IndexNumber(pub u16);

/// Counts the changes of a table's record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u64);

/// The types that a key attribute may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

/// An attribute that is part of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyAttribute {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub kind: KeyType,
}

/// The key of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyShape {
    /// The partition key.
    pub hash: KeyAttribute,
    /// The sort key.
    pub sort: Option<KeyAttribute>,
}

/// Which attributes an index shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Projected {
    /// Every one.
    All,
    /// The keys of the table and of the index.
    KeysOnly,
    /// The keys and these.
    Include(Vec<Box<str>>),
}

/// Where an index stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexState {
    /// Being filled: written to, not read from.
    Creating,
    /// Complete.
    Active,
    /// Being emptied: neither written to nor read from.
    Deleting,
}

/// Read and write capacity units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throughput {
    /// Reads of 4 KB in a second.
    pub read_units: u64,
    /// Writes of 1 KB in a second.
    pub write_units: u64,
}

/// A secondary index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// Its number.
    pub number: IndexNumber,
    /// Its name.
    pub name: Box<str>,
    /// The attributes of its partition key, one to four; a local index has the table's.
    pub hash: Vec<KeyAttribute>,
    /// The attributes of its sort key, none to four.
    pub sort: Vec<KeyAttribute>,
    /// What it shows.
    pub projected: Projected,
    /// Where it stands.
    pub state: IndexState,
    /// Its own capacity; global indexes of provisioned tables have one.
    pub throughput: Throughput,
    /// Maximum read and write request units as set, -1 where not limited.
    pub on_demand: Option<(i64, i64)>,
    /// Reads and writes in a second that it is to be ready for, as set.
    pub warm: Option<Throughput>,
}

/// What a stream records of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamView {
    /// Keys.
    KeysOnly,
    /// The item as it is afterwards.
    NewImage,
    /// The item as it was.
    OldImage,
    /// Both.
    NewAndOldImages,
}

/// The stream of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSetting {
    /// Names the stream in keys; drawn at random.
    pub number: u64,
    /// When it was opened; its label says it.
    pub opened: Timestamp,
    /// What it records.
    pub view: StreamView,
    /// Whether it still records. The last stream of a table stays named after it was disabled.
    pub enabled: bool,
}

/// The attribute that says when an item expires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeToLive {
    /// Its name.
    pub attribute: Box<str>,
    /// When this was set.
    pub changed: Timestamp,
}

/// How a table is paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Billing {
    /// By capacity that is set.
    Provisioned,
    /// By request.
    PayPerRequest,
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Its number.
    pub number: TableNumber,
    /// Its change count.
    pub epoch: Epoch,
    /// Twelve digits.
    pub account: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The `TableId` of replies.
    pub id: Box<str>,
    /// The key of the hash that places its items.
    pub hash_key: [u8; 16],
    /// When it was made.
    pub created: Timestamp,
    /// Its key.
    pub key: KeyShape,
    /// Every attribute that is part of some key, as defined.
    pub definitions: Vec<KeyAttribute>,
    /// Local secondary indexes.
    pub locals: Vec<Index>,
    /// Global secondary indexes.
    pub globals: Vec<Index>,
    /// The next index gets this number.
    pub next_index: IndexNumber,
    /// How it is paid for.
    pub billing: Billing,
    /// When it became pay-per-request, if it did; and whether a billing summary is shown at all.
    pub on_demand_since: Option<Timestamp>,
    /// Its capacity.
    pub throughput: Throughput,
    /// When the capacity was last raised and last lowered.
    pub throughput_changed: (Option<Timestamp>, Option<Timestamp>),
    /// How often it was lowered on the day on which it was last lowered.
    pub decrease_count: u64,
    /// Maximum read and write request units as set.
    pub on_demand: Option<(i64, i64)>,
    /// Reads and writes in a second that it is to be ready for, as set.
    pub warm: Option<Throughput>,
    /// Whether DeleteTable is refused.
    pub protected: bool,
    /// STANDARD or STANDARD_INFREQUENT_ACCESS, if it was set.
    pub class: Option<Box<str>>,
    /// Whether encryption with a key of the client was asked for, and the key.
    pub encryption: Option<Option<Box<str>>>,
    /// Its last stream.
    pub stream: Option<StreamSetting>,
    /// The attribute that says when an item expires.
    pub time_to_live: Option<TimeToLive>,
    /// When that was last set or taken away.
    pub time_to_live_changed: Option<Timestamp>,
    /// Tags, sorted by key.
    pub tags: Vec<(Box<str>, Box<str>)>,
}

impl Table {
    /// Finds an index by name: the index, and whether it is a local one.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<(&Index, bool)> {
        let local = self.locals.iter().find(|index| &*index.name == name).map(|index| (index, true));
        local.or_else(|| self.globals.iter().find(|index| &*index.name == name).map(|index| (index, false)))
    }

    /// Every index, local ones first.
    pub fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.locals.iter().chain(&self.globals)
    }
}
