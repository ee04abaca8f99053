//! The parameters from before expressions.

use super::*;
use crate::expression::legacy::{
    LegacyAction, LegacyCondition, LegacyUpdate, Operator, attribute_updates, attributes_to_get,
    check_conditional_operator, expected, filter, key_conditions,
};
use crate::model::table::{KeyAttribute, KeyType};

const ITEM: &str =
    r#"{"n":{"N":"5"},"s":{"S":"hello"},"ss":{"SS":["x","y"]},"l":{"L":[{"S":"x"}]},"a.b":{"S":"dot"}}"#;

/// An entry with an operator: `name OP json…`.
fn entry(name: &str, operator: &str, list: &[&str]) -> LegacyCondition {
    LegacyCondition {
        name: name.into(),
        value: None,
        exists: None,
        operator: Some(Operator::named(operator).unwrap()),
        values: Some(list.iter().map(|json| value(json)).collect()),
    }
}

fn words<T>(result: Result<T, ExpressionError>) -> String {
    result.err().map(ExpressionError::into_message).unwrap_or_default()
}

#[test]
fn operators_answer_as_their_expressions_do() {
    let rows: [(&str, &str, &[&str], bool); 24] = [
        ("n", "EQ", &[r#"{"N":"5.0"}"#], true),
        ("n", "NE", &[r#"{"N":"5"}"#], false),
        ("n", "NE", &[r#"{"S":"5"}"#], true),
        ("nope", "NE", &[r#"{"S":"5"}"#], true),
        ("nope", "EQ", &[r#"{"S":"5"}"#], false),
        ("n", "LT", &[r#"{"N":"6"}"#], true),
        ("n", "LE", &[r#"{"N":"5"}"#], true),
        ("n", "GT", &[r#"{"N":"5"}"#], false),
        ("n", "GE", &[r#"{"N":"5"}"#], true),
        ("n", "BETWEEN", &[r#"{"N":"5"}"#, r#"{"N":"6"}"#], true),
        ("n", "IN", &[r#"{"N":"4"}"#, r#"{"N":"5"}"#], true),
        ("n", "NOT_NULL", &[], true),
        ("nope", "NOT_NULL", &[], false),
        ("nope", "NULL", &[], true),
        ("s", "CONTAINS", &[r#"{"S":"ell"}"#], true),
        ("ss", "CONTAINS", &[r#"{"S":"x"}"#], true),
        ("l", "CONTAINS", &[r#"{"S":"x"}"#], true),
        ("ss", "NOT_CONTAINS", &[r#"{"S":"z"}"#], true),
        ("ss", "NOT_CONTAINS", &[r#"{"S":"x"}"#], false),
        ("nope", "NOT_CONTAINS", &[r#"{"S":"x"}"#], true),
        ("n", "NOT_CONTAINS", &[r#"{"S":"x"}"#], true),
        ("s", "BEGINS_WITH", &[r#"{"S":"he"}"#], true),
        ("n", "BEGINS_WITH", &[r#"{"S":"he"}"#], false),
        ("a.b", "EQ", &[r#"{"S":"dot"}"#], true),
    ];
    let item = item(ITEM);
    for (name, operator, list, truth) in rows {
        let condition = filter(&[entry(name, operator, list)], false).unwrap();
        assert_eq!(condition.holds(Some(item.as_ref())), truth, "{name} {operator}");
    }
}

#[test]
fn entries_are_joined_by_one_operator() {
    let (yes, no) = (entry("n", "NOT_NULL", &[]), entry("n", "NULL", &[]));
    let item = item(ITEM);
    for (entries, all, any) in [
        (vec![], true, true),
        (vec![yes.clone(), yes.clone(), yes.clone()], true, true),
        (vec![yes.clone(), no.clone(), yes.clone()], false, true),
        (vec![no.clone(), no.clone(), yes.clone()], false, true),
        (vec![no.clone(), no.clone()], false, false),
    ] {
        assert_eq!(filter(&entries, false).unwrap().holds(Some(item.as_ref())), all);
        assert_eq!(filter(&entries, true).unwrap().holds(Some(item.as_ref())), any);
    }
    assert_eq!(
        words(check_conditional_operator(None)),
        "ConditionalOperator cannot be used without Filter or Expected"
    );
    assert_eq!(
        words(check_conditional_operator(Some(1))),
        "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    );
    assert_eq!(check_conditional_operator(Some(2)), Ok(()));
}

#[test]
fn expected_wants_a_value_or_its_absence() {
    let bare = |value: Option<&str>, exists: Option<bool>| LegacyCondition {
        name: "n".into(),
        value: value.map(super::value),
        exists,
        operator: None,
        values: None,
    };
    let five = Some(r#"{"N":"5"}"#);
    let item = item(ITEM);
    for (entry, truth) in [
        (bare(five, None), true),
        (bare(five, Some(true)), true),
        (bare(Some(r#"{"N":"6"}"#), None), false),
        (bare(None, Some(false)), false),
    ] {
        assert_eq!(expected(&[entry], false).unwrap().holds(Some(item.as_ref())), truth);
    }
    assert!(expected(&[bare(None, Some(false))], false).unwrap().holds(None));

    let operator = |value: Option<&str>, exists, values: Option<&[&str]>| LegacyCondition {
        values: values.map(|list| list.iter().map(|json| super::value(json)).collect()),
        operator: Operator::named("EQ"),
        ..bare(value, exists)
    };
    let rows = [
        (bare(None, None), "Value must be provided when Exists is null for Attribute: n"),
        (bare(None, Some(true)), "Value must be provided when Exists is true for Attribute: n"),
        (bare(five, Some(false)), "Value cannot be used when Exists is false for Attribute: n"),
        (
            operator(None, Some(true), Some(&[])),
            "Exists and ComparisonOperator cannot be used together for Attribute: n",
        ),
        (
            operator(five, None, Some(&[])),
            "AttributeValueList and Value cannot be used together for Attribute: n",
        ),
        (
            LegacyCondition { operator: None, ..operator(None, None, Some(&[])) },
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: n",
        ),
        (operator(None, None, None), "Invalid number of argument(s) for the EQ ComparisonOperator"),
    ];
    for (entry, expected_words) in rows {
        let found = words(expected(&[entry], false));
        assert_eq!(found, format!("One or more parameter values were invalid: {expected_words}"));
    }
}

#[test]
fn operators_are_given_as_many_values_as_they_take_and_of_their_types() {
    let (one, two, set) = (r#"{"N":"1"}"#, r#"{"S":"2"}"#, r#"{"SS":["a"]}"#);
    let rows: [(&str, &[&str], &str); 10] = [
        ("EQ", &[], "Invalid number of argument(s) for the EQ ComparisonOperator"),
        ("NULL", &[one], "Invalid number of argument(s) for the NULL ComparisonOperator"),
        ("BETWEEN", &[one], "Invalid number of argument(s) for the BETWEEN ComparisonOperator"),
        ("IN", &[], "Invalid number of argument(s) for the IN ComparisonOperator"),
        ("IN", &[one, two], "AttributeValues inside AttributeValueList must be of same type"),
        ("CONTAINS", &[set], "ComparisonOperator CONTAINS is not valid for SS AttributeValue type"),
        ("BEGINS_WITH", &[one], "ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type"),
        ("LT", &[set], "ComparisonOperator LT is not valid for SS AttributeValue type"),
        ("IN", &[set], "ComparisonOperator IN is not valid for SS AttributeValue type"),
        ("BETWEEN", &[one, two], "AttributeValues inside AttributeValueList must be of same type"),
    ];
    for (operator, list, expected_words) in rows {
        let found = words(filter(&[entry("a", operator, list)], false));
        assert_eq!(
            found,
            format!("One or more parameter values were invalid: {expected_words}"),
            "{operator}"
        );
    }
    assert_eq!(
        words(filter(&[entry("a", "BETWEEN", &[r#"{"N":"2"}"#, r#"{"N":"1"}"#])], false)),
        "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
    );
}

#[test]
fn key_conditions_become_a_key_test() {
    let key = |name: &str| KeyAttribute { name: name.into(), kind: KeyType::S };
    let a = r#"{"S":"a"}"#;
    let bind = |entries: &[LegacyCondition]| {
        key_conditions(entries).and_then(|condition| condition.bind(&[key("pk")], &[key("sk")]))
    };
    let test = bind(&[entry("pk", "EQ", &[a]), entry("sk", "BEGINS_WITH", &[a])]).unwrap();
    assert!(test.hash == [Value::s("a")] && test.sort == SortTest::BeginsWith(Value::s("a")));
    assert!(bind(&[entry("sk", "BETWEEN", &[a, a]), entry("pk", "EQ", &[a])]).is_ok());
    assert_eq!(words(bind(&[])), "Conditions can be of length 1 or 2 only");
    assert_eq!(words(bind(&[entry("pk", "GT", &[a])])), "Query key condition not supported");
    assert_eq!(words(bind(&[entry("sk", "EQ", &[a])])), "Query condition missed key schema element: pk");
    for (operator, list) in [("NE", &[a][..]), ("CONTAINS", &[a]), ("IN", &[a]), ("NULL", &[])] {
        let found = words(bind(&[entry("pk", "EQ", &[a]), entry("sk", operator, list)]));
        assert_eq!(found, "Attempted conditional constraint is not an indexable operation", "{operator}");
    }
}

#[test]
fn attribute_updates_put_add_and_delete() {
    let update = |name: &str, action, json: Option<&str>| LegacyUpdate {
        name: name.into(),
        action,
        value: json.map(super::value),
    };
    let key = item(r#"{"pk":{"S":"k"}}"#);
    let apply = |old: Option<&str>, entries: &[LegacyUpdate]| {
        let old = old.map(item);
        let updated = attribute_updates(entries).unwrap().apply(old.as_ref().map(Item::as_ref), key.as_ref());
        updated.map(|updated| updated.item)
    };
    use LegacyAction::{Add, Delete, Put};
    let old = Some(ITEM);
    let entries = [
        update("n", Add, Some(r#"{"N":"1"}"#)),
        update("ss", Delete, Some(r#"{"SS":["x"]}"#)),
        update("l", Add, Some(r#"{"L":[{"S":"y"}]}"#)),
        update("s", Delete, None),
        update("a.b", Put, Some(r#"{"S":"put"}"#)),
    ];
    let new = r#"{"n":{"N":"6"},"ss":{"SS":["y"]},"l":{"L":[{"S":"x"},{"S":"y"}]},"a.b":{"S":"put"}}"#;
    assert_eq!(apply(old, &entries), Ok(Some(item(new))));
    assert_eq!(apply(None, &[]), Ok(Some(key.clone())));
    assert_eq!(apply(None, &[update("s", Delete, None)]), Ok(None));
    let clash = apply(old, &[update("s", Add, Some(r#"{"N":"1"}"#))]);
    assert_eq!(clash.err().map(|error| error.message()), Some("Type mismatch for attribute to update"));

    let rows = [
        (update("a", Put, None), "Only DELETE action is allowed when no attribute value is specified"),
        (update("a", Add, None), "Only DELETE action is allowed when no attribute value is specified"),
        (
            update("a", Delete, Some(r#"{"N":"1"}"#)),
            "DELETE action with value is not supported for the type N",
        ),
        (update("a", Add, Some(r#"{"S":"1"}"#)), "ADD action is not supported for the type S"),
    ];
    for (entry, expected_words) in rows {
        let found = words(attribute_updates(&[entry]));
        assert_eq!(found, format!("One or more parameter values were invalid: {expected_words}"));
    }
}

#[test]
fn attributes_to_get_are_distinct_top_level_names() {
    let (shape, paths) = attributes_to_get(&["a.b".into(), "n".into(), "status".into()]).unwrap();
    assert_eq!(shape.project(item(ITEM).as_ref()), item(r#"{"a.b":{"S":"dot"},"n":{"N":"5"}}"#));
    assert_eq!(paths.len(), 3);
    assert_eq!(
        words(attributes_to_get(&["a".into(), "b".into(), "a".into()])),
        "One or more parameter values were invalid: Duplicate value in attribute name: a"
    );
}
