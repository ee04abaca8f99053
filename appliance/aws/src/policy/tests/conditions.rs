//! Every operator, as a table of facts.

use super::*;

/// Whether a statement with this condition applies to a request with these values of `aws:Key`.
fn holds(operator: &str, values: &str, request: &[&str]) -> bool {
    let policy = policy(&format!(
        r#"{{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{{"{operator}":{{"aws:Key":{values}}}}}}}"#
    ));
    let pairs: Vec<_> = request.iter().map(|value| ("aws:key", *value)).collect();
    let context = Context { resource_policy: Some(&policy), keys: &Pairs(&pairs), ..Context::default() };
    decide(&Principal::Anonymous, SEND, &queue(), &context).is_allowed()
}

/// Rows of values of the policy, a value of the request, and whether the positive operator is true.
type Facts<'a> = &'a [(&'a str, &'a str, bool)];

/// Checks rows for an operator and the opposite for its negation, if it has one.
fn check(positive: &str, negative: Option<&str>, facts: Facts<'_>) {
    for (values, request, expected) in facts {
        assert_eq!(holds(positive, values, &[request]), *expected, "{positive} {values} {request}");
        if let Some(negative) = negative {
            assert_eq!(holds(negative, values, &[request]), !*expected, "{negative} {values} {request}");
        }
    }
}

#[test]
fn texts_compare_with_case_without_case_and_with_wildcards() {
    let equal: Facts<'_> = &[
        (r#""a""#, "a", true),
        (r#""a""#, "A", false),
        (r#"["b","a"]"#, "a", true),
        (r#"["b","c"]"#, "a", false),
        (r#""a*""#, "ab", false),
        (r#""a*""#, "a*", true),
        (r#""""#, "", true),
        ("7", "7", true),
        ("true", "true", true),
    ];
    check("StringEquals", Some("StringNotEquals"), equal);
    check(
        "StringEqualsIgnoreCase",
        Some("StringNotEqualsIgnoreCase"),
        &[
            (r#""aÉ""#, "Aé", true),
            (r#""a*""#, "ab", false),
            (r#"["x","B"]"#, "b", true),
            (r#""a""#, "b", false),
        ],
    );
    check(
        "StringLike",
        Some("StringNotLike"),
        &[
            (r#""a*""#, "ab", true),
            (r#""a?""#, "a", false),
            (r#""*""#, "", true),
            (r#"["x*","y"]"#, "y", true),
        ],
    );
}

#[test]
fn numbers_compare_exactly() {
    let equal: Facts<'_> = &[
        ("7", "7", true),
        (r#""7""#, "7.0", true),
        ("7", "007", true),
        ("-7", "-7", true),
        ("0", "-0", true),
        ("9007199254740993", "9007199254740992", false),
        ("0.1", "0.1000000000000000000", true),
        ("7", "seven", false),
        ("7", "", false),
        ("7", "7.", false),
        ("7", "0x7", false),
        ("7", "123456789012345678901", false),
        ("[1,2]", "2", true),
    ];
    check("NumericEquals", Some("NumericNotEquals"), equal);
    check(
        "NumericLessThan",
        None,
        &[("7", "6.999", true), ("7", "7", false), ("7", "x", false), ("-1", "-2", true)],
    );
    check("NumericLessThanEquals", None, &[("7", "7", true), ("7", "7.001", false), ("7", "x", false)]);
    check("NumericGreaterThan", None, &[("7", "7.001", true), ("7", "7", false), ("7", "x", false)]);
    check("NumericGreaterThanEquals", None, &[("7", "7", true), ("7", "6", false), ("7", "", false)]);
}

#[test]
fn dates_are_iso_8601_or_seconds() {
    let noon = r#""2026-01-31T12:00:00Z""#;
    let equal: Facts<'_> = &[
        (noon, "2026-01-31T12:00:00Z", true),
        (noon, "1769860800", true),
        (noon, "2026-01-31T13:00:00+01:00", true),
        (r#""2026-01-31""#, "2026-01-31T00:00:00Z", true),
        ("1769860800", "2026-01-31T12:00:00.000Z", true),
        (noon, "2026-01-31T12:00:01Z", false),
        (noon, "noon", false),
        (noon, "", false),
    ];
    check("DateEquals", Some("DateNotEquals"), equal);
    check(
        "DateLessThan",
        None,
        &[(noon, "2026-01-31T11:59:59Z", true), (noon, "1769860800", false), (noon, "x", false)],
    );
    check("DateLessThanEquals", None, &[(noon, "1769860800", true), (noon, "1769860801", false)]);
    check("DateGreaterThan", None, &[(noon, "1769860801", true), (noon, "1769860800", false)]);
    check(
        "DateGreaterThanEquals",
        None,
        &[(noon, "1769860800", true), (noon, "1769860799", false), (noon, "x", false)],
    );
}

#[test]
fn booleans_and_bytes_compare_as_what_they_are() {
    let facts: Facts<'_> = &[
        ("true", "true", true),
        (r#""true""#, "True", true),
        ("false", "true", false),
        ("false", "false", true),
        ("true", "1", false),
        ("false", "", false),
    ];
    check("Bool", None, facts);
    check(
        "BinaryEquals",
        None,
        &[(r#""Zg==""#, "Zg==", true), (r#""Zg==""#, "Zw==", false), (r#""Zg==""#, "f", false)],
    );
}

#[test]
fn addresses_lie_in_networks_of_their_kind() {
    let facts: Facts<'_> = &[
        (r#""203.0.113.0/24""#, "203.0.113.7", true),
        (r#""203.0.113.0/24""#, "203.0.114.7", false),
        (r#""203.0.113.9/24""#, "203.0.113.7", true),
        (r#""203.0.113.7""#, "203.0.113.7", true),
        (r#""203.0.113.7""#, "203.0.113.8", false),
        (r#""0.0.0.0/0""#, "203.0.113.8", true),
        (r#""0.0.0.0/0""#, "2001:db8::1", false),
        (r#""203.0.113.0/24""#, "::ffff:203.0.113.7", true),
        (r#""::ffff:203.0.113.0/120""#, "203.0.113.7", true),
        (r#""::ffff:203.0.113.0/120""#, "203.0.114.7", false),
        (r#""2001:db8::/32""#, "2001:db8:1::1", true),
        (r#""2001:db8::/32""#, "2001:db9::1", false),
        (r#""2001:db8::1""#, "2001:db8:0::1", true),
        (r#"["10.0.0.0/8","::/0"]"#, "2001:db8::1", true),
        (r#""10.0.0.0/8""#, "not an address", false),
        (r#""10.0.0.0/8""#, "10.0.0.1:80", false),
    ];
    check("IpAddress", Some("NotIpAddress"), facts);
}

#[test]
fn all_four_operators_of_arns_match_part_by_part() {
    let facts: Facts<'_> = &[
        (r#""arn:aws:sns:us-east-1:111111111111:t""#, "arn:aws:sns:us-east-1:111111111111:t", true),
        (r#""arn:aws:sns:*:111111111111:*""#, "arn:aws:sns:us-east-1:111111111111:t", true),
        (r#""arn:aws:sns:*:111111111111:*""#, "arn:aws:sns:us-east-1:222222222222:t", false),
        (r#""*""#, "arn:aws:sns:us-east-1:111111111111:t", true),
        (r#""arn:aws:sns:*:*:*""#, "t", false),
    ];
    for (positive, negative) in [("ArnEquals", "ArnNotEquals"), ("ArnLike", "ArnNotLike")] {
        check(positive, Some(negative), facts);
    }
}

#[test]
fn null_asks_whether_the_key_is_absent() {
    for (values, request, expected) in [
        ("true", &[][..], true),
        ("true", &["x"][..], false),
        (r#""false""#, &["x"][..], true),
        (r#""false""#, &[][..], false),
        (r#""false""#, &[""][..], true),
        (r#"["true","false"]"#, &[][..], true),
    ] {
        assert_eq!(holds("Null", values, request), expected, "{values} {request:?}");
    }
}

#[test]
fn an_absent_key_fails_positive_operators_and_meets_negated_ones() {
    let samples = [
        ("StringEquals", r#""a""#, false),
        ("StringNotEquals", r#""a""#, true),
        ("StringEqualsIgnoreCase", r#""a""#, false),
        ("StringNotEqualsIgnoreCase", r#""a""#, true),
        ("StringLike", r#""*""#, false),
        ("StringNotLike", r#""*""#, true),
        ("NumericEquals", "1", false),
        ("NumericNotEquals", "1", true),
        ("NumericLessThan", "1", false),
        ("NumericLessThanEquals", "1", false),
        ("NumericGreaterThan", "1", false),
        ("NumericGreaterThanEquals", "1", false),
        ("DateEquals", "1", false),
        ("DateNotEquals", "1", true),
        ("DateLessThan", "1", false),
        ("DateLessThanEquals", "1", false),
        ("DateGreaterThan", "1", false),
        ("DateGreaterThanEquals", "1", false),
        ("Bool", "false", false),
        ("BinaryEquals", r#""Zg==""#, false),
        ("IpAddress", r#""::/0""#, false),
        ("NotIpAddress", r#""::/0""#, true),
        ("ArnEquals", r#""*""#, false),
        ("ArnLike", r#""*""#, false),
        ("ArnNotEquals", r#""*""#, true),
        ("ArnNotLike", r#""*""#, true),
    ];
    for (operator, values, expected) in samples {
        assert_eq!(holds(operator, values, &[]), expected, "{operator}");
        assert!(holds(&format!("{operator}IfExists"), values, &[]), "{operator}IfExists");
        assert!(holds(&format!("ForAllValues:{operator}"), values, &[]), "ForAllValues:{operator}");
        assert!(!holds(&format!("ForAnyValue:{operator}"), values, &[]), "ForAnyValue:{operator}");
        assert!(
            holds(&format!("ForAnyValue:{operator}IfExists"), values, &[]),
            "ForAnyValue:{operator}IfExists"
        );
    }
}

#[test]
fn if_exists_changes_nothing_for_a_key_that_is_there() {
    assert!(holds("StringEqualsIfExists", r#""a""#, &["a"]));
    assert!(!holds("StringEqualsIfExists", r#""a""#, &["b"]));
    assert!(!holds("StringNotEqualsIfExists", r#""a""#, &["a"]));
    assert!(!holds("NumericLessThanIfExists", "7", &["8"]));
}

#[test]
fn several_values_of_a_key_count_by_the_prefix() {
    let cases: [(&str, &[&str], bool); 16] = [
        ("ForAllValues:StringEquals", &["a", "b"], true),
        ("ForAllValues:StringEquals", &["a", "c"], false),
        ("ForAllValues:StringNotEquals", &["c", "d"], true),
        ("ForAllValues:StringNotEquals", &["c", "a"], false),
        ("ForAnyValue:StringEquals", &["c", "a"], true),
        ("ForAnyValue:StringEquals", &["c", "d"], false),
        ("ForAnyValue:StringNotEquals", &["a", "c"], true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], false),
        ("ForAllValues:StringLike", &["a", "b", "b"], true),
        ("ForAnyValue:StringNotLike", &["a"], false),
        ("StringEquals", &["c", "a"], true),
        ("StringEquals", &["c", "d"], false),
        ("StringNotEquals", &["c", "d"], true),
        ("StringNotEquals", &["c", "a"], false),
        ("ForAllValues:StringEqualsIfExists", &["a", "c"], false),
        ("ForAnyValue:StringEqualsIfExists", &["c", "a"], true),
    ];
    for (operator, request, expected) in cases {
        assert_eq!(holds(operator, r#"["a","b"]"#, request), expected, "{operator} {request:?}");
    }
}

#[test]
fn a_variable_without_a_value_makes_its_operator_false() {
    let missing = r#""${aws:nothing}""#;
    assert!(!holds("StringEquals", missing, &["a"]));
    assert!(!holds("StringNotEquals", missing, &["a"]), "neither this nor its opposite is known");
    assert!(!holds("ArnNotLike", r#""arn:aws:sqs:::${aws:nothing}""#, &["arn:aws:sqs:::a"]));
    assert!(holds("StringEquals", r#"["${aws:nothing}","a"]"#, &["a"]));
    assert!(holds("StringNotEquals", missing, &[]), "an absent key is looked at first");
    assert!(holds("StringEquals", r#""${aws:nothing, 'a'}""#, &["a"]));
    assert!(holds("StringEqualsIgnoreCase", r#""${aws:key}""#, &["a"]), "a key equals itself");
    assert!(holds("StringLike", r#""${AWS:Key}*""#, &["a"]));
    assert!(!holds("StringNotEquals", r#""${aws:key}""#, &["a"]));
}

#[test]
fn operators_and_keys_are_all_asked() {
    let policy = policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{
            "StringEquals":{"aws:A":"1","aws:B":["2","3"]},"Bool":{"aws:C":"true"}}}"#,
    );
    let ask = |keys: &[(&str, &str)]| {
        let context = Context { resource_policy: Some(&policy), keys: &Pairs(keys), ..Context::default() };
        decide(&Principal::Anonymous, SEND, &queue(), &context).is_allowed()
    };
    assert!(ask(&[("aws:a", "1"), ("AWS:B", "3"), ("aws:C", "true")]));
    assert!(!ask(&[("aws:a", "1"), ("aws:b", "3")]));
    assert!(!ask(&[("aws:a", "1"), ("aws:c", "true")]));
    assert!(!ask(&[("aws:a", "2"), ("aws:b", "3"), ("aws:c", "true")]));
    assert!(!ask(&[("aws:a", "1"), ("aws:b", "3"), ("aws:c", "false")]));
}
