//! What the reclaimer, the scan and the ballast promise.

use super::*;
use crate::disk::sim::{Injection, OperationKind};
use crate::types::{BLOCK_BYTES, Extent};

fn allocated(world: &World, segment: u64) -> u64 {
    let key = FileKey { kind: SegmentKind::Extents, shard: SHARD, segment };
    world.files.open_blocking(key).expect("opens").allocated_bytes().expect("stats")
}

/// Three bodies in segment 1, which is sealed, and segment 2 above it.
fn three_sealed(world: &World) -> Vec<Extent> {
    run(async {
        let bodies = world.bodies();
        let mut all = Vec::new();
        for byte in 0..3 {
            all.push(extents(&put(&bodies, &[byte; 60_000]).await)[0]);
        }
        all
    })
}

#[test]
fn dead_extents_are_punched_in_merged_runs_and_read_as_nothing() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let all = three_sealed(&world);
    let mut reclaimer = world.reclaimer();
    let outcome = reclaimer.punch(&[all[1], all[0]]);
    assert_eq!(outcome.done.len(), 2);
    assert!(outcome.kept.is_empty() && outcome.fault.is_none());
    assert_eq!(Watch::get(&world.watch.punches), 1, "neighbours go in one punch");
    assert_eq!(allocated(&world, 1), 4096 + 61_440);
    run(async {
        let reader = world.reader();
        let gone = read(&reader, &BodyRef::Extents(vec![all[0]]), 0..9).await;
        assert!(matches!(gone, Err(Fault::Corrupt(_))), "{gone:?}");
        assert_eq!(read(&reader, &BodyRef::Extents(vec![all[2]]), 0..9).await.expect("reads"), [2; 9]);
    });
}

#[test]
fn punching_twice_is_harmless() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let all = three_sealed(&world);
    let mut reclaimer = world.reclaimer();
    for _ in 0..2 {
        assert_eq!(reclaimer.punch(&all[..1]).done, &all[..1]);
    }
    let gone = Extent { id: crate::types::ExtentId { segment: 77, ..all[0].id }, ..all[0] };
    assert_eq!(reclaimer.punch(&[gone]).done, [gone], "a segment that was removed has nothing to punch");
}

#[test]
fn a_paused_reader_keeps_its_extent_and_nothing_else() {
    let world = World::on(&SimDisk::new(1), 8 << 20);
    let bytes = Random::new(4).bytes(3 * MIB);
    let (slow, other) = run(async {
        let bodies = world.bodies();
        (put(&bodies, &bytes).await, extents(&put(&bodies, &[1; 60_000]).await)[0])
    });
    let extent = extents(&slow)[0];
    run(async {
        let mut stream = world.reader().read(SHARD, &slow, 0..u64::MAX);
        let mut all = stream.next().await.expect("a piece").expect("reads").to_vec();
        let mut reclaimer = world.reclaimer();
        let outcome = reclaimer.punch(&[extent, other]);
        assert_eq!((outcome.done, outcome.kept), (vec![other], vec![extent]));
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece.expect("reads"));
        }
        assert!(all == bytes);
        drop(stream);
        assert_eq!(reclaimer.punch(&[extent]).done, [extent]);
    });
}

#[test]
fn pins_are_asked_after_grace() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let extent = three_sealed(&world)[0];
    let pinned_in_grace = Arc::new(std::sync::Mutex::new(None));
    let (pins, slot) = (world.pins.core(), Arc::clone(&pinned_in_grace));
    let mut reclaimer = Reclaimer::new(ReclaimerParts {
        files: Arc::clone(&world.files),
        pins: world.pins.clone(),
        open: world.open.clone(),
        orphans: world.orphans.clone(),
        // The last reader that found the record pins while the reclaimer waits for it.
        grace: Box::new(move || {
            slot.lock().expect("no panic").get_or_insert_with(|| pins.pin(PinKey::extent(extent.id)));
        }),
        pause: Box::new(|_| {}),
        punch_pause: Duration::ZERO,
        is_closing: world.is_closing(),
    });
    assert_eq!(reclaimer.punch(&[extent]).kept, [extent]);
}

#[test]
fn an_open_segment_is_not_punched() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let mut reclaimer = world.reclaimer();
    let extent = run(async {
        let bodies = world.bodies();
        let extent = extents(&put(&bodies, &[1; 60_000]).await)[0];
        drop(write(&bodies, None, &[2; 60_000], &mut Random::new(1)).await.expect("seals"));
        assert_eq!(reclaimer.punch(&[extent]).kept, [extent]);
        reclaimer.punch_orphans().expect("nothing to refuse");
        assert_eq!(Watch::get(&world.watch.punches), 0);
        extent
    });
    assert_eq!(reclaimer.punch(&[extent]).done, [extent]);
    reclaimer.punch_orphans().expect("punches");
    assert_eq!(Watch::get(&world.watch.punches), 2, "the orphan waited for the seal");
    assert_eq!(allocated(&world, 1), 0);
}

#[test]
fn bodies_that_nobody_adopts_are_reclaimed() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    run(async {
        let bodies = world.bodies();
        let mut random = Random::new(1);
        drop(write(&bodies, None, &random.bytes(3 * MIB), &mut random).await.expect("seals"));
        let mut half = bodies.writer(None, owner(b"half"));
        half.write(&vec![1; 3 * MIB + 5]).await.expect("writes");
        drop(half);
        // Announced, never written: has no room to give back.
        drop(bodies.writer(Some(5 << 30), owner(b"never")));
    });
    assert!(allocated(&world, 1) > 7 * MIB as u64);
    let mut reclaimer = world.reclaimer();
    reclaimer.punch_orphans().expect("punches");
    assert_eq!(allocated(&world, 1), 0);
    assert_eq!(world.orphans.count(), 0);
}

#[test]
fn an_abandoned_body_is_an_orphan_only_after_its_last_write() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    run(async {
        let bodies = world.bodies();
        put(&bodies, &[1; 60_000]).await;
        world.watch.hold_writes.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut half = bodies.writer(None, owner(b"half"));
        half.write(&vec![1; MIB + 5]).await.expect("writes");
        drop(half);
        for _ in 0..20 {
            ring::yield_now().await;
        }
        assert_eq!(world.orphans.count(), 0, "the write is still under way");
        world.watch.hold_writes.store(false, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..20 {
            ring::yield_now().await;
        }
        assert_eq!(world.orphans.count(), 1);
    });
}

#[test]
fn a_refused_punch_is_told_and_tried_again() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let all = three_sealed(&world);
    let mut reclaimer = world.reclaimer();
    disk.inject(Injection::eio(OperationKind::Space, 1));
    let outcome = reclaimer.punch(&[all[0], all[2]]);
    assert_eq!((outcome.done, outcome.kept), (vec![all[2]], vec![all[0]]));
    assert!(matches!(outcome.fault, Some(Fault::Io { action: "punch", .. })));
    world.orphans.push(Run::of(&all[0]));
    disk.inject(Injection::eio(OperationKind::Space, 1));
    assert!(reclaimer.punch_orphans().is_err());
    reclaimer.punch_orphans().expect("the second time it works");
    assert_eq!(allocated(&world, 1), 4096 + 61_440);
}

#[test]
fn an_empty_segment_goes_unless_it_is_the_newest() {
    let scratch = Scratch::new();
    let sim = World::on(&SimDisk::new(1), 4 << 20);
    for mut world in [Some(sim), scratch.world(4 << 20)].into_iter().flatten() {
        let mut reclaimer = world.reclaimer();
        let (first, second) = run(async {
            let bodies = world.bodies();
            let mut all = Vec::new();
            for _ in 0..5 {
                all.extend_from_slice(extents(&put(&bodies, &vec![1; MIB]).await));
            }
            let newest = all.pop().expect("five");
            assert_eq!((all[0].id.segment, newest.id.segment), (1, 2));
            (all, newest)
        });
        assert_eq!(reclaimer.punch(&first[..2]).done.len(), 2);
        assert_eq!(reclaimer.remove_empty().expect("removes"), 0, "one body still lives");
        assert_eq!(reclaimer.punch(&first[2..]).done, &first[2..]);
        assert_eq!(reclaimer.remove_empty().expect("removes"), 1);
        assert_eq!(world.segments(), [2]);
        assert_eq!(reclaimer.punch(&[second]).done, [second]);
        assert_eq!(reclaimer.remove_empty().expect("removes"), 0);
        assert_eq!(world.segments(), [2], "its number must not come back");
        // What the next run of the process sees.
        world.open = OpenSegments::new();
        let third = run(async { put(&world.bodies(), &[1; 60_000]).await });
        assert_eq!(extents(&third)[0].id.segment, 3);
        assert_eq!(reclaimer.remove_empty().expect("removes"), 1);
        assert_eq!(world.segments(), [3]);
    }
}

#[test]
fn the_newest_segment_that_stays_is_kept_while_one_above_may_yet_go() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let dead = three_sealed(&world);
    let mut reclaimer = world.reclaimer();
    // A spare that is being made, or is not used yet: its file goes if nobody comes for it.
    assert_eq!(world.open.take(SHARD), 2);
    let spare = FileKey { kind: SegmentKind::Extents, shard: SHARD, segment: 2 };
    world.files.open_to_write(spare, true).expect("made");
    assert_eq!(reclaimer.punch(&dead).done.len(), 3);
    assert_eq!(reclaimer.remove_empty().expect("looks"), 0);
    world.files.disk().remove(&world.extents_path(2)).expect("removed");
    world.open.close(SHARD, 2);
    assert_eq!(world.files.next_segment(SegmentKind::Extents, SHARD).expect("lists"), 2, "1 was given out");
}

#[test]
fn without_knowing_what_lives_only_the_unused_tails_go() {
    let disk = SimDisk::new(1);
    let crashed = run(async {
        let world = World::on(&disk, 8 << 20);
        let bodies = world.bodies();
        put(&bodies, &[1; 60_000]).await;
        put(&bodies, &[2; 60_000]).await;
        disk.crash(3)
    });
    let world = World::on(&crashed, 8 << 20);
    let _bodies = world.bodies();
    world.reclaimer().trim_unsealed(SHARD).expect("trims");
    assert_eq!(allocated(&world, 1), 2 * (4096 + 61_440));
    // A damaged header: what lies behind it may still be wanted.
    let path = world.extents_path(1);
    crashed.flip_bit(&path, 100, 1);
    let before = crashed.content(&path);
    world.reclaimer().trim_unsealed(SHARD).expect("trims");
    assert!(crashed.content(&path) == before);
}

#[test]
fn a_scan_finds_every_header_among_holes_and_leftovers() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 8 << 20);
    let all = run(async {
        let bodies = world.bodies();
        let mut all = Vec::new();
        for size in [60_000, 2 * MIB, 40_000] {
            all.push(extents(&put(&bodies, &vec![1; size]).await)[0]);
        }
        let mut never_sealed = bodies.writer(None, owner(b"never"));
        never_sealed.write(&vec![1; MIB + MIB + 5]).await.expect("writes");
        all.push(extents(&put(&bodies, &[1; 40_000]).await)[0]);
        all
    });
    assert_eq!(world.reclaimer().punch(&all[1..2]).done.len(), 1);
    disk.flip_bit(&world.extents_path(1), u64::from(all[2].id.offset) + 70, 1);
    let found: Vec<Found> =
        ExtentScan::open(&world.files, SHARD, 1).expect("opens").map(|found| found.expect("reads")).collect();
    let hole = 2 * MIB as u32 + 4096;
    let whole: Vec<Extent> = found
        .iter()
        .filter_map(|found| match found {
            Found::Extent(header) => Some(header.extent()),
            Found::Damaged { .. } | Found::Gap { .. } => None,
        })
        .collect();
    // The first extent of the unsealed body was complete, so its header was written.
    assert_eq!((whole[0], whole[whole.len() - 1], whole.len()), (all[0], all[3], 3));
    assert_eq!(found[1], Found::Gap { offset: all[1].id.offset, length: hole });
    assert!(matches!(found[2], Found::Damaged { offset, .. } if offset == all[2].id.offset));
}

#[test]
fn a_start_after_a_crash_gives_back_what_was_reserved_and_keeps_what_is_sealed() {
    let disk = SimDisk::new(1);
    let bytes = Random::new(8).bytes(5 * MIB);
    let (body, crashed) = run(async {
        let world = World::on(&disk, 8 << 20);
        let bodies = world.bodies();
        let body = put(&bodies, &bytes).await;
        assert_eq!(world.segments(), [1, 2]);
        (body, disk.crash(3))
    });
    let world = World::on(&crashed, 8 << 20);
    let length = |segment: u64| crashed.content(&world.extents_path(segment)).map(|bytes| bytes.len());
    assert_eq!(length(1), Some(8 << 20));
    let bodies = world.bodies();
    let mut reclaimer = world.reclaimer();
    assert_eq!(reclaimer.look_at_segments(SHARD).expect("looks"), Some(3));
    let live: Vec<Run> = extents(&body).iter().map(Run::of).collect();
    let given_back = reclaimer.sweep(SHARD, 1, &live).expect("sweeps");
    assert_eq!(given_back, (8 << 20) - (5 << 20) - 4096);
    assert_eq!(reclaimer.sweep(SHARD, 2, &[]).expect("sweeps"), 8 << 20);
    assert_eq!(length(1), Some(5 * MIB + 4096));
    run(async {
        assert!(read(&world.reader(), &body, 0..u64::MAX).await.expect("reads") == bytes);
        put(&bodies, &[1; 60_000]).await;
    });
    assert_eq!(reclaimer.remove_empty().expect("looks"), 0, "the newest that stays, as long as 3 is open");
    run(async { drop(bodies) });
    assert_eq!(reclaimer.remove_empty().expect("removes"), 1, "the spare of the last run");
    assert_eq!(world.segments(), [1, 3]);
}

#[test]
fn a_sweep_keeps_what_is_named_whatever_lies_around_it() {
    let disk = SimDisk::new(1);
    let mut random = Random::new(5);
    let (kept, crashed) = run(async {
        let world = World::on(&disk, 32 << 20);
        let bodies = world.bodies();
        let mut kept = Vec::new();
        for number in 0..12 {
            // Never ended, ended and not adopted, dead, and in between what a record names.
            let mut half = bodies.writer(None, owner(b"half"));
            half.write(&random.bytes(MIB + 7)).await.expect("writes");
            if number % 2 == 0 {
                drop(half.seal().await.expect("seals"));
            } else {
                std::mem::forget(half);
            }
            let bytes = random.bytes(40_000 + number * 9_000);
            let body = put(&bodies, &bytes).await;
            if number % 3 > 0 {
                kept.push((body, bytes));
            }
        }
        (kept, disk.crash(3))
    });
    let world = World::on(&crashed, 32 << 20);
    let mut reclaimer = world.reclaimer();
    let live: Vec<Run> = kept.iter().flat_map(|(body, _)| extents(body)).map(Run::of).collect();
    world.closing.store(true, Ordering::Relaxed);
    assert!(matches!(reclaimer.sweep(SHARD, 1, &live), Err(Fault::Closed)));
    world.closing.store(false, Ordering::Relaxed);
    for turn in 0..2 {
        let given_back = reclaimer.sweep(SHARD, 1, &live).expect("sweeps");
        assert_eq!(given_back > 0, turn == 0, "{given_back} bytes in turn {turn}");
    }
    let spans: u64 = live.iter().map(|run| u64::from(run.length)).sum();
    assert_eq!(allocated(&world, 1), spans);
    // It is durable: the mark that follows says that nobody need look again.
    let world = World::on(&crashed.crash(9), 32 << 20);
    assert_eq!(allocated(&world, 1), spans);
    run(async {
        for (body, bytes) in kept {
            assert!(read(&world.reader(), &body, 0..u64::MAX).await.expect("reads") == bytes);
        }
    });
    assert_eq!(world.reclaimer().sweep(SHARD, 77, &[]).expect("no such segment"), 0);
}

#[test]
fn the_scan_of_random_bytes_ends() {
    let mut random = Random::new(99);
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    world.files.make_segment_dir(SegmentKind::Extents, SHARD).expect("makes");
    for segment in 1..20 {
        let key = FileKey { kind: SegmentKind::Extents, shard: SHARD, segment };
        let file = world.files.open_to_write(key, true).expect("opens");
        let mut bytes = ring::Buffer::with_capacity(64 * BLOCK_BYTES);
        bytes.extend_from_slice(&random.bytes(64 * BLOCK_BYTES));
        for block in 0..64 {
            if random.below(2) == 0 {
                bytes[block * BLOCK_BYTES..][..8].copy_from_slice(b"ZCEXTENT");
            }
        }
        file.write_blocking(&bytes, 0).expect("writes");
        let mut covered = 0;
        for found in ExtentScan::open(&world.files, SHARD, segment).expect("opens") {
            covered += match found.expect("reads") {
                Found::Extent(header) => panic!("random bytes are no header: {header:?}"),
                Found::Damaged { .. } => BLOCK_BYTES as u32,
                Found::Gap { length, .. } => length,
            };
        }
        assert_eq!(covered as usize, 64 * BLOCK_BYTES);
    }
}

#[test]
fn ballast_takes_room_gives_it_back_and_takes_it_again() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    disk.create_dir(Path::new("/data/shard-000")).expect("makes");
    disk.set_capacity(10 << 20);
    let ballast = Ballast::new(&world.files, SHARD, 8 << 20);
    let free = || disk.free_bytes(Path::new("/data")).expect("says");
    assert!(!ballast.is_held().expect("looks"));
    for _ in 0..2 {
        ballast.rebuild().expect("there is room");
        ballast.rebuild().expect("again is no change");
        assert!(ballast.is_held().expect("looks"));
        assert_eq!(free(), 2 << 20);
        ballast.release().expect("releases");
        ballast.release().expect("again is no change");
        assert!(!ballast.is_held().expect("looks"));
        assert_eq!(free(), 10 << 20);
    }
    let too_large = Ballast::new(&world.files, SHARD, 11 << 20);
    assert!(matches!(too_large.rebuild(), Err(Fault::Full)));
    assert_eq!(free(), 10 << 20, "half a ballast helps nobody");
}

#[test]
fn ballast_is_real_room_on_the_machines_disk() {
    let scratch = Scratch::new();
    let Some(world) = scratch.world(4 << 20) else { return };
    std::fs::create_dir_all(world.files.shard_dir(SHARD)).expect("makes");
    let ballast = Ballast::new(&world.files, SHARD, 64 << 20);
    ballast.rebuild().expect("there is room");
    assert!(ballast.is_held().expect("looks"));
    ballast.release().expect("releases");
    assert!(!ballast.is_held().expect("looks"));
}

#[test]
fn a_process_that_stops_does_not_wait_for_punches_and_keeps_what_is_left() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let all = three_sealed(&world);
    let closing = Arc::clone(&world.closing);
    let mut reclaimer = Reclaimer::new(ReclaimerParts {
        files: Arc::clone(&world.files),
        pins: world.pins.clone(),
        open: world.open.clone(),
        orphans: world.orphans.clone(),
        grace: Box::new(|| {}),
        // It begins to stop behind the first punch.
        pause: Box::new(move |_| closing.store(true, Ordering::Relaxed)),
        punch_pause: Duration::ZERO,
        is_closing: world.is_closing(),
    });
    let outcome = reclaimer.punch(&[all[0], all[2]]);
    assert_eq!((outcome.done, outcome.kept), (vec![all[0]], vec![all[2]]));
    assert!(outcome.fault.is_none());
    assert_eq!(Watch::get(&world.watch.punches), 1);
    // What was told to be done is so after a power failure.
    let after = World::on(&disk.crash(1), 4 << 20);
    assert_eq!(allocated(&after, 1), allocated(&world, 1));
    world.closing.store(false, Ordering::Relaxed);
    let outcome = reclaimer.punch(&all);
    assert_eq!(outcome.done, all, "all of them again, as the next start has them");
    assert_eq!(reclaimer.remove_empty().expect("looks"), 0, "it is the only one");
}

#[test]
fn punches_are_paced() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let all = three_sealed(&world);
    let paused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&paused);
    let mut reclaimer = Reclaimer::new(ReclaimerParts {
        files: Arc::clone(&world.files),
        pins: world.pins.clone(),
        open: world.open.clone(),
        orphans: world.orphans.clone(),
        grace: Box::new(|| {}),
        pause: Box::new(move |time| {
            assert_eq!(time, reclaim::PUNCH_PAUSE);
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
        }),
        punch_pause: reclaim::PUNCH_PAUSE,
        is_closing: world.is_closing(),
    });
    reclaimer.punch(&all[..1]);
    assert!(paused.load(std::sync::atomic::Ordering::Relaxed));
}
