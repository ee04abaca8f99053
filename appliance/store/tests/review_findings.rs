//! One test per finding of a hostile review of the store's core: each shows the interleaving that broke it.

mod harness;
mod rig;

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Call, Delete, PATIENCE, Put, TABLE, body_of, call, run, value_of, within};
use store::disk::sim::{Injection, OperationKind, SimDisk};
use store::{Body, Direction, Fault, NewBody, Outcome, ScanEnd, ShardId, Store, Tx};

type Part = Box<dyn FnMut(&mut Tx<'_>) -> Result<Outcome<()>, Fault> + Send>;

fn put_part(key: &'static [u8], value: &'static [u8], body: Option<NewBody>) -> Part {
    Box::new(move |tx| {
        tx.put(TABLE, key, value, body.iter().cloned().map(Body::New).collect(), false);
        Ok(Outcome::Commit(()))
    })
}

async fn until(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        rig::yield_now().await;
    }
}

/// Folds, but does not wait longer than `limit_ms`.
async fn fold(store: &Store, limit_ms: u64) {
    let store = store.clone();
    let _ended: Option<()> =
        within(Duration::from_millis(limit_ms), async move { store.fold_all().await }).await;
}

#[test]
fn a_delete_after_a_fold_that_failed_half_way_stays() {
    let dir = TempDir::new("half-fold");
    let mut config = small_config(Path::new("/data"), 1);
    let disk = SimDisk::new(7);
    config.disk = Arc::new(disk.clone());
    config.index_root = dir.0.clone();
    config.ballast_bytes = 0;
    config.limits.fold_entries = 10_000_000;
    config.log_segment_bytes = 32 << 20;
    config.batch_bytes_max = 4 << 20;
    config.limits.batch_soft_bytes = 1 << 20;
    let key = |number: u32| format!("k{number:07}").into_bytes();
    run(config.clone(), 1, false, false, |store| {
        let disk = disk.clone();
        async move {
            for block in 0..51_u32 {
                let fill = call(move |tx: &mut Tx<'_>| {
                    for number in block * 2000..(block + 1) * 2000 {
                        tx.put(TABLE, &key(number), b"v", Vec::new(), true);
                    }
                    Ok(Outcome::Commit(()))
                });
                store.submit(ShardId(0), fill).await.expect("acknowledged");
            }
            // The last key has a body, for which the second transaction of the fold needs the disk.
            let body = Some(NewBody::from_bytes(vec![9; 5000]));
            store
                .submit(ShardId(0), Put { key: b"z".to_vec(), value: Vec::new(), body, fresh: true })
                .await
                .expect("acknowledged");
            let failure = Injection {
                kind: OperationKind::Space,
                nth: 1,
                errno: libc::EIO,
                short: false,
                sticky: true,
            };
            disk.inject(failure);
            assert!(
                within(PATIENCE, {
                    let store = store.clone();
                    async move {
                        while store.status()[0].trouble.is_none() {
                            fold(&store, 5).await;
                        }
                    }
                })
                .await
                .is_some(),
                "the fold met no failure"
            );
        }
    })
    .expect("opens");
    let disk = disk.restart();
    config.disk = Arc::new(disk);
    run(config, 1, false, true, |store| async move {
        assert_eq!(value_of(&store, ShardId(0), &key(5)).expect("reads"), Some(b"v".to_vec()));
        store.submit(ShardId(0), Delete(vec![key(5)])).await.expect("acknowledged");
        assert_eq!(value_of(&store, ShardId(0), &key(5)).expect("reads"), None);
        store.fold_all().await;
        assert_eq!(
            value_of(&store, ShardId(0), &key(5)).expect("reads"),
            None,
            "the fold brought a deleted record back"
        );
    })
    .expect("opens");
}

#[test]
fn a_write_after_a_commit_is_not_undone_by_its_resolution() {
    let dir = TempDir::new("resolve-over");
    run(small_config(&dir.0, 2), 2, true, true, |store| async move {
        static RAN: AtomicBool = AtomicBool::new(false);
        let slow: Part = Box::new(|tx| {
            // Long enough for the other participant's prepare to become durable.
            std::thread::sleep(Duration::from_millis(150));
            RAN.store(true, Ordering::Release);
            tx.put(TABLE, b"other", b"T", Vec::new(), false);
            Ok(Outcome::Commit(()))
        });
        let parts = vec![(ShardId(0), Call(slow)), (ShardId(1), Call(put_part(b"k", b"T", None)))];
        let transaction = ring::spawn({
            let store = store.clone();
            async move { store.transact(parts).await.map_err(|failure| format!("{failure:?}")) }
        });
        until(&RAN).await;
        // Keeps the other core busy while the transaction is decided, with the write waiting behind.
        let blocker = ring::spawn({
            let store = store.clone();
            async move {
                store
                    .submit(
                        ShardId(1),
                        call(|_: &mut Tx<'_>| {
                            std::thread::sleep(Duration::from_millis(300));
                            Ok(Outcome::Rollback(()))
                        }),
                    )
                    .await
            }
        });
        let write = ring::spawn({
            let store = store.clone();
            async move { store.submit(ShardId(1), Put::plain(b"k", b"W")).await }
        });
        transaction.await.expect("commits");
        blocker.await.expect("runs");
        write.await.expect("acknowledged");
        ring::sleep(Duration::from_millis(100)).await;
        assert_eq!(value_of(&store, ShardId(1), b"k").expect("reads"), Some(b"W".to_vec()));
    })
    .expect("opens");
}

#[test]
fn the_log_keeps_the_body_of_a_prepare_over_a_fold() {
    let dir = TempDir::new("carried");
    let bytes: Vec<u8> = (0..20_000_u32).map(|number| ((number * 7) >> 2) as u8).collect();
    let expected = bytes.clone();
    run(small_config(&dir.0, 2), 2, true, true, |store| async move {
        static RELEASE: AtomicBool = AtomicBool::new(false);
        let slow: Part = Box::new(|tx| {
            let begun = std::time::Instant::now();
            while !RELEASE.load(Ordering::Acquire) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            tx.put(TABLE, b"other", b"T", Vec::new(), false);
            Ok(Outcome::Commit(()))
        });
        let body = Some(NewBody::from_bytes(bytes));
        let parts = vec![(ShardId(0), Call(put_part(b"k", b"T", body))), (ShardId(1), Call(slow))];
        let transaction = ring::spawn({
            let store = store.clone();
            async move { store.transact(parts).await.map_err(|failure| format!("{failure:?}")) }
        });
        // Several segments of other writes on the first participant, with many folds.
        for number in 0..600_u32 {
            let key = format!("fill{:03}", number % 100).into_bytes();
            store
                .submit(ShardId(0), Put { key, value: vec![number as u8; 20_000], body: None, fresh: false })
                .await
                .expect("acknowledged");
        }
        for _ in 0..3 {
            store.submit(ShardId(0), Put::plain(b"more", b"1")).await.expect("acknowledged");
            fold(&store, 5000).await;
        }
        RELEASE.store(true, Ordering::Release);
        transaction.await.expect("commits");
        let found = within(PATIENCE, {
            let store = store.clone();
            async move { body_of(&store, ShardId(0), b"k").await }
        })
        .await
        .expect("ends");
        assert_eq!(found.expect("the committed body is readable"), Some(expected.clone()));
        store.submit(ShardId(0), Put::plain(b"more", b"2")).await.expect("acknowledged");
        fold(&store, 5000).await;
        assert_eq!(store.status()[0].trouble, None);
        assert_eq!(body_of(&store, ShardId(0), b"k").await.expect("readable after the fold"), Some(expected));
    })
    .expect("opens");
}

/// Runs many writes at once and says how many ended in time.
async fn many_at_once(store: &Store, count: u32, value_bytes: usize, limit: Duration) -> u32 {
    let ended = Rc::new(Cell::new(0));
    for number in 0..count {
        let (store, ended) = (store.clone(), Rc::clone(&ended));
        ring::spawn(async move {
            let key = format!("key{number:06}").into_bytes();
            let put = Put { key, value: vec![1; value_bytes], body: None, fresh: false };
            drop(store.submit(ShardId(0), put).await);
            ended.set(ended.get() + 1);
        })
        .detach();
    }
    let begun = ring::now();
    while ended.get() < count && ring::now() - begun < limit {
        ring::sleep(Duration::from_millis(5)).await;
    }
    ended.get()
}

#[test]
fn a_full_overlay_makes_writers_wait_and_not_for_ever() {
    let dir = TempDir::new("overlay-full");
    let mut config = small_config(&dir.0, 1);
    config.limits.fold_bytes = 512 << 10;
    config.limits.fold_entries = 1_000_000;
    config.limits.overlay_bytes_max = 2 << 20;
    let ended =
        run(config, 1, true, false, |store| async move { many_at_once(&store, 3000, 4096, PATIENCE).await });
    assert_eq!(ended.expect("opens"), 3000, "writers hang behind a full overlay");
}

#[test]
fn a_transaction_nearly_as_large_as_a_batch_resolves_on_a_busy_shard() {
    let dir = TempDir::new("large-resolve");
    run(small_config(&dir.0, 2), 1, true, true, |store| async move {
        let load = ring::spawn({
            let store = store.clone();
            async move {
                for round in 0..60_u32 {
                    let writes: Vec<_> = (0..20_u32)
                        .map(|number| {
                            let store = store.clone();
                            ring::spawn(async move {
                                let key = format!("load{round}-{number}").into_bytes();
                                store
                                    .submit(
                                        ShardId(0),
                                        Put { key, value: vec![2; 3000], body: None, fresh: false },
                                    )
                                    .await
                            })
                        })
                        .collect();
                    for write in writes {
                        write.await.expect("acknowledged");
                    }
                }
            }
        });
        for number in 0..30_u32 {
            let part = move |shard: u16| {
                let work: Part = Box::new(move |tx| {
                    tx.put(TABLE, format!("big{number}").as_bytes(), &vec![3; 255_000], Vec::new(), false);
                    Ok(Outcome::Commit(()))
                });
                (ShardId(shard), Call(work))
            };
            match store.transact(vec![part(0), part(1)]).await {
                Ok(_) | Err(store::TransactFailure::Fault(Fault::TooLarge { .. })) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        load.await;
    })
    .expect("opens");
}

#[test]
fn an_idle_shard_writes_one_proof_and_then_nothing() {
    let dir = TempDir::new("proofs");
    run(small_config(&dir.0, 1), 1, true, true, |store| async move {
        store.submit(ShardId(0), Put::plain(b"k", b"v")).await.expect("acknowledged");
        let written = store.status()[0].durable_lsn;
        while store.status()[0].durable_lsn == written {
            ring::sleep(Duration::from_millis(1)).await;
        }
        let then = store.status()[0].durable_lsn;
        assert_eq!(then.0, written.0 + 1);
        ring::sleep(Duration::from_millis(1500)).await;
        assert_eq!(store.status()[0].durable_lsn, then, "an idle shard goes on writing");
    })
    .expect("opens");
}

#[test]
fn a_scan_with_a_budget_gets_over_any_number_of_deleted_keys() {
    let dir = TempDir::new("tombstones");
    let mut config = small_config(&dir.0, 1);
    config.limits.fold_entries = 1_000_000;
    run(config, 1, true, true, |store| async move {
        let keys: Vec<Vec<u8>> = (0..2000_u32).map(|number| format!("q{number:05}").into_bytes()).collect();
        for some in keys.chunks(500) {
            let some = some.to_vec();
            store
                .submit(
                    ShardId(0),
                    call(move |tx: &mut Tx<'_>| {
                        for key in &some {
                            tx.put(TABLE, key, b"", Vec::new(), true);
                        }
                        Ok(Outcome::Commit(()))
                    }),
                )
                .await
                .expect("acknowledged");
        }
        for some in keys.chunks(500) {
            store.submit(ShardId(0), Delete(some.to_vec())).await.expect("acknowledged");
        }
        store.submit(ShardId(0), Put::plain(b"zz", b"last")).await.expect("acknowledged");
        let mut from: Bound<Vec<u8>> = Bound::Unbounded;
        for _ in 0..30 {
            let bound = from.clone();
            let (end, found) = store
                .submit(
                    ShardId(0),
                    call(move |tx: &mut Tx<'_>| {
                        let mut found = None;
                        let start = match &bound {
                            Bound::Excluded(key) => Bound::Excluded(key.as_slice()),
                            _ => Bound::Unbounded,
                        };
                        let end = tx.scan(TABLE, start, Direction::Forward, 200, &mut |key, _| {
                            found = Some(key.to_vec());
                            ControlFlow::Break(())
                        })?;
                        Ok(Outcome::Rollback((end, found)))
                    }),
                )
                .await
                .expect("runs");
            match end {
                ScanEnd::Stopped => {
                    assert_eq!(found, Some(b"zz".to_vec()));
                    return;
                }
                ScanEnd::Continue(key) => from = Bound::Excluded(key),
                ScanEnd::Done => panic!("the scan ended before the last key"),
            }
        }
        panic!("the scan stands still");
    })
    .expect("opens");
}

#[test]
fn the_first_start_makes_the_name_of_its_directory_durable() {
    for seed in 0..8 {
        let dir = TempDir::new("first-start");
        let disk = SimDisk::new(seed);
        let mut config = small_config(Path::new("/data"), 1);
        config.disk = Arc::new(disk.clone());
        config.index_root = dir.0.clone();
        run(config.clone(), 1, false, false, |store| async move {
            store.submit(ShardId(0), Put::plain(b"k", b"v")).await.expect("acknowledged");
        })
        .expect("opens");
        config.disk = Arc::new(disk.crash(seed));
        run(config, 1, false, true, |store| async move {
            assert_eq!(
                value_of(&store, ShardId(0), b"k").expect("reads"),
                Some(b"v".to_vec()),
                "seed {seed}"
            );
        })
        .expect("opens again");
    }
}

#[test]
fn copying_forward_keeps_every_body_of_a_record() {
    let dir = TempDir::new("forward");
    let mut config = small_config(&dir.0, 1);
    config.packed_segment_bytes = 64 << 10;
    run(config, 1, true, true, |store| async move {
        let shard = ShardId(0);
        let two = [vec![1_u8; 900], vec![2_u8; 1100]];
        let [first, second] = two.clone();
        let put_two = call(move |tx: &mut Tx<'_>| {
            let bodies = [&first, &second].map(|bytes| Body::New(NewBody::from_bytes(bytes.clone())));
            tx.put(TABLE, b"aa", b"v", Vec::from(bodies), false);
            Ok(Outcome::Commit(()))
        });
        store.submit(shard, put_two).await.expect("acknowledged");
        // Fills the rest of this packed segment and some more, so that it is sealed.
        let fill = |number: u32| format!("fill{number:03}").into_bytes();
        for number in 0..60 {
            let body = Some(NewBody::from_bytes(vec![3; 2000]));
            store
                .submit(shard, Put { key: fill(number), value: Vec::new(), body, fresh: false })
                .await
                .expect("acknowledged");
        }
        fold(&store, 5000).await;
        let place = |store: &Store| {
            let view = store.view(shard).expect("view");
            let record = view.get(TABLE, b"aa").expect("reads").expect("is there");
            (record.bodies.clone(), record.value.to_vec())
        };
        let (before, _) = place(&store);
        store.submit(shard, Delete((0..60).map(fill).collect())).await.expect("acknowledged");
        // Each fold looks for what can be copied; the copy itself is a write of its own.
        let begun = ring::now();
        let mut round = 0_u8;
        while place(&store).0 == before && ring::now() - begun < PATIENCE {
            round = round.wrapping_add(1);
            store.submit(shard, Put::plain(b"tick", &[round])).await.expect("acknowledged");
            fold(&store, 5000).await;
            ring::sleep(Duration::from_millis(60)).await;
        }
        let (after, _) = place(&store);
        assert_ne!(before, after, "nothing was copied forward, so this shows nothing");
        assert_eq!(after.len(), 2, "a body is gone from its record: {after:?}");
        for (body, expected) in after.iter().zip(&two) {
            let pin = store.pin(shard, body);
            let mut stream = store.read(&pin, body, 0..u64::MAX);
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece.expect("readable"));
            }
            assert!(bytes == *expected, "a body is another");
        }
    })
    .expect("opens");
}

#[test]
#[should_panic(expected = "a shard takes part in a transaction with one operation")]
fn two_parts_on_one_shard_are_refused() {
    let dir = TempDir::new("same-shard");
    run(small_config(&dir.0, 2), 1, true, true, |store| async move {
        let parts = vec![
            (ShardId(0), Call(put_part(b"one", b"T", None))),
            (ShardId(0), Call(put_part(b"two", b"T", None))),
        ];
        drop(store.transact(parts).await);
    })
    .expect("opens");
}

/// The last durable batch of shard 0, and the last one of those for which nothing waits for a fold.
fn progress(store: &Store) -> (u64, u64) {
    let status = store.status().swap_remove(0);
    (status.durable_lsn.0, status.applied_lsn.0)
}

/// Waits until nothing waits for a fold, and shows that the shard never says less than before.
async fn all_is_applied(store: &Store) {
    let (begun, (_, mut last)) = (ring::now(), progress(store));
    loop {
        let (durable, applied) = progress(store);
        assert!(applied >= last, "{applied} was {last} before");
        if applied == durable {
            return;
        }
        assert!(
            ring::now() - begun < PATIENCE,
            "{applied} of {durable} batches are applied, and nothing comes"
        );
        last = applied;
        ring::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_shard_with_nothing_to_fold_says_that_all_is_applied_also_after_a_restart() {
    let dir = TempDir::new("applied");
    let mut config = small_config(&dir.0, 1);
    // No fold comes by itself.
    config.limits.fold_entries = 1_000_000;
    config.limits.fold_age_max = Duration::from_secs(3_600);
    // So the proof comes after the fold, however slow that is; one that is sooner shows less.
    config.limits.proof_delay = Duration::from_secs(1);
    let last = run(config.clone(), 1, true, true, |store| async move {
        let (before, _) = progress(&store);
        store.submit(ShardId(0), Put::plain(b"key", b"value")).await.expect("acknowledged");
        let (put, applied) = progress(&store);
        assert!(applied < put, "what waits for a fold does not count");
        store.fold_all().await;
        let begun = ring::now();
        while progress(&store).0 < before + 2 {
            assert!(ring::now() - begun < PATIENCE, "the last batch gets no proof");
            ring::sleep(Duration::from_millis(5)).await;
        }
        all_is_applied(&store).await;
        progress(&store).1
    });
    let last = last.expect("opens");
    run(config, 1, true, true, |store| async move {
        // Up to the fold at once, up to the proof behind it as soon as the shard runs.
        assert!(progress(&store).1 + 1 >= last, "{:?} after {last}", progress(&store));
        all_is_applied(&store).await;
        store.submit(ShardId(0), Put::plain(b"key", b"again")).await.expect("acknowledged");
        let (durable, applied) = progress(&store);
        assert!(applied < durable && applied >= last, "{applied} of {durable}, {last} before the restart");
    })
    .expect("opens");
}
