//! Conditions: what they mean, and what is written when they hold.

use super::{keyed, table};
use crate::case::{Shown, kind, refused};
use crate::subject::Subject;
use cloudkit_core::api::{Condition, KeyValueStore, KvPutOptions};
use serde_json::{Value, json};

fn on(condition: Condition) -> KvPutOptions {
    KvPutOptions { condition: Some(condition), return_old: false }
}

fn text(text: &str) -> String {
    text.to_owned()
}

pub(super) async fn put_on_a_condition_writes_if_it_holds(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let put =
        async |value: Value, condition| service.put_with_options(&table, "k", &value, on(condition)).await;
    let absent = || Condition::NotExists(text("id"));
    put(json!({"v": 1}), absent()).await?;
    refused("again", put(json!({"v": 2}), absent()).await, "PreconditionFailed")?;
    put(json!({"v": 2}), Condition::Equals(text("v"), json!(1))).await?;
    let old = put(json!({"v": 3}), Condition::Equals(text("v"), json!(1))).await;
    refused("the old value", old, "PreconditionFailed")?;
    put(json!({"v": 4}), Condition::Equals(text("id"), json!("k"))).await?;
    same!("the item", service.get::<Value>(&table, "k").await?, Some(keyed("k", json!({"v": 4}))));
    Ok(())
}

pub(super) async fn put_gives_the_old_item_if_asked(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let put = async |value: Value, return_old| {
        let options = KvPutOptions { condition: None, return_old };
        service.put_with_options(&table, "k", &value, options).await
    };
    same!("of none", put(json!({"v": 1}), true).await?, None);
    same!("asked", put(json!({"v": 2}), true).await?, Some(keyed("k", json!({"v": 1}))));
    same!("not asked", put(json!({"v": 3}), false).await?, None);
    Ok(())
}

pub(super) async fn delete_on_a_condition_tells_whether_it_held(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    service.put(&table, "k", &json!({"v": 1})).await?;
    let delete = async |wanted: i32| {
        service.delete_with_condition(&table, "k", Condition::Equals(text("v"), json!(wanted))).await
    };
    same!("another value", delete(2).await?, false);
    same!("the item", service.exists(&table, "k").await?, true);
    same!("the value", delete(1).await?, true);
    same!("after it", service.exists(&table, "k").await?, false);
    same!("again", delete(1).await?, false);
    let absent = service.delete_with_condition(&table, "k", Condition::NotExists(text("id"))).await?;
    same!("if there is none", absent, true);
    Ok(())
}

/// Puts the item again on the condition, and compares whether that was done.
async fn holds_as(
    service: &(impl KeyValueStore + ?Sized),
    table: &str,
    item: &Value,
    cases: Vec<(Condition, bool)>,
) -> Shown {
    service.put(table, "k", item).await?;
    for (condition, expected) in cases {
        let what = format!("{condition:?}");
        let held = match service.put_with_options(table, "k", item, on(condition)).await {
            Ok(_) => true,
            Err(error) if error.is_precondition_failed() => false,
            Err(error) => return Err(crate::case::wrong(format!("{what}: {} {error}", kind(&error)))),
        };
        same!(what, held, expected);
    }
    Ok(())
}

pub(super) async fn conditions_follow_the_types_of_values(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    use Condition::*;
    let table = table(service, subject).await?;
    let item = json!({
        "n": 5, "f": 0.5, "big": 9_007_199_254_740_993_i64, "s": "abc", "b": true, "z": null, "l": ["x", 1], "m": {"k": 1},
        "status": "on", "e": "",
    });
    let n = || text("n");
    let cases = vec![
        (Exists(n()), true),
        (Exists(text("z")), true),
        (Exists(text("none")), false),
        (NotExists(text("none")), true),
        (Equals(n(), json!(5)), true),
        (Equals(n(), json!(5.0)), true),
        (Equals(n(), json!("5")), false),
        (Equals(text("none"), json!(null)), false),
        (Equals(text("z"), json!(null)), true),
        (Equals(text("e"), json!("")), true),
        (Equals(text("l"), json!(["x", 1])), true),
        (Equals(text("l"), json!([1, "x"])), false),
        (Equals(text("m"), json!({"k": 1.0})), true),
        (Equals(text("big"), json!(9_007_199_254_740_992_i64)), false),
        (GreaterThan(text("big"), json!(9_007_199_254_740_992_i64)), true),
        (NotEquals(n(), json!(6)), true),
        (NotEquals(n(), json!("5")), true),
        (NotEquals(text("none"), json!(1)), true),
        (LessThan(n(), json!(5.5)), true),
        (LessThan(n(), json!(5)), false),
        (LessThan(n(), json!("6")), false),
        (LessThan(text("none"), json!(6)), false),
        (LessThanOrEqual(n(), json!(5)), true),
        (GreaterThan(text("f"), json!(0.25)), true),
        (GreaterThan(text("s"), json!("abb")), true),
        (GreaterThan(text("s"), json!("é")), false),
        (GreaterThanOrEqual(n(), json!(5)), true),
        (GreaterThanOrEqual(n(), json!(-1)), true),
        (In(n(), vec![json!("5"), json!(5)]), true),
        (In(n(), vec![json!(4)]), false),
        (In(n(), (0..100).map(|n| json!(n)).collect()), true),
        (Between(n(), json!(5), json!(6)), true),
        (Between(n(), json!(5.1), json!(6)), false),
        (Between(text("s"), json!("a"), json!("b")), true),
        (BeginsWith(text("s"), text("ab")), true),
        (BeginsWith(text("s"), text("b")), false),
        (BeginsWith(n(), text("5")), false),
        (Contains(text("s"), text("bc")), true),
        (Contains(text("l"), text("x")), true),
        (Contains(text("l"), text("1")), false),
        (Not(Box::new(Exists(n()))), false),
        (And(vec![Exists(n()), Equals(text("status"), json!("on"))]), true),
        (And(vec![Exists(n()), Exists(text("none"))]), false),
        (Or(vec![Exists(text("none")), Exists(n())]), true),
        (Not(Box::new(Or(vec![Exists(text("none")), And(vec![Exists(n())])]))), false),
        (And(vec![]), true),
        (Or(vec![]), false),
    ];
    holds_as(service, &table, &item, cases).await
}

pub(super) async fn conditions_lead_into_maps_and_lists(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let item = json!({"m": {"name": {"k": [1, {"x": "y"}]}}, "l": [[1, 2], [3]]});
    let cases = vec![
        (Condition::Exists(text("m.name.k")), true),
        (Condition::Equals(text("m.name.k[1].x"), json!("y")), true),
        (Condition::Equals(text("l[0][1]"), json!(2)), true),
        (Condition::Exists(text("l[1][1]")), false),
        (Condition::Exists(text("m.k")), false),
        (Condition::Exists(text("l.x")), false),
    ];
    holds_as(service, &table, &item, cases).await
}

pub(super) async fn conditions_that_break_a_rule_are_refused(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let v = || text("v");
    for condition in [
        Condition::LessThan(v(), json!(true)),
        Condition::GreaterThan(v(), json!([1])),
        Condition::Between(v(), json!(2), json!(1)),
        Condition::Between(v(), json!(1), json!("2")),
        Condition::In(v(), vec![]),
        Condition::In(v(), (0..101).map(|n| json!(n)).collect()),
        Condition::Exists(text("")),
        Condition::Exists(text("a..b")),
    ] {
        let what = format!("{condition:?}");
        let put = service.put_with_options(&table, "k", &json!({"v": 1}), on(condition.clone())).await;
        refused(&what, put, "Validation")?;
        refused(&what, service.delete_with_condition(&table, "k", condition).await, "Validation")?;
    }
    same!("the item", service.exists(&table, "k").await?, false);
    Ok(())
}

pub(super) async fn one_of_many_writers_on_a_condition_wins(
    service: &(impl KeyValueStore + ?Sized),
    subject: &impl Subject,
) -> Shown {
    let table = table(service, subject).await?;
    let put = async |writer: u32| {
        let options = on(Condition::NotExists(text("id")));
        match service.put_with_options(&table, "k", &json!({"writer": writer}), options).await {
            Ok(_) => Ok(Some(writer)),
            Err(error) if error.is_precondition_failed() => Ok(None),
            Err(error) => Err(crate::case::Wrong::from(error)),
        }
    };
    let (a, b, c, d) = tokio::join!(put(1), put(2), put(3), put(4));
    let winners: Vec<u32> = [a?, b?, c?, d?].into_iter().flatten().collect();
    same!("the number of winners", winners.len(), 1);
    let item = keyed("k", json!({"writer": winners[0]}));
    same!("the item", service.get::<Value>(&table, "k").await?, Some(item));
    Ok(())
}
