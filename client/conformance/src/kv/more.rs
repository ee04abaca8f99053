//! Partitions, pages, tables, transactions, scans and increments.

use super::{keyed, table, table_of};
use crate::case::{Shown, Wrong, refused};
use crate::subject::Subject;
use cloudkit_core::api::{
    Condition, CreateTableOptions, KeyValueStore, KvQueryOptions, ScanOptions, TransactItem,
};
use serde_json::{Value, json};

pub(super) async fn a_partition_without_sort_key_has_one_item_at_most(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    service.put(&table, "k", &json!({"v": 1})).await?;
    let query = async |key: &str, options| service.query::<Value>(&table, key, options).await;
    same!("one", query("k", KvQueryOptions::default()).await?.items, [keyed("k", json!({"v": 1}))]);
    same!("none", query("l", KvQueryOptions::default()).await?.items, Vec::<Value>::new());
    let filter = Some(Condition::Equals(String::from("v"), json!(2)));
    let options = KvQueryOptions { filter, ..KvQueryOptions::default() };
    same!("filtered", query("k", options).await?.items, Vec::<Value>::new());
    let options = KvQueryOptions { limit: Some(0), ..KvQueryOptions::default() };
    refused("a limit of none", query("k", options).await, "Validation")
}

/// A table of two keys, with items 0 to 11 in the partition `p` and one beside it.
async fn sorted(service: &(impl KeyValueStore + ?Sized), subject: &impl Subject) -> Result<String, Wrong> {
    let table = table_of(service, subject, CreateTableOptions::new().sort_key_name("at")).await?;
    for index in [3, 1, 11, 0, 2, 7, 5, 4, 6, 10, 9, 8] {
        service.put(&table, "p", &json!({"at": format!("{index:02}"), "n": index})).await?;
    }
    service.put(&table, "q", &json!({"at": "00", "n": 99})).await?;
    Ok(table)
}

/// All pages of a query, each within its limit.
async fn pages(
    service: &(impl KeyValueStore + ?Sized),
    table: &str,
    options: KvQueryOptions,
) -> Result<Vec<u64>, Wrong> {
    let (mut numbers, mut options) = (Vec::new(), options);
    loop {
        let page = service.query::<Value>(table, "p", options.clone()).await?;
        if options.limit.is_some_and(|limit| page.items.len() > limit as usize) {
            return Err(crate::case::wrong(format!(
                "{} items on a page of {:?}",
                page.items.len(),
                options.limit
            )));
        }
        numbers.extend(page.items.iter().filter_map(|item| item["n"].as_u64()));
        if numbers.len() > 1_000 {
            return Err(crate::case::wrong("the query has no end"));
        }
        match page.next_token.0 {
            None => return Ok(numbers),
            Some(token) => options.continuation_token = Some(token),
        }
    }
}

pub(super) async fn a_query_gives_the_order_of_the_sort_key(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = sorted(service, subject).await?;
    let page = service.query::<Value>(&table, "p", KvQueryOptions::default()).await?;
    let wanted: Vec<Value> = (0..12).map(|n| keyed("p", json!({"at": format!("{n:02}"), "n": n}))).collect();
    same!("forward", page.items, wanted);
    let backward = KvQueryOptions { scan_forward: false, consistent_read: true, ..KvQueryOptions::default() };
    let page = service.query::<Value>(&table, "p", backward).await?;
    same!("backward", page.items, wanted.into_iter().rev().collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn pages_of_a_query_together_are_the_partition(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = sorted(service, subject).await?;
    for limit in [1, 5, 12, 13] {
        for scan_forward in [true, false] {
            let options = KvQueryOptions { limit: Some(limit), scan_forward, ..KvQueryOptions::default() };
            let mut wanted: Vec<u64> = (0..12).collect();
            if !scan_forward {
                wanted.reverse();
            }
            same!(format!("pages of {limit}"), pages(service, &table, options).await?, wanted);
        }
    }
    Ok(())
}

pub(super) async fn a_filter_is_applied_after_the_limit(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = sorted(service, subject).await?;
    let options = KvQueryOptions {
        filter: Some(Condition::GreaterThan(String::from("n"), json!(6))),
        limit: Some(4),
        ..KvQueryOptions::default()
    };
    let first = service.query::<Value>(&table, "p", options.clone()).await?;
    same!("the first page", (first.items.len(), first.has_more()), (0, true));
    same!("all pages", pages(service, &table, options).await?, [7, 8, 9, 10, 11]);
    for name in ["id", "at", "id.x"] {
        let filter = Condition::Or(vec![Condition::NotExists(String::from(name)), Condition::And(vec![])]);
        let options = KvQueryOptions { filter: Some(filter), ..KvQueryOptions::default() };
        refused(name, service.query::<Value>(&table, "p", options).await, "Validation")?;
    }
    Ok(())
}

pub(super) async fn a_table_is_there_from_its_making_to_its_deletion(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    service.put(&table, "k", &json!({"v": 1})).await?;
    let again = service.create_table(&table, CreateTableOptions::new()).await;
    refused("made again", again, "Conflict")?;
    same!("the item", service.exists(&table, "k").await?, true);
    service.delete_table(&table).await?;
    refused("deleted", service.get::<Value>(&table, "k").await, "NotFound Table")?;
    refused("deleted again", service.delete_table(&table).await, "NotFound Table")?;
    service.create_table(&table, CreateTableOptions::new()).await?;
    same!("a new one", service.get::<Value>(&table, "k").await?, None);
    let nameless = service.create_table("a b", CreateTableOptions::new()).await;
    refused("a name with a space", nameless, "Validation")
}

pub(super) async fn a_key_may_lie_in_any_attribute(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table_of(service, subject, CreateTableOptions::new().key_name("name")).await?;
    service.put(&table, "k", &json!({"id": 7})).await?;
    same!("the item", service.get::<Value>(&table, "k").await?, Some(json!({"id": 7, "name": "k"})));
    refused("another key", service.put(&table, "k", &json!({"name": "l"})).await, "Validation")?;
    let condition = Condition::Equals(String::from("name"), json!("k"));
    same!("by its key", service.delete_with_condition(&table, "k", condition).await?, true);
    Ok(())
}

pub(super) async fn a_transaction_does_all_or_nothing(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let (one, two) = (table(service, subject).await?, table(service, subject).await?);
    service.put(&one, "old", &json!({"v": 1})).await?;
    let absent = || Condition::NotExists(String::from("id"));
    let parts = |condition: Condition| -> Result<Vec<TransactItem>, Wrong> {
        Ok(vec![
            TransactItem::put(&one, "new", &json!({"v": 2}))?.when(absent()),
            TransactItem::delete(&one, "old"),
            TransactItem::put(&two, "new", &json!({"v": 3}))?,
            TransactItem::check(&two, "other", condition),
        ])
    };
    let refusal = service.transact(parts(Condition::Exists(String::from("id")))?).await;
    refused("a check that fails", refusal, "PreconditionFailed")?;
    same!("nothing is done", service.get::<Value>(&one, "new").await?, None);
    same!("nothing is gone", service.exists(&one, "old").await?, true);
    service.transact(parts(absent())?).await?;
    same!("the first", service.get::<Value>(&one, "new").await?, Some(keyed("new", json!({"v": 2}))));
    same!("the second", service.exists(&one, "old").await?, false);
    same!("the third", service.get::<Value>(&two, "new").await?, Some(keyed("new", json!({"v": 3}))));
    refused("again", service.transact(parts(absent())?).await, "PreconditionFailed")
}

pub(super) async fn a_transaction_that_breaks_a_rule_is_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let put = |key: &str| TransactItem::put(&table, key, &json!({"v": 1}));
    refused("twice the same", service.transact(vec![put("k")?, put("k")?]).await, "Validation")?;
    refused("no parts", service.transact(vec![]).await, "Validation")?;
    let many = (0..101).map(|index| put(&index.to_string())).collect::<Result<Vec<_>, _>>()?;
    refused("101 parts", service.transact(many).await, "Validation")?;
    refused("an empty key", service.transact(vec![put("k")?, put("")?]).await, "Validation")?;
    let other = TransactItem::put(&table, "l", &json!({"id": "k"}))?;
    refused("another key", service.transact(vec![put("k")?, other]).await, "Validation")?;
    let none = TransactItem::delete(subject.fresh("none"), "k");
    refused("a missing table", service.transact(vec![put("k")?, none]).await, "NotFound Table")?;
    same!("the item", service.exists(&table, "k").await?, false);
    let all = (0..100).map(|index| put(&index.to_string())).collect::<Result<Vec<_>, _>>()?;
    Ok(service.transact(all).await?)
}

pub(super) async fn a_scan_gives_all_items_once(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let items: Vec<Value> = (0..40).map(|n| json!({"n": n, "text": "x".repeat(1000)})).collect();
    for (index, item) in items.iter().enumerate() {
        service.put(&table, &format!("key {index}"), item).await?;
    }
    let items: Vec<Value> =
        items.into_iter().enumerate().map(|(index, item)| keyed(&format!("key {index}"), item)).collect();
    let scan = async |options: ScanOptions| -> Result<Vec<Value>, Wrong> {
        let mut found = service.scan_stream::<Value>(&table, options).collect(1000).await?;
        found.sort_by_key(|item| item["n"].as_u64());
        Ok(found)
    };
    same!("all", scan(ScanOptions::new().consistent_read()).await?, items);
    same!("by seven", scan(ScanOptions::new().page_items(7)).await?, items);
    let filter = Condition::LessThan(String::from("n"), json!(3));
    same!("filtered", scan(ScanOptions::new().filter(filter).page_items(7)).await?, items[..3]);
    let none = subject.fresh("none");
    let first = service.scan_stream::<Value>(&none, ScanOptions::new()).next().await;
    let Some(Err(failure)) = first else { return Err(crate::case::wrong("a missing table was scanned")) };
    refused("a missing table", Err::<(), _>(failure), "NotFound Table")
}

pub(super) async fn increments_add_up_whoever_makes_them(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let add = async |key: &str, by| service.increment(&table, key, "count", by).await;
    same!("a new item", add("k", 5).await?, 5);
    same!("down", add("k", -7).await?, -2);
    same!("by nothing", add("k", 0).await?, -2);
    let (a, b, c) = tokio::join!(add("k", 1), add("k", 1), add("k", 1));
    let mut sums = [a?, b?, c?];
    sums.sort_unstable();
    same!("three at once", sums, [-1, 0, 1]);
    same!("the item", service.get::<Value>(&table, "k").await?, Some(keyed("k", json!({"count": 1}))));
    same!("the greatest", add("max", i64::MAX).await?, i64::MAX);
    service.put(&table, "text", &json!({"count": "5"})).await?;
    refused("of a text", add("text", 1).await, "Validation")?;
    same!(
        "the text",
        service.get::<Value>(&table, "text").await?,
        Some(keyed("text", json!({"count": "5"})))
    );
    Ok(())
}

pub(super) async fn a_sum_beyond_64_bits_is_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    for (key, end, by) in [("max", i64::MAX, 1), ("min", i64::MIN, -1)] {
        service.put(&table, key, &json!({"n": end})).await?;
        refused(key, service.increment(&table, key, "n", by).await, "Validation")?;
        same!(key, service.get::<Value>(&table, key).await?, Some(keyed(key, json!({"n": end}))));
        same!(key, service.increment(&table, key, "n", -by).await?, end - by);
        refused(key, service.increment(&table, key, "n", i64::MAX.wrapping_mul(by)).await, "Validation")?;
    }
    service.put(&table, "high", &json!({"n": i64::MAX as u64 + 5})).await?;
    refused("4 less", service.increment(&table, "high", "n", -4).await, "Validation")?;
    same!("a number that only a u64 holds", service.increment(&table, "high", "n", -5).await?, i64::MAX);
    for item in [json!({"n": u64::MAX}), json!({"n": null})] {
        service.put(&table, "k", &item).await?;
        let what = item.to_string();
        refused(&what, service.increment(&table, "k", "n", -1).await, "Validation")?;
        same!(what, service.get::<Value>(&table, "k").await?, Some(keyed("k", item)));
    }
    service.put(&table, "k", &json!({"a": {"b": 1}})).await?;
    same!("a literal name", service.increment(&table, "k", "a.b", 5).await?, 5);
    let item = keyed("k", json!({"a": {"b": 1}, "a.b": 5}));
    same!("beside the map", service.get::<Value>(&table, "k").await?, Some(item));
    Ok(())
}

pub(super) async fn items_of_two_keys_hold_both(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table_of(service, subject, CreateTableOptions::new().sort_key_name("at")).await?;
    service.put(&table, "p", &json!({"id": "p", "at": "1", "v": 1})).await?;
    let page = service.query::<Value>(&table, "p", KvQueryOptions::default()).await?;
    same!("both", page.items, [json!({"id": "p", "at": "1", "v": 1})]);
    for item in [json!({"id": "q", "at": "1"}), json!({"v": 1}), json!({"at": 1}), json!({"at": ""})] {
        refused(&item.to_string(), service.put(&table, "p", &item).await, "Validation")?;
    }
    let (one, two) = (json!({"at": "2", "v": 2}), json!({"at": "2", "v": 3}));
    service.batch_write(&table, &[("p", &one), ("q", &one), ("p", &two)]).await?;
    let page = service.query::<Value>(&table, "p", KvQueryOptions::default()).await?;
    let values: Vec<u64> = page.items.iter().filter_map(|item| item["v"].as_u64()).collect();
    same!("of one place the last", values, [1, 3]);
    let third = json!({"at": "3", "v": 4});
    service.batch_write(&table, &[("r", &one), ("r", &third)]).await?;
    let page = service.query::<Value>(&table, "r", KvQueryOptions::default()).await?;
    let values: Vec<u64> = page.items.iter().filter_map(|item| item["v"].as_u64()).collect();
    same!("of two places both", values, [2, 4]);
    Ok(())
}
