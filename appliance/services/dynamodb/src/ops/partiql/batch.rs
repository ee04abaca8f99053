//! BatchExecuteStatement: several statements, each by itself, all reads or all writes.
//! Invariant: what is wrong with one statement is said in its own member of the reply and hinders no other.

use std::collections::HashSet;
use std::sync::Arc;

use plan::{Context, Plan};

use super::statement::{failed, returned};
use super::{Checked, constraints, read, read_key, write_of};
use crate::call::{Shared, settle};
use crate::engine::batch::{Wrote, batch_get, batch_write};
use crate::engine::capacity::read_units;
use crate::engine::item_write::{Done, ItemWrite};
use crate::json::Writer;
use crate::model::keys::Key;
use crate::model::table::Table;
use crate::ops::item::rekey;
use crate::partiql::{Columns, Statement};
use crate::value::{Item, ItemRef};
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::constraint::Violations;
use crate::wire::error::{Error, ErrorName};
use crate::wire::request::statement::{BATCH_STATEMENT_COUNT_MAX, Statements};
use crate::wire::words::ReturnCapacity;

const MIXED: &str = "Read and write requests together in the same batch is not supported.";
const MISSING_KEY: &str =
    "Select statements within BatchExecuteStatement must specify the primary key in the where clause.";
const DUPLICATES: &str = "Provided list of item keys contains duplicates";
const LATER: &str = "The statement was not carried out and may be tried again.";

/// What becomes of one statement.
enum Member {
    /// It ended: the item that it shows, if any.
    Ended(Option<Item>),
    Failed(Error),
    /// It is being carried out, as so many-th of those.
    Open(usize),
}

/// The batch while it is carried out.
struct Batch {
    members: Vec<Member>,
    /// Of each open statement: itself, and the place of its table.
    open: Vec<(Checked, usize)>,
    tables: Vec<Consumed>,
    capacity: ReturnCapacity,
    names: Vec<Option<Box<str>>>,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Statements::decode_batch(body)?;
    let mut violations = Violations::new();
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref()).unwrap_or_default();
    violations.required("statements", request.list.is_some());
    let (list, count) = request.list.map(|counted| (counted.list, counted.count)).unwrap_or_default();
    violations.count("statements", "[]", count, 1, BATCH_STATEMENT_COUNT_MAX);
    let path = |place: usize| format!("statements.{}.member.", place + 1);
    let on_failure: Vec<_> = list
        .iter()
        .enumerate()
        .map(|(place, sent)| constraints(&mut violations, &path(place), sent))
        .collect();
    violations.finish()?;
    let read: Vec<Result<Checked, Error>> =
        list.into_iter().zip(on_failure).map(|(sent, on_failure)| read(sent, on_failure)).collect();
    let reads = read.iter().flatten().filter(|checked| checked.statement.is_read()).count();
    if reads > 0 && reads < read.iter().flatten().count() {
        return Err(Error::validation(MIXED));
    }
    let batch =
        Batch { members: Vec::new(), open: Vec::new(), tables: Vec::new(), capacity, names: Vec::new() };
    if reads > 0 { read_all(call, cx, batch, read) } else { write_all(call, cx, batch, read) }
}

fn read_all(
    call: Shared,
    cx: &mut Context<'_>,
    mut batch: Batch,
    read: Vec<Result<Checked, Error>>,
) -> Result<Plan, Error> {
    let mut keys: Vec<Key> = Vec::new();
    for checked in read {
        let found = checked.and_then(|checked| {
            let Statement::Select(select) = &checked.statement else { return Err(Error::internal()) };
            let (table, key) = read_key(&call, cx, select, MISSING_KEY)?;
            keys.push(key);
            Ok((checked, table))
        });
        batch.add(found);
    }
    check_distinct(keys.iter())?;
    Ok(batch_get(cx, keys, batch, Batch::take, move |_, batch, outcome| {
        let outcome = outcome.map_err(Error::from).map(|read_count| {
            let mut batch = batch;
            batch.leave_from(read_count);
            call.reply(batch.reply())
        });
        settle(&call, outcome)
    }))
}

fn write_all(
    call: Shared,
    cx: &mut Context<'_>,
    mut batch: Batch,
    read: Vec<Result<Checked, Error>>,
) -> Result<Plan, Error> {
    let mut writes: Vec<ItemWrite> = Vec::new();
    for checked in read {
        let found = checked.and_then(|checked| {
            if matches!(checked.statement, Statement::Exists(_)) {
                return Err(Error::validation("EXISTS is supported in ExecuteTransaction only"));
            }
            let write = write_of(&call, cx, &checked)?.ok_or_else(Error::internal)?;
            let table = Arc::clone(&write.table);
            writes.push(write);
            Ok((checked, table))
        });
        batch.add(found);
    }
    check_distinct(writes.iter().map(|write| &write.key))?;
    Ok(batch_write(cx, writes, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.map(|wrote| {
            for (place, wrote) in wrote.into_iter().enumerate() {
                batch.end(place, wrote);
            }
            call.reply(batch.reply())
        });
        settle(&call, outcome)
    }))
}

fn check_distinct<'k>(keys: impl Iterator<Item = &'k Key>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for key in keys {
        if !seen.insert(key.store_key()) {
            return Err(Error::validation(DUPLICATES));
        }
    }
    Ok(())
}

impl Batch {
    /// Adds a statement: one that is carried out on a table, or what is wrong with it.
    fn add(&mut self, found: Result<(Checked, Arc<Table>), Error>) {
        match found {
            Ok((checked, table)) => {
                let known = self.tables.iter().position(|consumed| consumed.table.number == table.number);
                let place = known.unwrap_or_else(|| {
                    self.tables.push(Consumed::new(Arc::clone(&table), Purpose::Unsaid));
                    self.tables.len() - 1
                });
                self.members.push(Member::Open(self.open.len()));
                self.names.push(Some(table.name.clone()));
                self.open.push((checked, place));
            }
            Err(error) => {
                self.members.push(Member::Failed(error));
                self.names.push(None);
            }
        }
    }

    fn settle(&mut self, open: usize, member: Member) {
        let is_it = |member: &&mut Member| matches!(member, Member::Open(place) if *place == open);
        if let Some(found) = self.members.iter_mut().find(is_it) {
            *found = member;
        }
    }

    /// Takes one item that was read, or that is not there.
    fn take(&mut self, open: usize, item: Option<ItemRef<'_>>) {
        let (checked, table) = &self.open[open];
        let units = read_units(item.map_or(0, |item| u64::from(item.aws_bytes())));
        self.tables[*table].units.0 += HalfUnits::read(units, checked.consistent).0;
        let shown = shown(&checked.statement, item);
        self.settle(open, Member::Ended(shown));
    }

    /// Those from here on were not read.
    fn leave_from(&mut self, read_count: usize) {
        for open in read_count..self.open.len() {
            self.settle(open, Member::Failed(Error::new(ErrorName::ProvisionedThroughputExceeded, LATER)));
        }
    }

    /// Takes how one write ended.
    fn end(&mut self, open: usize, wrote: Wrote) {
        let (checked, table) = &self.open[open];
        let member = match wrote {
            Wrote::Done(done) => {
                let done: &Done = &done;
                self.tables[*table].add_write(&done.cost, 1);
                Member::Ended(returned(&checked.statement, done))
            }
            Wrote::ConditionFailed(item) => Member::Failed(failed(&checked.statement, item)),
            Wrote::Refused(refusal) => Member::Failed(refusal.into()),
            Wrote::Later => Member::Failed(Error::new(ErrorName::ProvisionedThroughputExceeded, LATER)),
        };
        self.settle(open, member);
    }

    fn reply(self) -> Writer {
        let mut out = Writer::new();
        out.begin_object();
        out.key("Responses");
        out.begin_array();
        for (member, name) in self.members.iter().zip(&self.names) {
            out.begin_object();
            let says_table = match member {
                Member::Ended(item) => {
                    if let Some(item) = item {
                        out.key("Item");
                        item.as_ref().write_json(&mut out);
                    }
                    true
                }
                Member::Failed(error) => {
                    write_error(error, &mut out);
                    matches!(error.name, ErrorName::ConditionalCheckFailed | ErrorName::DuplicateItem)
                }
                Member::Open(_) => {
                    write_error(&Error::internal(), &mut out);
                    false
                }
            };
            if let (true, Some(name)) = (says_table, name) {
                out.key("TableName");
                out.string(name);
            }
            out.end_object();
        }
        out.end_array();
        write_consumed_list(self.capacity, &self.tables, &mut out);
        out.end_object();
        out
    }
}

/// What a SELECT shows of its item, if that satisfies the whole clause.
pub fn shown(statement: &Statement, item: Option<ItemRef<'_>>) -> Option<Item> {
    let (Statement::Select(select), Some(item)) = (statement, item) else { return None };
    let holds = select.condition.as_ref().is_none_or(|clause| clause.condition().holds(Some(item)));
    let columns: &Columns = &select.columns;
    holds.then(|| columns.of(item))
}

/// `Error`: the code is not the exception's name.
fn write_error(error: &Error, out: &mut Writer) {
    let code = match error.name {
        ErrorName::Validation | ErrorName::Serialization => "ValidationError",
        ErrorName::ResourceNotFound => "ResourceNotFound",
        ErrorName::AccessDenied => "AccessDenied",
        ErrorName::ConditionalCheckFailed => "ConditionalCheckFailed",
        ErrorName::DuplicateItem => "DuplicateItem",
        ErrorName::TransactionConflict => "TransactionConflict",
        ErrorName::ItemCollectionSizeLimitExceeded => "ItemCollectionSizeLimitExceeded",
        ErrorName::ProvisionedThroughputExceeded => "ProvisionedThroughputExceeded",
        ErrorName::Throttling => "ThrottlingError",
        ErrorName::LimitExceeded => "RequestLimitExceeded",
        _ => "InternalServerError",
    };
    out.key("Error");
    out.begin_object();
    out.key("Code");
    out.string(code);
    out.key("Message");
    out.string(&error.message);
    if let Some(item) = &error.item {
        out.key("Item");
        item.as_ref().write_json(out);
    }
    out.end_object();
}
