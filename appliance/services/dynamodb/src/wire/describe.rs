//! What a table is told to be: the description that CreateTable, DescribeTable, UpdateTable and DeleteTable answer.
//! Invariant: a member that is not set is not written.
//! Leaves to the operations: the status in which a table is shown, and its totals.

use std::collections::HashMap;

use store::{Fault, Store, Timestamp};

use crate::json::Writer;
use crate::model::arn::{Part, TableArn};
use crate::model::names::stream_label;
use crate::model::schema::key_type_word;
use crate::model::table::{
    Billing, Index, IndexNumber, IndexState, KeyAttribute, KeyShape, Projected, StreamView, Table, Throughput,
};
use crate::store::{STATS, TABLE_ITSELF, stats_key};
use crate::wire::request::table_meaning::{READY_READS, READY_WRITES};

/// Items and bytes of a table and of its indexes.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Totals {
    by_index: HashMap<IndexNumber, [i64; 2]>,
}

impl Totals {
    /// Adds up what every shard counts. Errors: those of views.
    pub fn of(store: &Store, table: &Table) -> Result<Totals, Fault> {
        let mut totals = Totals::default();
        for shard in store.shards() {
            let view = store.view(shard)?;
            let numbers = table.indexes().map(|index| index.number);
            for number in std::iter::once(TABLE_ITSELF).chain(numbers) {
                let [items, bytes] = view.counter(STATS, &stats_key(table.number, number))?;
                let sums = totals.by_index.entry(number).or_default();
                *sums = [sums[0] + items, sums[1] + bytes];
            }
        }
        Ok(totals)
    }

    fn get(&self, number: IndexNumber) -> [i64; 2] {
        self.by_index.get(&number).copied().unwrap_or_default()
    }
}

/// In which status a table is shown. It changes at once, so that only replies of changes say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Just made.
    Creating,
    /// There: ACTIVE, or UPDATING while an index is being filled or swept.
    There,
    /// Just changed.
    Updating,
    /// Just dropped.
    Deleting,
}

/// Seconds with milliseconds.
pub fn time(out: &mut Writer, name: &str, time: Timestamp) {
    out.key(name);
    // A clock's milliseconds are far below 2^53.
    out.double(time.0 as f64 / 1_000.0);
}

/// The day of a time, counted from 1970: what "today" means to capacity, in UTC.
#[must_use]
pub fn day(time: Timestamp) -> u64 {
    time.0 / (24 * 60 * 60 * 1_000)
}

/// A member of text.
pub fn text(out: &mut Writer, name: &str, value: &str) {
    out.key(name);
    out.string(value);
}

fn count(out: &mut Writer, name: &str, value: i64) {
    out.key(name);
    out.integer(value);
}

/// The word for what a stream tells.
#[must_use]
pub fn view_word(view: StreamView) -> &'static str {
    match view {
        StreamView::KeysOnly => "KEYS_ONLY",
        StreamView::NewImage => "NEW_IMAGE",
        StreamView::OldImage => "OLD_IMAGE",
        StreamView::NewAndOldImages => "NEW_AND_OLD_IMAGES",
    }
}

/// The description, as the value of the member that was just named.
pub fn table(out: &mut Writer, table: &Table, now: Timestamp, region: &str, status: Status, totals: &Totals) {
    let is_changing = table.globals.iter().any(|index| index.state != IndexState::Active);
    let [items, bytes] = totals.get(TABLE_ITSELF);
    let arn = TableArn { region, account: &table.account, table: &table.name, part: Part::Table };
    out.begin_object();
    definitions(out, &table.definitions);
    text(out, "TableName", &table.name);
    key_schema(out, &table.key);
    text(
        out,
        "TableStatus",
        match status {
            Status::Creating => "CREATING",
            Status::Updating => "UPDATING",
            Status::Deleting => "DELETING",
            Status::There if is_changing => "UPDATING",
            Status::There => "ACTIVE",
        },
    );
    time(out, "CreationDateTime", table.created);
    let is_of_today = table.throughput_changed.1.is_some_and(|lowered| day(lowered) == day(now));
    let decrease_count = if is_of_today { table.decrease_count } else { 0 };
    throughput(out, table.throughput, table.throughput_changed, decrease_count);
    count(out, "TableSizeBytes", bytes);
    count(out, "ItemCount", items);
    text(out, "TableArn", &arn.to_string());
    text(out, "TableId", &table.id);
    billing(out, table);
    indexes(out, table, totals, status, arn);
    stream(out, table, arn);
    settings(out, table);
    out.end_object();
}

fn definitions(out: &mut Writer, definitions: &[KeyAttribute]) {
    out.key("AttributeDefinitions");
    out.begin_array();
    for definition in definitions {
        out.begin_object();
        text(out, "AttributeName", &definition.name);
        text(out, "AttributeType", key_type_word(definition.kind));
        out.end_object();
    }
    out.end_array();
}

/// The key schema of a table or stream.
pub fn key_schema(out: &mut Writer, key: &KeyShape) {
    key_elements(out, std::slice::from_ref(&key.hash), key.sort.as_slice());
}

fn key_elements(out: &mut Writer, hash: &[KeyAttribute], sort: &[KeyAttribute]) {
    out.key("KeySchema");
    out.begin_array();
    for (attributes, role) in [(hash, "HASH"), (sort, "RANGE")] {
        for attribute in attributes {
            out.begin_object();
            text(out, "AttributeName", &attribute.name);
            text(out, "KeyType", role);
            out.end_object();
        }
    }
    out.end_array();
}

fn throughput(
    out: &mut Writer,
    units: Throughput,
    changed: (Option<Timestamp>, Option<Timestamp>),
    decrease_count: u64,
) {
    out.key("ProvisionedThroughput");
    out.begin_object();
    if let Some(raised) = changed.0 {
        time(out, "LastIncreaseDateTime", raised);
    }
    if let Some(lowered) = changed.1 {
        time(out, "LastDecreaseDateTime", lowered);
    }
    out.key("NumberOfDecreasesToday");
    out.unsigned(decrease_count);
    out.key("ReadCapacityUnits");
    out.unsigned(units.read_units);
    out.key("WriteCapacityUnits");
    out.unsigned(units.write_units);
    out.end_object();
}

fn on_demand(out: &mut Writer, units: Option<(i64, i64)>) {
    if let Some((read, write)) = units {
        out.key("OnDemandThroughput");
        out.begin_object();
        count(out, "MaxReadRequestUnits", read);
        count(out, "MaxWriteRequestUnits", write);
        out.end_object();
    }
}

/// Tables on demand are ready for something without being told.
fn warm(out: &mut Writer, set: Option<Throughput>, billing: Billing) {
    let usual = Throughput { read_units: READY_READS, write_units: READY_WRITES };
    let Some(ready) = set.or((billing == Billing::PayPerRequest).then_some(usual)) else { return };
    out.key("WarmThroughput");
    out.begin_object();
    out.key("ReadUnitsPerSecond");
    out.unsigned(ready.read_units);
    out.key("WriteUnitsPerSecond");
    out.unsigned(ready.write_units);
    text(out, "Status", "ACTIVE");
    out.end_object();
}

/// A table that was always provisioned shows no summary.
fn billing(out: &mut Writer, table: &Table) {
    if table.billing == Billing::Provisioned && table.on_demand_since.is_none() {
        return;
    }
    out.key("BillingModeSummary");
    out.begin_object();
    text(
        out,
        "BillingMode",
        match table.billing {
            Billing::Provisioned => "PROVISIONED",
            Billing::PayPerRequest => "PAY_PER_REQUEST",
        },
    );
    if let Some(since) = table.on_demand_since {
        time(out, "LastUpdateToPayPerRequestDateTime", since);
    }
    out.end_object();
}

fn indexes(out: &mut Writer, table: &Table, totals: &Totals, status: Status, arn: TableArn<'_>) {
    for (name, list, is_local) in
        [("LocalSecondaryIndexes", &table.locals, true), ("GlobalSecondaryIndexes", &table.globals, false)]
    {
        if list.is_empty() {
            continue;
        }
        out.key(name);
        out.begin_array();
        for index in list {
            let [items, bytes] = totals.get(index.number);
            out.begin_object();
            text(out, "IndexName", &index.name);
            key_elements(out, &index.hash, &index.sort);
            projection(out, &index.projected);
            if !is_local {
                index_state(out, index, status);
                throughput(out, index.throughput, (None, None), 0);
            }
            count(out, "IndexSizeBytes", bytes);
            count(out, "ItemCount", items);
            text(out, "IndexArn", &TableArn { part: Part::Index(&index.name), ..arn }.to_string());
            if !is_local {
                on_demand(out, index.on_demand);
                warm(out, index.warm, table.billing);
            }
            out.end_object();
        }
        out.end_array();
    }
}

fn index_state(out: &mut Writer, index: &Index, status: Status) {
    let word = match (status, index.state) {
        (Status::Deleting, _) | (_, IndexState::Deleting) => "DELETING",
        (Status::Creating, _) | (_, IndexState::Creating) => "CREATING",
        (Status::There | Status::Updating, IndexState::Active) => "ACTIVE",
    };
    text(out, "IndexStatus", word);
    if index.state == IndexState::Creating && status != Status::Deleting {
        out.key("Backfilling");
        out.boolean(true);
    }
}

fn projection(out: &mut Writer, projected: &Projected) {
    out.key("Projection");
    out.begin_object();
    match projected {
        Projected::All => text(out, "ProjectionType", "ALL"),
        Projected::KeysOnly => text(out, "ProjectionType", "KEYS_ONLY"),
        Projected::Include(names) => {
            text(out, "ProjectionType", "INCLUDE");
            out.key("NonKeyAttributes");
            out.begin_array();
            for name in names {
                out.string(name);
            }
            out.end_array();
        }
    }
    out.end_object();
}

/// A stream that was disabled stays the latest, but is no setting any more.
fn stream(out: &mut Writer, table: &Table, arn: TableArn<'_>) {
    let Some(stream) = &table.stream else { return };
    if stream.enabled {
        out.key("StreamSpecification");
        out.begin_object();
        out.key("StreamEnabled");
        out.boolean(true);
        text(out, "StreamViewType", view_word(stream.view));
        out.end_object();
    }
    text(out, "LatestStreamLabel", &stream_label(stream.opened));
    text(out, "LatestStreamArn", &TableArn { part: Part::Stream(stream.opened), ..arn }.to_string());
}

fn settings(out: &mut Writer, table: &Table) {
    if let Some(key) = &table.encryption {
        out.key("SSEDescription");
        out.begin_object();
        text(out, "Status", "ENABLED");
        text(out, "SSEType", "KMS");
        if let Some(key) = key {
            text(out, "KMSMasterKeyArn", key);
        }
        out.end_object();
    }
    if let Some(class) = &table.class {
        out.key("TableClassSummary");
        out.begin_object();
        text(out, "TableClass", class);
        out.end_object();
    }
    out.key("DeletionProtectionEnabled");
    out.boolean(table.protected);
    on_demand(out, table.on_demand);
    warm(out, table.warm, table.billing);
}
