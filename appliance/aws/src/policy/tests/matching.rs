//! Patterns: facts, and random ones beside a matcher that is too simple to be wrong.

use super::*;
use crate::policy::pattern::{ArnPattern, BadArn, BadVariable, Match, Pattern, Syntax, arn_parts};

const ALL: Syntax = Syntax { wildcards: true, variables: true };

fn matches(pattern: &str, text: &str) -> bool {
    Pattern::parse(pattern, ALL).unwrap().matches(text, &NoKeys) == Match::Yes
}

fn arn_matches(pattern: &str, text: &str) -> bool {
    let pattern = ArnPattern::parse(pattern, true).unwrap();
    pattern.matches(arn_parts(text).as_ref(), &NoKeys) == Match::Yes
}

#[test]
fn a_star_is_anything_and_a_question_mark_one_character() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "anything:/at all", true),
        ("**", "", true),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*a", "ba", true),
        ("a*b*c", "a--b--c", true),
        ("a*b*c", "a--c--b", false),
        ("a*a", "a", false),
        ("ab*ba", "aba", false),
        ("a*a", "aa", true),
        ("?", "é", true),
        ("?", "", false),
        ("??", "é", false),
        ("a?c*", "abcd", true),
        ("*?", "", false),
        ("*?", "x", true),
        ("?*?", "x", false),
        ("*a?b*", "xxaababxx", true),
        ("*a?b", "xxabaab", true),
        ("*a?b", "xxaabaa", false),
        ("A", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn an_arn_matches_part_by_part() {
    for (pattern, text, expected) in [
        ("*", "*", true),
        ("*", QUEUE, true),
        (QUEUE, QUEUE, true),
        (QUEUE, "*", false),
        ("arn:aws:sqs:*:*:*", QUEUE, true),
        ("arn:aws:sqs:us-*:1111????1111:?", QUEUE, true),
        ("arn:aws:sqs:*:q", "arn:aws:sqs:us-east-1:111111111111:q", false),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/x/y:z", true),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
        ("arn:aws:s3:::b*:y", "arn:aws:s3:::b:x:y", true),
        ("arn:*:s*:*:*:*", QUEUE, true),
        ("arn:aws:sqs::111111111111:q", QUEUE, false),
        ("arn:aws:SQS:*:*:*", QUEUE, false),
        ("arn:aws:sqs:*:*:Q", QUEUE, false),
        ("arn:aws:sqs:*:*:*", "sqs", false),
        ("arn:aws:sqs:*:*:*", "arn:aws:sqs:x", false),
    ] {
        if let Ok(pattern) = ArnPattern::parse(pattern, true) {
            let found = pattern.matches(arn_parts(text).as_ref(), &NoKeys) == Match::Yes;
            assert_eq!(found, expected, "{pattern:?} {text}");
        } else {
            assert!(!expected && pattern == "arn:aws:sqs:*:q", "{pattern}");
        }
    }
    for text in ["", "**", "q", "arn", "arn:", "arn:aws:sqs:*", "arn:aws:sqs:a:b", "*:aws:sqs:a:b:c"] {
        assert_eq!(ArnPattern::parse(text, true), Err(BadArn::Form), "{text}");
    }
    assert_eq!(ArnPattern::parse("arn:aws:sqs:a:b:${c", true), Err(BadArn::Variable));
}

#[test]
fn what_is_substituted_is_text_and_stays_in_its_part() {
    let keys =
        Pairs(&[("aws:username", "*"), ("aws:userid", "a:b"), ("aws:tagkeys", "x"), ("aws:tagkeys", "y")]);
    let ask = |pattern: &str, text: &str| Pattern::parse(pattern, ALL).unwrap().matches(text, &keys);
    assert_eq!(ask("home/${aws:username}", "home/*"), Match::Yes);
    assert_eq!(ask("home/${aws:username}", "home/bob"), Match::No);
    assert_eq!(ask("*/${AWS:UserName}", "home/*"), Match::Yes);
    assert_eq!(ask("?ome/${aws:username}*", "home/*/x"), Match::Yes);
    assert_eq!(ask("?ome/${aws:username}*", "home/a/x"), Match::No);
    assert_eq!(ask("${aws:nothing}", ""), Match::Unknown);
    assert_eq!(ask("${aws:nothing, 'a}*'}", "a}*"), Match::Yes, "a default is text");
    assert_eq!(ask("${aws:nothing,''}", ""), Match::Yes);
    assert_eq!(ask("${aws:tagkeys}", "x"), Match::Unknown, "several values are no one value");
    assert_eq!(ask("${*}${?}${$}{", "*?${"), Match::Yes);
    assert_eq!(ask("${*}", "a"), Match::No);
    let arn = ArnPattern::parse("arn:aws:sqs:us-east-1:${aws:userid}:q", true).unwrap();
    assert_eq!(arn.matches(arn_parts("arn:aws:sqs:us-east-1:a:b:q").as_ref(), &keys), Match::No);
    let arn = ArnPattern::parse("arn:aws:sqs:us-east-1:1:${aws:userid}", true).unwrap();
    assert_eq!(arn.matches(arn_parts("arn:aws:sqs:us-east-1:1:a:b").as_ref(), &keys), Match::Yes);
    for text in
        ["${", "${}", "${a}", "${a:}", "${:a}", "${a:b", "${a:b,c}", "${a:b,'c}", "${a:*}", "${a:b,'c'd}"]
    {
        assert_eq!(Pattern::parse(text, ALL), Err(BadVariable), "{text}");
    }
}

#[test]
fn an_old_policy_has_no_variables() {
    let old = Syntax { wildcards: true, variables: false };
    let keys = Pairs(&[("aws:username", "bob")]);
    let pattern = Pattern::parse("${aws:username}", old).unwrap();
    assert_eq!(pattern.matches("bob", &keys), Match::No);
    assert_eq!(pattern.matches("${aws:username}", &keys), Match::Yes);
    assert_eq!(Pattern::parse("${*}", old).unwrap().matches("${x}", &keys), Match::Yes);
}

/// By the definition, without a thought for time.
fn simple(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some('*'), _) => simple(&pattern[1..], text) || (!text.is_empty() && simple(pattern, &text[1..])),
        (Some('?'), Some(_)) => simple(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) => a == b && simple(&pattern[1..], &text[1..]),
        _ => false,
    }
}

#[test]
fn random_patterns_match_what_the_definition_says() {
    let mut random = Random::new("random_patterns");
    let mut hit_count = 0;
    for _ in 0..100_000 {
        let mut draw = |letters: &[char], length: usize| {
            (0..random.below(length)).map(|_| random.pick(letters)).collect::<Vec<char>>()
        };
        let pattern = draw(&['a', 'b', 'é', '*', '?'], 9);
        let text = draw(&['a', 'b', 'é'], 12);
        let expected = simple(&pattern, &text);
        let (pattern, text): (String, String) = (pattern.iter().collect(), text.iter().collect());
        assert_eq!(matches(&pattern, &text), expected, "{pattern} {text}");
        hit_count += usize::from(expected);
    }
    assert!(hit_count > 5_000, "{hit_count} of 100,000 matched");
}

#[test]
fn patterns_beyond_a_word_of_states_match() {
    for length in [63, 64, 65, 127, 128, 600] {
        let text = "ab".repeat(length);
        let pattern: String =
            text.chars().enumerate().map(|(at, c)| if at % 7 == 3 { '?' } else { c }).collect();
        assert!(matches(&pattern, &text));
        assert!(!matches(&pattern, &text[1..]));
        assert!(matches(&format!("*{pattern}*"), &format!("b{text}b")));
        assert!(!matches(&format!("{pattern}?"), &text));
        assert!(matches(&format!("{}?*b", &pattern[..length]), &text));
    }
}

#[test]
fn hostile_patterns_take_time_linear_in_the_text() {
    // What backtracks over all stars does not end before the night does. No clock: a test that hangs has failed.
    let text = "a".repeat(200_000);
    let stars = "a*".repeat(200) + "b";
    let marks = "a?*".repeat(200) + "b";
    let long = format!("*{}?b", "a".repeat(3_000));
    assert!(!matches(&stars, &text));
    assert!(!matches(&marks, &text));
    assert!(!matches(&long, &text));
    assert!(arn_matches(&format!("arn:aws:s3:::{}", "*a".repeat(300)), &format!("arn:aws:s3:::{text}")));
}
