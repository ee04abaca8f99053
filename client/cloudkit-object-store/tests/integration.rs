//! The suite of the `object_store` crate itself, over the cloud in memory.

#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use cloudkit_core::api::ObjectStorage;
use cloudkit_object_store::BucketStore;
use cloudkit_testing::{MemoryCloud, MemoryStore};
use object_store::integration::*;
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt};

async fn store() -> BucketStore<MemoryStore> {
    let storage = MemoryCloud::new().storage();
    storage.create_bucket("bucket").await.unwrap();
    BucketStore::new(storage, "bucket")
}

#[tokio::test]
async fn objects_are_put_got_deleted_and_listed() {
    put_get_delete_list(&store().await).await;
}

#[tokio::test]
async fn attributes_come_back_or_are_refused() {
    put_get_attributes(&store().await).await;
}

#[tokio::test]
async fn conditions_of_reads_hold() {
    get_opts(&store().await).await;
}

#[tokio::test]
async fn conditions_of_reads_hold_in_a_bucket_with_versions() {
    let store = store().await;
    store.storage().set_versioning("bucket", true).await.unwrap();
    get_opts(&store).await;
    // A HEAD tells no version, so that the suite has not asked for one.
    let path = Path::from("test");
    let old = store.get(&path).await.unwrap().meta.version.unwrap();
    store.put(&path, "newer".into()).await.unwrap();
    let of_version = || GetOptions::new().with_version(Some(old.clone()));
    let read = store.get_opts(&path, of_version()).await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), "test");
    let head = store.get_opts(&path, of_version().with_head(true)).await.unwrap();
    assert_eq!((head.meta.size, head.meta.version), (4, Some(old)));
}

#[tokio::test]
async fn conditions_of_writes_hold() {
    put_opts(&store().await, true).await;
}

#[tokio::test]
async fn objects_are_streamed_and_uploads_aborted() {
    stream_get(&store().await).await;
}

#[tokio::test]
async fn folders_are_transparent() {
    list_uses_directories_correctly(&store().await).await;
}

#[tokio::test]
async fn levels_are_listed() {
    list_with_delimiter(&store().await).await;
}

#[tokio::test]
async fn what_comes_after_an_offset_excludes_it() {
    list_with_offset_exclusivity(&store().await).await;
}

#[tokio::test]
async fn a_missing_object_is_not_found() {
    let refused = get_nonexistent_object(&store().await, None).await.unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
}

#[tokio::test]
async fn objects_are_renamed_and_copied() {
    let store = store().await;
    rename_and_copy(&store).await;
    copy_if_not_exists(&store).await;
    copy_rename_nonexistent_object(&store).await;
}

#[tokio::test]
async fn uploads_race_and_the_last_one_wins() {
    multipart_race_condition(&store().await, true).await;
}

#[tokio::test]
async fn the_futures_of_parts_run_in_any_order() {
    multipart_out_of_order(&store().await).await;
}
