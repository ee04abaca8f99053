//! Digests that are blocked: absent and refused everywhere, whatever was promised, until somebody lets them in again.

mod background;
mod driver;

use background::{pass, pin, settings};
use cas::store::{ACCESS, BLOBS, BLOCKED, ENTRIES, PINS, QUARANTINE};
use cas::{Block, Dialect, Digest, KeyName, NewKey, Pinned, PutError, Reference};
use driver::{BEGINNING, Stop, TempDir, World, ns, upload, with_world, with_world_until};
use store::{ManualClock, TableId};

async fn block(world: &World, digest: Digest, reason: &str) -> bool {
    let block = Block { at: world.clock.now(), reason: reason.into(), who: "test".into() };
    world.ask(|cx, done| world.cas.block(cx, digest, block, done)).await.expect("blocked")
}

async fn unblock(world: &World, digest: Digest) -> bool {
    world.ask(|cx, done| world.cas.unblock(cx, digest, done)).await.expect("the store is open")
}

fn counts(world: &World) -> [usize; 6] {
    [BLOBS, ENTRIES, ACCESS, PINS, QUARANTINE, BLOCKED].map(|table: TableId| world.count(table))
}

#[test]
fn what_is_blocked_is_absent_and_refused_whoever_had_it_leased_or_pinned() {
    with_world("blocks", settings(1 << 30), |world| async move {
        for length in [100_usize, 200_000] {
            let bytes = vec![length as u8; length];
            let digest = world.put(ns("a"), &bytes).await.expect("stored").digest;
            world.put(ns("b"), &bytes).await.expect("stored");
            pin(&world, &Pinned::Blob(ns("a"), digest), None).await.expect("pinned");
            assert!(world.get(ns("a"), digest).await.is_some(), "and leased");
            assert!(block(&world, digest, "poisoned").await);
            for name in ["a", "b"] {
                assert!(world.find(ns(name), digest).await.expect("readable").is_none());
                let refused = world.put(ns(name), &bytes).await;
                assert!(matches!(refused, Err(PutError::Blocked)), "{refused:?}");
                // Also where nobody says beforehand what comes.
                let unnamed = upload(ns(name), None, Some(length as u64));
                let refused = world.receive(unnamed, driver::Wire::whole(&bytes)).await;
                assert!(matches!(refused, Err(PutError::Blocked)), "{refused:?}");
            }
            assert_eq!(counts(&world), [0, 0, 0, 0, 0, 1]);
            assert_eq!((world.usage(None), world.usage(Some(&ns("b")))), ([0, 0], [0, 0]));
            let figures = world.cas.figures(world.clock.now());
            assert_eq!((figures.pinned_bytes, figures.pinned_objects, figures.stored_bytes), (0, 0, 0));
            world.nothing_is_promised().await;
            let listed = world.with_context(|cx| world.cas.blocked(cx)).expect("readable");
            assert_eq!(listed.len(), 1);
            assert_eq!((listed[0].0, &*listed[0].1.reason, &*listed[0].1.who), (digest, "poisoned", "test"));
            assert!(!block(&world, digest, "again").await, "it is blocked already");
            assert!(unblock(&world, digest).await && !unblock(&world, digest).await);
            assert!(world.find(ns("a"), digest).await.expect("readable").is_none(), "it does not come back");
            assert!(world.put(ns("a"), &bytes).await.expect("stored").new);
            assert_eq!(world.get(ns("a"), digest).await.expect("there"), bytes);
            assert!(block(&world, digest, "").await && unblock(&world, digest).await);
        }
    });
}

#[test]
fn a_key_record_that_names_what_is_blocked_is_no_hit_though_it_was_found_whole_before() {
    with_world("blocks-keys", settings(1 << 30), |world| async move {
        let mut references = Vec::new();
        for number in 0..20_u32 {
            let stored = world.put(ns("ci"), &number.to_le_bytes()).await.expect("stored");
            references.push(Reference { digest: stored.digest, length: stored.length });
        }
        let last = references[19].digest;
        let name = KeyName::new(ns("ci"), Dialect::Native, *b"k").expect("a key");
        let new = NewKey { references, ..NewKey::default() };
        world.key_put(&name, new.clone()).await.expect("written");
        assert!(world.key_get(&name).await.is_some(), "from now on its blobs are not looked at");
        assert!(block(&world, last, "poisoned").await);
        assert!(world.key_get(&name).await.is_none());
        assert!(
            matches!(world.key_put(&name, new).await, Err(cas::KeyError::Missing(missing)) if missing == [last])
        );
    });
}

#[test]
fn a_blob_that_more_namespaces_have_than_one_operation_takes_is_taken_from_all() {
    with_world("blocks-spaces", settings(1 << 30), |world| async move {
        for number in 0..501 {
            world.put(ns(&format!("n{number}")), b"bytes").await.expect("stored");
        }
        assert!(block(&world, Digest::of(b"bytes"), "").await);
        assert_eq!((counts(&world), world.usage(None)), ([0, 0, 0, 0, 0, 1], [0, 0]));
        let evicted = world.cas.figures(world.clock.now()).evicted[cas::Reason::Admin as usize];
        assert_eq!(evicted, [501, 5 + 768]);
    });
}

#[test]
fn a_block_outlives_a_start_and_what_is_not_there_can_be_blocked() {
    let (directory, clock) = (TempDir::new("blocks-start"), ManualClock::new(BEGINNING));
    with_world_until(&directory.0, Stop::AtOnce, &clock, settings(1 << 30), |world| async move {
        assert!(block(&world, Digest::of(b"never there"), "in the news").await);
    });
    with_world_until(&directory.0, Stop::Drained, &clock, settings(1 << 30), |world| async move {
        pass(&world, 600).await;
        assert!(matches!(world.put(ns("a"), b"never there").await, Err(PutError::Blocked)));
        assert!(unblock(&world, Digest::of(b"never there")).await);
        world.put(ns("a"), b"never there").await.expect("stored");
    });
}
