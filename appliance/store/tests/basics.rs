//! The store from end to end on a real disk, on both backends: what was acknowledged is read, by views and after a restart.

mod harness;
mod rig;

use std::ops::{Bound, ControlFlow};

use harness::{TempDir, small_config};
use rig::with_store;
use ring::Backend;
use store::{
    Body, BodyOwner, Direction, Fault, NewBody, Operation, Outcome, ScanEnd, Store, TableId, TransactFailure,
    Tx,
};

const TABLE: TableId = TableId(16);

struct Put {
    key: Vec<u8>,
    value: Vec<u8>,
    body: Option<NewBody>,
}

impl Operation for Put {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        let existed = tx.get(TABLE, &self.key)?.is_some();
        let bodies = self.body.iter().cloned().map(Body::New).collect();
        tx.put(TABLE, &self.key, &self.value, bodies, false);
        Ok(Outcome::Commit(existed))
    }
}

struct Delete(Vec<u8>);

impl Operation for Delete {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.0);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.delete(TABLE, &self.0);
        Ok(Outcome::Commit(()))
    }
}

/// Puts `value` under `key` unless the shard holds a key that begins with `guard`.
#[derive(Clone)]
struct PutUnless {
    key: Vec<u8>,
    guard: Vec<u8>,
}

impl Operation for PutUnless {
    type Reply = usize;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<usize>, Fault> {
        let mut guarded = 0;
        let guard = self.guard.clone();
        let end = tx.scan(TABLE, Bound::Included(&self.guard), Direction::Forward, 1000, &mut |key, _| {
            if key.starts_with(&guard) {
                guarded += 1;
            }
            ControlFlow::Break(())
        })?;
        assert!(matches!(end, ScanEnd::Done | ScanEnd::Stopped));
        if guarded > 0 {
            return Ok(Outcome::Rollback(guarded));
        }
        tx.put(TABLE, &self.key, b"transacted", Vec::new(), false);
        Ok(Outcome::Commit(0))
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key-{number:06}").into_bytes()
}

/// Puts the next number under a key and gives the one before.
struct Count {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Operation for Count {
    type Reply = Option<u8>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Option<u8>>, Fault> {
        let before = tx.get(TABLE, &self.key)?.map(|record| record.value[0]);
        self.value[0] = before.map_or(0, |before| before + 1);
        tx.put(TABLE, &self.key, &self.value, Vec::new(), false);
        Ok(Outcome::Commit(before))
    }
}

/// Far more is queued than an owner looks at together, and the overlays are larger than what it leaves to the cache.
#[test]
fn a_long_queue_over_a_large_overlay_runs_in_its_order() {
    const KEYS: usize = 90;
    const ROUNDS: usize = 3;
    let dir = TempDir::new("long-queue");
    let mut config = small_config(&dir.0, 1);
    // Overlays are exchanged and folded between the operations on one key.
    config.limits.fold_entries = KEYS / 2;
    with_store(config, Backend::IoUring, async |store| {
        let shard = store.place(b"any");
        for round in 0..ROUNDS {
            let tasks: Vec<_> = (0..2 * KEYS)
                .map(|number| {
                    let store = store.clone();
                    let operation = Count { key: key(number % KEYS), value: vec![0; 16 << 10] };
                    ring::spawn(async move { store.submit(shard, operation).await.expect("acknowledged") })
                })
                .collect();
            for (number, task) in tasks.into_iter().enumerate() {
                let before = (2 * round + number / KEYS).checked_sub(1);
                assert_eq!(task.await.map(usize::from), before, "round {round}, operation {number}");
            }
        }
    });
}

async fn put(store: &Store, key: Vec<u8>, value: Vec<u8>, body: Option<NewBody>) -> bool {
    let shard = store.place(&key);
    store.submit(shard, Put { key, value, body }).await.expect("acknowledged")
}

async fn body_of(store: &Store, key: &[u8]) -> Vec<u8> {
    let shard = store.place(key);
    let (pin, body) = {
        let view = store.view(shard).expect("view");
        let record = view.get(TABLE, key).expect("read").expect("there");
        let body = record.bodies[0].clone();
        (store.pin(shard, &body), body)
    };
    let mut stream = store.read(&pin, &body, 0..u64::MAX);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.expect("verified"));
    }
    bytes
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|place| ((place * 31 + seed * 7) >> 3) as u8).collect()
}

fn on_both_backends(test: impl Fn(Backend)) {
    test(Backend::Epoll);
    if ring::probe_io_uring().is_ok() {
        test(Backend::IoUring);
    }
}

#[test]
fn what_was_put_is_read_by_views_scans_and_after_a_restart() {
    on_both_backends(|backend| {
        let dir = TempDir::new("basics");
        with_store(small_config(&dir.0, 2), backend, |store| async move {
            for number in 0..1500 {
                assert!(!put(&store, key(number), pattern(number % 300, number), None).await);
                // Folds run meanwhile, and end between two of these.
                is_found_by_filter(&store, number / 2, true);
                is_found_by_filter(&store, 2_000 + number, false);
            }
            for number in (0..1500).step_by(3) {
                let shard = store.place(&key(number));
                store.submit(shard, Delete(key(number))).await.expect("acknowledged");
            }
            check(&store);
        });
        with_store(small_config(&dir.0, 2), backend, |store| async move { check(&store) });
    });

    fn check(store: &Store) {
        let views = store.view_all().expect("views");
        for direction in [Direction::Forward, Direction::Backward] {
            let mut expected: Vec<usize> = (0..1500).filter(|number| number % 3 != 0).collect();
            if direction == Direction::Backward {
                expected.reverse();
            }
            let mut scan = views.scan(TABLE, Bound::Unbounded, direction);
            for number in expected {
                let (shard, found, record) = scan.next().expect("scans").expect("more");
                assert_eq!(found, key(number), "{direction:?}");
                assert_eq!(shard, store.place(found));
                assert_eq!(record.value, pattern(number % 300, number));
            }
            assert!(scan.next().expect("ends").is_none());
        }
        let view = store.view(store.place(&key(3))).expect("view");
        assert!(view.get(TABLE, &key(3)).expect("reads").is_none());
        (0..1_500).for_each(|number| is_found_by_filter(store, number, number % 3 != 0));
    }

    /// A view that asks the filter first finds what it finds without it.
    fn is_found_by_filter(store: &Store, number: usize, is_there: bool) {
        let view = store.view(store.place(&key(number))).expect("view");
        let found = view.get_if_known(TABLE, &key(number)).expect("reads");
        assert_eq!(found, view.get(TABLE, &key(number)).expect("reads"));
        assert_eq!(found.is_some(), is_there, "key {number}");
    }
}

#[test]
fn bodies_of_every_size_come_back_and_overwritten_ones_are_released() {
    on_both_backends(|backend| {
        let dir = TempDir::new("bodies");
        let sizes =
            [0, 1, 512, 513, 4096, 32 * 1024, 32 * 1024 + 1, 65_536, 1 << 20, (1 << 20) + 1, 3_000_000];
        with_store(small_config(&dir.0, 2), backend, |store| async move {
            for round in 0..3 {
                for (number, size) in sizes.into_iter().enumerate() {
                    let shard = store.place(&key(number));
                    let owner = BodyOwner { shard, table: TABLE, key: key(number) };
                    let mut writer = store.body_writer(Some(size as u64), owner);
                    writer.write(&pattern(size, number + round)).await.expect("written");
                    let body = writer.seal().await.expect("sealed");
                    put(&store, key(number), b"v".to_vec(), Some(body)).await;
                }
                for (number, size) in sizes.into_iter().enumerate() {
                    assert_eq!(
                        body_of(&store, &key(number)).await,
                        pattern(size, number + round),
                        "size {size}"
                    );
                }
            }
            // Enough small writes to fold everything several times.
            for number in 1000..2000 {
                let body = NewBody::from_bytes(pattern(600, number));
                put(&store, key(number), Vec::new(), Some(body)).await;
            }
        });
        with_store(small_config(&dir.0, 2), backend, |store| async move {
            for (number, size) in sizes.into_iter().enumerate() {
                assert_eq!(body_of(&store, &key(number)).await, pattern(size, number + 2), "size {size}");
            }
            for number in 1000..2000 {
                assert_eq!(body_of(&store, &key(number)).await, pattern(600, number));
            }
        });
    });
}

#[test]
fn a_transaction_over_shards_happens_on_all_of_them_or_on_none() {
    on_both_backends(|backend| {
        let dir = TempDir::new("transact");
        with_store(small_config(&dir.0, 2), backend, |store| async move {
            let everywhere = |name: &str| {
                let operation = PutUnless { key: name.as_bytes().to_vec(), guard: b"zz-guard".to_vec() };
                store.shards().map(|shard| (shard, operation.clone())).collect::<Vec<_>>()
            };
            assert_eq!(store.transact(everywhere("first")).await.expect("commits"), vec![0, 0]);
            let seen = |name: &str| {
                let views = store.view_all().expect("views");
                store
                    .shards()
                    .filter(|shard| views.shard(*shard).get(TABLE, name.as_bytes()).expect("reads").is_some())
                    .count()
            };
            assert_eq!(seen("first"), 2);
            // A guard on one shard only cancels the transaction on both.
            let guard = (0..)
                .map(|number| format!("zz-guard{number}"))
                .find(|name| store.place(name.as_bytes()).0 == 1);
            put(&store, guard.expect("some name lies there").into_bytes(), Vec::new(), None).await;
            match store.transact(everywhere("second")).await {
                Err(TransactFailure::Cancelled(refusals)) => {
                    assert_eq!(refusals.len(), 1);
                    assert_eq!(refusals[0].0.0, 1);
                }
                other => panic!("expected a cancellation, got {other:?}"),
            }
            assert_eq!(seen("second"), 0);
            // The key is free again.
            assert!(!put(&store, b"second".to_vec(), b"plain".to_vec(), None).await);
        });
        with_store(small_config(&dir.0, 2), backend, |store| async move {
            let views = store.view_all().expect("views");
            for shard in store.shards() {
                let record = views.shard(shard).get(TABLE, b"first").expect("reads").expect("there");
                assert_eq!(record.value, b"transacted");
            }
        });
    });
}

#[test]
fn a_second_process_or_store_cannot_open_the_same_directory() {
    let dir = TempDir::new("locked");
    let config = small_config(&dir.0, 1);
    let first = store::Opened::open(config.clone(), true, 1).expect("opens");
    assert!(matches!(store::Opened::open(config, true, 2), Err(store::OpenError::Locked { .. })));
    drop(first);
}

#[test]
fn verify_finds_a_sound_directory_sound_and_names_each_flipped_body() {
    let dir = TempDir::new("verify");
    let config = small_config(&dir.0, 2);
    with_store(config.clone(), Backend::Epoll, |store| async move {
        for number in 0..600 {
            let size = [600, 5_000, 40_000, 100_000][number % 4];
            let shard = store.place(&key(number));
            let owner = BodyOwner { shard, table: TABLE, key: key(number) };
            let mut writer = store.body_writer(Some(size as u64), owner);
            writer.write(&pattern(size, number)).await.expect("written");
            let body = writer.seal().await.expect("sealed");
            put(&store, key(number), b"v".to_vec(), Some(body)).await;
        }
        store.fold_all().await;
    });
    let report = store::verify::verify(&config, 5, &mut |_| ()).expect("runs");
    assert_eq!((report.failure_count, report.bodies), (0, 600), "{:?}", report.failures);
    // One bit in each kind of body file.
    for kind in ["packed", "extents"] {
        let files = std::fs::read_dir(dir.0.join("shard-000").join(kind)).expect("list");
        let path = files.flatten().map(|entry| entry.path()).min().expect("a segment");
        let mut bytes = std::fs::read(&path).expect("read");
        // Beyond the first entry's header, inside the data of some body.
        let place = if kind == "packed" { 200 } else { 4096 + 5000 };
        bytes[place] ^= 1;
        std::fs::write(&path, &bytes).expect("flip");
        let report = store::verify::verify(&config, 5, &mut |_| ()).expect("runs");
        assert_eq!(report.failure_count, 1, "{kind}: {:?}", report.failures);
        bytes[place] ^= 1;
        std::fs::write(&path, &bytes).expect("flip back");
    }
}

#[test]
fn a_shard_whose_log_is_damaged_is_refused_by_name_and_the_others_serve() {
    let dir = TempDir::new("damaged");
    let config = small_config(&dir.0, 2);
    with_store(config.clone(), Backend::Epoll, |store| async move {
        for number in 0..40 {
            put(&store, key(number), b"v".to_vec(), None).await;
        }
    });
    let segment = dir.0.join("shard-001/log/00000000000000000001");
    let mut bytes = std::fs::read(&segment).expect("read");
    // Inside the first batch, which later ones prove.
    bytes[140] ^= 4;
    std::fs::write(&segment, bytes).expect("damage");
    with_store(config, Backend::Epoll, |store| async move {
        for number in 0..40 {
            let shard = store.place(&key(number));
            if shard.0 == 0 {
                let view = store.view(shard).expect("view");
                assert_eq!(view.get(TABLE, &key(number)).expect("reads").expect("there").value, b"v");
                drop(view);
                put(&store, key(number), b"w".to_vec(), None).await;
            } else {
                assert!(matches!(store.view(shard), Err(Fault::Corrupt(_))));
                let refused = store.submit(shard, Delete(key(number))).await;
                assert!(
                    matches!(&refused, Err(Fault::Corrupt(why)) if why.contains("shard-001")),
                    "{refused:?}"
                );
            }
        }
        let operation = PutUnless { key: b"both".to_vec(), guard: b"zz".to_vec() };
        let parts = store.shards().map(|shard| (shard, operation.clone())).collect();
        assert!(matches!(store.transact(parts).await, Err(TransactFailure::Fault(_))));
        let troubled: Vec<bool> = store.status().iter().map(|status| status.trouble.is_some()).collect();
        assert_eq!(troubled, [false, true]);
    });
}

#[test]
fn a_shard_whose_directory_is_gone_is_refused_and_whole_when_it_is_put_back() {
    let dir = TempDir::new("gone");
    let config = small_config(&dir.0, 2);
    with_store(config.clone(), Backend::Epoll, |store| async move {
        for number in 0..40 {
            let shard = store.place(&key(number));
            let owner = BodyOwner { shard, table: TABLE, key: key(number) };
            let mut writer = store.body_writer(Some(50_000), owner);
            writer.write(&pattern(50_000, number)).await.expect("written");
            let body = writer.seal().await.expect("sealed");
            put(&store, key(number), b"v".to_vec(), Some(body)).await;
        }
        store.fold_all().await;
    });
    let (shard, away) = (dir.0.join("shard-001"), dir.0.join("away"));
    std::fs::rename(&shard, &away).expect("renamed");
    // Twice: the first of these starts may not leave anything behind that the second takes for the shard.
    for _ in 0..2 {
        with_store(config.clone(), Backend::Epoll, |store| async move {
            for shard in store.shards() {
                assert_eq!(store.view(shard).is_ok(), shard.0 == 0);
            }
            let troubled: Vec<_> = store.status().into_iter().map(|status| status.trouble).collect();
            assert_eq!(troubled[0], None);
            assert!(troubled[1].as_ref().is_some_and(|why| why.contains("is gone")), "{troubled:?}");
            while store.status().iter().any(|status| status.sweeping) {
                ring::sleep(std::time::Duration::from_millis(1)).await;
            }
        });
    }
    std::fs::remove_dir_all(&shard).expect("removed");
    std::fs::rename(&away, &shard).expect("renamed");
    with_store(config, Backend::Epoll, |store| async move {
        for number in 0..40 {
            assert!(body_of(&store, &key(number)).await == pattern(50_000, number), "{number}");
        }
    });
}
