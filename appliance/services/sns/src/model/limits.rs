//! Every bound of this service that a client can meet.
//! Source: the SNS API reference and its page of quotas.

/// Letters of a topic's name, `.fifo` included.
pub const TOPIC_NAME_MAX: usize = 256;
/// Tags of a topic.
pub const TAG_COUNT_MAX: usize = 50;
/// Characters of a tag's key.
pub const TAG_KEY_MAX: usize = 128;
/// Characters of a tag's value.
pub const TAG_VALUE_MAX: usize = 256;
/// Bytes of a message with its attributes, where the topic does not say otherwise.
pub const MESSAGE_BYTES_DEFAULT: usize = 262_144;
/// The greatest MaximumMessageSize of a topic.
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;
/// The least MaximumMessageSize of a topic.
pub const MESSAGE_BYTES_MIN: usize = 1_024;
/// Characters of a subject.
pub const SUBJECT_MAX: usize = 100;
/// Entries of one PublishBatch.
pub const BATCH_COUNT_MAX: usize = 10;
/// Letters of the id of a batch entry.
pub const BATCH_ID_MAX: usize = 80;
/// Topics or subscriptions on one page.
pub const PAGE_COUNT: usize = 100;
/// Subscriptions of one topic. A publish looks at all of them in one operation of the topic's shard.
pub const SUBSCRIPTION_COUNT_MAX: usize = 10_000;
/// Subscriptions of a topic whose messages may be larger than `MESSAGE_BYTES_DEFAULT`.
pub const LARGE_SUBSCRIPTION_COUNT_MAX: usize = 100;
/// Subscriptions of a topic that have a filter policy.
pub const FILTERED_COUNT_MAX: usize = 200;
/// For how long a deduplication id is known, in milliseconds.
pub const DEDUPLICATION_MS: u64 = 5 * 60 * 1_000;
/// For how long a confirmation token is good, in milliseconds.
pub const TOKEN_MS: u64 = 2 * 24 * 60 * 60 * 1_000;
/// For how long a subscription waits for its confirmation after it was asked for last, in milliseconds.
pub const PENDING_MS: u64 = 3 * 24 * 60 * 60 * 1_000;
/// How often within `QUESTION_WINDOW_MS` a place is asked whether it wants a subscription. SNS itself tells no bound; this one
/// keeps who may subscribe from having us write to a stranger for ever.
pub const QUESTION_COUNT_MAX: u64 = 10;
/// Over which time questions are counted, in milliseconds.
pub const QUESTION_WINDOW_MS: u64 = 60 * 60 * 1_000;
/// Bytes of an endpoint.
pub const ENDPOINT_BYTES_MAX: usize = 2_048;
/// Bytes of an access policy or of a data protection policy.
pub const POLICY_BYTES_MAX: usize = 30_720;
/// Bytes of a filter policy as text.
pub const FILTER_POLICY_BYTES_MAX: usize = 256 * 1_024;
/// Bytes of a delivery policy or a redrive policy.
pub const SMALL_POLICY_BYTES_MAX: usize = 10_240;
/// Message attributes of one message. SNS itself has no bound but the size; this one keeps a request from being many.
pub const MESSAGE_ATTRIBUTE_COUNT_MAX: usize = 1_000;
/// Letters of a message attribute's name, and of its type.
pub const ATTRIBUTE_NAME_MAX: usize = 256;
/// Message attributes that a raw delivery to a queue may have.
pub const RAW_ATTRIBUTE_COUNT_MAX: usize = 10;
/// Letters of a message group id or a deduplication id.
pub const GROUP_ID_MAX: usize = 128;
