//! What goes when, and what never does: limits, quotas, ages, pins, collections, starts.

mod background;
mod driver;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use background::{collect, pass, pin, settings, tick, unpin};
use cas::store::stored_bytes;
use cas::{
    Digest, GcRequest, KeyName, Lookup, NewKey, PinError, Pinned, PutError, Quota, Reference, Settings,
    Window,
};
use driver::{BEGINNING, Stop, TempDir, World, ns, with_world, with_world_until};
use store::{Fault, ManualClock, Operation, Outcome, TableId, Tx};

/// Bytes of the blobs here, and what they take.
const LENGTH: usize = 2_000;
const STORED: u64 = LENGTH as u64 + 768;

fn bytes(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(LENGTH / 4)
}

fn digest(number: u32) -> Digest {
    Digest::of(&bytes(number))
}

async fn put(world: &World, name: &str, number: u32) {
    world.put(ns(name), &bytes(number)).await.expect("there is room");
}

/// Which of these blobs a namespace has, by a question that leases them for the lease period.
async fn has(world: &World, name: &str, number: u32) -> bool {
    world.get(ns(name), digest(number)).await.is_some()
}

async fn present(world: &World, name: &str, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let mut found = Vec::new();
    for number in numbers {
        if has(world, name, number).await {
            found.push(number);
        }
    }
    found
}

#[test]
fn a_blob_takes_what_the_tests_reckon_with() {
    assert_eq!(stored_bytes(LENGTH as u64), STORED);
}

#[test]
fn the_oldest_go_first_when_the_limit_is_near_and_the_totals_follow() {
    with_world("oldest", settings(100 * STORED), |world| async move {
        for number in 0..96 {
            put(&world, "a", number).await;
            pass(&world, 60).await;
        }
        pass(&world, 120).await;
        let [objects, stored] = world.usage(None);
        // At 95 it began, and ended at 90; one has come since.
        assert_eq!(objects, 91);
        assert_eq!(
            (stored, world.cas.stored_bytes()),
            (objects * STORED as i64, (objects * STORED as i64) as u64)
        );
        assert_eq!(world.usage(Some(&ns("a"))), [objects, stored]);
        let left = present(&world, "a", 0..96).await;
        assert_eq!(left.len() as i64, objects);
        // Each shard gives its oldest, down to an equal share.
        assert!(left.ends_with(&(30..96).collect::<Vec<u32>>()), "{left:?}");
        assert_eq!(world.count(cas::store::ENTRIES) as i64, objects);
        assert_eq!(world.count(cas::store::ACCESS) as i64, objects);
    });
}

#[test]
fn what_is_used_stays_and_uploads_beyond_the_limit_make_room() {
    with_world("used", settings(40 * STORED), |world| async move {
        put(&world, "a", 0).await;
        for number in 1..400 {
            assert!(has(&world, "a", 0).await, "before {number}");
            put(&world, "a", number).await;
            assert!(world.cas.stored_bytes() <= 40 * STORED);
            world.clock.advance(Duration::from_secs(20));
            world.store.catch_up().await.expect("open");
        }
    });
}

#[test]
fn uploads_beside_each_other_wait_for_each_others_evictions() {
    with_world("beside", settings(40 * STORED), |world| async move {
        for round in 0..60 {
            let name = "a";
            let number = |upload: u32| 4 * round + upload;
            driver::both(
                driver::both(put(&world, name, number(0)), put(&world, name, number(1))),
                driver::both(put(&world, name, number(2)), put(&world, name, number(3))),
            )
            .await;
            assert!(world.cas.stored_bytes() <= 40 * STORED);
            world.clock.advance(Duration::from_secs(60));
            world.store.catch_up().await.expect("open");
        }
    });
}

/// Keeps the owner of a shard until it is told otherwise.
struct Hold(Arc<AtomicBool>);

impl Operation for Hold {
    type Reply = ();

    fn keys(&self, _: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, _: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        while !self.0.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Ok(Outcome::Rollback(()))
    }
}

#[test]
fn an_upload_waits_for_the_eviction_of_a_core_that_stands_still() {
    with_world("still", settings(20 * STORED), |world| async move {
        // All of it lies on the other core's shard, so that only that one can give.
        let own: Vec<_> = world.store.own_shards().collect();
        let other = world.store.shards().find(|shard| !own.contains(shard)).expect("two cores");
        let there = |number: &u32| cas::store::place_of(&world.store, &digest(*number)) == other;
        let mut numbers = (0..).filter(there);
        pass(&world, 120).await;
        for number in numbers.by_ref().take(20) {
            put(&world, "a", number).await;
        }
        world.clock.advance(Duration::from_secs(180));
        let [one, two] = [(); 2].map(|()| numbers.next().expect("there are more"));
        let goes_on = Arc::new(AtomicBool::new(false));
        let held = world.store.submit(other, Hold(Arc::clone(&goes_on)));
        let release = async {
            // For longer than an appliance's uploads wait.
            ring::sleep(4 * cas::ROOM_PATIENCE).await;
            goes_on.store(true, Ordering::Release);
        };
        let uploads = driver::both(put(&world, "a", one), put(&world, "a", two));
        let ((held, ()), _) = driver::both(driver::both(held, release), uploads).await;
        held.expect("runs");
        assert_eq!(present(&world, "a", one..two + 1).await, [one, two]);
    });
}

#[test]
fn nothing_that_came_within_a_lease_period_makes_room_and_the_upload_is_refused() {
    with_world("fresh", settings(20 * STORED), |world| async move {
        tick(&world).await;
        pass(&world, 120).await;
        for number in 0..20 {
            put(&world, "a", number).await;
        }
        let refused = world.put(ns("a"), &bytes(20)).await;
        assert!(matches!(refused, Err(PutError::Full)), "{refused:?}");
        assert_eq!(present(&world, "a", 0..20).await.len(), 20);
        // All of them were used just now.
        pass(&world, 30).await;
        assert!(matches!(world.put(ns("a"), &bytes(20)).await, Err(PutError::Full)));
        pass(&world, 120).await;
        put(&world, "a", 20).await;
    });
}

#[test]
fn a_blob_goes_with_its_last_entry() {
    with_world("shared", settings(1_000 * STORED), |world| async move {
        for name in ["a", "b"] {
            put(&world, name, 1).await;
        }
        assert_eq!(
            (world.usage(None), world.usage(Some(&ns("b")))),
            ([1, STORED as i64], [1, STORED as i64])
        );
        pass(&world, 180).await;
        let of = |name| GcRequest { target_bytes: Some(0), ns: Some(ns(name)), ..GcRequest::default() };
        let state = collect(&world, of("a")).await;
        assert_eq!((state.freed_objects, state.freed_bytes), (1, 0));
        assert!(!has(&world, "a", 1).await && has(&world, "b", 1).await);
        pass(&world, 180).await;
        let state = collect(&world, of("b")).await;
        assert_eq!((state.freed_objects, state.freed_bytes), (1, STORED));
        assert_eq!((world.usage(None), world.count(cas::store::BLOBS)), ([0, 0], 0));
    });
}

#[test]
fn a_namespace_over_its_quota_gives_its_own_oldest() {
    let quotas = [
        (ns("bytes"), Quota { bytes: 20 * STORED, objects: u64::MAX }),
        (ns("objects"), Quota { bytes: u64::MAX, objects: 10 }),
    ];
    let settings = Settings { quotas: quotas.into_iter().collect(), ..settings(1_000 * STORED) };
    with_world("quota", settings, |world| async move {
        put(&world, "other", 1_000).await;
        for number in 0..60 {
            put(&world, "bytes", number).await;
            put(&world, "objects", number).await;
            let [_, of_bytes] = world.usage(Some(&ns("bytes")));
            let [of_objects, _] = world.usage(Some(&ns("objects")));
            assert!(
                of_bytes <= 20 * STORED as i64 && of_objects <= 10,
                "{of_bytes} bytes, {of_objects} objects"
            );
            pass(&world, 61).await;
        }
        assert!(has(&world, "other", 1_000).await);
        assert!(has(&world, "bytes", 59).await);
        let refused = world.put(ns("bytes"), &vec![1; 21 * LENGTH + 21 * 768]).await;
        assert!(matches!(refused, Err(PutError::QuotaFull)), "{refused:?}");
    });
}

#[test]
fn what_was_not_used_for_the_retention_goes_and_what_was_used_stays() {
    let settings = Settings { retention: Duration::from_secs(10 * 24 * 3_600), ..settings(1_000 * STORED) };
    with_world("retention", settings, |world| async move {
        put(&world, "a", 1).await;
        put(&world, "a", 2).await;
        for _ in 0..6 {
            pass(&world, 3 * 24 * 3_600).await;
            assert!(has(&world, "a", 1).await);
            pass(&world, 60).await;
        }
        assert!(!has(&world, "a", 2).await);
        assert_eq!(world.usage(None), [1, STORED as i64]);
        assert_eq!(world.cas.figures(world.clock.now()).evicted[1], [1, STORED]);
    });
}

#[test]
fn what_is_older_than_the_oldest_age_goes_however_often_it_is_used() {
    let max_age = Some(Duration::from_secs(24 * 3_600));
    with_world("age", Settings { max_age, ..settings(1_000 * STORED) }, |world| async move {
        put(&world, "a", 1).await;
        let name = KeyName::new(ns("a"), cas::Dialect::Nx, *b"key").expect("legal");
        world.key_put(&name, NewKey { value: "v".into(), ..NewKey::default() }).await.expect("written");
        pass(&world, 23 * 3_600).await;
        assert!(has(&world, "a", 1).await && world.key_get(&name).await.is_some());
        for _ in 0..10 {
            pass(&world, 1_800).await;
        }
        assert!(!has(&world, "a", 1).await && world.key_get(&name).await.is_none());
        assert_eq!((world.usage(None), world.count(cas::store::ACCESS)), ([0, 0], 0));
    });
}

#[test]
fn pins_keep_a_key_record_with_its_blobs_until_their_time_and_within_their_share() {
    with_world("pins", settings(20 * STORED), |world| async move {
        for number in 0..4 {
            put(&world, "a", number).await;
        }
        let references = (0..2).map(|number| Reference { digest: digest(number), length: LENGTH as u64 });
        let new = NewKey { references: references.collect(), ..NewKey::default() };
        let name = KeyName::new(ns("a"), cas::Dialect::Bazel, *b"action").expect("legal");
        world.key_put(&name, new).await.expect("its blobs are there");
        let (key, blob) = (Pinned::Key(name.clone()), Pinned::Blob(ns("a"), digest(2)));
        pin(&world, &key, None).await.expect("pinned");
        pin(&world, &blob, Some(world.clock.now().plus_ms(3_600_000))).await.expect("pinned");
        let missing = pin(&world, &Pinned::Blob(ns("a"), digest(9)), None).await;
        assert!(matches!(missing, Err(PinError::NotFound)), "{missing:?}");
        let everything = GcRequest { target_bytes: Some(0), ..GcRequest::default() };
        pass(&world, 600).await;
        collect(&world, everything.clone()).await;
        assert_eq!(world.with_context(|cx| world.cas.pins(cx)).expect("listed").len(), 2);
        assert_eq!(present(&world, "a", 0..4).await, [0, 1, 2]);
        assert!(world.key_get(&name).await.is_some());
        pass(&world, 3_600).await;
        collect(&world, everything.clone()).await;
        assert_eq!(present(&world, "a", 0..4).await, [0, 1]);
        assert!(unpin(&world, &key).await && !unpin(&world, &key).await);
        pass(&world, 600).await;
        collect(&world, everything).await;
        assert_eq!((present(&world, "a", 0..4).await.len(), world.usage(None)), (0, [0, 0]));
        assert_eq!(world.cas.figures(world.clock.now()).pinned_bytes, 0);
        for number in 0..11 {
            put(&world, "a", number).await;
            let pinned = pin(&world, &Pinned::Blob(ns("a"), digest(number)), None).await;
            assert_eq!(pinned.is_ok(), number < 10, "{number}: {pinned:?}");
        }
    });
}

#[test]
fn a_collection_tells_what_it_would_take_and_takes_it_oldest_first() {
    with_world("collection", settings(1_000 * STORED), |world| async move {
        for number in 0..500 {
            put(&world, "a", number).await;
        }
        pass(&world, 24 * 3_600).await;
        for number in 500..600 {
            put(&world, "a", number).await;
        }
        pass(&world, 3_600).await;
        assert!(has(&world, "a", 7).await);
        let request = GcRequest { older_than_days: Some(1), dry_run: true, ..GcRequest::default() };
        let would = collect(&world, request.clone()).await;
        assert_eq!((would.freed_objects, would.freed_bytes, would.kept_leased), (499, 499 * STORED, 1));
        assert_eq!(world.usage(None)[0], 600);
        let id = world.with_context(|cx| world.cas.gc_start(cx, GcRequest::default())).expect("none runs");
        let second = world.with_context(|cx| world.cas.gc_start(cx, GcRequest::default()));
        assert_eq!(second.err().map(|running| running.0), Some(id));
        tick(&world).await;
        let did = collect(&world, GcRequest { dry_run: false, ..request }).await;
        assert_eq!((did.freed_objects, did.freed_bytes, did.kept_leased), (499, 499 * STORED, 1));
        assert_eq!(world.usage(None), [101, 101 * STORED as i64]);
        pass(&world, 61).await;
        let target = GcRequest { target_bytes: Some(40 * STORED), ..GcRequest::default() };
        collect(&world, target).await;
        assert!((38..=40).contains(&world.usage(None)[0]), "{:?}", world.usage(None));
    });
}

#[test]
fn a_collection_that_falls_short_of_its_aim_tells_what_was_in_use() {
    with_world("short-of-aim", settings(1_000 * STORED), |world| async move {
        for number in 0..10 {
            put(&world, "a", number).await;
        }
        pass(&world, 600).await;
        pin(&world, &Pinned::Blob(ns("a"), digest(9)), None).await.expect("pinned");
        assert_eq!(present(&world, "a", 0..3).await.len(), 3);
        for number in 10..15 {
            put(&world, "a", number).await;
        }
        for dry_run in [true, false] {
            let target = GcRequest { target_bytes: Some(0), dry_run, ..GcRequest::default() };
            let state = collect(&world, target).await;
            // Three are leased and five were brought just now; one is pinned.
            assert_eq!((state.freed_objects, state.kept_leased), (6, 8), "dry run: {dry_run}");
        }
    });
}

#[test]
fn after_a_start_nothing_goes_for_a_lease_period_unless_the_disk_is_full() {
    let (directory, clock) = (TempDir::new("grace"), ManualClock::new(BEGINNING));
    for is_full in [false, true] {
        let numbers = if is_full { 100..120 } else { 0..20 };
        let first = numbers.clone();
        with_world_until(&directory.0, Stop::AtOnce, &clock, settings(20 * STORED), |world| async move {
            tick(&world).await;
            pass(&world, 120).await;
            for number in first.clone() {
                put(&world, "a", number).await;
            }
            pass(&world, 40).await;
            assert_eq!(present(&world, "a", first).await.len(), 20);
        });
        let clock_in = clock.clone();
        with_world_until(&directory.0, Stop::AtOnce, &clock, settings(20 * STORED), |world| async move {
            // They are leased still, of which this process does not know.
            pass(&world, 30).await;
            if is_full {
                world.cas.shared().note_disk_full(clock_in.now());
                tick(&world).await;
                assert!(world.usage(None)[0] < 20, "{:?}", world.usage(None));
                return;
            }
            assert!(matches!(world.put(ns("a"), &bytes(99)).await, Err(PutError::Full)));
            assert_eq!(world.usage(None)[0], 20);
            pass(&world, 120).await;
            put(&world, "a", 99).await;
            assert!(world.usage(None)[0] < 20);
        });
    }
}

#[test]
fn what_was_counted_outlives_a_start_and_leaves_the_rings_in_time() {
    let (directory, clock) = (TempDir::new("counted"), ManualClock::new(BEGINNING));
    let sums = |world: &World, window, name: Option<&str>| {
        let ns = name.map(ns);
        let sums = world.cas.counted(&world.store, world.clock.now(), window, ns.as_ref()).expect("readable");
        assert_eq!(sums[6..], [0; 6], "no client has told anything");
        *sums.first_chunk::<6>().expect("there are twelve")
    };
    with_world_until(&directory.0, Stop::Drained, &clock, settings(1_000 * STORED), |world| async move {
        tick(&world).await;
        put(&world, "a", 1).await;
        world.cas.count(&ns("a"), Lookup::Hit, 100);
        world.cas.count(&ns("a"), Lookup::Miss, 0);
        world.cas.count(&ns("never-seen"), Lookup::Miss, 0);
        world.cas.count_upload(&ns("a"), 7);
        assert_eq!(sums(&world, Window::Hour, None), [1, 2, 100, 7, 0, 0]);
        pass(&world, 61).await;
        assert_eq!(sums(&world, Window::Hour, Some("a")), [1, 1, 100, 7, 0, 0]);
    });
    with_world_until(&directory.0, Stop::Drained, &clock, settings(1_000 * STORED), |world| async move {
        for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
            assert_eq!(sums(&world, window, None), [1, 2, 100, 7, 0, 0], "{window:?}");
        }
        tick(&world).await;
        pass(&world, 3_700).await;
        world.cas.count(&ns("a"), Lookup::Head, 0);
        pass(&world, 61).await;
        assert_eq!(sums(&world, Window::Hour, None), [0, 0, 0, 0, 1, 0]);
        assert_eq!(sums(&world, Window::Day, Some("a")), [1, 1, 100, 7, 1, 0]);
        pass(&world, 91 * 24 * 3_600).await;
        for _ in 0..3 {
            world.cas.count(&ns("a"), Lookup::Hit, 0);
            pass(&world, 61).await;
        }
        // Two rings, of all and of the namespace: three minutes, an hour or two.
        let kept = world.count(cas::store::STATS);
        assert!((8..=10).contains(&kept), "{kept} buckets are kept");
    });
}
