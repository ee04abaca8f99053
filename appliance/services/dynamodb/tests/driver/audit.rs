//! Sees that what follows from the items of a table is there, and nothing else: index entries, totals, item collections.

use std::collections::BTreeMap;
use std::ops::Bound;

use dynamodb::engine::entry::IndexOf;
use dynamodb::model::keys::Key;
use dynamodb::model::table::{IndexNumber, IndexState, Table};
use dynamodb::store::index_key::{item_key_of, place};
use dynamodb::store::{COLLECTIONS, ITEMS, STATS, TABLE_ITSELF, collection_key, stats_key};
use dynamodb::value::{Item, ItemRef};
use store::{Direction, ShardId, TableId, View};

use super::World;

/// Records by key.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn range(view: &View<'_>, table: TableId, front: &[u8]) -> Records {
    let mut scan = view.scan(table, Bound::Included(front), Direction::Forward);
    let mut records = Records::new();
    while let Some((key, record)) = scan.next().expect("reads") {
        if !key.starts_with(front) {
            break;
        }
        records.insert(key.to_vec(), record.value.to_vec());
    }
    records
}

/// What the items of one shard come to.
#[derive(Default)]
struct Expected {
    entries: BTreeMap<u16, Records>,
    totals: BTreeMap<u16, [i64; 2]>,
    collections: BTreeMap<Vec<u8>, i64>,
}

impl Expected {
    fn add(&mut self, table: &Table, shard: ShardId, stored_key: &[u8], item: ItemRef<'_>, world: &World) {
        let key = Key::of_stored(table, item).expect("a key");
        assert_eq!(key.store_key(), stored_key, "an item lies under its key");
        assert_eq!(key.shard(&world.store), shard, "an item lies on its shard");
        let mut count = |number: IndexNumber, bytes: u32| {
            let total = self.totals.entry(number.0).or_default();
            *total = [total[0] + 1, total[1] + i64::from(bytes)];
        };
        count(TABLE_ITSELF, item.aws_bytes());
        for index in IndexOf::all(table).filter(|index| index.index.state != IndexState::Deleting) {
            if let Some(entry) = index.entry_key(table, &key, item) {
                let found =
                    item_key_of(table.number, index.index, index.is_local, &entry, &place(key.sort()));
                assert_eq!(found.as_deref(), Some(stored_key), "an entry leads to its item");
                count(index.index.number, index.projected_bytes(table, item));
                let entries = self.entries.entry(index.index.number.0).or_default();
                assert!(entries.insert(entry, place(key.sort())).is_none(), "entries are distinct");
            }
        }
        if !table.locals.is_empty() {
            let collection = collection_key(table.number, key.hash()).to_vec();
            *self.collections.entry(collection).or_default() += i64::from(item.aws_bytes());
        }
    }
}

impl World {
    /// Audits a table. Gives its items, those of shard 0 first.
    pub fn audit(&self, table: &Table) -> Vec<Item> {
        let mut items = Vec::new();
        for shard in self.store.shards() {
            let view = self.store.view(shard).expect("a view");
            let front = table.number.0.to_be_bytes();
            let mut expected = Expected::default();
            for (key, value) in range(&view, ITEMS, &front) {
                let item = ItemRef::new(&value).expect("an item");
                expected.add(table, shard, &key, item, self);
                items.push(Item::from_ref(item));
            }
            for index in IndexOf::all(table) {
                let number = index.index.number;
                let front = [&front[..], &number.0.to_be_bytes()].concat();
                let entries = range(&view, index.store_table(), &front);
                let wanted = expected.entries.remove(&number.0).unwrap_or_default();
                assert!(
                    entries == wanted,
                    "entries of index {} on {shard}: {} and not {}",
                    number.0,
                    entries.len(),
                    wanted.len()
                );
            }
            let numbers = IndexOf::all(table).map(|index| index.index.number);
            for number in std::iter::once(TABLE_ITSELF).chain(numbers) {
                let total = view.counter(STATS, &stats_key(table.number, number)).expect("reads");
                let wanted = expected.totals.remove(&number.0).unwrap_or_default();
                assert_eq!(total, wanted, "totals of index {} on {shard}", number.0);
            }
            let decode = |value: Vec<u8>| store::counter::decode(&value).expect("a counter")[0];
            let collections: BTreeMap<_, _> = range(&view, COLLECTIONS, &front)
                .into_iter()
                .map(|(key, value)| (key, decode(value)))
                .collect();
            assert_eq!(collections, expected.collections, "item collections on {shard}");
        }
        items
    }
}
