//! PartiQL statements, carried out: by one, in batches, in transactions.
//! Invariant: a statement does what the operation that it stands for would do; all that needs no table is checked before
//! the table is looked up.
//! Leaves to partiql: reading statements. To engine: what happens to items.

pub mod batch;
pub mod next_token;
pub mod select;
pub mod statement;
pub mod transaction;

use std::sync::Arc;

use plan::Context;

use super::item::{check_size, key_of};
use super::page;
use crate::call::Shared;
use crate::engine::item_write::{Action, ItemWrite};
use crate::expression::Condition;
use crate::json::Read;
use crate::model::keys::Key;
use crate::model::table::{Index, KeyAttribute, Table};
use crate::partiql::{PartiqlError, Returning, Select, Statement, Where, parse};
use crate::value::{Item, Value};
use crate::wire::constraint::Violations;
use crate::wire::error::Error;
use crate::wire::request::statement::Sent;
use crate::wire::words::ReturnOnFailure;

/// The text for an INSERT of a key that is there.
pub const DUPLICATE: &str = "Duplicate primary key exists in table";
/// Characters of a statement at most.
const STATEMENT_CHARACTERS_MAX: usize = crate::partiql::STATEMENT_CHARACTERS_MAX;

impl From<PartiqlError> for Error {
    fn from(error: PartiqlError) -> Error {
        Error::validation(error.into_message())
    }
}

/// A statement that was read, before its table is known.
pub struct Checked {
    /// The statement.
    pub statement: Statement,
    /// Whether a SELECT reads consistently.
    pub consistent: bool,
    /// What is answered when a condition is false.
    pub on_failure: ReturnOnFailure,
}

/// The member constraints of one statement. `path`: what stands before its members.
pub fn constraints(violations: &mut Violations, path: &str, sent: &Sent<'_>) -> ReturnOnFailure {
    let member = |name: &str| format!("{path}{name}");
    violations.required(&member("statement"), sent.text.is_some());
    if let Some(text) = sent.text.as_deref() {
        violations.length(&member("statement"), text, 1, STATEMENT_CHARACTERS_MAX);
    }
    if let Some(parameters) = &sent.parameters {
        violations.count(&member("parameters"), "[]", parameters.len(), 1, usize::MAX);
    }
    let word = sent.on_failure.as_deref();
    violations.word(&member("returnValuesOnConditionCheckFailure"), word).unwrap_or_default()
}

/// Reads a statement with its parameters.
pub fn read(sent: Sent<'_>, on_failure: ReturnOnFailure) -> Result<Checked, Error> {
    let parameters = parameters(sent.parameters.unwrap_or_default())?;
    let statement = parse(sent.text.as_deref().unwrap_or_default(), &parameters)?;
    if let Statement::Insert(insert) = &statement {
        check_size(insert.item.as_ref())?;
    }
    Ok(Checked { statement, consistent: sent.consistent, on_failure })
}

/// The parameters, if they are well formed.
fn parameters(sent: Vec<Read<Value>>) -> Result<Vec<Value>, Error> {
    let well_formed = |read: Read<Value>| match read.error {
        None => Ok(read.value),
        Some(error) => Err(Error::from(&error)),
    };
    sent.into_iter().map(well_formed).collect()
}

/// The names of a table's key.
fn key_names(table: &Table) -> Vec<&str> {
    std::iter::once(&table.key.hash).chain(&table.key.sort).map(|key| &*key.name).collect()
}

/// The key that a WHERE clause names, and whether the clause says more.
fn key(table: &Table, condition: &Where) -> Result<(Item, bool), Error> {
    Ok(condition.key(&key_names(table))?)
}

/// The key attributes of a table, or of an index of it.
fn key_attributes<'t>(
    table: &'t Table,
    index: Option<(&'t Index, bool)>,
) -> (&'t [KeyAttribute], &'t [KeyAttribute]) {
    match index {
        Some((index, _)) => (&index.hash, &index.sort),
        None => (std::slice::from_ref(&table.key.hash), table.key.sort.as_slice()),
    }
}

/// The index that a SELECT reads, ready to be read.
fn index<'t>(
    table: &'t Table,
    select: &Select,
    consistent: bool,
) -> Result<Option<(&'t Index, bool)>, Error> {
    let Some(name) = select.from.index.as_deref() else { return Ok(None) };
    if table.index(name).is_none() {
        return Err(Error::validation("The table does not have the specified index"));
    }
    if consistent && table.index(name).is_some_and(|(_, is_local)| !is_local) {
        return Err(Error::validation(
            "Strongly consistent read is not supported on Global Secondary Indexes",
        ));
    }
    page::index(table, Some(name), consistent)
}

/// The write that a statement stands for. None: the statement reads.
pub fn write_of(call: &Shared, cx: &Context<'_>, checked: &Checked) -> Result<Option<ItemWrite>, Error> {
    let statement = &checked.statement;
    let (action, clause) = match statement {
        Statement::Select(_) => return Ok(None),
        Statement::Insert(insert) => (Action::Put(insert.item.clone()), None),
        Statement::Update(update) => (Action::Update(update.update.clone()), Some(&update.condition)),
        Statement::Delete(delete) => (Action::Delete, Some(&delete.condition)),
        Statement::Exists(exists) => (Action::Check, Some(&exists.condition)),
    };
    let table = call.table(cx, statement.table())?;
    let (named, condition) = match clause {
        None => (None, Some(Condition::not_exists(&table.key.hash.name))),
        Some(clause) => {
            let (named, guarded) = key(&table, clause)?;
            // A DELETE of what is not there is fine unless the clause asks for more than the key.
            let asks = guarded || !matches!(action, Action::Delete);
            (Some(named), asks.then(|| clause.condition().clone()))
        }
    };
    let key: Key = key_of(&table, &action, named.as_ref().map(Item::as_ref), Error::from)?;
    let mut write = ItemWrite::new(table, key, action);
    write.condition = condition;
    write.return_old_on_failure = checked.on_failure == ReturnOnFailure::AllOld;
    match statement {
        Statement::Update(update) => {
            write.return_old = matches!(update.returning, Some(Returning::AllOld | Returning::ModifiedOld));
            write.return_new = matches!(update.returning, Some(Returning::AllNew | Returning::ModifiedNew));
        }
        Statement::Delete(delete) => write.return_old = delete.returning_old,
        Statement::Select(_) | Statement::Insert(_) | Statement::Exists(_) => {}
    }
    Ok(Some(write))
}

/// The key of the one item that a SELECT of a batch or a transaction reads.
pub fn read_key(
    call: &Shared,
    cx: &Context<'_>,
    select: &Select,
    missing: &'static str,
) -> Result<(Arc<Table>, Key), Error> {
    let table = call.table(cx, &select.from.table)?;
    if select.from.index.is_some() {
        return Err(Error::validation("This operation is not supported on an index"));
    }
    let condition = select.condition.as_ref().ok_or_else(|| Error::validation(missing))?;
    let (named, _) = condition.key(&key_names(&table)).map_err(|_| Error::validation(missing))?;
    let key = Key::exact(&table, named.as_ref())?;
    Ok((table, key))
}
