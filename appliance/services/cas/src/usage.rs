//! Totals: what each namespace holds, and what each shard stores.
//! Invariant: the counters of a shard change in the batch of what they count; those of the process follow it, on the shard's
//! owner, right after the operation took effect. A namespace counts each of its entries whole; a shard counts a blob once.
//! Leaves to room.rs: what the totals allow. To order.rs: where the oldest of a namespace lies.

use std::ops::Bound;
use std::sync::Arc;

use ::store::{Direction, Fault, Store, Tx};

use crate::namespace::Namespace;
use crate::order::Order;
use crate::shared::{Loaded, Shared};
use crate::store::{USAGE, second_of};
use crate::{block, pins};

/// The key of the totals of a shard, where what namespaces share counts once.
const SHARD_KEY: &[u8] = &[];

/// Counts what a namespace gets (positive) or loses (negative); to be called also where something new takes the place of
/// another, with 0. Errors: those of `tx`.
pub fn count_of_namespace(
    tx: &mut Tx<'_>,
    shared: &Arc<Shared>,
    ns: &Namespace,
    objects: i64,
    bytes: i64,
) -> Result<(), Fault> {
    if (objects, bytes) != (0, 0) {
        tx.add(USAGE, ns.as_bytes(), [objects, bytes])?;
    }
    let (ns, second, shared) = (*ns, second_of(tx.now()), Arc::clone(shared));
    tx.then::<Order>(move |order, _| {
        if objects >= 0 {
            order.came(&ns, second);
        }
        if let Some(state) = shared.loaded().and_then(|loaded| loaded.namespaces.get(&ns)) {
            state.total.add(objects, bytes);
        }
    });
    Ok(())
}

/// Counts what the shard stores (positive) or gives back (negative), once for all namespaces. Errors: those of `tx`.
pub fn count_of_shard(tx: &mut Tx<'_>, shared: &Arc<Shared>, objects: i64, bytes: i64) -> Result<(), Fault> {
    if (objects, bytes) == (0, 0) {
        return Ok(());
    }
    tx.add(USAGE, SHARD_KEY, [objects, bytes])?;
    let shared = Arc::clone(shared);
    tx.then::<Order>(move |_, _| {
        if let Some(loaded) = shared.loaded() {
            loaded.total.add(objects, bytes);
        }
    });
    Ok(())
}

/// The namespaces of which the shard holds something. Errors: those of `tx`.
pub(crate) fn namespaces_of(tx: &mut Tx<'_>) -> Result<Vec<Namespace>, Fault> {
    let mut found = Vec::new();
    tx.scan(USAGE, Bound::Unbounded, Direction::Forward, u64::MAX, &mut |key, _| {
        found.extend(Namespace::parse(key));
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Reads all counters of the store. Errors: those of a view.
pub(crate) fn read(loaded: &Loaded, store: &Store) -> Result<(), Fault> {
    for shard in store.shards() {
        let view = store.view(shard)?;
        let mut scan = view.scan(USAGE, Bound::Unbounded, Direction::Forward);
        while let Some((key, record)) = scan.next()? {
            let [objects, bytes] = ::store::counter::decode(record.value)?;
            if key == SHARD_KEY {
                loaded.total.add(objects, bytes);
            } else if let Some(state) = Namespace::parse(key).and_then(|ns| loaded.namespaces.get(&ns)) {
                state.total.add(objects, bytes);
            }
        }
        pins::read(loaded, &view)?;
        block::read(loaded, &view)?;
    }
    Ok(())
}
