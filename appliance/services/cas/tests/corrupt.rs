//! Bytes on the disk that are not those of their digest: never served whole, put aside, and brought again without trouble.

mod damage;
mod driver;

use cas::Digest;
use cas::store::{BLOBS, ENTRIES, QUARANTINE};
use damage::swap;
use driver::{World, ns, with_world};
use plan::{Reply, ReplyBody};
use store::{Body, Fault, Operation, Outcome, TableId, Tx};

/// What a client gets of a blob: its bytes, or nothing for a miss.
async fn served(world: &World, name: &str, digest: Digest) -> Option<Vec<u8>> {
    let blob = world.find(ns(name), digest).await.expect("readable")?;
    let miss =
        |_: &mut plan::Context<'_>| Reply::bytes(http_types::StatusCode::NOT_FOUND, "text/plain", "miss");
    let body = world.cas.reply(blob, miss);
    assert!(matches!(body, ReplyBody::Verified { .. }));
    let reply = Reply { body, ..Reply::empty(http_types::StatusCode::OK) };
    Some(world.body_of(reply).await).filter(|bytes| bytes != b"miss")
}

#[test]
fn a_blob_with_other_bytes_is_never_served_and_is_absent_from_then_on() {
    with_world("cas-corrupt", driver::settings(), |world| async move {
        for length in [100_usize, 10_000, 200_000] {
            let (bytes, other) = (vec![1; length], vec![2; length]);
            let digest = world.put(ns("one"), &bytes).await.expect("stored").digest;
            world.put(ns("two"), &bytes).await.expect("stored");
            assert_eq!(served(&world, "one", digest).await.expect("there"), bytes);
            swap(&world, digest, &other).await;
            assert!(served(&world, "one", digest).await.is_none());
            for name in ["one", "two"] {
                assert!(world.find(ns(name), digest).await.expect("readable").is_none());
            }
            assert_eq!((world.count(BLOBS), world.count(ENTRIES)), (0, 0));
            assert_eq!((world.usage(None), world.usage(Some(&ns("two")))), ([0, 0], [0, 0]));
            // Brought again it is there again.
            assert!(world.put(ns("two"), &bytes).await.expect("stored").new);
            assert_eq!(served(&world, "two", digest).await.expect("there"), bytes);
            let stored_ms = world.find(ns("two"), digest).await.expect("readable").expect("there").stored_ms;
            world.ask(|cx, done| world.cas.quarantine(cx, digest, stored_ms, done)).await.expect("done");
        }
        assert_eq!(world.count(QUARANTINE), 3);
        assert_eq!(world.cas.stored_bytes(), 0);
    });
}

#[test]
fn a_blob_that_was_stored_later_than_the_one_that_was_read_stays() {
    with_world("cas-later", driver::settings(), |world| async move {
        let digest = world.put(ns("ci"), b"bytes").await.expect("stored").digest;
        let blob = world.find(ns("ci"), digest).await.expect("readable").expect("there");
        let aside =
            async |stored_ms| world.ask(|cx, done| world.cas.quarantine(cx, digest, stored_ms, done)).await;
        assert!(!aside(blob.stored_ms - 1).await.expect("done"));
        assert_eq!(world.get(ns("ci"), digest).await.expect("there"), b"bytes");
        assert!(aside(blob.stored_ms).await.expect("done"));
        assert!(!aside(blob.stored_ms).await.expect("done"), "it is gone");
    });
}

#[test]
fn a_blob_that_more_namespaces_have_than_one_operation_takes_is_taken_from_all() {
    with_world("cas-spaces", driver::settings(), |world| async move {
        for number in 0..501 {
            world.put(ns(&format!("n{number}")), b"bytes").await.expect("stored");
        }
        let digest = Digest::of(b"bytes");
        let stored_ms = world.find(ns("n0"), digest).await.expect("readable").expect("there").stored_ms;
        world.ask(|cx, done| world.cas.quarantine(cx, digest, stored_ms, done)).await.expect("done");
        assert_eq!((world.count(BLOBS), world.count(ENTRIES), world.usage(None)), (0, 0, [0, 0]));
        assert_eq!(world.count(cas::store::ACCESS), 0);
        let evicted = world.cas.figures(world.clock.now()).evicted[cas::Reason::Corrupt as usize];
        assert_eq!(evicted, [501, cas::store::stored_bytes(5)]);
    });
}

#[test]
fn what_is_put_aside_is_pinned_no_more() {
    with_world("cas-pinned", driver::settings(), |world| async move {
        let digest = world.put(ns("ci"), b"bytes").await.expect("stored").digest;
        let pin = cas::Pin { until: None, stored_bytes: 0, reason: "a test".into(), who: "test".into() };
        let what = cas::Pinned::Blob(ns("ci"), digest);
        world.ask(|cx, done| world.cas.pin(cx, &what, pin, done)).await.expect("pinned");
        let stored_ms = world.find(ns("ci"), digest).await.expect("readable").expect("there").stored_ms;
        world.ask(|cx, done| world.cas.quarantine(cx, digest, stored_ms, done)).await.expect("done");
        let figures = world.cas.figures(world.clock.now());
        assert_eq!((figures.pinned_objects, figures.pinned_bytes, world.count(cas::store::PINS)), (0, 0, 0));
    });
}

#[test]
fn what_is_put_aside_is_bounded_by_count_and_by_bytes() {
    with_world("cas-aside", driver::settings(), |world| async move {
        let put_aside = async |bytes: &[u8]| {
            let digest = world.put(ns("ci"), bytes).await.expect("stored").digest;
            let stored_ms = world.find(ns("ci"), digest).await.expect("readable").expect("there").stored_ms;
            world.ask(|cx, done| world.cas.quarantine(cx, digest, stored_ms, done)).await.expect("done");
            world.clock.advance(std::time::Duration::from_millis(1));
        };
        for number in 0..100_u64 {
            put_aside(&number.to_le_bytes()).await;
        }
        let shards = world.store.shards().count();
        assert_eq!(world.count(QUARANTINE), shards * cas::corrupt::QUARANTINE_COUNT_MAX);
        for number in 0..6_u8 {
            put_aside(&vec![number; 9_000_000]).await;
        }
        let mut large = 0;
        for shard in world.store.shards() {
            let view = world.store.view(shard).expect("readable");
            let mut scan = view.scan(QUARANTINE, std::ops::Bound::Unbounded, store::Direction::Forward);
            while let Some((_, record)) = scan.next().expect("readable") {
                large += record.bodies.iter().filter(|body| body.length() > 1_000_000).count();
            }
        }
        assert!((1..=shards).contains(&large), "{large} bodies of 9 MB in {shards} shards");
    });
}

/// Puts a value of no known version in the place of a record's.
struct Scramble {
    table: TableId,
    key: Vec<u8>,
}

impl Operation for Scramble {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(self.table, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let record = tx.get(self.table, &self.key)?.expect("there");
        let bodies = record.bodies.into_iter().map(Body::Kept).collect();
        tx.put(self.table, &self.key, b"\xffscrambled", bodies, false);
        Ok(Outcome::Commit(()))
    }
}

#[test]
fn a_damaged_record_is_a_miss_and_is_mended_by_what_is_brought_again() {
    with_world("cas-scrambled", driver::settings(), |world| async move {
        let bytes = vec![3; 40_000];
        let digest = world.put(ns("ci"), &bytes).await.expect("stored").digest;
        let usage = (world.usage(None), world.usage(Some(&ns("ci"))));
        let shard = cas::store::place_of(&world.store, &digest);
        let entry_key = cas::store::EntryKey::new(&digest, &ns("ci")).as_bytes().to_vec();
        for (table, key) in [(BLOBS, digest.as_bytes().to_vec()), (ENTRIES, entry_key)] {
            world.store.submit(shard, Scramble { table, key }).await.expect("written");
            let corrupt = world.cas.shared().corrupt_count();
            assert!(world.find(ns("ci"), digest).await.expect("a miss is no error").is_none());
            assert!(world.cas.shared().corrupt_count() > corrupt, "it is counted");
            world.put(ns("ci"), &bytes).await.expect("stored");
            assert_eq!(world.get(ns("ci"), digest).await.expect("there"), bytes);
            assert_eq!((world.usage(None), world.usage(Some(&ns("ci")))), usage);
        }
        let name = cas::KeyName::new(ns("ci"), cas::Dialect::Nx, *b"k").expect("a key");
        let key = cas::store::key_key(&name);
        let shard = world.store.place(&key);
        for if_absent in [true, false] {
            let new = cas::NewKey { if_absent, ..cas::NewKey::default() };
            world.key_put(&name, new.clone()).await.expect("written");
            let scramble = Scramble { table: cas::store::KEYS, key: key.clone() };
            world.store.submit(shard, scramble).await.expect("written");
            assert!(world.key_get(&name).await.is_none());
            world.key_put(&name, new).await.expect("written");
            assert!(world.key_get(&name).await.is_some());
            assert!(world.ask(|cx, done| world.cas.key_delete(cx, name.clone(), done)).await.expect("done"));
        }
    });
}
