//! `ConsumedCapacity` and `ItemCollectionMetrics`: what an operation cost, as the client wants to be told.
//! Invariant: an index appears only if it was read or written.
//! Leaves to engine/capacity.rs: the units.

use std::sync::Arc;

use crate::engine::capacity::WriteCost;
use crate::json::Writer;
use crate::model::table::{IndexNumber, Table};
use crate::value::ItemRef;

use super::words::ReturnCapacity;

/// What one table was used for.
pub struct Consumed {
    /// The table.
    pub table: Arc<Table>,
    /// Units of the table itself.
    pub units: HalfUnits,
    /// Units of its indexes, each once.
    pub indexes: Vec<(IndexNumber, HalfUnits)>,
    /// Of a transaction the units are named by what they are for as well.
    pub purpose: Purpose,
}

/// Capacity units, counted in halves: an eventually consistent read costs half of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct HalfUnits(pub u64);

/// What capacity was used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It is not said.
    Unsaid,
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl HalfUnits {
    /// Whole units.
    #[must_use]
    pub fn whole(units: u64) -> HalfUnits {
        HalfUnits(units * 2)
    }

    /// Units of reading: each is half of one where consistency was not asked for.
    #[must_use]
    pub fn read(units: u64, consistent: bool) -> HalfUnits {
        HalfUnits(if consistent { units * 2 } else { units })
    }

    #[allow(clippy::cast_precision_loss, reason = "a request costs far less than 2^52 units")]
    fn as_float(self) -> f64 {
        self.0 as f64 / 2.0
    }
}

impl Consumed {
    /// Of nothing yet.
    #[must_use]
    pub fn new(table: Arc<Table>, purpose: Purpose) -> Consumed {
        Consumed { table, units: HalfUnits(0), indexes: Vec::new(), purpose }
    }

    /// Adds the cost of a write. `factor` is 2 in a transaction, which makes the table's own part twice as dear.
    pub fn add_write(&mut self, cost: &WriteCost, factor: u64) {
        self.units.0 += HalfUnits::whole(cost.table_units() * factor).0;
        for (index, units) in &cost.indexes {
            self.add_index(*index, HalfUnits::whole(u64::from(*units)));
        }
    }

    /// Adds units of an index.
    pub fn add_index(&mut self, index: IndexNumber, units: HalfUnits) {
        match self.indexes.iter_mut().find(|(known, _)| *known == index) {
            Some((_, sum)) => sum.0 += units.0,
            None => self.indexes.push((index, units)),
        }
    }

    /// Appends the structure.
    pub fn write(&self, mode: ReturnCapacity, out: &mut Writer) {
        let total = self.units.0 + self.indexes.iter().map(|(_, units)| units.0).sum::<u64>();
        out.begin_object();
        out.key("TableName");
        out.string(&self.table.name);
        self.units_members(HalfUnits(total), out);
        if mode == ReturnCapacity::Indexes {
            out.key("Table");
            out.begin_object();
            self.units_members(self.units, out);
            out.end_object();
            self.write_indexes("LocalSecondaryIndexes", &self.table.locals, out);
            self.write_indexes("GlobalSecondaryIndexes", &self.table.globals, out);
        }
        out.end_object();
    }

    fn units_members(&self, units: HalfUnits, out: &mut Writer) {
        out.key("CapacityUnits");
        out.double(units.as_float());
        match self.purpose {
            Purpose::Unsaid => return,
            Purpose::Read => out.key("ReadCapacityUnits"),
            Purpose::Write => out.key("WriteCapacityUnits"),
        }
        out.double(units.as_float());
    }

    fn write_indexes(&self, member: &str, of: &[crate::model::table::Index], out: &mut Writer) {
        let used = |number: IndexNumber| self.indexes.iter().find(|(known, _)| *known == number);
        if !of.iter().any(|index| used(index.number).is_some()) {
            return;
        }
        out.key(member);
        out.begin_object();
        for index in of {
            if let Some((_, units)) = used(index.number) {
                out.key(&index.name);
                out.begin_object();
                self.units_members(*units, out);
                out.end_object();
            }
        }
        out.end_object();
    }
}

/// Appends the members that tell a client of capacity, if it asked.
pub fn write_consumed(mode: ReturnCapacity, consumed: &Consumed, out: &mut Writer) {
    if mode != ReturnCapacity::None {
        out.key("ConsumedCapacity");
        consumed.write(mode, out);
    }
}

/// The same for operations on several tables.
pub fn write_consumed_list(mode: ReturnCapacity, consumed: &[Consumed], out: &mut Writer) {
    if mode != ReturnCapacity::None {
        out.key("ConsumedCapacity");
        out.begin_array();
        for one in consumed {
            one.write(mode, out);
        }
        out.end_array();
    }
}

/// Bytes of an item collection in one of the gigabytes of the estimate.
const ESTIMATE_BYTES: u64 = 1 << 30;

/// Appends an `ItemCollectionMetrics`. `key` holds the partition key.
#[allow(clippy::cast_precision_loss, reason = "a collection has at most 10 GB")]
pub fn write_collection(table: &Table, key: ItemRef<'_>, bytes: u64, out: &mut Writer) {
    let whole = bytes / ESTIMATE_BYTES;
    out.begin_object();
    out.key("ItemCollectionKey");
    out.begin_object();
    let name = &table.key.hash.name;
    if let Some(value) = key.get(name) {
        out.key(name);
        value.write_json(out);
    }
    out.end_object();
    out.key("SizeEstimateRangeGB");
    out.begin_array();
    out.double(whole as f64);
    out.double((whole + 1) as f64);
    out.end_array();
    out.end_object();
}
