//! For how long each namespace keeps what it has: as long as all others, or by a time of its own.

mod background;
mod driver;

use std::time::Duration;

use background::{pass, settings};
use cas::{Ages, Digest, Settings};
use driver::{World, ns, with_world};

const DAY_S: u64 = 24 * 3_600;
const DAY: Duration = Duration::from_secs(DAY_S);

async fn put(world: &World, name: &str, bytes: &[u8]) {
    world.put(ns(name), bytes).await.expect("there is room");
}

/// What there is of each namespace, without a look that counts as a use.
fn objects<const N: usize>(world: &World, names: [&str; N]) -> [i64; N] {
    names.map(|name| world.usage(Some(&ns(name)))[0])
}

fn ages(of: &[(&str, Option<u32>, Option<u32>)]) -> Settings {
    let days = |count: u32| DAY * count;
    let ages = of.iter().map(|(name, retention, max_age)| {
        (ns(name), Ages { retention: retention.map(days), max_age: max_age.map(days) })
    });
    Settings { retention: days(10), ages: ages.collect(), ..settings(1 << 30) }
}

#[test]
fn each_namespace_keeps_what_is_not_used_for_its_own_time() {
    let settings = ages(&[("brief", Some(1), None), ("long", Some(100), None), ("aged", None, Some(50))]);
    with_world("retention-own", settings, |world| async move {
        let names = ["brief", "long", "aged", "other"];
        for (name, number) in names.iter().flat_map(|name| (0..300_u32).map(move |number| (name, number))) {
            put(&world, name, &number.to_be_bytes()).await;
        }
        let shared = Digest::of(&0_u32.to_be_bytes());
        pass(&world, 60).await;
        pass(&world, DAY_S - 120).await;
        assert_eq!(objects(&world, names), [300; 4]);
        pass(&world, 240).await;
        assert_eq!(objects(&world, names), [0, 300, 300, 300]);
        // The blob stays as long as anybody has it.
        assert!(world.get(ns("other"), shared).await.is_some());
        assert!(world.get(ns("brief"), shared).await.is_none());
        pass(&world, 120).await;
        pass(&world, 9 * DAY_S + 3_600).await;
        assert_eq!(objects(&world, names), [0, 300, 0, 1]);
        pass(&world, DAY_S).await;
        assert_eq!(objects(&world, names), [0, 300, 0, 0]);
        pass(&world, 90 * DAY_S).await;
        assert_eq!((objects(&world, names), world.usage(None)), ([0; 4], [0, 0]));
        assert_eq!(world.count(cas::store::ACCESS), 0);
    });
}

#[test]
fn what_is_used_stays_in_a_namespace_with_a_time_of_its_own() {
    with_world("retention-used", ages(&[("brief", Some(1), None)]), |world| async move {
        for number in 0..2_u32 {
            put(&world, "brief", &number.to_be_bytes()).await;
        }
        let used = Digest::of(&1_u32.to_be_bytes());
        for _ in 0..5 {
            pass(&world, DAY_S / 2).await;
            assert!(world.get(ns("brief"), used).await.is_some());
            pass(&world, 120).await;
        }
        assert_eq!(objects(&world, ["brief"]), [1]);
    });
}

#[test]
fn each_namespace_has_its_own_oldest_age() {
    let settings = Settings {
        max_age: Some(DAY * 3),
        ..ages(&[("brief", None, Some(1)), ("long", Some(100), Some(5)), ("rare", Some(2), None)])
    };
    with_world("age-own", settings, |world| async move {
        let names = ["brief", "long", "rare", "other"];
        for name in names {
            put(&world, name, name.as_bytes()).await;
        }
        let mut gone = [None; 4];
        for hour in 0..6 * 24_usize {
            for (place, name) in names.iter().enumerate() {
                // A use keeps what would go for want of one, and nothing else.
                let is_there = world.get(ns(name), Digest::of(name.as_bytes())).await.is_some();
                if !is_there {
                    gone[place].get_or_insert(hour / 24);
                }
            }
            // The walk comes once an hour, and takes what nobody has leased.
            pass(&world, 1_800).await;
            pass(&world, 1_800).await;
        }
        assert_eq!(gone, [Some(1), Some(5), Some(3), Some(3)]);
    });
}

#[test]
fn what_namespaces_have_is_shown_with_their_times() {
    let settings = Settings { max_age: Some(DAY * 300), ..ages(&[("brief", Some(1), Some(2))]) };
    with_world("retention-shown", settings, |world| async move {
        put(&world, "brief", &[1; 2_000]).await;
        put(&world, "other", b"2").await;
        let shown: Vec<_> =
            world.cas.namespaces().into_iter().map(|one| (one.ns, one.retention, one.max_age)).collect();
        assert_eq!(shown, [(ns("brief"), DAY, Some(DAY * 2)), (ns("other"), DAY * 10, Some(DAY * 300))]);
    });
}
