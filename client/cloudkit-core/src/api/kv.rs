//! Tables and items.

use super::capability::{Capabilities, Service};
use super::table::{CreateTableOptions, ScanOptions, TransactItem};
use crate::common::{CloudResult, Failure, ItemStream, ListResult};
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;

/// What must hold of an item. The texts are names of attributes, dots and brackets leading into them.
///
/// An attribute that is missing makes every comparison false but `NotEquals`, which is then true; values of different types
/// are never ordered.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The attribute is there.
    Exists(String),
    /// The attribute is not there; on the key's name: there is no such item.
    NotExists(String),
    /// It equals the value.
    Equals(String, Value),
    /// It does not equal the value.
    NotEquals(String, Value),
    /// It is less.
    LessThan(String, Value),
    /// It is less or equal.
    LessThanOrEqual(String, Value),
    /// It is greater.
    GreaterThan(String, Value),
    /// It is greater or equal.
    GreaterThanOrEqual(String, Value),
    /// It equals one of the values, of which there are 1 to 100.
    In(String, Vec<Value>),
    /// It lies between both values, or equals one of them.
    Between(String, Value, Value),
    /// It is a text that begins with this.
    BeginsWith(String, String),
    /// It is a text with this in it, or a list or set with this text as a member.
    Contains(String, String),
    /// The condition does not hold.
    Not(Box<Condition>),
    /// All hold; none at all holds too.
    And(Vec<Condition>),
    /// One of them holds; none at all does not.
    Or(Vec<Condition>),
}

impl Condition {
    /// The names of attributes in it, with the dots and brackets behind them, each as often as it stands there.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::Exists(path)
            | Self::NotExists(path)
            | Self::Equals(path, _)
            | Self::NotEquals(path, _)
            | Self::LessThan(path, _)
            | Self::LessThanOrEqual(path, _)
            | Self::GreaterThan(path, _)
            | Self::GreaterThanOrEqual(path, _)
            | Self::In(path, _)
            | Self::Between(path, _, _)
            | Self::BeginsWith(path, _)
            | Self::Contains(path, _) => vec![path],
            Self::Not(inner) => inner.paths(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::paths).collect(),
        }
    }

    /// Whether it names this attribute, or something in it.
    pub fn names(&self, attribute: &str) -> bool {
        let inside = |path: &str| {
            path.strip_prefix(attribute).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.paths().into_iter().any(inside)
    }
}

/// How an item is read.
#[derive(Debug, Clone, Default)]
pub struct KvGetOptions {
    /// Whether the read sees every write that was acknowledged before it.
    pub consistent_read: bool,
    /// Which attributes come back; without it, all.
    pub projection: Option<Vec<String>>,
}

/// How an item is written.
#[derive(Debug, Clone, Default)]
pub struct KvPutOptions {
    /// What must hold of the item that is there, or of there being none.
    pub condition: Option<Condition>,
    /// Whether the item that was there comes back.
    pub return_old: bool,
}

/// How the items of a partition are read.
#[derive(Debug, Clone)]
pub struct KvQueryOptions {
    /// What must hold of the items that come back. It names no attribute of the key.
    pub filter: Option<Condition>,
    /// The most items of one page, counted before the filter.
    pub limit: Option<u32>,
    /// Whether the order of the sort key is ascending, as it is by default.
    pub scan_forward: bool,
    /// Whether the read sees every write that was acknowledged before it.
    pub consistent_read: bool,
    /// The token of the page before.
    pub continuation_token: Option<String>,
}

impl Default for KvQueryOptions {
    fn default() -> Self {
        // Not derived: `false` would turn the order around, as soon as the field is honoured.
        Self {
            filter: None,
            limit: None,
            scan_forward: true,
            consistent_read: false,
            continuation_token: None,
        }
    }
}

/// Tables and items. An item is a value that serializes to a JSON object; its key is a text.
///
/// The key is part of the item, in the attribute that the table names (`id` unless the table was made with another one). An
/// item that comes without the attribute gets it; one in which it has another value than the key is a
/// [`Validation`](crate::common::CloudError::Validation), with the hint to make the table with another name for its key. What
/// comes back has it, so that a type with such a field finds its key there, and one without it passes it over. The attribute
/// of a sort key must be in the item, a text.
///
/// A condition that does not hold is a [failed precondition](crate::common::CloudError::is_precondition_failed); a table
/// that is missing is [`NotFound`](crate::common::CloudError::NotFound) with the `resource_type` `Table`.
///
/// The generic methods make no trait objects; [`DynKeyValueStore`](super::DynKeyValueStore) does.
#[async_trait]
pub trait KeyValueStore: Send + Sync {
    /// The item of this key; `None` if there is none.
    async fn get<T: DeserializeOwned + Send>(&self, table: &str, key: &str) -> CloudResult<Option<T>>;

    /// As [`get`](Self::get), with options.
    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        key: &str,
        options: KvGetOptions,
    ) -> CloudResult<Option<T>>;

    /// Writes an item, in place of one that may be there.
    async fn put<T: Serialize + Send + Sync>(&self, table: &str, key: &str, item: &T) -> CloudResult<()>;

    /// Writes an item on a condition; gives the one that was there, if that was asked for.
    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        key: &str,
        item: &T,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>>;

    /// Deletes an item. One that is not there is deleted already.
    async fn delete(&self, table: &str, key: &str) -> CloudResult<()>;

    /// Deletes an item if the condition holds; `false` if it does not.
    async fn delete_with_condition(&self, table: &str, key: &str, condition: Condition) -> CloudResult<bool>;

    /// Whether there is an item of this key.
    async fn exists(&self, table: &str, key: &str) -> CloudResult<bool>;

    /// Sets these attributes, and leaves the others; makes the item if there is none. Names are those of attributes, literally:
    /// `a.b` is the attribute of this name and leads into no map. The attributes of the key cannot be set.
    async fn update(&self, table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()>;

    /// One page of the items of a partition.
    ///
    /// A filter that names an attribute of the key, or a limit of 0, is a
    /// [`Validation`](crate::common::CloudError::Validation).
    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>>;

    /// The items of these keys that are there, in no order. A key that is named twice gives its item once.
    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>>;

    /// Writes any number of items, each on its own. Of several items with one key the last is kept.
    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        items: &[(&str, &T)],
    ) -> CloudResult<()>;

    /// What this provider's tables can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::KeyValueStore)
    }

    /// Makes a table and returns when it can be used.
    ///
    /// # Errors
    /// A [conflict](crate::common::CloudError::is_conflict) when there is one of this name.
    async fn create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure> {
        let _ = (table, options);
        Err(self.capabilities().unsupported("create_table"))
    }

    /// Deletes a table with its items and returns when it is gone.
    async fn delete_table(&self, table: &str) -> Result<(), Failure> {
        let _ = table;
        Err(self.capabilities().unsupported("delete_table"))
    }

    /// Does all of this or nothing. No two of it may be about one item.
    ///
    /// # Errors
    /// A [failed precondition](crate::common::CloudError::is_precondition_failed) when a condition does not hold; a
    /// [conflict](crate::common::CloudError::is_conflict) when another writer was at one of the items.
    async fn transact(&self, items: Vec<TransactItem>) -> Result<(), Failure> {
        let _ = items;
        Err(self.capabilities().unsupported("transact"))
    }

    /// All items of a table, in no order.
    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        table: &'a str,
        options: ScanOptions,
    ) -> ItemStream<'a, T> {
        let _ = (table, options);
        ItemStream::failed(self.capabilities().unsupported("scan_stream"))
    }

    /// Adds to a number in one step and gives the sum. An item or attribute that is missing counts as 0; the attribute's name is
    /// literal, as in [`update`](Self::update).
    ///
    /// # Errors
    /// A [`Validation`](crate::common::CloudError::Validation), and nothing changes, when the attribute holds no number, or the
    /// sum lies outside of the integers of 64 bits with a sign; also when the sum has a fraction, which some providers see after
    /// the addition only.
    async fn increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        let _ = (table, key, attribute, by);
        Err(self.capabilities().unsupported("increment"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, KvQueryOptions};

    #[test]
    fn a_condition_tells_which_attributes_it_names() {
        let text = String::from;
        let condition = Condition::Or(vec![
            Condition::Not(Box::new(Condition::Exists(text("id.x")))),
            Condition::And(vec![
                Condition::In(text("ids"), vec![]),
                Condition::Contains(text("l[0]"), text("at")),
            ]),
        ]);
        assert_eq!(condition.paths(), ["id.x", "ids", "l[0]"]);
        assert!(condition.names("id") && condition.names("l") && condition.names("ids"));
        assert!(!condition.names("at") && !condition.names("i") && !condition.names("x"));
    }

    #[test]
    fn a_query_goes_forward_unless_told_otherwise() {
        let options = KvQueryOptions::default();
        assert!(options.scan_forward && !options.consistent_read);
        assert!(options.filter.is_none() && options.limit.is_none() && options.continuation_token.is_none());
    }
}
