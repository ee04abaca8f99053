//! The operations that carry PartiQL: statements become the writes, reads and pages of the other operations.
//! Invariant: a statement that writes names one item by its whole key; what it says besides is the condition of the write.
//! Leaves to partiql: the language. To engine: what happens to items.

pub mod batch;
pub mod select;
pub mod statement;
pub mod token;
pub mod transaction;

use std::sync::Arc;

use crate::call::Call;
use crate::engine::item_write::{Action, ItemWrite};
use crate::expression::{Binder, Condition, Kind};
use crate::model::keys::Key;
use crate::model::table::Table;
use crate::ops::item::{check_size, key_of};
use crate::partiql::{Returning, Statement, Where, parse};
use crate::value::Item;
use crate::wire::error::{DUPLICATE, Error, ErrorName};
use crate::wire::request::partiql::Sent;
use crate::wire::words::{ReturnOnFailure, ReturnValues};

/// A statement that was read.
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// `ConsistentRead`
    pub consistent: bool,
    /// `ReturnValuesOnConditionCheckFailure`
    pub on_failure: ReturnOnFailure,
}

/// Reads a statement; it and its members were found to be there.
pub fn read(sent: &Sent<'_>, on_failure: ReturnOnFailure) -> Result<Parsed, Error> {
    if let Some(error) = &sent.error {
        return Err(error.into());
    }
    let parameters = sent.parameters.as_deref().unwrap_or_default();
    let statement = parse(sent.text.as_deref().unwrap_or_default(), parameters)?;
    if let Statement::Insert(insert) = &statement {
        check_size(insert.item.as_ref())?;
    }
    Ok(Parsed { statement, consistent: sent.consistent, on_failure })
}

/// The names of the attributes of a table's key.
fn key_names(table: &Table) -> Vec<&str> {
    let sort = table.key.sort.as_ref().map(|sort| &*sort.name);
    std::iter::once(&*table.key.hash.name).chain(sort).collect()
}

/// The item that a WHERE clause names by its whole key, and the clause where it says more.
pub fn whole_key(table: &Table, clause: &Where) -> Result<(Item, Option<Condition>), Error> {
    let (key, is_guarded) = clause.key(&key_names(table))?;
    Ok((key, is_guarded.then(|| clause.condition().clone())))
}

/// The write that a statement is. A SELECT is none.
pub fn write_of(call: &Call, table: Arc<Table>, parsed: &Parsed) -> Result<ItemWrite, Error> {
    let (action, key, condition) = match &parsed.statement {
        Statement::Insert(insert) => (Action::Put(insert.item.clone()), None, Some(is_absent(call, &table)?)),
        Statement::Update(update) => {
            let (key, _) = whole_key(&table, &update.condition)?;
            // The clause names the key, so that it does not hold of an item that is not there.
            let condition = update.condition.condition().clone();
            (Action::Update(update.update.clone()), Some(key), Some(condition))
        }
        Statement::Delete(delete) => {
            let (key, condition) = whole_key(&table, &delete.condition)?;
            (Action::Delete, Some(key), condition)
        }
        Statement::Exists(exists) => {
            let (key, _) = whole_key(&table, &exists.condition)?;
            (Action::Check, Some(key), Some(exists.condition.condition().clone()))
        }
        Statement::Select(_) => return Err(Error::internal()),
    };
    let key = key_of(&table, &action, key.as_ref().map(Item::as_ref), Error::from)?;
    let wanted = returns(&parsed.statement);
    let mut write = ItemWrite::new(table, key, action);
    write.condition = condition;
    write.return_old = matches!(wanted, ReturnValues::AllOld | ReturnValues::UpdatedOld);
    write.return_new = matches!(wanted, ReturnValues::AllNew | ReturnValues::UpdatedNew);
    write.return_old_on_failure = parsed.on_failure == ReturnOnFailure::AllOld;
    Ok(write)
}

/// INSERT puts only what is not there.
fn is_absent(call: &Call, table: &Table) -> Result<Condition, Error> {
    let names = [(Box::from("#key"), table.key.hash.name.clone())];
    let mut cache = call.core.expressions.borrow_mut();
    let mut binder = Binder::new(Some(&names), None);
    Ok(binder.condition(&mut cache, Kind::Condition, "attribute_not_exists(#key)")?)
}

/// What a statement's RETURNING asks for.
#[must_use]
pub fn returns(statement: &Statement) -> ReturnValues {
    match statement {
        Statement::Update(update) => match update.returning {
            None => ReturnValues::None,
            Some(Returning::AllOld) => ReturnValues::AllOld,
            Some(Returning::AllNew) => ReturnValues::AllNew,
            Some(Returning::ModifiedOld) => ReturnValues::UpdatedOld,
            Some(Returning::ModifiedNew) => ReturnValues::UpdatedNew,
        },
        Statement::Delete(delete) if delete.returning_old => ReturnValues::AllOld,
        Statement::Delete(_) | Statement::Insert(_) | Statement::Select(_) | Statement::Exists(_) => {
            ReturnValues::None
        }
    }
}

/// The error when the condition of a statement's write does not hold.
#[must_use]
pub fn not_held(is_insert: bool, item: Option<Item>) -> Error {
    if is_insert {
        return Error { item, ..Error::new(ErrorName::DuplicateItem, DUPLICATE) };
    }
    Error::condition_failed(item)
}

/// The key that a SELECT names as a whole, what else must hold of the item, and what is shown. `words` refuses one that
/// names no whole key, or an index.
pub fn get_of(
    table: &Table,
    statement: &Statement,
    words: &'static str,
) -> Result<(Key, Option<Condition>), Error> {
    let Statement::Select(select) = statement else { return Err(Error::internal()) };
    let refused = || Error::validation(words);
    if select.from.index.is_some() {
        return Err(refused());
    }
    let clause = select.condition.as_ref().ok_or_else(refused)?;
    let (key, condition) = whole_key(table, clause).map_err(|_| refused())?;
    Ok((Key::exact(table, key.as_ref())?, condition))
}
