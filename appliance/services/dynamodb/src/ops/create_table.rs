//! CreateTable: a record on every shard, in one transaction.
//! Invariant: of racing requests for one name exactly one makes the table; a table that is made anew is empty, since it has
//! a number that nothing is stored under.

use std::collections::BTreeMap;
use std::sync::Arc;

use plan::{Context, Plan};
use store::Timestamp;

use super::tags;
use crate::call::{Shared, settle};
use crate::engine::change_table::{Also, Decision, change};
use crate::json::Writer;
use crate::model::names::uuid;
use crate::model::schema::{self, IndexWish};
use crate::model::table::{
    Billing, Epoch, Index, IndexNumber, StreamSetting, StreamView, Table, TableNumber, Throughput,
};
use crate::store::stream::{STREAMS, StreamRecord, streams_key};
use crate::store::table::table_key;
use crate::wire::describe::{self, Status, Totals};
use crate::wire::error::{Error, ErrorName};
use crate::wire::request::table::{Class, RawIndex, TableRequest, table_name, word};
use crate::wire::request::table_meaning::{index_wish, key_elements, maxima, readiness, understood};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = TableRequest::decode(body, "CreateTableInput")?;
    if request.table_name.is_none() {
        return Err(Error::validation(
            "The parameter 'TableName' is required but was not present in the request",
        ));
    }
    let name = call.table_name(table_name(request.table_name.as_ref())?)?;
    request.constraints(true)?;
    let template = template(&call, name, &request)?;
    let key = table_key(call.account_id(), name);
    let decide = move |cx: &mut Context<'_>, found: Option<Table>| match found {
        Some(found) => {
            Err(Error::new(ErrorName::ResourceInUse, format!("Table already exists: {}", found.name)))
        }
        None => Ok(make(cx, &template)),
    };
    Ok(change(cx, key, decide, move |cx, outcome: Result<Arc<Table>, Error>| {
        let outcome =
            outcome.map(|table| described(&call, cx.now, &table, Status::Creating, &Totals::default()));
        settle(&call, outcome)
    }))
}

/// The reply that describes a table that was made, changed or dropped.
pub fn described(call: &Shared, now: Timestamp, table: &Table, status: Status, totals: &Totals) -> Plan {
    let mut out = Writer::new();
    out.begin_object();
    out.key("TableDescription");
    describe::table(&mut out, table, now, &call.config.region, status, totals);
    out.end_object();
    call.reply(out)
}

/// The table with what is drawn for this attempt.
fn make(cx: &mut Context<'_>, template: &Table) -> Decision<Arc<Table>> {
    let mut table = template.clone();
    let mut draw = || (cx.random)();
    // The low half of a drawn number; which tables have it is checked where it is written.
    table.number = TableNumber(draw() as u32);
    table.id = uuid(draw(), draw()).into();
    table.hash_key[..8].copy_from_slice(&draw().to_be_bytes());
    table.hash_key[8..].copy_from_slice(&draw().to_be_bytes());
    let mut also = Vec::new();
    if let Some(view) = table.stream.take().map(|stream| stream.view) {
        also.push(open_stream(&mut table, view, draw(), cx.now));
    }
    let shared = Arc::new(table.clone());
    Decision::Write(Box::new(table), also, shared)
}

/// Gives a table a new stream.
pub fn open_stream(table: &mut Table, view: StreamView, number: u64, now: Timestamp) -> Also {
    table.stream = Some(StreamSetting { number, opened: now, view, enabled: true });
    let record = StreamRecord { number, table: table.number, view, key: table.key.clone(), closed: None };
    let key = streams_key(&table.account, &table.name, now);
    // Two streams of one name and millisecond would be one: the change is decided anew, later.
    Also { is_new: true, ..Also::put(STREAMS, key, record.encode()) }
}

/// Everything about the table that the request says.
fn template(call: &Shared, name: &str, request: &TableRequest<'_>) -> Result<Table, Error> {
    let billing = request.billing.as_deref().and_then(word).unwrap_or(Billing::Provisioned);
    let throughput = throughput(request, billing)?;
    let definitions = request.key_attributes();
    schema::check_definitions(&definitions)?;
    let key = schema::table_key(&key_elements(request.key_schema.as_deref()), &definitions)?;
    let global = |wish: &IndexWish| schema::global_index(wish, &definitions);
    let mut globals = indexes(request.globals.as_deref(), "GlobalSecondaryIndexes", global)?;
    let local = |wish: &IndexWish| schema::local_index(wish, &key, &definitions);
    let mut locals = indexes(request.locals.as_deref(), "LocalSecondaryIndexes", local)?;
    schema::check_indexes(&locals, &globals)?;
    for index in request.globals.iter().flatten() {
        let name = index.name.as_deref().unwrap_or_default();
        check_index_units(name, index.throughput.is_some(), billing)?;
    }
    schema::check_all_used(&definitions, &key, &locals, &globals)?;
    let mut next_index = 1;
    for index in locals.iter_mut().chain(&mut globals) {
        index.number = IndexNumber(next_index);
        next_index += 1;
    }
    let pay_per_request = billing == Billing::PayPerRequest;
    Ok(Table {
        number: TableNumber(0),
        epoch: Epoch(1),
        account: call.account_id().into(),
        name: name.into(),
        id: "".into(),
        hash_key: [0; 16],
        created: call.now,
        key,
        definitions,
        locals,
        globals,
        next_index: IndexNumber(next_index),
        billing,
        on_demand_since: pay_per_request.then_some(call.now),
        throughput,
        throughput_changed: (None, None),
        decrease_count: 0,
        on_demand: maxima(request.on_demand),
        warm: readiness(request.warm),
        protected: request.protected.unwrap_or(false),
        class: request.class.as_deref().and_then(word).map(|class: Class| class.0.into()),
        encryption: encryption(request),
        stream: wanted_stream(request)?.map(|view| StreamSetting {
            number: 0,
            opened: call.now,
            view,
            enabled: true,
        }),
        time_to_live: None,
        time_to_live_changed: None,
        tags: tags::merged(BTreeMap::new(), request.tags.as_deref())?,
    })
}

fn throughput(request: &TableRequest<'_>, billing: Billing) -> Result<Throughput, Error> {
    match (billing, request.throughput) {
        (Billing::Provisioned, None) => Err(Error::invalid_values(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
        (Billing::PayPerRequest, Some(_)) => Err(neither_units()),
        (Billing::Provisioned, Some(units)) => understood(units),
        (Billing::PayPerRequest, None) => Ok(Throughput::default()),
    }
}

/// Units for a table that has none.
#[must_use]
pub fn neither_units() -> Error {
    Error::invalid_values(
        "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
    )
}

/// Refuses units of an index that its table's billing mode does not have, and the lack of those that it must have.
pub fn check_index_units(name: &str, has_units: bool, billing: Billing) -> Result<(), Error> {
    match (billing, has_units) {
        (Billing::Provisioned, false) => {
            Err(Error::invalid_values(&format!("ProvisionedThroughput must be specified for index: {name}")))
        }
        (Billing::PayPerRequest, true) => Err(Error::invalid_values(&format!(
            "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
        ))),
        (Billing::Provisioned, true) | (Billing::PayPerRequest, false) => Ok(()),
    }
}

/// Indexes without their numbers. A list that is there must hold some.
fn indexes(
    raw: Option<&[RawIndex<'_>]>,
    member: &str,
    understand: impl Fn(&IndexWish) -> Result<Index, schema::SchemaError>,
) -> Result<Vec<Index>, Error> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    if raw.is_empty() {
        return Err(Error::invalid_values(&format!("List of {member} is empty")));
    }
    raw.iter().map(|index| Ok(understand(&index_wish(index)?)?)).collect()
}

/// Encryption with a key of the client; nothing else is shown.
#[must_use]
pub fn encryption(request: &TableRequest<'_>) -> Option<Option<Box<str>>> {
    let encryption = request.encryption.as_ref().filter(|encryption| encryption.enabled == Some(true))?;
    Some(encryption.key.as_deref().map(Into::into))
}

fn wanted_stream(request: &TableRequest<'_>) -> Result<Option<StreamView>, Error> {
    let Some((enabled, view)) = &request.stream else { return Ok(None) };
    match (enabled.unwrap_or(false), view.as_deref().and_then(word)) {
        (true, Some(view)) => Ok(Some(view)),
        (true, None) => Err(Error::invalid_values(
            "Table is being created with a stream enabled, UpdateViewType should be specified",
        )),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Error::invalid_values(
            "Table is being created with a stream disabled, UpdateViewType should not be specified",
        )),
    }
}
