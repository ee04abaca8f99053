//! Which attributes hold the keys of a table: asked once, and kept until something says that it is no longer so.
//! Also how tables come and go.
//! Known gap: a table that is made anew by somebody else, with another key, while its items happen to have an attribute of that
//! name, is written under that one until the kept names are dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloudkit_core::api::CreateTableOptions;
use cloudkit_core::common::{CloudError, Failure};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::wire::{Ignored, ask};
use crate::retry::Idempotency;
use crate::service::{Operation, ServiceClient};

/// The attributes that hold the keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeyNames {
    pub key: String,
    pub sort: Option<String>,
    /// Nobody knows them, since there is no such table. What is asked of it is asked all the same: the service looks at the form of a
    /// request first, and so says the same of a wrong one whatever was asked before.
    pub is_guess: bool,
}

impl KeyNames {
    fn guess() -> KeyNames {
        KeyNames { key: CreateTableOptions::new().key_name, sort: None, is_guess: true }
    }
}

/// What was asked so far.
#[derive(Default)]
pub(super) struct Schemas(Mutex<HashMap<String, Arc<KeyNames>>>);

impl Schemas {
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<KeyNames>>> {
        // A map is whole between any two of its methods.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a table.
    pub fn get(&self, table: &str) -> Option<Arc<KeyNames>> {
        self.locked().get(table).cloned()
    }

    /// Keeps it.
    fn keep(&self, table: &str, names: Arc<KeyNames>) {
        let mut kept = self.locked();
        if kept.len() >= TABLE_COUNT_MAX {
            kept.clear();
        }
        kept.insert(table.to_string(), names);
    }

    /// Drops it.
    pub fn forget(&self, table: &str) {
        self.locked().remove(table);
    }

    /// The names of a table, and whether they are those that the service just told. Errors: those of DescribeTable, but for a table
    /// that is not there.
    pub async fn names(&self, client: &ServiceClient, table: &str) -> Result<(Arc<KeyNames>, bool), Failure> {
        if let Some(names) = self.get(table) {
            return Ok((names, false));
        }
        let operation = Operation::on("DescribeTable", table);
        let described = match describe(client, &operation, table).await {
            Ok(described) => described,
            Err(failure) if failure.kind.is_not_found() => return Ok((Arc::new(KeyNames::guess()), false)),
            Err(failure) => return Err(failure),
        };
        let of = |kind: &str| {
            let mut elements = described.key_schema.iter();
            elements.find(|element| element.key_type == kind).map(|element| element.attribute_name.clone())
        };
        let key = of("HASH").ok_or_else(|| client.malformed(&operation, "the table has no key"))?;
        let names = Arc::new(KeyNames { key, sort: of("RANGE"), is_guess: false });
        self.keep(table, names.clone());
        Ok((names, true))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TableName<'a> {
    table_name: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(alias = "TableDescription")]
    table: Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    table_status: String,
    #[serde(default)]
    key_schema: Vec<KeyElement>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateTable<'a> {
    table_name: &'a str,
    billing_mode: &'static str,
    key_schema: Vec<KeyElement>,
    attribute_definitions: Vec<Definition<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    attribute_name: &'a str,
    attribute_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag<'a> {
    key: &'a str,
    value: &'a str,
}

async fn describe(client: &ServiceClient, operation: &Operation<'_>, table: &str) -> Result<Table, Failure> {
    let description: Description =
        ask(client, operation, &TableName { table_name: table }, Idempotency::Always).await?;
    Ok(description.table)
}

/// Makes a table and waits until it can be used.
pub(super) async fn create(
    client: &ServiceClient,
    table: &str,
    options: &CreateTableOptions,
) -> Result<(), Failure> {
    let operation = Operation::on("CreateTable", table);
    let keys = [(Some(&options.key_name), "HASH"), (options.sort_key_name.as_ref(), "RANGE")];
    let keys = || keys.iter().filter_map(|(name, kind)| name.map(|name| (name.as_str(), *kind)));
    let element =
        |(name, kind): (&str, &str)| KeyElement { attribute_name: name.into(), key_type: kind.into() };
    let input = CreateTable {
        table_name: table,
        billing_mode: "PAY_PER_REQUEST",
        key_schema: keys().map(element).collect(),
        attribute_definitions: keys()
            .map(|(attribute_name, _)| Definition { attribute_name, attribute_type: "S" })
            .collect(),
        tags: options.tags.iter().map(|(key, value)| Tag { key, value }).collect(),
    };
    // Not repeated once it may have been done: the second one would find the table of the first.
    let Description { table: mut made } = ask(client, &operation, &input, Idempotency::IfNotSent).await?;
    let mut pause = Pause::new();
    while made.table_status != "ACTIVE" {
        pause.wait(client, &operation).await?;
        made = describe(client, &operation_describe(table), table).await?;
    }
    Ok(())
}

/// Deletes a table and waits until it is gone.
pub(super) async fn delete(client: &ServiceClient, table: &str) -> Result<(), Failure> {
    let operation = Operation::on("DeleteTable", table);
    let _: Ignored =
        ask(client, &operation, &TableName { table_name: table }, Idempotency::IfNotSent).await?;
    let mut pause = Pause::new();
    loop {
        match describe(client, &operation_describe(table), table).await {
            Err(failure) if failure.kind.is_not_found() => return Ok(()),
            Err(failure) => return Err(failure),
            // Somebody made one of this name again.
            Ok(table) if table.table_status != "DELETING" => return Ok(()),
            Ok(_) => pause.wait(client, &operation).await?,
        }
    }
}

fn operation_describe(table: &str) -> Operation<'_> {
    Operation::on("DescribeTable", table)
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

    async fn wait(&mut self, client: &ServiceClient, operation: &Operation<'_>) -> Result<(), Failure> {
        let duration = self.started.elapsed();
        if duration > CHANGE_TIME_MAX {
            let kind = CloudError::Timeout { operation: operation.name.into(), duration };
            return Err(client.refusal(operation, kind));
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
