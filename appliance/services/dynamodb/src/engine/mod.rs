//! What happens to items: writes, reads, pages, transactions, and what goes on in the background.

pub mod apply;
pub mod backfill;
pub mod batch;
pub mod capacity;
pub mod change_table;
pub mod entry;
pub mod finish;
pub mod item_write;
pub mod page;
pub mod range;
pub mod read;
pub mod streams;
pub mod sweep;
pub mod tick;
pub mod transact;
pub mod trim;
pub mod ttl;
pub mod walk;
