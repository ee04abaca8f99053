//! What packed segments promise.

use super::*;
use crate::disk::sim::{Injection, OperationKind};

struct Entry {
    key: Vec<u8>,
    bytes: Vec<u8>,
    body: BodyRef,
}

fn fill(writer: &mut PackedWriter, random: &mut Random, count: usize) -> Vec<Entry> {
    (0..count)
        .map(|_| {
            let key_bytes = match random.below(8) {
                0 => 0,
                1 => 1900,
                _ => random.below(60) as usize,
            };
            let body_bytes = match random.below(8) {
                0 => 0,
                1 => 32 * 1024,
                _ => random.below(5000) as usize,
            };
            let (key, bytes) = (random.bytes(key_bytes), random.bytes(body_bytes));
            let body = writer.append(TABLE, &key, &bytes).expect("appends");
            Entry { key, bytes, body }
        })
        .collect()
}

fn scan(world: &World, segment: u64) -> Vec<(Vec<u8>, Vec<u8>, BodyRef)> {
    let mut scan = PackedScan::open(&world.files, SHARD, segment).expect("opens");
    let mut all = Vec::new();
    while let Some(entry) = scan.next() {
        let entry = entry.expect("whole");
        assert_eq!(entry.table, TABLE);
        all.push((entry.key.to_vec(), entry.bytes.to_vec(), entry.body));
    }
    all
}

fn packed_path(world: &World, segment: u64) -> PathBuf {
    world.files.path(FileKey { kind: SegmentKind::Packed, shard: SHARD, segment })
}

#[test]
fn packed_bodies_are_found_by_reference_and_by_scan() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let mut random = Random::new(3);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 2 << 20).expect("opens");
    let entries = fill(&mut writer, &mut random, 1000);
    writer.sync().expect("syncs");
    let segments = world.files.segments(SegmentKind::Packed, SHARD).expect("lists");
    assert!(segments.len() > 2, "it rolled: {segments:?}");
    assert_eq!(writer.open_segment(), segments.last().copied());
    let found: Vec<_> = segments.iter().flat_map(|segment| scan(&world, *segment)).collect();
    assert_eq!(found.len(), entries.len());
    run(async {
        let reader = world.reader();
        for (entry, found) in entries.iter().zip(found) {
            assert!(found == (entry.key.clone(), entry.bytes.clone(), entry.body.clone()));
            assert!(reader.read_small(SHARD, &entry.body).await.expect("reads") == entry.bytes);
            let half = entry.bytes.len() / 2;
            let back = read(&reader, &entry.body, half as u64..u64::MAX).await.expect("reads");
            assert!(back == entry.bytes[half..]);
        }
    });
}

#[test]
fn one_packed_body_costs_one_read() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 2 << 20).expect("opens");
    let body = writer.append(TABLE, b"key", &[7; 4096]).expect("appends");
    writer.sync().expect("syncs");
    run(async { world.reader().read_small(SHARD, &body).await.expect("reads") });
    assert_eq!(Watch::get(&world.watch.reads), 1);
}

#[test]
fn synced_bodies_survive_any_crash_and_a_new_segment_follows() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut random = Random::new(seed);
        let world = World::on(&disk, 4 << 20);
        let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 100_000).expect("opens");
        let entries = fill(&mut writer, &mut random, 30);
        writer.sync().expect("syncs");
        fill(&mut writer, &mut random, 20);
        let after = World::on(&disk.crash(seed), 4 << 20);
        run(async {
            let reader = after.reader();
            for entry in &entries {
                let back = reader.read_small(SHARD, &entry.body).await;
                assert!(back.is_ok_and(|back| back == entry.bytes), "seed {seed}");
            }
        });
        let before = after.files.segments(SegmentKind::Packed, SHARD).expect("lists");
        let mut writer = PackedWriter::open(Arc::clone(&after.files), SHARD, 100_000).expect("opens");
        writer.append(TABLE, b"key", b"body").expect("appends");
        assert!(writer.open_segment() > before.last().copied(), "seed {seed}");
    }
}

#[test]
fn every_flip_in_a_packed_segment_is_seen() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 1 << 20).expect("opens");
    let bodies: Vec<BodyRef> =
        (0..3_u8).map(|byte| writer.append(TABLE, b"key", &[byte; 40]).expect("appends")).collect();
    writer.sync().expect("syncs");
    let path = packed_path(&world, 1);
    let entry_bytes = 20 + 3 + 40;
    for offset in 0..entry_bytes {
        disk.flip_bit(&path, offset, (offset % 8) as u8);
        let mut walk = PackedScan::open(&world.files, SHARD, 1).expect("opens");
        let first = walk.next().expect("something");
        assert!(matches!(first, Err(Fault::Corrupt(_))), "flip at {offset}");
        let in_body = offset >= 23;
        let rest = std::iter::from_fn(|| walk.next().map(|entry| entry.is_ok())).collect::<Vec<_>>();
        assert_eq!(rest, if in_body { vec![true, true] } else { vec![] }, "flip at {offset}");
        run(async {
            let back = world.reader().read_small(SHARD, &bodies[0]).await;
            assert_eq!(matches!(back, Err(Fault::Corrupt(_))), in_body, "flip at {offset}");
            assert!(world.reader().read_small(SHARD, &bodies[1]).await.is_ok());
        });
        disk.flip_bit(&path, offset, (offset % 8) as u8);
    }
}

#[test]
fn what_a_killed_run_had_reserved_goes_back_and_every_body_stays() {
    let scratch = Scratch::new();
    for world in [Some(World::on(&SimDisk::new(1), 4 << 20)), scratch.world(4 << 20)].into_iter().flatten() {
        for (segment, last) in (1..).zip([vec![7; 100], vec![0; 32 * 1024], vec![0; 1]]) {
            let mut writer =
                PackedWriter::open(Arc::clone(&world.files), SHARD, packed::PACKED_SEGMENT_BYTES)
                    .expect("opens");
            let mut entries = fill(&mut writer, &mut Random::new(segment), 200);
            let body = writer.append(TABLE, b"last", &last).expect("appends");
            entries.push(Entry { key: b"last".to_vec(), bytes: last, body });
            writer.sync().expect("syncs");
            // Killed: nothing runs any more, the reservation is left as it is.
            std::mem::forget(writer);
            let key = FileKey { kind: SegmentKind::Packed, shard: SHARD, segment };
            let allocated =
                || world.files.open_blocking(key).expect("opens").allocated_bytes().expect("stats");
            let before = allocated();
            packed::trim_after_kill(&world.files, SHARD, segment).expect("trims");
            assert!(allocated() + (6 << 20) < before, "{} of {before} left", allocated());
            for (entry, (key, bytes, body)) in entries.iter().zip(scan(&world, segment)) {
                assert!((&entry.key, &entry.bytes, &entry.body) == (&key, &bytes, &body));
            }
            assert_eq!(scan(&world, segment).len(), entries.len());
            let length = world.files.open_blocking(key).expect("opens").length().expect("stats");
            packed::trim_after_kill(&world.files, SHARD, segment).expect("trims again");
            assert_eq!(world.files.open_blocking(key).expect("opens").length().expect("stats"), length);
        }
    }
}

#[test]
fn an_entry_counts_only_where_it_was_written() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 1 << 20).expect("opens");
    writer.append(TABLE, b"key", b"body").expect("appends");
    writer.sync().expect("syncs");
    let content = disk.content(&packed_path(&world, 1)).expect("is there");
    let key = FileKey { kind: SegmentKind::Packed, shard: SHARD, segment: 2 };
    world.files.open_to_write(key, true).expect("opens").write_blocking(&content, 0).expect("writes");
    let mut walk = PackedScan::open(&world.files, SHARD, 2).expect("opens");
    assert!(matches!(walk.next(), Some(Err(Fault::Corrupt(_)))));
    assert!(walk.next().is_none());
}

#[test]
fn a_failed_write_or_sync_gives_the_segment_up() {
    for kind in [OperationKind::Write, OperationKind::Sync, OperationKind::Space] {
        let disk = SimDisk::new(1);
        let world = World::on(&disk, 4 << 20);
        let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 1 << 20).expect("opens");
        writer.append(TABLE, b"key", b"body").expect("appends");
        disk.inject(Injection::eio(kind, 1));
        assert!(writer.sync().is_err(), "{kind:?}");
        let body = writer.append(TABLE, b"key", b"body").expect("appends");
        assert!(matches!(body, BodyRef::Packed { segment: 2, .. }));
        writer.sync().expect("syncs");
        run(async {
            assert_eq!(&world.reader().read_small(SHARD, &body).await.expect("reads")[..], b"body")
        });
    }
}

#[test]
fn a_full_disk_is_said_to_the_fold() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    disk.set_capacity(1000);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 1 << 20).expect("opens");
    writer.append(TABLE, b"key", &[1; 5000]).expect("waits in memory");
    assert!(matches!(writer.sync(), Err(Fault::Full)));
}

#[test]
fn a_packed_segment_is_removed_when_nobody_reads_it_and_it_is_not_the_newest() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 40_000).expect("opens");
    let first = writer.append(TABLE, b"key", &[1; 30_000]).expect("appends");
    writer.append(TABLE, b"key", &[1; 30_000]).expect("appends");
    writer.sync().expect("syncs");
    let mut reclaimer = world.reclaimer();
    let reader = world.reader();
    let stream = reader.read(SHARD, &first, 0..u64::MAX);
    assert!(!reclaimer.remove_packed(SHARD, 1).expect("looks"), "a reader is on it");
    drop(stream);
    assert!(reclaimer.remove_packed(SHARD, 1).expect("removes"));
    assert!(!reclaimer.remove_packed(SHARD, 2).expect("looks"), "the newest stays");
    assert_eq!(world.files.segments(SegmentKind::Packed, SHARD).expect("lists"), [2]);
    assert!(reclaimer.remove_packed(SHARD, 1).expect("is gone already"));
    let back = run(async { reader.read_small(SHARD, &first).await });
    assert!(matches!(back, Err(Fault::Io { errno: libc::ENOENT, .. })), "{back:?}");
}

#[test]
fn what_was_appended_for_nothing_gives_its_room_back_and_the_rest_stays() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let mut random = Random::new(9);
    let mut writer = PackedWriter::open(Arc::clone(&world.files), SHARD, 2 << 20).expect("opens");
    let kept = fill(&mut writer, &mut random, 200);
    writer.sync().expect("syncs");
    let mark = writer.mark();
    let segments = || world.files.segments(SegmentKind::Packed, SHARD).expect("lists");
    let lengths = || -> Vec<u64> {
        let key = |segment| FileKey { kind: SegmentKind::Packed, shard: SHARD, segment };
        let file = |segment| world.files.open_to_write(key(segment), false).expect("opens");
        segments().into_iter().map(|segment| file(segment).length().expect("says")).collect()
    };
    // As often as a fold is tried on a full disk.
    for _ in 0..3 {
        fill(&mut writer, &mut random, 1000);
        let (before, last) = (lengths(), segments().pop());
        assert!(before.len() > 3, "it rolled: {before:?}");
        writer.undo(&mark);
        let after = lengths();
        assert_eq!(segments().pop(), last, "numbers do not come back");
        assert!(after.len() == 2 && after[0] < 2 << 20 && after[1] == 0, "{before:?} became {after:?}");
    }
    let later = fill(&mut writer, &mut random, 5);
    writer.sync().expect("syncs");
    run(async {
        let reader = world.reader();
        for entry in kept.iter().chain(&later) {
            assert!(reader.read_small(SHARD, &entry.body).await.expect("reads") == entry.bytes);
        }
    });
}

#[test]
fn the_table_of_open_files_is_bounded() {
    let disk = SimDisk::new(1);
    let inner: Arc<dyn Disk> = Arc::new(disk);
    inner.create_dir(Path::new("/data")).expect("makes");
    let files = Arc::new(Files::new(inner, Path::new("/data"), DIRECTORY, 4));
    let mut writer = PackedWriter::open(Arc::clone(&files), SHARD, 40_000).expect("opens");
    for _ in 0..10 {
        writer.append(TABLE, b"key", &[1; 30_000]).expect("appends");
        assert!(files.open_count() <= 4);
    }
    let key = |segment| FileKey { kind: SegmentKind::Packed, shard: SHARD, segment };
    for segment in 1..=4 {
        files.open_blocking(key(segment)).expect("opens");
    }
    files.cached(key(1)).expect("is open");
    files.open_blocking(key(5)).expect("opens");
    assert!(files.cached(key(1)).is_some() && files.cached(key(2)).is_none(), "the oldest went");
}

#[test]
fn any_bytes_are_refused_or_encode_to_themselves() {
    let mut random = Random::new(0x5eed_0002);
    for _ in 0..20_000 {
        let count = random.below(200) as usize;
        let mut bytes = random.bytes(count);
        if bytes.len() > 12 && random.below(4) > 0 {
            bytes[..5].copy_from_slice(b"ZCPK\x01");
            bytes[6..12].copy_from_slice(&[random.below(40) as u8, 0, random.below(256) as u8, 0, 0, 0]);
        }
        packed::fuzz(&bytes);
    }
}
