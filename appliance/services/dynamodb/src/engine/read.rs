//! Reading one item where it lies.
//! Invariant: a read shows all that was durable when it began, so it is the same whether consistency was asked for or not;
//! it runs on the core of its connection, without a hop, a plan or a copy of the item.
//! Leaves to page.rs: ranges. To transact.rs: several items at one instant.

use plan::Context;
use store::{Fault, View};

use crate::model::keys::Key;
use crate::store::ITEMS;
use crate::value::ItemRef;

/// Shows the item of a key to `with`, in place, and gives what that makes of it. Errors: `Fault::Corrupt`.
pub fn get<R>(cx: &Context<'_>, key: &Key, with: impl FnOnce(Option<ItemRef<'_>>) -> R) -> Result<R, Fault> {
    get_in(&cx.store.view(key.shard(cx.store))?, key, with)
}

/// The same in a view of the key's shard, for callers that read the table's record there too.
pub fn get_in<R>(
    view: &View<'_>,
    key: &Key,
    with: impl FnOnce(Option<ItemRef<'_>>) -> R,
) -> Result<R, Fault> {
    let record = view.get(ITEMS, key.store_key())?;
    let item = record.as_ref().map(|record| ItemRef::new(record.value)).transpose()?;
    if let Some(item) = item {
        key.check_same(item)?;
    }
    Ok(with(item))
}
