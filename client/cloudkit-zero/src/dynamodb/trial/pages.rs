//! Pages of partitions and of tables.

use super::started;
use cloudkit_core::api::{
    Condition, CreateTableOptions, KeyValueStore, KvPutOptions, KvQueryOptions, ScanOptions,
};
use cloudkit_core::common::CloudError;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_partition_is_read_in_order_page_by_page() {
    let (_appliance, db) = started("kv-query").await;
    db.create_table("log", CreateTableOptions::new().sort_key_name("at")).await.unwrap();
    let values: Vec<Value> =
        (0..40).map(|index| json!({"id": "p", "at": format!("{index:03}"), "n": index})).collect();
    let items: Vec<(&str, &Value)> = values.iter().map(|value| ("p", value)).collect();
    for (key, value) in &items {
        db.put("log", key, value).await.unwrap();
    }
    db.put("log", "q", &json!({"at": "000"})).await.unwrap();
    let all = db.query::<Value>("log", "p", KvQueryOptions::default()).await.unwrap();
    assert_eq!((all.items, all.next_token.0), (values.clone(), None));
    for scan_forward in [true, false] {
        let mut options =
            KvQueryOptions { limit: Some(7), scan_forward, consistent_read: true, ..Default::default() };
        let mut found = Vec::new();
        loop {
            let page = db.query::<Value>("log", "p", options.clone()).await.unwrap();
            assert!(page.items.len() <= 7);
            found.extend(page.items);
            options.continuation_token = page.next_token.0;
            if options.continuation_token.is_none() {
                break;
            }
        }
        if !scan_forward {
            found.reverse();
        }
        assert_eq!(found, values);
    }
    let filter = |condition| KvQueryOptions { filter: Some(condition), ..Default::default() };
    let some = db
        .query::<Value>("log", "p", filter(Condition::In("n".into(), vec![json!(3), json!(39)])))
        .await
        .unwrap();
    assert_eq!(some.items, [values[3].clone(), values[39].clone()]);
    assert_eq!(db.query::<Value>("log", "p", filter(Condition::And(vec![]))).await.unwrap().items.len(), 40);
    assert!(db.query::<Value>("log", "p", filter(Condition::Or(vec![]))).await.unwrap().items.is_empty());
    // The limit counts before the filter.
    let none = KvQueryOptions { limit: Some(3), ..filter(Condition::Equals("n".into(), json!(39))) };
    let page = db.query::<Value>("log", "p", none).await.unwrap();
    assert!(page.items.is_empty() && page.has_more());
    assert!(db.query::<Value>("log", "nobody", KvQueryOptions::default()).await.unwrap().items.is_empty());
    // What a key alone does not name.
    for error in [
        db.get::<Value>("log", "p").await.map(|_| ()).unwrap_err(),
        db.put("log", "p", &json!({"n": 1})).await.unwrap_err(),
        db.put("log", "p", &json!({"at": 1})).await.unwrap_err(),
        db.query::<Value>("log", "p", filter(Condition::Exists("at".into()))).await.map(|_| ()).unwrap_err(),
        db.query::<Value>("log", "", KvQueryOptions::default()).await.map(|_| ()).unwrap_err(),
        db.query::<Value>("log", "p", KvQueryOptions { limit: Some(0), ..Default::default() })
            .await
            .map(|_| ())
            .unwrap_err(),
    ] {
        assert!(matches!(error, CloudError::Validation(_)), "{error}");
    }
    let keep = KvPutOptions { condition: Some(Condition::NotExists("id".into())), return_old: false };
    let error = db.put_with_options("log", "p", &values[0], keep).await.unwrap_err();
    assert!(error.is_precondition_failed(), "{error}");
    // Two items of one partition are two, in one batch too.
    let (one, two) = (json!({"at": "x", "n": 1}), json!({"at": "y", "n": 2}));
    db.batch_write("log", &[("r", &one), ("r", &two), ("r", &one)]).await.unwrap();
    assert_eq!(db.query::<Value>("log", "r", KvQueryOptions::default()).await.unwrap().items.len(), 2);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_foreign_token_is_a_validation() {
    let (_appliance, db) = started("kv-tokens").await;
    db.create_table("log", CreateTableOptions::new().sort_key_name("at")).await.unwrap();
    for index in 0..5 {
        db.put("log", "p", &json!({"at": index.to_string()})).await.unwrap();
    }
    let options = |token: Option<String>| KvQueryOptions {
        limit: Some(2),
        continuation_token: token,
        ..Default::default()
    };
    let token =
        db.query::<Value>("log", "p", options(None)).await.unwrap().next_token.0.expect("there is more");
    let other = db.query::<Value>("log", "q", options(Some(token.clone()))).await.unwrap_err();
    assert!(matches!(other, CloudError::Validation(_)), "{other}");
    for token in ["", "x", "1e30", &token[..token.len() - 4]] {
        let error = db.query::<Value>("log", "p", options(Some(token.into()))).await.unwrap_err();
        assert!(matches!(error, CloudError::Validation(_)), "{token}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_partition_of_a_simple_table_is_one_item() {
    let (_appliance, db) = super::with_table("kv-single").await;
    db.put("things", "k", &json!({"a": 1})).await.unwrap();
    let page = db.query::<Value>("things", "k", KvQueryOptions::default()).await.unwrap();
    assert_eq!((page.items, page.next_token.0), (vec![json!({"a": 1, "id": "k"})], None));
    assert!(db.query::<Value>("things", "none", KvQueryOptions::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_table_streams_each_of_its_items_once() {
    let (_appliance, db) = super::with_table("kv-scan").await;
    let values: Vec<Value> = (0..250).map(|index| json!({"n": index})).collect();
    let keys: Vec<String> = (0..250).map(|index| format!("k{index}")).collect();
    let items: Vec<(&str, &Value)> = keys.iter().map(String::as_str).zip(&values).collect();
    db.batch_write("things", &items).await.unwrap();
    for page_items in [None, Some(1), Some(33), Some(1000)] {
        let mut options = ScanOptions::new().consistent_read();
        options.page_items = page_items;
        let found = db.scan_stream::<Value>("things", options).collect(1000).await.unwrap();
        assert_eq!(found.len(), 250, "{page_items:?}");
        let distinct: BTreeSet<u64> = found.iter().filter_map(|item| item["n"].as_u64()).collect();
        assert_eq!(distinct.len(), 250);
    }
    let options = ScanOptions::new().filter(Condition::LessThan("n".into(), json!(10))).page_items(50);
    assert_eq!(db.scan_stream::<Value>("things", options).collect(1000).await.unwrap().len(), 10);
    let never = ScanOptions::new().filter(Condition::Or(vec![]));
    assert!(db.scan_stream::<Value>("things", never).collect(1000).await.unwrap().is_empty());
    let failure = db
        .scan_stream::<Value>("things", ScanOptions::new().page_items(0))
        .next()
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(failure.kind, CloudError::Validation(_)), "{failure}");
}
