//! Counters: totals that operations add to, as records of 16 bytes.
//! Invariant: a counter is the sum of all adds that took effect; one whose sums are both 0 has no record. However many
//! operations of a batch add to it, it is in that batch once, as an absolute value, and the overlay gets it when the batch is
//! sealed; until then operations find it in `Counting`. The add of a transaction over shards is applied when that is
//! resolved, so that no undecided transaction holds a total.
//! A damaged one begins again at nothing.
//! Leaves to services: which totals they keep, and in which table.
//!
//! ```text
//! value = first i64 | second i64, little-endian
//!
//! add -> PREPARED of a transaction -> resolve --\
//!    \------------------------------------------> Counting + an item in the filling batch -> (sealed) item patched, overlay
//! ```

use std::collections::BTreeMap;

use crate::effect::{COUNTER_HEAD_BYTES, encode_counter};
use crate::fault::Fault;
use crate::log::BatchBuilder;
use crate::overlay::{Entry, OverlayWriter};
use crate::owner::Owner;
use crate::planted::{self, Plant};
use crate::record::{Reader, Record};
use crate::tx::Tx;
use crate::types::{LogPosition, ShardId, TableId, TableSet};
use crate::view::View;

/// Bytes of a counter's value.
pub(crate) const VALUE_BYTES: usize = 16;
/// Bytes of the encoding of its record.
pub(crate) const RECORD_BYTES: usize = 2 + VALUE_BYTES;

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

pub(crate) fn encode_record(sums: [i64; 2]) -> [u8; RECORD_BYTES] {
    let mut out = Vec::with_capacity(RECORD_BYTES);
    Record::encode(&encode(sums), &[], &mut out);
    out.try_into().expect("a record without bodies is 2 bytes longer than its value")
}

/// What the overlay keeps of a counter's record: nothing of one that has come to nothing.
pub(crate) fn entry(record: &[u8]) -> Entry<'_> {
    if is_nothing(record) { Entry::Delete } else { Entry::Put { value: record, fresh: false } }
}

fn is_nothing(record: &[u8]) -> bool {
    record.iter().skip(RECORD_BYTES - VALUE_BYTES).all(|byte| *byte == 0)
}

fn sums_of(record: Option<Record<'_>>) -> Result<[i64; 2], Fault> {
    record.map_or(Ok([0, 0]), |record| decode(record.value))
}

/// Wraps, so that what was added can be taken away again, whatever comes between.
pub(crate) fn added(sums: [i64; 2], change: [i64; 2]) -> [i64; 2] {
    [sums[0].wrapping_add(change[0]), sums[1].wrapping_add(change[1])]
}

/// The counters that the filling batch has changed.
#[derive(Default)]
pub(crate) struct Counting {
    /// The tables with changed counters: most keys are in none, which costs nothing to see.
    tables: TableSet,
    changed: BTreeMap<Vec<u8>, Changed>,
}

struct Changed {
    record: [u8; RECORD_BYTES],
    /// Where the record lies in the batch.
    place: LogPosition,
}

impl Counting {
    /// The record of a counter that the filling batch has changed, which may be that of nothing.
    pub(crate) fn get(&self, record_key: &[u8]) -> Option<Option<Record<'_>>> {
        if !self.tables.contains(TableId(record_key[0])) {
            return None;
        }
        self.changed.get(record_key).map(Changed::record)
    }

    /// All of a table, with their whole keys.
    pub(crate) fn of_table(&self, table: TableId) -> impl Iterator<Item = (&[u8], Option<Record<'_>>)> {
        let first = vec![table.0];
        let some = self.tables.contains(table).then(|| self.changed.range(first..));
        let changed = some.into_iter().flatten().take_while(move |(key, _)| key[0] == table.0);
        changed.map(|(key, changed)| (key.as_slice(), changed.record()))
    }

    /// The batch is gone, and all that it held with it.
    pub(crate) fn clear(&mut self) {
        *self = Counting::default();
    }

    /// Gives the batch that is sealed and the overlay what the counters have come to.
    pub(crate) fn seal(&mut self, batch: &mut BatchBuilder, overlay: &mut OverlayWriter) {
        if self.changed.is_empty() || planted::is(Plant::CounterLost) {
            return self.clear();
        }
        for (key, Changed { record, place }) in std::mem::take(&mut self.changed) {
            batch.patch(place, &record);
            overlay.insert(&key, batch.lsn(), entry(&record));
        }
        self.clear();
    }
}

impl Changed {
    fn record(&self) -> Option<Record<'_>> {
        let value = &self.record[RECORD_BYTES - VALUE_BYTES..];
        (!is_nothing(&self.record)).then_some(Record { value, bodies: Vec::new() })
    }
}

impl Owner {
    /// Gives a counter new sums in the filling batch, which has room for it.
    pub(crate) fn write_counter(&mut self, key: &[u8], sums: [i64; 2]) {
        let record = encode_record(sums);
        if let Some(changed) = self.counting.changed.get_mut(key) {
            changed.record = record;
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        encode_counter(key, &record, &mut scratch);
        let item = self.filling().append(&scratch);
        self.scratch = scratch;
        let place = LogPosition { offset: item.offset + COUNTER_HEAD_BYTES as u32, ..item };
        self.counting.tables = self.counting.tables.with(TableId(key[0]));
        self.counting.changed.insert(key.to_vec(), Changed { record, place });
    }

    /// A plain write follows in the same batch, and is what remains of the key.
    pub(crate) fn overwrite_counter(&mut self, key: &[u8]) {
        if self.counting.tables.contains(TableId(key[0]))
            && let Some(Changed { record, place }) = self.counting.changed.remove(key)
        {
            self.filling().patch(place, &record);
        }
    }

    /// Applies the add of a transaction that is committed. Its other effects stand in any case, so a counter that cannot be
    /// read now stays as it is.
    pub(crate) fn resolve_add(&mut self, key: &[u8], change: [i64; 2]) {
        let is_readable = self.shard().check_readable().is_ok();
        match self.sums(key).or_else(|fault| begin_again(fault, is_readable, self.id, key)) {
            Ok(sums) => self.write_counter(key, added(sums, change)),
            Err(fault) => crate::report(&format!("{}: adding to a counter: {fault}", self.id)),
        }
    }

    /// What was added to a counter up to now. Errors: `Fault::InDoubt` when a transaction puts or deletes its record, which
    /// services do not do.
    fn sums(&self, key: &[u8]) -> Result<[i64; 2], Fault> {
        if let Some(record) = self.counting.get(key) {
            return sums_of(record);
        }
        for overlay in [Some(self.overlay.overlay()), self.frozen.as_ref()].into_iter().flatten() {
            match overlay.latest(key) {
                Some(latest) if latest.is_held() => return Err(Fault::InDoubt),
                Some(latest) => return sums_of(latest.value().map(Record::decode).transpose()?),
                None => {}
            }
        }
        let index = self.shard().index();
        let txn = index.read()?;
        sums_of(index.get(&txn, key)?.map(Record::decode).transpose()?)
    }
}

impl Tx<'_> {
    /// Adds to a counter; sums wrap. Whatever else is done to the key of a counter is a delete. Errors: as `get`.
    ///
    /// In a transaction over shards the key is not held: what is added shows once the transaction is resolved, a batch after
    /// the decision. Such a transaction neither puts nor deletes keys that others add to.
    pub fn add(&mut self, table: TableId, key: &[u8], change: [i64; 2]) -> Result<(), Fault> {
        let sums = added(self.counter(table, key)?, change);
        let value = (sums != [0, 0]).then(|| encode(sums).to_vec());
        self.stage_counter(table, key, value, change);
        Ok(())
    }

    /// What was added to a counter up to now, by this operation too; nothing is 0. One that is damaged begins again at
    /// nothing, which an operator is told. Errors: as `get`.
    pub fn counter(&mut self, table: TableId, key: &[u8]) -> Result<[i64; 2], Fault> {
        let found = self.get_ref(table, key, sums_of).and_then(|sums| sums);
        found.or_else(|fault| begin_again(fault, self.is_readable(), self.shard(), key))
    }
}

/// A total is derived: one rotten value must not keep all writes of its table out. It is mended by the next add. Where the
/// whole index is lost the fault stays.
fn begin_again(fault: Fault, is_readable: bool, shard: ShardId, key: &[u8]) -> Result<[i64; 2], Fault> {
    match fault {
        Fault::Corrupt(what) if is_readable => {
            let key = key.escape_ascii();
            crate::report(&format!("{shard}: the counter {key} is damaged and begins again at 0: {what}"));
            Ok([0, 0])
        }
        fault => Err(fault),
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

    #[test]
    fn only_a_counter_with_no_sum_at_all_is_nothing() {
        for (sums, nothing) in [([0, 0], true), ([0, 1], false), ([-1, 0], false), ([i64::MIN, 0], false)] {
            assert_eq!(matches!(entry(&encode_record(sums)), Entry::Delete), nothing, "{sums:?}");
        }
    }
}
