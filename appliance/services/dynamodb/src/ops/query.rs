//! Query: the items of one partition key, or of one key of an index, in order.

use plan::{Context, Plan};

use super::page::{self, Asked};
use crate::call::{Call, Shared};
use crate::engine::page::PageRequest as Walk;
use crate::engine::range::Range;
use crate::expression::Condition;
use crate::model::table::KeyAttribute;
use crate::value::path::Step;
use crate::wire::error::Error;
use crate::wire::request::page::Shape;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let asked = check(&call, body)?;
    let table = call.table(cx, &asked.table_name)?;
    let index = page::index(&table, asked.index_name.as_deref(), asked.consistent)?;
    let table_hash = std::slice::from_ref(&table.key.hash);
    let (hash, sort): (&[KeyAttribute], &[KeyAttribute]) = match index {
        Some((index, _)) => (&index.hash, &index.sort),
        None => (table_hash, table.key.sort.as_slice()),
    };
    // A Query without a key condition was refused before.
    let test = asked.key_condition.ok_or_else(Error::internal)?.bind(hash, sort)?;
    if let Some(filter) = &asked.filter {
        check_filter(filter, hash, sort, asked.has_filter_expression)?;
    }
    let (show, fetches) = page::show(&table, index, asked.wanted.select, asked.chosen)?;
    let walk = Walk {
        range: Range::Query(test),
        forward: asked.forward,
        limit: asked.wanted.limit,
        index: index.map(|(index, _)| index.number),
        start: asked.start,
        filter: asked.filter,
        show,
        fetches,
        table,
    };
    Ok(page::read(call, cx, walk, asked.consistent, asked.wanted.select, asked.wanted.capacity))
}

/// The checks that need no table.
pub fn check<'a>(call: &Call, body: &'a [u8]) -> Result<Asked<'a>, Error> {
    page::check(call, body, Shape::Query)
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
