//! Tables and items of the zero provider: `KeyValueStore` over the appliance's DynamoDB, protocol 2012-08-10.
//!
//! What becomes of a call whose answer is lost:
//!
//! | call | sent again? | because |
//! |---|---|---|
//! | get, exists, query, scan, batch_get | yes | they change nothing |
//! | put without condition, update, delete, batch_write | yes | twice is as good as once |
//! | put with a condition | no; the item is read back, and if it is what was put, the call succeeded | the second one would be judged by the outcome of the first. An equal item that somebody else wrote counts as ours: whoever builds a lock on it puts something of his own into it |
//! | put with return_old | no | the second one would give the item of the first |
//! | delete_with_condition | no | an item that is gone does not tell who deleted it |
//! | increment | no | twice is twice |
//! | transact | yes | the service knows it again by its token |
//! | create_table, delete_table | no | the second one would find what the first one did |
//!
//! Each of them is sent again if the service refused to begin with it, or wants less. Invariant: what is not sent again fails with
//! the error of its attempt, which says nothing of the outcome.
//!
//! | file | holds |
//! |---|---|
//! | value, path, expression, token | the forms of values, conditions and pages |
//! | wire | requests, answers, what refusals mean |
//! | schema | the names of keys; how tables come and go |
//! | batch, transact, read, write | the operations |

mod batch;
mod expression;
mod path;
mod read;
mod schema;
mod token;
mod transact;
#[cfg(test)]
mod trial;
mod value;
mod wire;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cloudkit_core::api::{
    Capabilities, Condition, CreateTableOptions, KeyValueStore, KvGetOptions, KvPutOptions, KvQueryOptions,
    ScanOptions, Service, TransactItem,
};
use cloudkit_core::common::{CloudError, CloudResult, Failure, ItemStream, ListResult, PaginationToken};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::PROVIDER;
use crate::service::{Operation, ServiceClient, Shared};
use schema::{KeyNames, Schemas};
use value::Item;

/// Tables and items. Clones share everything.
#[derive(Clone)]
pub struct ZeroDb {
    client: ServiceClient,
    schemas: Arc<Schemas>,
}

impl ZeroDb {
    /// Of a client's shared parts.
    pub fn new(shared: Arc<Shared>) -> ZeroDb {
        ZeroDb { client: ServiceClient::new(shared, "dynamodb", wire::explain), schemas: Arc::default() }
    }

    /// Acts with the names of a table's keys. If the service refuses names that were kept, they are asked for anew, and the action
    /// is done once more if they have changed: a refusal has changed nothing.
    async fn with_names<R, F>(&self, table: &str, act: impl Fn(Arc<KeyNames>) -> F) -> Result<R, Failure>
    where
        F: Future<Output = Result<R, Failure>>,
    {
        let (names, is_fresh) = self.schemas.names(&self.client, table).await?;
        let failure = match act(names.clone()).await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        match &failure.kind {
            CloudError::NotFound { .. } => self.schemas.forget(table),
            CloudError::Validation(_) if !is_fresh => {
                self.schemas.forget(table);
                let (renewed, _) = self.schemas.names(&self.client, table).await?;
                if renewed != names {
                    return act(renewed).await;
                }
            }
            _ => {}
        }
        Err(failure)
    }

    fn invalid(&self, operation: &Operation<'_>, words: impl Into<String>) -> Failure {
        self.client.refusal(operation, CloudError::Validation(words.into()))
    }

    /// A value as an item. Errors: Serialization without a JSON form, Validation if that is no object.
    fn item_of<T: Serialize>(
        &self,
        operation: &Operation<'_>,
        item: &T,
    ) -> Result<Map<String, Value>, Failure> {
        let value =
            serde_json::to_value(item).map_err(|error| self.client.refusal(operation, error.into()))?;
        object_of(&value).map_err(|words| self.invalid(operation, words))?;
        match value {
            Value::Object(item) => Ok(item),
            _ => Err(self.invalid(operation, NO_OBJECT)),
        }
    }

    /// An item may bring its key along, but nothing else in its place. Errors: Validation.
    fn check_key(
        &self,
        operation: &Operation<'_>,
        names: &KeyNames,
        key: &str,
        item: &Map<String, Value>,
    ) -> Result<(), Failure> {
        match item.get(&names.key) {
            None => Ok(()),
            Some(Value::String(own)) if own == key => Ok(()),
            Some(_) if names.is_guess => Ok(()),
            Some(_) => {
                let words =
                    format!("the item's attribute {:?} is the table's key and has another value", names.key);
                let mut failure = self.invalid(operation, words);
                failure.detail.hint = Some(KEY_HINT.into());
                Err(failure)
            }
        }
    }

    /// An item as the caller's type, the key among its attributes.
    fn read<T: DeserializeOwned>(&self, operation: &Operation<'_>, Item(item): Item) -> Result<T, Failure> {
        serde_json::from_value(Value::Object(item))
            .map_err(|error| self.client.refusal(operation, error.into()))
    }
}

/// The attributes of an item. Errors: words for a value that is none.
fn object_of(value: &Value) -> Result<&Map<String, Value>, String> {
    let Value::Object(item) = value else { return Err(NO_OBJECT.into()) };
    match item.iter().find(|(_, value)| value::is_too_deep(value)) {
        None => Ok(item),
        Some((name, _)) => Err(format!("the attribute {name:?} has more than 32 levels")),
    }
}

const KEY_HINT: &str = "create_table(.., CreateTableOptions::new().key_name(\"an attribute of its own\"))";
const NO_OBJECT: &str = "an item is a value that serializes to a JSON object";

impl fmt::Debug for ZeroDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroDb").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValueStore for ZeroDb {
    async fn get<T: DeserializeOwned + Send>(&self, table: &str, key: &str) -> CloudResult<Option<T>> {
        self.get_with_options(table, key, KvGetOptions::default()).await
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        key: &str,
        options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        let operation = Operation::inside("GetItem", table, key);
        let found = self.get_item(&operation, table, key, &options).await?;
        Ok(found.map(|item| self.read(&operation, item)).transpose()?)
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
        let operation = Operation::inside("PutItem", table, key);
        let item = self.item_of(&operation, item)?;
        Ok(self.put_item(&operation, table, key, &item, &options).await?)
    }

    async fn delete(&self, table: &str, key: &str) -> CloudResult<()> {
        Ok(self.delete_item(table, key, None).await?)
    }

    async fn delete_with_condition(&self, table: &str, key: &str, condition: Condition) -> CloudResult<bool> {
        match self.delete_item(table, key, Some(&condition)).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind.is_precondition_failed() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn exists(&self, table: &str, key: &str) -> CloudResult<bool> {
        let operation = Operation::inside("GetItem", table, key);
        // The key alone comes back.
        let options = KvGetOptions { consistent_read: true, projection: Some(Vec::new()) };
        Ok(self.get_item(&operation, table, key, &options).await?.is_some())
    }

    async fn update(&self, table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()> {
        let updates: Map<String, Value> = updates.into_iter().collect();
        Ok(self.update_item(table, key, &updates).await?)
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        let operation = Operation::inside("Query", table, partition_key);
        let page = self.query_page(&operation, table, partition_key, &options).await?;
        let items = page.items.into_iter().map(|item| self.read(&operation, item));
        let items = items.collect::<Result<_, _>>()?;
        let token = page.last_evaluated_key.as_ref().map(token::encode);
        Ok(ListResult::new(items, PaginationToken(token)))
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        let act = |names: Arc<KeyNames>| async move { batch::get(&self.client, table, &names, keys).await };
        let items = self.with_names(table, act).await?;
        let operation = Operation::on("BatchGetItem", table);
        let items = items.into_iter().map(|item| self.read(&operation, item));
        Ok(items.collect::<Result<_, _>>()?)
    }

    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        items: &[(&str, &T)],
    ) -> CloudResult<()> {
        let operation = Operation::on("BatchWriteItem", table);
        let items = items.iter().map(|(key, item)| Ok((*key, serde_json::to_value(item)?)));
        let items = items.collect::<Result<Vec<_>, serde_json::Error>>();
        let items = items.map_err(|error| self.client.refusal(&operation, error.into()))?;
        let (items, operation) = (items.as_slice(), &operation);
        let act = |names: Arc<KeyNames>| async move {
            let last = batch::last_of_each(&names, items).into_iter().map(|(key, item)| {
                let item = object_of(item).map_err(|words| self.invalid(operation, words))?;
                self.check_key(operation, &names, key, item)?;
                Ok((*key, item))
            });
            let last = last.collect::<Result<Vec<_>, Failure>>()?;
            batch::write(&self.client, table, &names, &last).await
        };
        Ok(self.with_names(table, act).await?)
    }

    fn capabilities(&self) -> Capabilities {
        let two_keys = "an item of a table with a sort key is written by put, batch_write and transact, and read by query and \
                        scan_stream; a key alone does not name it, which is a Validation";
        Capabilities::defaults(PROVIDER, Service::KeyValueStore)
            .yes("get", two_keys)
            .yes("put_with_options", "an answer that is lost is replaced by a look: an item equal to the one put counts as written")
            .yes("create_table", "returns when the table is active")
            .yes("delete_table", "returns when the table is gone")
            .yes("transact", "up to 100 parts; repeated by its token for 10 minutes without being done twice")
            .yes("scan_stream", "page by page; what is written meanwhile may be seen or not")
            .yes("increment", "sums of 64 bits; a number that has a fraction is added to, and then told as a Validation")
    }

    async fn create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure> {
        self.schemas.forget(table);
        schema::create(&self.client, table, &options).await
    }

    async fn delete_table(&self, table: &str) -> Result<(), Failure> {
        let outcome = schema::delete(&self.client, table).await;
        // Behind it, since others may have asked meanwhile.
        self.schemas.forget(table);
        outcome
    }

    async fn transact(&self, items: Vec<TransactItem>) -> Result<(), Failure> {
        transact::run(self, &items).await
    }

    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        table: &'a str,
        options: ScanOptions,
    ) -> ItemStream<'a, T> {
        let options = Arc::new(options);
        ItemStream::pages(move |after| {
            let options = options.clone();
            async move {
                let operation = Operation::on("Scan", table);
                let page = self.scan_page(&operation, table, &options, after.as_ref()).await?;
                let items = page.items.into_iter().map(|item| self.read(&operation, item));
                Ok((items.collect::<Result<_, _>>()?, page.last_evaluated_key))
            }
        })
    }

    async fn increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        self.add(table, key, attribute, by).await
    }
}
