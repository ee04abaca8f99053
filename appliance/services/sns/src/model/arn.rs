//! Names: of topics, of subscriptions, of the queues that subscribe.
//! Invariant: a name that was parsed spells itself the same again.
//!
//! ```text
//! topic         arn:aws:sns:<region>:<account 12>:<name>
//! subscription  <topic>:<uuid>
//! queue         arn:aws:sqs:<region>:<account 12>:<name>
//! ```

use std::fmt;

use aws::account::AccountId;
use aws::arn::Arn;

use super::limits::TOPIC_NAME_MAX;

/// Sixteen bytes that name a message or a subscription; spelled as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// A random one (RFC 9562, version 4) from two random numbers.
    #[must_use]
    pub fn random(high: u64, low: u64) -> Uuid {
        let mut bytes = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// Reads the spelling with four hyphens; None for anything else, capitals included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Uuid> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|place| bytes[*place] != b'-') {
            return None;
        }
        let digits: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'-').collect();
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        aws::encoding::unhex(&digits).map(Uuid)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = aws::encoding::hex(&self.0);
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

/// The name of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicArn<'a> {
    /// Its region.
    pub region: &'a str,
    /// Whose it is: twelve digits.
    pub account: &'a str,
    /// The topic's own name.
    pub name: &'a str,
}

impl<'a> TopicArn<'a> {
    /// Reads one; None for what names no topic, a subscription included.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<TopicArn<'a>> {
        let arn = Arn::parse(text)?;
        let names_one = arn.partition == "aws"
            && arn.service == "sns"
            && !arn.region.is_empty()
            && AccountId::parse(arn.account).is_some()
            && is_topic_name(arn.resource);
        names_one.then_some(TopicArn { region: arn.region, account: arn.account, name: arn.resource })
    }

    /// The name of one of its subscriptions.
    #[must_use]
    pub fn subscription(self, id: Uuid) -> SubscriptionArn<'a> {
        SubscriptionArn { topic: self, id }
    }
}

impl fmt::Display for TopicArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:sns:{}:{}:{}", self.region, self.account, self.name)
    }
}

/// The name of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriptionArn<'a> {
    /// What it subscribes to.
    pub topic: TopicArn<'a>,
    /// Which of the topic's subscriptions.
    pub id: Uuid,
}

impl<'a> SubscriptionArn<'a> {
    /// Reads one; None for what names no subscription.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<SubscriptionArn<'a>> {
        let (topic, id) = text.rsplit_once(':')?;
        Some(SubscriptionArn { topic: TopicArn::parse(topic)?, id: Uuid::parse(id)? })
    }
}

impl fmt::Display for SubscriptionArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.id)
    }
}

/// The name of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueArn<'a> {
    /// Its region.
    pub region: &'a str,
    /// Whose it is: twelve digits.
    pub account: &'a str,
    /// The queue's own name.
    pub name: &'a str,
}

impl<'a> QueueArn<'a> {
    /// Reads one; None for what names no queue.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<QueueArn<'a>> {
        let arn = Arn::parse(text)?;
        let name = arn.resource;
        let stem = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
        let names_one = arn.partition == "aws"
            && arn.service == "sqs"
            && !arn.region.is_empty()
            && AccountId::parse(arn.account).is_some()
            && name.len() <= QUEUE_NAME_MAX
            && is_stem(stem);
        names_one.then_some(QueueArn { region: arn.region, account: arn.account, name })
    }

    /// Whether it is one that keeps order.
    #[must_use]
    pub fn is_fifo(self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }
}

impl fmt::Display for QueueArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:sqs:{}:{}:{}", self.region, self.account, self.name)
    }
}

/// What the names of topics and queues that keep order end with.
pub const FIFO_SUFFIX: &str = ".fifo";
/// Letters of a queue's name.
const QUEUE_NAME_MAX: usize = 80;

/// Whether a topic may have this name, one that keeps order or another.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    name.len() <= TOPIC_NAME_MAX && is_stem(name.strip_suffix(FIFO_SUFFIX).unwrap_or(name))
}

fn is_stem(stem: &str) -> bool {
    !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_parsed_spells_itself_again() {
        let topic = "arn:aws:sns:eu-west-1:000000000000:orders.fifo";
        assert_eq!(TopicArn::parse(topic).expect("a topic").to_string(), topic);
        let subscription = format!("{topic}:{}", Uuid::random(u64::MAX, 7));
        assert_eq!(SubscriptionArn::parse(&subscription).expect("one").to_string(), subscription);
        let queue = "arn:aws:sqs:eu-west-1:000000000000:a_B-9.fifo";
        let parsed = QueueArn::parse(queue).expect("a queue");
        assert_eq!((parsed.to_string().as_str(), parsed.is_fifo()), (queue, true));
    }

    #[test]
    fn what_names_something_else_names_no_topic() {
        for text in [
            "",
            "orders",
            "arn:aws:sns:eu-west-1:000000000000:",
            "arn:aws:sns:eu-west-1:000000000000:.fifo",
            "arn:aws:sns:eu-west-1:000000000000:a.b",
            "arn:aws:sns:eu-west-1:000000000000:a:b",
            "arn:aws:sns:eu-west-1:12:a",
            "arn:aws:sns::000000000000:a",
            "arn:aws:sqs:eu-west-1:000000000000:a",
            "arn:aws-cn:sns:eu-west-1:000000000000:a",
        ] {
            assert_eq!(TopicArn::parse(text), None, "{text}");
            assert_eq!(SubscriptionArn::parse(&format!("{text}:{}", Uuid([0; 16]))), None, "{text}");
        }
        assert!(!is_topic_name(&"a".repeat(TOPIC_NAME_MAX + 1)));
        assert!(is_topic_name(&"a".repeat(TOPIC_NAME_MAX)));
        assert_eq!(QueueArn::parse(&format!("arn:aws:sqs:r:000000000000:{}", "q".repeat(81))), None);
    }

    #[test]
    fn a_uuid_has_its_version_and_one_spelling() {
        let id = Uuid::random(u64::MAX, u64::MAX);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        for text in
            ["", "FFFFFFFF-ffff-4fff-bfff-ffffffffffff", "ffffffffffff-ffff4fffbfff-ffffffffffff", "é"]
        {
            assert_eq!(Uuid::parse(text), None, "{text}");
        }
    }
}
