//! ZeroDB, the DynamoDB service: protocol 2012-08-10 over the store of this appliance.
//!
//! Invariant: a reply that says "written" rests on a durable batch that holds the item, its index entries and its stream
//! record together; nothing that is not built is pretended.
//! Leaves to the node: HTTP, signatures, driving plans. To the store: durability, transactions over shards.
#![forbid(unsafe_code)]

pub mod config;
pub mod engine;
pub mod expression;
pub mod json;
pub mod model;
pub mod number;
pub mod ops;
pub mod partiql;
pub mod store;
pub mod value;
pub mod wire;

pub use config::Config;
