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

/// What each counter of a shard says and what its items give, where these differ.
type Differences = Vec<(Vec<u8>, i64, i64)>;

impl Expected {
    /// Compares the totals of a table and its indexes, and its item collections.
    fn compare_counters(&mut self, table: &Table, view: &View<'_>) -> Differences {
        let mut differences = Differences::new();
        let mut compare = |key: Vec<u8>, found: i64, wanted: i64| {
            if found != wanted {
                differences.push((key, found, wanted));
            }
        };
        let numbers = IndexOf::all(table).map(|index| index.index.number);
        for number in std::iter::once(TABLE_ITSELF).chain(numbers) {
            let key = stats_key(table.number, number);
            let found = view.counter(STATS, &key).expect("reads");
            let wanted = self.totals.remove(&number.0).unwrap_or_default();
            compare(key.to_vec(), found[0], wanted[0]);
            compare(key.to_vec(), found[1], wanted[1]);
        }
        let decode = |value: Vec<u8>| store::counter::decode(&value).expect("a counter")[0];
        let mut wanted = std::mem::take(&mut self.collections);
        for (key, value) in range(view, COLLECTIONS, &table.number.0.to_be_bytes()) {
            let expected = wanted.remove(&key).unwrap_or(0);
            compare(key, decode(value), expected);
        }
        wanted.into_iter().for_each(|(key, expected)| compare(key, 0, expected));
        differences
    }
}

/// Looks at the counters until they agree: those of a transaction follow a batch after its decision.
const LOOKS_MAX: u32 = 60_000;

impl World {
    /// Audits a table whose last writes were no transactions over shards. Gives its items, those of shard 0 first.
    #[track_caller]
    pub fn audit(&self, table: &Table) -> Vec<Item> {
        let (items, differences) = self.audit_once(table);
        assert!(differences.is_empty(), "counters, found and wanted: {differences:?}");
        items
    }

    /// The same behind such transactions.
    pub async fn audit_settled(&self, table: &Table) -> Vec<Item> {
        for look in 1.. {
            let (items, differences) = self.audit_once(table);
            if differences.is_empty() {
                return items;
            }
            assert!(look < LOOKS_MAX, "counters, found and wanted: {differences:?}");
            ring::sleep(std::time::Duration::from_millis(1)).await;
        }
        unreachable!("the last look ends in an assertion")
    }

    fn audit_once(&self, table: &Table) -> (Vec<Item>, Differences) {
        let (mut items, mut differences) = (Vec::new(), Differences::new());
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
                let counts = (entries.len(), wanted.len());
                assert!(entries == wanted, "entries of index {} on {shard}: {counts:?}", number.0);
            }
            differences.extend(expected.compare_counters(table, &view));
        }
        (items, differences)
    }
}
