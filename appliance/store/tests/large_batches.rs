//! Operations that fit into no ordinary batch: they get one of their own, up to a bound, alone and in transactions; beyond it
//! they are refused and nothing of them happens.

mod harness;
mod rig;

use std::path::Path;
use std::sync::Arc;

use harness::{TempDir, small_config};
use rig::{Call, Put, TABLE, run, value_of};
use store::disk::sim::SimDisk;
use store::{Fault, Outcome, ShardId, Store, StoreConfig, TransactFailure, Tx, VALUE_BYTES_MAX};

type Part = Box<dyn FnMut(&mut Tx<'_>) -> Result<Outcome<()>, Fault> + Send>;

/// Puts so many values of so many bytes, all of the same byte.
fn fill(count: usize, value_bytes: usize, byte: u8) -> Call<Part> {
    Call(Box::new(move |tx| {
        for number in 0..count {
            tx.put(
                TABLE,
                format!("large/{number:03}").as_bytes(),
                &vec![byte; value_bytes],
                Vec::new(),
                false,
            );
        }
        Ok(Outcome::Commit(()))
    }))
}

/// The byte of which all values are, if there are any, and how many there are.
fn filled(store: &Store, shard: ShardId) -> (usize, Option<u8>) {
    let view = store.view(shard).expect("view");
    let mut scan = view.scan(TABLE, std::ops::Bound::Included(b"large/"), store::Direction::Forward);
    let (mut count, mut byte) = (0, None);
    while let Some((key, record)) = scan.next().expect("reads") {
        if !key.starts_with(b"large/") {
            break;
        }
        let first = record.value[0];
        assert!(record.value.iter().all(|other| *other == first), "a value of several writes");
        assert!(byte.is_none_or(|byte| byte == first), "half of an operation");
        (count, byte) = (count + 1, Some(first));
    }
    (count, byte)
}

/// An ordinary batch has 256 KiB, a large one 768 KiB.
fn config(dir: &TempDir, shards: u16) -> StoreConfig {
    small_config(&dir.0, shards)
}

#[test]
fn an_operation_of_several_ordinary_batches_is_written_whole_among_others() {
    let dir = TempDir::new("large-alone");
    run(config(&dir, 1), 1, true, false, async |store| {
        for byte in 1..=8 {
            let small = (0..40_u8).map(|number| {
                let store = store.clone();
                let put = Put::plain(&[b's', number], &vec![byte; 3_000]);
                ring::spawn(async move { store.submit(ShardId(0), put).await })
            });
            let before: Vec<_> = small.collect();
            store.submit(ShardId(0), fill(20, 30_000, byte)).await.expect("600 KB");
            assert_eq!(filled(&store, ShardId(0)), (20, Some(byte)));
            for put in before {
                put.await.expect("acknowledged");
            }
        }
        let trouble: Vec<_> = store.status().into_iter().filter_map(|status| status.trouble).collect();
        assert!(trouble.is_empty(), "{trouble:?}");
    })
    .expect("opens");
    run(config(&dir, 1), 1, true, true, async |store| {
        assert_eq!(filled(&store, ShardId(0)), (20, Some(8)));
        assert_eq!(value_of(&store, ShardId(0), b"s\x07").expect("reads"), Some(vec![8; 3_000]));
    })
    .expect("opens again");
}

#[test]
fn what_no_batch_holds_is_refused_and_what_follows_is_not() {
    let dir = TempDir::new("large-refused");
    run(config(&dir, 2), 1, true, true, async |store| {
        let refused = store.submit(ShardId(0), fill(30, 30_000, 1)).await;
        assert!(matches!(refused, Err(Fault::TooLarge { bytes }) if bytes > 900_000), "{refused:?}");
        assert_eq!(filled(&store, ShardId(0)), (0, None));
        // Its prepare is one value, and is bound more narrowly.
        let parts = vec![(ShardId(0), fill(20, 30_000, 1)), (ShardId(1), fill(1, 1, 1))];
        let refused = store.transact(parts).await;
        assert!(matches!(refused, Err(TransactFailure::Fault(Fault::TooLarge { .. }))));
        assert_eq!(filled(&store, ShardId(1)), (0, None));
        store.submit(ShardId(0), fill(20, 30_000, 2)).await.expect("fits");
        store.submit(ShardId(0), Put::plain(b"small", b"too")).await.expect("fits");
        assert_eq!(filled(&store, ShardId(0)), (20, Some(2)));
    })
    .expect("opens");
}

#[test]
fn a_transaction_of_large_parts_is_prepared_and_resolved() {
    let dir = TempDir::new("large-transaction");
    run(config(&dir, 2), 1, true, false, async |store| {
        for byte in 1..=4 {
            loop {
                let parts =
                    [(0, 14), (1, 3)].map(|(shard, count)| (ShardId(shard), fill(count, 30_000, byte)));
                match store.transact(parts.into()).await {
                    Ok(_) => break,
                    // The resolution of the one before is under way.
                    Err(TransactFailure::Conflict) => rig::yield_now().await,
                    Err(other) => panic!("{other:?}"),
                }
            }
            assert_eq!(filled(&store, ShardId(0)), (14, Some(byte)));
            assert_eq!(filled(&store, ShardId(1)), (3, Some(byte)));
        }
    })
    .expect("opens");
    run(config(&dir, 2), 1, true, true, async |store| {
        assert_eq!(filled(&store, ShardId(0)), (14, Some(4)));
        assert_eq!(filled(&store, ShardId(1)), (3, Some(4)));
        store.fold_all().await;
        assert_eq!(filled(&store, ShardId(0)), (14, Some(4)));
    })
    .expect("opens again");
}

/// The sizes of the appliance: a transaction of 4 MB of items with the images of a stream.
#[test]
fn the_appliance_takes_a_transaction_of_fourteen_mebibytes_on_a_shard() {
    let dir = TempDir::new("large-appliance");
    let mut config = StoreConfig::new(Path::new("/data").to_path_buf(), 2, Arc::new(SimDisk::new(5)));
    config.index_root = dir.0.clone();
    config.map_bytes_total = 4 << 30;
    config.ballast_bytes = 0;
    run(config, 1, false, true, async |store| {
        let part = |count| fill(count, 1 << 20, 7);
        store.transact(vec![(ShardId(0), part(14)), (ShardId(1), part(1))]).await.expect("14 MiB");
        // Behind the resolution, which no reply waits for.
        store.submit(ShardId(0), Put::plain(b"k", b"")).await.expect("acknowledged");
        assert_eq!(filled(&store, ShardId(0)), (14, Some(7)));
        let refused = store.transact(vec![(ShardId(0), part(16)), (ShardId(1), part(1))]).await;
        assert!(matches!(refused, Err(TransactFailure::Fault(Fault::TooLarge { .. }))));
        store.submit(ShardId(0), fill(23, 1 << 20, 9)).await.expect("23 MiB alone");
        assert_eq!(filled(&store, ShardId(0)), (23, Some(9)));
        let refused = store.submit(ShardId(0), fill(24, 1 << 20, 9)).await;
        assert!(matches!(refused, Err(Fault::TooLarge { .. })));
    })
    .expect("opens");
}

/// As long as a message of a topic with all of its attributes.
#[test]
fn the_longest_value_survives_a_restart_and_a_fold() {
    let dir = TempDir::new("longest-value");
    let disk = SimDisk::new(9);
    let config = |disk: &SimDisk| {
        let mut config = StoreConfig::new(Path::new("/data").to_path_buf(), 1, Arc::new(disk.clone()));
        config.index_root = dir.0.clone();
        config.map_bytes_total = 4 << 30;
        config.ballast_bytes = 0;
        config
    };
    let value = |byte: u8| vec![byte; VALUE_BYTES_MAX];
    run(config(&disk), 1, false, false, async |store| {
        for byte in 0..9 {
            store.submit(ShardId(0), Put::plain(&[byte], &value(byte))).await.expect("acknowledged");
        }
    })
    .expect("opens");
    run(config(&disk.crash(3)), 1, false, true, async |store| {
        for folded in [false, true] {
            for byte in 0..9 {
                let found = value_of(&store, ShardId(0), &[byte]).expect("reads");
                assert!(found == Some(value(byte)), "value {byte}, folded: {folded}");
            }
            store.fold_all().await;
        }
        assert!(store.status()[0].folded_entries >= 9);
    })
    .expect("opens again");
}
