//! Items one by one, in batches and in transactions; what is refused, and with which facts.

use super::{started, with_table};
use crate::dynamodb::ZeroDb;
use cloudkit_core::api::{
    Condition, CreateTableOptions, KeyValueStore, KvGetOptions, KvPutOptions, KvQueryOptions, MessageQueue,
    PubSub, Support, TransactItem,
};
use cloudkit_core::common::CloudError;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// The item without its key, which is the one that it lies under.
async fn get(db: &ZeroDb, key: &str) -> Option<Value> {
    let options = KvGetOptions { consistent_read: true, projection: None };
    let mut item: Option<Value> = db.get_with_options("things", key, options).await.expect("it is answered");
    if let Some(item) = &mut item {
        let own = item.as_object_mut().and_then(|item| item.remove("id"));
        assert_eq!(own, Some(Value::from(key)));
    }
    item
}

fn is_validation(error: &CloudError) -> bool {
    matches!(error, CloudError::Validation(_))
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn every_value_comes_back_as_it_was_put() {
    let (_appliance, db) = with_table("kv-values").await;
    let values = [
        json!({}),
        json!({"null": null, "bool": [true, false], "text": ["", "x", "ключ/鍵/🗝", "\u{0}\n\"\\", "1"]}),
        json!({"integers": [0, -1, i64::MIN, i64::MAX, u64::MAX], "floats": [0.1, -0.5, 1e-130, 1.5e125, 123_456.789]}),
        json!({"": {"": ["empty names lie deeper only"]}, "a": 1}),
        json!({"nested": {"a.b": {"[0]": [[], {}, [[1, 2], {"x": null}]]}}, "size": 1, "NULL": 2, "#a": 3, ":b": 4}),
    ];
    for (index, value) in values.into_iter().enumerate() {
        let key = format!("k{index}/ü? #");
        match db.put("things", &key, &value).await {
            Ok(()) => {}
            // The name of an attribute at the top has one letter at least.
            Err(error) if value.get("").is_some() => {
                assert!(is_validation(&error), "{error}");
                continue;
            }
            Err(error) => panic!("{value}: {error}"),
        }
        assert_eq!(get(&db, &key).await, Some(value), "{key}");
    }
    // Whole numbers that came as floats come back as integers; they are equal to whoever reads them as f64.
    db.put("things", "f", &json!({"n": 5.0})).await.unwrap();
    assert_eq!(get(&db, "f").await, Some(json!({"n": 5})));
    #[derive(serde::Deserialize)]
    struct Float {
        n: f64,
    }
    assert_eq!(db.get::<Float>("things", "f").await.unwrap().unwrap().n, 5.0);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn what_no_table_takes_is_a_validation() {
    let (_appliance, db) = with_table("kv-refused").await;
    let deep = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
    for value in [
        json!(1),
        json!([1]),
        json!("x"),
        Value::Null,
        json!({"n": 1e126}),
        json!({"n": 1e-131}),
        json!({"big": "x".repeat(400 * 1024)}),
        json!({"deep": deep(33)}),
        json!({"deep": deep(60)}),
    ] {
        let error = db.put("things", "k", &value).await.expect_err("it is refused");
        assert!(is_validation(&error), "{error}");
        let error = db.batch_write("things", &[("k", &value)]).await.expect_err("it is refused");
        assert!(is_validation(&error), "{error}");
        let error = db
            .transact(vec![TransactItem::put("things", "k", &value).unwrap()])
            .await
            .expect_err("it is refused");
        assert!(is_validation(&error.kind), "{error}");
    }
    db.put("things", "k", &json!({"deep": deep(31)})).await.expect("that much is taken");
    let long = "k".repeat(2049);
    for key in ["", long.as_str()] {
        assert!(is_validation(&db.put("things", key, &json!({})).await.unwrap_err()));
        assert!(is_validation(&db.get::<Value>("things", key).await.unwrap_err()));
        assert!(is_validation(&db.delete("things", key).await.unwrap_err()));
        assert!(is_validation(&db.exists("things", key).await.unwrap_err()));
        assert!(is_validation(&db.batch_get::<Value>("things", &[key]).await.unwrap_err()));
        assert!(is_validation(&db.update("things", key, HashMap::new()).await.unwrap_err()));
        assert!(is_validation(&db.increment("things", key, "n", 1).await.unwrap_err().kind));
    }
    for table in ["", "x", "no spaces", "a/b"] {
        let error = db.get::<Value>(table, "k").await.unwrap_err();
        assert!(is_validation(&error), "{table}: {error}");
        assert!(is_validation(&db.create_table(table, CreateTableOptions::new()).await.unwrap_err().kind));
    }
    // A type that the item is not.
    let error = db.get::<HashMap<String, String>>("things", "k").await.unwrap_err();
    assert!(matches!(error, CloudError::Serialization(_)), "{error}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_missing_table_is_named_with_a_hint_and_the_request() {
    let (_appliance, db) = started("kv-missing").await;
    let failure = db.increment("none", "k", "n", 1).await.expect_err("there is no table");
    assert!(
        matches!(&failure.kind, CloudError::NotFound { resource_type, resource_id }
        if resource_type == "Table" && resource_id == "none"),
        "{failure}"
    );
    assert_eq!(failure.detail.hint.as_deref(), Some("create_table(\"none\", CreateTableOptions::new())"));
    assert!(failure.detail.request_id.as_deref().is_some_and(|id| !id.is_empty()), "{failure}");
    let not_found = |error: CloudError| {
        assert!(
            matches!(&error, CloudError::NotFound { resource_type, resource_id }
            if resource_type == "Table" && resource_id == "none"),
            "{error}"
        );
    };
    not_found(db.get::<Value>("none", "k").await.unwrap_err());
    not_found(db.put("none", "k", &json!({})).await.unwrap_err());
    not_found(db.delete("none", "k").await.unwrap_err());
    not_found(db.exists("none", "k").await.unwrap_err());
    not_found(db.update("none", "k", HashMap::new()).await.unwrap_err());
    not_found(db.delete_with_condition("none", "k", Condition::Exists("a".into())).await.unwrap_err());
    not_found(db.query::<Value>("none", "k", KvQueryOptions::default()).await.unwrap_err());
    not_found(db.batch_get::<Value>("none", &["k"]).await.unwrap_err());
    not_found(db.batch_write("none", &[("k", &json!({}))]).await.unwrap_err());
    not_found(db.delete_table("none").await.unwrap_err().into());
    not_found(db.transact(vec![TransactItem::delete("none", "k")]).await.unwrap_err().into());
    not_found(db.scan_stream::<Value>("none", Default::default()).next().await.unwrap().unwrap_err().into());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn items_are_put_updated_projected_and_deleted() {
    let (_appliance, db) = with_table("kv-items").await;
    assert_eq!(get(&db, "k").await, None);
    assert!(!db.exists("things", "k").await.unwrap());
    let old = KvPutOptions { return_old: true, condition: None };
    assert_eq!(db.put_with_options("things", "k", &json!({"a": 1}), old.clone()).await.unwrap(), None);
    assert_eq!(
        db.put_with_options("things", "k", &json!({"b": [1, {"c": 2}]}), old).await.unwrap(),
        Some(json!({"id": "k", "a": 1}))
    );
    assert!(db.exists("things", "k").await.unwrap());
    let updates = HashMap::from([("d.e".to_string(), json!(null)), ("select".to_string(), json!({"x": 1}))]);
    db.update("things", "k", updates).await.unwrap();
    assert_eq!(get(&db, "k").await, Some(json!({"b": [1, {"c": 2}], "d.e": null, "select": {"x": 1}})));
    for (paths, expected) in [
        (vec!["b[1].c", "select.x"], json!({"b": [{"c": 2}], "select": {"x": 1}})),
        (vec!["none"], json!({})),
        (vec!["id"], json!({"id": "k"})),
        (vec![], json!({})),
        (vec!["b", "none.of[3]"], json!({"b": [1, {"c": 2}]})),
    ] {
        let projection = Some(paths.iter().map(ToString::to_string).collect());
        let options = KvGetOptions { consistent_read: false, projection };
        let found: Option<Value> = db.get_with_options("things", "k", options.clone()).await.unwrap();
        assert_eq!(found, Some(expected), "{paths:?}");
        assert_eq!(db.get_with_options::<Value>("things", "none", options).await.unwrap(), None);
    }
    for paths in [vec!["b", "b[0]"], vec!["a..b"], vec![""]] {
        let projection = Some(paths.iter().map(ToString::to_string).collect());
        let error = db
            .get_with_options::<Value>("things", "k", KvGetOptions { consistent_read: false, projection })
            .await;
        assert!(is_validation(&error.unwrap_err()), "{paths:?}");
    }
    // An update makes the item; the key is not to be changed.
    db.update("things", "new", HashMap::new()).await.unwrap();
    assert_eq!(get(&db, "new").await, Some(json!({})));
    let error = db.update("things", "k", HashMap::from([("id".to_string(), json!("x"))])).await.unwrap_err();
    assert!(is_validation(&error), "{error}");
    db.delete("things", "k").await.unwrap();
    db.delete("things", "k").await.expect("what is gone is deleted already");
    assert_eq!(get(&db, "k").await, None);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn batches_of_any_size_are_written_and_read() {
    let (_appliance, db) = with_table("kv-batches").await;
    let keys: Vec<String> = (0..250).map(|index| format!("k{index}")).collect();
    let values: Vec<Value> =
        (0..250).map(|index| json!({"n": index, "text": "x".repeat(index * 40)})).collect();
    let mut items: Vec<(&str, &Value)> = keys.iter().map(String::as_str).zip(&values).collect();
    // Of two with one key the last counts.
    let first = json!({"n": "the first is not written"});
    let keyed = |(key, item): (&str, &Value)| {
        let mut item = item.clone();
        item["id"] = Value::from(key);
        item
    };
    items.insert(0, ("k249", &first));
    db.batch_write("things", &items).await.expect("all are written");
    let mut asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    asked.extend(["none", "k0", "k0"]);
    let mut found: Vec<Value> = db.batch_get("things", &asked).await.expect("all are read");
    found.sort_by_key(|item| item["n"].as_u64());
    assert_eq!(found, keys.iter().map(String::as_str).zip(&values).map(keyed).collect::<Vec<_>>());
    db.batch_write::<Value>("things", &[]).await.expect("nothing is written");
    assert!(db.batch_get::<Value>("things", &[]).await.unwrap().is_empty());
    // More bytes than one answer of the service has: it leaves keys over.
    let large = json!({"data": "y".repeat(380 * 1024)});
    let keys: Vec<String> = (0..60).map(|index| format!("large{index}")).collect();
    let items: Vec<(&str, &Value)> = keys.iter().map(|key| (key.as_str(), &large)).collect();
    db.batch_write("things", &items).await.expect("all are written");
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found: Vec<Value> = db.batch_get("things", &asked).await.expect("all are read");
    assert_eq!(found.len(), 60);
    assert!(found.iter().all(|item| item["data"] == large["data"]));
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn transactions_are_done_whole_or_not_at_all() {
    let (_appliance, db) = with_table("kv-transactions").await;
    db.create_table("others", CreateTableOptions::new().key_name("pk")).await.unwrap();
    let absent = || Condition::NotExists("id".into());
    let put = |table: &str, key: &str, value: Value| TransactItem::put(table, key, &value).unwrap();
    db.transact(vec![
        put("things", "a", json!({"n": 1})).when(absent()),
        put("others", "a", json!({"id": 2})),
    ])
    .await
    .expect("both are written");
    assert_eq!(
        db.get::<Value>("others", "a").await.unwrap(),
        Some(json!({"id": 2, "pk": "a"})),
        "in that table `id` is no key"
    );
    let failure = db
        .transact(vec![put("others", "a", json!({})), put("things", "a", json!({})).when(absent())])
        .await
        .expect_err("there is one");
    assert!(failure.kind.is_precondition_failed() && failure.detail.request_id.is_some(), "{failure}");
    assert_eq!(db.get::<Value>("others", "a").await.unwrap(), Some(json!({"id": 2, "pk": "a"})));
    let check = TransactItem::check("things", "a", Condition::Equals("n".into(), json!(1)));
    db.transact(vec![check, TransactItem::delete("others", "a")]).await.expect("it holds");
    assert!(!db.exists("others", "a").await.unwrap());
    let always = TransactItem::check("things", "nobody", Condition::And(vec![]));
    db.transact(vec![always, TransactItem::delete("things", "x")]).await.expect("it always holds");
    let never = TransactItem::check("things", "a", Condition::Or(vec![]));
    assert!(db.transact(vec![never]).await.unwrap_err().kind.is_precondition_failed());
    let twice = vec![TransactItem::delete("things", "a"), put("things", "a", json!({}))];
    assert!(is_validation(&db.transact(twice).await.unwrap_err().kind));
    assert!(is_validation(&db.transact(Vec::new()).await.unwrap_err().kind));
    let many = (0..101).map(|index| TransactItem::delete("things", format!("k{index}"))).collect();
    assert!(is_validation(&db.transact(many).await.unwrap_err().kind));
    let hundred = (0..100).map(|index| put("things", &format!("k{index}"), json!({"n": index}))).collect();
    db.transact(hundred).await.expect("so many are taken");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn sums_have_64_bits_and_are_counted_once_each() {
    let (_appliance, db) = with_table("kv-sums").await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..25 {
                    seen.push(db.increment("things", "counter", "hits", 1).await.expect("it is added"));
                }
                seen
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    assert_eq!(seen, (1..=200).collect::<BTreeSet<i64>>(), "each sum was seen once");
    assert_eq!(db.increment("things", "counter", "hits", -250).await.unwrap(), -50);
    assert_eq!(db.increment("things", "new", "a.b", i64::MIN).await.unwrap(), i64::MIN);
    assert_eq!(db.increment("things", "new", "a.b", 0).await.unwrap(), i64::MIN);
    for (attribute, value, by) in [
        ("high", json!(i64::MAX), 1),
        ("low", json!(i64::MIN), -1),
        ("text", json!("5"), 1),
        ("beyond", json!(u64::MAX), -1),
        ("beyond", json!(u64::MAX), i64::MIN + 1),
        ("list", json!([1]), 1),
        ("null", json!(null), 1),
    ] {
        db.update("things", "new", HashMap::from([(attribute.to_string(), value.clone())])).await.unwrap();
        let failure = db.increment("things", "new", attribute, by).await.expect_err("it does not fit");
        assert!(is_validation(&failure.kind), "{attribute}: {failure}");
        assert_eq!(get(&db, "new").await.unwrap()[attribute], value, "nothing was added");
    }
    // A number that only a u64 holds, and a sum that fits.
    let stored = HashMap::from([("beyond".to_string(), json!(i64::MAX as u64 + 5))]);
    db.update("things", "new", stored).await.unwrap();
    assert!(is_validation(&db.increment("things", "new", "beyond", -4).await.unwrap_err().kind));
    assert_eq!(db.increment("things", "new", "beyond", -5).await.unwrap(), i64::MAX);
    assert!(is_validation(&db.increment("things", "new", "id", 1).await.unwrap_err().kind));
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn tables_come_go_and_come_again_with_another_key() {
    let (_appliance, db) = started("kv-tables").await;
    let options = CreateTableOptions::new().tag("team", "a b");
    db.create_table("things", options.clone()).await.unwrap();
    let failure = db.create_table("things", options).await.expect_err("there is one");
    assert!(failure.kind.is_conflict(), "{failure}");
    assert!(
        matches!(&failure.kind, CloudError::AlreadyExists { resource_type, resource_id }
        if resource_type == "Table" && resource_id == "things"),
        "{failure}"
    );
    // Another client keeps the old key's name, until the service tells it otherwise.
    let other = ZeroDb::new(crate::trial::services::shared(_appliance.caller()).await);
    other.put("things", "k", &json!({"a": 1})).await.unwrap();
    db.delete_table("things").await.unwrap();
    assert!(db.get::<Value>("things", "k").await.unwrap_err().is_not_found());
    db.create_table("things", CreateTableOptions::new().key_name("name")).await.unwrap();
    other.put("things", "k", &json!({"id": 2})).await.expect("the key's name is asked for anew");
    assert_eq!(other.get::<Value>("things", "k").await.unwrap(), Some(json!({"id": 2, "name": "k"})));
    assert_eq!(db.get::<Value>("things", "k").await.unwrap(), Some(json!({"id": 2, "name": "k"})));
    db.delete_table("things").await.unwrap();
    db.create_table("things", CreateTableOptions::new()).await.unwrap();
    other
        .transact(vec![TransactItem::put("things", "t", &json!({"b": 1})).unwrap()])
        .await
        .expect("so do transactions");
    assert_eq!(other.get::<Value>("things", "t").await.unwrap(), Some(json!({"b": 1, "id": "t"})));
    for names in [("", None), ("a", Some("a")), ("a", Some(""))] {
        let mut options = CreateTableOptions::new().key_name(names.0);
        options.sort_key_name = names.1.map(Into::into);
        assert!(is_validation(&db.create_table("wrong", options).await.unwrap_err().kind), "{names:?}");
    }
    for name in ["get", "create_table", "delete_table", "transact", "scan_stream", "increment", "query"] {
        assert_ne!(db.capabilities().get(name).unwrap().support, Support::No, "{name}");
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn all_services_are_had_of_one_client_and_of_its_cloud() {
    let (appliance, _db) = with_table("kv-client").await;
    let client = crate::ZeroClient::over(appliance.caller(), None, None);
    client.kv_store().put("things", "k", &json!({"a": 1})).await.expect("it is put");
    assert!(client.kv_store().schemas.get("things").is_some(), "what one handle learned the next one knows");
    let url = client.queue().create_queue("jobs").await.expect("it is made");
    let topic = client.pubsub().create_topic("news").await.expect("it is made");
    let cloud = client.into_cloud();
    let found = cloud.kv_store().expect("it has tables").get::<Value>("things", "k").await;
    assert_eq!(found.expect("it is answered"), Some(json!({"a": 1, "id": "k"})));
    assert_eq!(cloud.queue().expect("it has queues").get_queue_url("jobs").await.expect("it is there"), url);
    assert_eq!(
        cloud.pubsub().expect("it has topics").get_topic_arn("news").await.expect("it is there"),
        topic
    );
}
