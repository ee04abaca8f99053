//! Where things lie in the store.

pub mod table;
