//! Facts of model/attributes.rs, each a case of AWS's reference or of its recorded answers.

use std::collections::BTreeMap;

use super::*;
use crate::model::queue::{QueueId, Sequence};

fn parse(pairs: &[(&str, &str)]) -> Result<Given, (Code, String)> {
    Given::parse(pairs.iter().copied()).map_err(|error| (error.code, error.message.into_owned()))
}

fn made(name: &str, pairs: &[(&str, &str)]) -> Result<Attributes, (Code, String)> {
    parse(pairs)?.for_new(name).map_err(|error| (error.code, error.message.into_owned()))
}

fn set(attributes: &mut Attributes, pairs: &[(&str, &str)]) -> Result<(), (Code, String)> {
    parse(pairs)?.apply(attributes).map_err(|error| (error.code, error.message.into_owned()))
}

fn record(attributes: Attributes) -> QueueRecord {
    QueueRecord {
        id: QueueId(1),
        handle_key: [0; 16],
        created_ms: 1_700_000_000_999,
        modified_ms: 1_700_000_001_000,
        attributes,
        tags: BTreeMap::new(),
        purged_below: Sequence::ZERO,
        last_purge_ms: 0,
    }
}

fn shown(attributes: Attributes, names: &[&str]) -> Vec<(&'static str, String)> {
    let asked = Asked::parse(names.iter().copied()).expect("known names");
    asked.values(&record(attributes), "arn", Numbers { visible: 1, in_flight: 2, delayed: 3 })
}

fn value_error(name: &str) -> (Code, String) {
    (Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
}

fn unknown(name: &str) -> (Code, String) {
    (Code::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

#[test]
fn numbers_are_taken_at_both_ends_of_their_ranges_and_refused_beyond() {
    for (name, low, high) in [
        ("VisibilityTimeout", 0_i64, 43_200),
        ("DelaySeconds", 0, 900),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("MaximumMessageSize", 1_024, 1_048_576),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ] {
        for good in [low, high] {
            let given = parse(&[(name, &good.to_string())]).expect("within the range");
            let attributes = given.for_new("q").expect("a queue");
            assert_eq!(given.difference(&attributes), None, "{name} {good}");
        }
        let (below, above) = ((low - 1).to_string(), (high + 1).to_string());
        for bad in [&*below, &*above, "", " 2", "2 ", "+2", "1.5", "true", "99999999999999999999"] {
            assert_eq!(parse(&[(name, bad)]), Err(value_error(name)), "{name} {bad}");
        }
    }
}

#[test]
fn unknown_and_read_only_attributes_cannot_be_set() {
    for name in
        ["Foo", "", "visibilitytimeout", "All", "QueueArn", "CreatedTimestamp", "ApproximateNumberOfMessages"]
    {
        assert_eq!(parse(&[(name, "1")]), Err(unknown(name)));
    }
}

#[test]
fn a_queue_is_fifo_by_name_and_attribute_together() {
    let fifo_name = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end \
                     with .fifo suffix and be 1 to 80 in length.";
    let standard_name =
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
    let refused = |text: &str| Err((Code::InvalidParameterValue, text.to_owned()));
    assert!(made("q.fifo", &[("FifoQueue", "true")]).expect("FIFO").fifo.is_some());
    assert!(made("q", &[]).expect("standard").fifo.is_none());
    assert_eq!(made("q", &[("FifoQueue", "true")]), refused(fifo_name));
    assert_eq!(made("q.fifo", &[]), refused(standard_name));
    assert_eq!(made("q", &[("FifoQueue", "false")]), Err(unknown("FifoQueue")));
}

#[test]
fn a_name_has_eighty_letters_digits_hyphens_and_underscores() {
    for good in ["a", "A-b_9", &"x".repeat(80)] {
        made(good, &[]).expect("a name");
    }
    for bad in ["", "a b", "a.b", "ä", "a/b", &"x".repeat(81)] {
        assert_eq!(made(bad, &[]).expect_err("no name").0, Code::InvalidParameterValue, "{bad}");
    }
    let fifo = [("FifoQueue", "true")];
    made(&format!("{}.fifo", "x".repeat(75)), &fifo).expect("the suffix counts");
    for bad in [".fifo", &format!("{}.fifo", "x".repeat(76)), "a.b.fifo"] {
        assert_eq!(made(bad, &fifo).expect_err("no name").0, Code::InvalidParameterValue, "{bad}");
    }
}

#[test]
fn standard_queues_have_no_attributes_of_fifo_queues() {
    let only = |name: &str| {
        let words = format!("You can specify the {name} only when FifoQueue is set to true.");
        Err((Code::InvalidAttributeName, words))
    };
    assert_eq!(
        made("q", &[("ContentBasedDeduplication", "false")]),
        Err(unknown("ContentBasedDeduplication"))
    );
    assert_eq!(made("q", &[("DeduplicationScope", "queue")]), only("DeduplicationScope"));
    assert_eq!(made("q", &[("FifoThroughputLimit", "perQueue")]), only("FifoThroughputLimit"));
}

#[test]
fn the_kind_of_a_queue_does_not_change() {
    let mut standard = made("q", &[]).expect("standard");
    assert_eq!(set(&mut standard, &[("FifoQueue", "true")]), Err(unknown("FifoQueue")));
    let mut fifo = made("q.fifo", &[("FifoQueue", "true")]).expect("FIFO");
    assert_eq!(set(&mut fifo, &[("FifoQueue", "true")]), Ok(()));
    let words = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.";
    assert_eq!(
        set(&mut fifo, &[("FifoQueue", "false")]),
        Err((Code::InvalidAttributeValue, words.to_owned()))
    );
}

#[test]
fn the_limit_per_group_needs_deduplication_per_group() {
    let fifo = ("FifoQueue", "true");
    let (group, limit) =
        (("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId"));
    for pairs in [&[fifo, group, limit][..], &[limit, group, fifo], &[fifo, group], &[fifo]] {
        made("q.fifo", pairs).expect("is allowed");
    }
    assert_eq!(made("q.fifo", &[fifo, limit]).expect_err("no scope").0, Code::InvalidAttributeValue);
    let mut both = made("q.fifo", &[fifo, group, limit]).expect("is allowed");
    assert!(set(&mut both, &[("DeduplicationScope", "queue")]).is_err());
    for (name, value) in [("DeduplicationScope", "group"), ("FifoThroughputLimit", "")] {
        assert_eq!(parse(&[(name, value)]), Err(value_error(name)));
    }
}

#[test]
fn a_queue_has_one_kind_of_encryption() {
    let words = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.";
    let (key, managed) = (("KmsMasterKeyId", "alias/k"), ("SqsManagedSseEnabled", "true"));
    assert_eq!(made("q", &[key, managed]), Err((Code::InvalidAttributeName, words.to_owned())));
    let names = ["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"];
    let mut attributes = made("q", &[]).expect("a queue");
    assert_eq!(shown(attributes.clone(), &names), [("SqsManagedSseEnabled", "true".to_owned())]);
    set(&mut attributes, &[key, ("KmsDataKeyReusePeriodSeconds", "6000")]).expect("is set");
    assert_eq!(
        shown(attributes.clone(), &names),
        [
            ("KmsDataKeyReusePeriodSeconds", "6000".to_owned()),
            ("KmsMasterKeyId", "alias/k".to_owned()),
            ("SqsManagedSseEnabled", "false".to_owned())
        ]
    );
    let mut without = attributes.clone();
    set(&mut without, &[("KmsMasterKeyId", ""), ("KmsDataKeyReusePeriodSeconds", "300")]).expect("is set");
    assert_eq!(shown(without, &names), [("SqsManagedSseEnabled", "false".to_owned())]);
    set(&mut attributes, &[managed]).expect("is set");
    assert_eq!(shown(attributes, &names), [("SqsManagedSseEnabled", "true".to_owned())]);
}

#[test]
fn an_empty_string_removes_the_documents() {
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}"#;
    let redrive = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:111111111111:d","maxReceiveCount":"3"}"#;
    let allow = r#"{"redrivePermission":"denyAll"}"#;
    let pairs = [("Policy", policy), ("RedrivePolicy", redrive), ("RedriveAllowPolicy", allow)];
    let names = ["Policy", "RedrivePolicy", "RedriveAllowPolicy"];
    let mut attributes = made("q", &pairs).expect("a queue");
    assert_eq!(
        shown(attributes.clone(), &names),
        [
            ("Policy", policy.to_owned()),
            ("RedriveAllowPolicy", allow.to_owned()),
            ("RedrivePolicy", redrive.replace("\"3\"", "3"))
        ]
    );
    set(&mut attributes, &names.map(|name| (name, ""))).expect("is set");
    assert_eq!(shown(attributes.clone(), &names), []);
    set(&mut attributes, &names.map(|name| (name, ""))).expect("is set again");
}

#[test]
fn only_attributes_that_are_given_are_compared() {
    let attributes = made("q", &[("DelaySeconds", "1"), ("VisibilityTimeout", "5")]).expect("a queue");
    let difference = |pairs: &[(&str, &str)]| parse(pairs).expect("valid").difference(&attributes);
    assert_eq!(difference(&[]), None);
    assert_eq!(difference(&[("DelaySeconds", "1")]), None);
    assert_eq!(difference(&[("VisibilityTimeout", "5"), ("DelaySeconds", "2")]), Some("DelaySeconds"));
    assert_eq!(difference(&[("MessageRetentionPeriod", "345600")]), None);
    assert_eq!(difference(&[("Policy", "")]), None);
}

#[test]
fn content_based_deduplication_is_compared_on_fifo_queues() {
    let fifo = ("FifoQueue", "true");
    let attributes = made("q.fifo", &[fifo, ("ContentBasedDeduplication", "true")]).expect("a queue");
    let difference = |pairs: &[(&str, &str)]| parse(pairs).expect("valid").difference(&attributes);
    assert_eq!(difference(&[fifo, ("ContentBasedDeduplication", "True")]), None);
    assert_eq!(
        difference(&[fifo, ("ContentBasedDeduplication", "false")]),
        Some("ContentBasedDeduplication")
    );
}

#[test]
fn all_shows_what_a_standard_queue_has() {
    let names: Vec<String> = shown(Attributes::default(), &["All"])
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        names,
        [
            "ApproximateNumberOfMessages=1",
            "ApproximateNumberOfMessagesDelayed=3",
            "ApproximateNumberOfMessagesNotVisible=2",
            "CreatedTimestamp=1700000000",
            "DelaySeconds=0",
            "LastModifiedTimestamp=1700000001",
            "MaximumMessageSize=1048576",
            "MessageRetentionPeriod=345600",
            "QueueArn=arn",
            "ReceiveMessageWaitTimeSeconds=0",
            "SqsManagedSseEnabled=true",
            "VisibilityTimeout=30",
        ]
    );
}

#[test]
fn all_shows_four_more_on_a_fifo_queue() {
    let fifo = made("q.fifo", &[("FifoQueue", "true")]).expect("a queue");
    let of_fifo: Vec<String> = shown(fifo, &["All", "QueueArn"])
        .into_iter()
        .filter(|(name, _)| name.contains("Fifo") || name.contains("Dedup"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        of_fifo,
        [
            "ContentBasedDeduplication=false",
            "DeduplicationScope=queue",
            "FifoQueue=true",
            "FifoThroughputLimit=perQueue"
        ]
    );
}

#[test]
fn only_what_is_asked_for_is_shown_and_unknown_names_are_refused() {
    assert_eq!(shown(Attributes::default(), &["QueueArn", "QueueArn"]), [("QueueArn", "arn".to_owned())]);
    assert_eq!(shown(Attributes::default(), &[]), []);
    let error = Asked::parse(["QueueArn", "Foo"]).expect_err("is unknown");
    assert_eq!((error.code, error.message.into_owned()), unknown("Foo"));
    assert!(!Asked::parse(["QueueArn"]).expect("known").has_numbers());
    assert!(Asked::parse(["All"]).expect("known").has_numbers());
}
