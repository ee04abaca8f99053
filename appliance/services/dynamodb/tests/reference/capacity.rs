//! What a write of one item consumes, by table and index.

use serde_json::{Map, Value as Json, json};

use super::table::{Index, Table};
use super::value::{Item, item_size};

const UNIT_BYTES: usize = 1_024;

/// The `ConsumedCapacity` of a single write that asked for `INDEXES`.
pub fn of_write(table: &Table, old: Option<&Item>, new: Option<&Item>) -> Json {
    let bytes = |item: Option<&Item>| item.map_or(0, item_size);
    let of_table = units(bytes(old).max(bytes(new)));
    let mut all = of_table;
    let mut reply = json!({"TableName": table.name, "Table": {"CapacityUnits": of_table as f64}});
    for (member, is_local) in [("LocalSecondaryIndexes", true), ("GlobalSecondaryIndexes", false)] {
        let mut touched = Map::new();
        for index in table.indexes.iter().filter(|index| index.is_local == is_local) {
            let of_index = of_index(table, index, old, new);
            if of_index > 0 {
                all += of_index;
                touched.insert(index.name.clone(), json!({"CapacityUnits": of_index as f64}));
            }
        }
        if !touched.is_empty() {
            reply[member] = Json::Object(touched);
        }
    }
    reply["CapacityUnits"] = json!(all as f64);
    reply
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).max(1)
}

/// An entry that comes, goes or changes in place costs its size; one that moves goes and comes.
fn of_index(table: &Table, index: &Index, old: Option<&Item>, new: Option<&Item>) -> usize {
    let entry = |item: Option<&Item>| {
        let item = item.filter(|item| Table::is_in(index, item))?;
        let key: Vec<_> = index.hash.iter().chain(&index.sort).map(|part| item[part.name].clone()).collect();
        Some((key, table.shown(Some(index), item)))
    };
    match (entry(old), entry(new)) {
        (None, None) => 0,
        (Some((_, item)), None) | (None, Some((_, item))) => units(item_size(&item)),
        (Some((old_key, old)), Some((new_key, new))) if old_key != new_key => {
            units(item_size(&old)) + units(item_size(&new))
        }
        (Some((_, old)), Some((_, new))) if old == new => 0,
        (Some((_, old)), Some((_, new))) => units(item_size(&old).max(item_size(&new))),
    }
}
