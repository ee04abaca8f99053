//! What a queue is: its name, its settings, and the numbers under which its records lie.
//! Invariant: settings are within the ranges of `limits`; a queue with `fifo` has a name that ends in `.fifo`, and no other has.
//! Leaves to ops: which of them a request may set. To store/queue.rs: their bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws::account::AccountId;

use crate::model::limits::MESSAGE_BYTES_MAX;
use crate::wire::name::is_queue_name;

/// Names the records of a queue; drawn when it is made, so that a queue made anew under a name shares nothing with the old one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueId(pub u64);

/// Places a message in its queue. Rises with every message of a shard, for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Sequence(pub u64);

/// Bits of a sequence that count within a batch of the store.
const POSITION_BITS: u32 = 20;

impl Sequence {
    /// Before every message.
    pub const ZERO: Sequence = Sequence(0);

    /// The sequence for a number of the store, batch in the upper half and position in the lower. None: the position has no room, which
    /// no batch reaches, since a batch has fewer bytes than positions would take.
    #[must_use]
    pub fn of_store(number: u128) -> Option<Sequence> {
        let lsn = u64::try_from(number >> 64).ok()?;
        let position = number as u64;
        let fits = position >> POSITION_BITS == 0 && lsn.leading_zeros() > POSITION_BITS + 1;
        fits.then_some(Sequence(lsn << POSITION_BITS | position))
    }

    /// The one that follows, given out or not.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    /// As clients see it: 20 digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:020}", self.0)
    }
}

/// A queue's account and name: how it is found. The text is the key of its record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueKey(Arc<str>);

/// Digits of an account.
const ACCOUNT_BYTES: usize = 12;

impl QueueKey {
    /// The key of a queue.
    #[must_use]
    pub fn new(account: AccountId, name: &str) -> QueueKey {
        let mut text = String::with_capacity(ACCOUNT_BYTES + name.len());
        text.push_str(account.as_str());
        text.push_str(name);
        QueueKey(text.into())
    }

    /// The key that these bytes are, if they are one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<QueueKey> {
        let text = std::str::from_utf8(bytes).ok()?;
        AccountId::parse(text.get(..ACCOUNT_BYTES)?)?;
        (text.len() > ACCOUNT_BYTES).then(|| QueueKey(text.into()))
    }

    /// The key of the queue that an ARN names; None when it names none.
    #[must_use]
    pub fn of_arn(arn: &str) -> Option<QueueKey> {
        // A longer name would make a key that the store does not take.
        let arn =
            aws::arn::Arn::parse(arn).filter(|arn| arn.service == "sqs" && is_queue_name(arn.resource))?;
        AccountId::parse(arn.account).map(|account| QueueKey::new(account, arn.resource))
    }

    /// The twelve digits of the account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.0[..ACCOUNT_BYTES]
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0[ACCOUNT_BYTES..]
    }

    /// The key of the record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether the queue is a FIFO queue, which its name says.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.0.ends_with(FIFO_SUFFIX)
    }

    /// The queue's ARN in a region.
    #[must_use]
    pub fn arn(&self, region: &str) -> String {
        format!("arn:aws:sqs:{region}:{}:{}", self.account(), self.name())
    }
}

/// How the names of FIFO queues end, and of no others.
pub const FIFO_SUFFIX: &str = ".fifo";

/// A queue as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueRecord {
    /// Under which its records lie.
    pub id: QueueId,
    /// What its receipt handles are signed with.
    pub handle_key: [u8; 16],
    /// When it was made.
    pub created_ms: u64,
    /// When its attributes last changed.
    pub modified_ms: u64,
    /// Its settings.
    pub attributes: Attributes,
    /// Its tags.
    pub tags: BTreeMap<Box<str>, Box<str>>,
    /// Messages below this sequence are purged, whether or not their records still lie there.
    pub purged_below: Sequence,
    /// When it was last purged; 0: never.
    pub last_purge_ms: u64,
}

/// A queue's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// VisibilityTimeout.
    pub visibility_seconds: u32,
    /// DelaySeconds.
    pub delay_seconds: u16,
    /// MessageRetentionPeriod.
    pub retention_seconds: u32,
    /// MaximumMessageSize.
    pub message_bytes_max: u32,
    /// ReceiveMessageWaitTimeSeconds.
    pub wait_seconds: u8,
    /// What FIFO queues have beside these; None: a standard queue.
    pub fifo: Option<Fifo>,
    /// Policy, as it was set.
    pub policy: Option<Box<str>>,
    /// RedrivePolicy.
    pub redrive: Option<Redrive>,
    /// RedriveAllowPolicy; None: not set, which allows all.
    pub redrive_allow: Option<RedriveAllow>,
    /// SqsManagedSseEnabled.
    pub managed_encryption: bool,
    /// KmsMasterKeyId.
    pub kms_key: Option<Box<str>>,
    /// KmsDataKeyReusePeriodSeconds.
    pub kms_reuse_seconds: u32,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            visibility_seconds: 30,
            delay_seconds: 0,
            retention_seconds: 345_600,
            message_bytes_max: MESSAGE_BYTES_MAX,
            wait_seconds: 0,
            fifo: None,
            policy: None,
            redrive: None,
            redrive_allow: None,
            managed_encryption: true,
            kms_key: None,
            kms_reuse_seconds: 300,
        }
    }
}

/// What only FIFO queues have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fifo {
    /// ContentBasedDeduplication.
    pub content_based: bool,
    /// DeduplicationScope.
    pub scope: DeduplicationScope,
    /// FifoThroughputLimit.
    pub throughput: ThroughputLimit,
}

/// DeduplicationScope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DeduplicationScope {
    /// `queue`
    #[default]
    Queue,
    /// `messageGroup`
    MessageGroup,
}

/// FifoThroughputLimit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ThroughputLimit {
    /// `perQueue`
    #[default]
    PerQueue,
    /// `perMessageGroupId`
    PerMessageGroupId,
}

/// RedrivePolicy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redrive {
    /// deadLetterTargetArn.
    pub target_arn: Box<str>,
    /// maxReceiveCount.
    pub max_receive_count: u32,
}

/// RedriveAllowPolicy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedriveAllow {
    /// `allowAll`
    All,
    /// `denyAll`
    None,
    /// `byQueue`, with the ARNs of the sources.
    Sources(Vec<Box<str>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_rise_with_batch_and_position_and_have_twenty_digits() {
        let of = |lsn: u128, position: u128| Sequence::of_store(lsn << 64 | position);
        assert!(of(1, 5) < of(1, 6) && of(1, 6) < of(2, 0));
        assert_eq!(of(1, 1 << 20), None);
        assert_eq!(of(1 << 43, 0), None);
        assert_eq!(of(1, 0).map(|sequence| sequence.to_string()), Some("00000000000001048576".to_owned()));
    }

    #[test]
    fn a_key_is_twelve_digits_and_a_name() {
        let account = AccountId::parse("000000000001").expect("digits");
        let key = QueueKey::new(account, "orders.fifo");
        assert_eq!((key.account(), key.name(), key.is_fifo()), ("000000000001", "orders.fifo", true));
        assert_eq!(QueueKey::parse(key.as_bytes()), Some(key.clone()));
        assert_eq!(QueueKey::of_arn(&key.arn("eu-west-1")), Some(key));
        for bytes in [&b"00000000000"[..], b"000000000001", b"00000000000xq", b"\xff"] {
            assert_eq!(QueueKey::parse(bytes), None, "{bytes:?}");
        }
    }
}
