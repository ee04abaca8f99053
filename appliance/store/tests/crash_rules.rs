//! Rules of a crash that need one exact order of events: answers that rest on a batch that fails, a disk that is full while
//! a fold runs, and a reader who pauses while everything under it moves on.

mod harness;
mod rig;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Delete, Put, TABLE, body_of, call, run, value_of, within};
use store::disk::sim::{Injection, OperationKind, SimDisk};
use store::disk::{Disk as _, OpenMode};
use store::{BodyOwner, Fault, NewBody, Outcome, ShardId, Store, StoreConfig, Tx};

const SHARD: ShardId = ShardId(0);

fn config(disk: &SimDisk, index_root: &Path) -> StoreConfig {
    let mut config = small_config(Path::new("/data"), 1);
    config.disk = Arc::new(disk.clone());
    config.index_root = index_root.to_path_buf();
    config.log_segment_bytes = 256 << 10;
    config.ballast_bytes = 256 << 10;
    config.packed_segment_bytes = 256 << 10;
    config.limits.fold_entries = 1_000_000;
    config
}

/// A condition: says whether the key is there, and writes nothing.
fn refuse_if_there(key: &'static [u8]) -> impl store::Operation<Reply = bool> {
    call(move |tx: &mut Tx<'_>| Ok(Outcome::Rollback(tx.get(TABLE, key)?.is_some())))
}

/// The log's segments in advance are made beside the writes; this waits until they are all there.
async fn segments_are_made(disk: &SimDisk, log: &Path) {
    let segments = || disk.list(log).expect("a sound disk");
    while segments().len() < 3 || segments().iter().any(|name| name.ends_with("tmp")) {
        ring::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_refusal_that_rests_on_a_batch_that_fails_is_no_answer() {
    assert!((0..50).any(a_batch_fails_under_a_refusal), "the failing sync never was the batch's");
}

/// Whether the sync that failed was the batch's: one of a log segment that is made beside it stops the writes before.
fn a_batch_fails_under_a_refusal(seed: u64) -> bool {
    let dir = TempDir::new("refusal");
    let disk = SimDisk::new(seed);
    let config = config(&disk, &dir.0);
    let log = config.data.join("shard-000").join("log");
    let met = run(config.clone(), 1, false, false, |store| {
        let disk = disk.clone();
        async move {
            store.submit(SHARD, Put::plain(b"first", b"1")).await.expect("acknowledged");
            segments_are_made(&disk, &log).await;
            store.submit(SHARD, Put::plain(b"before", b"1")).await.expect("acknowledged");
            disk.inject(Injection { sticky: true, ..Injection::eio(OperationKind::Sync, 1) });
            let put = ring::spawn({
                let store = store.clone();
                async move { store.submit(SHARD, Put::plain(b"key", b"1")).await }
            });
            let refusal = ring::spawn({
                let store = store.clone();
                async move { store.submit(SHARD, refuse_if_there(b"key")).await }
            });
            let looked = ring::spawn(async move { store.submit(SHARD, refuse_if_there(b"before")).await });
            let (put, refused, looked) = (put.await, refusal.await, looked.await);
            // "It exists" would be a lie if the power went now.
            assert!(!matches!(refused, Ok(true)), "{refused:?}");
            if matches!(put, Err(Fault::ReadOnly(_))) {
                return false;
            }
            assert!(matches!(put, Err(Fault::Unknown(_))), "{put:?}");
            assert!(matches!(refused, Err(Fault::Unknown(_))), "{refused:?}");
            // What rests on durable batches alone may be said, or not.
            assert!(matches!(looked, Ok(true) | Err(Fault::Unknown(_))), "{looked:?}");
            true
        }
    })
    .expect("opens");
    let config = StoreConfig { disk: Arc::new(disk.crash(1)), ..config };
    run(config, 1, false, true, |store| async move {
        assert_eq!(value_of(&store, SHARD, b"before").expect("reads"), Some(b"1".to_vec()));
    })
    .expect("opens");
    met
}

async fn fold(store: &Store, limit_ms: u64) -> bool {
    let store = store.clone();
    within(Duration::from_millis(limit_ms), async move { store.fold_all().await }).await.is_some()
}

#[test]
fn a_disk_that_fills_up_during_a_fold_takes_deletes_and_mends() {
    const KEYS: u32 = 60;
    let dir = TempDir::new("full-fold");
    let disk = SimDisk::new(5);
    let key = |number: u32| format!("k{number:03}").into_bytes();
    let mut config = config(&disk, &dir.0);
    // A log that waits for a segment folds, and that must not happen before the disk is full.
    config.log_segment_bytes = 4 << 20;
    let log = config.data.join("shard-000").join("log");
    run(config.clone(), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
            // Small bodies, which a fold moves to packed segments: far more than the disk has room for.
            for number in 0..KEYS {
                let body = Some(NewBody::from_bytes(vec![number as u8; 20_000]));
                let put = Put { key: key(number), value: b"v".to_vec(), body, fresh: false };
                store.submit(SHARD, put).await.expect("acknowledged");
            }
            // The log's next segment is made beside the puts; one that is broken off would give its room back to the fold.
            segments_are_made(&disk, &log).await;
            let used = u64::MAX - disk.free_bytes(Path::new("/")).expect("a sound disk");
            disk.set_capacity(used);
            assert!(!fold(&store, 300).await, "there was room for the fold after all");
            assert_eq!(store.status()[0].folds, 0);
            assert_eq!(store.status()[0].trouble, None, "a full disk is no reason to stop");
            for number in 0..KEYS {
                assert_eq!(value_of(&store, SHARD, &key(number)).expect("reads"), Some(b"v".to_vec()));
            }
            // Deletes go through, and with nothing left to move the next fold needs no room.
            for number in 0..KEYS - 1 {
                store.submit(SHARD, Delete(vec![key(number)])).await.expect("a delete is taken");
            }
            disk.set_capacity(u64::MAX);
            let folded = fold(&store, 60_000).await;
            assert!(
                folded && store.status()[0].folds > 0,
                "the fold was not tried again: {:?}",
                store.status()
            );
            store.submit(SHARD, Put::plain(b"after", b"1")).await.expect("writes go on without a restart");
        }
    })
    .expect("opens");
    config.disk = Arc::new(disk.crash(9));
    run(config, 1, false, true, |store| async move {
        for number in 0..KEYS - 1 {
            assert_eq!(value_of(&store, SHARD, &key(number)).expect("reads"), None);
        }
        let last = body_of(&store, SHARD, &key(KEYS - 1)).await.expect("reads");
        assert_eq!(last, Some(vec![(KEYS - 1) as u8; 20_000]));
        assert_eq!(value_of(&store, SHARD, b"after").expect("reads"), Some(b"1".to_vec()));
    })
    .expect("opens");
}

/// Begins to read a body of these bytes, lets everything move on, and reads it to its end.
fn read_over_everything(bytes: Vec<u8>, name: &str) {
    let dir = TempDir::new(name);
    let disk = SimDisk::new(7);
    run(config(&disk, &dir.0), 1, false, true, |store| async move {
        let owner = BodyOwner { shard: SHARD, table: TABLE, key: b"k".to_vec() };
        let mut body = store.body_writer(Some(bytes.len() as u64), owner);
        body.write(&bytes).await.expect("written");
        let body = Some(body.seal().await.expect("sealed"));
        let put = Put { key: b"k".to_vec(), value: Vec::new(), body, fresh: false };
        store.submit(SHARD, put).await.expect("acknowledged");
        let (pin, reference) = {
            let view = store.view(SHARD).expect("view");
            let reference = view.get(TABLE, b"k").expect("reads").expect("was put").bodies[0].clone();
            (store.pin(SHARD, &reference), reference)
        };
        // The record goes, its log segment is folded and given back, its extent is dead, and the numbers come again.
        store.submit(SHARD, Delete(vec![b"k".to_vec()])).await.expect("acknowledged");
        for round in 0..6_u8 {
            for number in 0..20_u8 {
                let body = Some(NewBody::from_bytes(vec![round; 30_000]));
                let put = Put { key: vec![b'f', number], value: Vec::new(), body, fresh: false };
                store.submit(SHARD, put).await.expect("acknowledged");
            }
            assert!(fold(&store, 60_000).await, "folds end while somebody reads");
        }
        let mut stream = store.read(&pin, &reference, 0..u64::MAX);
        let mut read = Vec::new();
        while let Some(piece) = stream.next().await {
            read.extend_from_slice(&piece.expect("a pinned body stays readable"));
        }
        assert!(read == bytes, "the paused reader got other bytes");
        assert_eq!(store.status()[0].trouble, None);
    })
    .expect("opens");
}

#[test]
fn a_paused_reader_gets_its_small_body_though_the_log_moved_on() {
    read_over_everything((0..20_000_u32).map(|number| ((number * 7) >> 3) as u8).collect(), "paused-small");
}

#[test]
fn a_paused_reader_gets_its_large_body_though_the_extent_is_dead() {
    read_over_everything((0..400_000_u32).map(|number| ((number * 7) >> 3) as u8).collect(), "paused-large");
}

#[test]
fn a_packed_segment_of_a_fold_that_a_kill_cut_off_goes_with_a_later_fold() {
    let dir = TempDir::new("packed-left");
    let disk = SimDisk::new(6);
    let config = config(&disk, &dir.0);
    let packed = config.data.join("shard-000").join("packed");
    let put = |number: u8| Put {
        key: vec![number],
        value: b"v".to_vec(),
        body: Some(NewBody::from_bytes(vec![number; 20_000])),
        fresh: false,
    };
    let life = |number: u8| {
        run(config.clone(), 1, false, true, |store| async move {
            store.submit(SHARD, put(number)).await.expect("acknowledged");
            store.fold_all().await;
            for earlier in 1..=number {
                let body = body_of(&store, SHARD, &[earlier]).await.expect("reads");
                assert_eq!(body, Some(vec![earlier; 20_000]));
            }
        })
        .expect("opens");
    };
    life(1);
    assert_eq!(disk.list(&packed).expect("lists"), ["0000000001"]);
    // Where the kill falls is the disk's affair alone: bodies were moved, and the index that names them was not committed.
    let left = disk.open(&packed.join("0000000002"), OpenMode { create: true, write: true, direct: false });
    left.expect("opens").write_blocking(&[7; 50_000], 0).expect("writes");
    life(2);
    life(3);
    assert_eq!(disk.list(&packed).expect("lists"), ["0000000001", "0000000003", "0000000004"]);
}

#[test]
fn what_a_batch_names_that_was_set_aside_is_left_for_a_person_until_the_next_start() {
    let dir = TempDir::new("set-aside");
    let disk = SimDisk::new(7);
    let mut config = config(&disk, &dir.0);
    // Nothing proves the last batch, so that a flipped bit in it looks like a torn write.
    config.limits.proof_delay = Duration::from_secs(3_600);
    let (log, extents) =
        (config.data.join("shard-000/log/00000000000000000001"), config.data.join("shard-000/extents"));
    run(config.clone(), 1, false, false, |store| async move {
        let mut writer =
            store.body_writer(None, BodyOwner { shard: SHARD, table: TABLE, key: b"rotten".to_vec() });
        writer.write(&[7; 50_000]).await.expect("written");
        let body = Some(writer.seal().await.expect("sealed"));
        let put = Put { key: b"rotten".to_vec(), value: b"v".to_vec(), body, fresh: false };
        store.submit(SHARD, put).await.expect("acknowledged");
    })
    .expect("opens");
    let content = disk.content(&log).expect("a log");
    let place = content.windows(6).position(|six| six == b"rotten").expect("the batch is there");
    disk.flip_bit(&log, place as u64, 1);
    let occupied = || -> u64 {
        let names = disk.list(&extents).expect("lists");
        let open = |name: &String| disk.open(&extents.join(name), OpenMode::default()).expect("opens");
        names.iter().map(|name| open(name).allocated_bytes().expect("stats")).sum()
    };
    for left in [4_096 + 53_248, 0] {
        run(config.clone(), 1, false, true, |store| async move {
            assert_eq!(value_of(&store, SHARD, b"rotten").expect("reads"), None);
            // Takes the place of what was set aside; without a write the next start would find that again.
            store.submit(SHARD, Put::plain(b"next", b"v")).await.expect("acknowledged");
            while store.status()[0].sweeping {
                ring::sleep(Duration::from_millis(1)).await;
            }
        })
        .expect("opens");
        assert_eq!(occupied(), left);
    }
}
