//! Which attributes hold the keys of a table: asked once, and kept until something says that it is no longer so.
//! Also how tables come and go.
//! Known gap: a table that is made anew by somebody else, with another key, while its items happen to have an attribute of that
//! name, is written under that one until the kept names are dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus, Tag,
};
use cloudkit_core::api::CreateTableOptions;
use cloudkit_core::common::{CloudError, Failure};
use tokio::time::Instant;

use crate::caller::Caller;
use crate::operation::Operation;

/// The attributes that hold the keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeyNames {
    pub key: String,
    pub sort: Option<String>,
}

/// What was asked so far.
#[derive(Default)]
pub(super) struct Schemas(Mutex<HashMap<String, Arc<KeyNames>>>);

impl Schemas {
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<KeyNames>>> {
        // A map is whole between any two of its methods.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what is kept of a table.
    pub fn forget(&self, table: &str) {
        self.locked().remove(table);
    }

    /// The names of a table, and whether they had to be asked for. Errors: those of DescribeTable.
    pub async fn names(&self, caller: &Caller, table: &str) -> Result<(Arc<KeyNames>, bool), Failure> {
        if let Some(names) = self.locked().get(table).cloned() {
            return Ok((names, false));
        }
        let operation = Operation::on("DescribeTable", table);
        let described = describe(caller, table).await?;
        let of = |kind: KeyType| {
            let mut elements = described.key_schema().iter();
            elements
                .find(|element| *element.key_type() == kind)
                .map(|element| element.attribute_name().into())
        };
        let key = of(KeyType::Hash).ok_or_else(|| caller.malformed(&operation, "the table has no key"))?;
        let names = Arc::new(KeyNames { key, sort: of(KeyType::Range) });
        let mut kept = self.locked();
        if kept.len() >= TABLE_COUNT_MAX {
            kept.clear();
        }
        kept.insert(table.to_string(), names.clone());
        Ok((names, true))
    }
}

async fn describe(caller: &Caller, table: &str) -> Result<TableDescription, Failure> {
    let operation = Operation::on("DescribeTable", table);
    let call = caller.shared.dynamodb.describe_table().table_name(table).send();
    let output = caller.run(&operation, call).await?;
    output.table.ok_or_else(|| caller.malformed(&operation, "the table is missing"))
}

/// Makes a table and waits until it can be used.
pub(super) async fn create(
    caller: &Caller,
    table: &str,
    options: &CreateTableOptions,
) -> Result<(), Failure> {
    // Not repeated once it may have been done: the second one would find the table of the first.
    let operation = Operation::on("CreateTable", table).once();
    let invalid = |_| caller.invalid(&operation, "a key has a name and a kind");
    let keys = [(Some(&options.key_name), KeyType::Hash), (options.sort_key_name.as_ref(), KeyType::Range)];
    let mut call =
        caller.shared.dynamodb.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in keys {
        let Some(name) = name else { continue };
        let element = KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let definition = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build();
        call = call.key_schema(element.map_err(invalid)?).attribute_definitions(definition.map_err(invalid)?);
    }
    for (key, value) in &options.tags {
        call = call.tags(Tag::builder().key(key).value(value).build().map_err(invalid)?);
    }
    let made = caller.run(&operation, call.send()).await?.table_description;
    let mut made = made.ok_or_else(|| caller.malformed(&operation, "the table is missing"))?;
    let mut pause = Pause::new();
    while made.table_status() != Some(&TableStatus::Active) {
        pause.wait(caller, &operation).await?;
        made = describe(caller, table).await?;
    }
    Ok(())
}

/// Deletes a table and waits until it is gone.
pub(super) async fn delete(caller: &Caller, table: &str) -> Result<(), Failure> {
    let operation = Operation::on("DeleteTable", table).once();
    caller.run(&operation, caller.shared.dynamodb.delete_table().table_name(table).send()).await?;
    let mut pause = Pause::new();
    loop {
        match describe(caller, table).await {
            Err(failure) if failure.kind.is_not_found() => return Ok(()),
            Err(failure) => return Err(failure),
            // Somebody made one of this name again.
            Ok(table) if table.table_status() != Some(&TableStatus::Deleting) => return Ok(()),
            Ok(_) => pause.wait(caller, &operation).await?,
        }
    }
}

/// Growing pauses, up to a bound of all together.
struct Pause {
    started: Instant,
    next: Duration,
}

impl Pause {
    fn new() -> Pause {
        Pause { started: Instant::now(), next: PAUSE_MIN }
    }

    async fn wait(&mut self, caller: &Caller, operation: &Operation<'_>) -> Result<(), Failure> {
        let duration = self.started.elapsed();
        if duration > CHANGE_TIME_MAX {
            let kind = CloudError::Timeout { operation: operation.name.into(), duration };
            return Err(caller.refusal(operation, kind));
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        Ok(())
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A table that is not ready by then is a failure.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(600);
/// Tables whose keys are kept.
const TABLE_COUNT_MAX: usize = 10_000;
