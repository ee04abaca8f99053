//! ExecuteStatement: one statement.

use plan::{Context, Plan};

use super::select::{self, Beside};
use super::token::{Place, digest};
use super::{Parsed, not_held, read, returns, write_of};
use crate::call::{Call, Shared, settle};
use crate::engine::item_write::{Done, Written, write};
use crate::expression::updated_attributes;
use crate::json::Writer;
use crate::ops::item::rekey;
use crate::partiql::Statement;
use crate::value::Item;
use crate::wire::capacity::{Consumed, Purpose, write_consumed};
use crate::wire::error::Error;
use crate::wire::request::partiql::Execute;
use crate::wire::words::{ReturnCapacity, ReturnValues};

/// Not verified on AWS.
const EXISTS: &str = "EXISTS is only supported in the ExecuteTransaction API.";

/// The request after the checks that need no table.
pub struct Checked {
    parsed: Parsed,
    beside: Beside,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let Checked { parsed, beside } = check(&call, body)?;
    match parsed.statement {
        Statement::Select(select) => select::begin(call, cx, select, beside),
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Exists(_) => {
            begin_write(call, cx, &parsed, beside.capacity)
        }
    }
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<Checked, Error> {
    let request = Execute::decode(&call.core.scratch, body)?;
    let (capacity, on_failure) = request.constraints()?;
    let parsed = read(&request.sent, on_failure)?;
    if matches!(parsed.statement, Statement::Exists(_)) {
        return Err(Error::validation(EXISTS));
    }
    let text = request.sent.text.as_deref().unwrap_or_default();
    let digest = digest(text, request.sent.parameters.as_deref().unwrap_or_default());
    let place = match request.next_token.as_deref() {
        Some(token) => Place::decode(token, &digest)?,
        None => Place::default(),
    };
    let limit = request.limit.and_then(|limit| u32::try_from(limit).ok());
    let beside = Beside { consistent: parsed.consistent, limit, capacity, place, digest };
    Ok(Checked { parsed, beside })
}

fn begin_write(
    call: Shared,
    cx: &mut Context<'_>,
    parsed: &Parsed,
    capacity: ReturnCapacity,
) -> Result<Plan, Error> {
    let table = call.table(cx, parsed.statement.table())?;
    let item_write = write_of(&call, table, parsed)?;
    let is_insert = matches!(parsed.statement, Statement::Insert(_));
    let wanted = returns(&parsed.statement);
    Ok(write(cx, item_write, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.and_then(|(table, written)| {
            let done = match written {
                Written::Done(done) => done,
                Written::ConditionFailed(item) => return Err(not_held(is_insert, item)),
                Written::Refused(refusal) => return Err(refusal.into()),
            };
            let mut out = Writer::new();
            out.begin_object();
            out.key("Items");
            out.begin_array();
            if let Some(item) = returned(wanted, &done) {
                item.as_ref().write_json(&mut out);
            }
            out.end_array();
            if capacity != ReturnCapacity::None {
                let mut consumed = Consumed::new(table, Purpose::Unsaid);
                consumed.add_write(&done.cost, 1);
                write_consumed(capacity, &consumed, &mut out);
            }
            out.end_object();
            Ok(call.reply(out))
        });
        settle(&call, outcome)
    }))
}

/// What a write answers of its item.
#[must_use]
pub fn returned(wanted: ReturnValues, done: &Done) -> Option<Item> {
    let touched =
        |item: &Option<Item>| item.as_ref().and_then(|item| updated_attributes(item.as_ref(), &done.touched));
    match wanted {
        ReturnValues::None => None,
        ReturnValues::AllOld => done.old.clone(),
        ReturnValues::AllNew => done.new.clone(),
        ReturnValues::UpdatedOld => touched(&done.old),
        ReturnValues::UpdatedNew => touched(&done.new),
    }
}
