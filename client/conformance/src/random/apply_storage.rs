//! Operations on buckets, objects, tables and items.

use super::operation::{KEYS, Operation};
use super::world::{World, body, facts, item_key, listed, unordered};
use cloudkit_core::api::{
    CreateTableOptions, GetOptions, KeyValueStore, KvGetOptions, KvPutOptions, KvQueryOptions, PutOptions,
    PutStreamOptions, ScanOptions, TransactItem,
};
use cloudkit_core::common::{CloudError, Metadata};
use serde_json::{Value, json};
use std::collections::HashMap;

type Done = Result<Value, CloudError>;

impl World<'_> {
    pub(super) async fn storage(&mut self, operation: &Operation, index: usize) -> Done {
        let services = self.services;
        let storage = &services.storage;
        let name = |bucket: &usize| self.buckets[*bucket].clone();
        let null = Value::Null;
        Ok(match operation {
            Operation::CreateBucket(bucket) => storage.create_bucket(&name(bucket)).await.map(|()| null)?,
            Operation::DeleteBucket { bucket, emptied } => {
                if *emptied {
                    storage.delete_objects(&name(bucket), &KEYS).await?;
                }
                storage.delete_bucket(&name(bucket)).await.map(|()| null)?
            }
            Operation::BucketExists(bucket) => json!(storage.bucket_exists(&name(bucket)).await?),
            Operation::PutObject { bucket, key, bytes, metadata } => {
                let (bucket_name, data) = (name(bucket), data(index, *bytes));
                self.remember(*bucket, *key).await;
                if *metadata {
                    let options =
                        PutOptions::new().content_type("text/plain").metadata("Number", index.to_string());
                    storage.put_object_with_options(&bucket_name, KEYS[*key], &data, options).await?;
                } else {
                    storage.put_object(&bucket_name, KEYS[*key], &data).await?;
                }
                null
            }
            Operation::GetObject { bucket, key } => {
                body(&storage.get_object(&name(bucket), KEYS[*key]).await?)
            }
            Operation::GetRange { bucket, key, start, end } => {
                let options = GetOptions::new().range(*start, *end);
                body(&storage.get_object_with_options(&name(bucket), KEYS[*key], options).await?)
            }
            Operation::GetIf { bucket, key, same, current } => {
                let bucket_name = name(bucket);
                let tag = self.tag(*bucket, *key, *current).await;
                let mut options = GetOptions::new();
                *if *same { &mut options.if_match } else { &mut options.if_none_match } = tag;
                body(&storage.get_object_with_options(&bucket_name, KEYS[*key], options).await?)
            }
            // The answer to a HEAD has no body that tells a missing bucket from a missing object.
            Operation::HeadObject { bucket, key } => {
                match storage.head_object(&name(bucket), KEYS[*key]).await {
                    Err(error) if error.is_not_found() => json!("NotFound"),
                    found => facts(&found?),
                }
            }
            Operation::DeleteObject { bucket, key } => {
                let bucket_name = name(bucket);
                self.remember(*bucket, *key).await;
                storage.delete_object(&bucket_name, KEYS[*key]).await.map(|()| null)?
            }
            Operation::DeleteObjects { bucket, keys } => {
                let keys: Vec<&str> = keys.iter().map(|key| KEYS[*key]).collect();
                storage.delete_objects(&name(bucket), &keys).await.map(|()| null)?
            }
            Operation::CopyObject { from, to } => {
                let (source, target) = (name(&from.0), name(&to.0));
                self.remember(to.0, to.1).await;
                storage.copy_object(&source, KEYS[from.1], &target, KEYS[to.1]).await.map(|()| null)?
            }
            Operation::ObjectExists { bucket, key } => {
                json!(storage.object_exists(&name(bucket), KEYS[*key]).await?)
            }
            Operation::ListObjects { bucket, prefix, delimiter, max } => {
                listed(&**storage, &name(bucket), *prefix, *delimiter, *max).await?
            }
            Operation::PutIfAbsent { bucket, key } => {
                let options = PutStreamOptions::new().if_absent().tag("number", index.to_string());
                let put =
                    storage.put_stream(&name(bucket), KEYS[*key], data(index, 50).into(), options).await?;
                json!(put.etag.is_some())
            }
            Operation::PutIfMatch { bucket, key, current } => {
                let bucket_name = name(bucket);
                let tag = self.tag(*bucket, *key, *current).await.unwrap_or_else(|| "0".repeat(32));
                let options = PutStreamOptions::new().if_match(tag);
                let put =
                    storage.put_stream(&bucket_name, KEYS[*key], data(index, 60).into(), options).await?;
                json!(put.etag.is_some())
            }
            Operation::SetTags { bucket, key, count } => {
                let tags: Metadata = (0..*count).map(|tag| (format!("t {tag}"), index.to_string())).collect();
                storage.set_tags(&name(bucket), KEYS[*key], tags).await.map(|()| null)?
            }
            Operation::GetTags { bucket, key } => json!(storage.get_tags(&name(bucket), KEYS[*key]).await?),
            Operation::DeleteTags { bucket, key } => {
                storage.delete_tags(&name(bucket), KEYS[*key]).await.map(|()| null)?
            }
            other => {
                return Err(CloudError::Internal(format!("{} is no operation of objects", other.name())));
            }
        })
    }

    /// Keeps the entity tag that an object has before it changes.
    async fn remember(&mut self, bucket: usize, key: usize) {
        if let Some(tag) = self.tag(bucket, key, true).await {
            self.old_tags.insert((bucket, key), tag);
        }
    }

    pub(super) async fn table(&mut self, operation: &Operation) -> Done {
        let kv = &*self.services.kv_store;
        let name = |table: &usize| self.tables[*table].as_str();
        let null = Value::Null;
        Ok(match operation {
            Operation::CreateTable(table) => {
                kv.create_table(name(table), CreateTableOptions::new()).await.map(|()| null)?
            }
            Operation::DeleteTable(table) => kv.delete_table(name(table)).await.map(|()| null)?,
            Operation::PutItem { table, key, item } => {
                kv.put(name(table), item_key(*key), item).await.map(|()| null)?
            }
            Operation::PutItemIf { table, key, item, condition, return_old } => {
                let options = KvPutOptions { condition: Some(condition.clone()), return_old: *return_old };
                json!(kv.put_with_options(name(table), item_key(*key), item, options).await?)
            }
            Operation::GetItem { table, key } => json!(kv.get::<Value>(name(table), item_key(*key)).await?),
            Operation::GetPart { table, key, paths } => {
                let options = KvGetOptions { consistent_read: true, projection: Some(paths.clone()) };
                json!(kv.get_with_options::<Value>(name(table), item_key(*key), options).await?)
            }
            Operation::DeleteItem { table, key } => {
                kv.delete(name(table), item_key(*key)).await.map(|()| null)?
            }
            Operation::DeleteItemIf { table, key, condition } => {
                json!(kv.delete_with_condition(name(table), item_key(*key), condition.clone()).await?)
            }
            Operation::ItemExists { table, key } => json!(kv.exists(name(table), item_key(*key)).await?),
            Operation::UpdateItem { table, key, name: attribute, value } => {
                let updates = HashMap::from([(attribute.clone(), value.clone())]);
                kv.update(name(table), item_key(*key), updates).await.map(|()| null)?
            }
            Operation::QueryItems { table, key, filter } => {
                let options = KvQueryOptions {
                    filter: filter.clone(),
                    consistent_read: true,
                    ..KvQueryOptions::default()
                };
                let page = kv.query::<Value>(name(table), item_key(*key), options).await?;
                json!(page.items)
            }
            Operation::BatchGet { table, keys } => {
                let keys: Vec<&str> = keys.iter().map(|key| item_key(*key)).collect();
                unordered(kv.batch_get::<Value>(name(table), &keys).await?)
            }
            Operation::BatchWrite { table, items } => {
                let items: Vec<(&str, &Value)> =
                    items.iter().map(|(key, item)| (item_key(*key), item)).collect();
                kv.batch_write(name(table), &items).await.map(|()| null)?
            }
            Operation::Transact { parts } => {
                let part = |(table, key, item, condition): &(usize, usize, Option<Value>, Option<_>)| {
                    let (table, key) = (name(table), item_key(*key));
                    let part = match item {
                        Some(item) => TransactItem::put(table, key, item)?,
                        None => TransactItem::delete(table, key),
                    };
                    Ok(match condition.clone() {
                        Some(condition) => part.when(condition),
                        None => part,
                    })
                };
                let parts = parts.iter().map(part).collect::<Result<Vec<_>, CloudError>>()?;
                kv.transact(parts).await.map(|()| null)?
            }
            Operation::Increment { table, key, by } => {
                json!(kv.increment(name(table), item_key(*key), "count", *by).await?)
            }
            Operation::Scan { table, filter } => {
                let mut options = ScanOptions::new().consistent_read();
                options.filter = filter.clone();
                unordered(kv.scan_stream::<Value>(name(table), options).collect(SCAN_COUNT_MAX).await?)
            }
            other => return Err(CloudError::Internal(format!("{} is no operation of items", other.name()))),
        })
    }
}

/// A body that no other operation has, of so many bytes where that leaves room for the number.
fn data(index: usize, bytes: usize) -> Vec<u8> {
    let mut data = index.to_string().into_bytes();
    data.resize(bytes.max(if bytes == 0 { 0 } else { data.len() }), b'.');
    data.truncate(if bytes == 0 { 0 } else { data.len() });
    data
}

const SCAN_COUNT_MAX: usize = 10_000;
