//! What topics, subscriptions and messages are, apart from how they travel and how they are stored.

pub mod arn;
pub mod limits;
pub mod message;
pub mod subscription;
pub mod topic;
