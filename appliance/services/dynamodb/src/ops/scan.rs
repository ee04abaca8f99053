//! Scan: every item of a table or an index, or of one segment of it.

use plan::{Context, Plan};

use super::page;
use crate::call::Shared;
use crate::engine::page::PageRequest as Walk;
use crate::engine::range::Range;
use crate::wire::error::Error;
use crate::wire::request::page::{PageRequest, Shape};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let mut request = PageRequest::decode(body, Shape::Scan)?;
    let wanted = request.constraints(Shape::Scan)?;
    if let Some(legacy) = &request.legacy {
        request.expressions.check_styles(&legacy.given())?;
        super::legacy::check_values(legacy)?;
    }
    let start = page::start_key(request.start.take())?;
    let segment = request.segments()?;
    request.expressions.check_placeholders(Shape::Scan.kinds())?;
    let mut binder = request.expressions.binder();
    let filter = page::filter(&call, &request, &wanted, &mut binder)?;
    let chosen = page::chosen(&call, &request, &mut binder)?;
    binder.finish()?;

    let table = call.table(cx, request.table_name.as_deref().unwrap_or_default())?;
    let index = page::index(&table, request.index_name.as_deref(), request.consistent)?;
    let (show, fetches) = page::show(&table, index, wanted.select, chosen)?;
    let index = index.map(|(index, _)| index.number);
    let walk = Walk {
        range: Range::Scan { segment },
        forward: true,
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
