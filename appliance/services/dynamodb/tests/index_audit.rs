//! Random writes to a table with indexes of every kind: afterwards, and after the store was opened again, each index holds
//! exactly what the items give, and so do the totals.

mod driver;

use std::rc::Rc;
use std::sync::Arc;

use driver::direct::{Random, act, attribute, index, item, n, printed_seed, put, s, table, update};
use driver::{TempDir, World, with_world_at};
use dynamodb::engine::item_write::{Action, ItemWrite, Written};
use dynamodb::engine::transact::Transacted;
use dynamodb::model::table::{Index, IndexState, KeyType, Projected, Table};
use dynamodb::value::{Item, Value};

const LANES: u64 = 4;
const WRITES_PER_LANE: usize = 400;

fn shape() -> Table {
    let mut shape = table("t", Some(KeyType::S));
    let (g, x) = (attribute("g", KeyType::S), attribute("x", KeyType::N));
    let (h, y) = (attribute("h", KeyType::N), attribute("y", KeyType::B));
    let pk = shape.key.hash.clone();
    shape.locals = vec![
        index(1, std::slice::from_ref(&pk), std::slice::from_ref(&h), Projected::KeysOnly),
        index(2, &[pk], std::slice::from_ref(&y), Projected::All),
    ];
    shape.globals = vec![
        index(3, std::slice::from_ref(&g), std::slice::from_ref(&h), Projected::Include(vec!["v".into()])),
        index(4, &[g.clone(), x], &[h, y], Projected::KeysOnly),
        index(5, &[g], &[], Projected::All),
    ];
    shape
}

fn key(random: &mut Random, lane: u64) -> Item {
    // Sort keys that share a long front and differ behind it: their entries' tails are digests.
    let long = "k".repeat([1, 256, 257, 900][random.below(4) as usize]);
    // A lane has partition keys of its own, so that no two transactions meet.
    item(&[
        ("pk", s(&format!("{lane}-{}", random.below(3)))),
        ("sk", s(&format!("{long}{}", random.below(3)))),
    ])
}

fn row(random: &mut Random, key: &Item) -> Item {
    let mut attributes: Vec<(&str, Value)> =
        vec![("v", s(&"v".repeat(random.below(40) as usize))), ("w", n(random.below(9) as i64))];
    let few = |random: &mut Random| random.below(4) as i64 - 1;
    if random.below(3) > 0 {
        attributes.push(("g", s(&format!("g{}", few(random)))));
    }
    if random.below(3) > 0 {
        attributes.push(("x", n(few(random))));
    }
    if random.below(3) > 0 {
        attributes.push(("h", n(few(random))));
    }
    if random.below(3) > 0 {
        attributes.push(("y", Value::b(&vec![few(random) as u8; 1 + random.below(20) as usize])));
    }
    let given = attributes.iter().map(|(name, value)| (*name, value.as_ref()));
    Item::from_pairs(key.as_ref().iter().chain(given))
}

fn change(random: &mut Random) -> Action {
    let (g, h) = (s(&format!("g{}", random.below(3))), n(random.below(3) as i64));
    Action::Update(match random.below(5) {
        0 => update("SET g = :g, h = :h", &[(":g", g), (":h", h)]),
        1 => update("REMOVE g", &[]),
        2 => update("ADD h :h", &[(":h", h)]),
        3 => update("REMOVE h, y SET v = :g", &[(":g", g)]),
        _ => update("ADD w :h", &[(":h", h)]),
    })
}

fn one(random: &mut Random, table: &Arc<Table>, lane: u64) -> ItemWrite {
    let key = key(random, lane);
    match random.below(5) {
        0 => act(table, &key, Action::Delete),
        1 | 2 => act(table, &key, change(random)),
        _ => put(table, row(random, &key)),
    }
}

async fn lane(world: Rc<World>, table: Arc<Table>, mut random: Random, lane: u64) {
    for _ in 0..WRITES_PER_LANE {
        if random.below(4) > 0 {
            let written = world.write(one(&mut random, &table, lane)).await.expect("no fault");
            assert!(matches!(written, Written::Done(_)), "nothing refuses a lane's own writes");
            continue;
        }
        let mut writes: Vec<ItemWrite> = Vec::new();
        for _ in 0..1 + random.below(6) {
            let write = one(&mut random, &table, lane);
            if writes.iter().all(|other| other.key != write.key) {
                writes.push(write);
            }
        }
        let ended = world.transact(writes, None).await.expect("no fault");
        assert!(matches!(ended, Transacted::Done(_)), "nothing refuses a lane's own writes");
    }
}

#[test]
fn indexes_and_totals_are_what_the_items_give() {
    let seed = printed_seed("--test index_audit");
    let directory = TempDir::new("index-audit");
    for round in 0..3 {
        with_world_at(&directory.0, |world| async move {
            let table = if round == 0 { world.make(shape()).await } else { world.find("t") };
            let world = Rc::new(world);
            if round > 0 {
                assert!(!world.audit_settled(&table).await.is_empty());
            }
            let tasks: Vec<_> = (0..LANES)
                .map(|number| {
                    let random = Random(seed ^ (round * LANES + number));
                    ring::spawn(lane(Rc::clone(&world), Arc::clone(&table), random, number))
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert!(!world.audit_settled(&table).await.is_empty());
        });
    }
}

#[test]
fn the_totals_of_an_index_that_is_being_filled_count_its_entries_only() {
    driver::with_world("audit-creating", |world| async move {
        let table_of = |index: Option<Index>| {
            let mut shape = table("t", None);
            shape.globals.extend(index);
            shape
        };
        let table = world.make(table_of(None)).await;
        for number in 0..4 {
            world.put(&table, item(&[("pk", s(&format!("{number}"))), ("g", s("a"))])).await;
        }
        let mut creating = index(1, &[attribute("g", KeyType::S)], &[], Projected::All);
        creating.state = IndexState::Creating;
        let table = world.make(table_of(Some(creating))).await;
        let key = |number: u8| item(&[("pk", s(&format!("{number}")))]);
        let total = || {
            let shards = world.store.shards().map(|shard| {
                let view = world.store.view(shard).expect("a view");
                let stats = dynamodb::store::stats_key(table.number, dynamodb::model::table::IndexNumber(1));
                view.counter(dynamodb::store::STATS, &stats).expect("reads")[0]
            });
            shards.sum::<i64>()
        };
        // Gone before it was entered; moved, which enters it; changed where it was not entered; new.
        world.write(act(&table, &key(0), Action::Delete)).await.expect("no fault");
        assert_eq!(total(), 0);
        world.put(&table, item(&[("pk", s("1")), ("g", s("b"))])).await;
        assert_eq!(total(), 1);
        world.put(&table, item(&[("pk", s("2")), ("g", s("a")), ("v", n(1))])).await;
        assert_eq!(total(), 1);
        world.put(&table, item(&[("pk", s("4")), ("g", s("c"))])).await;
        assert_eq!(total(), 2);
        world.write(act(&table, &key(1), Action::Delete)).await.expect("no fault");
        assert_eq!(total(), 1);
    });
}
