//! Work that nobody asks for: sweeping what was dropped, filling indexes, expiring items, trimming streams; also when the
//! service stops in the middle of it.

mod driver;

use std::cell::Cell;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use driver::direct::{Random, act, attribute, index, item, n, put, s, table};
use driver::{TempDir, World, with_world, with_world_at};
use dynamodb::engine::item_write::Action;
use dynamodb::model::table::{KeyType, Projected, StreamSetting, StreamView, Table, TableNumber, TimeToLive};
use dynamodb::store::due::DUE;
use dynamodb::store::pending::{BACKFILL, DROPPED};
use dynamodb::store::stream::{Actor, Change, Event, STREAM, STREAMS};
use dynamodb::store::table::{FENCE, TABLES};
use dynamodb::store::{COLLECTIONS, GLOBAL, ITEMS, LOCAL, STATS};
use dynamodb::value::{Item, Value};
use serde_json::json;
use store::{Direction, TableId, Timestamp};

/// How many records of a table of the store there are on all shards.
fn count(world: &World, table: TableId) -> usize {
    let count = |shard| {
        let view = world.store.view(shard).expect("a view");
        let mut scan = view.scan(table, Bound::Unbounded, Direction::Forward);
        let mut count = 0;
        while scan.next().expect("reads").is_some() {
            count += 1;
        }
        count
    };
    world.store.shards().map(count).sum()
}

const ALL: [TableId; 12] =
    [TABLES, FENCE, ITEMS, LOCAL, GLOBAL, COLLECTIONS, STATS, STREAM, STREAMS, DUE, DROPPED, BACKFILL];

/// A table with everything that items can be followed by.
fn rich(name: &str) -> Table {
    let (pk, a, b) = (attribute("pk", KeyType::S), attribute("a", KeyType::S), attribute("b", KeyType::N));
    Table {
        locals: vec![index(1, &[pk], std::slice::from_ref(&b), Projected::All)],
        globals: vec![index(2, &[a], &[b], Projected::KeysOnly)],
        next_index: dynamodb::model::table::IndexNumber(3),
        time_to_live: Some(TimeToLive { attribute: "ttl".into(), changed: Timestamp(1) }),
        ..table(name, Some(KeyType::N))
    }
}

fn member(number: i64) -> Item {
    item(&[
        ("pk", s(&format!("p{}", number % 50))),
        ("sk", n(number)),
        ("a", s(&format!("g{}", number % 7))),
        ("b", n(number / 3)),
        ("ttl", n(4_000_000_000 + number)),
    ])
}

async fn fill(world: &World, table: &Arc<Table>, count: i64) {
    for first in (0..count).step_by(25) {
        let writes = (first..(first + 25).min(count)).map(|number| put(table, member(number))).collect();
        assert!(
            world
                .batch(writes)
                .await
                .iter()
                .all(|wrote| matches!(wrote, dynamodb::engine::batch::Wrote::Done(_)))
        );
    }
}

#[test]
fn the_sweep_leaves_nothing_of_a_dropped_table_and_everything_of_another() {
    with_world("background-sweep", |world| async move {
        let kept = world.make(rich("kept")).await;
        let gone = world.make(rich("gone")).await;
        fill(&world, &kept, 100).await;
        let before: Vec<usize> = ALL.iter().map(|table| count(&world, *table)).collect();
        fill(&world, &gone, 2_500).await;
        assert_eq!(count(&world, ITEMS), 2_600);
        assert_eq!(count(&world, DUE), 2_600);
        world.send("DeleteTable", &json!({"TableName": "gone"})).await.ok();
        assert_eq!(count(&world, ITEMS), 2_600, "nothing is swept while the client waits");
        assert!(world.tick().await > 4, "a sweep is done in slices");
        let after: Vec<usize> = ALL.iter().map(|table| count(&world, *table)).collect();
        // Two shards, and one record and fence less on each.
        let expected: Vec<usize> = before
            .iter()
            .zip(ALL)
            .map(|(count, table)| count - if [TABLES, FENCE].contains(&table) { 2 } else { 0 })
            .collect();
        assert_eq!(after, expected);
        assert_eq!(world.audit(&kept).len(), 100);
        assert_eq!(world.tick().await, 0, "nothing is left to do");
    });
}

#[test]
fn a_sweep_goes_on_after_a_restart() {
    let directory = TempDir::new("background-sweep-restart");
    with_world_at(&directory.0, |world| async move {
        let gone = world.make(rich("gone")).await;
        fill(&world, &gone, 2_500).await;
        world.send("DeleteTable", &json!({"TableName": "gone"})).await.ok();
        // A few slices of one shard.
        for _ in 0..2 {
            let plan = world.tick_once().expect("there is work");
            world.drive(plan).await;
        }
        assert!((1..2_500).contains(&count(&world, ITEMS)));
    });
    with_world_at(&directory.0, |world| async move {
        world.tick().await;
        for table in ALL {
            assert_eq!(count(&world, table), 0, "{table:?}");
        }
    });
}

const ADD: &str = "UpdateTable";

fn add_index(name: &str) -> serde_json::Value {
    json!({
        "TableName": name,
        "AttributeDefinitions": [
            {"AttributeName": "a", "AttributeType": "S"}, {"AttributeName": "b", "AttributeType": "N"},
        ],
        "GlobalSecondaryIndexUpdates": [{"Create": {
            "IndexName": "late",
            "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}, {"AttributeName": "b", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["ttl"]},
        }}],
    })
}

async fn index_status(world: &World, name: &str) -> Option<String> {
    let found = world.send("DescribeTable", &json!({"TableName": name})).await.ok();
    let status = found["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"].as_str();
    status.map(str::to_owned)
}

#[test]
fn an_index_of_a_small_table_is_there_and_gone_at_the_first_look() {
    with_world("background-index", |world| async move {
        let small = world.make(table("small", Some(KeyType::N))).await;
        fill(&world, &small, 50).await;
        let answer = world.send(ADD, &add_index("small")).await.ok();
        let told = &answer["TableDescription"]["GlobalSecondaryIndexes"][0];
        assert_eq!((&told["IndexStatus"], &told["Backfilling"]), (&json!("CREATING"), &json!(true)));
        assert_eq!(index_status(&world, "small").await.as_deref(), Some("ACTIVE"));
        world.audit(&world.find("small"));
        assert_eq!((count(&world, GLOBAL), count(&world, BACKFILL)), (50, 0));
        let again = world.send(ADD, &add_index("small")).await.expect_error("ValidationException");
        assert_eq!(again.message(), "Attempting to create an index which already exists");
        let delete =
            json!({"TableName": "small", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "late"}}]});
        let answer = world.send("UpdateTable", &delete).await.ok();
        assert_eq!(answer["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "DELETING");
        assert_eq!(index_status(&world, "small").await, None);
        assert_eq!((count(&world, GLOBAL), count(&world, DROPPED)), (0, 0));
        world.audit(&world.find("small"));
        world.send("UpdateTable", &delete).await.expect_error("ResourceNotFoundException");
        let undefined = json!({"TableName": "small", "GlobalSecondaryIndexUpdates": [{"Create": {
            "IndexName": "bad", "KeySchema": [{"AttributeName": "unknown", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }}]});
        world.send("UpdateTable", &undefined).await.expect_error("ValidationException");
        assert_eq!(world.tick().await, 0);
    });
}

/// Puts, moves and deletes members of a table, alone and two at once, until it has done so `count` times or there is no such
/// table any more. Gives how many were done.
async fn write_at_random(
    world: Rc<World>,
    name: &'static str,
    seed: u64,
    count: usize,
    progress: Rc<Cell<usize>>,
) -> usize {
    let mut random = Random(seed);
    for done in 0..count {
        let found = world.with_context(|cx| dynamodb::engine::change_table::find(cx, driver::MAIN, name));
        let Some(table) = found.expect("reads").map(Arc::new) else { return done };
        let number = random.below(3_200) as i64;
        let changed = member(number);
        let outcome = match random.below(5) {
            // Another place in the index, or none.
            0 => world.write(put(&table, replaced(&changed, "a", Some(s("moved"))))).await.map(drop),
            1 => world.write(put(&table, replaced(&changed, "a", None))).await.map(drop),
            2 => {
                world.write(put(&table, replaced(&changed, "ttl", Some(s("another value"))))).await.map(drop)
            }
            3 => {
                let key = item(&[("pk", s(&format!("p{}", number % 50))), ("sk", n(number))]);
                world.write(act(&table, &key, Action::Delete)).await.map(drop)
            }
            _ => {
                // Two items, on whichever shards they are; some are prepared before a change of the table.
                let pair =
                    [number, (number + 1) % 3_200].map(|number| replaced(&member(number), "a", Some(s("t"))));
                world.transact(pair.map(|item| put(&table, item)).into(), None).await.map(drop)
            }
        };
        // The test's own way of finding the table again ends so when there is none.
        assert!(matches!(outcome, Ok(()) | Err(store::Fault::Closed)), "{outcome:?}");
        progress.set(progress.get() + 1);
    }
    count
}

#[test]
fn a_large_index_is_filled_in_slices_while_items_are_written() {
    let seed = driver::direct::printed_seed("a_large_index_is_filled_in_slices_while_items_are_written");
    with_world("background-fill", |world| async move {
        let large = world.make(table("large", Some(KeyType::N))).await;
        fill(&world, &large, 3_000).await;
        let world = Rc::new(world);
        let writers: Vec<_> = (0..3)
            .map(|lane| {
                ring::spawn(write_at_random(Rc::clone(&world), "large", seed ^ lane, 250, Rc::default()))
            })
            .collect();
        world.send(ADD, &add_index("large")).await.ok();
        assert_eq!(index_status(&world, "large").await.as_deref(), Some("CREATING"));
        let mut second = add_index("large");
        second["GlobalSecondaryIndexUpdates"][0]["Create"]["IndexName"] = json!("second");
        let second = world.send(ADD, &second).await.expect_error("LimitExceededException");
        assert!(second.message().starts_with("Subscriber limit exceeded"), "{}", second.message());
        world.tick().await;
        for writer in writers {
            assert_eq!(writer.await, 250);
        }
        world.tick().await;
        assert_eq!(index_status(&world, "large").await.as_deref(), Some("ACTIVE"));
        let table = world.find("large");
        assert!(world.audit_settled(&table).await.len() > 2_000);
        assert_eq!(count(&world, BACKFILL), 0);
        let told = world.send("DescribeTable", &json!({"TableName": "large"})).await.ok()["Table"].clone();
        assert_eq!(told["ItemCount"], count(&world, ITEMS));
        assert_eq!(told["GlobalSecondaryIndexes"][0]["ItemCount"], count(&world, GLOBAL));
    });
}

#[test]
fn an_index_that_goes_under_writers_leaves_nothing() {
    let seed = driver::direct::printed_seed("an_index_that_goes_under_writers_leaves_nothing");
    with_world("background-index-writers", |world| async move {
        let world = Rc::new(world);
        let large = world.make(table("large", Some(KeyType::N))).await;
        fill(&world, &large, 400).await;
        for round in 0..4 {
            world.send(ADD, &add_index("large")).await.ok();
            world.tick().await;
            world.tick().await;
            assert_eq!(index_status(&world, "large").await.as_deref(), Some("ACTIVE"));
            let progress = Rc::new(Cell::new(0));
            let writers: Vec<_> = (0..6)
                .map(|lane| {
                    let seed = seed ^ (round << 8) ^ lane;
                    ring::spawn(write_at_random(Rc::clone(&world), "large", seed, 60, Rc::clone(&progress)))
                })
                .collect();
            while progress.get() < 20 {
                ring::sleep(std::time::Duration::from_millis(1)).await;
            }
            let delete = json!({"TableName": "large", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "late"}}]});
            world.send("UpdateTable", &delete).await.ok();
            for writer in writers {
                assert_eq!(writer.await, 60);
            }
            world.tick().await;
            world.tick().await;
            assert_eq!((count(&world, GLOBAL), count(&world, DROPPED)), (0, 0), "round {round}");
            let table = world.find("large");
            assert!(table.globals.is_empty());
            world.audit_settled(&table).await;
            let own_totals = 2;
            assert!(count(&world, STATS) <= own_totals, "the index's totals are gone");
        }
    });
}

#[test]
fn a_table_that_is_dropped_under_its_writers_leaves_nothing() {
    let seed = driver::direct::printed_seed("a_table_that_is_dropped_under_its_writers_leaves_nothing");
    with_world("background-drop-writers", |world| async move {
        let world = Rc::new(world);
        for round in 0..4 {
            let gone = world.make(Table { number: TableNumber(700 + round), ..rich("gone") }).await;
            fill(&world, &gone, 200).await;
            let progress = Rc::new(Cell::new(0));
            let writers: Vec<_> = (0..6)
                .map(|lane| {
                    let seed = seed ^ u64::from(round) << 8 ^ lane;
                    ring::spawn(write_at_random(
                        Rc::clone(&world),
                        "gone",
                        seed,
                        10_000,
                        Rc::clone(&progress),
                    ))
                })
                .collect();
            while progress.get() < 20 {
                ring::sleep(std::time::Duration::from_millis(1)).await;
            }
            world.send("DeleteTable", &json!({"TableName": "gone"})).await.ok();
            world.tick().await;
            let mut done = 0;
            for writer in writers {
                done += writer.await;
            }
            assert!((1..60_000).contains(&done), "the drop came between: {done}");
            world.tick().await;
            for table in ALL {
                assert_eq!(count(&world, table), 0, "{table:?} in round {round}");
            }
        }
    });
}

fn replaced(from: &Item, name: &str, value: Option<Value>) -> Item {
    let others = from.as_ref().iter().filter(|(other, _)| *other != name);
    let pairs: Vec<_> = others.chain(value.as_ref().map(|value| (name, value.as_ref()))).collect();
    Item::from_pairs(pairs.into_iter())
}

#[test]
fn the_filling_and_the_sweeping_of_an_index_go_on_after_a_restart() {
    let directory = TempDir::new("background-fill-restart");
    with_world_at(&directory.0, |world| async move {
        let large = world.make(table("large", Some(KeyType::N))).await;
        fill(&world, &large, 3_000).await;
        world.send(ADD, &add_index("large")).await.ok();
        let plan = world.tick_once().expect("there is work");
        world.drive(plan).await;
        assert!((1..3_000).contains(&count(&world, GLOBAL)));
    });
    with_world_at(&directory.0, |world| async move {
        let begun = count(&world, GLOBAL);
        assert!((1..3_000).contains(&begun));
        world.tick().await;
        // The first shard's next turn sees that the last one is done.
        world.tick().await;
        assert_eq!(index_status(&world, "large").await.as_deref(), Some("ACTIVE"));
        assert_eq!(world.audit(&world.find("large")).len(), 3_000);
        let delete =
            json!({"TableName": "large", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "late"}}]});
        world.send("UpdateTable", &delete).await.ok();
        assert_eq!(index_status(&world, "large").await.as_deref(), Some("DELETING"));
        assert!((1..3_000).contains(&count(&world, GLOBAL)));
    });
    with_world_at(&directory.0, |world| async move {
        world.tick().await;
        world.tick().await;
        assert_eq!(index_status(&world, "large").await, None);
        assert_eq!((count(&world, GLOBAL), count(&world, DROPPED)), (0, 0));
        assert_eq!(world.audit(&world.find("large")).len(), 3_000);
    });
}

#[test]
fn a_table_that_is_dropped_while_its_index_is_filled_leaves_nothing() {
    with_world("background-drop-filling", |world| async move {
        let large = world.make(table("large", Some(KeyType::N))).await;
        fill(&world, &large, 3_000).await;
        world.send(ADD, &add_index("large")).await.ok();
        world.send("DeleteTable", &json!({"TableName": "large"})).await.ok();
        world.tick().await;
        world.tick().await;
        for table in ALL {
            assert_eq!(count(&world, table), 0, "{table:?}");
        }
    });
}

const NOW_MS: u64 = 4_000_000_000_000;

#[test]
fn items_expire_by_the_attribute_as_it_is_then_and_the_stream_says_who_did_it() {
    with_world("background-expiry", |world| async move {
        let streamed = StreamSetting {
            number: 99,
            opened: Timestamp(1),
            view: StreamView::NewAndOldImages,
            enabled: true,
        };
        let world_table = Table { stream: Some(streamed), ..rich("expiring") };
        let table = world.make(world_table).await;
        let at = |key: &str, ttl: Value| {
            item(&[("pk", s(key)), ("sk", n(1)), ("a", s("g")), ("b", n(1)), ("ttl", ttl)])
        };
        let now = (NOW_MS / 1_000) as i64;
        for (key, ttl) in [
            ("over", n(now - 1)),
            ("just", n(now)),
            ("later", n(now + 60)),
            ("text", s("4000")),
            ("long ago", n(now - 6 * 365 * 86_400)),
            ("renewed", n(now - 1)),
        ] {
            world.put(&table, at(key, ttl)).await;
        }
        world.put(&table, at("renewed", n(now + 60))).await;
        world.now.set(Some(Timestamp(NOW_MS - 2_000)));
        world.tick().await;
        // Only what nobody could have meant as a time is not entered any more.
        assert_eq!((world.audit(&table).len(), count(&world, DUE)), (6, 4));
        world.now.set(Some(Timestamp(NOW_MS)));
        world.tick().await;
        assert_eq!(
            (keys(&world.audit(&table)), count(&world, DUE)),
            (vec!["later", "long ago", "renewed", "text"].into_iter().map(str::to_owned).collect(), 2)
        );
        let expired: Vec<(Event, Actor)> =
            changes(&world).into_iter().filter(|(event, _)| *event == Event::Remove).collect();
        assert_eq!(expired, [(Event::Remove, Actor::TimeToLive); 2]);
        // A time that is over already is found by the whole look that comes within a minute.
        world.put(&table, at("late", n(now - 100))).await;
        world.now.set(Some(Timestamp(NOW_MS + 30_000)));
        world.tick().await;
        assert_eq!(world.audit(&table).len(), 4);
        world.now.set(Some(Timestamp(NOW_MS + 61_000)));
        world.tick().await;
        assert_eq!((world.audit(&table).len(), count(&world, DUE)), (2, 0));
    });
}

fn keys(items: &[Item]) -> Vec<String> {
    let of = |item: &Item| match item.as_ref().get("pk") {
        Some(dynamodb::value::ValueRef::S(text)) => text.to_owned(),
        _ => panic!("no key"),
    };
    let mut keys: Vec<String> = items.iter().map(of).collect();
    keys.sort();
    keys
}

fn changes(world: &World) -> Vec<(Event, Actor)> {
    let mut found = Vec::new();
    for shard in world.store.shards() {
        let view = world.store.view(shard).expect("a view");
        let mut scan = view.scan(STREAM, Bound::Unbounded, Direction::Forward);
        while let Some((key, record)) = scan.next().expect("reads") {
            if key[24] == 0 {
                let change = Change::decode(record.value).expect("a change");
                found.push((change.event, change.by));
            }
        }
    }
    found
}

#[test]
fn items_from_before_an_expiry_attribute_was_named_expire_too_also_after_a_restart() {
    let directory = TempDir::new("background-expiry-restart");
    with_world_at(&directory.0, |world| async move {
        let table = world.make(table("older", Some(KeyType::N))).await;
        fill(&world, &table, 1_000).await;
        assert_eq!(count(&world, DUE), 0);
        let setting = json!({"Enabled": true, "AttributeName": "ttl"});
        world
            .send("UpdateTimeToLive", &json!({"TableName": "older", "TimeToLiveSpecification": setting}))
            .await
            .ok();
        let plan = world.tick_once().expect("there is work");
        world.drive(plan).await;
        assert!((1..1_000).contains(&count(&world, DUE)));
    });
    with_world_at(&directory.0, |world| async move {
        world.tick().await;
        assert_eq!((count(&world, DUE), count(&world, BACKFILL)), (1_000, 0));
        world.now.set(Some(Timestamp((4_000_000_000 + 499) * 1_000)));
        world.tick().await;
        assert_eq!((count(&world, ITEMS), count(&world, DUE)), (500, 500));
        world.audit(&world.find("older"));
    });
}

#[test]
fn tokens_are_forgotten_when_their_time_is_over() {
    with_world("background-tokens", |world| async move {
        let table = world.make(table("t", None)).await;
        let key = dynamodb::store::token::token_key(driver::MAIN, "one");
        let token = dynamodb::engine::transact::Token { key, digest: [7; 32] };
        let written = world.transact(vec![put(&table, item(&[("pk", s("a"))]))], Some(token)).await;
        assert!(written.is_ok());
        let tokens = || count(&world, dynamodb::store::TOKENS);
        assert_eq!((tokens(), count(&world, DUE)), (1, 1));
        world.tick().await;
        assert_eq!(tokens(), 1);
        world.now.set(Some(Timestamp::from_system_clock().plus_ms(11 * 60 * 1_000)));
        world.tick().await;
        assert_eq!((tokens(), count(&world, DUE)), (0, 0));
    });
}

#[test]
fn every_stream_is_trimmed_however_busy_the_others_are() {
    with_world("background-trim-all", |world| async move {
        let start = Timestamp::from_system_clock();
        for name in ["first", "second", "third"] {
            let request = json!({
                "TableName": name,
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
            });
            world.send("CreateTable", &request).await.ok();
            let table = world.find(name);
            for number in 0..40 {
                world.put(&table, item(&[("pk", s(&format!("k{number}")))])).await;
            }
        }
        assert_eq!(count(&world, STREAM), 120);
        world.now.set(Some(start.plus_ms(24 * 60 * 60 * 1_000 + 60_000)));
        world.tick().await;
        assert_eq!((count(&world, STREAM), count(&world, STREAMS)), (0, 6));
        assert_eq!(world.tick().await, 0);
    });
}

#[test]
fn changes_leave_a_stream_after_a_day_and_the_stream_a_day_after_its_end() {
    with_world("background-trim", |world| async move {
        let request = json!({
            "TableName": "streamed",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        });
        world.send("CreateTable", &request).await.ok();
        let table = world.find("streamed");
        for number in 0..1_500 {
            world.put(&table, item(&[("pk", s(&format!("k{}", number % 700))), ("v", n(number))])).await;
        }
        // 700 inserts of one part and 800 changes of two.
        assert_eq!(count(&world, STREAM), 700 + 2 * 800);
        let start = Timestamp::from_system_clock();
        let day = 24 * 60 * 60 * 1_000;
        world.now.set(Some(start.plus_ms(day - 60_000)));
        world.tick().await;
        assert_eq!(count(&world, STREAM), 700 + 2 * 800);
        world.now.set(Some(start.plus_ms(day)));
        world.tick().await;
        assert_eq!((count(&world, STREAM), count(&world, STREAMS)), (0, 2), "it records on");
        world.put(&table, item(&[("pk", s("new"))])).await;
        world.send("DeleteTable", &json!({"TableName": "streamed"})).await.ok();
        world.tick().await;
        assert_eq!((count(&world, STREAM), count(&world, STREAMS), count(&world, ITEMS)), (1, 2, 0));
        world.now.set(Some(start.plus_ms(2 * day)));
        world.tick().await;
        for table in ALL {
            assert_eq!(count(&world, table), 0, "{table:?}");
        }
    });
}
