//! A reader and an evictor at one slot: nobody is promised what is about to go, and a slot that is condemned for another blob's
//! sake only makes its readers wait.

mod driver;

use std::time::Duration;

use cas::Digest;
use cas::store::{BLOBS, ENTRIES, EntryKey};
use driver::{ns, with_world};
use store::{Fault, Operation, Outcome, TableId, Tx};

/// Takes a blob away, as an evictor does.
struct Take {
    digest: Digest,
}

impl Operation for Take {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BLOBS, self.digest.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.delete(ENTRIES, EntryKey::new(&self.digest, &ns("ci")).as_bytes());
        tx.delete(BLOBS, self.digest.as_bytes());
        Ok(Outcome::Commit(()))
    }
}

#[test]
fn a_hit_leases_and_a_miss_does_not() {
    with_world("cas-lease", driver::settings(), |world| async move {
        let digest = world.put(ns("ci"), b"bytes").await.expect("stored").digest;
        let absent = Digest::of(b"absent");
        assert!(world.find(ns("ci"), absent).await.expect("readable").is_none());
        assert!(world.cas.shared().leases.condemn(&absent, world.clock.now()).is_some());
        assert!(world.find(ns("ci"), digest).await.expect("readable").is_some());
        assert!(world.cas.shared().leases.condemn(&digest, world.clock.now()).is_none());
        world.clock.advance(Duration::from_secs(1_835));
        assert!(world.cas.shared().leases.condemn(&digest, world.clock.now()).is_some());
    });
}

#[test]
fn all_blobs_that_a_question_or_a_key_record_names_are_leased() {
    with_world("cas-lease-all", driver::settings(), |world| async move {
        let mut references = Vec::new();
        for number in 0..600_u32 {
            let stored = world.put(ns("ci"), &number.to_le_bytes()).await.expect("stored");
            references.push(cas::Reference { digest: stored.digest, length: stored.length });
        }
        let digests: Vec<Digest> = references.iter().map(|reference| reference.digest).collect();
        let name = cas::KeyName::new(ns("ci"), cas::Dialect::Native, *b"k").expect("a key");
        let new = cas::NewKey { references, ..cas::NewKey::default() };
        world.key_put(&name, new).await.expect("written");
        for is_question in [true, false] {
            world.clock.advance(Duration::from_secs(4_000));
            if is_question {
                let asked = digests.clone();
                world.ask(|cx, done| world.cas.missing(cx, &ns("ci"), asked, done)).await.expect("readable");
            } else {
                assert!(world.key_get(&name).await.is_some());
            }
            for digest in &digests {
                assert!(world.cas.shared().leases.condemn(digest, world.clock.now()).is_none());
            }
        }
    });
}

#[test]
fn a_reader_of_a_slot_that_is_condemned_for_another_blob_waits_and_finds_its_own() {
    with_world("cas-lease-other", driver::settings(), |world| async move {
        let digest = world.put(ns("ci"), b"bytes").await.expect("stored").digest;
        let condemned = world.cas.shared().leases.condemn(&digest, world.clock.now()).expect("free");
        let (found, ()) = driver::both(world.find(ns("ci"), digest), async {
            ring::sleep(Duration::from_millis(20)).await;
            drop(condemned);
        })
        .await;
        assert!(found.expect("readable").is_some());
    });
}

#[test]
fn a_reader_of_a_slot_that_stays_condemned_is_told_that_the_store_is_busy() {
    with_world("cas-lease-stays", driver::settings(), |world| async move {
        let digest = world.put(ns("ci"), b"bytes").await.expect("stored").digest;
        let _condemned = world.cas.shared().leases.condemn(&digest, world.clock.now()).expect("free");
        assert!(matches!(world.find(ns("ci"), digest).await, Err(Fault::Busy)));
        // What is not there needs no lease, so nobody has to wait for it.
        let other = world.find(ns("other"), digest).await;
        assert!(other.expect("readable").is_none());
    });
}

#[test]
fn a_reader_that_meets_an_eviction_is_told_what_became_of_it() {
    with_world("cas-lease-evict", driver::settings(), |world| async move {
        for length in [5_usize, 100_000] {
            let digest = world.put(ns("ci"), &vec![7; length]).await.expect("stored").digest;
            let condemned = world.cas.shared().leases.condemn(&digest, world.clock.now()).expect("free");
            let shard = cas::store::place_of(&world.store, &digest);
            let (found, taken) =
                driver::both(world.find(ns("ci"), digest), world.store.submit(shard, Take { digest })).await;
            taken.expect("written");
            assert!(found.expect("readable").is_none());
            drop(condemned);
            assert!(world.find(ns("ci"), digest).await.expect("readable").is_none());
        }
    });
}

#[test]
fn a_key_record_that_was_found_whole_is_looked_through_again_after_half_a_lease_or_a_removal_by_force() {
    with_world("cas-lease-closure", driver::settings(), |world| async move {
        let mut references = Vec::new();
        for number in 0..20_u32 {
            let stored = world.put(ns("ci"), &number.to_le_bytes()).await.expect("stored");
            references.push(cas::Reference { digest: stored.digest, length: stored.length });
        }
        let other = world.put(ns("ci"), b"other").await.expect("stored").digest;
        let (first, last) = (references[0].digest, references[19].digest);
        let name = cas::KeyName::new(ns("ci"), cas::Dialect::Native, *b"k").expect("a key");
        let new = cas::NewKey { references, ..cas::NewKey::default() };
        // Behind the back of the leases, which nothing but a test does: so it shows whether a blob was looked at.
        let take = async |digest| {
            let shard = cas::store::place_of(&world.store, &digest);
            world.store.submit(shard, Take { digest }).await.expect("written");
        };
        let restore = async |digest, bytes: &[u8]| {
            assert_eq!(world.put(ns("ci"), bytes).await.expect("stored").digest, digest);
            world.key_put(&name, new.clone()).await.expect("written");
            assert!(world.key_get(&name).await.is_some());
        };
        restore(last, &19_u32.to_le_bytes()).await;
        take(last).await;
        assert_eq!(world.key_get(&name).await.expect("not looked at").references.len(), 20);
        world.clock.advance(Duration::from_secs(899));
        assert!(world.key_get(&name).await.is_some());
        world.clock.advance(Duration::from_secs(1));
        assert!(world.key_get(&name).await.is_none(), "looked at, and the record dropped");

        restore(last, &19_u32.to_le_bytes()).await;
        take(last).await;
        let stored_ms = world.find(ns("ci"), other).await.expect("readable").expect("there").stored_ms;
        world.ask(|cx, done| world.cas.quarantine(cx, other, stored_ms, done)).await.expect("done");
        assert!(world.key_get(&name).await.is_none(), "something went against its lease");

        restore(last, &19_u32.to_le_bytes()).await;
        take(first).await;
        assert!(world.key_get(&name).await.is_none(), "the first is always read");
    });
}
