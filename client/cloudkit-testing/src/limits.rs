//! Every bound of the cloud in memory. Those of AWS stand as AWS documents them; the others keep a test's memory bounded.

use std::time::Duration;

/// Bytes of an object. AWS has 5 TiB, which no memory has.
pub const OBJECT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Buckets.
pub const BUCKET_COUNT_MAX: usize = 10_000;
/// Versions of all objects of a bucket together.
pub const VERSION_COUNT_MAX: usize = 1_000_000;
/// Bytes of an object's key.
pub const OBJECT_KEY_BYTES_MAX: usize = 1024;
/// Objects of one page.
pub const PAGE_OBJECT_COUNT_MAX: usize = 1000;
/// Bytes of the names and values of an object's metadata.
pub const METADATA_BYTES_MAX: usize = 2 * 1024;
/// Tags of an object.
pub const OBJECT_TAG_COUNT_MAX: usize = 10;
/// Characters of a tag's key.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// For how long a signed address may hold.
pub const SIGNED_FOR_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Tables.
pub const TABLE_COUNT_MAX: usize = 2_500;
/// Items of a table.
pub const ITEM_COUNT_MAX: usize = 1_000_000;
/// Bytes of an item, names included.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// Levels of lists and maps within each other.
pub const NESTING_MAX: usize = 32;
/// Bytes of a partition key.
pub const PARTITION_KEY_BYTES_MAX: usize = 2048;
/// Bytes of a sort key.
pub const SORT_KEY_BYTES_MAX: usize = 1024;
/// Bytes of the items that one page of a query reads.
pub const PAGE_ITEM_BYTES_MAX: usize = 1024 * 1024;
/// Parts of a transaction.
pub const TRANSACT_COUNT_MAX: usize = 100;
/// Values of one `In`.
pub const IN_COUNT_MAX: usize = 100;
/// Queues.
pub const QUEUE_COUNT_MAX: usize = 10_000;
/// Bytes of a queue's name, `.fifo` included.
pub const QUEUE_NAME_BYTES_MAX: usize = 80;
/// Messages of a queue.
pub const MESSAGE_COUNT_MAX: usize = 1_000_000;
/// Bytes of a message with its attributes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Attributes of a message.
pub const MESSAGE_ATTRIBUTE_COUNT_MAX: usize = 10;
/// Bytes of an attribute's name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 256;
/// Bytes of a group's or a deduplication's identity.
pub const MESSAGE_ID_BYTES_MAX: usize = 128;
/// Messages of one receive.
pub const RECEIVE_COUNT_MAX: u32 = 10;
/// How long a receive may wait.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long a message may stay hidden.
pub const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);
/// How long a message stays hidden unless a receive says otherwise.
pub const VISIBILITY_DEFAULT: Duration = Duration::from_secs(30);
/// How long a message may be delayed.
pub const DELAY_MAX: Duration = Duration::from_secs(900);
/// How long a FIFO queue knows what was sent.
pub const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(300);
/// How long a queue keeps a message.
pub const RETENTION: Duration = Duration::from_secs(345_600);
/// How long after a purge the next one is refused.
pub const PURGE_PAUSE: Duration = Duration::from_secs(60);
/// Topics.
pub const TOPIC_COUNT_MAX: usize = 10_000;
/// Bytes of a topic's name.
pub const TOPIC_NAME_BYTES_MAX: usize = 256;
/// Subscriptions of a topic.
pub const SUBSCRIPTION_COUNT_MAX: usize = 10_000;
/// Bytes of a published message with its attributes.
pub const PUBLISH_BYTES_MAX: usize = 262_144;
/// Names of a filter policy.
pub const FILTER_NAME_COUNT_MAX: usize = 5;
/// Combinations of a filter policy's values.
pub const FILTER_COMBINATION_COUNT_MAX: usize = 150;
