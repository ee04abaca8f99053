//! GetItem: an item by its key, read where it lies and written straight into the reply.

use plan::{Context, Plan};
use store::Fault;

use super::item;
use crate::call::Shared;
use crate::engine::capacity::read_units;
use crate::engine::read;
use crate::expression::Binder;
use crate::json::Writer;
use crate::model::keys::Key;
use crate::value::path::Projection;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed};
use crate::wire::error::Error;
use crate::wire::request::expressions::Expressions;
use crate::wire::request::item::Shape;
use crate::wire::request::legacy::Legacy;
use crate::wire::words::ReturnCapacity;

/// Begins it, and ends it too: a read takes no step.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let (mut request, wanted) = item::decode(body, Shape::Get)?;
    let key = item::present(request.key.take())?;
    item::check_styles(&request)?;
    request.expressions.check_placeholders(Shape::Get.kinds())?;
    let mut binder = request.expressions.binder();
    let legacy = request.legacy.as_deref();
    let projection = projection_of(&call, &request.expressions, legacy, &mut binder)?;
    binder.finish()?;
    let table_name = request.table_name.unwrap_or_default();
    let table = call.table(cx, &table_name)?;
    let key = Key::exact(&table, key.as_ref())?;
    let (mut out, bytes) = read::get(cx, &key, |found| {
        let mut out = Writer::with_capacity(item::REPLY_BYTES);
        out.begin_object();
        if let Some(found) = found {
            out.key("Item");
            match &projection {
                Some(projection) => projection.write_json(found, &mut out),
                None => found.write_json(&mut out),
            }
        }
        (out, found.map_or(0, |found| u64::from(found.aws_bytes())))
    })
    .map_err(|fault: Fault| Error::from(fault))?;
    if wanted.capacity != ReturnCapacity::None {
        let mut consumed = Consumed::new(table, Purpose::Unsaid);
        consumed.units = HalfUnits::read(read_units(bytes), request.consistent);
        write_consumed(wanted.capacity, &consumed, &mut out);
    }
    out.end_object();
    Ok(call.reply(out))
}

/// The projection of a request, in either style.
pub fn projection_of(
    call: &Shared,
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
