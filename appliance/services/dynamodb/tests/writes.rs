//! Writes and reads of single items, and batches of them: what each does and what it answers.

mod driver;

use std::rc::Rc;
use std::sync::Arc;

use driver::direct::{act, attribute, condition, index, item, n, put, s, shown, table, update};
use driver::with_world;
use dynamodb::engine::batch::{Wrote, batch_get};
use dynamodb::engine::item_write::{Action, Refusal, Written};
use dynamodb::engine::read::{get, warm};
use dynamodb::model::keys::{Key, KeyError};
use dynamodb::model::table::{KeyType, Projected};
use serde_json::json;

#[test]
fn an_item_is_there_until_it_is_deleted() {
    with_world("writes-item", |world| async move {
        let table = world.make(table("t", Some(KeyType::N))).await;
        let key = item(&[("pk", s("a")), ("sk", n(1))]);
        assert_eq!(world.get(&table, &key), None);
        let done = world.put(&table, item(&[("pk", s("a")), ("sk", n(1)), ("v", n(5))])).await;
        assert_eq!((done.cost.old_bytes, done.cost.new_bytes), (0, 3 + 4 + 3));
        assert_eq!(
            world.get(&table, &key),
            Some(json!({"pk": {"S": "a"}, "sk": {"N": "1"}, "v": {"N": "5"}}))
        );
        assert_eq!(world.get(&table, &item(&[("pk", s("a")), ("sk", n(2))])), None);
        let mut delete = act(&table, &key, Action::Delete);
        delete.return_old = true;
        let written = world.write(delete).await;
        let done = world.done(written);
        assert_eq!(shown(&done.old.expect("was there"))["v"], json!({"N": "5"}));
        assert_eq!(world.get(&table, &key), None);
        let written = world.write(act(&table, &key, Action::Delete)).await;
        assert_eq!(world.done(written).cost.old_bytes, 0);
    });
}

#[test]
fn a_condition_decides_on_the_item_as_it_is() {
    with_world("writes-condition", |world| async move {
        let table = world.make(table("t", None)).await;
        let key = item(&[("pk", s("a"))]);
        let mut first = put(&table, item(&[("pk", s("a")), ("v", n(1))]));
        first.condition = Some(condition("attribute_not_exists(pk)", &[]));
        first.return_old_on_failure = true;
        let written = world.write(first.clone()).await;
        world.done(written);
        match world.write(first).await {
            Ok(Written::ConditionFailed(Some(old))) => assert_eq!(shown(&old)["v"], json!({"N": "1"})),
            _ => panic!("the item is there"),
        }
        let mut next = act(&table, &key, Action::Update(update("SET v = v + :one", &[(":one", n(1))])));
        next.condition = Some(condition("v = :old", &[(":old", n(1))]));
        (next.return_old, next.return_new) = (true, true);
        let written = world.write(next.clone()).await;
        let done = world.done(written);
        let (old, new) = (done.old.expect("old"), done.new.expect("new"));
        assert_eq!(
            (shown(&old)["v"].clone(), shown(&new)["v"].clone()),
            (json!({"N": "1"}), json!({"N": "2"}))
        );
        assert!(matches!(world.write(next).await, Ok(Written::ConditionFailed(None))));
        assert_eq!(world.get(&table, &key).expect("there")["v"], json!({"N": "2"}));
    });
}

#[test]
fn updates_of_an_absent_item_make_it_from_its_key() {
    with_world("writes-update", |world| async move {
        let table = world.make(table("t", None)).await;
        let key = item(&[("pk", s("a"))]);
        let remove = act(&table, &key, Action::Update(update("REMOVE v", &[])));
        let written = world.write(remove).await;
        assert_eq!(world.done(written).cost.new_bytes, 0);
        assert_eq!(world.get(&table, &key), None);
        let add = act(&table, &key, Action::Update(update("ADD v :five", &[(":five", n(5))])));
        for expected in ["5", "10"] {
            let written = world.write(add.clone()).await;
            world.done(written);
            let found = world.get(&table, &key);
            assert_eq!(found, Some(json!({"pk": {"S": "a"}, "v": {"N": expected}})));
        }
        let wrong = act(&table, &key, Action::Update(update("SET v = nowhere", &[])));
        assert!(matches!(world.write(wrong).await, Ok(Written::Refused(Refusal::Update(_)))));
    });
}

#[test]
fn an_item_may_have_409_600_bytes_and_not_one_more() {
    with_world("writes-size", |world| async move {
        let table = world.make(table("t", None)).await;
        let sized = |bytes: usize| item(&[("pk", s("a")), ("v", s(&"x".repeat(bytes - 4)))]);
        world.put(&table, sized(409_600)).await;
        let refused = world.write(put(&table, sized(409_601))).await;
        assert!(matches!(refused, Ok(Written::Refused(Refusal::TooLarge { update: false }))));
        let key = item(&[("pk", s("a"))]);
        let longer = update("SET w = :w", &[(":w", s(""))]);
        let refused = world.write(act(&table, &key, Action::Update(longer))).await;
        assert!(matches!(refused, Ok(Written::Refused(Refusal::TooLarge { update: true }))));
    });
}

#[test]
fn a_key_of_an_index_must_have_its_type() {
    with_world("writes-index-key", |world| async move {
        let mut shape = table("t", None);
        shape.globals.push(index(1, &[attribute("g", KeyType::S)], &[], Projected::All));
        let table = world.make(shape).await;
        let refusal = |written| match written {
            Ok(Written::Refused(Refusal::Key(error))) => error,
            _ => panic!("the item is refused"),
        };
        let error = refusal(world.write(put(&table, item(&[("pk", s("a")), ("g", n(1))]))).await);
        assert!(matches!(error, KeyError::IndexMismatch { expected: KeyType::S, .. }), "{error:?}");
        world.put(&table, item(&[("pk", s("a"))])).await;
        let empty = update("SET g = :g", &[(":g", s(""))]);
        let error = refusal(world.write(act(&table, &item(&[("pk", s("a"))]), Action::Update(empty))).await);
        assert!(matches!(error, KeyError::IndexEmpty { .. }), "{error:?}");
    });
}

#[test]
fn a_write_that_was_made_for_an_older_table_is_made_anew() {
    with_world("writes-stale", |world| async move {
        let old = world.make(table("t", None)).await;
        let mut shape = table("t", None);
        shape.globals.push(index(1, &[attribute("g", KeyType::S)], &[], Projected::All));
        let new = world.make(shape).await;
        assert!(new.epoch > old.epoch);
        let done = world.put(&old, item(&[("pk", s("a")), ("g", s("x"))])).await;
        assert_eq!(done.cost.indexes.len(), 1, "the entry of the new index is written");
        // A table of another key: the write is checked against it.
        let mut other = table("t", Some(KeyType::S));
        other.number = dynamodb::model::table::TableNumber(77);
        world.make(other).await;
        let key = Key::exact(&old, item(&[("pk", s("a"))]).as_ref()).expect("a key of the old table");
        let delete = dynamodb::engine::item_write::ItemWrite::new(Arc::clone(&old), key, Action::Delete);
        let ended: Result<_, String> = world
            .run(|cx, out| {
                let rekey = |cx: &mut plan::Context<'_>, write: &dynamodb::engine::item_write::ItemWrite| {
                    let table = dynamodb::engine::change_table::find(cx, driver::MAIN, "t");
                    let table = Arc::new(table.expect("reads").expect("there"));
                    let key = Key::exact(&table, write.key.attributes());
                    key.map(|key| (table, key)).map_err(|error| Refused(format!("{error:?}")))
                };
                dynamodb::engine::item_write::write(cx, delete, rekey, move |_, ended| {
                    out.done(ended.map(|_| ()).map_err(|refused| refused.0))
                })
            })
            .await;
        assert_eq!(ended, Err("NoMatch".to_owned()));
    });
}

struct Refused(String);

impl From<store::Fault> for Refused {
    fn from(fault: store::Fault) -> Refused {
        Refused(fault.to_string())
    }
}

#[test]
fn a_batch_writes_each_item_by_itself_and_reads_them_in_the_order_of_their_keys() {
    with_world("writes-batch", |world| async move {
        let mut shape = table("t", None);
        shape.globals.push(index(1, &[attribute("g", KeyType::S)], &[], Projected::All));
        let table = world.make(shape).await;
        let name = |number: i64| format!("item-{number}");
        let row = |number: i64, group: dynamodb::value::Value| {
            item(&[("pk", s(&name(number))), ("g", group), ("v", n(number))])
        };
        // One of them cannot be: the others are written all the same.
        let writes = (0..25).map(|number| match number {
            7 => put(&table, row(number, n(7))),
            _ => put(&table, row(number, s("g"))),
        });
        let writes = writes.collect();
        let ended = world.batch(writes).await;
        for (number, wrote) in ended.into_iter().enumerate() {
            match wrote {
                Wrote::Done(_) => assert_ne!(number, 7),
                Wrote::Refused(Refusal::Key(_)) => assert_eq!(number, 7),
                Wrote::Refused(_) | Wrote::ConditionFailed(_) | Wrote::Later => panic!("write {number}"),
            }
        }
        let key = |number| Key::exact(&table, item(&[("pk", s(&name(number)))]).as_ref()).expect("a key");
        let keys: Vec<Key> = (0..100).map(key).collect();
        let each =
            |found: &mut Vec<Option<i64>>, place: usize, item: Option<dynamodb::value::ItemRef<'_>>| {
                assert_eq!(place, found.len());
                found.push(item.map(|_| place as i64));
            };
        let (found, read) = world
            .run(|cx, out| {
                batch_get(cx, keys, Vec::new(), each, move |_, found, read| out.done((found, read)))
            })
            .await;
        assert_eq!(read.expect("no fault"), 100);
        let expected: Vec<_> =
            (0..100).map(|number| (number < 25 && number != 7).then_some(number)).collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn a_batch_of_the_largest_items_is_written_in_parts_and_read_up_to_16_mb() {
    with_world("writes-batch-large", |world| async move {
        let table = world.make(table("t", None)).await;
        let large = "x".repeat(409_000);
        let mut keys = Vec::new();
        for round in 0..2 {
            let row = |number: usize| item(&[("pk", s(&format!("{round}-{number}"))), ("v", s(&large))]);
            let writes: Vec<_> = (0..25).map(|number| put(&table, row(number))).collect();
            keys.extend(writes.iter().map(|write| write.key.clone()));
            let ended = world.batch(writes).await;
            assert!(ended.iter().all(|wrote| matches!(wrote, Wrote::Done(_))));
        }
        let count = |bytes: &mut u64, _: usize, item: Option<dynamodb::value::ItemRef<'_>>| {
            *bytes += u64::from(item.expect("there").aws_bytes());
        };
        let (bytes, read) = world
            .run(|cx, out| batch_get(cx, keys, 0, count, move |_, bytes, read| out.done((bytes, read))))
            .await;
        let read = read.expect("no fault");
        let each = bytes / read as u64;
        assert!(read < 50 && bytes <= 16 << 20 && bytes + each > 16 << 20, "{read} items, {bytes} bytes");
    });
}

#[test]
fn writes_of_one_item_by_many_are_all_counted() {
    with_world("writes-hot", |world| async move {
        let table = world.make(table("t", None)).await;
        let key = item(&[("pk", s("hot"))]);
        let world = Rc::new(world);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (world, table, key) = (Rc::clone(&world), Arc::clone(&table), key.clone());
                ring::spawn(async move {
                    for _ in 0..50 {
                        let add = update("ADD v :one", &[(":one", n(1))]);
                        let written = world.write(act(&table, &key, Action::Update(add))).await;
                        world.done(written);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(world.get(&table, &key).expect("there")["v"], json!({"N": "400"}));
    });
}

#[test]
fn what_is_brought_into_memory_first_is_read_all_the_same() {
    with_world("writes-warm", |world| async move {
        let table = world.make(table("t", None)).await;
        let keys: Vec<_> = (0..10).map(|number| item(&[("pk", s(&format!("{number}")))])).collect();
        for key in &keys {
            world.put(&table, key.clone()).await;
        }
        let places = keys.iter().map(|key| {
            let key = Key::exact(&table, key.as_ref()).expect("a key");
            (key.shard(&world.store), dynamodb::store::ITEMS, key.store_key().to_vec())
        });
        let places: Vec<_> = places.collect();
        let read = Key::exact(&table, keys[3].as_ref()).expect("a key");
        let is_there = world
            .run(|cx, out| {
                warm(cx, places, move |cx| out.done(get(cx, &read, |item| item.is_some()).expect("reads")))
            })
            .await;
        assert!(is_there);
    });
}
