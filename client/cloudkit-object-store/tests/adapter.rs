//! What the suite of `object_store` does not ask for: uploads that end badly, providers that cannot do everything, keys that
//! no path spells, and what goes along with an object.

#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use bytes::Bytes;
use cloudkit_core::api::{ObjectStorage, PutStreamOptions};
use cloudkit_core::common::ByteStream;
use cloudkit_object_store::BucketStore;
use cloudkit_testing::{Fault, FaultPlan, Faulty, MemoryCloud, MemoryStore, When};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, MultipartUpload, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, TagSet,
};
use std::sync::Arc;

mod recorder;
use recorder::Recorder;

async fn memory() -> MemoryStore {
    let storage = MemoryCloud::new().storage();
    storage.create_bucket("bucket").await.unwrap();
    storage
}

async fn upload(store: &BucketStore<impl ObjectStorage + 'static>) -> Box<dyn MultipartUpload> {
    store.put_multipart(&Path::from("k")).await.unwrap()
}

#[tokio::test]
async fn an_aborted_upload_ends_the_put_before_abort_returns() {
    let store = BucketStore::new(Recorder::new(memory().await), "bucket");
    let mut upload = upload(&store).await;
    upload.put_part("one".into()).await.unwrap();
    // This one waits in the queue, or is taken: in both cases nothing comes of it.
    let waiting = upload.put_part("two".into());
    upload.abort().await.unwrap();
    assert_eq!(store.storage().ended(), ["IO error: the upload was aborted"]);
    drop(waiting);
    assert!(matches!(store.head(&Path::from("k")).await, Err(Error::NotFound { .. })));
    for over in [upload.abort().await.err(), upload.complete().await.err()] {
        assert!(matches!(over, Some(Error::Generic { .. })), "{over:?}");
    }
    assert!(upload.put_part("three".into()).await.is_err());
}

#[tokio::test]
async fn a_dropped_upload_ends_the_put_and_makes_no_object() {
    let store = BucketStore::new(Recorder::new(memory().await), "bucket");
    let mut upload = upload(&store).await;
    upload.put_part("one".into()).await.unwrap();
    drop(upload);
    store.storage().wait_for_end().await;
    assert_eq!(store.storage().ended(), ["IO error: the upload was aborted"]);
    assert!(matches!(store.head(&Path::from("k")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn an_upload_that_fails_says_why_to_parts_and_to_complete() {
    let plan = FaultPlan::new(1).fault_of("put_stream", When::Always, Fault::Refused("SlowDown"));
    let store = BucketStore::new(Faulty::new(memory().await, plan), "bucket");
    let mut upload = upload(&store).await;
    let refused = upload.put_part("one".into()).await.unwrap_err();
    assert!(refused.to_string().contains("SlowDown"), "{refused}");
    let refused = upload.put_part("two".into()).await.unwrap_err();
    assert!(refused.to_string().contains("SlowDown"), "{refused}");
    let refused = upload.complete().await.unwrap_err();
    assert!(refused.to_string().contains("SlowDown"), "{refused}");
}

#[tokio::test]
async fn parts_that_nobody_waits_for_have_a_bound() {
    let store = BucketStore::new(memory().await, "bucket");
    let mut upload = upload(&store).await;
    // On one thread the put runs only when this test waits.
    let waiting: Vec<_> = (0..1_024).map(|_| upload.put_part("x".into())).collect();
    assert!(matches!(upload.put_part("x".into()).await, Err(Error::Generic { .. })));
    futures_util::future::try_join_all(waiting).await.unwrap();
    upload.put_part("y".into()).await.unwrap();
    upload.complete().await.unwrap();
    let bytes = store.get(&Path::from("k")).await.unwrap().bytes().await.unwrap();
    assert_eq!((bytes.len(), bytes.last()), (1_025, Some(&b'y')));
}

#[test]
fn without_a_runtime_an_upload_is_refused_and_the_rest_works() {
    futures_executor::block_on(async {
        let storage = MemoryCloud::builder().clock(cloudkit_testing::ManualClock::new()).build().storage();
        storage.create_bucket("bucket").await.unwrap();
        let store = BucketStore::new(storage, "bucket");
        store.put(&Path::from("k"), "v".into()).await.unwrap();
        assert_eq!(store.get(&Path::from("k")).await.unwrap().bytes().await.unwrap(), "v");
        assert!(matches!(store.put_multipart(&Path::from("k")).await, Err(Error::Generic { .. })));
    });
}

#[tokio::test]
async fn what_a_provider_denies_is_not_supported() {
    // The recorder overrides nothing of the new methods but put_stream without conditions, and says so.
    let store = BucketStore::new(Recorder::plain(memory().await), "bucket");
    let path = Path::from("k");
    store.put(&path, "v".into()).await.unwrap();
    let e_tag = store.head(&path).await.unwrap().e_tag;
    let update = object_store::UpdateVersion { e_tag, version: None };
    for mode in [PutMode::Create, PutMode::Update(update)] {
        let refused = store.put_opts(&path, "w".into(), mode.into()).await.unwrap_err();
        assert!(matches!(refused, Error::NotSupported { .. }), "{refused}");
    }
    let refused = store.copy_if_not_exists(&path, &Path::from("l")).await.unwrap_err();
    assert!(matches!(refused, Error::NotSupported { .. }), "{refused}");
    let of_version = GetOptions::new().with_version(Some("v"));
    let refused = store.get_opts(&path, of_version).await.unwrap_err();
    assert!(matches!(refused, Error::NotSupported { .. }), "{refused}");
    assert_eq!(store.get_range(&path, 0..1).await.unwrap(), "v");
    assert!(store.list_with_delimiter(None).await.unwrap().common_prefixes.is_empty());
}

#[tokio::test]
async fn a_bucket_chosen_at_run_time_is_a_store_and_a_missing_one_is_not_found() {
    let storage: Arc<dyn ObjectStorage> = Arc::new(memory().await);
    let store: Arc<dyn ObjectStore> = Arc::new(BucketStore::new(storage.clone(), "bucket"));
    store.put(&Path::from("k"), "v".into()).await.unwrap();
    assert_eq!(store.to_string(), "CloudKit(bucket)");
    let none = BucketStore::new(storage, "none");
    assert!(matches!(none.get(&Path::from("k")).await, Err(Error::NotFound { .. })));
    assert!(matches!(none.list(None).try_collect::<Vec<_>>().await, Err(Error::NotFound { .. })));
    let refused = none.put_opts(&Path::from("k"), "v".into(), PutMode::Create.into()).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

#[tokio::test]
async fn keys_without_a_path_are_left_out() {
    let storage = memory().await;
    for key in ["a", "a/", "a//b", "/c", "d/../e", "f/g", "h//i"] {
        storage.put_object("bucket", key, b"x").await.unwrap();
    }
    let store = BucketStore::new(storage, "bucket");
    let listed: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(listed, [Path::from("a"), Path::from("f/g")]);
    let level = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(level.common_prefixes, ["a", "d", "f", "h"].map(Path::from));
    assert_eq!(level.objects.len(), 1);
}

#[tokio::test]
async fn what_goes_with_an_object_goes_along_with_its_copy() {
    let store = BucketStore::new(memory().await, "bucket");
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/csv"),
        (Attribute::Metadata("owner".into()), "ann"),
    ]);
    let mut tags = TagSet::default();
    tags.push("a b", "é+");
    let options = PutMultipartOptions { tags, attributes: attributes.clone(), ..Default::default() };
    let (from, to) = (Path::from("from"), Path::from("to"));
    let mut upload = store.put_multipart_opts(&from, options).await.unwrap();
    upload.put_part("v".into()).await.unwrap();
    upload.complete().await.unwrap();
    store.copy_opts(&from, &to, CopyOptions::new().with_mode(CopyMode::Create)).await.unwrap();
    let copy = store.get(&to).await.unwrap();
    assert_eq!(copy.attributes, attributes);
    assert_eq!(copy.bytes().await.unwrap(), "v");
    assert_eq!(store.storage().get_tags("bucket", "to").await.unwrap()["a b"], "é+");
    store.copy(&from, &from).await.unwrap();
    assert!(matches!(
        store.copy(&Path::from("none"), &Path::from("none")).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn conditions_that_providers_do_not_know_are_looked_at_here() {
    let store = BucketStore::new(memory().await, "bucket");
    let path = Path::from("k");
    let old = store.put(&path, "old".into()).await.unwrap().e_tag.unwrap();
    let new = store.put(&path, "new".into()).await.unwrap().e_tag.unwrap();
    assert!(new.starts_with('"') && new.ends_with('"'), "{new}");
    let get = async |options| store.get_opts(&path, options).await;
    let both = format!("{old}, {new}");
    assert!(get(GetOptions::new().with_if_match(Some("*"))).await.is_ok());
    let read = get(GetOptions::new().with_if_match(Some(&both)).with_range(Some(GetRange::Suffix(1)))).await;
    assert_eq!(read.unwrap().bytes().await.unwrap(), "w");
    let none = get(GetOptions::new().with_if_none_match(Some(&both))).await;
    assert!(matches!(none, Err(Error::NotModified { .. })), "{none:?}");
    let none = get(GetOptions::new().with_if_match(Some(format!("{old}, \"x\"")))).await;
    assert!(matches!(none, Err(Error::Precondition { .. })), "{none:?}");
    let head = GetOptions::new().with_head(true);
    let none = get(head.clone().with_if_none_match(Some(&new))).await;
    assert!(matches!(none, Err(Error::NotModified { .. })), "{none:?}");
    assert_eq!(get(head).await.unwrap().meta.size, 3);
}

#[tokio::test]
async fn what_changes_between_a_look_and_the_read_is_looked_at_again() {
    let store = BucketStore::new(Recorder::new(memory().await), "bucket");
    let path = Path::from("k");
    let old = store.put(&path, "old".into()).await.unwrap().e_tag.unwrap();
    let get = async |options| store.get_opts(&path, options).await;
    store.storage().change_after_head("new");
    let none = get(GetOptions::new().with_if_match(Some(format!("{old}, \"x\"")))).await;
    assert!(matches!(none, Err(Error::Precondition { .. })), "{none:?}");
    store.storage().change_after_head("newest");
    let read = get(GetOptions::new().with_if_match(Some("*"))).await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), "newest");
}

#[tokio::test]
async fn each_failed_deletion_is_told_of_its_object() {
    let storage = memory().await;
    for key in ["a", "b", "c"] {
        storage.put_object("bucket", key, b"x").await.unwrap();
    }
    let plan = FaultPlan::new(1).fault_of("delete_objects", When::Always, Fault::Connection).fault_of(
        "delete_object",
        When::Nth(2),
        Fault::Refused("AccessDenied"),
    );
    let store = BucketStore::new(Faulty::new(storage, plan), "bucket");
    let paths = ["a", "b", "c"].map(|key| Ok(Path::from(key)));
    let given = stream::iter(paths.into_iter().chain([Err(Error::NotImplemented {
        operation: String::from("a failure that was handed in"),
        implementer: String::from("test"),
    })]));
    let deleted: Vec<_> = store.delete_stream(given.boxed()).collect().await;
    assert!(matches!(&deleted[0], Ok(path) if path.as_ref() == "a"), "{deleted:?}");
    assert!(matches!(&deleted[1], Err(Error::Generic { .. })), "{deleted:?}");
    assert!(matches!(&deleted[2], Ok(path) if path.as_ref() == "c"), "{deleted:?}");
    assert!(matches!(&deleted[3], Err(Error::NotImplemented { .. })), "{deleted:?}");
}

#[tokio::test]
async fn a_payload_of_pieces_is_sent_whole_and_can_be_sent_again() {
    let recorder = Recorder::new(memory().await);
    let store = BucketStore::new(recorder, "bucket");
    let payload = ["one ", "two ", "three"].into_iter().map(Bytes::from).collect();
    store.put_opts(&Path::from("k"), payload, PutOptions::default()).await.unwrap();
    assert_eq!(store.storage().bodies(), [(Some(13), true)]);
    assert_eq!(store.get(&Path::from("k")).await.unwrap().bytes().await.unwrap(), "one two three");
}

/// The options of a put that nothing else names are the defaults.
#[tokio::test]
async fn an_upload_of_no_parts_is_an_empty_object() {
    let storage = memory().await;
    let put = storage.put_stream("bucket", "other", ByteStream::empty(), PutStreamOptions::new()).await;
    let store = BucketStore::new(storage, "bucket");
    let written = upload(&store).await.complete().await.unwrap();
    assert_eq!(written.e_tag, put.unwrap().etag.map(|etag| format!("\"{etag}\"")));
    assert_eq!(store.head(&Path::from("k")).await.unwrap().size, 0);
}
