//! Tables whose records come and go: the blocks of what died are punched where they lie, what lives and what is read stays, and
//! what is kept of the disk meanwhile is counted.

mod harness;
mod rig;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Delete, PATIENCE, Put, TABLE, body_of, call, run};
use store::disk::sim::SimDisk;
use store::disk::{Disk as _, OpenMode};
use store::{Body, NewBody, Outcome, ShardId, Store, StoreConfig, TableSet, Tx};

const SHARD: ShardId = ShardId(0);
const BLOCK: u64 = 4_096;
const BODY: usize = 6_000;
const HEAD: u64 = 100;

fn config(disk: &SimDisk, index_root: &Path) -> StoreConfig {
    let mut config = small_config(Path::new("/data"), 1);
    config.disk = Arc::new(disk.clone());
    config.index_root = index_root.to_path_buf();
    config.packed_segment_bytes = 256 << 10;
    config.passing = TableSet::range(TABLE, TABLE);
    // Tests fold when they want to.
    config.limits.fold_entries = 1_000_000;
    config.limits.fold_age_max = Duration::from_secs(3_600);
    config
}

fn key(number: u32) -> Vec<u8> {
    format!("{number:04}").into_bytes()
}

fn bytes(number: u32, length: usize) -> Vec<u8> {
    vec![number as u8 | 1; length]
}

async fn put(store: &Store, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        let body = Some(NewBody::from_bytes(bytes(number, length)));
        let put = Put { key: key(number), value: b"v".to_vec(), body, fresh: false };
        store.submit(SHARD, put).await.expect("acknowledged");
    }
}

/// Folds, and waits until what died was given back or counted. A fold needs something to fold.
async fn settle(store: &Store) {
    store.submit(SHARD, Put::plain(b"tick", b"1")).await.expect("acknowledged");
    let begun = ring::now();
    loop {
        // What is copied forward after a fold dies in its old place with the next one.
        store.fold_all().await;
        if store.kept().dying_bytes() == 0 {
            return;
        }
        assert!(ring::now() - begun < PATIENCE, "what died is never given back");
        ring::sleep(Duration::from_millis(5)).await;
    }
}

fn allocated(disk: &SimDisk) -> u64 {
    let packed = Path::new("/data/shard-000/packed");
    let names = disk.list(packed).expect("lists");
    let open = |name| disk.open(&packed.join(name), OpenMode::default()).expect("opens");
    names.into_iter().map(|name| open(name).allocated_bytes().expect("stats")).sum()
}

async fn assert_lives(store: &Store, numbers: impl Iterator<Item = u32>, length: usize) {
    for number in numbers {
        let body = body_of(store, SHARD, &key(number)).await.expect("reads");
        assert!(body == Some(bytes(number, length)), "body {number}");
    }
}

#[test]
fn the_blocks_of_what_died_go_back_and_what_lives_stays() {
    let dir = TempDir::new("hollow");
    let disk = SimDisk::new(1);
    let config = config(&disk, &dir.0);
    run(config.clone(), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
            put(&store, 0..100, BODY).await;
            settle(&store).await;
            let before = allocated(&disk);
            assert!(store.kept().settled_bytes() < 8 * BLOCK, "{}", store.kept().settled_bytes());
            // Two runs, and one body alone.
            let gone: Vec<u32> = (10..40).chain(60..70).chain(80..81).collect();
            store.submit(SHARD, Delete(gone.iter().copied().map(key).collect())).await.expect("acknowledged");
            let dead = gone.len() as u64 * BODY as u64;
            let dying = store.kept().dying_bytes();
            assert!((dead..dead + gone.len() as u64 * HEAD).contains(&dying), "{dying}");
            settle(&store).await;
            let given_back = before - allocated(&disk);
            assert!(given_back + 3 * 2 * BLOCK >= dead, "{given_back} of {dead}");
            let kept = store.kept().settled_bytes();
            assert!(kept < 16 * BLOCK, "{kept}");
            let lives = |number: &u32| !gone.contains(number);
            assert_lives(&store, (0..100).filter(lives), BODY).await;
            // The neighbours die too: the blocks that they shared go as well.
            let more: Vec<u32> = (40..60).chain(70..80).collect();
            store.submit(SHARD, Delete(more.iter().copied().map(key).collect())).await.expect("acknowledged");
            settle(&store).await;
            let given_back = before - allocated(&disk);
            assert!(given_back + 4 * BLOCK >= (dead + more.len() as u64 * BODY as u64), "{given_back}");
            assert_lives(&store, (0..10).chain(81..100), BODY).await;
        }
    })
    .expect("opens");
    let config = StoreConfig { disk: Arc::new(disk.crash(1)), ..config };
    run(config, 1, false, true, |store| async move {
        assert_lives(&store, (0..10).chain(81..100), BODY).await;
        put(&store, 200..210, BODY).await;
        settle(&store).await;
        assert_lives(&store, (0..10).chain(81..100).chain(200..210), BODY).await;
    })
    .expect("opens");
}

#[test]
fn a_body_that_moved_to_another_record_is_not_punched() {
    let dir = TempDir::new("moved");
    let disk = SimDisk::new(2);
    run(config(&disk, &dir.0), 1, false, true, |store| async move {
        put(&store, 0..3, 20_000).await;
        settle(&store).await;
        let rename = call(move |tx: &mut Tx<'_>| {
            let record = tx.get(TABLE, &key(1))?.expect("is there");
            let bodies = record.bodies.into_iter().map(Body::Kept).collect();
            tx.delete(TABLE, &key(1));
            tx.put(TABLE, b"a name of another length", &record.value, bodies, false);
            Ok(Outcome::Commit(()))
        });
        store.submit(SHARD, rename).await.expect("acknowledged");
        assert_eq!(store.kept().dying_bytes(), 0, "nothing died");
        store.submit(SHARD, Delete(vec![key(0)])).await.expect("acknowledged");
        settle(&store).await;
        let moved = body_of(&store, SHARD, b"a name of another length").await.expect("reads");
        assert!(moved == Some(bytes(1, 20_000)), "it was punched");
        // When it dies under its new name its neighbours stay.
        let gone = Delete(vec![b"a name of another length".to_vec()]);
        store.submit(SHARD, gone).await.expect("acknowledged");
        settle(&store).await;
        assert_lives(&store, 2..3, 20_000).await;
    })
    .expect("opens");
}

#[test]
fn what_somebody_reads_is_punched_once_they_have_let_go() {
    let dir = TempDir::new("read");
    let disk = SimDisk::new(3);
    run(config(&disk, &dir.0), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
            put(&store, 0..20, 20_000).await;
            settle(&store).await;
            let before = allocated(&disk);
            let body = {
                let view = store.view(SHARD).expect("view");
                view.get(TABLE, &key(5)).expect("reads").expect("is there").bodies[0].clone()
            };
            let pin = store.pin(SHARD, &body);
            store.submit(SHARD, Delete((4..7).map(key).collect())).await.expect("acknowledged");
            settle(&store).await;
            let between = allocated(&disk);
            assert!(between < before, "what nobody reads stays for one who reads another");
            let mut stream = store.read(&pin, &body, 0..u64::MAX);
            let mut read = Vec::new();
            while let Some(piece) = stream.next().await {
                read.extend_from_slice(&piece.expect("readable"));
            }
            assert!(read == bytes(5, 20_000), "it was punched under its reader");
            assert!(store.kept().settled_bytes() >= 20_000 - 2 * BLOCK, "what is read is kept");
            drop((stream, pin));
            settle(&store).await;
            // The space is given back behind a fold, which nothing waits for that died before it.
            let begun = ring::now();
            while allocated(&disk) + 20_000 > between {
                assert!(ring::now() - begun < PATIENCE, "nobody reads it any more");
                ring::sleep(Duration::from_millis(5)).await;
            }
        }
    })
    .expect("opens");
}

#[test]
fn segments_in_which_too_little_can_be_punched_are_copied_forward() {
    let dir = TempDir::new("edges");
    let disk = SimDisk::new(4);
    run(config(&disk, &dir.0), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
            // Several in a block, of which one lives in each.
            put(&store, 0..1_000, 700).await;
            settle(&store).await;
            let gone = |number: &u32| number % 5 > 1;
            for from in (0..1_000).step_by(100) {
                let some = (from..from + 100).filter(gone).map(key).collect();
                store.submit(SHARD, Delete(some)).await.expect("acknowledged");
            }
            let begun = ring::now();
            while allocated(&disk) > 400 * 1_000 * 3 / 2 {
                assert!(ring::now() - begun < PATIENCE, "{} bytes stay allocated", allocated(&disk));
                settle(&store).await;
                ring::sleep(Duration::from_millis(5)).await;
            }
            assert_lives(&store, (0..1_000).filter(|number| !gone(number)), 700).await;
        }
    })
    .expect("opens");
}

#[test]
fn what_is_wanted_back_is_folded_early() {
    let dir = TempDir::new("wanted");
    let disk = SimDisk::new(5);
    run(config(&disk, &dir.0), 1, false, true, |store| async move {
        put(&store, 0..10, 20_000).await;
        settle(&store).await;
        store.submit(SHARD, Delete((0..10).map(key).collect())).await.expect("acknowledged");
        // Its overlay would be folded in an hour.
        let begun = ring::now();
        while store.kept().dying_bytes() > 0 {
            store.kept().want();
            assert!(ring::now() - begun < PATIENCE, "nothing was folded");
            ring::sleep(Duration::from_millis(5)).await;
        }
    })
    .expect("opens");
}
