//! Items: what is put, read, changed and deleted by key.

use super::{keyed, table};
use crate::case::{Shown, refused};
use crate::subject::Subject;
use cloudkit_core::api::{Condition, KeyValueStore, KvGetOptions, KvPutOptions, KvQueryOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;

pub(super) async fn what_was_put_comes_back_with_its_key(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let item = json!({"name": "Ada", "age": 36});
    service.put(&table, "k", &item).await?;
    let item = keyed("k", item);
    same!("get", service.get::<Value>(&table, "k").await?, Some(item.clone()));
    same!("exists", service.exists(&table, "k").await?, true);
    let options = KvGetOptions { consistent_read: true, ..KvGetOptions::default() };
    same!("consistently", service.get_with_options::<Value>(&table, "k", options).await?, Some(item.clone()));
    let page = service.query::<Value>(&table, "k", KvQueryOptions::default()).await?;
    same!("query", page.items, vec![item.clone()]);
    same!("batch_get", service.batch_get::<Value>(&table, &["k"]).await?, [item]);
    service.put(&table, "bare", &json!({})).await?;
    same!("an item of nothing", service.get::<Value>(&table, "bare").await?, Some(json!({"id": "bare"})));
    Ok(())
}

/// A program's type, with the key or without it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct With {
    id: String,
    v: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Without {
    v: u32,
}

pub(super) async fn a_key_of_its_own_is_the_key_or_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let with = |id: &str, v| With { id: id.to_owned(), v };
    service.put(&table, "k", &with("k", 1)).await?;
    same!("with it", service.get::<With>(&table, "k").await?, Some(with("k", 1)));
    same!("without it", service.get::<Without>(&table, "k").await?, Some(Without { v: 1 }));
    service.put(&table, "l", &Without { v: 2 }).await?;
    same!("added", service.get::<With>(&table, "l").await?, Some(with("l", 2)));
    for other in [json!({"id": "other"}), json!({"id": 7}), json!({"id": null}), json!({"id": ["k"]})] {
        let what = other.to_string();
        let put = service.put(&table, "k", &other).await;
        let hint = put.as_ref().err().and_then(cloudkit_core::common::CloudError::hint);
        refused(&what, put, "Validation")?;
        holds!(what, hint.is_some_and(|hint| hint.contains("key_name")));
        let options = KvPutOptions { return_old: true, ..KvPutOptions::default() };
        refused(&what, service.put_with_options(&table, "k", &other, options).await, "Validation")?;
        refused(&what, service.batch_write(&table, &[("m", &json!({})), ("k", &other)]).await, "Validation")?;
    }
    same!("the item", service.get::<With>(&table, "k").await?, Some(with("k", 1)));
    Ok(())
}

pub(super) async fn a_put_replaces_the_whole_item(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    service.put(&table, "k", &json!({"a": 1, "b": 2})).await?;
    service.put(&table, "k", &json!({"b": 3})).await?;
    same!("the item", service.get::<Value>(&table, "k").await?, Some(keyed("k", json!({"b": 3}))));
    Ok(())
}

pub(super) async fn a_missing_item_is_none(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    same!("get", service.get::<Value>(&table, "k").await?, None);
    same!("exists", service.exists(&table, "k").await?, false);
    let options = KvGetOptions { projection: Some(vec![String::from("a")]), ..KvGetOptions::default() };
    same!("a part", service.get_with_options::<Value>(&table, "k", options).await?, None);
    same!("batch_get", service.batch_get::<Value>(&table, &["k", "l"]).await?, Vec::<Value>::new());
    Ok(())
}

pub(super) async fn whatever_is_asked_of_a_missing_table_is_not_found(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let none = subject.fresh("none");
    let (wanted, item) = ("NotFound Table", json!({"a": 1}));
    let condition = || Condition::Exists(String::from("a"));
    refused("get", service.get::<Value>(&none, "k").await, wanted)?;
    let get = service.get_with_options::<Value>(&none, "k", KvGetOptions::default()).await;
    refused("get_with_options", get, wanted)?;
    refused("put", service.put(&none, "k", &item).await, wanted)?;
    let put = service.put_with_options(&none, "k", &item, KvPutOptions::default()).await;
    refused("put_with_options", put, wanted)?;
    refused("delete", service.delete(&none, "k").await, wanted)?;
    refused("delete_with_condition", service.delete_with_condition(&none, "k", condition()).await, wanted)?;
    refused("exists", service.exists(&none, "k").await, wanted)?;
    refused(
        "update",
        service.update(&none, "k", HashMap::from([(String::from("a"), json!(1))])).await,
        wanted,
    )?;
    refused("query", service.query::<Value>(&none, "k", KvQueryOptions::default()).await, wanted)?;
    refused("batch_get", service.batch_get::<Value>(&none, &["k"]).await, wanted)?;
    refused("batch_write", service.batch_write(&none, &[("k", &item)]).await, wanted)
}

pub(super) async fn odd_keys_name_their_items(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let long = "k".repeat(2048);
    let keys = [" ", "a b", "+%/?#&=", "..", "é", "e\u{301}", "日本語🦀", "\0", "\"", "#id", ":v", &long];
    for (index, key) in keys.iter().enumerate() {
        service.put(&table, key, &json!({"n": index})).await?;
    }
    for (index, key) in keys.iter().enumerate() {
        same!(key, service.get::<Value>(&table, key).await?, Some(keyed(key, json!({"n": index}))));
    }
    same!("all", service.batch_get::<Value>(&table, &keys).await?.len(), keys.len());
    for key in keys {
        service.delete(&table, key).await?;
        same!(key, service.exists(&table, key).await?, false);
    }
    Ok(())
}

pub(super) async fn keys_that_no_item_may_have_are_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let item = json!({"a": 1});
    for key in [String::new(), "k".repeat(2049)] {
        let what = format!("a key of {} bytes", key.len());
        refused(&what, service.put(&table, &key, &item).await, "Validation")?;
        refused(&what, service.get::<Value>(&table, &key).await, "Validation")?;
        refused(&what, service.delete(&table, &key).await, "Validation")?;
        refused(&what, service.batch_write(&table, &[(key.as_str(), &item)]).await, "Validation")?;
        let query = service.query::<Value>(&table, &key, KvQueryOptions::default()).await;
        refused(&what, query, "Validation")?;
    }
    for name in ["", "ab", "with space", "ü-table"] {
        refused(name, service.get::<Value>(name, "k").await, "Validation")?;
    }
    Ok(())
}

pub(super) async fn an_item_is_a_json_object(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    for item in [json!(null), json!(1), json!("text"), json!([{"a": 1}])] {
        refused(&item.to_string(), service.put(&table, "k", &item).await, "Validation")?;
    }
    same!("the item", service.exists(&table, "k").await?, false);
    Ok(())
}

pub(super) async fn a_projection_gives_what_it_names(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    // Names that are words of the expression language, too.
    let item = json!({"a": 1, "name": {"first": "x", "last": "y"}, "list": [1, 2, 3], "size": null});
    service.put(&table, "k", &item).await?;
    for (paths, part) in [
        (vec!["a"], json!({"a": 1})),
        (vec!["size", "name.last"], json!({"size": null, "name": {"last": "y"}})),
        (vec!["list[0]", "list[2]"], json!({"list": [1, 3]})),
        (vec!["none"], json!({})),
    ] {
        let projection = Some(paths.iter().map(|path| String::from(*path)).collect());
        let options = KvGetOptions { projection, ..KvGetOptions::default() };
        same!(format!("{paths:?}"), service.get_with_options(&table, "k", options).await?, Some(part));
    }
    Ok(())
}

pub(super) async fn deleting_what_is_not_there_is_a_success(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    service.delete(&table, "k").await?;
    service.put(&table, "k", &json!({"a": 1})).await?;
    service.delete(&table, "k").await?;
    service.delete(&table, "k").await?;
    same!("the item", service.get::<Value>(&table, "k").await?, None);
    Ok(())
}

pub(super) async fn an_update_changes_what_it_names_and_makes_what_is_missing(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let update = async |name: &str, value: Value| {
        service.update(&table, "k", HashMap::from([(name.to_owned(), value)])).await
    };
    update("a", json!(1)).await?;
    same!("a new item", service.get::<Value>(&table, "k").await?, Some(keyed("k", json!({"a": 1}))));
    update("status", json!({"x": [null]})).await?;
    update("a", json!("text")).await?;
    let expected = keyed("k", json!({"a": "text", "status": {"x": [null]}}));
    same!("the item", service.get::<Value>(&table, "k").await?, Some(expected));
    refused("the key", update("id", json!("other")).await, "Validation")?;
    refused("its own key", update("id", json!("k")).await, "Validation")
}

pub(super) async fn batches_above_any_request_are_read_and_written(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let keys: Vec<String> = (0..230).map(|index| format!("key {index}")).collect();
    let items: Vec<Value> = (0..230).map(|index| json!({"n": index})).collect();
    let pairs: Vec<(&str, &Value)> = keys.iter().map(String::as_str).zip(&items).collect();
    service.batch_write(&table, &pairs).await?;
    let wanted: Vec<&str> = keys.iter().map(String::as_str).chain(["none"]).collect();
    let mut read = service.batch_get::<Value>(&table, &wanted).await?;
    read.sort_by_key(|item| item["n"].as_u64());
    let items: Vec<Value> = keys.iter().zip(items).map(|(key, item)| keyed(key, item)).collect();
    same!("the items", read, items);
    let none: [(&str, &Value); 0] = [];
    service.batch_write(&table, &none).await?;
    same!("of no keys", service.batch_get::<Value>(&table, &[]).await?.len(), 0);
    Ok(())
}

pub(super) async fn a_key_named_twice_in_a_batch_is_one_item(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    // Above any request, so that both places of a key may lie in two.
    let numbers: Vec<Value> = (0..150).map(|index| json!({"n": index})).collect();
    let keys: Vec<String> = (0..150).map(|index| format!("key {}", index % 70)).collect();
    let pairs: Vec<(&str, &Value)> = keys.iter().map(String::as_str).zip(&numbers).collect();
    service.batch_write(&table, &pairs).await?;
    let wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut read = service.batch_get::<Value>(&table, &wanted).await?;
    read.sort_by_key(|item| item["n"].as_u64());
    let last: Vec<Value> = (80..150).map(|index| keyed(&keys[index], json!({"n": index}))).collect();
    same!("each once, the last of each", read, last);
    Ok(())
}

pub(super) async fn names_in_an_update_are_literal(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    service.put(&table, "k", &json!({"a": {"b": 1}, "l": [1, 2]})).await?;
    let names = ["a.b", "l[0]", "#n", ":v", "with space", "é"];
    let updates = names.iter().enumerate().map(|(index, name)| (String::from(*name), json!(index)));
    service.update(&table, "k", updates.collect()).await?;
    let expected = json!({
        "id": "k", "a": {"b": 1}, "l": [1, 2], "a.b": 0, "l[0]": 1, "#n": 2, ":v": 3, "with space": 4, "é": 5,
    });
    same!("the item", service.get::<Value>(&table, "k").await?, Some(expected));
    Ok(())
}
