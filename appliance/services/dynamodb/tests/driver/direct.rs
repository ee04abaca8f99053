//! The engine without the protocol in front of it: tables, items and each of its doors as one call.

use std::rc::Rc;
use std::sync::Arc;

use dynamodb::engine::batch::{Wrote, batch_write};
use dynamodb::engine::change_table::{Decision, change};
use dynamodb::engine::item_write::{Action, Done, ItemWrite, Written, write};
use dynamodb::engine::page::{Page, PageError, PageRequest, Show, page};
use dynamodb::engine::range::Range;
use dynamodb::engine::read::get;
use dynamodb::engine::transact::{Token, Transacted, transact_write};
use dynamodb::expression::{Binder, Cache, Condition, KeyTest, Kind, SortTest, Update};
use dynamodb::json;
use dynamodb::model::keys::Key;
use dynamodb::model::table::{
    Billing, Epoch, Index, IndexNumber, IndexState, KeyAttribute, KeyShape, KeyType, Projected, Table,
    TableNumber, Throughput,
};
use dynamodb::number::Number;
use dynamodb::store::table::table_key;
use dynamodb::value::{Item, Value};
use plan::Context;
use serde_json::Value as Json;
use store::{Fault, Timestamp};

use super::{MAIN, World};

/// A string.
pub fn s(text: &str) -> Value {
    Value::s(text)
}

/// A number.
pub fn n(number: i64) -> Value {
    Value::n(&Number::from(number))
}

/// An item of these attributes.
pub fn item(attributes: &[(&str, Value)]) -> Item {
    Item::from_pairs(attributes.iter().map(|(name, value)| (*name, value.as_ref())))
}

/// A key attribute.
pub fn attribute(name: &str, kind: KeyType) -> KeyAttribute {
    KeyAttribute { name: name.into(), kind }
}

/// A table with a partition key `pk` (a string) and maybe a sort key `sk`.
pub fn table(name: &str, sort: Option<KeyType>) -> Table {
    Table {
        number: TableNumber(name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte))),
        epoch: Epoch(0),
        account: MAIN.into(),
        name: name.into(),
        id: "00000000-0000-4000-8000-000000000000".into(),
        hash_key: *b"a key of a table",
        created: Timestamp(1),
        key: KeyShape { hash: attribute("pk", KeyType::S), sort: sort.map(|kind| attribute("sk", kind)) },
        definitions: Vec::new(),
        locals: Vec::new(),
        globals: Vec::new(),
        next_index: IndexNumber(1),
        billing: Billing::PayPerRequest,
        on_demand_since: None,
        throughput: Throughput::default(),
        throughput_changed: (None, None),
        decrease_count: 0,
        on_demand: None,
        warm: None,
        protected: false,
        class: None,
        encryption: None,
        stream: None,
        time_to_live: None,
        time_to_live_changed: None,
        tags: Vec::new(),
    }
}

/// An index of any kind.
pub fn index(number: u16, hash: &[KeyAttribute], sort: &[KeyAttribute], projected: Projected) -> Index {
    Index {
        number: IndexNumber(number),
        name: format!("index-{number}").into(),
        hash: hash.to_vec(),
        sort: sort.to_vec(),
        projected,
        state: IndexState::Active,
        throughput: Throughput::default(),
        on_demand: None,
        warm: None,
    }
}

/// Values for the `:names` of an expression.
pub type Values<'v> = &'v [(&'v str, Value)];

fn owned(values: Values<'_>) -> Vec<(Box<str>, Value)> {
    values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
}

/// A condition.
pub fn condition(text: &str, values: Values<'_>) -> Condition {
    let values = owned(values);
    let mut binder = Binder::new(None, Some(&values));
    binder.condition(&mut Cache::new(), Kind::Condition, text).expect("a condition")
}

/// An update.
pub fn update(text: &str, values: Values<'_>) -> Update {
    let values = owned(values);
    let mut binder = Binder::new(None, Some(&values));
    binder.update(&mut Cache::new(), text).expect("an update")
}

/// What a key condition asks: partition key values, and a test of the sort key.
pub fn key_test(hash: &[Value], sort: SortTest) -> KeyTest {
    KeyTest { hash: hash.to_vec(), prefix: Vec::new(), sort }
}

/// Finds the table of a write again by its name, as operations do.
pub fn rekey(cx: &mut Context<'_>, write: &ItemWrite) -> Result<(Arc<Table>, Key), Fault> {
    let found = dynamodb::engine::change_table::find(cx, MAIN, &write.table.name)?;
    let table = Arc::new(found.ok_or(Fault::Closed)?);
    let key = match &write.action {
        Action::Put(item) => Key::from_item(&table, item.as_ref()),
        Action::Update(_) | Action::Delete | Action::Check => Key::exact(&table, write.key.attributes()),
    };
    Ok((Arc::clone(&table), key.expect("the key of the test's table")))
}

/// Items, and where the next page begins.
pub type Items = (Vec<Json>, Option<Item>);

impl World {
    /// Writes a table's record; of a table that is there the next epoch.
    pub async fn make(&self, table: Table) -> Arc<Table> {
        let name = table.name.clone();
        let made: Result<(), Fault> = self
            .run(|cx, out| {
                let decide = move |_: &mut Context<'_>, _| {
                    Ok(Decision::Write(Box::new(table.clone()), Vec::new(), ()))
                };
                change(cx, table_key(MAIN, &name), decide, move |_, made| out.done(made))
            })
            .await;
        made.expect("the table is written");
        self.find(&name)
    }

    /// The table as its record says it.
    pub fn find(&self, name: &str) -> Arc<Table> {
        let found = self.with_context(|cx| dynamodb::engine::change_table::find(cx, MAIN, name));
        Arc::new(found.expect("reads").expect("there is such a table"))
    }

    /// Writes one item.
    pub async fn write(&self, wanted: ItemWrite) -> Result<Written, Fault> {
        let written = self.run(|cx, out| write(cx, wanted, rekey, move |_, written| out.done(written)));
        written.await.map(|(_, written)| written)
    }

    /// Writes one item, which must go well.
    #[track_caller]
    pub fn done(&self, written: Result<Written, Fault>) -> Box<Done> {
        match written {
            Ok(Written::Done(done)) => done,
            Ok(Written::ConditionFailed(_)) => panic!("the condition failed"),
            Ok(Written::Refused(refusal)) => panic!("refused: {refusal:?}"),
            Err(fault) => panic!("{fault}"),
        }
    }

    /// Puts an item, which must go well.
    pub async fn put(&self, table: &Arc<Table>, item: Item) -> Box<Done> {
        let written = self.write(put(table, item)).await;
        self.done(written)
    }

    /// The item of a key as it would be shown.
    pub fn get(&self, table: &Table, key: &Item) -> Option<Json> {
        let key = Key::exact(table, key.as_ref()).expect("a key of the table");
        let found = self.with_context(|cx| get(cx, &key, |item| item.map(Item::from_ref)));
        found.expect("reads").map(|item| shown(&item))
    }

    /// Reads one page.
    pub async fn page(&self, request: PageRequest) -> Result<Page, PageError> {
        let mut items = json::Writer::new();
        items.begin_array();
        self.run(|cx, out| page(cx, request, items, move |_, page| out.done(page))).await
    }

    /// Reads a page's items, which must go well.
    pub async fn items(&self, request: PageRequest) -> Items {
        let mut page = self.page(request).await.expect("a page");
        page.items.end_array();
        let items = serde_json::from_slice(&page.items.into_bytes()).expect("a JSON array");
        (items, page.last)
    }

    /// Runs a batch of writes.
    pub async fn batch(&self, writes: Vec<ItemWrite>) -> Vec<Wrote> {
        let ended: Result<_, Fault> =
            self.run(|cx, out| batch_write(cx, writes, rekey, move |_, ended| out.done(ended))).await;
        ended.expect("no fault")
    }

    /// Runs a transaction.
    pub async fn transact(&self, writes: Vec<ItemWrite>, token: Option<Token>) -> Result<Transacted, Fault> {
        self.run(|cx, out| transact_write(cx, writes, token, rekey, move |_, ended| out.done(ended))).await
    }
}

/// The write of a whole item.
pub fn put(table: &Arc<Table>, item: Item) -> ItemWrite {
    let key = Key::from_item(table, item.as_ref()).expect("an item of the table");
    ItemWrite::new(Arc::clone(table), key, Action::Put(item))
}

/// Another write of the item of a key.
pub fn act(table: &Arc<Table>, key: &Item, action: Action) -> ItemWrite {
    let key = Key::exact(table, key.as_ref()).expect("a key of the table");
    ItemWrite::new(Arc::clone(table), key, action)
}

/// A page of everything.
pub fn request(table: &Arc<Table>, index: Option<u16>, range: Range) -> PageRequest {
    PageRequest {
        table: Arc::clone(table),
        index: index.map(IndexNumber),
        range,
        forward: true,
        start: None,
        limit: None,
        filter: None,
        show: Show::All,
        fetches: false,
    }
}

/// An item as JSON.
pub fn shown(item: &Item) -> Json {
    let mut writer = json::Writer::new();
    item.as_ref().write_json(&mut writer);
    serde_json::from_slice(&writer.into_bytes()).expect("JSON")
}

/// SplitMix64 from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// A seed that is printed, for tests that draw at random. `ZEROCLOUD_SEED` replays a run.
pub fn printed_seed(test: &str) -> u64 {
    let given = std::env::var("ZEROCLOUD_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(super::seed);
    println!("ZEROCLOUD_SEED={seed} cargo test -p zerocloud-dynamodb {test}");
    seed
}

/// Shares the world between tasks of a test.
pub fn share(world: World) -> Rc<World> {
    Rc::new(world)
}
