//! What is made ahead of the clock: which keys, which bodies, which heads.

pub mod content;
pub mod keys;
pub mod sign;
pub mod sign_json;
