//! Transactions beside each other and beside plain writes: all or nothing, for every reader at once.

mod driver;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driver::direct::{
    Random, act, attribute, condition, index, item, n, printed_seed, put, s, table, update,
};
use driver::{World, with_world, with_worlds};
use dynamodb::engine::item_write::{Action, ItemWrite, Refusal, Written};
use dynamodb::engine::transact::{Got, Reason, Token, Transacted, transact_get};
use dynamodb::model::keys::Key;
use dynamodb::model::table::{KeyType, Projected, StreamSetting, StreamView, Table, TableNumber};
use dynamodb::store::token::token_key;
use dynamodb::value::Item;
use serde_json::json;
use store::ShardId;

fn key(name: &str) -> Item {
    item(&[("pk", s(name))])
}

/// The first names that lie on each of the two shards.
fn names(world: &World, table: &Table, count: usize) -> [Vec<String>; 2] {
    let mut names = [Vec::new(), Vec::new()];
    for number in 0.. {
        let name = format!("name-{number}");
        let shard = Key::exact(table, key(&name).as_ref()).expect("a key").shard(&world.store);
        let side = &mut names[usize::from(shard != ShardId(0))];
        if side.len() < count {
            side.push(name);
        }
        if names.iter().all(|side| side.len() == count) {
            break;
        }
    }
    names
}

fn checked(table: &Arc<Table>, name: &str, text: &str) -> ItemWrite {
    let mut check = act(table, &key(name), Action::Check);
    check.condition = Some(condition(text, &[]));
    check
}

fn add(table: &Arc<Table>, name: &str, amount: i64) -> ItemWrite {
    act(table, &key(name), Action::Update(update("ADD v :v", &[(":v", n(amount))])))
}

fn value(world: &World, table: &Table, name: &str) -> i64 {
    let found = world.get(table, &key(name));
    let number = found.and_then(|found| found["v"]["N"].as_str().map(str::to_owned));
    number.map_or(0, |number| number.parse().expect("a whole number"))
}

/// What the items of these names have in `v`, all at one moment.
fn values_at_once(world: &World, table: &Table, names: &[&str]) -> Vec<i64> {
    let keys: Vec<Key> =
        names.iter().map(|name| Key::exact(table, key(name).as_ref()).expect("a key")).collect();
    let got = world.with_context(|cx| transact_get(cx, &keys)).expect("reads");
    let Got::Items(items) = got else { panic!("the items are small") };
    let value = |item: Option<Item>| {
        let shown = driver::direct::shown(&item?);
        shown["v"]["N"].as_str().map(|number| number.parse().expect("a whole number"))
    };
    items.into_iter().map(|item| value(item).unwrap_or(0)).collect()
}

#[test]
fn all_writes_take_effect_or_none_and_each_reason_is_named_in_its_place() {
    with_world("transact-reasons", |world| async move {
        let mut shape = table("t", None);
        shape.globals = vec![index(1, &[attribute("g", KeyType::S)], &[], Projected::All)];
        let table = world.make(shape).await;
        let [left, right] = names(&world, &table, 3);
        world.put(&table, item(&[("pk", s(&right[0])), ("v", n(1))])).await;
        let mut refused = checked(&table, &right[0], "attribute_not_exists(pk)");
        refused.return_old_on_failure = true;
        for sides in [[&left, &right], [&right, &right], [&right, &left]] {
            let writes = vec![
                put(&table, item(&[("pk", s(&sides[0][1])), ("v", n(7))])),
                refused.clone(),
                add(&table, &sides[1][2], 1),
                put(&table, item(&[("pk", s(&left[2])), ("g", n(7))])),
            ];
            let Ok(Transacted::Cancelled(reasons)) = world.transact(writes, None).await else {
                panic!("two writes are to blame")
            };
            assert!(matches!(&reasons[1], Some(Reason::ConditionFailed(Some(_)))));
            assert!(matches!(&reasons[3], Some(Reason::Refused(Refusal::Key(_)))));
            assert!(reasons[0].is_none() && reasons[2].is_none());
            assert!(
                world.get(&table, &key(&sides[0][1])).is_none()
                    && world.get(&table, &key(&sides[1][2])).is_none()
            );
        }
        let writes = vec![
            put(&table, item(&[("pk", s(&left[1])), ("v", n(7))])),
            checked(&table, &right[0], "attribute_exists(pk)"),
            add(&table, &right[2], 1),
            act(&table, &key(&left[2]), Action::Delete),
        ];
        let Ok(Transacted::Done(costs)) = world.transact(writes, None).await else {
            panic!("nothing is to blame")
        };
        assert_eq!(costs.len(), 4);
        assert_eq!(costs[0].new_bytes, costs[2].new_bytes);
        assert_eq!(costs[1].old_bytes, costs[1].new_bytes);
        assert_eq!((value(&world, &table, &left[1]), value(&world, &table, &right[2])), (7, 1));
        world.audit_settled(&table).await;
    });
}

#[test]
fn a_token_stands_for_one_request() {
    with_world("transact-token", |world| async move {
        let table = world.make(table("t", None)).await;
        let [left, right] = names(&world, &table, 2);
        for (number, pair) in
            [[&left[0], &left[1]], [&right[0], &right[1]], [&left[0], &right[0]]].iter().enumerate()
        {
            let token = |digest| Token {
                key: token_key(driver::MAIN, &format!("token-{number}")),
                digest: [digest; 32],
            };
            let writes = || vec![add(&table, pair[0], 1), add(&table, pair[1], 1)];
            let before = value(&world, &table, pair[0]);
            assert!(matches!(world.transact(writes(), Some(token(1))).await, Ok(Transacted::Done(_))));
            for _ in 0..2 {
                match world.transact(writes(), Some(token(1))).await {
                    Ok(Transacted::Replayed(bytes)) => assert!(bytes.iter().all(|bytes| *bytes > 0)),
                    _ => panic!("the token is known"),
                }
            }
            assert!(matches!(world.transact(writes(), Some(token(2))).await, Ok(Transacted::Mismatch)));
            assert_eq!(value(&world, &table, pair[0]), before + 1);
            // A transaction that was cancelled leaves no token.
            let token =
                || Token { key: token_key(driver::MAIN, &format!("other-{number}")), digest: [1; 32] };
            let cancelled =
                vec![add(&table, pair[0], 1), checked(&table, pair[1], "attribute_not_exists(pk)")];
            assert!(matches!(world.transact(cancelled, Some(token())).await, Ok(Transacted::Cancelled(_))));
            assert!(matches!(world.transact(writes(), Some(token())).await, Ok(Transacted::Done(_))));
        }
    });
}

#[test]
fn one_token_sent_many_times_at_once_counts_once() {
    with_world("transact-token-race", |world| async move {
        let table = world.make(table("t", None)).await;
        let [left, right] = names(&world, &table, 1);
        let world = Rc::new(world);
        for round in 0..20_i64 {
            let done = Rc::new(Cell::new(0));
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let (world, table, done) = (Rc::clone(&world), Arc::clone(&table), Rc::clone(&done));
                    let writes = vec![add(&table, &left[0], 1), add(&table, &right[0], 1)];
                    let token =
                        Token { key: token_key(driver::MAIN, &format!("round-{round}")), digest: [0; 32] };
                    ring::spawn(async move {
                        match world.transact(writes, Some(token)).await {
                            Ok(Transacted::Done(_)) => done.set(done.get() + 1),
                            Ok(
                                Transacted::Replayed(_) | Transacted::Cancelled(_) | Transacted::InProgress,
                            ) => {}
                            _ => panic!("no other end is right"),
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert_eq!(done.get(), 1);
            assert_eq!(
                (value(&world, &table, &left[0]), value(&world, &table, &right[0])),
                (round + 1, round + 1)
            );
        }
    });
}

/// Two cores that meet again and again. Neither blocks its core, whose shard the other needs.
#[derive(Default)]
struct Beat {
    arrived: AtomicU64,
    done: AtomicU64,
}

impl Beat {
    async fn meet(&self, meeting: u64) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < 2 * meeting {
            ring::yield_now().await;
        }
    }
}

const BEATS: u64 = 160;

/// On each of two cores a transaction that makes an item and rests on the other core's item not being there, both begun at
/// once.
async fn contend(world: World, beat: &Beat, side: usize, rest: fn(&Arc<Table>, &str) -> ItemWrite) {
    if side == 0 {
        world.make(table("t", None)).await;
    }
    beat.meet(1).await;
    let table = world.find("t");
    let sides = names(&world, &table, BEATS as usize);
    for round in 0..BEATS {
        // The item that is made lies on the other core's shard in every second round: only there do both transactions
        // look at their conditions before either writes.
        let near = if round % 2 == 0 { side } else { 1 - side };
        let (own, other) = (&sides[near][round as usize], &sides[1 - near][round as usize]);
        let is_alone = round % 8 == 7;
        beat.meet(2 * round + 2).await;
        if !is_alone || side == 0 {
            let writes = vec![put(&table, item(&[("pk", s(own)), ("v", n(1))])), rest(&table, other)];
            let ended = world.transact(writes, None).await;
            if matches!(ended, Ok(Transacted::Done(_))) {
                beat.done.fetch_add(1, Ordering::Relaxed);
            }
        }
        beat.meet(2 * round + 3).await;
        let there = value(&world, &table, own) + value(&world, &table, other);
        assert!(there <= 1, "round {round}: each rests on the other's item not being there");
    }
}

fn contended(name: &str, rest: fn(&Arc<Table>, &str) -> ItemWrite) {
    let beat = Arc::new(Beat::default());
    let (first, second) = (Arc::clone(&beat), Arc::clone(&beat));
    with_worlds(
        name,
        |world| async move { contend(world, &first, 0, rest).await },
        async move |world| contend(world, &second, 1, rest).await,
    );
    assert!(beat.done.load(Ordering::Relaxed) >= BEATS / 8, "whoever is alone gets through");
}

#[test]
fn what_a_condition_looked_at_stays_until_the_transaction_is_decided() {
    contended("transact-skew", |table, other| checked(table, other, "attribute_not_exists(pk)"));
}

#[test]
fn deleting_what_is_not_there_holds_it_too() {
    contended("transact-hold-absent", |table, other| {
        let mut delete = act(table, &key(other), Action::Delete);
        delete.condition = Some(condition("attribute_not_exists(pk)", &[]));
        delete
    });
}

#[test]
fn readers_see_a_transaction_wholly_or_not_at_all() {
    with_world("transact-atomic", |world| async move {
        let seed = printed_seed("--test transactions readers_see");
        let table = world.make(table("t", None)).await;
        let [left, right] = names(&world, &table, 2);
        let all: Vec<String> = left.iter().chain(&right).cloned().collect();
        let world = Rc::new(world);
        let (running, done) = (Rc::new(Cell::new(3)), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let (world, table, all) = (Rc::clone(&world), Arc::clone(&table), all.clone());
                let (running, done) = (Rc::clone(&running), Rc::clone(&done));
                let mut random = Random(seed ^ number);
                ring::spawn(async move {
                    for _ in 0..150 {
                        let (from, to) = (random.below(4) as usize, random.below(4) as usize);
                        if from == to {
                            continue;
                        }
                        let amount = random.below(9) as i64 + 1;
                        let writes = vec![add(&table, &all[from], -amount), add(&table, &all[to], amount)];
                        match world.transact(writes, None).await {
                            Ok(Transacted::Done(_)) => done.set(done.get() + 1),
                            Ok(Transacted::Cancelled(reasons)) => {
                                let blamed = reasons.iter().flatten();
                                let conflicts =
                                    |reason| matches!(reason, &Reason::Refused(Refusal::Conflict));
                                assert!(blamed.clone().count() > 0 && blamed.into_iter().all(conflicts));
                            }
                            _ => panic!("no other end is right"),
                        }
                    }
                    running.set(running.get() - 1);
                })
            })
            .collect();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut seen = std::collections::HashSet::new();
        while running.get() > 0 {
            let values = values_at_once(&world, &table, &names);
            assert_eq!(values.iter().sum::<i64>(), 0, "{values:?}");
            seen.insert(values);
            ring::yield_now().await;
        }
        for task in tasks {
            task.await;
        }
        assert!(done.get() > 20 && seen.len() > 5, "{} done, {} states seen", done.get(), seen.len());
    });
}

#[test]
fn a_read_of_several_items_is_one_moment_of_plain_writes_too() {
    with_world("transact-instant", |world| async move {
        let table = world.make(table("t", None)).await;
        let [left, right] = names(&world, &table, 1);
        let (left, right) = (left[0].clone(), right[0].clone());
        let world = Rc::new(world);
        let running = Rc::new(Cell::new(true));
        let writer = {
            let (world, table, running) = (Rc::clone(&world), Arc::clone(&table), Rc::clone(&running));
            let (left, right) = (left.clone(), right.clone());
            ring::spawn(async move {
                for number in 1..400 {
                    world.put(&table, item(&[("pk", s(&left)), ("v", n(number))])).await;
                    world.put(&table, item(&[("pk", s(&right)), ("v", n(number))])).await;
                }
                running.set(false);
            })
        };
        let mut seen = 0;
        while running.get() {
            for names in [[&*left, &*right], [&*right, &*left]] {
                let mut values = values_at_once(&world, &table, &names);
                if names[0] == right {
                    values.reverse();
                }
                assert!(values[0] == values[1] || values[0] == values[1] + 1, "{values:?}");
                seen = seen.max(values[0]);
            }
            ring::yield_now().await;
        }
        writer.await;
        assert!(seen > 10);
    });
}

#[test]
fn a_plain_write_and_a_transaction_do_not_lose_each_other() {
    with_world("transact-plain", |world| async move {
        let table = world.make(table("t", None)).await;
        let [left, right] = names(&world, &table, 1);
        let world = Rc::new(world);
        let counts = Rc::new([Cell::new(0), Cell::new(0), Cell::new(0)]);
        let mut tasks = Vec::new();
        for lane in 0..4 {
            let (world, table, counts) = (Rc::clone(&world), Arc::clone(&table), Rc::clone(&counts));
            let (left, right) = (left[0].clone(), right[0].clone());
            tasks.push(ring::spawn(async move {
                for _ in 0..60 {
                    if lane % 2 == 0 {
                        match world.write(add(&table, &left, 1)).await {
                            Ok(Written::Done(_)) => counts[0].set(counts[0].get() + 1),
                            Ok(Written::Refused(Refusal::Conflict)) => counts[2].set(counts[2].get() + 1),
                            _ => panic!("no other end is right"),
                        }
                    } else {
                        let writes = vec![add(&table, &left, 1), add(&table, &right, 1)];
                        match world.transact(writes, None).await {
                            Ok(Transacted::Done(_)) => counts[1].set(counts[1].get() + 1),
                            Ok(Transacted::Cancelled(_)) => counts[2].set(counts[2].get() + 1),
                            _ => panic!("no other end is right"),
                        }
                    }
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        let (plain, both) = (counts[0].get(), counts[1].get());
        assert_eq!((value(&world, &table, &left[0]), value(&world, &table, &right[0])), (plain + both, both));
        assert!(plain > 0 && both > 0, "{plain} plain, {both} both, {} refused", counts[2].get());
        world.audit_settled(&table).await;
    });
}

#[test]
fn a_transaction_over_tables_that_changed_is_made_anew() {
    with_world("transact-stale", |world| async move {
        let one = world.make(table("one", None)).await;
        let mut other = table("two", None);
        other.number = TableNumber(2);
        let two = world.make(other.clone()).await;
        world.make(other).await;
        let [left, right] = names(&world, &two, 1);
        for name in [&left[0], &right[0]] {
            let writes = vec![add(&one, name, 1), add(&two, &left[0], 1), add(&two, &right[0], 1)];
            assert!(matches!(world.transact(writes, None).await, Ok(Transacted::Done(_))));
        }
        let two = world.find("two");
        assert_eq!((value(&world, &two, &left[0]), value(&world, &two, &right[0])), (2, 2));
    });
}

#[test]
fn a_hundred_actions_and_items_up_to_4_mb_fit() {
    with_world("transact-large", |world| async move {
        let table = world.make(table("t", None)).await;
        let row = |number: usize, bytes: usize| {
            item(&[("pk", s(&format!("{number}"))), ("v", s(&"x".repeat(bytes)))])
        };
        let writes = (0..100).map(|number| put(&table, row(number, 100))).collect();
        assert!(matches!(world.transact(writes, None).await, Ok(Transacted::Done(_))));
        // Read back at once, the items are too many bytes from 4 MB on.
        for number in 0..12 {
            world.put(&table, row(number, 400_000)).await;
        }
        let keys = |count: usize| -> Vec<Key> {
            (0..count)
                .map(|number| Key::exact(&table, key(&format!("{number}")).as_ref()).expect("a key"))
                .collect()
        };
        let read = |count| world.with_context(|cx| transact_get(cx, &keys(count))).expect("reads");
        assert!(matches!(read(10), Got::Items(items) if items.iter().all(Option::is_some)));
        assert!(matches!(read(12), Got::TooLarge));
        let absent = key("absent");
        assert_eq!(world.get(&table, &absent), None);
        assert_eq!(world.get(&table, &key("99")).expect("there")["pk"], json!({"S": "99"}));
    });
}

#[test]
fn a_transaction_of_4_mb_fits_with_the_images_of_its_stream() {
    with_world("transact-4-mb", |world| async move {
        let mut shape = table("t", None);
        shape.stream = Some(StreamSetting {
            number: 5,
            opened: store::Timestamp(1),
            view: StreamView::NewAndOldImages,
            enabled: true,
        });
        let table = world.make(shape).await;
        let [left, right] = names(&world, &table, 10);
        let mixed: Vec<String> = left[..5].iter().chain(&right[..5]).cloned().collect();
        let mut number = 0;
        // All on one shard, then on both; made, then replaced, so that the old images are there too.
        for names in [&left, &mixed] {
            for _ in 0..2 {
                number += 1;
                let text = format!("{number}").repeat(409_000);
                let row = |name: &String| item(&[("pk", s(name)), ("v", n(number)), ("w", s(&text))]);
                let writes = names.iter().map(|name| put(&table, row(name))).collect();
                match world.transact(writes, None).await {
                    Ok(Transacted::Done(costs)) => assert_eq!(costs.len(), 10),
                    Ok(_) => panic!("nothing is to blame"),
                    Err(fault) => panic!("{fault}"),
                }
                assert!(names.iter().all(|name| value(&world, &table, name) == number));
            }
        }
        world.audit_settled(&table).await;
    });
}

#[test]
fn a_reply_of_several_turns_holds_every_item_in_its_place() {
    with_world("transact-get-turns", |world| async move {
        let table = world.make(table("turns", None)).await;
        let text = |number: usize| format!("{number}-{}", "x".repeat(30_000));
        for number in (0..100).filter(|number| number % 3 > 0) {
            world.put(&table, item(&[("pk", s(&format!("{number}"))), ("v", s(&text(number)))])).await;
        }
        let gets: Vec<_> = (0..100)
            .map(|number| json!({"Get": {"TableName": "turns", "Key": {"pk": {"S": format!("{number}")}}}}))
            .collect();
        let asked = json!({"TransactItems": gets, "ReturnConsumedCapacity": "TOTAL"});
        let reply = world.send("TransactGetItems", &asked).await.ok();
        let responses = reply["Responses"].as_array().expect("an array");
        assert_eq!(responses.len(), 100);
        for (number, response) in responses.iter().enumerate() {
            match number % 3 {
                0 => assert_eq!(response, &json!({})),
                _ => assert_eq!(response["Item"]["v"]["S"], json!(text(number))),
            }
        }
        // Two units for each that is not there, twice eight for the others.
        assert_eq!(reply["ConsumedCapacity"][0]["CapacityUnits"], json!(34.0 * 2.0 + 66.0 * 16.0));
    });
}
