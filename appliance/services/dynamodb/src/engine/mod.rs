//! What happens to items: writes, reads, pages, transactions, and what goes on in the background.

pub mod change_table;
