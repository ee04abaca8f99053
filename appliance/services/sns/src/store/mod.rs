//! What the service keeps in the store: tables of the store, their keys and values.
//! Invariant: every value begins with a version byte or is empty; all that belongs to a topic lies on the topic's shard, so
//! that a publish is one operation; what names a topic's number counts for that topic only, not for a later one of its name.
//! Leaves to the codecs below: the bytes of each.
//!
//! ```text
//! 80 TOPICS         account 12 | name                               topic.rs
//! 81 SUBSCRIPTIONS  account 12 | name | 0 | subscription 16         subscription.rs
//! 82 DEDUP          topic u64 | hash 16                             dedup.rs
//! 83 DELIVERIES     messages on their way to web hooks              hooks/record.rs
//! 84 TOKENS         account 12 | name | 0 | subscription 16         token.rs
//! 85 SETTINGS       the signing key                                 signing
//! 86 GONE           account 12 | name | 0 | topic u64 -> empty      here: topics whose subscriptions are to be removed
//! 87 DEDUP_LINE     expiry ms u64 | topic u64 | hash 16 -> empty    dedup.rs: what leaves DEDUP, and when
//! 88, 89            messages of deliveries, and their counts        hooks/record.rs
//! 90 PENDING        expiry ms u64 | key of a subscription -> empty  pending.rs: what nobody confirms, and until when
//! ```
//! Account and name are those of the topic. Its shard is `place(topic_place(account, name))`.

pub mod dedup;
pub mod pending;
pub mod subscription;
pub mod token;
pub mod topic;

use store::{TableId, TableSet};

/// All tables of the store that this service has. None of their records has a body: messages travel in the outbox.
pub const BODYLESS: TableSet = TableSet::range(TableId(80), TableId(99));

/// Topics.
pub const TOPICS: TableId = TableId(80);
/// Subscriptions.
pub const SUBSCRIPTIONS: TableId = TableId(81);
/// Messages that came within the last five minutes, by their deduplication ids.
pub const DEDUP: TableId = TableId(82);
/// Messages on their way to web hooks.
pub const DELIVERIES: TableId = TableId(83);
/// Tokens that confirm subscriptions of web hooks.
pub const TOKENS: TableId = TableId(84);
/// What the service as a whole keeps, the signing key above all.
pub const SETTINGS: TableId = TableId(85);
/// Deleted topics whose subscriptions are still to be removed.
pub const GONE: TableId = TableId(86);
/// When a record leaves `DEDUP`.
pub const DEDUP_LINE: TableId = TableId(87);
/// When a subscription that waits for its confirmation is given up.
pub const PENDING: TableId = TableId(90);
