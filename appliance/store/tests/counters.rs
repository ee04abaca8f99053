//! Counters: what operations add, alone and in transactions over shards, is there once, whatever is read where.

mod harness;
mod rig;

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{TempDir, small_config};
use rig::{Call, call, open_transaction, run};
use store::{Direction, Fault, Outcome, ShardId, Store, TableId, TransactFailure, Tx};

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
        let status = &store.status()[0];
        assert!(
            status.overlay_entries <= status.batches && status.batches < 100,
            "a batch holds a counter once: {status:?}"
        );
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

/// An item whose total others add to must not keep them waiting.
#[test]
fn an_open_transaction_keeps_nobody_from_adding_to_what_it_adds_to() {
    let dir = TempDir::new("counter-open");
    let mut config = small_config(&dir.0, 2);
    // Who would have to wait is told.
    config.limits.parked_count_max = 0;
    run(config, 2, true, true, async |store| {
        let release = Arc::new(AtomicBool::new(false));
        let (own, transacting) = open_transaction(&store, &release, |tx| {
            tx.add(TOTALS, b"k", [1, 10]).expect("nobody holds it");
        })
        .await;
        assert_eq!(store.submit(own, add(b"k", [1, 5], false)).await.expect("nobody waits"), [1, 5]);
        // The counter goes through a fold while the transaction is open.
        let folds = || store.status()[usize::from(own.0)].folds;
        while folds() == 0 {
            for number in 0..250_u8 {
                store.submit(own, rig::Put::plain(b"z", &[number])).await.expect("acknowledged");
            }
        }
        assert_eq!(shown(&store, own, b"k"), [1, 5], "the transaction is not decided");
        release.store(true, Ordering::Release);
        assert!(transacting.await.is_ok());
        while shown(&store, own, b"k") == [1, 5] {
            rig::yield_now().await;
        }
        assert_eq!(shown(&store, own, b"k"), [2, 15]);
    })
    .expect("opens");
}

#[test]
fn an_operation_meets_counters_of_its_own_batch_in_a_walk() {
    let dir = TempDir::new("counter-walk");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        store.submit(SHARD, add(b"b", [1, 1], false)).await.expect("runs");
        store.submit(SHARD, add(b"d", [4, 4], false)).await.expect("runs");
        // All of one turn, and so of one batch: the counters are in no overlay yet.
        let changes = [(&b"a"[..], 1), (b"b", 1), (b"c", 1), (b"d", -4)].map(|(key, change)| {
            let store = store.clone();
            ring::spawn(async move { store.submit(SHARD, add(key, [change, change], false)).await })
        });
        let walk = {
            let store = store.clone();
            ring::spawn(async move {
                let walk = call(|tx: &mut Tx<'_>| {
                    let mut met = Vec::new();
                    let start = Bound::Included(&b"b"[..]);
                    tx.scan(TOTALS, start, Direction::Forward, 100, &mut |key, record| {
                        met.push((key.to_vec(), store::counter::decode(record.value).expect("a counter")));
                        ControlFlow::Continue(())
                    })?;
                    Ok(Outcome::Rollback(met))
                });
                store.submit(SHARD, walk).await
            })
        };
        let batches = store.status()[0].batches;
        let met = walk.await.expect("runs");
        assert_eq!(met, [(b"b".to_vec(), [2, 2]), (b"c".to_vec(), [1, 1])]);
        assert_eq!(store.status()[0].batches, batches + 1, "one batch for all");
        for change in changes {
            change.await.expect("runs");
        }
        let view = store.view(SHARD).expect("view");
        assert_eq!(met.len(), 2);
        assert!(view.get(TOTALS, b"d").expect("reads").is_none());
    })
    .expect("opens");
}

/// One rotten total would keep every write of its table out.
#[test]
fn a_damaged_counter_begins_again_at_nothing() {
    let dir = TempDir::new("counter-damaged");
    let sums: [i64; 2] = [0x0123_4567_89ab_cdef, 0x1357_9bdf_0246_8ace];
    run(small_config(&dir.0, 1), 1, true, true, async move |store| {
        store.submit(SHARD, add(b"k", sums, false)).await.expect("runs");
        // A damaged entry between sound ones of services cannot be the store's own.
        store.submit(SHARD, rig::Put::plain(b"front", b"")).await.expect("acknowledged");
        store.submit(SHARD, add(b"sound", [1, 1], false)).await.expect("runs");
        store.fold_all().await;
    })
    .expect("opens");
    let file = dir.0.join("shard-000/index/data.mdb");
    let mut bytes = std::fs::read(&file).expect("the index");
    let value = sums.map(i64::to_le_bytes).concat();
    let places: Vec<usize> = (0..bytes.len() - 16).filter(|at| bytes[*at..*at + 16] == value).collect();
    assert!(!places.is_empty(), "the counter was not folded");
    for place in places {
        bytes[place] ^= 1;
    }
    std::fs::write(&file, bytes).expect("written");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        let damaged = store.view(SHARD).expect("view").counter(TOTALS, b"k");
        assert!(matches!(damaged, Err(Fault::Corrupt(_))), "{damaged:?}");
        assert_eq!(store.submit(SHARD, add(b"k", [3, 4], false)).await.expect("runs"), [3, 4]);
        assert_eq!(shown(&store, SHARD, b"k"), [3, 4]);
        assert_eq!(shown(&store, SHARD, b"sound"), [1, 1]);
        store.fold_all().await;
        assert_eq!(shown(&store, SHARD, b"k"), [3, 4], "the fold mends it");
    })
    .expect("opens again");
}
