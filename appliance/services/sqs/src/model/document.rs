//! Attributes whose values are JSON documents: Policy, RedrivePolicy, RedriveAllowPolicy.
//! Invariant: what is taken is an object of the known members only, of bounded length and depth; AWS's words say what is
//! wrong with one that is not.
//! Leaves to aws::policy: what a policy means. To the operations: whether a queue that a document names exists.

use aws::arn::Arn;
use aws::policy::Flaw;
use serde_json::{Map, Value};

use super::limits::{MAX_RECEIVE_COUNT_MAX, REDRIVE_SOURCE_COUNT_MAX};
use super::queue::{QueueKey, Redrive, RedriveAllow};
use crate::access;
use crate::wire::error::{Code, Error};

/// Bytes of a policy (AWS, quotas of queues).
pub const POLICY_BYTES_MAX: usize = 8_192;
/// Statements of a policy.
pub const STATEMENTS_MAX: usize = 20;
/// Actions of one statement.
pub const ACTIONS_MAX: usize = 7;
/// Bytes of one of the redrive documents: ten ARNs and what stands around them.
const REDRIVE_BYTES_MAX: usize = 8_192;

/// Reads a RedrivePolicy. Errors: InvalidAttributeValue for what is no object, InvalidParameterValue otherwise.
pub fn parse_redrive(text: &str) -> Result<Redrive, Error> {
    let members = object(text, REDRIVE_BYTES_MAX).ok_or_else(|| {
        let words =
            "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map.";
        Error::new(Code::InvalidAttributeValue, words)
    })?;
    let missing = |name: &str| {
        invalid_redrive(text, &format!("Redrive policy does not contain mandatory attribute: {name}."))
    };
    let count = members.get("maxReceiveCount").ok_or_else(|| missing("maxReceiveCount"))?;
    let target = members.get("deadLetterTargetArn").ok_or_else(|| missing("deadLetterTargetArn"))?;
    if members.len() > 2 {
        let rule = "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].";
        return Err(invalid_redrive(text, rule));
    }
    let max_receive_count = whole_number(count)
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| (1..=MAX_RECEIVE_COUNT_MAX).contains(count))
        .ok_or_else(|| {
            let shown = count.as_str().map_or_else(|| count.to_string(), str::to_owned);
            let rule = format!(
                "Invalid value for maxReceiveCount: {shown}, valid values are from 1 to 1000 both inclusive."
            );
            invalid_redrive(text, &rule)
        })?;
    let malformed = || invalid_redrive(text, "Invalid value for deadLetterTargetArn.");
    let target = target.as_str().ok_or_else(malformed)?;
    let arn = Arn::parse(target).ok_or_else(malformed)?;
    if arn.service != "sqs" {
        return Err(invalid_redrive(text, "Only SQS queues are valid resources for deadLetterTargetArn."));
    }
    if arn.partition != "aws" || QueueKey::of_arn(target).is_none() {
        return Err(malformed());
    }
    Ok(Redrive { target_arn: target.into(), max_receive_count })
}

/// Checks the target of a RedrivePolicy against the queue that is to have it, apart from whether it exists, and gives its
/// key. `text` is the policy as sent. Errors: InvalidParameterValue.
pub fn redrive_target(
    redrive: &Redrive,
    source: &QueueKey,
    region: &str,
    text: &str,
) -> Result<QueueKey, Error> {
    let arn = Arn::parse(&redrive.target_arn).zip(QueueKey::of_arn(&redrive.target_arn));
    let (arn, target) = arn.ok_or_else(|| invalid_redrive(text, "Invalid value for deadLetterTargetArn."))?;
    let reason = if arn.region != region {
        "Dead-letter target must be in same region as the source."
    } else if target.account() != source.account() {
        "Dead-letter target owner should be same as the source."
    } else if target.is_fifo() != source.is_fifo() {
        "Dead-letter queue must be same type of queue as the source.."
    } else {
        return Ok(target);
    };
    Err(invalid_redrive(text, reason))
}

/// A RedrivePolicy that cannot be.
pub fn invalid_redrive(text: &str, reason: &str) -> Error {
    Error::invalid_value("RedrivePolicy", text, reason)
}

/// The value of RedrivePolicy that GetQueueAttributes shows.
#[must_use]
pub fn redrive_text(redrive: &Redrive) -> String {
    let (target, count) = (quoted(&redrive.target_arn), redrive.max_receive_count);
    format!("{{\"deadLetterTargetArn\":{target},\"maxReceiveCount\":{count}}}")
}

/// Reads a RedriveAllowPolicy. Errors: InvalidAttributeValue for another shape, InvalidParameterValue otherwise.
pub fn parse_redrive_allow(text: &str) -> Result<RedriveAllow, Error> {
    let unsupported = || {
        let words = "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the redrive \
                     allow policy, as it’s in an unsupported format.";
        Error::new(Code::InvalidAttributeValue, words)
    };
    let refused = |reason: &str| {
        let reason = format!("Amazon SQS can't create the redrive allow policy. {reason}");
        Error::invalid_value("RedriveAllowPolicy", text, &reason)
    };
    let members = object(text, REDRIVE_BYTES_MAX).ok_or_else(unsupported)?;
    let is_known = |name: &String| name == "redrivePermission" || name == "sourceQueueArns";
    let permission = members.get("redrivePermission").and_then(Value::as_str).ok_or_else(unsupported)?;
    if !members.keys().all(is_known) || !["allowAll", "denyAll", "byQueue"].contains(&permission) {
        return Err(unsupported());
    }
    let sources = match members.get("sourceQueueArns") {
        None => None,
        Some(Value::Array(sources)) => {
            let texts: Option<Vec<Box<str>>> =
                sources.iter().map(|source| source.as_str().map(Box::from)).collect();
            Some(texts.ok_or_else(unsupported)?)
        }
        Some(_) => return Err(unsupported()),
    };
    match (permission, sources) {
        ("allowAll", None) => Ok(RedriveAllow::All),
        ("denyAll", None) => Ok(RedriveAllow::None),
        ("byQueue", Some(sources)) if !sources.is_empty() => {
            if sources.len() > REDRIVE_SOURCE_COUNT_MAX {
                return Err(refused("The maximum number of source queue ARNs you can specify is 10."));
            }
            if !sources.iter().all(|source| QueueKey::of_arn(source).is_some()) {
                return Err(unsupported());
            }
            Ok(RedriveAllow::Sources(sources))
        }
        ("byQueue", _) => Err(refused(
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.",
        )),
        (_, _) => Err(refused(
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        )),
    }
}

/// Whether a queue with this policy takes the dead letters of another.
#[must_use]
pub fn allows(policy: Option<&RedriveAllow>, source_arn: &str) -> bool {
    match policy {
        None | Some(RedriveAllow::All) => true,
        Some(RedriveAllow::None) => false,
        Some(RedriveAllow::Sources(sources)) => sources.iter().any(|allowed| **allowed == *source_arn),
    }
}

/// The value of RedriveAllowPolicy that GetQueueAttributes shows.
#[must_use]
pub fn redrive_allow_text(policy: &RedriveAllow) -> String {
    match policy {
        RedriveAllow::All => "{\"redrivePermission\":\"allowAll\"}".to_owned(),
        RedriveAllow::None => "{\"redrivePermission\":\"denyAll\"}".to_owned(),
        RedriveAllow::Sources(sources) => {
            let sources: Vec<String> = sources.iter().map(|source| quoted(source)).collect();
            let sources = sources.join(",");
            format!("{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[{sources}]}}")
        }
    }
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Checks that a text has the shape of a policy. Errors: InvalidAttributeValue, OverLimit.
pub fn check_policy(text: &str) -> Result<(), Error> {
    let Err(error) = access::check(text) else { return Ok(()) };
    let malformed = || Error::new(Code::InvalidAttributeValue, "Invalid value for the parameter Policy.");
    let Flaw::TooMany(_) = error.flaw else { return Err(malformed()) };
    // AWS says how many there are.
    let policy = object(text, POLICY_BYTES_MAX).ok_or_else(malformed)?;
    let statements = policy.get("Statement").map_or(&[][..], listed);
    if statements.len() > STATEMENTS_MAX {
        return Err(statements_over(statements.len()));
    }
    let actions = |statement: &Value| {
        statement.get("Action").or(statement.get("NotAction")).map_or(0, |actions| listed(actions).len())
    };
    Err(actions_over(statements.iter().map(actions).max().unwrap_or(0)))
}

fn listed(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        value => std::slice::from_ref(value),
    }
}

/// A policy with a statement of too many actions.
fn actions_over(count: usize) -> Error {
    Error::new(
        Code::OverLimit,
        format!(
            "{count} actions were found in a statement from the submitted policy, max allowed is {ACTIONS_MAX}"
        ),
    )
}

/// A policy with too many statements.
pub fn statements_over(count: usize) -> Error {
    Error::new(
        Code::OverLimit,
        format!("{count} statements were found in the submitted policy, max allowed is {STATEMENTS_MAX}"),
    )
}

/// The members of a JSON object of bounded length; `serde_json` bounds its depth at 128.
fn object(text: &str, bytes_max: usize) -> Option<Map<String, Value>> {
    if text.len() > bytes_max {
        return None;
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Some(members),
        Ok(_) | Err(_) => None,
    }
}

/// A whole number, as such or in a string.
fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "arn:aws:sqs:us-east-1:111111111111:dead";

    fn redrive(text: &str) -> Result<Redrive, String> {
        parse_redrive(text).map_err(|error| error.message.into_owned())
    }

    fn allow(text: &str) -> Result<RedriveAllow, String> {
        parse_redrive_allow(text).map_err(|error| error.message.into_owned())
    }

    #[test]
    fn the_count_of_a_redrive_policy_is_a_number_or_a_string() {
        for count in ["5", "\"5\""] {
            let text = format!("{{\"deadLetterTargetArn\": \"{TARGET}\", \"maxReceiveCount\": {count}}}");
            let policy = redrive(&text).expect("is valid");
            assert_eq!((policy.max_receive_count, &*policy.target_arn), (5, TARGET));
            let shown = format!("{{\"deadLetterTargetArn\":\"{TARGET}\",\"maxReceiveCount\":5}}");
            assert_eq!(redrive_text(&policy), shown);
            assert_eq!(redrive(&shown), Ok(policy));
        }
    }

    #[test]
    fn a_redrive_policy_says_what_is_wrong_with_it() {
        let not_a_map =
            "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map.";
        for text in ["x", "[]", "5", " ", "{\"maxReceiveCount\":5", &"[".repeat(9_000), &"[".repeat(1_000)] {
            assert_eq!(redrive(text), Err(not_a_map.to_owned()), "{text}");
        }
        for (text, reason) in [
            ("{}", "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
            (
                "{\"maxReceiveCount\":5}",
                "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.",
            ),
            (
                "{\"maxReceiveCount\":5,\"deadLetterTargetArn\":\"dummy\"}",
                "Invalid value for deadLetterTargetArn.",
            ),
            ("{\"maxReceiveCount\":5,\"deadLetterTargetArn\":7}", "Invalid value for deadLetterTargetArn."),
            (
                "{\"maxReceiveCount\":5,\"deadLetterTargetArn\":\"arn:aws:sns:us-east-1:111111111111:t\"}",
                "Only SQS queues are valid resources for deadLetterTargetArn.",
            ),
            (
                "{\"maxReceiveCount\":5,\"deadLetterTargetArn\":\"x\",\"other\":1}",
                "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].",
            ),
        ] {
            let whole = format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}");
            assert_eq!(redrive(text), Err(whole));
        }
    }

    #[test]
    fn a_count_lies_between_one_and_a_thousand() {
        let with = |count: &str| {
            redrive(&format!("{{\"deadLetterTargetArn\":\"{TARGET}\",\"maxReceiveCount\":{count}}}"))
        };
        for count in ["1", "1000", "\"1000\""] {
            with(count).expect("is valid");
        }
        for (count, shown) in
            [("0", "0"), ("1001", "1001"), ("-36", "-36"), ("\"x\"", "x"), ("1.5", "1.5"), ("null", "null")]
        {
            let message = with(count).expect_err("is refused");
            let reason = format!(
                "Reason: Invalid value for maxReceiveCount: {shown}, valid values are from 1 to 1000 both inclusive."
            );
            assert!(message.ends_with(&reason), "{message}");
        }
    }

    #[test]
    fn a_target_is_of_the_same_region_account_and_kind() {
        let policy = redrive(&format!("{{\"deadLetterTargetArn\":\"{TARGET}\",\"maxReceiveCount\":5}}"));
        let policy = policy.expect("is valid");
        let beside = |region: &str, source: &str| {
            let source = QueueKey::parse(source.as_bytes()).expect("a key");
            redrive_target(&policy, &source, region, "T")
                .map(|target| target.name().to_owned())
                .map_err(|error| error.message.into_owned())
        };
        let refused =
            |reason: &str| Err(format!("Value T for parameter RedrivePolicy is invalid. Reason: {reason}"));
        assert_eq!(beside("us-east-1", "111111111111q"), Ok("dead".to_owned()));
        assert_eq!(beside("us-east-1", "111111111111dead"), Ok("dead".to_owned()));
        assert_eq!(
            beside("eu-west-1", "111111111111q"),
            refused("Dead-letter target must be in same region as the source.")
        );
        assert_eq!(
            beside("us-east-1", "222222222222q"),
            refused("Dead-letter target owner should be same as the source.")
        );
        assert_eq!(
            beside("us-east-1", "111111111111q.fifo"),
            refused("Dead-letter queue must be same type of queue as the source..")
        );
    }

    #[test]
    fn a_redrive_allow_policy_opens_to_all_to_none_or_to_ten_queues() {
        let all = allow("{\"redrivePermission\":\"allowAll\"}").expect("is valid");
        let none = allow("{\"redrivePermission\":\"denyAll\"}").expect("is valid");
        assert!(allows(None, TARGET) && allows(Some(&all), TARGET) && !allows(Some(&none), TARGET));
        let text = format!("{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"{TARGET}\"]}}");
        let by_queue = allow(&text).expect("is valid");
        assert!(allows(Some(&by_queue), TARGET));
        assert!(!allows(Some(&by_queue), "arn:aws:sqs:us-east-1:111111111111:other"));
        assert_eq!(redrive_allow_text(&by_queue), text);
        let list = vec![format!("\"{TARGET}\""); 11].join(",");
        let error = allow(&format!("{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[{list}]}}"));
        let error = error.expect_err("too many");
        assert!(error.ends_with("The maximum number of source queue ARNs you can specify is 10."), "{error}");
    }

    #[test]
    fn a_redrive_allow_policy_says_what_is_wrong_with_it() {
        let unsupported = "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the \
                           redrive allow policy, as it’s in an unsupported format.";
        for text in [
            "badjson",
            "[]",
            "{}",
            "{\"redrivePermission\":\"dummy\"}",
            "{\"redrivePermission\":\"allowAll\",\"dummy\":1}",
            "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":\"arn:aws:sqs\"}",
            "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[{}]}",
            "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"x\"]}",
        ] {
            assert_eq!(allow(text), Err(unsupported.to_owned()), "{text}");
        }
        let must = "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.";
        let only = "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.";
        for (text, reason) in [
            ("{\"redrivePermission\":\"byQueue\"}", must),
            ("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[]}", must),
            ("{\"redrivePermission\":\"denyAll\",\"sourceQueueArns\":[\"a\"]}", only),
        ] {
            let whole = format!(
                "Value {text} for parameter RedriveAllowPolicy is invalid. Reason: Amazon SQS can't create the redrive \
                 allow policy. {reason}"
            );
            assert_eq!(allow(text), Err(whole));
        }
    }

    const STATEMENT: &str =
        r#"{"Sid":"s","Effect":"Allow","Principal":"*","Action":["sqs:SendMessage"],"Resource":"*"}"#;

    #[test]
    fn a_policy_has_one_to_twenty_statements_of_the_known_members() {
        let numbered = |number: usize| STATEMENT.replace("\"s\"", &format!("\"s{number}\""));
        let list = |count: usize| {
            format!("{{\"Statement\":[{}]}}", (0..count).map(numbered).collect::<Vec<_>>().join(","))
        };
        for text in [
            format!("{{\"Version\":\"2012-10-17\",\"Id\":\"i\",\"Statement\":{STATEMENT}}}"),
            format!("{{\"Version\":\"2008-10-17\",\"Statement\":[{STATEMENT}]}}"),
            list(20),
        ] {
            check_policy(&text).expect("is valid");
        }
        let error = check_policy(&list(22)).expect_err("too many");
        assert_eq!(error.message, "22 statements were found in the submitted policy, max allowed is 20");
        let actions = |count: usize| {
            let actions = (0..count).map(|number| format!("\"sqs:A{number}\"")).collect::<Vec<_>>().join(",");
            format!("{{\"Statement\":{}}}", STATEMENT.replace("\"sqs:SendMessage\"", &actions))
        };
        check_policy(&actions(7)).expect("is valid");
        let error = check_policy(&actions(10)).expect_err("too many");
        assert_eq!(
            error.message,
            "10 actions were found in a statement from the submitted policy, max allowed is 7"
        );
        for text in [
            "x".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            list(0),
            format!("{{\"Version\":\"2012\",\"Statement\":{STATEMENT}}}"),
            format!("{{\"Statement\":{STATEMENT},\"Other\":1}}"),
            format!("{{\"Statement\":[{STATEMENT},{STATEMENT}]}}"),
            format!("{{\"Statement\":{}}}", STATEMENT.replace("sqs:", "sns:")),
            format!("{{\"Statement\":{}}}", STATEMENT.replace("\"*\",\"Action", "{\"AWS\":\"1\"},\"Action")),
            format!("{{\"Statement\":{}}}", STATEMENT.replace("Allow", "Maybe")),
            format!("{{\"Statement\":{}}}", STATEMENT.replace("\"Sid\":\"s\"", "\"Unknown\":1")),
            format!("{{\"Statement\":{}}}", STATEMENT.replace("\"Principal\":\"*\",", "")),
            format!("{{\"Statement\":{}}}", STATEMENT.replace("[\"sqs:SendMessage\"]", "7")),
            format!("{{\"Statement\":{STATEMENT},\"Id\":\"{}\"}}", "x".repeat(POLICY_BYTES_MAX)),
        ] {
            let error = check_policy(&text).expect_err("is refused");
            assert_eq!(error.message, "Invalid value for the parameter Policy.", "{text}");
        }
    }
}
