//! How requests and replies look: the Query protocol of SNS.
//! Invariant: what a request means is decided before anything is stored; no reply shows what belongs to another account.

pub mod attributes;
pub mod authentication;
pub mod error;
pub mod message;
pub mod reply;
pub mod request;
