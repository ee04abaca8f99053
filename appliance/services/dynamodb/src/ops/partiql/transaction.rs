//! ExecuteTransaction: several statements, all or none; all reads, or all writes and checks.

use std::collections::HashSet;
use std::sync::Arc;

use hash::Sha256;
use plan::{Context, Plan};

use super::batch::shown;
use super::{Checked, DUPLICATE, constraints, read, read_key, write_of};
use crate::call::{Shared, settle};
use crate::engine::capacity::{WriteCost, read_units};
use crate::engine::item_write::ItemWrite;
use crate::engine::transact::{Got, Token, Transacted, transact_get, transact_write};
use crate::json::Writer;
use crate::model::keys::Key;
use crate::model::table::Table;
use crate::ops::item::rekey;
use crate::ops::transact_write_items::{IN_PROGRESS, MISMATCH, TOO_LARGE, TWICE, reason};
use crate::partiql::Statement;
use crate::store::token::token_key;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::constraint::Violations;
use crate::wire::error::{Error, ErrorName, Reason, ReasonCode};
use crate::wire::request::statement::{Sent, Statements, TRANSACT_STATEMENT_COUNT_MAX};
use crate::wire::words::ReturnCapacity;

const MIXED: &str =
    "ExecuteTransaction API does not support both read and write operations in the same request.";
const MISSING_KEY: &str =
    "Select statements within ExecuteTransaction must specify the primary key in the where clause.";
const NO_GUARD: &str = "EXISTS() must contain a single item read with additional condition";
/// Characters of a token at most.
const TOKEN_CHARACTERS_MAX: usize = 36;
/// What a transaction costs more than plain operations.
const FACTOR: u64 = 2;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Statements::decode_transaction(body)?;
    let mut violations = Violations::new();
    if let Some(token) = request.token.as_deref() {
        violations.length("clientRequestToken", token, 1, TOKEN_CHARACTERS_MAX);
    }
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref()).unwrap_or_default();
    violations.required("transactStatements", request.list.is_some());
    let (list, count) = request.list.map(|counted| (counted.list, counted.count)).unwrap_or_default();
    violations.count("transactStatements", "[]", count, 1, TRANSACT_STATEMENT_COUNT_MAX);
    let path = |place: usize| format!("transactStatements.{}.member.", place + 1);
    let on_failure: Vec<_> = list
        .iter()
        .enumerate()
        .map(|(place, sent)| constraints(&mut violations, &path(place), sent))
        .collect();
    violations.finish()?;
    let digest = digest(&list);
    let token =
        request.token.as_deref().map(|token| Token { key: token_key(call.account_id(), token), digest });
    let checked: Vec<Checked> = list
        .into_iter()
        .zip(on_failure)
        .map(|(sent, on_failure)| read(sent, on_failure))
        .collect::<Result<_, _>>()?;
    let reads = checked.iter().filter(|checked| checked.statement.is_read()).count();
    if reads > 0 && reads < checked.len() {
        return Err(Error::validation(MIXED));
    }
    for (place, checked) in checked.iter().enumerate() {
        check(&checked.statement).map_err(|error| in_statement(place, error))?;
    }
    if reads > 0 {
        read_all(&call, cx, &checked, capacity)
    } else {
        write_all(call, cx, checked, token, capacity)
    }
}

/// What a transaction does not take.
fn check(statement: &Statement) -> Result<(), Error> {
    let returns = match statement {
        Statement::Update(update) => update.returning.is_some(),
        Statement::Delete(delete) => delete.returning_old,
        Statement::Select(_) | Statement::Insert(_) | Statement::Exists(_) => false,
    };
    if returns { Err(Error::validation("RETURNING is not supported in ExecuteTransaction")) } else { Ok(()) }
}

/// What is wrong with one of the statements.
fn in_statement(place: usize, error: Error) -> Error {
    if error.name != ErrorName::Validation {
        return error;
    }
    let text = format!("Validation failed in TransactStatements[{place}]: {}", error.message);
    Error { message: text.into(), ..error }
}

/// What two requests with one token have to share.
fn digest(list: &[Sent<'_>]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for sent in list {
        sha.update(&super::select::digest(sent));
        sha.update(sent.on_failure.as_deref().unwrap_or_default().as_bytes());
        sha.update(&[0]);
    }
    sha.finish()
}

/// The tables of a transaction, each once, and of which of them each statement is.
#[derive(Default)]
struct Tables {
    tables: Vec<Arc<Table>>,
    places: Vec<usize>,
}

impl Tables {
    fn add(&mut self, table: Arc<Table>) {
        let known = self.tables.iter().position(|known| known.number == table.number);
        let place = known.unwrap_or_else(|| {
            self.tables.push(table);
            self.tables.len() - 1
        });
        self.places.push(place);
    }

    fn consumed(&self, purpose: Purpose) -> Vec<Consumed> {
        self.tables.iter().map(|table| Consumed::new(Arc::clone(table), purpose)).collect()
    }
}

fn check_distinct<'k>(keys: impl Iterator<Item = &'k Key>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for key in keys {
        if !seen.insert(key.store_key()) {
            return Err(Error::validation(TWICE));
        }
    }
    Ok(())
}

fn read_all(
    call: &Shared,
    cx: &mut Context<'_>,
    checked: &[Checked],
    capacity: ReturnCapacity,
) -> Result<Plan, Error> {
    let (mut tables, mut keys) = (Tables::default(), Vec::with_capacity(checked.len()));
    for (place, checked) in checked.iter().enumerate() {
        let Statement::Select(select) = &checked.statement else { return Err(Error::internal()) };
        let (table, key) =
            read_key(call, cx, select, MISSING_KEY).map_err(|error| in_statement(place, error))?;
        tables.add(table);
        keys.push(key);
    }
    check_distinct(keys.iter())?;
    let items = match transact_get(cx, &keys)? {
        Got::Items(items) => items,
        Got::TooLarge => return Err(Error::validation(TOO_LARGE)),
    };
    let mut consumed = tables.consumed(Purpose::Read);
    let mut out = Writer::new();
    out.begin_object();
    out.key("Responses");
    out.begin_array();
    for ((checked, place), item) in checked.iter().zip(&tables.places).zip(&items) {
        let item = item.as_ref().map(|item| item.as_ref());
        let units = read_units(item.map_or(0, |item| u64::from(item.aws_bytes())));
        consumed[*place].units.0 += HalfUnits::whole(units * FACTOR).0;
        out.begin_object();
        if let Some(item) = shown(&checked.statement, item) {
            out.key("Item");
            item.as_ref().write_json(&mut out);
        }
        out.end_object();
    }
    out.end_array();
    write_consumed_list(capacity, &consumed, &mut out);
    out.end_object();
    Ok(call.reply(out))
}

fn write_all(
    call: Shared,
    cx: &mut Context<'_>,
    checked: Vec<Checked>,
    token: Option<Token>,
    capacity: ReturnCapacity,
) -> Result<Plan, Error> {
    let (mut tables, mut writes) = (Tables::default(), Vec::with_capacity(checked.len()));
    for (place, checked) in checked.iter().enumerate() {
        let write = write_of(&call, cx, checked).map_err(|error| in_statement(place, error))?;
        let write: ItemWrite = write.ok_or_else(Error::internal)?;
        check_guard(&checked.statement, &write).map_err(|error| in_statement(place, error))?;
        tables.add(Arc::clone(&write.table));
        writes.push(write);
    }
    check_distinct(writes.iter().map(|write| &write.key))?;
    let inserts: Vec<bool> =
        checked.iter().map(|checked| matches!(checked.statement, Statement::Insert(_))).collect();
    let asked = Asked { tables, inserts, capacity };
    Ok(transact_write(cx, writes, token, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.and_then(|ended| Ok(call.reply(asked.reply(ended)?)));
        settle(&call, outcome)
    }))
}

/// EXISTS asks for more than that the item is there.
fn check_guard(statement: &Statement, write: &ItemWrite) -> Result<(), Error> {
    match statement {
        Statement::Exists(exists) if !super::key(&write.table, &exists.condition)?.1 => {
            Err(Error::validation(NO_GUARD))
        }
        _ => Ok(()),
    }
}

/// What the reply needs to know of the request.
struct Asked {
    tables: Tables,
    inserts: Vec<bool>,
    capacity: ReturnCapacity,
}

impl Asked {
    fn reply(&self, ended: Transacted) -> Result<Writer, Error> {
        let consumed = match ended {
            Transacted::Done(costs) => self.written(&costs),
            Transacted::Replayed(bytes) => self.replayed(&bytes),
            Transacted::Mismatch => {
                return Err(Error::new(ErrorName::IdempotentParameterMismatch, MISMATCH));
            }
            Transacted::InProgress => return Err(Error::new(ErrorName::TransactionInProgress, IN_PROGRESS)),
            Transacted::TooLarge => return Err(Error::validation(TOO_LARGE)),
            Transacted::Cancelled(reasons) => {
                let reasons = reasons.into_iter().map(reason).zip(&self.inserts);
                let reasons = reasons.map(|(reason, is_insert)| in_words(reason, *is_insert));
                return Err(Error::cancelled(reasons.collect()));
            }
        };
        let mut out = Writer::new();
        out.begin_object();
        out.key("Responses");
        out.begin_array();
        out.end_array();
        write_consumed_list(self.capacity, &consumed, &mut out);
        out.end_object();
        Ok(out)
    }

    fn written(&self, costs: &[WriteCost]) -> Vec<Consumed> {
        let mut consumed = self.tables.consumed(Purpose::Write);
        for (place, cost) in self.tables.places.iter().zip(costs) {
            consumed[*place].add_write(cost, FACTOR);
        }
        consumed
    }

    /// What was done before costs the reading of what it wrote.
    fn replayed(&self, bytes: &[u32]) -> Vec<Consumed> {
        let mut consumed = self.tables.consumed(Purpose::Read);
        for (place, bytes) in self.tables.places.iter().zip(bytes) {
            consumed[*place].units.0 += HalfUnits::whole(read_units(u64::from(*bytes)) * FACTOR).0;
        }
        consumed
    }
}

/// The condition of an INSERT is not one that the client wrote.
fn in_words(reason: Reason, is_insert: bool) -> Reason {
    match &reason.failure {
        Some((ReasonCode::ConditionalCheckFailed, _)) if is_insert => {
            Reason { item: reason.item, ..Reason::failed(ReasonCode::DuplicateItem, DUPLICATE) }
        }
        _ => reason,
    }
}
