//! One file for each operation or family of operations.

pub mod create_table;
pub mod delete_table;
pub mod describe_table;
pub mod list_tables;
pub mod tags;
