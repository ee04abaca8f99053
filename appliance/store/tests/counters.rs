//! Counters: what operations add, alone and in transactions over shards, is there once, whatever is read where.

mod harness;
mod rig;

use harness::{TempDir, small_config};
use rig::{Call, call, run};
use store::{Fault, Outcome, ShardId, Store, TableId, TransactFailure, Tx};

const TOTALS: TableId = TableId(17);
const SHARD: ShardId = ShardId(0);

type Part = Box<dyn FnMut(&mut Tx<'_>) -> Result<Outcome<[i64; 2]>, Fault> + Send>;

/// Adds to a counter and gives what it then is.
fn add(key: &'static [u8], change: [i64; 2], refuse: bool) -> Call<Part> {
    Call(Box::new(move |tx| {
        tx.add(TOTALS, key, change)?;
        let sums = tx.counter(TOTALS, key)?;
        Ok(if refuse { Outcome::Rollback(sums) } else { Outcome::Commit(sums) })
    }))
}

fn shown(store: &Store, shard: ShardId, key: &[u8]) -> [i64; 2] {
    store.view(shard).and_then(|view| view.counter(TOTALS, key)).expect("reads")
}

#[test]
fn an_operation_sees_what_was_added_before_it_and_by_itself() {
    let dir = TempDir::new("counter-sums");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        assert_eq!(store.submit(SHARD, add(b"k", [1, 100], false)).await.expect("runs"), [1, 100]);
        assert_eq!(store.submit(SHARD, add(b"k", [1, -30], false)).await.expect("runs"), [2, 70]);
        assert_eq!(store.submit(SHARD, add(b"k", [5, 5], true)).await.expect("runs"), [7, 75]);
        assert_eq!(shown(&store, SHARD, b"k"), [2, 70]);
        store.fold_all().await;
        assert_eq!(store.submit(SHARD, add(b"k", [-1, 1], false)).await.expect("runs"), [1, 71]);
        assert_eq!(shown(&store, SHARD, b"k"), [1, 71]);
    })
    .expect("opens");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        assert_eq!(shown(&store, SHARD, b"k"), [1, 71]);
    })
    .expect("opens again");
}

#[test]
fn many_adds_beside_each_other_are_all_counted() {
    let dir = TempDir::new("counter-many");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        let adds: Vec<_> = (0..500_i64)
            .map(|number| {
                let store = store.clone();
                ring::spawn(async move { store.submit(SHARD, add(b"k", [1, number], false)).await })
            })
            .collect();
        for (number, one) in (1..).zip(adds) {
            assert_eq!(one.await.expect("runs")[0], number);
        }
        assert_eq!(shown(&store, SHARD, b"k"), [500, 499 * 500 / 2]);
    })
    .expect("opens");
}

#[test]
fn a_counter_that_comes_to_nothing_leaves_no_record() {
    let dir = TempDir::new("counter-nothing");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        store.submit(SHARD, add(b"k", [1, 9], false)).await.expect("runs");
        store.submit(SHARD, add(b"k", [-1, -9], false)).await.expect("runs");
        let view = store.view(SHARD).expect("view");
        assert!(view.get(TOTALS, b"k").expect("reads").is_none());
    })
    .expect("opens");
}

#[test]
fn a_counter_that_is_deleted_begins_again_at_nothing() {
    let dir = TempDir::new("counter-deleted");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        store.submit(SHARD, add(b"k", [1, 9], false)).await.expect("runs");
        let begin_again = call(|tx: &mut Tx<'_>| {
            tx.add(TOTALS, b"k", [4, 4])?;
            tx.delete(TOTALS, b"k");
            tx.add(TOTALS, b"k", [2, 3])?;
            Ok(Outcome::Commit(()))
        });
        store.submit(SHARD, begin_again).await.expect("runs");
        assert_eq!(shown(&store, SHARD, b"k"), [2, 3]);
    })
    .expect("opens");
}

#[test]
fn a_transaction_over_shards_adds_on_each_or_on_none() {
    let dir = TempDir::new("counter-transaction");
    run(small_config(&dir.0, 2), 1, true, true, async |store| {
        let parts =
            |refuse| vec![(ShardId(0), add(b"k", [1, 10], false)), (ShardId(1), add(b"k", [2, 20], refuse))];
        store.transact(parts(false)).await.expect("commits");
        assert!(matches!(store.transact(parts(true)).await, Err(TransactFailure::Cancelled(_))));
        // A batch behind the resolution, which a reply does not wait for.
        for shard in [0, 1] {
            store.submit(ShardId(shard), add(b"other", [1, 1], false)).await.expect("runs");
        }
        assert_eq!([shown(&store, ShardId(0), b"k"), shown(&store, ShardId(1), b"k")], [[1, 10], [2, 20]]);
    })
    .expect("opens");
}
