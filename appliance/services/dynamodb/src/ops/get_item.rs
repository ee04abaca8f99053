//! GetItem: an item by its key, read where it lies and written straight into the reply.

use std::sync::Arc;

use plan::{Context, Plan};

use super::item;
use crate::call::{Call, Shared, settle};
use crate::engine::capacity::read_units;
use crate::engine::read;
use crate::expression::Binder;
use crate::json::Writer;
use crate::model::keys::Key;
use crate::model::table::Table;
use crate::value::Item;
use crate::value::path::Projection;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed};
use crate::wire::error::Error;
use crate::wire::request::Text;
use crate::wire::request::expressions::Expressions;
use crate::wire::request::item::Shape;
use crate::wire::request::legacy::Legacy;
use crate::wire::words::ReturnCapacity;

/// The request after the checks that need no table.
pub struct Asked<'a> {
    table_name: Text<'a>,
    key: Item,
    projection: Option<Projection>,
    consistent: bool,
    capacity: ReturnCapacity,
}

/// Begins it, and ends it too where the shard is warm: then a read takes no step.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let asked = check(&call, body)?;
    let table = call.table(cx, &asked.table_name)?;
    let key = Key::exact(&table, asked.key.as_ref())?;
    let wanted = Found {
        table,
        key,
        projection: asked.projection,
        consistent: asked.consistent,
        capacity: asked.capacity,
    };
    let cold = read::cold(cx, std::iter::once(&wanted.key));
    if cold.is_empty() {
        return wanted.answer(&call, cx);
    }
    Ok(read::warm(cx, cold, move |cx| settle(&call, wanted.answer(&call, cx))))
}

/// What is read, once the table is known.
struct Found {
    table: Arc<Table>,
    key: Key,
    projection: Option<Projection>,
    consistent: bool,
    capacity: ReturnCapacity,
}

impl Found {
    fn answer(&self, call: &Call, cx: &Context<'_>) -> Result<Plan, Error> {
        let (mut out, bytes) = read::get(cx, &self.key, |found| {
            let bytes = found.map_or(0, |found| u64::from(found.aws_bytes()));
            let mut out = Writer::with_capacity(
                item::REPLY_BYTES + found.map_or(0, |found| found.as_bytes().len() * 2),
            );
            out.begin_object();
            if let Some(found) = found {
                out.key("Item");
                match &self.projection {
                    Some(projection) => projection.write_json(found, &mut out),
                    None => found.write_json(&mut out),
                }
            }
            (out, bytes)
        })?;
        if self.capacity != ReturnCapacity::None {
            let mut consumed = Consumed::new(Arc::clone(&self.table), Purpose::Unsaid);
            consumed.units = HalfUnits::read(read_units(bytes), self.consistent);
            write_consumed(self.capacity, &consumed, &mut out);
        }
        out.end_object();
        Ok(call.reply(out))
    }
}

/// The checks that need no table.
pub fn check<'a>(call: &Call, body: &'a [u8]) -> Result<Asked<'a>, Error> {
    let (mut request, wanted) = item::decode(call, body, Shape::Get)?;
    let key = item::present(request.key.take())?;
    item::check_styles(&request)?;
    request.expressions.check_placeholders(Shape::Get.kinds())?;
    let mut binder = request.expressions.binder();
    let legacy = request.legacy.as_deref();
    let projection = projection_of(call, &request.expressions, legacy, &mut binder)?;
    binder.finish()?;
    Ok(Asked {
        table_name: request.table_name.unwrap_or_default(),
        consistent: request.consistent,
        capacity: wanted.capacity,
        key,
        projection,
    })
}

/// The projection of a request, in either style.
pub fn projection_of(
    call: &Call,
    expressions: &Expressions<'_>,
    legacy: Option<&Legacy<'_>>,
    binder: &mut Binder<'_>,
) -> Result<Option<Projection>, Error> {
    if let Some(text) = expressions.projection.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        return Ok(Some(binder.projection(&mut cache, text)?.0));
    }
    match legacy.and_then(|legacy| legacy.attributes_to_get.as_ref()) {
        Some(names) => super::legacy::attributes_to_get(names).map(|(projection, _)| Some(projection)),
        None => Ok(None),
    }
}
