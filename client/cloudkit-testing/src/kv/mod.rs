//! Items in memory: the trait over the state of `table.rs`.

mod condition;
mod path;
mod table;
mod value;

pub(crate) use table::Tables;

use crate::cloud::Shared;
use crate::refusal::{Of, Outcome, PROVIDER};
use async_trait::async_trait;
use cloudkit_core::api::{
    Capabilities, Condition, CreateTableOptions, KeyValueStore, KvGetOptions, KvPutOptions, KvQueryOptions,
    ScanOptions, Service, TransactItem,
};
use cloudkit_core::common::{CloudResult, Failure, ItemStream, ListResult, PaginationToken};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use table::{check_form, invalid};
use value::Item;

/// Tables and items in memory.
#[derive(Clone)]
pub struct MemoryDb {
    pub(crate) shared: Arc<Shared>,
}

fn read<T: DeserializeOwned>(item: Item) -> CloudResult<T> {
    Ok(serde_json::from_value(Value::Object(item))?)
}

/// The last item of each place, which two keys name where the table has a second one. The others are not looked at.
fn last_of_each<'a>(sort: Option<&str>, items: &'a [(&'a str, Value)]) -> Vec<&'a (&'a str, Value)> {
    let mut seen = BTreeSet::new();
    let sort = |item: &'a Value| sort.and_then(|sort| item.get(sort)?.as_str());
    let mut last: Vec<_> = items.iter().rev().filter(|(key, item)| seen.insert((*key, sort(item)))).collect();
    last.reverse();
    last
}

fn name(table: &str, key: &str) -> String {
    format!("{table}/{key}")
}

#[async_trait]
impl KeyValueStore for MemoryDb {
    async fn get<T: DeserializeOwned + Send>(&self, table: &str, key: &str) -> CloudResult<Option<T>> {
        self.get_with_options(table, key, KvGetOptions::default()).await
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        key: &str,
        options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        let state = self.shared.lock();
        let found = state.tables.find(table).and_then(|table| table.get(key));
        let projected = found.and_then(|item| match (&options.projection, item) {
            (Some(paths), item) => {
                let none = item.is_none();
                let projected = path::project(&item.unwrap_or_default(), paths)?;
                Ok((!none).then_some(projected))
            }
            (None, item) => Ok(item),
        });
        projected.of("GetItem", &name(table, key))?.map(read).transpose()
    }

    async fn put<T: Serialize + Send + Sync>(&self, table: &str, key: &str, item: &T) -> CloudResult<()> {
        self.put_with_options(table, key, item, KvPutOptions::default()).await?;
        Ok(())
    }

    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        key: &str,
        item: &T,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        let item = serde_json::to_value(item)?;
        let mut state = self.shared.lock();
        let put = check_form(Some(&item), options.condition.as_ref())
            .and_then(|()| state.tables.find_mut(table))
            .and_then(|table| table.put(key, &item, options.condition.as_ref()));
        let old = put.of("PutItem", &name(table, key))?;
        Ok(old.filter(|_| options.return_old).map(Value::Object))
    }

    async fn delete(&self, table: &str, key: &str) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let deleted = state.tables.find_mut(table).and_then(|table| table.delete(key, None));
        Ok(deleted.of("DeleteItem", &name(table, key))?)
    }

    async fn delete_with_condition(&self, table: &str, key: &str, condition: Condition) -> CloudResult<bool> {
        let mut state = self.shared.lock();
        let deleted = check_form(None, Some(&condition))
            .and_then(|()| state.tables.find_mut(table))
            .and_then(|table| table.delete(key, Some(&condition)));
        match deleted {
            Err(refusal) if refusal.is_failed_condition() => Ok(false),
            deleted => Ok(deleted.map(|()| true).of("DeleteItem", &name(table, key))?),
        }
    }

    async fn exists(&self, table: &str, key: &str) -> CloudResult<bool> {
        let state = self.shared.lock();
        let found = state.tables.find(table).and_then(|table| table.get(key));
        Ok(found.of("GetItem", &name(table, key))?.is_some())
    }

    async fn update(&self, table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let item = Value::Object(updates.clone().into_iter().collect());
        let updated = check_form(Some(&item), None)
            .and_then(|()| state.tables.find_mut(table))
            .and_then(|table| table.update(key, updates));
        Ok(updated.of("UpdateItem", &name(table, key))?)
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        let state = self.shared.lock();
        let page = check_form(None, options.filter.as_ref())
            .and_then(|()| state.tables.find(table))
            .and_then(|table| table.query(partition_key, &options));
        let (items, token) = page.of("Query", &name(table, partition_key))?;
        let items = items.into_iter().map(read).collect::<CloudResult<_>>()?;
        Ok(ListResult::new(items, PaginationToken(token)))
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        let state = self.shared.lock();
        let found = state.tables.find(table).and_then(|table| {
            let mut seen = BTreeSet::new();
            keys.iter()
                .filter(|key| seen.insert(**key))
                .map(|key| table.get(key))
                .collect::<Outcome<Vec<_>>>()
        });
        found.of("BatchGetItem", table)?.into_iter().flatten().map(read).collect()
    }

    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        items: &[(&str, &T)],
    ) -> CloudResult<()> {
        let items = items.iter().map(|(key, item)| Ok((*key, serde_json::to_value(item)?)));
        let items = items.collect::<CloudResult<Vec<(&str, Value)>>>()?;
        let mut state = self.shared.lock();
        let sort = state.tables.find(table).ok().and_then(|table| table.sort_key_name.clone());
        let items = last_of_each(sort.as_deref(), &items);
        let checked = items.iter().try_for_each(|(_, item)| check_form(Some(item), None));
        let written = checked.and_then(|()| state.tables.find_mut(table)).and_then(|table| {
            items.iter().try_for_each(|(key, item)| table.check_put(key, item))?;
            items.iter().try_for_each(|(key, item)| table.put(key, item, None).map(|_| ()))
        });
        Ok(written.of("BatchWriteItem", table)?)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(PROVIDER, Service::KeyValueStore)
            .yes("create_table", "")
            .yes("delete_table", "")
            .yes("transact", "up to 100 parts")
            .yes("scan_stream", "what the table held when the stream was first read")
            .yes("increment", "")
    }

    async fn create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure> {
        self.shared.lock().tables.create(table, &options).of("CreateTable", table)
    }

    async fn delete_table(&self, table: &str) -> Result<(), Failure> {
        self.shared.lock().tables.delete(table).of("DeleteTable", table)
    }

    async fn transact(&self, items: Vec<TransactItem>) -> Result<(), Failure> {
        let tables: BTreeSet<&str> = items.iter().map(TransactItem::table).collect();
        let tables = tables.into_iter().collect::<Vec<_>>().join(", ");
        self.shared.lock().tables.transact(&items).of("TransactWriteItems", &tables)
    }

    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        table: &'a str,
        options: ScanOptions,
    ) -> ItemStream<'a, T> {
        ItemStream::pages(move |_: Option<()>| {
            let items = {
                let state = self.shared.lock();
                let checked = check_form(None, options.filter.as_ref());
                let found = checked.and_then(|()| state.tables.find(table));
                let found = found.and_then(|found| match options.page_items {
                    Some(0) => Err(invalid("a page has at least one item")),
                    Some(_) | None => found.scan(options.filter.as_ref()),
                });
                found.of("Scan", table)
            };
            async move {
                let items = items?.into_iter().map(read).collect::<CloudResult<Vec<T>>>()?;
                Ok((items, None))
            }
        })
    }

    async fn increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        let mut state = self.shared.lock();
        let sum = state.tables.find_mut(table).and_then(|table| table.increment(key, attribute, by));
        sum.of("UpdateItem", &name(table, key))
    }
}

impl fmt::Debug for MemoryDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDb").finish_non_exhaustive()
    }
}
