//! ExecuteTransaction: several statements, all or none.

use std::collections::HashSet;
use std::sync::Arc;

use hash::Sha256;
use plan::{Context, Plan};

use super::{Parsed, get_of, read, returns, write_of};
use crate::call::{Call, Shared, settle};
use crate::engine::capacity::read_units;
use crate::engine::transact::{Got, Token, transact_get, transact_write};
use crate::json::Writer;
use crate::model::table::Table;
use crate::ops::item::rekey;
use crate::ops::transact_write_items::{Asked, TOO_LARGE, TWICE, settle_keys};
use crate::partiql::Statement;
use crate::store::token::token_key;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::error::Error;
use crate::wire::request::partiql::{Several, Shape};
use crate::wire::words::{ReturnCapacity, ReturnCollection, ReturnValues};

const MIXED: &str =
    "ExecuteTransaction API does not support both read and write operations in the same request.";
/// Not verified on AWS.
const NO_KEY: &str =
    "Select statements within ExecuteTransaction must specify the primary key in the where clause.";
/// Not verified on AWS.
const RETURNING: &str = "RETURNING clause is not supported in ExecuteTransaction.";
/// What a transaction costs more than plain operations.
const FACTOR: u64 = 2;

/// The request after the checks that need no table.
pub struct Checked {
    statements: Vec<Parsed>,
    token: Option<Token>,
    capacity: ReturnCapacity,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let Checked { statements, token, capacity } = check(&call, body)?;
    let mut asked = Asked::new(capacity, ReturnCollection::None);
    for parsed in &statements {
        asked.place(&call, cx, parsed.statement.table())?;
    }
    if statements.first().is_some_and(|parsed| parsed.statement.is_read()) {
        return begin_gets(&call, cx, &asked, &statements);
    }
    let writes =
        statements.iter().zip(asked.tables()).map(|(parsed, table)| asked_write(&call, table, parsed));
    let writes = settle_keys(writes.collect())?;
    let mut seen = HashSet::with_capacity(writes.len());
    if !writes.iter().all(|write| seen.insert(write.key.store_key())) {
        return Err(Error::validation(TWICE));
    }
    asked.inserts =
        statements.iter().map(|parsed| matches!(parsed.statement, Statement::Insert(_))).collect();
    Ok(transact_write(cx, writes, token, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.and_then(|ended| Ok(call.reply(asked.reply(ended)?)));
        settle(&call, outcome)
    }))
}

fn asked_write(
    call: &Call,
    table: &Arc<Table>,
    parsed: &Parsed,
) -> Result<crate::engine::item_write::ItemWrite, Error> {
    write_of(call, Arc::clone(table), parsed)
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<Checked, Error> {
    let request = Several::decode(&call.core.scratch, body, Shape::Transaction)?;
    let (capacity, on_failure) = request.constraints(Shape::Transaction)?;
    let sent = request.statements.map(|statements| statements.list).unwrap_or_default();
    let mut sha = Sha256::new();
    let mut statements = Vec::with_capacity(sent.len());
    for (place, (sent, on_failure)) in sent.iter().zip(on_failure).enumerate() {
        let parsed = read(sent, on_failure)?;
        if returns(&parsed.statement) != ReturnValues::None {
            return Err(Error::validation(format!(
                "Validation failed in TransactStatements[{place}]: {RETURNING}"
            )));
        }
        let text = sent.text.as_deref().unwrap_or_default();
        sha.update(&super::token::digest(text, sent.parameters.as_deref().unwrap_or_default()));
        statements.push(parsed);
    }
    let mut kinds = statements.iter().map(|parsed| parsed.statement.is_read());
    if let Some(first) = kinds.next()
        && kinds.any(|kind| kind != first)
    {
        return Err(Error::validation(MIXED));
    }
    let token = request
        .token
        .as_deref()
        .map(|token| Token { key: token_key(call.account_id(), token), digest: sha.finish() });
    Ok(Checked { statements, token, capacity })
}

fn begin_gets(
    call: &Shared,
    cx: &mut Context<'_>,
    asked: &Asked,
    statements: &[Parsed],
) -> Result<Plan, Error> {
    let gets =
        statements.iter().zip(asked.tables()).map(|(parsed, table)| get_of(table, &parsed.statement, NO_KEY));
    let gets = settle_keys(gets.collect())?;
    let mut seen = HashSet::with_capacity(gets.len());
    if !gets.iter().all(|(key, _)| seen.insert(key.store_key())) {
        return Err(Error::validation(TWICE));
    }
    let keys: Vec<_> = gets.iter().map(|(key, _)| key.clone()).collect();
    let items = match transact_get(cx, &keys)? {
        Got::Items(items) => items,
        Got::TooLarge => return Err(Error::validation(TOO_LARGE)),
    };
    let mut consumed = asked.consumed(Purpose::Read);
    let mut out = Writer::new();
    out.begin_object();
    out.key("Responses");
    out.begin_array();
    for (number, ((parsed, (_, condition)), item)) in statements.iter().zip(&gets).zip(&items).enumerate() {
        let item = item.as_ref().map(|item| item.as_ref());
        let bytes = item.map_or(0, |item| u64::from(item.aws_bytes()));
        let sum: &mut Consumed = &mut consumed[asked.places[number]];
        sum.units.0 += HalfUnits::whole(read_units(bytes) * FACTOR).0;
        out.begin_object();
        let shown =
            item.filter(|item| condition.as_ref().is_none_or(|condition| condition.holds(Some(*item))));
        if let (Some(item), Statement::Select(select)) = (shown, &parsed.statement) {
            out.key("Item");
            select.columns.of(item).as_ref().write_json(&mut out);
        }
        out.end_object();
    }
    out.end_array();
    write_consumed_list(asked.capacity, &consumed, &mut out);
    out.end_object();
    Ok(call.reply(out))
}
