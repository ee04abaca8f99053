//! Key conditions against keys.

use super::*;
use crate::model::table::{KeyAttribute, KeyType};

const K: Kind = Kind::KeyCondition;
const VALUES: &str =
    r#"{":a":{"S":"a"},":b":{"S":"b"},":n":{"N":"1"},":t":{"BOOL":true},":e":{"S":""},":c":{"S":"c"}}"#;

fn keys(text: &str) -> Vec<KeyAttribute> {
    let kind = |letter: &str| match letter {
        "S" => KeyType::S,
        "N" => KeyType::N,
        _ => KeyType::B,
    };
    names(text).into_iter().map(|(name, letter)| KeyAttribute { name, kind: kind(&letter) }).collect()
}

/// Binds a text against a key, `pk=S` or `pk=S,qk=N`.
fn bind(text: &str, hash: &str, sort: &str) -> Result<KeyTest, String> {
    let (names, values) = (names("#pk=pk,#m=m.x"), values(VALUES));
    let mut binder = Binder::new(Some(&names), Some(&values));
    let condition = binder.key_condition(&mut Cache::new(), text).map_err(ExpressionError::into_message)?;
    condition.bind(&keys(hash), &keys(sort)).map_err(ExpressionError::into_message)
}

fn s(text: &str) -> Value {
    Value::s(text)
}

#[test]
fn the_partition_key_is_given_and_the_sort_key_may_be() {
    let table = |text: &str| bind(text, "pk=S", "sk=S").ok().unwrap();
    for text in ["pk = :a", "#pk = :a", "(pk = :a)", ":a = pk"] {
        let test = table(text);
        assert!(test.hash == [s("a")] && test.prefix.is_empty() && test.sort == SortTest::Any, "{text}");
    }
    let rows = [
        ("sk = :b", SortTest::Equal(s("b"))),
        ("sk < :b", SortTest::Less(s("b"))),
        ("sk <= :b", SortTest::LessOrEqual(s("b"))),
        ("sk > :b", SortTest::Greater(s("b"))),
        ("sk >= :b", SortTest::GreaterOrEqual(s("b"))),
        (":b <= sk", SortTest::GreaterOrEqual(s("b"))),
        (":b > sk", SortTest::Less(s("b"))),
        ("sk BETWEEN :a AND :b", SortTest::Between(s("a"), s("b"))),
        ("begins_with(sk, :b)", SortTest::BeginsWith(s("b"))),
    ];
    for (sort, expected) in rows {
        for text in [
            format!("pk = :a AND {sort}"),
            format!("({sort}) AND (pk = :a)"),
            format!("(pk = :a AND ({sort}))"),
        ] {
            let test = table(&text);
            assert!(test.hash == [s("a")] && test.prefix.is_empty() && test.sort == expected, "{text}");
        }
    }
}

#[test]
fn a_key_of_several_attributes_is_used_from_the_left() {
    let test = bind("q = :n AND p = :a AND s = :b AND r = :c AND t > :n", "p=S,q=N", "r=S,s=S,t=N").unwrap();
    assert!(test.hash == [s("a"), value(r#"{"N":"1"}"#)]);
    assert!(test.prefix == [s("c"), s("b")]);
    assert!(test.sort == SortTest::Greater(value(r#"{"N":"1"}"#)));
    let test = bind("p = :a AND r = :b", "p=S", "r=S,s=S").unwrap();
    assert!(test.prefix.is_empty() && test.sort == SortTest::Equal(s("b")));
    let refused = |text: &str| bind(text, "p=S", "r=S,s=S").err().unwrap();
    assert_eq!(refused("p = :a AND s = :b"), "Query condition missed key schema element: r");
    assert_eq!(refused("p = :a AND r > :b AND s = :c"), "Query key condition not supported");
}

#[test]
fn conditions_that_no_key_can_answer_are_refused() {
    let rows = [
        ("sk = :a", "Query condition missed key schema element: pk"),
        ("x = :a", "Query condition missed key schema element: pk"),
        ("x = :a AND y = :b", "Query condition missed key schema element: pk"),
        ("pk = :a AND x = :b", "Query condition missed key schema element: sk"),
        ("pk > :a", "Query key condition not supported"),
        ("begins_with(pk, :a)", "Query key condition not supported"),
        (
            "pk = :a AND sk = :b AND x = :c",
            "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)",
        ),
        (
            "pk = :n",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "pk = :a AND sk > :n",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "pk = :t",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "pk = :e",
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot \
            contain an empty string value. Key: pk",
        ),
    ];
    for (text, words) in rows {
        assert_eq!(bind(text, "pk=S", "sk=S").err().as_deref(), Some(words), "{text}");
    }
    let words =
        "The number of query conditions (2) exceeds the number of key attributes defined in the schema (1)";
    assert_eq!(bind("pk = :a AND sk = :b", "pk=S", "").err().unwrap(), words);
}

#[test]
fn a_key_condition_is_a_conjunction_of_simple_tests() {
    let rows = [
        ("pk = :a OR sk = :b", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT pk = :a", "Invalid operator used in KeyConditionExpression: NOT"),
        ("pk IN (:a, :b)", "Invalid operator used in KeyConditionExpression: IN"),
        ("pk <> :a", "Invalid operator used in KeyConditionExpression: <>"),
        ("contains(pk, :a)", "Invalid operator used in KeyConditionExpression: contains"),
        ("attribute_exists(pk)", "Invalid operator used in KeyConditionExpression: attribute_exists"),
        ("size(pk) = :n", "KeyConditionExpressions cannot contain nested operations"),
        ("pk.x = :a", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("pk[0] = :a", "KeyConditionExpressions cannot have conditions on nested attributes"),
        (
            "pk = sk",
            "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition",
        ),
        (":a = :b", "Invalid condition in KeyConditionExpression: No key attribute specified"),
        (
            ":a BETWEEN pk AND :b",
            "Invalid condition in KeyConditionExpression: BETWEEN operator must have the key attribute as its first operand",
        ),
        (
            "begins_with(:a, pk)",
            "Invalid condition in KeyConditionExpression: begins_with operator must have the key attribute as its first operand",
        ),
        ("pk = :a AND pk = :b", "KeyConditionExpressions must only contain one condition per key"),
        ("((pk = :a))", "The expression has redundant parentheses;"),
        (
            "begins_with(pk, :n)",
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
        (
            "pk < :t",
            "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
        ),
        // Clause by clause: the first problem wins, of whatever sort.
        (
            "pk = :u AND status = :a",
            "An expression attribute value used in expression is not defined; attribute value: :u",
        ),
        ("status = :a AND pk = :u", "Attribute name is a reserved keyword; reserved keyword: status"),
        ("pk <> :a AND sk = :u", "Invalid operator used in KeyConditionExpression: <>"),
    ];
    for (text, words) in rows {
        let expected = format!("Invalid {}: {words}", K.parameter());
        assert_eq!(bind(text, "pk=S", "sk=S").err(), Some(expected), "{text}");
    }
    // A dot in what a name stands for is part of the attribute's name.
    assert_eq!(bind("#m = :a", "m.x=S", "").ok().unwrap().hash.len(), 1);
}
