//! Tables and items of AWS: `KeyValueStore` over the SDK's client of DynamoDB.
//!
//! What becomes of a call whose answer is lost:
//!
//! | call | sent again? | because |
//! |---|---|---|
//! | get, exists, query, scan, batch_get | yes | they change nothing |
//! | put without condition, update, delete, batch_write | yes | twice is as good as once |
//! | put with a condition or return_old, delete_with_condition | no | the second one would be judged by the outcome of the first |
//! | increment | no | twice is twice |
//! | transact | yes | the service knows it again by its token |
//! | create_table, delete_table | no | the second one would find what the first one did |
//!
//! Each of them is sent again if the service refused to begin with it, or wants less. Invariant: what is not sent again fails with
//! the error of its attempt, which says nothing of the outcome.
//!
//! | file | holds |
//! |---|---|
//! | value, expression, token | the forms of values, conditions and pages |
//! | explain | what refusals mean |
//! | schema | the names of keys; how tables come and go |
//! | items, batch, transact | the operations |

mod batch;
mod explain;
mod expression;
mod items;
mod schema;
mod token;
mod transact;
mod value;

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

use crate::caller::{Caller, Shared};
use crate::fault::PROVIDER;
use crate::operation::Operation;
use schema::{KeyNames, Schemas};
use value::Attributes;

/// Tables and items. Clones share everything.
#[derive(Clone)]
pub struct DynamoDbStore {
    caller: Caller,
    schemas: Arc<Schemas>,
}

impl DynamoDbStore {
    pub(crate) fn new(shared: Arc<Shared>) -> DynamoDbStore {
        DynamoDbStore { caller: Caller::new(shared, "dynamodb", explain::explain), schemas: Arc::default() }
    }

    fn sdk(&self) -> &aws_sdk_dynamodb::Client {
        &self.caller.shared.dynamodb
    }

    /// Acts with the names of a table's keys. If the service refuses names that were kept, they are asked for anew, and the action
    /// is done once more if they have changed: a refusal has changed nothing.
    async fn with_names<R, F>(&self, table: &str, act: impl Fn(Arc<KeyNames>) -> F) -> Result<R, Failure>
    where
        F: Future<Output = Result<R, Failure>>,
    {
        let (names, is_fresh) = self.schemas.names(&self.caller, table).await?;
        let failure = match act(names.clone()).await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        match &failure.kind {
            CloudError::NotFound { .. } => self.schemas.forget(table),
            CloudError::Validation(_) if !is_fresh => {
                self.schemas.forget(table);
                let (renewed, _) = self.schemas.names(&self.caller, table).await?;
                if renewed != names {
                    return act(renewed).await;
                }
            }
            _ => {}
        }
        Err(failure)
    }

    /// A value as an item. Errors: Serialization without a JSON form, Validation if that is no object.
    fn item_of<T: Serialize>(
        &self,
        operation: &Operation<'_>,
        item: &T,
    ) -> Result<Map<String, Value>, Failure> {
        let value =
            serde_json::to_value(item).map_err(|error| self.caller.refusal(operation, error.into()))?;
        object_of(&value).cloned().map_err(|words| self.caller.invalid(operation, words))
    }

    /// An item as the caller's type, the key among its attributes.
    fn read<T: DeserializeOwned>(&self, operation: &Operation<'_>, item: Attributes) -> Result<T, Failure> {
        let item = Value::Object(self.item(operation, item)?);
        serde_json::from_value(item).map_err(|error| self.caller.refusal(operation, error.into()))
    }
}

/// The attributes of an item. Errors: words for a value that is none.
fn object_of(value: &Value) -> Result<&Map<String, Value>, String> {
    let Value::Object(item) = value else {
        return Err("an item is a value that serializes to a JSON object".into());
    };
    match item.iter().find(|(_, value)| value::is_too_deep(value)) {
        None => Ok(item),
        Some((name, _)) => Err(format!("the attribute {name:?} has more than 32 levels")),
    }
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbStore").field("caller", &self.caller).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValueStore for DynamoDbStore {
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
        let token = page.last.map(|last| {
            token::encode(&last).ok_or_else(|| self.caller.malformed(&operation, "a key of an unknown kind"))
        });
        Ok(ListResult::new(items, PaginationToken(token.transpose()?)))
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        let act = |names: Arc<KeyNames>| async move { batch::get(&self.caller, table, &names, keys).await };
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
        let items = items.map_err(|error| self.caller.refusal(&operation, error.into()))?;
        let (items, operation) = (items.as_slice(), &operation);
        let act = |names: Arc<KeyNames>| async move {
            // All that are written are looked at before the first is sent.
            let last = batch::last_of_each(&names, items);
            let mut keyed = Vec::with_capacity(last.len());
            for (key, item) in last {
                let item = object_of(item).map_err(|words| self.caller.invalid(operation, words))?;
                keyed.push(self.keyed(operation, &names, key, item)?);
            }
            batch::write(&self.caller, table, keyed).await
        };
        Ok(self.with_names(table, act).await?)
    }

    fn capabilities(&self) -> Capabilities {
        let two_keys = "an item of a table with a sort key is written by put, batch_write and transact, and read by query and \
                        scan_stream; a key alone does not name it, which is a Validation";
        Capabilities::defaults(PROVIDER, Service::KeyValueStore)
            .yes("get", two_keys)
            .yes(
                "put_with_options",
                "not sent again when the answer was lost: the failure says nothing of the outcome",
            )
            .yes("create_table", "pay per request; returns when the table is active")
            .yes("delete_table", "returns when the table is gone")
            .yes("transact", "up to 100 parts; repeated by its token for 10 minutes without being done twice")
            .yes("scan_stream", "page by page; what is written meanwhile may be seen or not")
            .yes(
                "increment",
                "sums of 64 bits; a number that has a fraction is added to, and then told as a Validation",
            )
    }

    async fn create_table(&self, table: &str, options: CreateTableOptions) -> Result<(), Failure> {
        self.schemas.forget(table);
        schema::create(&self.caller, table, &options).await
    }

    async fn delete_table(&self, table: &str) -> Result<(), Failure> {
        let outcome = schema::delete(&self.caller, table).await;
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
                let page = self.scan_page(&operation, table, &options, after).await?;
                let items = page.items.into_iter().map(|item| self.read(&operation, item));
                Ok((items.collect::<Result<_, _>>()?, page.last))
            }
        })
    }

    async fn increment(&self, table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure> {
        self.add(table, key, attribute, by).await
    }
}
