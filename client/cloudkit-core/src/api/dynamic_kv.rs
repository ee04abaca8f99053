//! Tables as a trait object. [`KeyValueStore`] has generic methods and makes none; this trait has the same methods over
//! JSON values, is there for every `KeyValueStore`, and its object is a `KeyValueStore` again:
//!
//! ```text
//! ZeroDb --blanket--> dyn DynKeyValueStore --generic methods again--> impl KeyValueStore
//! ```
//!
//! The names begin with `dyn_`: with the same names, a program that has both traits in scope could call neither.

use super::*;
use crate::common::{CloudError, CloudResult, Failure, ItemStream, ListResult};
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;

/// The methods of [`KeyValueStore`] over JSON values, for trait objects. Call those of `KeyValueStore` on the object.
#[async_trait]
pub trait DynKeyValueStore: Send + Sync {
    /// As [`KeyValueStore::get_with_options`].
    async fn dyn_get(&self, table: &str, key: &str, options: KvGetOptions) -> CloudResult<Option<Value>>;

    /// As [`KeyValueStore::put_with_options`].
    async fn dyn_put(
        &self,
        table: &str,
        key: &str,
        item: &Value,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>>;

    /// As [`KeyValueStore::delete`].
    async fn dyn_delete(&self, table: &str, key: &str) -> CloudResult<()>;

    /// As [`KeyValueStore::delete_with_condition`].
    async fn dyn_delete_with_condition(
        &self,
        table: &str,
        key: &str,
        condition: Condition,
    ) -> CloudResult<bool>;

    /// As [`KeyValueStore::exists`].
    async fn dyn_exists(&self, table: &str, key: &str) -> CloudResult<bool>;

    /// As [`KeyValueStore::update`].
    async fn dyn_update(&self, table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()>;

    /// As [`KeyValueStore::query`].
    async fn dyn_query(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<Value>>;

    /// As [`KeyValueStore::batch_get`].
    async fn dyn_batch_get(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<Value>>;

    /// As [`KeyValueStore::batch_write`].
    async fn dyn_batch_write(&self, table: &str, items: &[(&str, &Value)]) -> CloudResult<()>;

    /// As [`KeyValueStore::capabilities`].
    fn dyn_capabilities(&self) -> Capabilities;

    /// As [`KeyValueStore::create_table`].
    async fn dyn_create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure>;

    /// As [`KeyValueStore::delete_table`].
    async fn dyn_delete_table(&self, table: &str) -> Result<(), Failure>;

    /// As [`KeyValueStore::transact`].
    async fn dyn_transact(&self, items: Vec<TransactItem>) -> Result<(), Failure>;

    /// As [`KeyValueStore::scan_stream`].
    fn dyn_scan_stream<'a>(&'a self, table: &'a str, options: ScanOptions) -> ItemStream<'a, Value>;

    /// As [`KeyValueStore::increment`].
    async fn dyn_increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure>;
}

#[async_trait]
impl<S: KeyValueStore> DynKeyValueStore for S {
    async fn dyn_get(&self, table: &str, key: &str, options: KvGetOptions) -> CloudResult<Option<Value>> {
        self.get_with_options(table, key, options).await
    }

    async fn dyn_put(
        &self,
        table: &str,
        key: &str,
        item: &Value,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        self.put_with_options(table, key, item, options).await
    }

    async fn dyn_delete(&self, table: &str, key: &str) -> CloudResult<()> {
        self.delete(table, key).await
    }

    async fn dyn_delete_with_condition(
        &self,
        table: &str,
        key: &str,
        condition: Condition,
    ) -> CloudResult<bool> {
        self.delete_with_condition(table, key, condition).await
    }

    async fn dyn_exists(&self, table: &str, key: &str) -> CloudResult<bool> {
        self.exists(table, key).await
    }

    async fn dyn_update(&self, table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()> {
        self.update(table, key, updates).await
    }

    async fn dyn_query(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<Value>> {
        self.query(table, partition_key, options).await
    }

    async fn dyn_batch_get(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<Value>> {
        self.batch_get(table, keys).await
    }

    async fn dyn_batch_write(&self, table: &str, items: &[(&str, &Value)]) -> CloudResult<()> {
        self.batch_write(table, items).await
    }

    fn dyn_capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    async fn dyn_create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure> {
        self.create_table(table, options).await
    }

    async fn dyn_delete_table(&self, table: &str) -> Result<(), Failure> {
        self.delete_table(table).await
    }

    async fn dyn_transact(&self, items: Vec<TransactItem>) -> Result<(), Failure> {
        self.transact(items).await
    }

    fn dyn_scan_stream<'a>(&'a self, table: &'a str, options: ScanOptions) -> ItemStream<'a, Value> {
        self.scan_stream(table, options)
    }

    async fn dyn_increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        self.increment(table, key, attribute, by).await
    }
}

/// The generic methods of a trait object, by way of JSON values.
#[async_trait]
impl KeyValueStore for dyn DynKeyValueStore {
    async fn get<T: DeserializeOwned + Send>(&self, table: &str, key: &str) -> CloudResult<Option<T>> {
        self.get_with_options(table, key, KvGetOptions::default()).await
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        key: &str,
        options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        let found = self.dyn_get(table, key, options).await?;
        Ok(found.map(serde_json::from_value).transpose()?)
    }

    async fn put<T: Serialize + Send + Sync>(&self, table: &str, key: &str, item: &T) -> CloudResult<()> {
        self.put_with_options(table, key, item, KvPutOptions::default()).await.map(drop)
    }

    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        key: &str,
        item: &T,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        self.dyn_put(table, key, &serde_json::to_value(item)?, options).await
    }

    async fn delete(&self, table: &str, key: &str) -> CloudResult<()> {
        self.dyn_delete(table, key).await
    }

    async fn delete_with_condition(&self, table: &str, key: &str, condition: Condition) -> CloudResult<bool> {
        self.dyn_delete_with_condition(table, key, condition).await
    }

    async fn exists(&self, table: &str, key: &str) -> CloudResult<bool> {
        self.dyn_exists(table, key).await
    }

    async fn update(&self, table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()> {
        self.dyn_update(table, key, updates).await
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        let page = self.dyn_query(table, partition_key, options).await?;
        let items = page.items.into_iter().map(serde_json::from_value).collect::<Result<Vec<T>, _>>()?;
        Ok(ListResult { items, next_token: page.next_token, total_count: page.total_count })
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        let found = self.dyn_batch_get(table, keys).await?;
        Ok(found.into_iter().map(serde_json::from_value).collect::<Result<Vec<T>, _>>()?)
    }

    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        items: &[(&str, &T)],
    ) -> CloudResult<()> {
        let values =
            items.iter().map(|(_, item)| serde_json::to_value(item)).collect::<Result<Vec<_>, _>>()?;
        let pairs: Vec<(&str, &Value)> = items.iter().map(|(key, _)| *key).zip(&values).collect();
        self.dyn_batch_write(table, &pairs).await
    }

    fn capabilities(&self) -> Capabilities {
        self.dyn_capabilities()
    }

    async fn create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure> {
        self.dyn_create_table(table, options).await
    }

    async fn delete_table(&self, table: &str) -> Result<(), Failure> {
        self.dyn_delete_table(table).await
    }

    async fn transact(&self, items: Vec<TransactItem>) -> Result<(), Failure> {
        self.dyn_transact(items).await
    }

    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        table: &'a str,
        options: ScanOptions,
    ) -> ItemStream<'a, T> {
        self.dyn_scan_stream(table, options)
            .map_items(|item| serde_json::from_value(item).map_err(|error| CloudError::from(error).into()))
    }

    async fn increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        self.dyn_increment(table, key, attribute, by).await
    }
}
