//! What a document may hold, and how each mistake is called.

use super::*;

fn refused(text: &str, rules: &Rules) -> PolicyError {
    match Policy::parse(text, rules) {
        Ok(_) => panic!("taken: {text}"),
        Err(error) => error,
    }
}

const GOOD: &str = r#"{"Sid":"a","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}"#;

/// The good statement with `what` replaced by `with`.
fn changed(what: &str, with: &str) -> String {
    assert!(GOOD.contains(what), "{what}");
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, GOOD.replacen(what, with, 1))
}

#[test]
fn one_statement_needs_no_list_and_one_value_neither() {
    let one = Policy::parse(&format!(r#"{{"Statement":{GOOD}}}"#), &RULES).unwrap();
    assert_eq!(one.sids().collect::<Vec<_>>(), ["a"]);
    assert_eq!(one.id(), None);
    let text = format!(" {{ \"Id\" : \"x\" , \"Version\":\"2008-10-17\",\r\n\t\"Statement\":[ {GOOD} ] }} ");
    assert_eq!(Policy::parse(&text, &RULES).unwrap().id(), Some("x"));
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let long = "x".repeat(200);
    let cases: Vec<(String, Flaw, &str)> = vec![
        (changed(r#""Sid""#, r#""sid""#), Flaw::UnknownElement("sid".into()), ""),
        (
            changed(r#""Sid":"a""#, &format!(r#""{long}":"a""#)),
            Flaw::UnknownElement("x".repeat(80).into()),
            "",
        ),
        (changed(r#""Sid":"a""#, r#""Sid":1"#), Flaw::WrongType, "Sid"),
        (changed(r#""Sid":"a""#, r#""Sid":null"#), Flaw::WrongType, "Sid"),
        (changed(r#""Sid":"a""#, r#""Sid":"a","Sid":"b""#), Flaw::Twice, "Sid"),
        (changed("Allow", "allow"), Flaw::BadEffect, "Effect"),
        (changed(r#""Effect":"Allow","#, ""), Flaw::Missing, "Effect"),
        (changed(r#""Action":"sqs:*","#, ""), Flaw::Missing, "Action"),
        (changed(r#""Action""#, r#""NotAction":"sqs:*","Action""#), Flaw::Twice, "Action"),
        (changed(r#""sqs:*""#, "[]"), Flaw::Empty, "Action"),
        (changed(r#""sqs:*""#, "{}"), Flaw::WrongType, "Action"),
        (changed(r#""sqs:*""#, r#"["sqs:*",null]"#), Flaw::WrongType, "Action"),
        (changed(r#""sqs:*""#, r#"[["sqs:*"]]"#), Flaw::WrongType, "Action"),
        (changed("sqs:*", "s3:*"), Flaw::BadVendor("s3:*".into()), "Action"),
        (changed("sqs:*", "SendMessage"), Flaw::BadVendor("SendMessage".into()), "Action"),
        (changed("sqs:*", "s*:*"), Flaw::BadVendor("s*:*".into()), "Action"),
        (changed("sqs:*", "sqs:"), Flaw::BadVendor("sqs:".into()), "Action"),
        (changed("sqs:*", "sqs:a b"), Flaw::BadVendor("sqs:a b".into()), "Action"),
        (changed(r#","Resource":"*""#, ""), Flaw::Missing, "Resource"),
        (changed(r#""Resource":"*""#, r#""Resource":"q""#), Flaw::BadArn("q".into()), "Resource"),
        (changed(r#""Resource":"*""#, r#""Resource":null"#), Flaw::WrongType, "Resource"),
        (
            changed(r#""Resource":"*""#, r#""Resource":"arn:aws:sqs:::${x""#),
            Flaw::BadVariable("arn:aws:sqs:::${x".into()),
            "Resource",
        ),
        (changed(r#""Principal":"*","#, ""), Flaw::Missing, "Principal"),
        (changed(r#""Principal":"*""#, r#""NotPrincipal":"*""#), Flaw::Prohibited, "NotPrincipal"),
    ];
    for (text, flaw, element) in cases {
        let found = refused(&text, &RULES);
        assert_eq!(found, PolicyError { flaw, statement: Some(0), element }, "{text}");
    }
}

#[test]
fn what_stands_around_the_statements_is_checked_too() {
    let whole = |text: &str| {
        let error = refused(text, &RULES);
        assert_eq!(error.statement, None, "{text}");
        (error.flaw, error.element)
    };
    for text in
        ["", "{", "x", "{}x", r#"{"Statement":}"#, r#"{"Version":"2012-10-17",}"#, "{\"Id\":\"\u{1}\"}"]
    {
        assert_eq!(whole(text), (Flaw::Syntax, ""), "{text}");
    }
    assert_eq!(whole("[]"), (Flaw::WrongType, ""));
    assert_eq!(whole("null"), (Flaw::WrongType, ""));
    assert_eq!(whole("{}"), (Flaw::Missing, "Statement"));
    assert_eq!(whole(r#"{"Statement":[]}"#), (Flaw::Empty, "Statement"));
    assert_eq!(whole(r#"{"Statement":null}"#), (Flaw::WrongType, "Statement"));
    assert_eq!(whole(r#"{"statement":[]}"#), (Flaw::UnknownElement("statement".into()), ""));
    assert_eq!(
        whole(&format!(r#"{{"Version":"2020-01-01","Statement":{GOOD}}}"#)),
        (Flaw::BadVersion, "Version")
    );
    assert_eq!(whole(&format!(r#"{{"Statement":{GOOD},"Statement":{GOOD}}}"#)), (Flaw::Twice, "Statement"));
    assert_eq!(whole(&format!(r#"{{"Statement":{GOOD},"Id":[]}}"#)), (Flaw::WrongType, "Id"));
}

#[test]
fn a_second_statement_is_named_as_such_and_shares_no_sid() {
    let other = GOOD.replace(r#""a""#, r#""b""#);
    assert!(Policy::parse(&format!(r#"{{"Statement":[{GOOD},{other}]}}"#), &RULES).is_ok());
    let error = refused(&format!(r#"{{"Statement":[{GOOD},{other},{GOOD}]}}"#), &RULES);
    assert_eq!(
        error,
        PolicyError { flaw: Flaw::DuplicateSid("a".into()), statement: Some(2), element: "Sid" }
    );
    assert_eq!(error.to_string(), "statement 3: Sid: the statement id a is not unique");
    let bad = other.replace("Allow", "Grant");
    assert_eq!(refused(&format!(r#"{{"Statement":[{GOOD},{bad}]}}"#), &RULES).statement, Some(1));
}

#[test]
fn principals_are_named_exactly() {
    let with = |principal: &str| changed(r#""Principal":"*""#, &format!(r#""Principal":{principal}"#));
    for good in [
        r#"{"AWS":"*"}"#,
        r#"{"AWS":"111111111111"}"#,
        r#"{"AWS":["arn:aws:iam::111111111111:root","arn:aws:iam::111111111111:user/a/b"]}"#,
        r#"{"AWS":"arn:aws:iam::111111111111:role/r"}"#,
        r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/r/s"}"#,
        r#"{"AWS":"arn:aws:sts::111111111111:federated-user/f"}"#,
        r#"{"AWS":"AIDACKCEVSQ6C2EXAMPLE"}"#,
        r#"{"Service":"sns.amazonaws.com","AWS":"*"}"#,
        r#"{"Service":["sns.amazonaws.com","s3.amazonaws.com"]}"#,
        r#"{"Federated":"accounts.google.com"}"#,
        &format!(r#"{{"CanonicalUser":"{}"}}"#, "a".repeat(64)),
    ] {
        assert!(Policy::parse(&with(good), &RULES).is_ok(), "{good}");
    }
    for (bad, text) in [
        (r#""111111111111""#, "111111111111"),
        (r#"{"AWS":"11111111111"}"#, "11111111111"),
        (r#"{"AWS":"arn:aws:iam::111111111111:user/*"}"#, "arn:aws:iam::111111111111:user/*"),
        (r#"{"AWS":"arn:aws:iam::*:root"}"#, "arn:aws:iam::*:root"),
        (r#"{"AWS":"arn:aws:iam::111111111111:group/g"}"#, "arn:aws:iam::111111111111:group/g"),
        (r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/r"}"#, "arn:aws:sts::111111111111:assumed-role/r"),
        (r#"{"AWS":"arn:aws:iam::111111111111:user/"}"#, "arn:aws:iam::111111111111:user/"),
        (r#"{"AWS":""}"#, ""),
        (r#"{"Service":"*"}"#, "*"),
        (r#"{"Service":"sns"}"#, "sns"),
        (r#"{"Federated":"*"}"#, "*"),
        (r#"{"CanonicalUser":"x"}"#, "x"),
        (r#"{"Aws":"*"}"#, "Aws"),
    ] {
        let error = refused(&with(bad), &RULES);
        assert!(error.is_bad_principal(), "{error}");
        assert_eq!(error.flaw, Flaw::BadPrincipal(text.into()), "{bad}");
    }
    assert_eq!(refused(&with("{}"), &RULES).flaw, Flaw::Empty);
    assert_eq!(refused(&with("[]"), &RULES).flaw, Flaw::WrongType);
    assert_eq!(refused(&with(r#"{"AWS":[]}"#), &RULES).flaw, Flaw::Empty);
    assert_eq!(refused(&with(r#"{"AWS":"*","AWS":"*"}"#), &RULES).flaw, Flaw::Twice);
}

#[test]
fn conditions_are_understood_or_refused() {
    let with = |condition: &str| changed(r#""Resource""#, &format!(r#""Condition":{condition},"Resource""#));
    assert!(Policy::parse(&with("{}"), &RULES).is_ok());
    assert!(Policy::parse(&with(r#"{"Bool":{"aws:SecureTransport":false}}"#), &RULES).is_ok());
    let cases: [(&str, Flaw); 22] = [
        ("null", Flaw::WrongType),
        ("[]", Flaw::WrongType),
        (r#"{"StringEquals":{}}"#, Flaw::Empty),
        (r#"{"StringEquals":null}"#, Flaw::WrongType),
        (r#"{"StringEquals":{"aws:a":[]}}"#, Flaw::Empty),
        (r#"{"StringEquals":{"aws:a":{}}}"#, Flaw::WrongType),
        (r#"{"StringEquals":{"aws:a":[null]}}"#, Flaw::WrongType),
        (r#"{"StringEquals":{"a":"b"}}"#, Flaw::BadKey("a".into())),
        (r#"{"StringEquals":{"aws:a":"b","AWS:A":"c"}}"#, Flaw::Twice),
        (r#"{"StringEquals":{"aws:a":"b"},"StringEquals":{"aws:b":"c"}}"#, Flaw::Twice),
        (r#"{"StringMatches":{"aws:a":"b"}}"#, Flaw::UnknownOperator("StringMatches".into())),
        (r#"{"ForSome:StringLike":{"aws:a":"b"}}"#, Flaw::UnknownOperator("ForSome:StringLike".into())),
        (r#"{"NullIfExists":{"aws:a":"true"}}"#, Flaw::UnknownOperator("NullIfExists".into())),
        (r#"{"ForAllValues:Null":{"aws:a":"true"}}"#, Flaw::UnknownOperator("ForAllValues:Null".into())),
        (r#"{"NumericEquals":{"aws:a":"x"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"NumericEquals":{"aws:a":"${aws:b}"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"DateEquals":{"aws:a":"today"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"Bool":{"aws:a":"yes"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"BinaryEquals":{"aws:a":"a"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"IpAddress":{"aws:a":"10.0.0.0/33"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"ArnLike":{"aws:a":"arn:aws:sns:*"}}"#, Flaw::BadValue("aws:a".into())),
        (r#"{"StringLike":{"aws:a":"${"}}"#, Flaw::BadValue("aws:a".into())),
    ];
    for (condition, flaw) in cases {
        let error = refused(&with(condition), &RULES);
        assert_eq!(error, PolicyError { flaw, statement: Some(0), element: "Condition" }, "{condition}");
    }
}

#[test]
fn each_kind_of_policy_has_its_elements() {
    let without = GOOD.replace(r#""Principal":"*","#, "");
    let text = |statement: &str| format!(r#"{{"Statement":{statement}}}"#);
    assert!(Policy::parse(&text(&without), &IDENTITY).is_ok());
    assert_eq!(refused(&text(GOOD), &IDENTITY).flaw, Flaw::Prohibited);
    let assume = r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}"#;
    assert!(Policy::parse(&text(assume), &TRUST).is_ok());
    let error = refused(&text(&assume.replace("}", r#","Resource":"*"}"#)), &TRUST);
    assert_eq!((error.flaw, error.element), (Flaw::Prohibited, "Resource"));
    assert_eq!(refused(&text(&assume.replace(r#""Principal":"*","#, "")), &TRUST).flaw, Flaw::Missing);
}

#[test]
fn bounds_hold_before_anything_is_made_of_the_text() {
    let rules = Rules { bytes_max: 400, statement_count_max: 2, action_count_max: 2, ..RULES };
    let statement = GOOD.replace(r#""Sid":"a","#, "");
    let many = |count: usize| format!(r#"{{"Statement":[{}]}}"#, vec![&*statement; count].join(","));
    assert!(Policy::parse(&many(2), &rules).is_ok());
    let error = refused(&many(3), &rules);
    assert_eq!((error.flaw, error.statement), (Flaw::TooMany(2), Some(2)));
    assert_eq!(refused(&many(10), &rules).flaw, Flaw::TooLong(400));
    let actions = |list: &str| format!(r#"{{"Statement":{}}}"#, statement.replace(r#""sqs:*""#, list));
    assert!(Policy::parse(&actions(r#"["sqs:a","sqs:b"]"#), &rules).is_ok());
    let error = refused(&actions(r#"["sqs:a","sqs:b","sqs:c"]"#), &rules);
    assert_eq!((error.flaw, error.element), (Flaw::TooMany(2), "Action"));
}

#[test]
fn a_deep_document_is_refused_without_a_deep_stack() {
    for (open, close) in [("[", "]"), (r#"{"Statement":"#, "}"), (r#"{"Condition":{"a":"#, "}}")] {
        let text = format!("{}1{}", open.repeat(2_000), close.repeat(2_000));
        assert!(Policy::parse(&text, &RULES).is_err());
        let inside = GOOD.replace(r#""sqs:*""#, &text);
        assert!(Policy::parse(&format!(r#"{{"Statement":{inside}}}"#), &RULES).is_err());
    }
}
