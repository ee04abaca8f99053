//! Blobs against a real store: what comes in comes back, once, verified, and nothing else stays.

mod driver;

use bytes::Bytes;
use cas::store::{BLOBS, BLOCKED, ENTRIES};
use cas::{Digest, PutError, Settings};
use driver::{Stop, TempDir, Wire, ns, upload, with_world, with_world_until};
use plan::{BodyFailure, BodyFilter};
use store::{Fault, ManualClock, Operation, Outcome, TableId, Tx};

/// Bytes that no run of the same length repeats.
fn bytes_of(length: usize, salt: u64) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Of each kind of body that the store has, and one that needs several extents' worth of pieces.
const LENGTHS: [usize; 8] = [0, 1, 512, 513, 4_096, 32_768, 32_769, 3_000_000];

#[test]
fn a_blob_of_any_length_comes_back_whole_also_behind_a_restart() {
    for end in [Stop::Drained, Stop::AtOnce] {
        let directory = TempDir::new("cas-blobs");
        let clock = ManualClock::new(driver::BEGINNING);
        with_world_until(&directory.0, end, &clock, driver::settings(), |world| async move {
            for length in LENGTHS {
                let bytes = bytes_of(length, 1);
                let stored = world.put(ns("ci"), &bytes).await.expect("stored");
                assert_eq!(
                    (stored.digest, stored.length, stored.new),
                    (Digest::of(&bytes), length as u64, true)
                );
                assert_eq!(world.get(ns("ci"), stored.digest).await.expect("there"), bytes);
            }
        });
        with_world_until(&directory.0, end, &clock, driver::settings(), |world| async move {
            for length in LENGTHS {
                let bytes = bytes_of(length, 1);
                assert_eq!(world.get(ns("ci"), Digest::of(&bytes)).await.expect("there"), bytes, "{length}");
            }
        });
    }
}

#[test]
fn a_blob_that_another_namespace_has_is_absent_until_it_is_brought() {
    with_world("cas-dedup", driver::settings(), |world| async move {
        let bytes = bytes_of(100_000, 2);
        let digest = Digest::of(&bytes);
        world.put(ns("one"), &bytes).await.expect("stored");
        assert!(world.get(ns("two"), digest).await.is_none());
        let shard = world.usage(None);
        let again = world.put(ns("two"), &bytes).await.expect("stored");
        assert!(again.new);
        assert_eq!(world.usage(None), shard, "its bytes are stored once");
        assert_eq!(world.usage(Some(&ns("one"))), world.usage(Some(&ns("two"))));
        assert_eq!((world.count(BLOBS), world.count(ENTRIES)), (1, 2));
        assert_eq!(world.get(ns("two"), digest).await.expect("there"), bytes);
    });
}

#[test]
fn a_blob_that_is_brought_again_counts_once() {
    with_world("cas-again", driver::settings(), |world| async move {
        let bytes = bytes_of(5_000, 3);
        assert!(world.put(ns("ci"), &bytes).await.expect("stored").new);
        let usage = (world.usage(None), world.usage(Some(&ns("ci"))), world.cas.stored_bytes());
        assert_eq!(usage.0, [1, 5_768]);
        world.clock.advance(std::time::Duration::from_secs(7_200));
        assert!(!world.put(ns("ci"), &bytes).await.expect("stored").new);
        assert_eq!((world.usage(None), world.usage(Some(&ns("ci"))), world.cas.stored_bytes()), usage);
        assert_eq!(world.count(cas::store::ACCESS), 1, "it has one place in the order of use");
    });
}

#[test]
fn two_uploads_of_one_digest_at_once_both_succeed_and_store_it_once() {
    with_world("cas-both", driver::settings(), |world| async move {
        for length in [700, 20_000, 400_000] {
            let bytes = bytes_of(length, 4);
            let digest = Digest::of(&bytes);
            let before = world.count(BLOBS);
            let (first, second) =
                driver::both(world.put(ns("ci"), &bytes), world.put(ns("ci"), &bytes)).await;
            let (first, second) = (first.expect("stored"), second.expect("stored"));
            assert!(first.new != second.new, "one of them was the first");
            assert_eq!(world.count(BLOBS), before + 1);
            assert_eq!(world.get(ns("ci"), digest).await.expect("there"), bytes);
        }
        world.nothing_is_promised().await;
    });
}

#[test]
fn a_body_that_is_not_that_of_its_digest_leaves_nothing() {
    with_world("cas-wrong", driver::settings(), |world| async move {
        for length in [10, 10_000, 200_000] {
            let (bytes, other) = (bytes_of(length, 5), Digest::of(b"another"));
            let wrong = upload(ns("ci"), Some(other), Some(length as u64));
            match world.receive(wrong, Wire::whole(&bytes)).await {
                Err(PutError::BadDigest { actual }) => assert_eq!(actual, Digest::of(&bytes)),
                answer => panic!("{answer:?}"),
            }
            assert!(world.get(ns("ci"), other).await.is_none());
            assert!(world.get(ns("ci"), Digest::of(&bytes)).await.is_none());
        }
        assert_nothing_is_kept(&world).await;
    });
}

#[test]
fn an_upload_that_is_cut_off_leaves_nothing() {
    with_world("cas-cut", driver::settings(), |world| async move {
        for length in [10, 10_000, 200_000, 3_000_000] {
            let bytes = bytes_of(length, 6);
            let announced = upload(ns("ci"), Some(Digest::of(&bytes)), Some(2 * length as u64));
            let answer = world.receive(announced, Wire::cut(&bytes)).await;
            assert!(matches!(answer, Err(PutError::Body(BodyFailure::Disconnected))), "{answer:?}");
        }
        assert_nothing_is_kept(&world).await;
    });
}

async fn assert_nothing_is_kept(world: &driver::World) {
    assert_eq!((world.count(BLOBS), world.count(ENTRIES)), (0, 0));
    assert_eq!(world.usage(None), [0, 0]);
    assert_eq!(world.cas.stored_bytes(), 0);
    world.nothing_is_promised().await;
}

#[test]
fn a_blob_whose_digest_is_known_only_at_its_end_is_stored_under_it_and_survives() {
    let directory = TempDir::new("cas-unknown");
    let clock = ManualClock::new(driver::BEGINNING);
    // Twenty of them, so that some belong to the shard of the other core.
    let blobs = || (0..20).map(|salt| bytes_of(50_000 + 40_000 * salt as usize, 100 + salt));
    with_world_until(&directory.0, Stop::AtOnce, &clock, driver::settings(), |world| async move {
        for bytes in blobs() {
            let stored =
                world.receive(upload(ns("ci"), None, None), Wire::whole(&bytes)).await.expect("stored");
            assert_eq!(stored.digest, Digest::of(&bytes));
            assert_eq!(stored.stored_bytes, cas::store::stored_bytes(bytes.len() as u64));
        }
        let all: u64 = blobs().map(|bytes| cas::store::stored_bytes(bytes.len() as u64)).sum();
        assert_eq!(world.cas.stored_bytes(), all);
        world.nothing_is_promised().await;
    });
    // Each start sweeps what no record of the run before names.
    for end in [Stop::Drained, Stop::AtOnce] {
        with_world_until(&directory.0, end, &clock, driver::settings(), |world| async move {
            for bytes in blobs() {
                assert_eq!(world.get(ns("ci"), Digest::of(&bytes)).await.expect("there"), bytes);
            }
        });
    }
    let config = driver::store_config(&directory.0, &clock);
    let verified = store::verify::verify(&config, driver::seed(), &mut |_| ()).expect("opens");
    assert_eq!(verified.failures, [""; 0]);
    assert!(verified.bodies >= 20, "{} bodies", verified.bodies);
}

#[test]
fn bytes_in_memory_are_stored_like_those_from_the_wire() {
    with_world("cas-memory", driver::settings(), |world| async move {
        for length in LENGTHS {
            let bytes = Bytes::from(bytes_of(length, 7));
            let put = upload(ns("ci"), None, None);
            let stored = world.ask(|cx, done| world.cas.put_bytes(cx, put, bytes.clone(), done)).await;
            assert_eq!(stored.expect("stored").digest, Digest::of(&bytes));
            assert_eq!(world.get(ns("ci"), Digest::of(&bytes)).await.expect("there"), bytes);
        }
    });
}

#[test]
fn a_blob_longer_than_a_blob_may_be_is_refused_whether_its_length_was_told_or_not() {
    let settings = Settings { object_bytes_max: 100_000, ..driver::settings() };
    with_world("cas-large", settings, |world| async move {
        let bytes = bytes_of(100_001, 8);
        for length in [None, Some(100_001)] {
            let put = upload(ns("ci"), Some(Digest::of(&bytes)), length);
            let answer = world.receive(put, Wire::whole(&bytes)).await;
            assert!(matches!(answer, Err(PutError::TooLarge)), "{answer:?}");
        }
        assert_nothing_is_kept(&world).await;
        world.put(ns("ci"), &bytes[1..]).await.expect("the longest is stored");
    });
}

#[test]
fn a_blob_for_which_there_is_no_room_is_refused_before_it_is_read() {
    let settings = Settings { max_bytes: 50_000, ..driver::settings() };
    with_world("cas-full", settings, |world| async move {
        world.put(ns("ci"), &bytes_of(30_000, 9)).await.expect("stored");
        let bytes = bytes_of(30_000, 10);
        let answer = world.put(ns("ci"), &bytes).await;
        assert!(matches!(answer, Err(PutError::Full)), "{answer:?}");
        world.nothing_is_promised().await;
    });
}

#[test]
fn a_blob_of_untold_length_stops_being_read_when_there_is_no_room_for_more() {
    let settings = Settings { max_bytes: 10_000_000, ..driver::settings() };
    with_world("cas-grows", settings, |world| async move {
        let bytes = bytes_of(12_000_000, 11);
        let mut wire = Wire::whole(&bytes);
        // What lies behind the limit never comes: whoever waited for it would see the client go.
        wire.pieces.truncate(170);
        wire.is_cut = true;
        let answer = world.receive(upload(ns("ci"), None, None), wire).await;
        assert!(matches!(answer, Err(PutError::Full)), "{answer:?}");
        assert_nothing_is_kept(&world).await;
    });
}

/// Blocks a digest, as an administrator does.
struct Block(Digest);

impl Operation for Block {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BLOCKED, self.0.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.put(BLOCKED, self.0.as_bytes(), &[1], Vec::new(), false);
        Ok(Outcome::Commit(()))
    }
}

#[test]
fn a_blocked_blob_is_refused_and_leaves_nothing() {
    with_world("cas-blocked", driver::settings(), |world| async move {
        for length in [100, 100_000] {
            let bytes = bytes_of(length, 15);
            let digest = Digest::of(&bytes);
            let shard = cas::store::place_of(&world.store, &digest);
            world.store.submit(shard, Block(digest)).await.expect("written");
            for expected in [Some(digest), None] {
                let answer = world.receive(upload(ns("ci"), expected, None), Wire::whole(&bytes)).await;
                assert!(matches!(answer, Err(PutError::Blocked)), "{answer:?}");
            }
        }
        assert_nothing_is_kept(&world).await;
    });
}

/// Makes a thousand bytes of each, some at a time, as a decoder does.
struct Swell {
    owed: usize,
}

impl BodyFilter for Swell {
    fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
        self.owed += 1_000 * input.len();
        let some = self.owed.min(50_000);
        data(&vec![7; some]);
        self.owed -= some;
        Ok(())
    }

    fn holds_more(&self) -> bool {
        self.owed > 0
    }

    fn finish(&mut self) -> Result<(), BodyFailure> {
        Ok(())
    }
}

#[test]
fn a_coded_blob_is_bounded_and_counted_by_what_it_decodes_to() {
    let settings = Settings { max_bytes: 5_000_000, object_bytes_max: 4_000_000, ..driver::settings() };
    with_world("cas-coded", settings, |world| async move {
        let coded = |length, told| {
            let put = upload(ns("ci"), Some(Digest::of(&vec![7; 1_000 * length])), told);
            let put = cas::Upload { filter: Some(Box::new(Swell { owed: 0 })), ..put };
            world.receive(put, Wire::whole(&vec![0; length]))
        };
        assert!(matches!(coded(4_001, None).await, Err(PutError::TooLarge)));
        assert_nothing_is_kept(&world).await;
        let stored = coded(4_000, None).await.expect("stored");
        assert_eq!((stored.length, world.cas.stored_bytes()), (4_000_000, stored.stored_bytes));
        for told in [None, Some(2_000)] {
            assert!(matches!(coded(2_000, told).await, Err(PutError::Full)));
        }
        world.nothing_is_promised().await;
    });
}

#[test]
fn an_announced_length_keeps_no_room_from_others_before_its_bytes_come() {
    let settings = Settings { max_bytes: 2_000_000_000, ..driver::settings() };
    with_world("cas-announced", settings, |world| async move {
        let bytes = bytes_of(100_000, 13);
        let announced = || upload(ns("ci"), Some(Digest::of(b"never")), Some(1_500_000_000));
        let most = std::cell::Cell::new(0);
        let (answer, ()) = driver::both(world.receive(announced(), Wire::cut(&bytes)), async {
            while world.cas.reserved_bytes() == 0 {
                ring::yield_now().await;
            }
            while world.cas.reserved_bytes() > 0 {
                most.set(most.get().max(world.cas.reserved_bytes()));
                ring::yield_now().await;
            }
        })
        .await;
        assert!(matches!(answer, Err(PutError::Body(BodyFailure::Disconnected))), "{answer:?}");
        assert!((100_000..40_000_000).contains(&most.get()), "{} bytes were promised", most.get());
    });
}

#[test]
fn a_blob_that_can_never_be_stored_is_refused_by_its_length() {
    let quota = cas::Quota { bytes: 1_000_000, objects: 10 };
    let settings =
        Settings { max_bytes: 2_000_000, quotas: [(ns("small"), quota)].into(), ..driver::settings() };
    with_world("cas-never", settings, |world| async move {
        let refused = async |name, length| {
            world.receive(upload(ns(name), Some(Digest::of(b"never")), Some(length)), Wire::cut(b"")).await
        };
        assert!(matches!(refused("ci", 2_000_000).await, Err(PutError::Full)));
        assert!(matches!(refused("small", 1_000_000).await, Err(PutError::QuotaFull)));
        assert!(matches!(refused("small", 900_000).await, Err(PutError::Body(BodyFailure::Disconnected))));
    });
}

#[test]
fn a_long_blob_of_a_told_length_is_stored_with_what_it_was_promised() {
    with_world("cas-long", driver::settings(), |world| async move {
        let bytes = bytes_of(20_000_000, 14);
        let stored = world.put(ns("ci"), &bytes).await.expect("stored");
        assert_eq!(world.cas.stored_bytes(), stored.stored_bytes);
        world.nothing_is_promised().await;
        assert!(world.get(ns("ci"), stored.digest).await.expect("there") == bytes);
    });
}

#[test]
fn the_media_type_of_an_upload_is_kept_for_its_namespace() {
    with_world("cas-type", driver::settings(), |world| async move {
        let bytes = bytes_of(1_000, 12);
        let digest = Digest::of(&bytes);
        let mut typed = upload(ns("one"), Some(digest), Some(1_000));
        typed.content_type = Some("text/x-log".into());
        world.receive(typed, Wire::whole(&bytes)).await.expect("stored");
        world.put(ns("two"), &bytes).await.expect("stored");
        let type_in =
            async |name| world.find(ns(name), digest).await.expect("readable").expect("there").content_type;
        assert_eq!(type_in("one").await.as_deref(), Some("text/x-log"));
        assert_eq!(type_in("two").await, None);
    });
}
