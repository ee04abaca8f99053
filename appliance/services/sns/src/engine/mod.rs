//! What happens to topics and messages, as operations on the topic's shard.
//! Invariant: a change of a topic or of one of its subscriptions raises the topic's generation in the same batch, so that
//! what a shard keeps compiled is known to be current by the topic's first bytes.

pub mod confirmation;
pub mod dead_letter;
pub mod envelope;
pub mod fan_out;
pub mod on_topic;
pub mod publish;
pub mod results;
pub mod subscriptions;
pub mod sweep;
pub mod topics;
