//! Tables, keys and names.
//! Invariant: a value of these types is valid by itself; whoever makes one has checked it.
//! Leaves to wire: the words in which a refusal is said.

pub mod arn;
pub mod keys;
pub mod limits;
pub mod names;
pub mod schema;
pub mod table;
