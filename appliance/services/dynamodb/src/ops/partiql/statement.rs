//! ExecuteStatement: one statement.

use std::sync::Arc;

use plan::{Context, Plan};

use super::{Checked, DUPLICATE, constraints, read, select, write_of};
use crate::call::{Shared, settle};
use crate::engine::item_write::{Done, Written, write};
use crate::expression::updated_attributes;
use crate::json::Writer;
use crate::model::table::Table;
use crate::ops::item::rekey;
use crate::partiql::{Returning, Statement};
use crate::value::Item;
use crate::wire::capacity::{Consumed, Purpose, write_consumed};
use crate::wire::constraint::Violations;
use crate::wire::error::{Error, ErrorName};
use crate::wire::request::statement::Execute;
use crate::wire::words::ReturnCapacity;

/// Characters of a NextToken at most.
const NEXT_TOKEN_CHARACTERS_MAX: usize = 32_768;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let request = Execute::decode(body)?;
    let mut violations = Violations::new();
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref()).unwrap_or_default();
    let on_failure = constraints(&mut violations, "", &request.sent);
    if let Some(token) = request.next_token.as_deref() {
        violations.length("nextToken", token, 1, NEXT_TOKEN_CHARACTERS_MAX);
    }
    if let Some(limit) = request.limit {
        violations.range("limit", i64::from(limit), 1, i64::MAX);
    }
    violations.finish()?;
    let digest = select::digest(&request.sent);
    let checked = read(request.sent, on_failure)?;
    if let Statement::Select(statement) = &checked.statement {
        let limit = request.limit.and_then(|limit| u32::try_from(limit).ok());
        let asked = select::Asked { digest, limit, capacity, consistent: checked.consistent };
        return select::start(call, cx, statement, asked, request.next_token.as_deref());
    }
    if matches!(checked.statement, Statement::Exists(_)) {
        return Err(Error::validation("EXISTS is supported in ExecuteTransaction only"));
    }
    let Some(item_write) = write_of(&call, cx, &checked)? else { return Err(Error::internal()) };
    Ok(write(cx, item_write, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.and_then(|(table, written)| {
            let done = done(&checked.statement, written)?;
            Ok(call.reply(reply(&checked, table, &done, capacity)))
        });
        settle(&call, outcome)
    }))
}

/// What a write did, or why it was refused, in PartiQL's words.
pub fn done(statement: &Statement, written: Written) -> Result<Box<Done>, Error> {
    match written {
        Written::Done(done) => Ok(done),
        Written::ConditionFailed(item) => Err(failed(statement, item)),
        Written::Refused(refusal) => Err(refusal.into()),
    }
}

/// The error for a condition that is false.
pub fn failed(statement: &Statement, item: Option<Item>) -> Error {
    match statement {
        Statement::Insert(_) => Error { item, ..Error::new(ErrorName::DuplicateItem, DUPLICATE) },
        _ => Error::condition_failed(item),
    }
}

/// What RETURNING shows.
pub fn returned(statement: &Statement, done: &Done) -> Option<Item> {
    let touched =
        |item: &Option<Item>| item.as_ref().and_then(|item| updated_attributes(item.as_ref(), &done.touched));
    match statement {
        Statement::Update(update) => match update.returning? {
            Returning::AllOld => done.old.clone(),
            Returning::AllNew => done.new.clone(),
            Returning::ModifiedOld => touched(&done.old),
            Returning::ModifiedNew => touched(&done.new),
        },
        Statement::Delete(delete) if delete.returning_old => done.old.clone(),
        _ => None,
    }
}

fn reply(checked: &Checked, table: Arc<Table>, done: &Done, capacity: ReturnCapacity) -> Writer {
    let mut out = Writer::new();
    out.begin_object();
    out.key("Items");
    out.begin_array();
    if let Some(item) = returned(&checked.statement, done) {
        item.as_ref().write_json(&mut out);
    }
    out.end_array();
    if capacity != ReturnCapacity::None {
        let mut consumed = Consumed::new(table, Purpose::Unsaid);
        consumed.add_write(&done.cost, 1);
        write_consumed(capacity, &consumed, &mut out);
    }
    out.end_object();
    out
}
