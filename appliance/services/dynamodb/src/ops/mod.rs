//! One file for each operation or family of operations.
//! Invariant: a request is checked in AWS's order, all that needs no table before the table is looked up.
//! Leaves to engine: what happens to items. To wire: words and shapes.

pub mod batch_get_item;
pub mod batch_write_item;
pub mod create_table;
pub mod delete_item;
pub mod delete_table;
pub mod describe_table;
pub mod get_item;
pub mod item;
pub mod legacy;
pub mod list_tables;
pub mod page;
pub mod partiql;
pub mod put_item;
pub mod query;
pub mod scan;
pub mod streams;
pub mod tags;
pub mod time_to_live;
pub mod transact_get_items;
pub mod transact_write_items;
pub mod update_item;
pub mod update_table;
