//! What a shard remembers in residents: it changes with its operation or not at all.

mod harness;
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{TempDir, small_config};
use rig::{TABLE, call, run, with_store};
use ring::Backend;
use store::{Fault, Outcome, ShardId, Store, TransactFailure, Tx};

const SHARD: ShardId = ShardId(0);

/// What was noted, in order.
#[derive(Default)]
struct Memory {
    notes: Vec<u32>,
}

fn note(number: u32) -> impl FnOnce(&mut Memory, &mut store::Wakes<'_>) {
    move |memory, _| memory.notes.push(number)
}

/// What was noted on a shard.
async fn notes(store: &Store, shard: ShardId) -> Vec<u32> {
    let look = |tx: &mut Tx<'_>| {
        Ok(Outcome::Rollback(tx.resident::<Memory>().map_or_else(Vec::new, |memory| memory.notes.clone())))
    };
    store.submit(shard, call(look)).await.expect("runs")
}

fn one_core<T>(name: &str, work: impl AsyncFnOnce(Store) -> T) -> T {
    let dir = TempDir::new(name);
    run(small_config(&dir.0, 1), 1, true, true, move |store| work(store)).expect("opens")
}

#[test]
fn a_resident_changes_with_its_operation_or_not_at_all() {
    one_core("then", async |store| {
        let all = |tx: &mut Tx<'_>, number| {
            tx.put(TABLE, b"key", &[], Vec::new(), false);
            tx.then::<Memory>(note(number));
        };
        let commit = call(move |tx: &mut Tx<'_>| {
            assert!(
                tx.resident::<Memory>().is_none_or(|memory| !memory.notes.contains(&1)),
                "not before its end"
            );
            all(tx, 1);
            tx.then::<Memory>(note(2));
            assert!(tx.resident::<Memory>().is_none_or(|memory| memory.notes.is_empty()));
            Ok(Outcome::Commit(()))
        });
        let without_effects = call(|tx: &mut Tx<'_>| {
            tx.then::<Memory>(note(3));
            Ok(Outcome::Commit(()))
        });
        let roll_back = call(move |tx: &mut Tx<'_>| {
            all(tx, 100);
            Ok(Outcome::Rollback(()))
        });
        let fail = call(move |tx: &mut Tx<'_>| -> Result<Outcome<()>, Fault> {
            all(tx, 101);
            Err(Fault::Busy)
        });
        let too_large = call(move |tx: &mut Tx<'_>| {
            for key in 0..40_u8 {
                tx.put(TABLE, &[key], &[0; 100 << 10], Vec::new(), true);
            }
            tx.then::<Memory>(note(102));
            Ok(Outcome::Commit(()))
        });
        store.submit(SHARD, commit).await.expect("commits");
        store.submit(SHARD, without_effects).await.expect("commits");
        store.submit(SHARD, roll_back).await.expect("rolls back");
        assert!(matches!(store.submit(SHARD, fail).await, Err(Fault::Busy)));
        let refused = store.submit(SHARD, too_large).await;
        assert!(matches!(refused, Err(Fault::TooLarge { .. })), "{refused:?}");
        assert_eq!(notes(&store, SHARD).await, [1, 2, 3]);
    });
}

#[test]
fn an_operation_that_runs_again_for_want_of_room_changes_its_resident_once() {
    one_core("then-room", async |store| {
        let runs = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..40_u32)
            .map(|number| {
                let (store, runs) = (store.clone(), Arc::clone(&runs));
                ring::spawn(async move {
                    let operation = call(move |tx: &mut Tx<'_>| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        let bytes = if number % 2 == 0 { 60 << 10 } else { 210 << 10 };
                        tx.put(TABLE, &number.to_be_bytes(), &vec![0; bytes], Vec::new(), true);
                        tx.then::<Memory>(note(number));
                        Ok(Outcome::Commit(()))
                    });
                    store.submit(SHARD, operation).await.expect("commits");
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert!(runs.load(Ordering::Relaxed) > 40, "none had to run again");
        assert_eq!(notes(&store, SHARD).await, (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn a_part_of_a_transaction_changes_its_resident_when_it_is_carried_out() {
    let dir = TempDir::new("then-transaction");
    with_store(small_config(&dir.0, 2), Backend::Epoll, |store| async move {
        let part = |number: u32, commits: bool| {
            call(move |tx: &mut Tx<'_>| {
                tx.put(TABLE, b"part", &[], Vec::new(), false);
                tx.then::<Memory>(note(number));
                Ok(if commits { Outcome::Commit(()) } else { Outcome::Rollback(()) })
            })
        };
        let shards: Vec<_> = store.shards().collect();
        for number in 0..20 {
            let parts = vec![(shards[0], part(number, true)), (shards[1], part(number, number % 2 == 0))];
            let outcome = store.transact(parts).await;
            assert_eq!(matches!(outcome, Err(TransactFailure::Cancelled(_))), number % 2 == 1, "{outcome:?}");
        }
        for shard in shards {
            // Behind the last resolution.
            let touch = call(|tx: &mut Tx<'_>| {
                tx.put(TABLE, b"part", &[], Vec::new(), false);
                Ok(Outcome::Commit(()))
            });
            store.submit(shard, touch).await.expect("the key is free again");
            assert_eq!(notes(&store, shard).await, (0..20).step_by(2).collect::<Vec<_>>(), "{shard}");
        }
    });
}
