//! The attributes of a queue as clients name and write them: what may be set, on which kind of queue, to what.
//! Invariant: attributes that came out of here are within their ranges and fit the kind of their queue; what is refused is
//! refused in AWS's words.
//! Leaves to document.rs: the three JSON documents. To ops: whether the queue exists, and a dead-letter queue that it names.

use super::document::{self, check_policy, parse_redrive, parse_redrive_allow};
use super::limits::{
    DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, RETENTION_SECONDS_MAX, RETENTION_SECONDS_MIN,
    VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX,
};
use super::queue::{
    Attributes, DeduplicationScope, Fifo, QueueRecord, Redrive, RedriveAllow, ThroughputLimit,
};
use crate::wire::error::{Code, Error};
use crate::wire::name::check_queue_name;

/// Bytes of a KmsMasterKeyId.
const KMS_KEY_BYTES_MAX: usize = 2_048;
/// KmsDataKeyReusePeriodSeconds.
const KMS_REUSE_SECONDS: std::ops::RangeInclusive<u32> = 60..=86_400;

/// One attribute of a request, valid by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Setting {
    Visibility(u32),
    Delay(u16),
    Retention(u32),
    MessageBytes(u32),
    Wait(u8),
    KmsReuse(u32),
    KmsKey(Option<Box<str>>),
    ManagedEncryption(bool),
    Fifo(bool),
    ContentBased(bool),
    Scope(DeduplicationScope),
    Throughput(ThroughputLimit),
    Policy(Option<Box<str>>),
    /// With the text as it was sent, which errors repeat.
    Redrive(Option<(Redrive, Box<str>)>),
    RedriveAllow(Option<RedriveAllow>),
}

/// The attributes of a request, each valid by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    settings: Vec<(&'static str, Setting)>,
}

/// What a request may set.
const SETTABLE: [&str; 15] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

/// What it may only read.
const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Asks for every attribute.
const ALL: &str = "All";

impl Given {
    /// Reads the attributes of a request; of a name that comes twice the last one counts. Errors: InvalidAttributeName,
    /// InvalidAttributeValue, and those of the documents.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Given, Error> {
        let mut given = Given::default();
        for (name, value) in pairs {
            let known = SETTABLE.iter().find(|known| **known == name);
            let name = *known.ok_or_else(|| Error::unknown_attribute(name))?;
            let setting = parse_setting(name, value)?;
            given.settings.retain(|(other, _)| *other != name);
            given.settings.push((name, setting));
        }
        let settings = || given.settings.iter().map(|(_, setting)| setting);
        if settings().any(|setting| matches!(setting, Setting::KmsKey(Some(_))))
            && settings().any(|setting| matches!(setting, Setting::ManagedEncryption(true)))
        {
            return Err(Error::new(
                Code::InvalidAttributeName,
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or \
                 SQS SSE.",
            ));
        }
        Ok(given)
    }

    /// The attributes of a queue that is to be made under a name. Errors: InvalidParameterValue for the name,
    /// InvalidAttributeName and InvalidAttributeValue for what such a queue does not have.
    pub fn for_new(&self, name: &str) -> Result<Attributes, Error> {
        let asked = self.settings.iter().find_map(|(_, setting)| match setting {
            Setting::Fifo(is_fifo) => Some(*is_fifo),
            _ => None,
        });
        let is_fifo = asked == Some(true);
        check_queue_name(name, is_fifo)?;
        let mut attributes = Attributes { fifo: is_fifo.then(Fifo::default), ..Attributes::default() };
        self.apply(&mut attributes)?;
        Ok(attributes)
    }

    /// Sets the attributes of a queue. Errors: InvalidAttributeName and InvalidAttributeValue for what a queue of its kind
    /// does not have; nothing of `attributes` is to be used then.
    pub fn apply(&self, attributes: &mut Attributes) -> Result<(), Error> {
        for (name, setting) in &self.settings {
            apply_setting(attributes, name, setting)?;
        }
        let per_queue_scope = |fifo: &Fifo| {
            fifo.throughput == ThroughputLimit::PerMessageGroupId
                && fifo.scope != DeduplicationScope::MessageGroup
        };
        if attributes.fifo.as_ref().is_some_and(per_queue_scope) {
            return Err(Error::new(
                Code::InvalidAttributeValue,
                "Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed only \
                 when the value for DeduplicationScope is messageGroup.",
            ));
        }
        Ok(())
    }

    /// The first of these attributes that a queue has with another value.
    #[must_use]
    pub fn difference(&self, attributes: &Attributes) -> Option<&'static str> {
        self.settings.iter().find(|(_, setting)| !has(attributes, setting)).map(|(name, _)| *name)
    }

    /// The RedrivePolicy that is to be set, and its text as sent.
    #[must_use]
    pub fn redrive(&self) -> Option<(&Redrive, &str)> {
        self.settings.iter().find_map(|(_, setting)| match setting {
            Setting::Redrive(Some((redrive, text))) => Some((redrive, &**text)),
            _ => None,
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }
}

fn parse_setting(name: &'static str, value: &str) -> Result<Setting, Error> {
    let number = |range: std::ops::RangeInclusive<u32>| {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse::<u32>().ok().filter(|number| is_number && range.contains(number));
        number.ok_or_else(|| Error::attribute_value(name))
    };
    let truth = || match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(Error::attribute_value(name)),
    };
    let given = || (!value.is_empty()).then(|| Box::<str>::from(value));
    Ok(match name {
        "VisibilityTimeout" => Setting::Visibility(number(0..=VISIBILITY_SECONDS_MAX)?),
        // The ranges are within those of the types.
        "DelaySeconds" => Setting::Delay(number(0..=u32::from(DELAY_SECONDS_MAX))? as u16),
        "MessageRetentionPeriod" => {
            Setting::Retention(number(RETENTION_SECONDS_MIN..=RETENTION_SECONDS_MAX)?)
        }
        "MaximumMessageSize" => Setting::MessageBytes(number(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX)?),
        "ReceiveMessageWaitTimeSeconds" => Setting::Wait(number(0..=u32::from(WAIT_SECONDS_MAX))? as u8),
        "KmsDataKeyReusePeriodSeconds" => Setting::KmsReuse(number(KMS_REUSE_SECONDS)?),
        "KmsMasterKeyId" if value.len() > KMS_KEY_BYTES_MAX => return Err(Error::attribute_value(name)),
        "KmsMasterKeyId" => Setting::KmsKey(given()),
        "SqsManagedSseEnabled" => Setting::ManagedEncryption(truth()?),
        "FifoQueue" => Setting::Fifo(truth()?),
        "ContentBasedDeduplication" => Setting::ContentBased(truth()?),
        "DeduplicationScope" => Setting::Scope(match value {
            "queue" => DeduplicationScope::Queue,
            "messageGroup" => DeduplicationScope::MessageGroup,
            _ => return Err(Error::attribute_value(name)),
        }),
        "FifoThroughputLimit" => Setting::Throughput(match value {
            "perQueue" => ThroughputLimit::PerQueue,
            "perMessageGroupId" => ThroughputLimit::PerMessageGroupId,
            _ => return Err(Error::attribute_value(name)),
        }),
        "Policy" => {
            let policy = given();
            policy.as_deref().map(check_policy).transpose()?;
            Setting::Policy(policy)
        }
        "RedrivePolicy" => {
            let policy = given();
            let redrive = policy.as_deref().map(parse_redrive).transpose()?;
            Setting::Redrive(redrive.zip(policy))
        }
        "RedriveAllowPolicy" => {
            Setting::RedriveAllow(given().as_deref().map(parse_redrive_allow).transpose()?)
        }
        _ => return Err(Error::unknown_attribute(name)),
    })
}

fn apply_setting(attributes: &mut Attributes, name: &'static str, setting: &Setting) -> Result<(), Error> {
    let only_on_fifo = || {
        let words = format!("You can specify the {name} only when FifoQueue is set to true.");
        Error::new(Code::InvalidAttributeName, words)
    };
    match setting {
        Setting::Visibility(seconds) => attributes.visibility_seconds = *seconds,
        Setting::Delay(seconds) => attributes.delay_seconds = *seconds,
        Setting::Retention(seconds) => attributes.retention_seconds = *seconds,
        Setting::MessageBytes(bytes) => attributes.message_bytes_max = *bytes,
        Setting::Wait(seconds) => attributes.wait_seconds = *seconds,
        Setting::KmsReuse(seconds) => attributes.kms_reuse_seconds = *seconds,
        Setting::KmsKey(key) => {
            attributes.kms_key.clone_from(key);
            attributes.managed_encryption &= key.is_none();
        }
        Setting::ManagedEncryption(is_on) => {
            attributes.managed_encryption = *is_on;
            if *is_on {
                attributes.kms_key = None;
            }
        }
        Setting::Fifo(is_fifo) => match (attributes.fifo.is_some(), is_fifo) {
            (true, true) => {}
            (true, false) => {
                return Err(Error::new(
                    Code::InvalidAttributeValue,
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
                ));
            }
            (false, _) => return Err(Error::unknown_attribute(name)),
        },
        Setting::ContentBased(is_on) => {
            let fifo = attributes.fifo.as_mut().ok_or_else(|| Error::unknown_attribute(name))?;
            fifo.content_based = *is_on;
        }
        Setting::Scope(scope) => attributes.fifo.as_mut().ok_or_else(only_on_fifo)?.scope = *scope,
        Setting::Throughput(limit) => {
            attributes.fifo.as_mut().ok_or_else(only_on_fifo)?.throughput = *limit;
        }
        Setting::Policy(policy) => attributes.policy.clone_from(policy),
        Setting::Redrive(redrive) => {
            attributes.redrive = redrive.as_ref().map(|(redrive, _)| redrive.clone());
        }
        Setting::RedriveAllow(allow) => attributes.redrive_allow.clone_from(allow),
    }
    Ok(())
}

/// Whether a queue has this value of an attribute.
fn has(attributes: &Attributes, setting: &Setting) -> bool {
    let fifo = attributes.fifo.as_ref();
    match setting {
        Setting::Visibility(seconds) => attributes.visibility_seconds == *seconds,
        Setting::Delay(seconds) => attributes.delay_seconds == *seconds,
        Setting::Retention(seconds) => attributes.retention_seconds == *seconds,
        Setting::MessageBytes(bytes) => attributes.message_bytes_max == *bytes,
        Setting::Wait(seconds) => attributes.wait_seconds == *seconds,
        Setting::KmsReuse(seconds) => attributes.kms_reuse_seconds == *seconds,
        Setting::KmsKey(key) => attributes.kms_key == *key,
        Setting::ManagedEncryption(is_on) => attributes.managed_encryption == *is_on,
        Setting::Fifo(is_fifo) => fifo.is_some() == *is_fifo,
        Setting::ContentBased(is_on) => fifo.is_some_and(|fifo| fifo.content_based == *is_on),
        Setting::Scope(scope) => fifo.is_some_and(|fifo| fifo.scope == *scope),
        Setting::Throughput(limit) => fifo.is_some_and(|fifo| fifo.throughput == *limit),
        Setting::Policy(policy) => attributes.policy == *policy,
        Setting::Redrive(redrive) => {
            attributes.redrive.as_ref() == redrive.as_ref().map(|(redrive, _)| redrive)
        }
        Setting::RedriveAllow(allow) => attributes.redrive_allow == *allow,
    }
}

/// How many messages a queue has, exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbers {
    /// That a receive may return now.
    pub visible: u64,
    /// Received and not visible again.
    pub in_flight: u64,
    /// Not yet visible for the first time.
    pub delayed: u64,
}

/// Which attributes a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    names: Vec<&'static str>,
}

impl Asked {
    /// Reads the names. Errors: InvalidAttributeName.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Asked, Error> {
        let mut asked = Asked { names: Vec::new() };
        let known = || SETTABLE.iter().chain(&READ_ONLY).copied();
        for name in names {
            if name == ALL {
                asked.names = known().collect();
                continue;
            }
            let name = known().find(|known| *known == name).ok_or_else(|| Error::unknown_attribute(name))?;
            if !asked.names.contains(&name) {
                asked.names.push(name);
            }
        }
        asked.names.sort_unstable();
        Ok(asked)
    }

    /// Whether the numbers of messages are asked for, which only the queue's shard knows.
    #[must_use]
    pub fn has_numbers(&self) -> bool {
        self.names.iter().any(|name| name.starts_with("ApproximateNumberOfMessages"))
    }

    /// The attributes of a queue that it has, in the order of their names.
    #[must_use]
    pub fn values(&self, record: &QueueRecord, arn: &str, numbers: Numbers) -> Vec<(&'static str, String)> {
        let shown = |name: &&'static str| Some((*name, value(name, record, arn, numbers)?));
        self.names.iter().filter_map(shown).collect()
    }
}

/// Milliseconds in a second.
const SECOND_MS: u64 = 1_000;

/// The value of an attribute, if the queue has it.
fn value(name: &str, record: &QueueRecord, arn: &str, numbers: Numbers) -> Option<String> {
    let attributes = &record.attributes;
    let fifo = attributes.fifo.as_ref();
    Some(match name {
        "ApproximateNumberOfMessages" => numbers.visible.to_string(),
        "ApproximateNumberOfMessagesDelayed" => numbers.delayed.to_string(),
        "ApproximateNumberOfMessagesNotVisible" => numbers.in_flight.to_string(),
        "CreatedTimestamp" => (record.created_ms / SECOND_MS).to_string(),
        "LastModifiedTimestamp" => (record.modified_ms / SECOND_MS).to_string(),
        "QueueArn" => arn.to_owned(),
        "VisibilityTimeout" => attributes.visibility_seconds.to_string(),
        "DelaySeconds" => attributes.delay_seconds.to_string(),
        "MessageRetentionPeriod" => attributes.retention_seconds.to_string(),
        "MaximumMessageSize" => attributes.message_bytes_max.to_string(),
        "ReceiveMessageWaitTimeSeconds" => attributes.wait_seconds.to_string(),
        "SqsManagedSseEnabled" => attributes.managed_encryption.to_string(),
        "KmsMasterKeyId" => attributes.kms_key.as_deref()?.to_owned(),
        // A period without a key says nothing.
        "KmsDataKeyReusePeriodSeconds" => {
            attributes.kms_key.as_ref().map(|_| attributes.kms_reuse_seconds.to_string())?
        }
        "FifoQueue" => fifo.map(|_| "true".to_owned())?,
        "ContentBasedDeduplication" => fifo?.content_based.to_string(),
        "DeduplicationScope" => match fifo?.scope {
            DeduplicationScope::Queue => "queue".to_owned(),
            DeduplicationScope::MessageGroup => "messageGroup".to_owned(),
        },
        "FifoThroughputLimit" => match fifo?.throughput {
            ThroughputLimit::PerQueue => "perQueue".to_owned(),
            ThroughputLimit::PerMessageGroupId => "perMessageGroupId".to_owned(),
        },
        "Policy" => attributes.policy.as_deref()?.to_owned(),
        "RedrivePolicy" => document::redrive_text(attributes.redrive.as_ref()?),
        "RedriveAllowPolicy" => document::redrive_allow_text(attributes.redrive_allow.as_ref()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
