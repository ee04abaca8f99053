//! What a reader promises: right ranges, verified bytes, bounded read-ahead.

use std::sync::atomic::Ordering;

use super::*;
use crate::types::{BLOCK_BYTES, CHUNK_BYTES};

/// A body of three extents, the first and the last of them with a partial chunk.
async fn three_extents(world: &World) -> (Vec<u8>, BodyRef) {
    let bodies = world.bodies();
    let mut random = Random::new(21);
    let mut all = Vec::new();
    let mut parts = Vec::new();
    for size in [150_000, MIB + 70_000, 65_537] {
        let bytes = random.bytes(size);
        parts.extend_from_slice(extents(&put(&bodies, &bytes).await));
        all.extend_from_slice(&bytes);
    }
    (all, BodyRef::Extents(parts))
}

#[test]
fn ranges_around_every_border_are_exact() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        let (bytes, body) = three_extents(&world).await;
        let reader = world.reader();
        let length = bytes.len() as u64;
        let mut borders = vec![0, length, 150_000, 150_000 + MIB as u64 + 70_000];
        for chunk in 1..4 {
            borders.push(chunk * CHUNK_BYTES as u64);
            borders.push(150_000 + chunk * CHUNK_BYTES as u64);
        }
        borders.push(150_000 + 256 * 1024);
        let mut points: Vec<u64> = borders
            .iter()
            .flat_map(|at| [at.saturating_sub(1), *at, at + 1])
            .filter(|at| *at <= length)
            .collect();
        points.sort_unstable();
        points.dedup();
        for from in &points {
            for to in &points {
                let back = read(&reader, &body, *from..*to).await.expect("reads");
                let expected = if from < to { &bytes[*from as usize..*to as usize] } else { &[] };
                assert!(back == expected, "{from}..{to}");
            }
        }
        let beyond = read(&reader, &body, length - 5..u64::MAX).await.expect("reads");
        assert_eq!(beyond, bytes[bytes.len() - 5..]);
    });
}

#[test]
fn random_ranges_match_a_fresh_reader_and_a_warm_one() {
    let seed = 77;
    let mut random = Random::new(seed);
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        let (bytes, body) = three_extents(&world).await;
        let warm = world.reader();
        for _ in 0..150 {
            let from = random.below(bytes.len() as u64);
            let to = from + 1 + random.below(bytes.len() as u64 - from);
            let fresh = world.reader();
            for reader in [&warm, &fresh] {
                let back = read(reader, &body, from..to).await.expect("reads");
                assert!(back == bytes[from as usize..to as usize], "seed {seed}: {from}..{to}");
            }
        }
    });
}

#[test]
fn a_flip_in_any_region_is_corrupt_and_never_wrong_bytes() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    let (bytes, body) = run(async {
        let bytes = Random::new(5).bytes(200_000);
        (bytes.clone(), put(&world.bodies(), &bytes).await)
    });
    let path = world.extents_path(1);
    let data = BLOCK_BYTES as u64;
    let regions =
        [0, 8, 9, 11, 13, 15, 20, 35, 41, 45, 50, 57, 61, 64, 75, 2112, 2114, 2200, 4050, 4092, 4095];
    let in_data = [0, 1, 65_535, 65_536, 131_071, 199_999].map(|at| data + at);
    for offset in regions.into_iter().chain(in_data) {
        disk.flip_bit(&path, offset, 3);
        let back = run(async { read(&world.reader(), &body, 0..u64::MAX).await });
        let Err(Fault::Corrupt(what)) = back else { panic!("flip at {offset}: not seen") };
        assert!(what.contains("extents/0000000001"), "{what}");
        disk.flip_bit(&path, offset, 3);
    }
    // Padding behind the data belongs to nobody.
    disk.flip_bit(&path, data + 200_001, 0);
    assert!(run(async { read(&world.reader(), &body, 0..u64::MAX).await }).is_ok_and(|back| back == bytes));
}

#[test]
fn what_comes_before_a_damaged_chunk_is_right_and_other_ranges_are_unharmed() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, 4 << 20);
    run(async {
        let bytes = Random::new(5).bytes(2 * MIB);
        let body = put(&world.bodies(), &bytes).await;
        let bad = MIB + 3;
        disk.flip_bit(&world.extents_path(1), (BLOCK_BYTES + bad) as u64, 0);
        let reader = world.reader();
        let mut stream = reader.read(SHARD, &body, 0..u64::MAX);
        let mut good = Vec::new();
        let fault = loop {
            match stream.next().await.expect("the damage comes before the end") {
                Ok(piece) => good.extend_from_slice(&piece),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(&fault, Fault::Corrupt(what) if what.contains("offset 1052672")), "{fault}");
        assert!(stream.next().await.is_none(), "an error ends the stream");
        assert!(good.len() <= MIB && bytes.starts_with(&good));
        let chunk = CHUNK_BYTES as u64;
        for range in [0..MIB as u64, MIB as u64 + chunk..2 * MIB as u64] {
            let expected = &bytes[range.start as usize..range.end as usize];
            assert!(read(&reader, &body, range).await.expect("reads") == expected);
        }
    });
}

#[test]
fn a_record_that_lies_about_an_extent_gets_no_bytes() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        let body = put(&world.bodies(), &[1; 100_000]).await;
        let reader = world.reader();
        let real = extents(&body)[0];
        let mut shorter = real;
        shorter.data_bytes -= 1;
        let mut longer = real;
        longer.data_bytes += 70_000;
        let mut elsewhere = real;
        elsewhere.id.offset += 4096;
        let mut beyond = real;
        beyond.id.offset = 1 << 30;
        for lie in [shorter, longer, elsewhere, beyond] {
            for warm in [false, true] {
                if warm {
                    read(&reader, &body, 0..u64::MAX).await.expect("reads");
                }
                let back = read(&reader, &BodyRef::Extents(vec![lie]), 0..u64::MAX).await;
                assert!(matches!(back, Err(Fault::Corrupt(_))), "{lie:?}: {back:?}");
            }
        }
        let mut missing = real;
        missing.id.segment = 99;
        let back = read(&reader, &BodyRef::Extents(vec![missing]), 0..u64::MAX).await;
        assert!(matches!(back, Err(Fault::Io { errno: libc::ENOENT, .. })), "{back:?}");
    });
}

#[test]
fn a_small_extent_is_one_read_and_its_header_is_remembered() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        let body = put(&world.bodies(), &[1; 100_000]).await;
        let reader = world.reader();
        let count = || Watch::get(&world.watch.reads);
        read(&reader, &body, 0..u64::MAX).await.expect("reads");
        assert_eq!(count(), 1, "header and data come together");
        read(&reader, &body, 0..u64::MAX).await.expect("reads");
        assert_eq!(count(), 2);
        read(&reader, &body, 99_000..u64::MAX).await.expect("reads");
        assert_eq!(count(), 3, "the header is known");
        read(&world.reader(), &body, 99_000..u64::MAX).await.expect("reads");
        assert_eq!(count(), 5, "a range far behind an unknown header needs two reads");
    });
}

#[test]
fn read_ahead_is_bounded_however_slow_the_consumer_is() {
    let world = World::on(&SimDisk::new(1), 16 << 20);
    run(async {
        let bytes = Random::new(9).bytes(8 * MIB);
        let body = put(&world.bodies(), &bytes).await;
        let reader = world.reader();
        world.watch.slow_turns.store(5, Ordering::Relaxed);
        let before = Watch::get(&world.watch.reads);
        let mut stream = reader.read(SHARD, &body, 0..u64::MAX);
        let mut all = stream.next().await.expect("has pieces").expect("reads").to_vec();
        for _ in 0..200 {
            ring::yield_now().await;
        }
        let ahead = Watch::get(&world.watch.reads) - before;
        assert!(ahead <= 1 + reader::PIECES_AHEAD as u64, "{ahead} reads for one piece");
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece.expect("reads"));
        }
        assert!(all == bytes);
        let most = Watch::get(&world.watch.reads_in_flight_max);
        assert!((2..=reader::PIECES_AHEAD as u64).contains(&most), "{most} reads in flight");
    });
}

#[test]
fn a_call_that_was_dropped_loses_nothing() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        let (bytes, body) = three_extents(&world).await;
        let reader = world.reader();
        world.watch.slow_turns.store(4, Ordering::Relaxed);
        let mut stream = reader.read(SHARD, &body, 10..u64::MAX);
        let mut all = Vec::new();
        let mut turn = 0_u64;
        loop {
            turn += 1;
            let mut call = Box::pin(stream.next());
            let polled = std::future::poll_fn(|context| {
                let polled = call.as_mut().poll(context);
                std::task::Poll::Ready(polled)
            })
            .await;
            drop(call);
            match polled {
                std::task::Poll::Ready(Some(piece)) => all.extend_from_slice(&piece.expect("reads")),
                std::task::Poll::Ready(None) => break,
                std::task::Poll::Pending => ring::yield_now().await,
            }
            assert!(turn < 10_000, "makes progress");
        }
        assert!(all == bytes[10..]);
    });
}

#[test]
fn inline_bodies_and_empty_ranges_need_no_disk() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    run(async {
        let reader = world.reader();
        let body = BodyRef::Inline(b"0123456789".to_vec());
        assert_eq!(read(&reader, &body, 2..5).await.expect("reads"), b"234");
        assert_eq!(read(&reader, &body, 7..99).await.expect("reads"), b"789");
        assert!(read(&reader, &body, 10..99).await.expect("reads").is_empty());
        assert!(read(&reader, &BodyRef::EMPTY, 0..99).await.expect("reads").is_empty());
        assert_eq!(&reader.read_small(SHARD, &body).await.expect("reads")[..], b"0123456789");
        assert!(reader.read_small(SHARD, &BodyRef::EMPTY).await.expect("reads").is_empty());
    });
    assert_eq!(Watch::get(&world.watch.reads), 0);
}

struct OneLog(Bytes);

impl LogReader for OneLog {
    fn read(
        &self,
        shard: ShardId,
        position: LogPosition,
        length: u32,
    ) -> LocalFuture<'static, Result<Bytes, Fault>> {
        assert_eq!((shard, position.segment), (ShardId(5), 9));
        let at = position.offset as usize;
        let bytes = self.0.slice(at..at + length as usize);
        Box::pin(async move { Ok(bytes) })
    }
}

#[test]
fn bodies_in_the_log_are_verified_and_pin_their_segment() {
    let world = World::on(&SimDisk::new(1), 4 << 20);
    let bytes = Bytes::from(Random::new(2).bytes(10_000));
    let log: Rc<dyn LogReader> = Rc::new(OneLog(bytes.clone()));
    let companion = Arc::clone(&world.companion);
    let reader = BodyReader::new(Arc::clone(&world.files), world.pins.core(), companion, log);
    let position = LogPosition { segment: 9, offset: 100 };
    let crc = hash::crc32c(&bytes[100..4196]);
    run(async {
        let body = BodyRef::Log { position, length: 4096, crc };
        let mut stream = reader.read(ShardId(5), &body, 1..4096);
        assert!(world.pins.is_pinned(PinKey::log(ShardId(5), 9)));
        assert_eq!(stream.next().await.expect("a piece").expect("reads"), bytes[101..4196]);
        drop(stream);
        assert!(!world.pins.is_pinned(PinKey::log(ShardId(5), 9)));
        let damaged = BodyRef::Log { position, length: 4096, crc: crc ^ 1 };
        assert!(matches!(reader.read_small(ShardId(5), &damaged).await, Err(Fault::Corrupt(_))));
        let huge = BodyRef::Log { position, length: u32::MAX, crc };
        assert!(matches!(reader.read_small(ShardId(5), &huge).await, Err(Fault::Corrupt(_))));
        let mut stream = reader.read(ShardId(5), &huge, 0..10);
        assert!(matches!(stream.next().await, Some(Err(Fault::Corrupt(_)))));
    });
}

#[test]
fn large_bodies_round_trip_on_the_machines_disk() {
    let scratch = Scratch::new();
    let Some(world) = scratch.world(64 << 20) else { return };
    run(async {
        let (bodies, reader) = (world.bodies(), world.reader());
        for (size, known) in [(100 * MIB, true), (33 * MIB, false), (MIB + 1, false), (40_000, true)] {
            let block = Random::new(size as u64).bytes(MIB);
            let mut writer = bodies.writer(known.then_some(size as u64), owner(b"large"));
            let mut left = size;
            while left > 0 {
                let now = left.min(MIB);
                writer.write(&block[..now]).await.expect("writes");
                left -= now;
            }
            let body = adopt(writer.seal().await.expect("seals"));
            let mut stream = reader.read(SHARD, &body, 0..u64::MAX);
            let mut at = 0;
            while let Some(piece) = stream.next().await {
                let piece = piece.expect("reads");
                for part in piece.chunks(4096) {
                    let from = at % MIB;
                    let whole = part.len().min(MIB - from);
                    assert!(
                        part[..whole] == block[from..from + whole]
                            && part[whole..] == block[..part.len() - whole]
                    );
                    at += part.len();
                }
            }
            assert_eq!(at, size);
        }
    });
}
