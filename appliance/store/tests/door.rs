//! What the store's door tells a service: who owns which shard, what an operation may look at in place, and whether a key in
//! doubt is worth waiting for.

mod harness;
mod rig;

use std::future::poll_fn;
use std::ops::Bound;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{TempDir, small_config};
use rig::{PATIENCE, TABLE, call, open_transaction, run, value_of, yield_now};
use store::placement::{SLOT_COUNT, slot_of};
use store::{Direction, Fault, Outcome, ShardId, StoreConfig, TableSet, TransactFailure, Tx};

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

fn hold_two(tx: &mut Tx<'_>) {
    tx.hold(TABLE, b"held");
    tx.hold(TABLE, b"held, absent");
}

fn undecided_config(dir: &TempDir) -> StoreConfig {
    let mut config = small_config(&dir.0, 2);
    config.bodyless = TableSet::range(TABLE, TABLE);
    config.limits.parked_count_max = 0;
    config
}

#[test]
fn an_operation_learns_that_a_key_in_doubt_is_not_decided() {
    let dir = TempDir::new("undecided");
    run(undecided_config(&dir), 2, true, true, async |store| {
        let release = Arc::new(AtomicBool::new(false));
        let (own, transacting) = open_transaction(&store, &release, hold_two).await;
        let look = call(|tx: &mut Tx<'_>| {
            let doubt = matches!(tx.get(TABLE, b"k"), Err(Fault::InDoubt));
            // What a later look finds says nothing about the doubt before.
            tx.get(TABLE, b"another")?;
            Ok(Outcome::Rollback((doubt, tx.met_undecided())))
        });
        assert_eq!(store.submit(own, look).await.expect("runs"), (true, true), "nobody has decided");
        // In a table without bodies too, where nothing else is looked up for a write of a key that was not read.
        let blind = store.submit(own, rig::Put::plain(b"k", b"blind")).await;
        assert!(matches!(blind, Err(Fault::InDoubt)), "the key belongs to a transaction");
        release.store(true, Ordering::Release);
        assert!(transacting.await.is_ok());
    })
    .expect("opens");
}

#[test]
fn a_walk_ends_before_what_may_turn_up_behind_it() {
    let dir = TempDir::new("unseen");
    run(undecided_config(&dir), 2, true, true, async |store| {
        let own = store.own_shards().next().expect("one of two shards");
        store.submit(own, rig::Put::plain(b"a", b"before")).await.expect("acknowledged");
        let release = Arc::new(AtomicBool::new(false));
        let (own, transacting) = open_transaction(&store, &release, hold_two).await;
        store.submit(own, rig::Put::plain(b"z", b"behind")).await.expect("acknowledged");
        let walk = |stops: bool| {
            let view = store.view(own).expect("view");
            let mut scan = view.scan(TABLE, Bound::Unbounded, Direction::Forward);
            if stops {
                scan.stop_at_unseen();
            }
            let mut keys = Vec::new();
            while let Some((key, _)) = scan.next().expect("reads") {
                keys.push(String::from_utf8(key.to_vec()).expect("text"));
            }
            (keys.concat(), scan.met_unseen())
        };
        assert_eq!(walk(false), ("az".to_owned(), false));
        assert_eq!(walk(true), ("a".to_owned(), true));
        // The intent moves to the new overlay, and stays in the old one.
        let folds = || store.status()[usize::from(own.0)].folds;
        while folds() == 0 {
            for number in 0..250_u8 {
                store.submit(own, rig::Put::plain(b"z", &[number])).await.expect("acknowledged");
            }
        }
        assert_eq!(walk(true), ("a".to_owned(), true));
        let durable = || store.view(own).expect("view").lsn();
        assert!(store.settled_lsn(own) < durable(), "a transaction is open");
        release.store(true, Ordering::Release);
        assert!(transacting.await.is_ok());
        assert_eq!(walk(true), ("akz".to_owned(), false));
        while store.settled_lsn(own) < durable() {
            yield_now().await;
        }
    })
    .expect("opens");
}

/// Without it two transactions that each check what the other writes would both commit.
#[test]
fn a_key_that_a_transaction_holds_is_not_written_until_it_is_decided() {
    let dir = TempDir::new("hold");
    run(undecided_config(&dir), 2, true, true, async |store| {
        let own = store.own_shards().next().expect("one of two shards");
        let write = || rig::Put::plain(b"held", b"written");
        let in_view = || value_of(&store, own, b"held").expect("reads");
        store.submit(own, rig::Put::plain(b"held", b"as it is")).await.expect("acknowledged");
        let release = Arc::new(AtomicBool::new(false));
        let (_, transacting) = open_transaction(&store, &release, hold_two).await;
        for key in [&b"held"[..], b"held, absent"] {
            let refused = store.submit(own, rig::Put::plain(key, b"too early")).await;
            assert!(matches!(refused, Err(Fault::InDoubt)), "a transaction rests on the key");
            let transacted = vec![(own, rig::Put::plain(key, b"too early"))];
            assert!(matches!(store.transact(transacted).await, Err(TransactFailure::Conflict)));
        }
        assert_eq!(in_view().as_deref(), Some(&b"as it is"[..]), "readers are not concerned");
        release.store(true, Ordering::Release);
        assert!(transacting.await.is_ok());
        // The resolution may still be under way.
        while matches!(store.submit(own, write()).await, Err(Fault::InDoubt)) {
            yield_now().await;
        }
        assert_eq!(in_view().as_deref(), Some(&b"written"[..]));
        let alone = call(|tx: &mut Tx<'_>| {
            tx.hold(TABLE, b"held");
            Ok(Outcome::Commit(()))
        });
        store.submit(own, alone).await.expect("an operation by itself holds nothing");
        store.submit(own, write()).await.expect("the key is free");
    })
    .expect("opens");
}

/// A busy machine may keep the core that decided from saying so to the others for as long as it likes.
#[test]
fn a_decided_transaction_makes_nobody_give_up() {
    let dir = TempDir::new("decided");
    let mut config = small_config(&dir.0, 2);
    config.limits.in_doubt_patience = Duration::ZERO;
    run(config, 2, true, true, async |store| {
        let own = store.own_shards().next().expect("one of two shards");
        let other = store.shards().find(|shard| *shard != own).expect("two shards");
        let put = || rig::Put::plain(b"k", b"v");
        let transacting = {
            let store = store.clone();
            ring::spawn(async move { store.transact(vec![(own, put()), (other, put())]).await })
        };
        // Ready in each round, so it sees the decision before the task that carries it out has its turn.
        let writing = ring::spawn(async move {
            while value_of(&store, other, b"k").expect("reads").is_none() {
                yield_now().await;
            }
            let status = || store.status()[usize::from(other.0)].clone();
            let before = status().operations;
            let mut write = pin!(store.submit(other, rig::Put::plain(b"k", b"behind")));
            let is_sent = poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx).is_pending())).await;
            assert!(is_sent, "it waits for the transaction");
            // This core is kept from carrying anything out until the other one has looked at the write again.
            let begun = Instant::now();
            while status().operations < before + 2 && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
            let looked = status().operations - before;
            (write.await, looked)
        });
        let (written, looked) = writing.await;
        assert!(written.is_ok(), "{written:?} after {looked} looks");
        assert!(transacting.await.is_ok());
    })
    .expect("opens");
}
