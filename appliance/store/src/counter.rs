//! Counters: totals that operations add to, as records of 16 bytes.
//! Invariant: a counter is the sum of all adds of the operations that took effect; one whose sums are both 0 has no record.
//! Leaves to services: which totals they keep, and in which table.
//!
//! ```text
//! value = first i64 | second i64, little-endian
//! ```

use crate::fault::Fault;
use crate::record::{Reader, Record};
use crate::tx::Tx;
use crate::types::TableId;
use crate::view::View;

/// The sums that the value of a counter's record holds, as a `View` or a `Scan` finds it.
/// Errors: `Fault::Corrupt` when it is not 16 bytes long.
pub fn decode(value: &[u8]) -> Result<[i64; 2], Fault> {
    let mut reader = Reader { rest: value };
    let sums = [reader.u64()? as i64, reader.u64()? as i64];
    match reader.rest {
        [] => Ok(sums),
        _ => Err(Fault::corrupt(format!("a counter has {} bytes", value.len()))),
    }
}

pub(crate) fn encode(sums: [i64; 2]) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..8].copy_from_slice(&sums[0].to_le_bytes());
    value[8..].copy_from_slice(&sums[1].to_le_bytes());
    value
}

pub(crate) const VALUE_BYTES: usize = 16;

fn sums_of(record: Option<Record<'_>>) -> Result<[i64; 2], Fault> {
    record.map_or(Ok([0, 0]), |record| decode(record.value))
}

impl Tx<'_> {
    /// Adds to a counter; sums wrap. Whatever else is done to the key of a counter is a delete. Errors: as `get`.
    ///
    /// In a transaction over shards the key is not held: what is added shows once the transaction is resolved, a batch after
    /// the decision. Such a transaction neither puts nor deletes keys that others add to.
    pub fn add(&mut self, table: TableId, key: &[u8], change: [i64; 2]) -> Result<(), Fault> {
        let before = self.counter(table, key)?;
        let sums = [before[0].wrapping_add(change[0]), before[1].wrapping_add(change[1])];
        match sums {
            [0, 0] => self.delete(table, key),
            _ => self.put(table, key, &encode(sums), Vec::new(), false),
        }
        Ok(())
    }

    /// What was added to a counter up to now, by this operation too; nothing is 0. Errors: as `get`.
    pub fn counter(&mut self, table: TableId, key: &[u8]) -> Result<[i64; 2], Fault> {
        self.get_ref(table, key, sums_of)?
    }
}

impl View<'_> {
    /// The sums of a counter as of this view; nothing is 0. Errors: as `get`.
    pub fn counter(&self, table: TableId, key: &[u8]) -> Result<[i64; 2], Fault> {
        sums_of(self.get(table, key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_round_trip_and_another_length_is_a_fault() {
        let sums = [i64::MIN, 400_000];
        let value = encode(sums);
        assert_eq!(decode(&value).expect("whole"), sums);
        assert!(decode(&value[..15]).is_err());
        assert!(decode(&[&value[..], &[0]].concat()).is_err());
    }
}
