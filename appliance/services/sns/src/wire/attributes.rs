//! The attributes of topics and subscriptions: what may be set to what, and how they are shown.
//! Invariant: a setting that passes here can be stored and acted on; what would have no effect is refused by name.

use aws::json::{JsonError, Plain, Reader, Writer};

use super::error::Error;
use crate::access;
use crate::engine::dead_letter::redrive_target;
use crate::filter::{Filter, Scope};
use crate::hooks::DeliveryPolicy;
use crate::model::arn::QueueArn;
use crate::model::limits::{MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, SMALL_POLICY_BYTES_MAX};
use crate::model::subscription::Settings;
use crate::model::topic::{Setting, Topic};

/// Characters of a display name.
const DISPLAY_NAME_MAX: usize = 100;
/// Bytes of a name of a key or of a role.
const NAME_BYTES_MAX: usize = 2_048;

/// What a request makes of a setting of a topic: the setting, and its new value; None removes it.
pub type Change = (Setting, Option<Box<str>>);

/// Reads an attribute of a topic. `fifo`: whether the topic keeps order. The errors say what follows `Invalid parameter: `.
pub fn topic_attribute(name: &str, value: &str, fifo: bool) -> Result<Change, String> {
    let setting = Setting::parse(name).ok_or_else(|| format!("{name} is not supported"))?;
    let invalid = |why: &str| format!("{name}: {why}");
    let one_of = |words: &[&str]| {
        if words.contains(&value) {
            Ok(())
        } else {
            Err(invalid(&format!("Invalid value [{value}]. Must be one of {}.", words.join(", "))))
        }
    };
    let only_fifo =
        || if fifo { Ok(()) } else { Err(invalid("only topics that keep order have this attribute")) };
    match setting {
        Setting::DisplayName => {
            let fits = value.chars().count() <= DISPLAY_NAME_MAX && !value.chars().any(char::is_control);
            if !fits {
                return Err(invalid("at most 100 characters in one line"));
            }
        }
        // In AWS's words, which do not begin like the others.
        Setting::Policy if !value.is_empty() => access::check(value)?,
        Setting::Policy => {}
        Setting::DeliveryPolicy if value.is_empty() => {}
        Setting::DeliveryPolicy => {
            DeliveryPolicy::of_topic(value).map_err(|why| invalid(&why.to_string()))?;
        }
        Setting::SignatureVersion => one_of(&["1", "2"])?,
        Setting::TracingConfig => one_of(&["PassThrough", "Active"])?,
        Setting::FifoTopic => {
            one_of(&["true", "false"])?;
            if (value == "true") != fifo {
                return Err(invalid("a topic keeps order if its name ends with .fifo"));
            }
        }
        Setting::ContentBasedDeduplication => {
            only_fifo()?;
            one_of(&["true", "false"])?;
        }
        Setting::FifoThroughputScope => {
            only_fifo()?;
            one_of(&["Topic", "MessageGroup"])?;
        }
        Setting::MaximumMessageSize => {
            let bytes: Option<usize> = value.parse().ok();
            if bytes.is_none_or(|bytes| !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&bytes)) {
                return Err(invalid("a number from 1024 to 1048576"));
            }
        }
        Setting::HttpSuccessFeedbackSampleRate
        | Setting::SqsSuccessFeedbackSampleRate
        | Setting::LambdaSuccessFeedbackSampleRate
        | Setting::FirehoseSuccessFeedbackSampleRate
        | Setting::ApplicationSuccessFeedbackSampleRate => {
            let rate: Option<u32> = value.parse().ok();
            if rate.is_none_or(|rate| rate > 100) {
                return Err(invalid("a number from 0 to 100"));
            }
        }
        Setting::KmsMasterKeyId
        | Setting::HttpSuccessFeedbackRoleArn
        | Setting::HttpFailureFeedbackRoleArn
        | Setting::SqsSuccessFeedbackRoleArn
        | Setting::SqsFailureFeedbackRoleArn
        | Setting::LambdaSuccessFeedbackRoleArn
        | Setting::LambdaFailureFeedbackRoleArn
        | Setting::FirehoseSuccessFeedbackRoleArn
        | Setting::FirehoseFailureFeedbackRoleArn
        | Setting::ApplicationSuccessFeedbackRoleArn
        | Setting::ApplicationFailureFeedbackRoleArn => {
            if value.len() > NAME_BYTES_MAX {
                return Err(invalid("too long"));
            }
        }
    }
    let removes = value.is_empty() && setting != Setting::DisplayName;
    Ok((setting, (!removes).then(|| value.into())))
}

/// Whether a text is one JSON object.
#[must_use]
pub fn is_object(text: &str) -> bool {
    let walk = || -> Result<(), JsonError> {
        let mut reader = Reader::<Plain>::new(text.as_bytes())?;
        if reader.peek() != Some(b'{') {
            return Err(JsonError::Syntax);
        }
        reader.skip()?;
        reader.finish()
    };
    walk().is_ok()
}

/// Applies the attributes of a request to the settings of a subscription: all or none. The errors say what follows
/// `Invalid parameter: `.
pub fn subscription_attributes(
    old: &Settings,
    pairs: &[(&str, &str)],
    topic: &Topic,
    endpoint_is_fifo: bool,
) -> Result<Settings, String> {
    let mut settings = old.clone();
    for (name, value) in pairs {
        let optional = || if value.is_empty() { None } else { Some((*value).into()) };
        match *name {
            "RawMessageDelivery" => settings.raw = truth(name, value)?,
            "FilterPolicy" => settings.filter_policy = optional().filter(|_| *value != "{}"),
            "FilterPolicyScope" => {
                settings.filter_scope =
                    Scope::of(value).ok_or_else(|| format!("FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"))?;
            }
            "RedrivePolicy" => {
                if !value.is_empty() {
                    redrive(value, topic, endpoint_is_fifo)?;
                }
                settings.redrive_policy = optional();
            }
            "DeliveryPolicy" => {
                if !value.is_empty() {
                    DeliveryPolicy::of_subscription(value).map_err(|why| format!("DeliveryPolicy: {why}"))?;
                }
                settings.delivery_policy = optional();
            }
            // Functions, streams of deliveries and the archive, which are not built.
            _ => return Err("AttributeName".to_owned()),
        }
    }
    // The policy is compiled for the scope that it ends up with, whichever of the two was given.
    if let Some(policy) = &settings.filter_policy {
        Filter::parse(policy, settings.filter_scope).map_err(|error| error.to_string())?;
    }
    Ok(settings)
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{name}: Invalid value [{value}]. Must be true or false.")),
    }
}

fn redrive(policy: &str, topic: &Topic, endpoint_is_fifo: bool) -> Result<(), String> {
    if policy.len() > SMALL_POLICY_BYTES_MAX || !is_object(policy) {
        return Err("RedrivePolicy: failed to parse JSON.".to_owned());
    }
    let target = redrive_target(policy);
    let target = target.as_deref().and_then(QueueArn::parse);
    let target = target.ok_or_else(|| "RedrivePolicy: deadLetterTargetArn is an invalid arn".to_owned())?;
    if target.account != &*topic.account {
        return Err("RedrivePolicy: The dead-letter queue must be in the topic's account".to_owned());
    }
    if target.is_fifo() != (topic.is_fifo() && endpoint_is_fifo) {
        return Err("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO topic".to_owned());
    }
    Ok(())
}

/// The policy of a topic whose owner set none: its account may do everything.
#[must_use]
pub fn default_policy(topic_arn: &str, account: &str) -> String {
    let mut out = Writer::new();
    out.begin_object();
    for (key, value) in [("Version", "2008-10-17"), ("Id", "__default_policy_ID")] {
        out.key(key);
        out.string(value);
    }
    out.key("Statement");
    out.begin_array();
    out.begin_object();
    for (key, value) in [("Sid", "__default_statement_ID"), ("Effect", "Allow")] {
        out.key(key);
        out.string(value);
    }
    out.key("Principal");
    object(&mut out, "AWS", "*");
    out.key("Action");
    out.begin_array();
    for action in OWNER_ACTIONS {
        out.string(&format!("SNS:{action}"));
    }
    out.end_array();
    out.key("Resource");
    out.string(topic_arn);
    out.key("Condition");
    out.begin_object();
    out.key("StringEquals");
    object(&mut out, "AWS:SourceOwner", account);
    out.end_object();
    out.end_object();
    out.end_array();
    out.end_object();
    String::from_utf8_lossy(&out.into_bytes()).into_owned()
}

fn object(out: &mut Writer, key: &str, value: &str) {
    out.begin_object();
    out.key(key);
    out.string(value);
    out.end_object();
}

/// What the default policy and AddPermission may allow.
pub const OWNER_ACTIONS: [&str; 8] = [
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
];

/// The delivery policy that holds where nobody set one.
pub const DEFAULT_DELIVERY_POLICY: &str = "{\"http\":{\"defaultHealthyRetryPolicy\":{\"minDelayTarget\":20,\
     \"maxDelayTarget\":20,\"numRetries\":3,\"numMaxDelayRetries\":0,\"numNoDelayRetries\":0,\"numMinDelayRetries\":0,\
     \"backoffFunction\":\"linear\"},\"disableSubscriptionOverrides\":false,\"defaultRequestPolicy\":\
     {\"headerContentType\":\"text/plain; charset=UTF-8\"}}}";

/// The errors of an attribute where it comes with others.
#[must_use]
pub fn among_attributes(text: &str) -> Error {
    Error::invalid(&format!("Attributes Reason: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::topic::tests::plain_topic;

    const POLICY: &str = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sns:Publish","Resource":"arn:aws:sns:r:0:t"}}"#;

    #[test]
    fn attributes_of_a_topic_take_their_values_and_no_others() {
        for (name, value) in [
            ("DisplayName", ""),
            ("SignatureVersion", "2"),
            ("TracingConfig", "Active"),
            ("FifoTopic", "false"),
            ("MaximumMessageSize", "1024"),
            ("Policy", POLICY),
            ("KmsMasterKeyId", "alias/aws/sns"),
            ("SQSSuccessFeedbackSampleRate", "100"),
        ] {
            let (setting, stored) = topic_attribute(name, value, false).expect(name);
            assert_eq!((setting.name(), stored.as_deref()), (name, Some(value)));
        }
        assert_eq!(topic_attribute("Policy", "", false), Ok((Setting::Policy, None)));
        for (name, value) in [
            ("Owner", "x"),
            ("ArchivePolicy", "{}"),
            ("SignatureVersion", "3"),
            ("SignatureVersion", ""),
            ("FifoTopic", "true"),
            ("ContentBasedDeduplication", "true"),
            ("FifoThroughputScope", "Topic"),
            ("MaximumMessageSize", "1023"),
            ("MaximumMessageSize", "1048577"),
            ("MaximumMessageSize", "many"),
            ("Policy", "{\"a\":[1]}"),
            ("Policy", "[]"),
            ("Policy", "{} {}"),
            ("DisplayName", "a\nb"),
            ("SQSSuccessFeedbackSampleRate", "101"),
        ] {
            assert!(topic_attribute(name, value, false).is_err(), "{name}={value}");
        }
        assert!(topic_attribute("ContentBasedDeduplication", "true", true).is_ok());
        assert!(topic_attribute("FifoTopic", "false", true).is_err());
    }

    #[test]
    fn attributes_of_a_subscription_are_set_together_or_not_at_all() {
        let topic = plain_topic("t");
        let old = Settings::default();
        let set = |pairs: &[(&str, &str)]| subscription_attributes(&old, pairs, &topic, false);
        let dead = r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:dead"}"#;
        let settings = set(&[
            ("RawMessageDelivery", "True"),
            ("FilterPolicyScope", "MessageBody"),
            ("FilterPolicy", r#"{"a":{"b":["c"]}}"#),
            ("RedrivePolicy", dead),
        ])
        .expect("all of them");
        assert!(settings.raw && settings.filter_policy.is_some());
        assert_eq!(settings.redrive_policy.as_deref(), Some(dead));
        // Nested: not for attributes.
        assert!(set(&[("FilterPolicy", r#"{"a":{"b":["c"]}}"#)]).is_err());
        assert_eq!(set(&[("FilterPolicy", "{}")]).expect("nothing").filter_policy, None);
        for (name, value) in [
            ("RawMessageDelivery", "yes"),
            ("FilterPolicyScope", "Body"),
            ("FilterPolicy", "x"),
            ("RedrivePolicy", "{}"),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:dead.fifo"}"#),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111111111111:dead"}"#),
            ("DeliveryPolicy", "1"),
            ("ReplayPolicy", "{}"),
            ("Endpoint", "x"),
        ] {
            assert!(set(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn the_documents_that_are_shown_are_json() {
        assert!(is_object(DEFAULT_DELIVERY_POLICY));
        let policy = default_policy("arn:aws:sns:r:000000000000:t", "000000000000");
        assert!(is_object(&policy));
        assert!(policy.ends_with(
            r#""Resource":"arn:aws:sns:r:000000000000:t","Condition":{"StringEquals":{"AWS:SourceOwner":"000000000000"}}}]}"#
        ));
        assert!(!is_object("") && !is_object("{}{}") && !is_object("{\"a\":}"));
    }
}
