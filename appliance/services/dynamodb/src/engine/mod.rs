//! What happens to items: writes, reads, pages, transactions, and what goes on in the background.

pub mod apply;
pub mod capacity;
pub mod change_table;
pub mod entry;
pub mod read;
pub mod walk;
