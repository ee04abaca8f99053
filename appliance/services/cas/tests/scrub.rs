//! The scrubber: what is damaged is found although nobody asks for it, in rounds that keep their time and their pace, by the
//! clock of the test alone.

mod background;
mod damage;
mod driver;

use std::time::Duration;

use background::{pass, tick};
use cas::store::{ACCESS, BLOBS, ENTRIES, QUARANTINE};
use cas::{Digest, Scrub, ScrubFigures, Settings};
use damage::{flip_on_disk, swap};
use driver::{BEGINNING, Stop, TempDir, World, ns, with_world, with_world_until};
use store::{Direction, ManualClock, TableId};

const DAY_S: u64 = 86_400;
/// Of a round of eight days: an eighth is for what holds it up.
const ROUND_S: u64 = 7 * DAY_S;

fn settings() -> Settings {
    let scrub = Scrub { every: Some(Duration::from_secs(8 * DAY_S)), ..Scrub::default() };
    Settings { scrub, ..driver::settings() }
}

fn bytes(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(500)
}

async fn put_many(world: &World, count: u32) {
    for number in 0..count {
        world.put(ns("ci"), &bytes(number)).await.expect("stored");
    }
}

fn figures(world: &World) -> ScrubFigures {
    world.cas.figures(world.clock.now()).scrub
}

/// Every key and value of a table.
fn records(world: &World, table: TableId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    for shard in world.store.shards() {
        let view = world.store.view(shard).expect("readable");
        let mut scan = view.scan(table, std::ops::Bound::Unbounded, Direction::Forward);
        while let Some((key, record)) = scan.next().expect("readable") {
            found.push((key.to_vec(), record.value.to_vec()));
        }
    }
    found
}

#[test]
fn what_is_damaged_is_put_aside_within_a_round_although_nobody_asks_for_it() {
    let (directory, clock) = (TempDir::new("scrub-flip"), ManualClock::new(BEGINNING));
    let path = directory.0.clone();
    with_world_until(&directory.0, Stop::Drained, &clock, settings(), |world| async move {
        tick(&world).await;
        put_many(&world, 20).await;
        // One in an extent, one that takes several turns to read, and one that is packed and whose checksum is right.
        let mut damaged = Vec::new();
        for words in [51_200_u32, 768_000] {
            let long: Vec<u8> = (0..words).flat_map(|word| (word ^ words).to_le_bytes()).collect();
            damaged.push(world.put(ns("ci"), &long).await.expect("stored").digest);
            assert!(flip_on_disk(&path, &long) >= 1, "it lies on the disk");
        }
        damaged.push(Digest::of(&bytes(3)));
        swap(&world, Digest::of(&bytes(3)), &bytes(1_003)).await;
        assert_eq!(world.count(BLOBS), 22);
        for _ in 0..8 {
            pass(&world, ROUND_S / 8).await;
        }
        for digest in damaged {
            assert!(world.find(ns("ci"), digest).await.expect("readable").is_none());
        }
        assert_eq!((world.count(BLOBS), world.count(ENTRIES), world.count(QUARANTINE)), (19, 19, 3));
        let found = figures(&world);
        assert_eq!((found.corrupt, found.rounds, found.blobs), (3, 1, 22));
        assert_eq!(world.cas.figures(world.clock.now()).corrupt, 3);
        for number in (0..20).filter(|number| *number != 3) {
            assert_eq!(world.get(ns("ci"), Digest::of(&bytes(number))).await.expect("sound"), bytes(number));
        }
    });
}

#[test]
fn a_round_takes_its_time_ends_and_begins_again() {
    with_world("scrub-rounds", settings(), |world| async move {
        tick(&world).await;
        put_many(&world, 200).await;
        for round in 0..3 {
            pass(&world, ROUND_S / 2).await;
            let half = figures(&world);
            assert_eq!(half.rounds, round);
            // Digests of 200 blobs are not spread evenly to the last one.
            assert!((60..140).contains(&(half.blobs - 200 * round)), "{half:?}");
            assert!((400..=500).contains(&half.permille), "{half:?}");
            pass(&world, ROUND_S / 2).await;
            let whole = figures(&world);
            assert_eq!((whole.rounds, whole.blobs, whole.permille), (round + 1, 200 * (round + 1), 0));
            assert_eq!(whole.bytes, 200 * (round + 1) * 2_000);
        }
        assert_eq!(figures(&world).corrupt, 0);
    });
}

#[test]
fn nothing_is_read_where_no_time_is_set() {
    let scrub = Scrub { every: None, ..Scrub::default() };
    with_world("scrub-off", Settings { scrub, ..driver::settings() }, |world| async move {
        put_many(&world, 5).await;
        pass(&world, 365 * DAY_S / 12).await;
        assert_eq!(figures(&world), ScrubFigures::default());
    });
}

#[test]
fn a_start_goes_on_from_where_the_round_was() {
    let (directory, clock) = (TempDir::new("scrub-start"), ManualClock::new(BEGINNING));
    let mut read = 0;
    for quarter in 1..=4 {
        let read = &mut read;
        with_world_until(&directory.0, Stop::AtOnce, &clock, settings(), |world| async move {
            tick(&world).await;
            if quarter == 1 {
                put_many(&world, 200).await;
            }
            pass(&world, ROUND_S / 4).await;
            *read += figures(&world).blobs;
            assert_eq!(figures(&world).rounds, u64::from(quarter == 4));
            if quarter < 4 {
                assert!((20 * quarter..80 * quarter).contains(read), "{read} in {quarter} quarters");
            }
        });
    }
    assert_eq!(read, 200, "each blob once, whatever process read it");
    with_world_until(&directory.0, Stop::Drained, &clock, settings(), |world| async move {
        pass(&world, 1).await;
        assert_eq!(figures(&world).rounds, 1, "what was done before the start is known");
    });
}

#[test]
fn no_more_is_read_in_a_second_than_is_set() {
    /// Of both shards together.
    const PER_SECOND: u64 = 20_000;
    let scrub = Scrub { bytes_per_second: PER_SECOND, ..settings().scrub };
    with_world("scrub-pace", Settings { scrub, ..settings() }, |world| async move {
        tick(&world).await;
        put_many(&world, 100).await;
        // All of it is due at once, and was for long: no more than a second's worth is saved up.
        pass(&world, ROUND_S).await;
        // In the end of each second the blobs of the turn that used it up are counted as well.
        let turn = 64 * 2_000;
        let first = figures(&world).bytes;
        assert!(first > 0 && first <= PER_SECOND + 2 * turn, "{first} bytes in the first second");
        let mut seconds = 0;
        while figures(&world).rounds == 0 {
            seconds += 1;
            assert!(seconds < 100, "{:?} after {seconds} seconds", figures(&world));
            pass(&world, 1).await;
        }
        let whole = 100 * (2_000 + 768);
        // A turn is paid for by the seconds behind it.
        assert!(
            seconds >= (whole - first) / PER_SECOND - 2,
            "{seconds} seconds for {whole} bytes, {first} of them at once"
        );
        assert_eq!(figures(&world).blobs, 100);
    });
}

#[test]
fn a_blob_longer_than_a_turn_may_go_and_come_again_while_it_is_read() {
    /// One turn of each shard in a second.
    const PER_SECOND: u64 = 2 * 1_024;
    let scrub = Scrub { bytes_per_second: PER_SECOND, ..settings().scrub };
    with_world("scrub-parts", Settings { scrub, ..settings() }, |world| async move {
        tick(&world).await;
        let long = vec![7; 1_000_000];
        let digest = world.put(ns("ci"), &long).await.expect("stored").digest;
        pass(&world, ROUND_S).await;
        let first = figures(&world);
        assert_eq!((first.bytes, first.blobs), (256 * 1_024, 0), "the first part of four");
        let stored_ms = world.find(ns("ci"), digest).await.expect("readable").expect("there").stored_ms;
        world.ask(|cx, done| world.cas.quarantine(cx, digest, stored_ms, done)).await.expect("done");
        pass(&world, 3_600).await;
        world.put(ns("ci"), &long).await.expect("stored");
        for _ in 0..6 {
            pass(&world, 3_600).await;
        }
        assert_eq!(world.get(ns("ci"), digest).await.expect("there"), long);
        assert_eq!(figures(&world).corrupt, 0);
    });
}

#[test]
fn reading_leases_nothing_and_moves_nothing_in_the_order_of_use() {
    with_world("scrub-quiet", settings(), |world| async move {
        tick(&world).await;
        put_many(&world, 50).await;
        pass(&world, 3_600).await;
        let before = (records(&world, ACCESS), records(&world, ENTRIES));
        pass(&world, ROUND_S).await;
        pass(&world, 3_600).await;
        assert!(figures(&world).blobs >= 50);
        assert_eq!(world.cas.shared().leases.leased_count(world.clock.now()).0, 0);
        assert!((records(&world, ACCESS), records(&world, ENTRIES)) == before);
    });
}
