//! DeleteItem: the item with a key goes away, if there is one.

use plan::{Context, Plan};

use super::item::{self, Asked};
use crate::call::{Call, Shared};
use crate::engine::item_write::Action;
use crate::wire::error::Error;
use crate::wire::request::item::Shape;

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    check(&call, body)?.begin(call, cx)
}

/// The checks that need no table.
pub fn check<'a>(call: &Call, body: &'a [u8]) -> Result<Asked<'a>, Error> {
    let (mut request, wanted) = item::decode(call, body, Shape::Delete)?;
    let key = Some(item::present(request.key.take())?);
    item::check_styles(&request)?;
    request.expressions.check_placeholders(Shape::Delete.kinds())?;
    let mut binder = request.expressions.binder();
    let condition = item::condition(call, &request, &wanted, &mut binder)?;
    binder.finish()?;
    item::check_returns_old(&wanted)?;
    let table_name = request.table_name.unwrap_or_default();
    Ok(Asked { table_name, action: Action::Delete, key, condition, wanted })
}
