//! UpdateItem: an item is changed in part, or made from its key.

use plan::{Context, Plan};

use super::item::{self, Asked};
use crate::call::{Call, Shared};
use crate::engine::item_write::Action;
use crate::expression::{Binder, Update};
use crate::wire::error::Error;
use crate::wire::request::item::{ItemRequest, Shape};

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    check(&call, body)?.begin(call, cx)
}

/// The checks that need no table.
pub fn check<'a>(call: &Call, body: &'a [u8]) -> Result<Asked<'a>, Error> {
    let (mut request, wanted) = item::decode(call, body, Shape::Update)?;
    item::check_styles(&request)?;
    let key = Some(item::present(request.key.take())?);
    request.expressions.check_placeholders(Shape::Update.kinds())?;
    let mut binder = request.expressions.binder();
    let action = Action::Update(update(call, &request, &mut binder)?);
    let condition = item::condition(call, &request, &wanted, &mut binder)?;
    binder.finish()?;
    let table_name = request.table_name.unwrap_or_default();
    Ok(Asked { table_name, action, key, condition, wanted })
}

/// The update of a request, in either style. Without any the item is made of its key alone, or left as it is.
pub fn update(call: &Call, request: &ItemRequest<'_>, binder: &mut Binder<'_>) -> Result<Update, Error> {
    if let Some(text) = request.expressions.update.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        return Ok(binder.update(&mut cache, text)?);
    }
    match request.legacy.as_deref().and_then(|legacy| legacy.updates.as_ref()) {
        Some(updates) => super::legacy::updates(updates),
        None => Ok(Update::empty()),
    }
}
