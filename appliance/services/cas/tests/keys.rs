//! Key records against a real store: a hit means that all its blobs are there, and a record that lacks one is gone.

mod driver;

use bytes::Bytes;
use cas::store::key::{INLINE_BYTES_MAX, METADATA_BYTES_MAX, REFERENCE_COUNT_MAX};
use cas::store::{ACCESS, KEYS};
use cas::{Dialect, Digest, KeyError, KeyName, NewKey, Reference};
use driver::{Stop, TempDir, World, ns, with_world, with_world_until};
use store::ManualClock;

fn name(key: &[u8]) -> KeyName {
    KeyName::new(ns("ci"), Dialect::Bazel, key).expect("a key")
}

async fn blob(world: &World, bytes: &[u8]) -> Reference {
    let stored = world.put(ns("ci"), bytes).await.expect("stored");
    Reference { digest: stored.digest, length: stored.length }
}

fn absent(salt: u64) -> Reference {
    Reference { digest: Digest::of(&salt.to_le_bytes()), length: 8 }
}

#[test]
fn a_key_record_comes_back_with_its_first_blob_also_behind_a_restart() {
    for end in [Stop::Drained, Stop::AtOnce] {
        let directory = TempDir::new("cas-keys");
        let clock = ManualClock::new(driver::BEGINNING);
        with_world_until(&directory.0, end, &clock, driver::settings(), |world| async move {
            let references = vec![blob(&world, b"first").await, blob(&world, b"second").await];
            let metadata = vec![("tag".into(), "value".into())];
            let value = Bytes::from_static(b"inline");
            let new = NewKey { value, metadata, references, ..NewKey::default() };
            assert!(world.key_get(&name(b"k")).await.is_none());
            world.key_put(&name(b"k"), new).await.expect("written");
        });
        with_world_until(&directory.0, end, &clock, driver::settings(), |world| async move {
            let hit = world.key_get(&name(b"k")).await.expect("there");
            assert_eq!(&hit.value[..], b"inline");
            assert_eq!(hit.metadata, [("tag".into(), "value".into())]);
            assert_eq!(hit.references.len(), 2);
            assert_eq!(hit.first.expect("there").digest, Digest::of(b"first"));
        });
    }
}

#[test]
fn a_key_record_is_not_written_while_one_of_its_blobs_is_missing_and_says_which() {
    with_world("cas-keys-missing", driver::settings(), |world| async move {
        let there = blob(&world, b"there").await;
        let references = vec![absent(1), there, absent(2)];
        let new = NewKey { references, ..NewKey::default() };
        match world.key_put(&name(b"k"), new).await {
            Err(KeyError::Missing(missing)) => {
                assert_eq!(missing, [absent(1).digest, absent(2).digest]);
            }
            answer => panic!("{answer:?}"),
        }
        assert_eq!(world.count(KEYS), 0);
        world.nothing_is_promised().await;
    });
}

#[test]
fn a_reference_of_another_length_than_its_blob_counts_as_missing() {
    with_world("cas-keys-length", driver::settings(), |world| async move {
        let wrong = Reference { length: 4, ..blob(&world, b"there").await };
        let answer =
            world.key_put(&name(b"k"), NewKey { references: vec![wrong], ..NewKey::default() }).await;
        assert!(matches!(answer, Err(KeyError::Missing(missing)) if missing == [wrong.digest]));
    });
}

#[test]
fn a_key_record_that_lost_a_blob_is_a_miss_and_gone() {
    with_world("cas-keys-lost", driver::settings(), |world| async move {
        let references = vec![blob(&world, b"kept").await, blob(&world, b"lost").await];
        let lost = references[1].digest;
        world.key_put(&name(b"k"), NewKey { references, ..NewKey::default() }).await.expect("written");
        let stored_ms = world.find(ns("ci"), lost).await.expect("readable").expect("there").stored_ms;
        assert!(
            world.ask(|cx, done| world.cas.quarantine(cx, lost, stored_ms, done)).await.expect("written")
        );
        assert_eq!(world.count(KEYS), 1);
        assert!(world.key_get(&name(b"k")).await.is_none());
        assert_eq!(world.count(KEYS), 0, "it is dropped");
        assert_eq!(world.usage(Some(&ns("ci"))), [1, 4 + 768], "one blob is left");
        assert_eq!(world.count(ACCESS), 1);
        // What is brought again makes a new record a hit.
        let references = vec![blob(&world, b"lost").await];
        world.key_put(&name(b"k"), NewKey { references, ..NewKey::default() }).await.expect("written");
        assert!(world.key_get(&name(b"k")).await.is_some());
    });
}

#[test]
fn ten_thousand_references_are_checked_and_one_more_is_refused() {
    with_world("cas-keys-many", driver::settings(), |world| async move {
        let there = blob(&world, b"there").await;
        let mut references = vec![there; REFERENCE_COUNT_MAX];
        world
            .key_put(&name(b"k"), NewKey { references: references.clone(), ..NewKey::default() })
            .await
            .expect("written");
        assert_eq!(world.key_get(&name(b"k")).await.expect("there").references.len(), REFERENCE_COUNT_MAX);
        references[REFERENCE_COUNT_MAX - 1] = absent(1);
        let answer =
            world.key_put(&name(b"l"), NewKey { references: references.clone(), ..NewKey::default() }).await;
        assert!(matches!(answer, Err(KeyError::Missing(missing)) if missing == [absent(1).digest]));
        references.push(there);
        let answer = world.key_put(&name(b"l"), NewKey { references, ..NewKey::default() }).await;
        assert!(matches!(answer, Err(KeyError::TooLarge)));
    });
}

#[test]
fn values_and_metadata_beyond_their_bounds_are_refused_and_at_them_kept() {
    with_world("cas-keys-bounds", driver::settings(), |world| async move {
        let largest = NewKey {
            value: vec![1; INLINE_BYTES_MAX].into(),
            metadata: vec![("m".into(), "v".repeat(METADATA_BYTES_MAX - 1).into())],
            ..NewKey::default()
        };
        let longest = name(&[0xff; 512]);
        world.key_put(&longest, largest.clone()).await.expect("written");
        assert_eq!(world.key_get(&longest).await.expect("there").value.len(), INLINE_BYTES_MAX);
        let long_value = NewKey { value: vec![1; INLINE_BYTES_MAX + 1].into(), ..NewKey::default() };
        let mut long_metadata = largest;
        long_metadata.metadata.push(("n".into(), "".into()));
        // Pairs of nothing take no bytes, but are not free.
        let many = vec![("".into(), "".into()); METADATA_BYTES_MAX + 1];
        for new in [long_value, long_metadata, NewKey { metadata: many, ..NewKey::default() }] {
            assert!(matches!(world.key_put(&name(b"k"), new).await, Err(KeyError::TooLarge)));
        }
    });
}

#[test]
fn keys_of_odd_bytes_and_of_other_dialects_and_namespaces_never_meet() {
    with_world("cas-keys-odd", driver::settings(), |world| async move {
        let mut names = Vec::new();
        for space in ["a", "a-b"] {
            for dialect in [Dialect::Ccache, Dialect::Nx] {
                for key in [&b"\0"[..], b"\0\0", b"-b\0\x07k", b"k", b"\xff\xfe", b"../k", &[0; 512]] {
                    names.push(KeyName::new(ns(space), dialect, key).expect("a key"));
                }
            }
        }
        for (number, name) in names.iter().enumerate() {
            let value = Bytes::from(number.to_string());
            world.key_put(name, NewKey { value, ..NewKey::default() }).await.expect("written");
        }
        for (number, name) in names.iter().enumerate() {
            let hit = world.key_get(name).await.expect("there");
            assert_eq!(hit.value, number.to_string().as_bytes(), "{name:?}");
        }
    });
}

#[test]
fn a_record_that_is_to_be_the_first_leaves_another_alone_and_one_that_is_not_replaces_it() {
    with_world("cas-keys-first", driver::settings(), |world| async move {
        let new = |value: &'static [u8], if_absent| NewKey {
            value: Bytes::from_static(value),
            if_absent,
            ..NewKey::default()
        };
        world.key_put(&name(b"k"), new(b"one", true)).await.expect("written");
        let usage = world.usage(Some(&ns("ci")));
        assert!(matches!(world.key_put(&name(b"k"), new(b"two", true)).await, Err(KeyError::Exists)));
        assert_eq!(&world.key_get(&name(b"k")).await.expect("there").value[..], b"one");
        world.key_put(&name(b"k"), new(b"three", false)).await.expect("written");
        assert_eq!(&world.key_get(&name(b"k")).await.expect("there").value[..], b"three");
        assert_eq!(world.usage(Some(&ns("ci"))), [usage[0], usage[1] + 2]);
        assert_eq!(world.usage(None), world.usage(Some(&ns("ci"))));
        let delete = async || world.ask(|cx, done| world.cas.key_delete(cx, name(b"k"), done)).await;
        assert!(delete().await.expect("done"));
        assert!(!delete().await.expect("done"));
        assert!(world.key_get(&name(b"k")).await.is_none());
        assert_eq!((world.usage(None), world.cas.stored_bytes(), world.count(ACCESS)), ([0, 0], 0, 0));
    });
}

#[test]
fn which_of_ten_thousand_digests_are_missing_is_told_in_their_order() {
    with_world("cas-missing", driver::settings(), |world| async move {
        let there = blob(&world, b"there").await.digest;
        let of_another = world.put(ns("other"), b"foreign").await.expect("stored").digest;
        let mut digests: Vec<Digest> = (0..10_000).map(|salt| absent(salt).digest).collect();
        for place in [0, 255, 256, 9_999] {
            digests[place] = there;
        }
        digests[5] = of_another;
        let missing = async |digests: Vec<Digest>| {
            world.ask(|cx, done| world.cas.missing(cx, &ns("ci"), digests, done)).await
        };
        let answers = missing(digests.clone()).await.expect("readable");
        assert_eq!(answers.len(), 10_000);
        for (digest, is_missing) in digests.iter().zip(&answers) {
            assert_eq!(*is_missing, *digest != there);
        }
        assert_eq!(missing(Vec::new()).await.expect("readable"), []);
        digests.push(there);
        assert!(missing(digests).await.is_err());
    });
}
