//! What the store's door tells a service: who owns which shard, what an operation may look at in place, and whether a key in
//! doubt is worth waiting for.

mod harness;
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{TempDir, small_config};
use rig::{Call, TABLE, call, run, yield_now};
use store::placement::{SLOT_COUNT, slot_of};
use store::{Fault, Outcome, ShardId, TableSet, TransactFailure, Tx};

#[test]
fn every_shard_is_the_own_one_of_one_core() {
    let dir = TempDir::new("own-shards");
    run(small_config(&dir.0, 3), 1, true, true, async |store| {
        let own: Vec<ShardId> = store.own_shards().collect();
        assert_eq!(own, store.shards().collect::<Vec<_>>());
    })
    .expect("opens");
    run(small_config(&dir.0, 3), 2, true, true, async |store| {
        let own: Vec<ShardId> = store.own_shards().collect();
        assert!(own.len() < 3 && own.iter().all(|shard| store.shards().any(|other| other == *shard)));
    })
    .expect("opens");
}

#[test]
fn slots_ascend_over_the_shards_and_agree_with_the_placement_of_keys() {
    let dir = TempDir::new("slots");
    run(small_config(&dir.0, 3), 1, true, true, async |store| {
        let shards: Vec<ShardId> = (0..SLOT_COUNT).map(|slot| store.shard_of_slot(slot)).collect();
        assert!(shards.is_sorted());
        assert_eq!((shards[0], shards[usize::from(SLOT_COUNT) - 1]), (ShardId(0), ShardId(2)));
        for key in [&b""[..], b"a", b"bucket/key"] {
            assert_eq!(store.place(key), store.shard_of_slot(slot_of(key)));
        }
    })
    .expect("opens");
}

#[test]
fn an_operation_looks_at_records_in_place_its_own_included() {
    let dir = TempDir::new("in-place");
    run(small_config(&dir.0, 1), 1, true, true, async |store| {
        let lengths = call(|tx: &mut Tx<'_>| {
            let mut lengths = Vec::new();
            let mut look = |tx: &mut Tx<'_>| -> Result<(), Fault> {
                lengths.push(tx.get_ref(TABLE, b"k", |record| record.map(|record| record.value.len()))?);
                Ok(())
            };
            look(tx)?;
            tx.put(TABLE, b"k", b"three", Vec::new(), false);
            look(tx)?;
            tx.delete(TABLE, b"k");
            look(tx)?;
            tx.put(TABLE, b"k", b"seventy", Vec::new(), false);
            Ok(Outcome::Commit(lengths))
        });
        assert_eq!(store.submit(ShardId(0), lengths).await.expect("runs"), [None, Some(5), None]);
        store.fold_all().await;
        let length = call(|tx: &mut Tx<'_>| {
            Ok(Outcome::Rollback(tx.get_ref(TABLE, b"k", |record| record.map(|record| record.value.len()))?))
        });
        assert_eq!(store.submit(ShardId(0), length).await.expect("runs"), Some(7));
    })
    .expect("opens");
}

#[test]
fn an_operation_learns_that_a_key_in_doubt_is_not_decided() {
    let dir = TempDir::new("undecided");
    let mut config = small_config(&dir.0, 2);
    config.bodyless = TableSet::range(TABLE, TABLE);
    config.limits.parked_count_max = 0;
    run(config, 2, true, true, async |store| {
        let other =
            store.shards().find(|shard| store.own_shards().all(|own| own != *shard)).expect("two cores");
        let own = store.own_shards().next().expect("one of two shards");
        // Keeps the other core inside of its part, so that the transaction cannot be decided.
        let release = Arc::new(AtomicBool::new(false));
        let part = |holds: bool| {
            let release = Arc::clone(&release);
            call(move |tx: &mut Tx<'_>| {
                while holds && !release.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                tx.put(TABLE, b"k", b"v", Vec::new(), false);
                Ok(Outcome::Commit(()))
            })
        };
        let (held, holding) = (part(false), part(true));
        let transacting = {
            let store = store.clone();
            ring::spawn(async move { store.transact(vec![(own, held), (other, holding)]).await })
        };
        let look = || {
            Call(|tx: &mut Tx<'_>| -> Result<Outcome<(bool, bool)>, Fault> {
                let doubt = matches!(tx.get(TABLE, b"k"), Err(Fault::InDoubt));
                // What a later look finds says nothing about the doubt before.
                tx.get(TABLE, b"another")?;
                Ok(Outcome::Rollback((doubt, tx.met_undecided())))
            })
        };
        loop {
            match store.submit(own, look()).await.expect("runs") {
                (false, undecided) => assert!(!undecided),
                (true, undecided) => {
                    assert!(undecided, "nobody has decided");
                    break;
                }
            }
            yield_now().await;
        }
        // In a table without bodies too, where nothing else is looked up for a write of a key that was not read.
        let blind = store.submit(own, rig::Put::plain(b"k", b"blind")).await;
        assert!(matches!(blind, Err(Fault::InDoubt)), "the key belongs to a transaction");
        release.store(true, Ordering::Release);
        let outcome: Result<Vec<()>, TransactFailure<()>> = transacting.await;
        assert!(outcome.is_ok());
    })
    .expect("opens");
}

/// Two transactions, each of which checks what the other writes: at most one may commit, or both checks were for nothing.
#[test]
fn a_key_that_a_transaction_holds_is_not_written_beside_it() {
    let dir = TempDir::new("hold");
    run(small_config(&dir.0, 2), 1, true, true, async |store| {
        type Part = Box<dyn FnMut(&mut Tx<'_>) -> Result<Outcome<()>, Fault> + Send>;
        let check: fn(&'static [u8]) -> Part = |key| {
            Box::new(move |tx| {
                let absent = tx.get(TABLE, key)?.is_none();
                tx.hold(TABLE, key);
                Ok(if absent { Outcome::Commit(()) } else { Outcome::Rollback(()) })
            })
        };
        let write: fn(&'static [u8]) -> Part = |key| {
            Box::new(move |tx| {
                tx.put(TABLE, key, b"written", Vec::new(), false);
                Ok(Outcome::Commit(()))
            })
        };
        let (left, right) = (ShardId(0), ShardId(1));
        let mut committed = 0;
        for round in 0..200 {
            let one = vec![(left, Call(check(b"a"))), (right, Call(write(b"b")))];
            let other = vec![(left, Call(write(b"a"))), (right, Call(check(b"b")))];
            let begun = [one, other].map(|parts| {
                let store = store.clone();
                ring::spawn(async move { store.transact(parts).await })
            });
            for outcome in begun {
                match outcome.await {
                    Ok(_) => committed += 1,
                    Err(TransactFailure::Conflict | TransactFailure::Cancelled(_)) => {}
                    Err(TransactFailure::Fault(fault)) => panic!("{fault}"),
                }
            }
            let [a, b] = [(left, &b"a"[..]), (right, b"b")].map(|(shard, key)| {
                store.view(shard).expect("view").get(TABLE, key).expect("reads").is_some()
            });
            assert!(!(a && b), "round {round}: each saw the other's key absent, and both wrote");
            for (shard, key) in [(left, &b"a"[..]), (right, b"b")] {
                store.submit(shard, rig::Delete(vec![key.to_vec()])).await.expect("acknowledged");
            }
        }
        assert!(committed > 0, "every transaction was refused");
        let alone = call(|tx: &mut Tx<'_>| {
            tx.hold(TABLE, b"a");
            Ok(Outcome::Commit(()))
        });
        store.submit(left, alone).await.expect("an operation by itself holds nothing");
        store.submit(left, rig::Put::plain(b"a", b"free")).await.expect("the key is free");
    })
    .expect("opens");
}
