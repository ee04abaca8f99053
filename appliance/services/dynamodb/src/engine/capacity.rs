//! What an operation costs in capacity units, and what it changed in bytes.
//! Invariant: figures come from the sizes that AWS counts, never from what the store wrote.
//! Leaves to wire/capacity.rs: how they are shown, and the factor of transactions and of eventual consistency.

use crate::model::limits::{READ_UNIT_BYTES, WRITE_UNIT_BYTES};
use crate::model::table::IndexNumber;

/// What a write of one item costs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteCost {
    /// Bytes of the item before; 0: there was none.
    pub old_bytes: u32,
    /// Bytes of the item afterwards; 0: there is none.
    pub new_bytes: u32,
    /// Indexes that were written to, and their write units.
    pub indexes: Vec<(IndexNumber, u32)>,
    /// Bytes of all items of this partition key, in tables with a local index.
    pub collection_bytes: Option<u64>,
}

impl WriteCost {
    /// Write units of the table itself.
    #[must_use]
    pub fn table_units(&self) -> u64 {
        write_units(u64::from(self.old_bytes.max(self.new_bytes)))
    }
}

/// Write units for an item of so many bytes; no item costs one too.
#[must_use]
pub fn write_units(bytes: u64) -> u64 {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1)
}

/// Units of strongly consistent reading; nothing found costs one too.
#[must_use]
pub fn read_units(bytes: u64) -> u64 {
    bytes.div_ceil(READ_UNIT_BYTES).max(1)
}

/// Write units of one index, from the bytes that it shows of the item before and afterwards, and whether the entry moved
/// or else whether what it shows changed.
#[must_use]
pub fn index_units(old: Option<u32>, new: Option<u32>, moved: bool, changed: bool) -> u32 {
    let units = |bytes: u32| write_units(u64::from(bytes)) as u32;
    match (old, new) {
        (None, None) => 0,
        (Some(bytes), None) | (None, Some(bytes)) => units(bytes),
        (Some(old), Some(new)) if moved => units(old) + units(new),
        (Some(old), Some(new)) if changed => units(old.max(new)),
        (Some(_), Some(_)) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_up_and_at_least_one() {
        assert_eq!([0, 1, 1_024, 1_025, 409_600].map(write_units), [1, 1, 1, 2, 400]);
        assert_eq!([0, 1, 4_096, 4_097].map(read_units), [1, 1, 1, 2]);
    }

    #[test]
    fn an_index_costs_by_what_happened_to_its_entry() {
        assert_eq!(index_units(None, None, false, false), 0);
        assert_eq!(index_units(None, Some(1_500), false, true), 2);
        assert_eq!(index_units(Some(10), None, false, true), 1);
        assert_eq!(index_units(Some(2_000), Some(10), true, true), 3);
        assert_eq!(index_units(Some(2_000), Some(10), false, true), 2);
        assert_eq!(index_units(Some(2_000), Some(2_000), false, false), 0);
    }
}
