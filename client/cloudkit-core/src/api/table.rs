//! What the new methods of [`KeyValueStore`](super::KeyValueStore) take.

use super::kv::Condition;
use crate::common::{CloudResult, Metadata};
use serde::Serialize;
use serde_json::Value;

/// The shape of a new table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CreateTableOptions {
    /// The attribute that holds the key, as a part of each item; `id` unless set.
    pub key_name: String,
    /// The attribute by which the items of a partition are ordered, a text; without it, a partition is one item.
    pub sort_key_name: Option<String>,
    /// The table's tags.
    pub tags: Metadata,
}

impl CreateTableOptions {
    /// A table whose key is in `id`.
    pub fn new() -> Self {
        Self { key_name: String::from("id"), sort_key_name: None, tags: Metadata::new() }
    }

    /// Sets the attribute that holds the key.
    pub fn key_name(mut self, name: impl Into<String>) -> Self {
        self.key_name = name.into();
        self
    }

    /// Sets the attribute by which the items of a partition are ordered.
    pub fn sort_key_name(mut self, name: impl Into<String>) -> Self {
        self.sort_key_name = Some(name.into());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}

impl Default for CreateTableOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// One part of a transaction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TransactItem {
    /// Writes an item.
    Put {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// The item, a JSON object.
        item: Value,
        /// What must hold of the item that is there.
        condition: Option<Condition>,
    },
    /// Deletes an item.
    Delete {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What must hold of the item that is there.
        condition: Option<Condition>,
    },
    /// Changes nothing, and lets the transaction fail if the condition does not hold.
    Check {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What must hold of the item that is there.
        condition: Condition,
    },
}

impl TransactItem {
    /// Writes an item.
    ///
    /// # Errors
    /// [`CloudError::Serialization`](crate::common::CloudError::Serialization) when it has no JSON form.
    pub fn put(table: impl Into<String>, key: impl Into<String>, item: &impl Serialize) -> CloudResult<Self> {
        let item = serde_json::to_value(item)?;
        Ok(Self::Put { table: table.into(), key: key.into(), item, condition: None })
    }

    /// Deletes an item.
    pub fn delete(table: impl Into<String>, key: impl Into<String>) -> Self {
        Self::Delete { table: table.into(), key: key.into(), condition: None }
    }

    /// Lets the transaction fail if the condition does not hold.
    pub fn check(table: impl Into<String>, key: impl Into<String>, condition: Condition) -> Self {
        Self::Check { table: table.into(), key: key.into(), condition }
    }

    /// Sets what must hold of the item that is there, in place of what was set before.
    pub fn when(mut self, wanted: Condition) -> Self {
        match &mut self {
            Self::Put { condition, .. } | Self::Delete { condition, .. } => *condition = Some(wanted),
            Self::Check { condition, .. } => *condition = wanted,
        }
        self
    }

    /// The table.
    pub fn table(&self) -> &str {
        match self {
            Self::Put { table, .. } | Self::Delete { table, .. } | Self::Check { table, .. } => table,
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }
}

/// How a whole table is read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ScanOptions {
    /// What must hold of the items that come back.
    pub filter: Option<Condition>,
    /// Whether the read sees every write that was acknowledged before it.
    pub consistent_read: bool,
    /// The most items that one request reads, before the filter; without it, the provider's choice.
    pub page_items: Option<u32>,
}

impl ScanOptions {
    /// All items.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what must hold of the items that come back.
    pub fn filter(mut self, filter: Condition) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Sees every write that was acknowledged before it.
    pub fn consistent_read(mut self) -> Self {
        self.consistent_read = true;
        self
    }

    /// Sets the most items that one request reads.
    pub fn page_items(mut self, items: u32) -> Self {
        self.page_items = Some(items);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_of_a_transaction_knows_its_item_and_takes_a_condition() {
        let absent = || Condition::NotExists(String::from("id"));
        let put = TransactItem::put("t", "k", &json!({"a": 1})).unwrap().when(absent());
        assert_eq!((put.table(), put.key()), ("t", "k"));
        let expected = TransactItem::Put {
            table: "t".into(),
            key: "k".into(),
            item: json!({"a": 1}),
            condition: Some(absent()),
        };
        assert_eq!(put, expected);
        let check = TransactItem::check("t", "k", Condition::Exists(String::from("id"))).when(absent());
        assert_eq!(check, TransactItem::Check { table: "t".into(), key: "k".into(), condition: absent() });
        assert_eq!(TransactItem::delete("t", "x").key(), "x");
    }

    #[test]
    fn a_new_table_has_its_key_in_id() {
        assert_eq!(CreateTableOptions::default().key_name, "id");
    }
}
