//! The operations, one file for each or for a pair that is one.
//! Leaves to wire: what requests and replies look like. To engine: what happens on the topic's shard.

pub mod confirm_subscription;
pub mod create_topic;
pub mod data_protection;
pub mod delete_topic;
pub mod list_subscriptions;
pub mod list_topics;
pub mod permissions;
pub mod publish;
pub mod subscribe;
pub mod subscription_attributes;
pub mod tags;
pub mod topic_attributes;
pub mod unsubscribe;
