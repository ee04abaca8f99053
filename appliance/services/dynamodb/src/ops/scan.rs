//! Scan: every item of a table or an index, or of one segment of it.

use plan::{Context, Plan};

use super::page::{self, Asked};
use crate::call::{Call, Shared};
use crate::engine::page::PageRequest as Walk;
use crate::engine::range::Range;
use crate::wire::error::Error;
use crate::wire::request::page::Shape;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let asked = check(&call, body)?;
    let table = call.table(cx, &asked.table_name)?;
    let index = page::index(&table, asked.index_name.as_deref(), asked.consistent)?;
    let (show, fetches) = page::show(&table, index, asked.wanted.select, asked.chosen)?;
    let walk = Walk {
        range: Range::Scan { segment: asked.segment },
        forward: true,
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
    page::check(call, body, Shape::Scan)
}
