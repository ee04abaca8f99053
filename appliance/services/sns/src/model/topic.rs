//! A topic and its settings.
//! Invariant: a setting that is stored is one of `SETTINGS` and passed its check when it was set.

use std::collections::BTreeMap;

use store::Timestamp;

use super::arn::FIFO_SUFFIX;
use super::limits::MESSAGE_BYTES_DEFAULT;

/// Tags of a topic, sorted by key.
pub type Tags = BTreeMap<Box<str>, Box<str>>;

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Drawn when it was made. What belongs to it names this, so that nothing of it passes to a later topic of its name.
    pub number: u64,
    /// Raised by every change of the topic or of one of its subscriptions.
    pub generation: u64,
    /// Whose it is: twelve digits.
    pub account: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// When it was made.
    pub created: Timestamp,
    /// What its owner set, by the code of the setting.
    pub settings: BTreeMap<Setting, Box<str>>,
    /// Its tags.
    pub tags: Tags,
    /// Its data protection policy, which is kept and shown, never applied.
    pub data_protection: Option<Box<str>>,
    /// Its subscriptions, counted.
    pub counts: Counts,
}

/// Subscriptions of a topic, counted by what they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Those that were confirmed.
    pub confirmed: u64,
    /// Those that wait for it.
    pub pending: u64,
    /// Those that ended, since the topic was made.
    pub deleted: u64,
    /// Confirmed ones whose recipient gets the envelope.
    pub enveloped: u64,
    /// Those with a filter policy.
    pub filtered: u64,
}

impl Counts {
    /// All that there are.
    #[must_use]
    pub fn present(self) -> u64 {
        self.confirmed + self.pending
    }
}

macro_rules! settings {
    ($($variant:ident = $code:literal, $name:literal;)*) => {
        /// What the owner of a topic may set. The codes are stored.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Setting {
            $(#[doc = concat!("The attribute `", $name, "`.")] $variant = $code,)*
        }

        /// Every setting: its code, as requests spell it, and itself.
        pub const SETTINGS: &[(u8, &str, Setting)] = &[$(($code, $name, Setting::$variant),)*];
    };
}

settings! {
    DisplayName = 1, "DisplayName";
    Policy = 2, "Policy";
    DeliveryPolicy = 3, "DeliveryPolicy";
    KmsMasterKeyId = 4, "KmsMasterKeyId";
    SignatureVersion = 5, "SignatureVersion";
    TracingConfig = 6, "TracingConfig";
    FifoTopic = 7, "FifoTopic";
    ContentBasedDeduplication = 8, "ContentBasedDeduplication";
    FifoThroughputScope = 9, "FifoThroughputScope";
    MaximumMessageSize = 10, "MaximumMessageSize";
    HttpSuccessFeedbackRoleArn = 11, "HTTPSuccessFeedbackRoleArn";
    HttpSuccessFeedbackSampleRate = 12, "HTTPSuccessFeedbackSampleRate";
    HttpFailureFeedbackRoleArn = 13, "HTTPFailureFeedbackRoleArn";
    SqsSuccessFeedbackRoleArn = 14, "SQSSuccessFeedbackRoleArn";
    SqsSuccessFeedbackSampleRate = 15, "SQSSuccessFeedbackSampleRate";
    SqsFailureFeedbackRoleArn = 16, "SQSFailureFeedbackRoleArn";
    LambdaSuccessFeedbackRoleArn = 17, "LambdaSuccessFeedbackRoleArn";
    LambdaSuccessFeedbackSampleRate = 18, "LambdaSuccessFeedbackSampleRate";
    LambdaFailureFeedbackRoleArn = 19, "LambdaFailureFeedbackRoleArn";
    FirehoseSuccessFeedbackRoleArn = 20, "FirehoseSuccessFeedbackRoleArn";
    FirehoseSuccessFeedbackSampleRate = 21, "FirehoseSuccessFeedbackSampleRate";
    FirehoseFailureFeedbackRoleArn = 22, "FirehoseFailureFeedbackRoleArn";
    ApplicationSuccessFeedbackRoleArn = 23, "ApplicationSuccessFeedbackRoleArn";
    ApplicationSuccessFeedbackSampleRate = 24, "ApplicationSuccessFeedbackSampleRate";
    ApplicationFailureFeedbackRoleArn = 25, "ApplicationFailureFeedbackRoleArn";
}

impl Setting {
    /// As requests spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let row = SETTINGS.iter().find(|(_, _, setting)| *setting == self);
        row.map_or("", |(_, name, _)| name)
    }

    /// The setting of this spelling.
    #[must_use]
    pub fn parse(name: &str) -> Option<Setting> {
        SETTINGS.iter().find(|(_, known, _)| *known == name).map(|(_, _, setting)| *setting)
    }

    /// The setting with this stored code.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Setting> {
        SETTINGS.iter().find(|(known, _, _)| *known == code).map(|(_, _, setting)| *setting)
    }
}

impl Topic {
    /// Whether it keeps order.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }

    /// The value of a setting, if it was set.
    #[must_use]
    pub fn setting(&self, setting: Setting) -> Option<&str> {
        self.settings.get(&setting).map(|value| &**value)
    }

    /// Whether the text of a message stands for its deduplication id.
    #[must_use]
    pub fn deduplicates_by_content(&self) -> bool {
        self.setting(Setting::ContentBasedDeduplication) == Some("true")
    }

    /// Whether a deduplication id counts within its group only.
    #[must_use]
    pub fn deduplicates_by_group(&self) -> bool {
        self.setting(Setting::FifoThroughputScope) == Some("MessageGroup")
    }

    /// Bytes that a message with its attributes may have.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        let set = self.setting(Setting::MaximumMessageSize).and_then(|value| value.parse().ok());
        set.unwrap_or(MESSAGE_BYTES_DEFAULT)
    }

    /// Whether envelopes are signed with the newer of the two signatures.
    #[must_use]
    pub fn signs_with_sha256(&self) -> bool {
        self.setting(Setting::SignatureVersion) == Some("2")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_own_code_and_name() {
        for (code, name, setting) in SETTINGS {
            assert_eq!((Setting::of_code(*code), Setting::parse(name)), (Some(*setting), Some(*setting)));
            assert_eq!((setting.name(), *setting as u8), (*name, *code));
        }
        assert_eq!((Setting::of_code(0), Setting::parse("Owner")), (None, None));
    }
}
