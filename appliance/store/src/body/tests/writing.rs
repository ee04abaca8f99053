//! What a writer promises: sizes, memory, durability, failures, room given back.

use std::sync::atomic::Ordering;

use super::*;
use crate::disk::sim::{Injection, OperationKind};
use crate::types::EXTENT_DATA_BYTES_MAX;

fn assert_send<T: Send>() {}

#[test]
fn a_sealed_body_may_travel_to_another_core() {
    assert_send::<SealedBody>();
    assert_send::<Adopted>();
}

#[test]
fn bodies_of_every_size_round_trip_with_right_wrong_and_no_hints() {
    let seed = 11;
    let mut random = Random::new(seed);
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let sizes = [
        0,
        1,
        4096,
        32 * 1024,
        32 * 1024 + 1,
        64 * 1024,
        64 * 1024 + 1,
        100 * 1024,
        MIB - 1,
        MIB,
        MIB + 1,
        2 * MIB + 4097,
        5 * MIB + 123,
    ];
    run(async {
        let (bodies, reader) = (world.bodies(), world.reader());
        for size in sizes {
            let bytes = random.bytes(size);
            let exact = size as u64;
            for hint in [None, Some(exact), Some(exact + 300_000), Some(exact / 2), Some(u64::MAX)] {
                let sealed = write(&bodies, hint, &bytes, &mut random).await.expect("seals");
                let context = format!("seed {seed}, {size} bytes, hint {hint:?}");
                assert_eq!(sealed.length(), exact, "{context}");
                let body = adopt(sealed);
                assert_eq!(body.length(), exact, "{context}");
                let small = matches!(body, BodyRef::Inline(_));
                assert_eq!(small, size <= 32 * 1024, "{context}");
                let back = read(&reader, &body, 0..u64::MAX).await.expect("reads");
                assert!(back == bytes, "{context}: other bytes");
            }
        }
    });
    assert!(world.segments().len() > 5, "the test rolled segments");
}

#[test]
fn cores_that_share_a_directory_write_to_segments_of_their_own() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        // One begins when the other has made files.
        let first = world.bodies();
        let mut written = vec![(vec![1; 3 * MIB], put(&first, &[1; 3 * MIB]).await)];
        let second = world.bodies();
        for byte in 2..8 {
            for bodies in [&first, &second] {
                written.push((vec![byte; 3 * MIB], put(bodies, &vec![byte; 3 * MIB]).await));
            }
        }
        let reader = world.reader();
        for (bytes, body) in &written {
            assert!(
                read(&reader, body, 0..u64::MAX).await.expect("reads") == *bytes,
                "other bytes: {body:?}"
            );
        }
        let mut runs: Vec<_> = written
            .iter()
            .flat_map(|(_, body)| extents(body))
            .map(|extent| (extent.id.segment, extent.id.offset))
            .collect();
        runs.sort_unstable();
        let count = runs.len();
        runs.dedup();
        assert_eq!(runs.len(), count, "no place was given out twice");
    });
}

#[test]
fn small_bodies_touch_no_file_and_the_first_large_one_makes_the_first() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    run(async {
        let bodies = world.bodies();
        put(&bodies, &[1; 32 * 1024]).await;
        assert!(disk.list(Path::new("/data")).expect("lists").is_empty());
        put(&bodies, &[1; 32 * 1024 + 1]).await;
        assert_eq!(world.segments(), [1]);
    });
}

#[test]
fn a_body_that_fits_one_buffer_is_one_write_and_one_sync() {
    for (size, hint) in [(100 * 1024, true), (MIB, true), (MIB, false), (40_000, false)] {
        let world = World::on(&SimDisk::new(1), 8 << 20);
        run(async {
            let bodies = world.bodies();
            let bytes = vec![5; size];
            let hint = hint.then_some(size as u64);
            adopt(write(&bodies, hint, &bytes, &mut Random::new(1)).await.expect("seals"));
        });
        assert_eq!(Watch::get(&world.watch.writes), 1, "{size} bytes");
        assert_eq!(Watch::get(&world.watch.syncs), 1, "{size} bytes");
        assert_eq!(Watch::get(&world.watch.write_bytes_max), (4096 + size).next_multiple_of(4096) as u64);
    }
}

#[test]
fn a_body_of_unknown_length_grows_and_gives_the_rest_back() {
    let scratch = Scratch::new();
    let Some(world) = scratch.world(64 << 20) else { return };
    run(async {
        let (bodies, reader) = (world.bodies(), world.reader());
        let bytes = Random::new(3).bytes(33 * MIB);
        let body = adopt(write(&bodies, None, &bytes, &mut Random::new(4)).await.expect("seals"));
        let sizes: Vec<usize> = extents(&body).iter().map(|extent| extent.data_bytes as usize).collect();
        assert_eq!(sizes, [MIB, 4 * MIB, 16 * MIB, 12 * MIB]);
        assert!(read(&reader, &body, 0..u64::MAX).await.expect("reads") == bytes);
        let next = put(&bodies, &[1; 40_000]).await;
        let end = extents(&body)[3].id.offset + 4096 + 12 * MIB as u32;
        assert_eq!(extents(&next)[0].id.offset, end, "the unused 20 MiB are free again");
        assert_eq!(world.orphans.count(), 0);
    });
}

#[test]
fn a_tail_with_somebody_behind_it_goes_to_the_reclaimer() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    run(async {
        let bodies = world.bodies();
        let mut growing = bodies.writer(None, owner(b"growing"));
        growing.write(&vec![1; 2 * MIB + 1]).await.expect("writes");
        put(&bodies, &[2; 40_000]).await;
        let body = adopt(growing.seal().await.expect("seals"));
        let last = extents(&body)[1];
        assert_eq!(last.data_bytes as usize, MIB + 1);
        let used = 4096 + MIB as u32 + 4096;
        let tail =
            Run { shard: SHARD, segment: 1, offset: last.id.offset + used, length: 4096 + (4 << 20) - used };
        assert_eq!(world.orphans.take(), [tail]);
    });
}

#[test]
fn a_long_body_has_full_extents_and_splits_where_a_segment_ends() {
    let scratch = Scratch::new();
    let Some(world) = scratch.world(48 << 20) else { return };
    run(async {
        let bodies = world.bodies();
        let bytes = Random::new(3).bytes(70 * MIB);
        let body = put(&bodies, &bytes).await;
        let sizes: Vec<u32> = extents(&body).iter().map(|extent| extent.data_bytes).collect();
        assert_eq!(sizes, [EXTENT_DATA_BYTES_MAX, 15 << 20, 23 << 20]);
        assert!(read(&world.reader(), &body, 0..u64::MAX).await.expect("reads") == bytes);
    });
}

#[test]
fn memory_and_the_bytes_in_flight_are_bounded() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    world.watch.slow_turns.store(5, Ordering::Relaxed);
    run(async {
        let bodies = world.bodies();
        let one = vec![9; 4 * MIB];
        put(&bodies, &one).await;
        let largest = 4096 + MIB as u64;
        assert!(
            Watch::get(&world.watch.write_bytes_in_flight_max) <= largest,
            "one write of a body at a time"
        );
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (bodies, one) = (bodies.clone(), one.clone());
                ring::spawn(async move { put(&bodies, &one).await.length() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, 4 * MIB as u64);
        }
        assert!(Watch::get(&world.watch.write_bytes_max) <= largest);
        let most = Watch::get(&world.watch.write_bytes_in_flight_max);
        assert!(most > 2 * largest, "bodies are written side by side");
        assert!(most <= budget::LIMIT_BYTES_START, "{most} bytes in flight");
        assert_eq!(world.budget.free_bytes(), budget::LIMIT_BYTES_START);
    });
}

#[test]
fn a_slow_client_keeps_no_share_of_the_budget() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    run(async {
        let bodies = world.bodies();
        let mut writers: Vec<BodyWriter> = Vec::new();
        for _ in 0..5 {
            let mut writer = bodies.writer(None, owner(b"slow"));
            writer.write(&vec![1; MIB + 1]).await.expect("writes");
            writers.push(writer);
        }
        for _ in 0..100 {
            ring::yield_now().await;
        }
        assert_eq!(world.budget.free_bytes(), budget::LIMIT_BYTES_START);
        put(&bodies, &vec![2; 2 * MIB]).await;
    });
}

#[test]
fn concurrent_seals_share_syncs() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    world.watch.slow_turns.store(50, Ordering::Relaxed);
    run(async {
        let bodies = world.bodies();
        put(&bodies, &[1; 40_000]).await;
        let before = Watch::get(&world.watch.syncs);
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let bodies = bodies.clone();
                ring::spawn(async move { put(&bodies, &[1; 40_000]).await.length() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, 40_000);
        }
        let syncs = Watch::get(&world.watch.syncs) - before;
        assert!((1..=3).contains(&syncs), "{syncs} syncs for 16 bodies");
    });
}

#[test]
fn a_seal_waits_for_a_sync_that_began_after_its_write() {
    // Whatever a crash leaves: each body that was sealed before it is whole, while others were being written.
    for seed in 0..12 {
        let disk = SimDisk::new(seed);
        let world = World::on(&disk, 2 << 20);
        world.watch.slow_turns.store(3, Ordering::Relaxed);
        let mut random = Random::new(seed);
        let sealed: Vec<(Vec<u8>, BodyRef)> = run(async {
            let bodies = world.bodies();
            let tasks: Vec<_> = (0..6)
                .map(|_| {
                    let bodies = bodies.clone();
                    let size = 33_000 + random.below(1_500_000) as usize;
                    let bytes = random.bytes(size);
                    let mut random = Random::new(random.next());
                    let known = random.below(2) == 0;
                    ring::spawn(async move {
                        let hint = known.then_some(bytes.len() as u64);
                        let sealed = write(&bodies, hint, &bytes, &mut random).await.expect("seals");
                        (bytes, adopt(sealed))
                    })
                })
                .collect();
            let mut sealed = Vec::new();
            for task in tasks.into_iter().take(1 + random.below(5) as usize) {
                sealed.push(task.await);
            }
            sealed
        });
        let after = World::on(&disk.crash(seed), 2 << 20);
        run(async {
            let reader = after.reader();
            for (bytes, body) in &sealed {
                let back = read(&reader, body, 0..u64::MAX).await;
                assert!(back.is_ok_and(|back| back == *bytes), "seed {seed}");
            }
        });
    }
}

#[test]
fn a_seal_that_comes_while_a_sync_runs_waits_for_the_next_one() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let (body, crashed) = run(async {
        let bodies = world.bodies();
        put(&bodies, &[1; 40_000]).await;
        world.watch.slow_turns.store(500, Ordering::Relaxed);
        let first = bodies.clone();
        let first = ring::spawn(async move { put(&first, &[2; 40_000]).await.length() });
        while Watch::get(&world.watch.syncs) < 2 {
            ring::yield_now().await;
        }
        // The first body's sync has begun. This one writes at once, long before that sync returns.
        world.watch.slow_turns.store(0, Ordering::Relaxed);
        let body = put(&bodies, &[3; 40_000]).await;
        let crashed = disk.crash(4);
        assert_eq!(first.await, 40_000);
        (body, crashed)
    });
    assert_eq!(Watch::get(&world.watch.syncs), 3);
    let after = World::on(&crashed, 4 << 20);
    let back = run(async { read(&after.reader(), &body, 0..u64::MAX).await });
    assert!(back.is_ok_and(|back| back == [3; 40_000]));
}

#[test]
fn a_failed_write_fails_the_body_and_its_segment_but_not_the_next_body() {
    for short in [false, true] {
        let disk = SimDisk::new(1);
        let world = World::on(&disk, 8 << 20);
        run(async {
            let (bodies, reader) = (world.bodies(), world.reader());
            let before = put(&bodies, &[1; 50_000]).await;
            let mut other = bodies.writer(None, owner(b"other"));
            other.write(&vec![3; MIB + 1]).await.expect("writes");
            let kind = OperationKind::Write;
            disk.inject(Injection { short, ..Injection::eio(kind, 2) });
            let failed = write(&bodies, None, &[2; 50_000], &mut Random::new(1)).await;
            assert!(matches!(failed, Err(Fault::Io { action: "write", errno: libc::EIO, .. })), "{failed:?}");
            disk.clear_injections();
            // It has unsynced bytes in the same segment, about which nothing is known now.
            assert!(other.seal().await.is_err());
            let after = put(&bodies, &[4; 50_000]).await;
            assert_eq!((extents(&before)[0].id.segment, extents(&after)[0].id.segment), (1, 2));
            assert_eq!(read(&reader, &before, 0..u64::MAX).await.expect("reads"), [1; 50_000]);
            assert_eq!(read(&reader, &after, 0..u64::MAX).await.expect("reads"), [4; 50_000]);
        });
    }
}

#[test]
fn a_failed_sync_is_not_tried_again_as_if_it_could_still_succeed() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 8 << 20);
    run(async {
        let bodies = world.bodies();
        put(&bodies, &[1; 50_000]).await;
        disk.inject(Injection::eio(OperationKind::Sync, 1));
        let failed = write(&bodies, None, &[2; 50_000], &mut Random::new(1)).await;
        assert!(matches!(failed, Err(Fault::Io { action: "fdatasync", .. })), "{failed:?}");
        let syncs = Watch::get(&world.watch.syncs);
        assert_eq!(syncs, 2);
        let after = put(&bodies, &[4; 50_000]).await;
        assert_eq!(extents(&after)[0].id.segment, 2);
    });
}

#[test]
fn an_error_lasts_and_a_write_given_up_half_way_cannot_go_on() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 8 << 20);
    run(async {
        let bodies = world.bodies();
        let mut writer = bodies.writer(None, owner(b"key"));
        disk.inject(Injection { sticky: true, ..Injection::eio(OperationKind::Space, 1) });
        assert!(writer.write(&vec![1; 2 * MIB]).await.is_err());
        disk.clear_injections();
        assert!(matches!(writer.write(b"x").await, Err(Fault::Io { .. })));
        assert!(matches!(writer.seal().await, Err(Fault::Io { .. })));

        world.watch.hold_writes.store(true, Ordering::Relaxed);
        let mut writer = bodies.writer(None, owner(b"key"));
        let bytes = vec![1; 4 * MIB];
        let mut call = Box::pin(writer.write(&bytes));
        for _ in 0..50 {
            std::future::poll_fn(|context| {
                assert!(call.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            ring::yield_now().await;
        }
        drop(call);
        world.watch.hold_writes.store(false, Ordering::Relaxed);
        assert!(matches!(writer.write(b"x").await, Err(Fault::Unknown(_))));
        assert!(writer.seal().await.is_err());
    });
}

#[test]
fn a_full_disk_is_said_and_passes() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    run(async {
        let bodies = world.bodies();
        disk.set_capacity(3 << 19);
        let full = write(&bodies, None, &[1; 50_000], &mut Random::new(1)).await;
        assert!(matches!(full, Err(Fault::Full)), "{full:?}");
        assert!(world.segments().is_empty(), "a segment that cannot be had whole is removed");
        disk.set_capacity(u64::MAX);
        put(&bodies, &vec![1; MIB]).await;
    });
    assert_eq!(world.orphans.count(), 0);
}

#[test]
fn a_small_disk_gets_small_segments_and_is_filled_to_nearly_its_end() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 64 << 20);
    disk.set_capacity(64 << 20);
    run(async {
        let bodies = world.bodies();
        put(&bodies, &vec![1; MIB]).await;
        let first = disk.content(&world.extents_path(1)).expect("is there").len();
        assert_eq!(first, 8 * MIB, "an eighth of what was free");
        let mut count = 1;
        let full = loop {
            match write(&bodies, None, &vec![1; 50_000], &mut Random::new(1)).await {
                Ok(body) => {
                    adopt(body);
                    count += 1;
                }
                Err(fault) => break fault,
            }
        };
        assert!(matches!(full, Fault::Full), "{full:?}");
        // 50,000 bytes take thirteen blocks with their header.
        let used = MIB + (count - 1) * 13 * 4096;
        assert!(used > 58 * MIB, "{count} bodies");
    });
    // The refused body may have had its first part in the last segment.
    assert!(world.orphans.count() <= 1);
}

#[test]
fn a_segment_that_is_refused_is_asked_for_at_half_its_size() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 8 << 20);
    // As by a quota: the disk says that it has room.
    let refusal = Injection { errno: libc::ENOSPC, ..Injection::eio(OperationKind::Space, 1) };
    disk.inject(refusal);
    run(async {
        let bodies = world.bodies();
        put(&bodies, &vec![1; MIB]).await;
        assert_eq!(disk.content(&world.extents_path(1)).expect("is there").len(), 4 * MIB);
    });
}

#[test]
fn segment_numbers_go_on_after_a_restart_and_a_crash() {
    let disk = SimDisk::new(1);
    let first = run(async { put(&World::on(&disk, 4 << 20).bodies(), &[1; 50_000]).await });
    let restarted = disk.restart();
    let second = run(async { put(&World::on(&restarted, 4 << 20).bodies(), &[1; 50_000]).await });
    let crashed = restarted.crash(5);
    let third = run(async { put(&World::on(&crashed, 4 << 20).bodies(), &[1; 50_000]).await });
    let segments = [&first, &second, &third].map(|body| extents(body)[0].id.segment);
    assert_eq!(segments, [1, 2, 3]);
}

#[test]
fn a_sealed_segment_keeps_no_room_that_nobody_has() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 8 << 20);
    run(async {
        let bodies = world.bodies();
        for _ in 0..5 {
            put(&bodies, &vec![1; MIB]).await;
        }
        assert_eq!(world.segments(), [1, 2], "a spare was prepared");
        assert!(world.open.is_open(SHARD, 1) && world.open.is_open(SHARD, 2));
    });
    assert_eq!(world.segments(), [1], "the unused spare is gone");
    let used = 5 * (MIB + 4096);
    assert_eq!(disk.content(&world.extents_path(1)).expect("is there").len(), used);
    assert!(!world.open.is_open(SHARD, 1) && !world.open.is_open(SHARD, 2));
    assert_eq!(world.open.untrimmed_count(), 0);
}

#[test]
fn headers_name_owner_nonce_and_ordinal() {
    let world = World::on(&SimDisk::new(1), 8 << 20);
    run(async {
        let bodies = world.bodies();
        let mut writer = bodies.writer(None, owner(b"a name"));
        writer.write(&vec![1; 3 * MIB]).await.expect("writes");
        let body = adopt(writer.seal().await.expect("seals"));
        put(&bodies, &[1; 50_000]).await;
        let headers: Vec<_> = ExtentScan::open(&world.files, SHARD, 1)
            .expect("opens")
            .filter_map(|found| match found.expect("reads") {
                Found::Extent(header) => Some(*header),
                Found::Damaged { .. } | Found::Gap { .. } => None,
            })
            .collect();
        assert_eq!(headers.iter().map(|header| header.ordinal).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(headers.iter().map(|header| header.nonce).collect::<Vec<_>>(), [7, 7, 8]);
        assert_eq!(headers[1].extent(), extents(&body)[1]);
        assert_eq!((headers[0].owner, headers[0].table), (ShardId(3), TABLE));
        assert_eq!((&headers[0].key[..], &headers[2].key[..]), (&b"a name"[..], &b"key"[..]));
    });
}

#[test]
fn segments_made_on_another_thread_reach_their_writers() {
    let mut world = World::on(&SimDisk::new(1), 4 << 20);
    world.companion = Arc::new(Threads);
    run(async {
        let (bodies, reader) = (world.bodies(), world.reader());
        let tasks: Vec<_> = (0..12_u8)
            .map(|index| {
                let (bodies, reader) = (bodies.clone(), reader.clone());
                ring::spawn(async move {
                    let bytes = vec![index; MIB + 1000];
                    let body = put(&bodies, &bytes).await;
                    read(&reader, &body, 0..u64::MAX).await.expect("reads") == bytes
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await);
        }
    });
}
