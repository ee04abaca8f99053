//! Reading one item where it lies.
//! Invariant: a read shows all that was durable when it began, so it is the same whether consistency was asked for or not;
//! it runs on the core of its connection, without a hop, a plan or a copy of the item.
//! Leaves to page.rs: ranges. To transact.rs: several items at one instant.

use plan::{Context, Plan};
use store::{Fault, ShardId, TableId, View};

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

/// Goes on once the index pages of these keys are in memory, on those shards that are cold: a view that meets a page on the
/// disk keeps every request of its core waiting. Where no shard is cold nothing is done and nothing waits.
pub fn warm<F>(cx: &mut Context<'_>, keys: Vec<(ShardId, TableId, Vec<u8>)>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    let mut shards: Vec<(ShardId, Keys)> = Vec::new();
    for (shard, table, key) in keys {
        match shards.iter_mut().find(|(other, _)| *other == shard) {
            Some((_, keys)) => keys.push((table, key)),
            None => shards.push((shard, vec![(table, key)])),
        }
    }
    warm_next(cx, shards, then)
}

/// Keys of one shard.
type Keys = Vec<(TableId, Vec<u8>)>;

fn warm_next<F>(cx: &mut Context<'_>, mut shards: Vec<(ShardId, Keys)>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    match shards.pop() {
        Some((shard, keys)) => Plan::warm(shard, keys, move |cx| warm_next(cx, shards, then)),
        None => then(cx),
    }
}

/// Those of `keys` that lie on cold shards, for `warm`.
#[must_use]
pub fn cold<'k>(cx: &Context<'_>, keys: impl Iterator<Item = &'k Key>) -> Vec<(ShardId, TableId, Vec<u8>)> {
    let cold = keys.filter_map(|key| {
        let shard = key.shard(cx.store);
        cx.store.is_cold(shard).then(|| (shard, ITEMS, key.store_key().to_vec()))
    });
    cold.collect()
}
