//! UpdateTable: throughput, billing mode, settings, streams, and global indexes that come, change and go.
//! Invariant: all of a request is done in one transaction, or nothing; an index that comes is written to from its commit
//! on, and one that goes is not.
//! Leaves to engine/backfill.rs and engine/sweep.rs: what lies behind an index that comes or goes.

use std::sync::Arc;

use plan::{Context, Plan};
use store::{Fault, Timestamp};

use super::create_table::{check_index_units, described, encryption, neither_units, open_stream};
use super::delete_table::close_stream;
use crate::call::{Shared, settle};
use crate::engine::change_table::{Also, Decision, change};
use crate::engine::finish::{self, Outcome};
use crate::engine::{backfill, sweep};
use crate::model::schema::{self, IndexWish};
use crate::model::table::{
    Billing, Index, IndexNumber, IndexState, KeyAttribute, StreamView, Table, Throughput,
};
use crate::store::pending::{BACKFILL, DROPPED, Dropped, Progress, backfill_key, dropped_key};
use crate::store::table::table_key;
use crate::wire::describe::{Status, Totals, day};
use crate::wire::error::{Error, ErrorName};
use crate::wire::request::table::{Class, RawIndex, TableRequest, table_name, word};
use crate::wire::request::table_meaning::{index_wish, maxima, readiness, understood};

/// What a request wants, without the table.
struct Wanted {
    definitions: Vec<KeyAttribute>,
    billing: Option<Billing>,
    throughput: Option<Throughput>,
    on_demand: Option<(i64, i64)>,
    warm: Option<Throughput>,
    protected: Option<bool>,
    class: Option<Box<str>>,
    /// Whether a setting was given, and what it is.
    encryption: Option<Option<Option<Box<str>>>>,
    stream: Option<(bool, Option<StreamView>)>,
    indexes: Vec<IndexChange>,
}

enum IndexChange {
    Create { wish: IndexWish },
    Update { name: Box<str>, settings: IndexSettings },
    Delete { name: Box<str> },
}

/// What can be changed of an index.
#[derive(Clone, Copy)]
struct IndexSettings {
    throughput: Option<Throughput>,
    on_demand: Option<(i64, i64)>,
    warm: Option<Throughput>,
}

/// What follows from a change.
#[derive(Clone)]
enum Follows {
    Nothing,
    /// Filling this index.
    Filling(IndexNumber),
    /// Sweeping this one.
    Sweeping(IndexNumber, Dropped),
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = TableRequest::decode(body, "UpdateTableInput")?;
    let name = call.table_name(table_name(request.table_name.as_ref())?)?.to_owned();
    request.constraints(false)?;
    let wanted = wanted(&request)?;
    let key = table_key(call.account_id(), &name);
    let decide = move |cx: &mut Context<'_>, found: Option<Table>| {
        let table = found.ok_or_else(|| Error::no_table(&name))?;
        wanted.apply(cx, table)
    };
    Ok(change(cx, key, decide, move |cx, outcome| {
        let outcome = outcome.and_then(|(table, follows): (Arc<Table>, Follows)| {
            let totals = Totals::of(cx.store, &table)?;
            let reply = described(&call, cx.now, &table, Status::Updating, &totals);
            Ok(follow(cx, &table, follows, reply))
        });
        settle(&call, outcome)
    }))
}

/// Begins what follows before it answers, so that small tables are done with it at once. Larger ones go on by turns.
fn follow(cx: &Context<'_>, table: &Arc<Table>, follows: Follows, reply: Plan) -> Plan {
    let number = table.number;
    let table = Arc::clone(table);
    match follows {
        Follows::Nothing => reply,
        Follows::Filling(index) => backfill::at_once(cx, number, index, move |cx, is_done| {
            conclude(cx, &table, index, Outcome::Filled, is_done, reply)
        }),
        Follows::Sweeping(index, dropped) => {
            sweep::at_once(cx, number, index, dropped, move |cx, is_done| {
                conclude(cx, &table, index, Outcome::Swept, is_done, reply)
            })
        }
    }
}

/// Answers when the record says what became of the index. Whatever comes of that, the change was made: a turn of the first
/// shard's core does it otherwise.
fn conclude(
    cx: &mut Context<'_>,
    table: &Table,
    index: IndexNumber,
    outcome: Outcome,
    is_done: bool,
    reply: Plan,
) -> Plan {
    if !is_done {
        return reply;
    }
    finish::conclude(cx, table, index, outcome, move |_, _: Result<(), Fault>| reply)
}

/// Everything that can be said without the table.
fn wanted(request: &TableRequest<'_>) -> Result<Wanted, Error> {
    let asks_nothing = request.throughput.is_none()
        && request.billing.is_none()
        && request.stream.is_none()
        && request.updates.as_ref().is_none_or(Vec::is_empty)
        && request.encryption.is_none()
        && request.on_demand.is_none()
        && request.warm.is_none()
        && request.protected.is_none()
        && request.class.is_none();
    if asks_nothing {
        return Err(Error::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or \
             SSESpecification or ReplicaUpdates is required",
        ));
    }
    let billing: Option<Billing> = request.billing.as_deref().and_then(word);
    match (billing, request.throughput) {
        (Some(Billing::PayPerRequest), Some(_)) => return Err(neither_units()),
        (Some(Billing::Provisioned), None) => {
            return Err(Error::invalid_values(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            ));
        }
        _ => {}
    }
    let definitions = request.key_attributes();
    schema::check_definitions(&definitions)?;
    Ok(Wanted {
        definitions,
        billing,
        throughput: request.throughput.map(understood).transpose()?,
        on_demand: maxima(request.on_demand),
        warm: readiness(request.warm),
        protected: request.protected,
        class: request.class.as_deref().and_then(word).map(|class: Class| class.0.into()),
        encryption: request.encryption.as_ref().map(|_| encryption(request)),
        stream: request
            .stream
            .as_ref()
            .map(|(enabled, view)| (enabled.unwrap_or(false), view.as_deref().and_then(word))),
        indexes: index_changes(request)?,
    })
}

fn index_changes(request: &TableRequest<'_>) -> Result<Vec<IndexChange>, Error> {
    let mut changes = Vec::new();
    for update in request.updates.iter().flatten() {
        let named = |index: &RawIndex<'_>| index.name.as_deref().unwrap_or_default().into();
        changes.push(match (&update.create, &update.update, &update.delete) {
            (Some(create), None, None) => IndexChange::Create { wish: index_wish(create)? },
            (None, Some(update), None) => IndexChange::Update {
                name: named(update),
                settings: IndexSettings {
                    throughput: update.throughput.map(understood).transpose()?,
                    on_demand: maxima(update.on_demand),
                    warm: readiness(update.warm),
                },
            },
            (None, None, Some(name)) => {
                IndexChange::Delete { name: name.as_deref().unwrap_or_default().into() }
            }
            _ => {
                return Err(Error::invalid_values(
                    "Exactly one of Create, Update or Delete must be specified in a GlobalSecondaryIndexUpdate",
                ));
            }
        });
    }
    let online = changes.iter().filter(|change| !matches!(change, IndexChange::Update { .. })).count();
    if online > 1 {
        return Err(only_one());
    }
    Ok(changes)
}

/// A second index that would come or go.
fn only_one() -> Error {
    Error::new(
        ErrorName::LimitExceeded,
        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
    )
}

impl Wanted {
    fn apply(
        &self,
        cx: &mut Context<'_>,
        mut table: Table,
    ) -> Result<Decision<(Arc<Table>, Follows)>, Error> {
        let before = table.clone();
        let mut also = Vec::new();
        self.change_throughput(&mut table, cx.now)?;
        table.warm = self.warm.or(table.warm);
        if let Some(protected) = self.protected {
            table.protected = protected;
        }
        if let Some(class) = &self.class {
            table.class = Some(class.clone());
        }
        if let Some(encryption) = &self.encryption {
            table.encryption = encryption.clone();
        }
        self.change_stream(cx, &mut table, &mut also)?;
        let follows = self.change_indexes(&mut table, cx.now, &mut also)?;
        self.check_index_units(&table, &before)?;
        let shared = Arc::new(table.clone());
        if table == before {
            return Ok(Decision::Keep((shared, follows)));
        }
        Ok(Decision::Write(Box::new(table), also, (shared, follows)))
    }

    fn change_throughput(&self, table: &mut Table, now: Timestamp) -> Result<(), Error> {
        let billing = self.billing.unwrap_or(table.billing);
        if let Some(on_demand) = self.on_demand {
            table.on_demand = Some(on_demand);
        }
        if billing == Billing::PayPerRequest {
            if self.throughput.is_some() {
                return Err(neither_units());
            }
            if table.billing == Billing::Provisioned {
                table.billing = billing;
                table.on_demand_since = Some(now);
                table.throughput = Throughput::default();
                for index in &mut table.globals {
                    index.throughput = Throughput::default();
                }
            }
            return Ok(());
        }
        let Some(wanted) = self.throughput else { return Ok(()) };
        let current = table.throughput;
        if table.billing == Billing::Provisioned {
            if wanted == current {
                return Err(Error::validation(unchanged("table", current, wanted)));
            }
            let rises = wanted.read_units > current.read_units || wanted.write_units > current.write_units;
            let falls = wanted.read_units < current.read_units || wanted.write_units < current.write_units;
            let (raised, lowered) = table.throughput_changed;
            if falls {
                let is_same_day = lowered.is_some_and(|lowered| day(lowered) == day(now));
                table.decrease_count = 1 + if is_same_day { table.decrease_count } else { 0 };
            }
            table.throughput_changed =
                (if rises { Some(now) } else { raised }, if falls { Some(now) } else { lowered });
        }
        table.billing = Billing::Provisioned;
        table.throughput = wanted;
        Ok(())
    }

    /// A table with units has indexes with units.
    fn check_index_units(&self, table: &Table, before: &Table) -> Result<(), Error> {
        if table.billing != Billing::Provisioned || before.billing == Billing::Provisioned {
            return Ok(());
        }
        match table.globals.iter().find(|index| index.throughput == Throughput::default()) {
            None => Ok(()),
            Some(index) => Err(Error::invalid_values(&format!(
                "ProvisionedThroughput must be specified for index: {}",
                index.name
            ))),
        }
    }

    fn change_stream(
        &self,
        cx: &mut Context<'_>,
        table: &mut Table,
        also: &mut Vec<Also>,
    ) -> Result<(), Error> {
        let Some((enabled, view)) = self.stream else { return Ok(()) };
        let is_enabled = table.stream.as_ref().is_some_and(|stream| stream.enabled);
        match (enabled, view) {
            (true, _) if is_enabled => Err(Error::validation(format!(
                "Table already has an enabled stream: TableName: {}",
                table.name
            ))),
            (true, None) => {
                Err(Error::invalid_values("Stream view type is required when a stream is being enabled"))
            }
            (true, Some(view)) => {
                also.push(open_stream(table, view, (cx.random)(), cx.now));
                Ok(())
            }
            (false, _) if !is_enabled => Err(Error::validation(format!(
                "Table does not have a stream to disable: TableName: {}",
                table.name
            ))),
            (false, _) => {
                also.extend(close_stream(table, cx.now));
                if let Some(stream) = &mut table.stream {
                    stream.enabled = false;
                }
                Ok(())
            }
        }
    }

    fn change_indexes(
        &self,
        table: &mut Table,
        now: Timestamp,
        also: &mut Vec<Also>,
    ) -> Result<Follows, Error> {
        let mut follows = Follows::Nothing;
        let mut defined_more = false;
        for change in &self.indexes {
            match change {
                IndexChange::Create { wish } => {
                    self.define(table)?;
                    defined_more = true;
                    follows = create_index(table, wish, also)?;
                }
                IndexChange::Update { name, settings } => update_index(table, name, *settings)?,
                IndexChange::Delete { name } => follows = delete_index(table, name, now, also)?,
            }
        }
        if defined_more {
            schema::check_all_used(&table.definitions, &table.key, &table.locals, &table.globals)?;
        }
        Ok(follows)
    }

    /// Adds the definitions of the request to those of the table.
    fn define(&self, table: &mut Table) -> Result<(), Error> {
        for definition in &self.definitions {
            match table.definitions.iter().find(|known| known.name == definition.name) {
                Some(known) if known.kind == definition.kind => {}
                Some(known) => {
                    return Err(Error::invalid_values(&format!(
                        "Attributes cannot be redefined. Please check that your attribute has the same type as previously \
                         defined. Existing schema: {} New schema: {}",
                        shown(known),
                        shown(definition)
                    )));
                }
                None => table.definitions.push(definition.clone()),
            }
        }
        Ok(())
    }
}

fn shown(definition: &KeyAttribute) -> String {
    let kind = schema::key_type_word(definition.kind);
    format!("Schema:[SchemaElement: key{{{}:{kind}}}]", definition.name)
}

fn create_index(table: &mut Table, wish: &IndexWish, also: &mut Vec<Also>) -> Result<Follows, Error> {
    if table.globals.iter().any(|index| index.name == wish.name) {
        return Err(Error::validation("Attempting to create an index which already exists"));
    }
    if table.globals.iter().any(|index| index.state != IndexState::Active) {
        return Err(only_one());
    }
    check_index_units(&wish.name, wish.throughput.is_some(), table.billing)?;
    let number = table.next_index;
    let index = schema::global_index(wish, &table.definitions)?;
    table.globals.push(Index { number, state: IndexState::Creating, ..index });
    table.next_index = IndexNumber(number.0 + 1);
    schema::check_indexes(&table.locals, &table.globals)?;
    also.push(Also::put(BACKFILL, backfill_key(table.number, number).to_vec(), Progress::default().encode()));
    Ok(Follows::Filling(number))
}

fn delete_index(
    table: &mut Table,
    name: &str,
    now: Timestamp,
    also: &mut Vec<Also>,
) -> Result<Follows, Error> {
    let Some(place) = table.globals.iter().position(|index| &*index.name == name) else {
        return Err(Error::no_resource());
    };
    // An index that is being filled may go; then it is the one that changes.
    if table.globals.iter().enumerate().any(|(other, index)| {
        index.state == IndexState::Deleting || (other != place && index.state != IndexState::Active)
    }) {
        return Err(only_one());
    }
    let number = table.globals[place].number;
    if table.globals[place].state == IndexState::Creating {
        also.push(Also::delete(BACKFILL, backfill_key(table.number, number).to_vec()));
    }
    table.globals[place].state = IndexState::Deleting;
    let dropped = Dropped { when: now, done: false, expiry: None };
    also.push(Also::put(DROPPED, dropped_key(table.number, Some(number)), dropped.encode()));
    Ok(Follows::Sweeping(number, dropped))
}

fn update_index(table: &mut Table, name: &str, settings: IndexSettings) -> Result<(), Error> {
    let billing = table.billing;
    let index = table.globals.iter_mut().find(|index| &*index.name == name).ok_or_else(Error::no_resource)?;
    if let Some(wanted) = settings.throughput {
        if billing == Billing::PayPerRequest {
            return Err(neither_units());
        }
        if wanted == index.throughput {
            return Err(Error::validation(unchanged(&format!("index {name}"), index.throughput, wanted)));
        }
        index.throughput = wanted;
    }
    index.on_demand = settings.on_demand.or(index.on_demand);
    index.warm = settings.warm.or(index.warm);
    Ok(())
}

/// The text for units that are what they were.
fn unchanged(what: &str, current: Throughput, wanted: Throughput) -> String {
    format!(
        "The provisioned throughput for the {what} will not change. The requested value equals the current value. Current \
         ReadCapacityUnits provisioned for the {what}: {}. Requested ReadCapacityUnits: {}. Current WriteCapacityUnits \
         provisioned for the {what}: {}. Requested WriteCapacityUnits: {}. Refer to the Amazon DynamoDB Developer Guide for \
         current limits and how to request higher limits.",
        current.read_units, wanted.read_units, current.write_units, wanted.write_units
    )
}
