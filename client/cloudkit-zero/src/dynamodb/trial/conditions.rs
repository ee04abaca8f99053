//! Conditions of every kind, compared with what they mean.

use super::with_table;
use cloudkit_core::api::Condition::{
    And, BeginsWith, Between, Contains, Equals, Exists, GreaterThan, GreaterThanOrEqual, In, LessThan,
    LessThanOrEqual, Not, NotEquals, NotExists, Or,
};
use cloudkit_core::api::{Condition, KeyValueStore, KvPutOptions, ScanOptions};
use cloudkit_core::common::CloudError;
use serde_json::{Value, json};

/// What they are asked of.
fn item() -> Value {
    json!({"n": 5, "big": u64::MAX, "f": 0.1, "t": "hello", "b": true, "z": null, "l": [1, "two", [3]], "m": {"in": {"x": 7}, "a b": 1},
        "size": "reserved", "select": 1, "#0": "x", ":0": "y"})
}

fn s(text: &str) -> String {
    text.into()
}

/// Each with whether it holds.
fn cases() -> Vec<(Condition, bool)> {
    vec![
        (Exists(s("n")), true),
        (Exists(s("none")), false),
        (Exists(s("id")), true),
        (NotExists(s("id")), false),
        (NotExists(s("none.x[3]")), true),
        (Exists(s("m.in.x")), true),
        (Exists(s("l[2][0]")), true),
        (Exists(s("l[3]")), false),
        (Exists(s("m.a b")), true),
        (Exists(s("z")), true),
        (Equals(s("n"), json!(5)), true),
        (Equals(s("n"), json!(5.0)), true),
        (Equals(s("n"), json!("5")), false),
        (Equals(s("big"), json!(u64::MAX)), true),
        (Equals(s("big"), json!(u64::MAX - 1)), false),
        (Equals(s("f"), json!(0.1)), true),
        (Equals(s("z"), json!(null)), true),
        (Equals(s("b"), json!(true)), true),
        (Equals(s("l"), json!([1, "two", [3]])), true),
        (Equals(s("m.in"), json!({"x": 7})), true),
        (Equals(s("none"), json!(null)), false),
        (Equals(s("id"), json!("k")), true),
        (Equals(s("size"), json!("reserved")), true),
        (Equals(s("#0"), json!("x")), true),
        (Equals(s(":0"), json!("y")), true),
        (NotEquals(s("n"), json!(5)), false),
        (NotEquals(s("n"), json!("5")), true),
        (NotEquals(s("none"), json!(1)), true),
        (LessThan(s("n"), json!(5.5)), true),
        (LessThan(s("n"), json!(5)), false),
        (LessThan(s("n"), json!("6")), false),
        (LessThan(s("none"), json!(1)), false),
        (LessThan(s("big"), json!(1.9e19)), true),
        (LessThanOrEqual(s("n"), json!(5)), true),
        (GreaterThan(s("t"), json!("hell")), true),
        (GreaterThan(s("t"), json!("hello")), false),
        (GreaterThanOrEqual(s("t"), json!("hello")), true),
        (GreaterThanOrEqual(s("none"), json!(0)), false),
        (In(s("n"), vec![json!(4), json!("5"), json!(5)]), true),
        (In(s("n"), vec![json!(4)]), false),
        (In(s("n"), (0..100).map(|n| json!(n * 5)).collect()), true),
        (In(s("n"), (6..106).map(|n| json!(n)).collect()), false),
        (Not(Box::new(In(s("n"), (6..106).map(|n| json!(n)).collect()))), true),
        (Between(s("n"), json!(5), json!(6)), true),
        (Between(s("n"), json!(6), json!(7)), false),
        (Between(s("t"), json!("a"), json!("i")), true),
        (BeginsWith(s("t"), s("he")), true),
        (BeginsWith(s("t"), s("")), true),
        (BeginsWith(s("t"), s("lo")), false),
        (BeginsWith(s("n"), s("5")), false),
        (BeginsWith(s("none"), s("")), false),
        (Contains(s("t"), s("ell")), true),
        (Contains(s("l"), s("two")), true),
        (Contains(s("l"), s("tw")), false),
        (Contains(s("n"), s("5")), false),
        (Contains(s("none"), s("x")), false),
        (Not(Box::new(Exists(s("n")))), false),
        (Not(Box::new(Equals(s("none"), json!(1)))), true),
        (Not(Box::new(Not(Box::new(Exists(s("n")))))), true),
        (And(vec![]), true),
        (Or(vec![]), false),
        (Not(Box::new(Or(vec![]))), true),
        (And(vec![Exists(s("n")), Or(vec![])]), false),
        (Or(vec![Exists(s("none")), And(vec![])]), true),
        (
            And(vec![Exists(s("n")), Or(vec![Exists(s("none")), And(vec![Exists(s("t")), Exists(s("b"))])])]),
            true,
        ),
        (
            Or(vec![
                And(vec![Exists(s("none")), Exists(s("n"))]),
                Not(Box::new(And(vec![Exists(s("n")), Exists(s("t"))]))),
            ]),
            false,
        ),
        (And(vec![Equals(s("select"), json!(1)), Equals(s("select"), json!(1))]), true),
        (Or((0..100).map(|n| Equals(s("n"), json!(n))).collect()), true),
        (And((0..100).map(|n| NotEquals(s(&format!("a{n}")), json!(n))).collect()), true),
    ]
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn every_condition_holds_where_it_should() {
    let (_appliance, db) = with_table("kv-conditions").await;
    db.put("things", "k", &item()).await.unwrap();
    for (condition, holds) in cases() {
        let options = KvPutOptions { condition: Some(condition.clone()), return_old: false };
        match db.put_with_options("things", "k", &item(), options).await {
            Ok(old) => assert!(holds && old.is_none(), "put: {condition:?}"),
            Err(error) => {
                assert!(!holds && error.is_precondition_failed(), "put: {condition:?}: {error}");
                assert!(error.hint().is_some() && error.request_id().is_some(), "{error}");
            }
        }
        let filter = ScanOptions::new().filter(condition.clone());
        let found = db
            .scan_stream::<Value>("things", filter)
            .collect(2)
            .await
            .unwrap_or_else(|e| panic!("scan: {condition:?}: {e}"));
        assert_eq!(found.len(), usize::from(holds), "scan: {condition:?}");
        let deleted = db.delete_with_condition("things", "k", condition.clone()).await;
        assert_eq!(
            deleted.unwrap_or_else(|e| panic!("delete: {condition:?}: {e}")),
            holds,
            "delete: {condition:?}"
        );
        assert_eq!(db.exists("things", "k").await.unwrap(), !holds, "{condition:?}");
        if holds {
            db.put("things", "k", &item()).await.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn without_an_item_only_absence_and_inequality_hold() {
    let (_appliance, db) = with_table("kv-absent").await;
    for (condition, holds) in [
        (NotExists(s("id")), true),
        (Exists(s("id")), false),
        (NotEquals(s("n"), json!(1)), true),
        (Equals(s("n"), json!(1)), false),
        (And(vec![]), true),
        (Or(vec![]), false),
    ] {
        let options = KvPutOptions { condition: Some(condition.clone()), return_old: true };
        let put = db.put_with_options("things", "k", &json!({"n": 0}), options).await;
        assert_eq!(put.is_ok(), holds, "{condition:?}: {put:?}");
        if let Ok(old) = put {
            assert_eq!(old, None);
        }
        db.delete("things", "k").await.unwrap();
        assert_eq!(
            db.delete_with_condition("things", "k", condition.clone()).await.unwrap(),
            holds,
            "{condition:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn conditions_that_nothing_can_meet_are_validations() {
    let (_appliance, db) = with_table("kv-wrong").await;
    db.put("things", "k", &item()).await.unwrap();
    for condition in [
        Exists(s("")),
        Exists(s("a..b")),
        Exists(s("a[x]")),
        Equals(s("a]"), json!(1)).clone(),
        In(s("n"), vec![]),
        In(s("n"), (0..101).map(|n| json!(n)).collect()),
        LessThan(s("n"), json!(true)),
        GreaterThan(s("n"), json!([1])),
        Between(s("n"), json!(7), json!(6)),
        Between(s("n"), json!(1), json!("2")),
        Equals(s("n"), json!(1e300)),
        And((0..400).map(|n| Equals(s("n"), json!(n))).collect()),
    ] {
        // A closing bracket alone is a letter of a name.
        if condition == Equals(s("a]"), json!(1)) {
            assert!(!db.delete_with_condition("things", "k", condition).await.unwrap());
            continue;
        }
        let error =
            db.delete_with_condition("things", "k", condition.clone()).await.expect_err("it is wrong");
        assert!(matches!(error, CloudError::Validation(_)), "{condition:?}: {error}");
        let options = KvPutOptions { condition: Some(condition.clone()), return_old: false };
        let error = db.put_with_options("things", "k", &item(), options).await.expect_err("it is wrong");
        assert!(matches!(error, CloudError::Validation(_)), "{condition:?}: {error}");
    }
}
