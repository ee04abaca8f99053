//! The suite of the `object_store` crate itself, over an appliance.
//!
//! `ZEROCLOUD_BINARY=target/release/zerocloud cargo test -p cloudkit-object-store --test zero -- --ignored`

use cloudkit_conformance::Appliance;
use cloudkit_core::api::ObjectStorage;
use cloudkit_core::common::CloudConfig;
use cloudkit_core::spi::StaticAuthProvider;
use cloudkit_object_store::BucketStore;
use cloudkit_zero::s3::ZeroStore;
use cloudkit_zero::{ZeroBuilder, ZeroClient};
use object_store::integration::*;
use std::time::Duration;

/// A client of an appliance, which lives as long as the first of both.
async fn started() -> (Appliance, ZeroClient) {
    let appliance = Appliance::start().expect("ZEROCLOUD_BINARY names an appliance that starts");
    let keys = appliance.credentials().expect("it has written its keys");
    // A machine that stands still for a while makes no test fail.
    let config = CloudConfig { timeout: PATIENCE, request_timeout: PATIENCE, ..CloudConfig::default() };
    let builder = ZeroBuilder::new().config(config).auth_provider(StaticAuthProvider::new(keys));
    let client = builder.endpoint(appliance.url()).build().await.expect("the address is good");
    (appliance, client)
}

async fn bucket(client: &ZeroClient, name: &str) -> BucketStore<ZeroStore> {
    client.storage().create_bucket(name).await.expect("it is made");
    BucketStore::new(client.storage(), name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn the_suite_of_object_store_passes_over_an_appliance() {
    let (_appliance, client) = started().await;
    put_get_delete_list(&bucket(&client, "put-get-delete-list").await).await;
    put_get_attributes(&bucket(&client, "attributes").await).await;
    get_opts(&bucket(&client, "conditions").await).await;
    let versions = bucket(&client, "versions").await;
    client.storage().set_versioning("versions", true).await.expect("it keeps versions");
    get_opts(&versions).await;
    put_opts(&bucket(&client, "conditional-puts").await, true).await;
    stream_get(&bucket(&client, "streams").await).await;
    list_uses_directories_correctly(&bucket(&client, "folders").await).await;
    list_with_delimiter(&bucket(&client, "levels").await).await;
    list_with_offset_exclusivity(&bucket(&client, "offsets").await).await;
    let missing = get_nonexistent_object(&bucket(&client, "missing").await, None).await;
    assert!(matches!(missing, Err(object_store::Error::NotFound { .. })), "{missing:?}");
    let copies = bucket(&client, "copies").await;
    rename_and_copy(&copies).await;
    copy_if_not_exists(&copies).await;
    copy_rename_nonexistent_object(&copies).await;
    multipart_race_condition(&bucket(&client, "races").await, true).await;
    multipart_out_of_order(&bucket(&client, "parts").await).await;
}

const PATIENCE: Duration = Duration::from_secs(600);
