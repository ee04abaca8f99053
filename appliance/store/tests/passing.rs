//! Tables whose records come and go: their small bodies lie apart, and what died is counted until the disk has it back.

mod harness;
mod rig;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Delete, PATIENCE, Put, TABLE, body_of, call, run};
use store::disk::sim::SimDisk;
use store::disk::{Disk, DiskFile, OpenMode};
use store::{Body, BodyOwner, BodyRef, NewBody, Outcome, ShardId, Store, StoreConfig, TableId, TableSet, Tx};

const SHARD: ShardId = ShardId(0);
const SEGMENT: u64 = 256 << 10;
const BODY: usize = 6_000;
/// More than what an entry takes beside its body.
const HEAD: u64 = 100;
/// A table that is not passing.
const OTHER: TableId = TableId(17);

fn config(disk: &SimDisk, index_root: &Path) -> StoreConfig {
    let mut config = small_config(Path::new("/data"), 1);
    config.disk = Arc::new(disk.clone());
    config.index_root = index_root.to_path_buf();
    config.packed_segment_bytes = SEGMENT as u32;
    config.passing_segment_bytes = SEGMENT as u32;
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

async fn body(store: &Store, table: TableId, key: Vec<u8>, bytes: Vec<u8>) -> NewBody {
    let owner = BodyOwner { shard: SHARD, table, key };
    let mut writer = store.body_writer(Some(bytes.len() as u64), owner);
    writer.write(&bytes).await.expect("written");
    writer.seal().await.expect("sealed")
}

async fn put(store: &Store, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        let body = Some(body(store, TABLE, key(number), bytes(number, length)).await);
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

/// Waits until it is so: what a fold leaves is given back behind it.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = ring::now();
    while !is_so() {
        assert!(ring::now() - begun < PATIENCE, "{what}");
        ring::sleep(Duration::from_millis(5)).await;
    }
}

fn body_at(store: &Store, table: TableId, key: &[u8]) -> BodyRef {
    let view = store.view(SHARD).expect("view");
    view.get(table, key).expect("reads").expect("is there").bodies[0].clone()
}

fn segment_of(body: &BodyRef) -> u64 {
    match body {
        BodyRef::Packed { segment, .. } => *segment,
        other => panic!("not packed: {other:?}"),
    }
}

/// Puts a body into a table that is not passing.
async fn put_other(store: &Store, name: &'static [u8], length: usize) {
    let body = body(store, OTHER, name.to_vec(), vec![7; length]).await;
    let put = call(move |tx: &mut Tx<'_>| {
        tx.put(OTHER, name, b"v", vec![Body::New(body.clone())], false);
        Ok(Outcome::Commit(()))
    });
    store.submit(SHARD, put).await.expect("acknowledged");
}

#[test]
fn what_died_counts_until_its_segment_is_gone() {
    let dir = TempDir::new("counted");
    let disk = SimDisk::new(1);
    let config = config(&disk, &dir.0);
    run(config.clone(), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
            put(&store, 0..100, BODY).await;
            settle(&store).await;
            assert_eq!((store.kept().dying_bytes(), store.kept().settled_bytes()), (0, 0));
            let before = allocated(&disk);
            // All of the first segment, and some of the second.
            let of_first =
                (0..100).filter(|number| segment_of(&body_at(&store, TABLE, &key(*number))) == 1).count();
            let gone = of_first as u32 + 10;
            store.submit(SHARD, Delete((0..gone).map(key).collect())).await.expect("acknowledged");
            let dead = u64::from(gone) * BODY as u64;
            let dying = store.kept().dying_bytes();
            assert!((dead..dead + u64::from(gone) * HEAD).contains(&dying), "{dying} of {dead}");
            settle(&store).await;
            let rest = 10 * BODY as u64..10 * (BODY as u64 + HEAD);
            until("the first segment goes", || rest.contains(&store.kept().settled_bytes())).await;
            assert!(before - allocated(&disk) > SEGMENT - BODY as u64 - HEAD, "its file is there still");
            assert_lives(&store, gone..100, BODY).await;
        }
    })
    .expect("opens");
    let config = StoreConfig { disk: Arc::new(disk.crash(1)), ..config };
    run(config, 1, false, true, |store| async move {
        // The crash may have brought the first one back, which goes again.
        settle(&store).await;
        let rest = 10 * BODY as u64..10 * (BODY as u64 + HEAD);
        until("a start counts what is dead", || rest.contains(&store.kept().settled_bytes())).await;
    })
    .expect("opens");
}

#[test]
fn what_moves_to_another_record_does_not_die() {
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
        assert_eq!(store.kept().dying_bytes(), 0);
        settle(&store).await;
        assert_eq!(store.kept().settled_bytes(), 0);
        let moved = body_of(&store, SHARD, b"a name of another length").await.expect("reads");
        assert!(moved == Some(bytes(1, 20_000)));
    })
    .expect("opens");
}

#[test]
fn extents_count_as_dying_until_they_are_punched_and_not_those_of_other_tables() {
    const LARGE: usize = 100_000;
    let dir = TempDir::new("extents");
    let disk = SimDisk::new(3);
    run(config(&disk, &dir.0), 1, false, true, |store| async move {
        put(&store, 0..4, LARGE).await;
        put_other(&store, b"other", LARGE).await;
        settle(&store).await;
        let body = body_at(&store, TABLE, &key(1));
        let pin = store.pin(SHARD, &body);
        let gone = call(|tx: &mut Tx<'_>| {
            tx.delete(OTHER, b"other");
            Ok(Outcome::Commit(()))
        });
        store.submit(SHARD, gone).await.expect("acknowledged");
        assert_eq!(store.kept().dying_bytes(), 0, "it is none of theirs");
        store.submit(SHARD, Delete((0..3).map(key).collect())).await.expect("acknowledged");
        let each = LARGE as u64..LARGE as u64 + 2 * 4_096;
        assert!((3 * each.start..3 * each.end).contains(&store.kept().dying_bytes()));
        // Extents of a segment that is open are punched when it is sealed.
        let begun = ring::now();
        let mut number = 10;
        while !each.contains(&store.kept().dying_bytes()) {
            assert!(ring::now() - begun < PATIENCE, "{} bytes stay", store.kept().dying_bytes());
            put(&store, number..number + 1, LARGE).await;
            number += 1;
            store.fold_all().await;
            ring::sleep(Duration::from_millis(5)).await;
        }
        drop(pin);
        settle(&store).await;
    })
    .expect("opens");
}

#[test]
fn small_bodies_of_passing_tables_lie_apart_and_both_open_segments_are_trimmed_after_a_kill() {
    let dir = TempDir::new("apart");
    let disk = SimDisk::new(4);
    let config = config(&disk, &dir.0);
    let killed = run(config.clone(), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
            put_other(&store, b"other", BODY).await;
            store.fold_all().await;
            put(&store, 0..1, BODY).await;
            store.fold_all().await;
            let (other, passing) = (body_at(&store, OTHER, b"other"), body_at(&store, TABLE, &key(0)));
            assert_ne!(segment_of(&other), segment_of(&passing));
            disk.crash(1)
        }
    })
    .expect("opens");
    assert!(allocated(&killed) >= SEGMENT, "room is reserved ahead");
    let config = StoreConfig { disk: Arc::new(killed.clone()), ..config };
    run(config, 1, false, true, |store| async move {
        until("what was reserved goes back", || allocated(&killed) < SEGMENT / 2).await;
        assert_lives(&store, 0..1, BODY).await;
    })
    .expect("opens");
}

#[test]
fn small_bodies_of_passing_tables_lie_in_the_order_in_which_they_came() {
    let dir = TempDir::new("order");
    let disk = SimDisk::new(7);
    run(config(&disk, &dir.0), 1, false, true, |store| async move {
        // The index, which is folded in the order of keys, has them the other way round.
        for number in (0..50).rev() {
            put(&store, number..number + 1, BODY).await;
        }
        settle(&store).await;
        let place_of = |number| match body_at(&store, TABLE, &key(number)) {
            BodyRef::Packed { segment, offset, .. } => (segment, offset),
            other => panic!("not packed: {other:?}"),
        };
        let places: Vec<(u64, u32)> = (0..50).rev().map(place_of).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_lives(&store, 0..50, BODY).await;
    })
    .expect("opens");
}

#[test]
fn segments_of_which_most_is_dead_are_copied_forward() {
    let dir = TempDir::new("forward");
    let disk = SimDisk::new(5);
    run(config(&disk, &dir.0), 1, false, true, |store| {
        let disk = disk.clone();
        async move {
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
    let disk = SimDisk::new(6);
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

/// A disk on which the removal of a packed segment takes as long as it is held.
struct HeldDisk {
    disk: SimDisk,
    hold: Arc<AtomicBool>,
    is_held: Arc<AtomicBool>,
}

impl Disk for HeldDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, mode)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        while path.starts_with("/data/shard-000/packed") && self.hold.load(Ordering::Acquire) {
            self.is_held.store(true, Ordering::Release);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.disk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

#[test]
fn log_segments_do_not_wait_for_what_gives_space_back_and_folds_meanwhile_are_not_forgotten() {
    let dir = TempDir::new("held");
    let disk = SimDisk::new(8);
    let (hold, is_held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let held = HeldDisk { disk: disk.clone(), hold: Arc::clone(&hold), is_held: Arc::clone(&is_held) };
    let config = StoreConfig { disk: Arc::new(held), ..config(&disk, &dir.0) };
    run(config, 1, false, true, |store| async move {
        put(&store, 0..100, BODY).await;
        store.fold_all().await;
        hold.store(true, Ordering::Release);
        store.submit(SHARD, Delete((0..100).map(key).collect())).await.expect("acknowledged");
        store.fold_all().await;
        until("a segment is removed", || is_held.load(Ordering::Acquire)).await;
        // Each of these folds leaves something to be given back, and together they need many segments of the log.
        for round in 0..12 {
            put(&store, 200 + round * 60..260 + round * 60, 16_000).await;
            store.fold_all().await;
            let gone = (200 + round * 60..260 + round * 60).map(key).collect();
            store.submit(SHARD, Delete(gone)).await.expect("acknowledged");
            store.fold_all().await;
        }
        let log = || disk.list(Path::new("/data/shard-000/log")).expect("lists").len();
        until("log segments are given back", || log() < 8).await;
        assert!(store.kept().settled_bytes() > 12 * 60 * 16_000, "and packed segments are not, meanwhile");
        hold.store(false, Ordering::Release);
        settle(&store).await;
        // The last one is open, or the newest.
        let rest = 60 * (16_000 + HEAD);
        until("all but the last segments go", || store.kept().settled_bytes() <= rest).await;
    })
    .expect("opens");
}
