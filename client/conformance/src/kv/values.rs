//! Values: what comes back of what was put.

use super::{keyed, table};
use crate::case::{Shown, refused};
use crate::subject::Subject;
use cloudkit_core::api::KeyValueStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    nick: Option<String>,
    age: u8,
    balance: f64,
    tags: Vec<String>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    With { level: i64 },
}

pub(super) async fn typed_values_come_back_typed(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    for (key, kind) in [("plain", Kind::Plain), ("with", Kind::With { level: i64::MIN })] {
        let tags = vec![String::new(), String::from("x")];
        // A float without a fraction becomes an integer on the way, and serde reads it as a float again.
        let person = Person { name: key.into(), nick: None, age: 255, balance: 1.0, tags, kind };
        service.put(&table, key, &person).await?;
        same!(key, service.get::<Person>(&table, key).await?, Some(person));
    }
    service.put(&table, "other", &json!({"name": 1})).await?;
    refused("another shape", service.get::<Person>(&table, "other").await, "Serialization")
}

pub(super) async fn hostile_numbers_come_back_in_full(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let kept = json!([
        0,
        1,
        -1,
        i64::MAX,
        i64::MIN,
        u64::MAX,
        9_007_199_254_740_993_i64,
        -9_007_199_254_740_993_i64,
        0.1,
        0.30000000000000004,
        1e-7,
        1.5e-9,
        123456.789,
        -2.5,
        1e100,
        -1e-100,
        1.7976931348623157e125,
        5e-130
    ]);
    service.put(&table, "k", &json!({"n": kept})).await?;
    same!("the numbers", service.get::<Value>(&table, "k").await?, Some(keyed("k", json!({"n": kept}))));
    // Numbers that have a shorter form come back in it, and are the same numbers.
    service.put(&table, "k", &json!({"a": 1.0, "b": -0.0, "c": 1e3, "d": 100.50})).await?;
    let item = service.get::<Value>(&table, "k").await?.unwrap_or_default();
    for (name, expected) in [("a", 1.0), ("b", 0.0), ("c", 1000.0), ("d", 100.5)] {
        same!(name, item[name].as_f64(), Some(expected));
    }
    Ok(())
}

pub(super) async fn numbers_out_of_range_are_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    for number in [1e126, -1e200, f64::MAX, 1e-131, f64::MIN_POSITIVE] {
        refused(&number.to_string(), service.put(&table, "k", &json!({"n": number})).await, "Validation")?;
    }
    same!("the item", service.exists(&table, "k").await?, false);
    Ok(())
}

pub(super) async fn nested_and_empty_values_come_back(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let mut deep = json!("bottom");
    for level in 0..28 {
        deep = if level % 2 == 0 { json!([deep]) } else { json!({"in": deep}) };
    }
    let item = json!({
        "empty": "", "list": [], "map": {}, "null": null, "mixed": [1, "1", true, null, [], {"a": ""}],
        "names": {"a.b": 1, "a[0]": 2, " ": 3, "é": 4, "#": 5, ":": 6, "S": {"N": "1"}},
        "text": "line\nend\t\"quoted\" \\ \u{1}\u{7f}\u{2028} 🦀", "deep": deep,
    });
    service.put(&table, "k", &item).await?;
    same!("the item", service.get::<Value>(&table, "k").await?, Some(keyed("k", item)));
    let mut deeper = json!(1);
    for _ in 0..40 {
        deeper = json!([deeper]);
    }
    refused("40 levels", service.put(&table, "k", &json!({"deep": deeper})).await, "Validation")
}

pub(super) async fn an_item_at_the_limit_is_kept_and_one_above_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    // "id" + "k" + "a" + the text: 400 KiB to the byte.
    let item = json!({"a": "x".repeat(400 * 1024 - 4)});
    service.put(&table, "k", &item).await?;
    same!("the item", service.get::<Value>(&table, "k").await?, Some(keyed("k", item)));
    let above = json!({"a": "y".repeat(400 * 1024 - 3)});
    refused("a byte more", service.put(&table, "k", &above).await, "Validation")?;
    refused("in a batch", service.batch_write(&table, &[("k", &above)]).await, "Validation")
}
