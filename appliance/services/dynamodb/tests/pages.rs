//! Pages of Query and Scan over every source: in order, complete, each item once, whatever the page's size.

mod driver;

use std::sync::Arc;

use driver::direct::{Items, attribute, condition, index, item, key_test, n, request, s, shown, table};
use driver::{World, with_world};
use dynamodb::engine::page::{PageError, Show};
use dynamodb::engine::range::{Range, StartError};
use dynamodb::expression::SortTest;
use dynamodb::model::table::{KeyType, Projected, Table};
use dynamodb::value::{Item, Value};
use serde_json::Value as Json;

/// 60 items: 3 partition keys, 20 sort keys each; indexes with many equal keys.
async fn filled(world: &World) -> Arc<Table> {
    let mut shape = table("t", Some(KeyType::N));
    let (g, h, y) = (attribute("g", KeyType::S), attribute("h", KeyType::N), attribute("y", KeyType::S));
    let pk = shape.key.hash.clone();
    shape.locals = vec![index(1, &[pk], std::slice::from_ref(&h), Projected::All)];
    shape.globals = vec![
        index(2, std::slice::from_ref(&g), std::slice::from_ref(&h), Projected::KeysOnly),
        index(3, std::slice::from_ref(&g), &[], Projected::All),
        index(4, &[g], &[h, y], Projected::Include(vec!["v".into()])),
    ];
    let table = world.make(shape).await;
    for number in 0..60_i64 {
        world.put(&table, row(number)).await;
    }
    // Deleted ones among them must not show, nor end a page.
    for number in 60..90_i64 {
        let deleted = row(number);
        world.put(&table, deleted.clone()).await;
        let key = item(&[("pk", own(&deleted, "pk")), ("sk", own(&deleted, "sk"))]);
        let write = driver::direct::act(&table, &key, dynamodb::engine::item_write::Action::Delete);
        world.write(write).await.expect("no fault");
    }
    table
}

fn own(item: &Item, name: &str) -> Value {
    Value::from_ref(item.as_ref().get(name).expect("has it"))
}

fn row(number: i64) -> Item {
    let mut attributes = vec![
        ("pk", s(["a", "b", "c"][(number % 3) as usize])),
        ("sk", n(number / 3 - 10)),
        ("v", n(number)),
        ("y", s(&"y".repeat(1 + (number % 11) as usize))),
    ];
    // Every fifth is in no global index, every seventh in none with `h`.
    if number % 5 > 0 {
        attributes.push(("g", s("g")));
    }
    if number % 7 > 0 {
        attributes.push(("h", n(number % 4 - 2)));
    }
    item(&attributes)
}

fn number_of(item: &Json, name: &str) -> i64 {
    item[name]["N"].as_str().expect("a number").parse().expect("a whole number")
}

/// Reads pages to the end and sees that each but the last has `limit` items.
async fn all_pages(
    world: &World,
    make: &dyn Fn() -> dynamodb::engine::page::PageRequest,
    limit: Option<u32>,
) -> Vec<Json> {
    let (mut all, mut start): (Vec<Json>, Option<Item>) = (Vec::new(), None);
    loop {
        let mut request = make();
        request.limit = limit;
        request.start = start;
        let (items, last): Items = world.items(request).await;
        if last.is_some() {
            assert_eq!(Some(items.len() as u32), limit);
        }
        all.extend(items);
        match last {
            Some(last) => start = Some(last),
            None => return all,
        }
    }
}

/// Sees that pages of every size, in both directions, are the whole of what is asked for.
async fn sees_all(world: &World, make: &dyn Fn() -> dynamodb::engine::page::PageRequest) -> Vec<Json> {
    let whole = all_pages(world, make, None).await;
    for limit in 1..=whole.len() as u32 + 1 {
        assert_eq!(all_pages(world, make, Some(limit)).await, whole, "limit {limit}");
    }
    if matches!(make().range, Range::Query(_)) {
        let backward = || dynamodb::engine::page::PageRequest { forward: false, ..make() };
        let mut reversed = whole.clone();
        reversed.reverse();
        for limit in [None, Some(1), Some(2), Some(7), Some(whole.len() as u32)] {
            assert_eq!(all_pages(world, &backward, limit).await, reversed, "backward, limit {limit:?}");
        }
    }
    whole
}

fn query(test: dynamodb::expression::KeyTest) -> Range {
    Range::Query(test)
}

#[test]
fn a_query_of_a_table_shows_a_partition_in_the_order_of_its_sort_key() {
    with_world("pages-base", |world| async move {
        let table = filled(&world).await;
        let make = || request(&table, None, query(key_test(&[s("b")], SortTest::Any)));
        let found = sees_all(&world, &make).await;
        let sorts: Vec<i64> = found.iter().map(|item| number_of(item, "sk")).collect();
        assert_eq!(sorts, (-10..10).collect::<Vec<_>>());
        assert!(found.iter().all(|item| item["pk"]["S"] == "b"));
    });
}

#[test]
fn each_test_of_a_sort_key_admits_what_it_says() {
    with_world("pages-sort-tests", |world| async move {
        let table = filled(&world).await;
        // The base table (the end of a key), and a local index (the middle of one).
        for (number, name, partition) in [(None, "sk", "a"), (Some(1), "h", "a")] {
            let all = request(&table, number, query(key_test(&[s(partition)], SortTest::Any)));
            let all: Vec<i64> = world.items(all).await.0.iter().map(|item| number_of(item, name)).collect();
            for at in -12..12_i64 {
                type Admits = Box<dyn Fn(i64) -> bool>;
                let tests: Vec<(SortTest, Admits)> = vec![
                    (SortTest::Equal(n(at)), Box::new(move |sort| sort == at)),
                    (SortTest::Less(n(at)), Box::new(move |sort| sort < at)),
                    (SortTest::LessOrEqual(n(at)), Box::new(move |sort| sort <= at)),
                    (SortTest::Greater(n(at)), Box::new(move |sort| sort > at)),
                    (SortTest::GreaterOrEqual(n(at)), Box::new(move |sort| sort >= at)),
                    (
                        SortTest::Between(n(at), n(at + 3)),
                        Box::new(move |sort| (at..=at + 3).contains(&sort)),
                    ),
                ];
                for (test, admits) in tests {
                    for forward in [true, false] {
                        let range = query(key_test(&[s(partition)], test.clone()));
                        let mut wanted = request(&table, number, range);
                        wanted.forward = forward;
                        let found = world.items(wanted).await.0;
                        let found: Vec<i64> = found.iter().map(|item| number_of(item, name)).collect();
                        let mut expected: Vec<i64> =
                            all.iter().copied().filter(|sort| admits(*sort)).collect();
                        if !forward {
                            expected.reverse();
                        }
                        assert_eq!(found, expected, "{name} at {at}");
                    }
                }
            }
        }
    });
}

#[test]
fn strings_and_binaries_are_found_by_what_they_begin_with() {
    with_world("pages-begins", |world| async move {
        let mut shape = table("t", Some(KeyType::B));
        let (g, y) = (attribute("g", KeyType::S), attribute("y", KeyType::B));
        shape.globals = vec![index(1, &[g], &[y], Projected::All)];
        let table = world.make(shape).await;
        let mut sorts: Vec<Vec<u8>> =
            vec![vec![0xff], vec![0xff, 0xff], vec![0xfe, 0xff], vec![0xff, 0], vec![0]];
        sorts.extend((0..20).map(|length| vec![7; length + 1]));
        sorts.extend((0..20).map(|length| [vec![7; length + 1], vec![0]].concat()));
        sorts.sort();
        sorts.dedup();
        for sort in &sorts {
            let binary = Value::b(sort);
            world
                .put(&table, item(&[("pk", s("a")), ("sk", binary.clone()), ("g", s("g")), ("y", binary)]))
                .await;
        }
        for prefix in sorts.iter().filter(|sort| sort.len() < 19) {
            let test = SortTest::BeginsWith(Value::b(prefix));
            let expected = sorts.iter().filter(|sort| sort.starts_with(prefix)).count();
            for (number, partition) in [(None, "a"), (Some(1), "g")] {
                let wanted = request(&table, number, query(key_test(&[s(partition)], test.clone())));
                let found = world.items(wanted).await.0;
                assert_eq!(found.len(), expected, "{prefix:?} in {number:?}");
            }
        }
    });
}

#[test]
fn a_query_of_an_index_shows_its_entries_in_the_order_of_its_sort_key() {
    with_world("pages-index", |world| async move {
        let table = filled(&world).await;
        let numbers = |keep: &dyn Fn(i64) -> bool| (0..60).filter(|number| keep(*number)).count();
        let cases: [(u16, &str, usize); 4] = [
            (1, "a", numbers(&|number| number % 3 == 0 && number % 7 > 0)),
            (2, "g", numbers(&|number| number % 5 > 0 && number % 7 > 0)),
            (3, "g", numbers(&|number| number % 5 > 0)),
            (4, "g", numbers(&|number| number % 5 > 0 && number % 7 > 0)),
        ];
        for (number, partition, count) in cases {
            let make = || request(&table, Some(number), query(key_test(&[s(partition)], SortTest::Any)));
            let found = sees_all(&world, &make).await;
            assert_eq!(found.len(), count, "index {number}");
            if number != 3 {
                let sorts: Vec<i64> = found.iter().map(|item| number_of(item, "h")).collect();
                assert!(sorts.is_sorted(), "index {number}: {sorts:?}");
            }
            if number == 4 {
                let sorts: Vec<_> =
                    found.iter().map(|item| (number_of(item, "h"), item["y"]["S"].to_string())).collect();
                assert!(sorts.is_sorted(), "index {number}: {sorts:?}");
            }
        }
    });
}

#[test]
fn a_multi_part_sort_key_is_tested_behind_its_equal_parts() {
    with_world("pages-parts", |world| async move {
        let table = filled(&world).await;
        let mut test = key_test(&[s("g")], SortTest::GreaterOrEqual(s("yyyyyy")));
        test.prefix = vec![n(1)];
        let make = || request(&table, Some(4), query(test.clone()));
        let found = sees_all(&world, &make).await;
        let expected = (0..60)
            .filter(|number| number % 5 > 0 && number % 7 > 0 && number % 4 == 3 && number % 11 >= 5)
            .count();
        assert!(expected > 0);
        assert_eq!(found.len(), expected);
        assert!(found.iter().all(|item| number_of(item, "h") == 1));
    });
}

#[test]
fn scans_show_everything_once_in_segments_too() {
    with_world("pages-scan", |world| async move {
        let table = filled(&world).await;
        let expected = |keep: &dyn Fn(i64) -> bool| {
            let rows = (0..60).filter(|number| keep(*number)).map(|number| shown(&row(number)).to_string());
            let mut rows: Vec<String> = rows.collect();
            rows.sort();
            rows
        };
        let sorted = |found: Vec<Json>| {
            let mut rows: Vec<String> = found.iter().map(Json::to_string).collect();
            rows.sort();
            rows
        };
        let in_h = |number: i64| number % 7 > 0;
        let in_g = |number: i64| number % 5 > 0;
        let sources: [(Option<u16>, Vec<String>); 3] =
            [(None, expected(&|_| true)), (Some(1), expected(&in_h)), (Some(3), expected(&in_g))];
        for (number, expected) in &sources {
            let make = || request(&table, *number, Range::Scan { segment: None });
            assert_eq!(&sorted(sees_all(&world, &make).await), expected, "source {number:?}");
            for count in [1, 2, 3, 10] {
                let mut found = Vec::new();
                for segment in 0..count {
                    let range = || Range::Scan { segment: Some((segment, count)) };
                    let make = || request(&table, *number, range());
                    found.extend(all_pages(&world, &make, Some(4)).await);
                }
                assert_eq!(&sorted(found), expected, "source {number:?} in {count} segments");
            }
        }
    });
}

#[test]
fn filters_see_what_is_read_and_limits_count_it() {
    with_world("pages-filter", |world| async move {
        let table = filled(&world).await;
        let mut wanted = request(&table, None, query(key_test(&[s("a")], SortTest::Any)));
        wanted.filter = Some(condition("v < :ten", &[(":ten", n(10))]));
        wanted.limit = Some(10);
        let page = world.page(wanted).await.expect("a page");
        assert_eq!((page.count, page.scanned), (4, 10));
        assert!(page.last.is_some());
        // A global index shows its filters what it projects.
        let mut wanted = request(&table, Some(2), query(key_test(&[s("g")], SortTest::Any)));
        wanted.filter = Some(condition("attribute_exists(v)", &[]));
        let page = world.page(wanted).await.expect("a page");
        assert_eq!(page.count, 0);
        assert!(page.scanned > 0);
        // Counting shows nothing.
        let mut wanted = request(&table, None, Range::Scan { segment: None });
        wanted.show = Show::Count;
        let mut page = world.page(wanted).await.expect("a page");
        page.items.end_array();
        assert_eq!((page.count, page.items.into_bytes()), (60, b"[]".to_vec()));
    });
}

#[test]
fn a_page_ends_behind_the_item_with_which_1_mb_is_reached() {
    with_world("pages-large", |world| async move {
        let table = world.make(table("t", Some(KeyType::N))).await;
        let large = "x".repeat(100_000);
        for number in 0..25 {
            world.put(&table, item(&[("pk", s("a")), ("sk", n(number)), ("v", s(&large))])).await;
        }
        let make = || request(&table, None, query(key_test(&[s("a")], SortTest::Any)));
        let page = world.page(make()).await.expect("a page");
        assert_eq!(page.scanned, 11);
        assert!(page.bytes >= 1 << 20);
        let mut counts = Vec::new();
        let mut start = None;
        loop {
            let page =
                world.page(dynamodb::engine::page::PageRequest { start, ..make() }).await.expect("a page");
            counts.push(page.scanned);
            start = page.last;
            if start.is_none() {
                break;
            }
        }
        assert_eq!(counts, [11, 11, 3]);
    });
}

#[test]
fn walks_of_many_turns_lose_nothing_behind_deleted_keys() {
    with_world("pages-many", |world| async move {
        let mut shape = table("t", Some(KeyType::N));
        shape.globals =
            vec![index(1, &[attribute("g", KeyType::S)], &[attribute("h", KeyType::N)], Projected::All)];
        let table = world.make(shape).await;
        let pk = |number: i64| s(&format!("p{}", number % 10));
        let row =
            |number: i64| item(&[("pk", pk(number)), ("sk", n(number)), ("g", s("g")), ("h", n(number / 3))]);
        for first in (0..1_500).step_by(25) {
            let writes = (first..first + 25).map(|number| driver::direct::put(&table, row(number))).collect();
            assert_eq!(world.batch(writes).await.len(), 25);
        }
        // A run of deleted keys that is longer than a turn.
        for number in (300..1_200).filter(|number| number % 100 > 0) {
            let key = item(&[("pk", pk(number)), ("sk", n(number))]);
            let write = driver::direct::act(&table, &key, dynamodb::engine::item_write::Action::Delete);
            world.write(write).await.expect("no fault");
        }
        let left =
            (0..1_500_i64).filter(|number| !(300..1_200).contains(number) || number % 100 == 0).count();
        for number in [None, Some(1)] {
            let make = || request(&table, number, Range::Scan { segment: None });
            assert_eq!(all_pages(&world, &make, None).await.len(), left);
        }
        for forward in [true, false] {
            let make = || {
                let mut wanted = request(&table, Some(1), query(key_test(&[s("g")], SortTest::Any)));
                wanted.forward = forward;
                wanted
            };
            let found = all_pages(&world, &make, None).await;
            assert_eq!(found.len(), left);
            let mut sorts: Vec<i64> = found.iter().map(|item| number_of(item, "h")).collect();
            if !forward {
                sorts.reverse();
            }
            assert!(sorts.is_sorted());
            assert_eq!(all_pages(&world, &make, Some(100)).await, found);
        }
    });
}

#[test]
fn a_start_key_must_be_one_of_the_range() {
    with_world("pages-start", |world| async move {
        let table = filled(&world).await;
        let refusal = |page: Result<_, PageError>| match page {
            Err(PageError::Start(error)) => error,
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("a page"),
        };
        let start = |pk: &str, sk: i64| item(&[("pk", s(pk)), ("sk", n(sk))]);
        let less = || query(key_test(&[s("a")], SortTest::Less(n(5))));
        let cases = [
            (None, less(), item(&[("pk", s("a"))]), StartError::Size),
            (None, less(), item(&[("pk", s("a")), ("sk", s("x"))]), StartError::NoMatch),
            (None, less(), item(&[("pk", s("a")), ("other", n(1))]), StartError::NoMatch),
            (None, less(), start("b", 1), StartError::OutsideQuery),
            (None, less(), start("a", 5), StartError::OutsideSort),
            (Some(2), query(key_test(&[s("g")], SortTest::Any)), start("a", 5), StartError::Size),
        ];
        for (number, range, start, expected) in cases {
            let mut wanted = request(&table, number, range);
            wanted.start = Some(start);
            assert_eq!(refusal(world.page(wanted).await), expected);
        }
        // A key that is not there is as good as any.
        let mut wanted = request(&table, None, query(key_test(&[s("a")], SortTest::Any)));
        wanted.start = Some(item(&[("pk", s("a")), ("sk", n(3))]));
        assert_eq!(number_of(&world.items(wanted).await.0[0], "sk"), 4);
        let outside = (0..2).filter(|segment| {
            let mut wanted = request(&table, None, Range::Scan { segment: Some((*segment, 2)) });
            wanted.start = Some(start("a", 1));
            let begun = world.with_context(|cx| {
                let mut walk =
                    dynamodb::engine::range::walk(cx, &table, None, &wanted.range, true).expect("a walk");
                let start = wanted.start.as_ref().expect("given").as_ref();
                dynamodb::engine::range::start_behind(cx, &table, None, &wanted.range, start, &mut walk)
            });
            begun == Err(StartError::OutsideSegment(*segment, 2))
        });
        assert_eq!(outside.count(), 1);
    });
}
