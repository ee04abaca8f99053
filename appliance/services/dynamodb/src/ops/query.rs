//! Query: the items of one partition key, or of one key of an index, in order.

use plan::{Context, Plan};

use super::page;
use crate::call::{Call, Shared};
use crate::engine::page::PageRequest as Walk;
use crate::engine::range::Range;
use crate::expression::{Binder, Condition, KeyCondition};
use crate::model::table::KeyAttribute;
use crate::value::path::Step;
use crate::wire::error::Error;
use crate::wire::request::page::{PageRequest, Shape};

const NO_KEY_CONDITION: &str =
    "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.";

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let mut request = PageRequest::decode(body, Shape::Query)?;
    let wanted = request.constraints(Shape::Query)?;
    if let Some(legacy) = &request.legacy {
        request.expressions.check_styles(&legacy.given())?;
        super::legacy::check_values(legacy)?;
    }
    let start = page::start_key(request.start.take())?;
    request.expressions.check_placeholders(Shape::Query.kinds())?;
    let mut binder = request.expressions.binder();
    let key_condition = key_condition(&call, &request, &mut binder)?;
    let filter = page::filter(&call, &request, &wanted, &mut binder)?;
    let chosen = page::chosen(&call, &request, &mut binder)?;
    binder.finish()?;

    let table = call.table(cx, request.table_name.as_deref().unwrap_or_default())?;
    let index = page::index(&table, request.index_name.as_deref(), request.consistent)?;
    let table_hash = std::slice::from_ref(&table.key.hash);
    let (hash, sort): (&[KeyAttribute], &[KeyAttribute]) = match index {
        Some((index, _)) => (&index.hash, &index.sort),
        None => (table_hash, table.key.sort.as_slice()),
    };
    let test = key_condition.bind(hash, sort)?;
    if let Some(filter) = &filter {
        check_filter(filter, hash, sort, request.expressions.filter.is_some())?;
    }
    let (show, fetches) = page::show(&table, index, wanted.select, chosen)?;
    let index = index.map(|(index, _)| index.number);
    let walk = Walk {
        range: Range::Query(test),
        forward: request.forward,
        limit: wanted.limit,
        index,
        start,
        filter,
        show,
        fetches,
        table,
    };
    Ok(page::read(call, cx, walk, request.consistent, wanted.select, wanted.capacity))
}

/// The condition on the key, in either style.
fn key_condition(
    call: &Call,
    request: &PageRequest<'_>,
    binder: &mut Binder<'_>,
) -> Result<KeyCondition, Error> {
    if let Some(text) = request.expressions.key_condition.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        return Ok(binder.key_condition(&mut cache, text)?);
    }
    match request.legacy.as_deref().and_then(|legacy| legacy.key_conditions.as_ref()) {
        Some(conditions) => super::legacy::key_conditions(conditions),
        None => Err(Error::validation(NO_KEY_CONDITION)),
    }
}

/// What is part of the key belongs into the key condition.
fn check_filter(
    filter: &Condition,
    hash: &[KeyAttribute],
    sort: &[KeyAttribute],
    is_expression: bool,
) -> Result<(), Error> {
    let key = filter.paths().find_map(|path| match path.first() {
        Some(Step::Name(name)) if hash.iter().chain(sort).any(|key| key.name == *name) => Some(name),
        _ => None,
    });
    let parameter = if is_expression { "Filter Expression" } else { "QueryFilter" };
    match key {
        None => Ok(()),
        Some(name) => Err(Error::validation(format!(
            "{parameter} can only contain non-primary key attributes: Primary key attribute: {name}"
        ))),
    }
}
