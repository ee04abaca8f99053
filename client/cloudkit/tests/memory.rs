//! The address `memory://`, with the feature `testing` and without it.

use cloudkit::prelude::*;

#[cfg(not(feature = "testing"))]
#[tokio::test]
async fn without_its_feature_the_address_is_refused_by_name() {
    let refused = CloudKit::from_url("memory://").await.unwrap_err();
    assert!(matches!(&refused, CloudError::Config(text) if text.contains("`testing`")), "{refused}");
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn each_cloud_in_memory_is_a_new_one_with_four_services() {
    let (one, two) =
        (CloudKit::from_url("memory://").await.unwrap(), CloudKit::from_url("memory://").await.unwrap());
    one.storage().unwrap().create_bucket("bucket").await.unwrap();
    assert!(one.storage().unwrap().bucket_exists("bucket").await.unwrap());
    assert!(!two.storage().unwrap().bucket_exists("bucket").await.unwrap());
    let services = [Service::ObjectStorage, Service::KeyValueStore, Service::MessageQueue, Service::PubSub];
    assert_eq!(one.services(), services);
    let kv = one.kv_store().unwrap();
    kv.dyn_create_table("users", CreateTableOptions::new()).await.unwrap();
    kv.put("users", "ann", &[("age", 36)].into_iter().collect::<std::collections::HashMap<_, _>>())
        .await
        .unwrap();
    assert!(kv.dyn_exists("users", "ann").await.unwrap());
    let topic = one.pubsub().unwrap().dyn_create_topic("news").await.unwrap();
    assert!(topic.ends_with("news"));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn memory_has_no_host_and_takes_settings() {
    let refused = CloudKit::from_url("memory://host").await.unwrap_err();
    assert!(matches!(refused, CloudError::Config(_)), "{refused}");
    let cloud = CloudKit::from_url("memory://?max_retries=7").await.unwrap();
    assert_eq!(cloud.config.max_retries, 7);
}

#[cfg(all(feature = "testing", feature = "object-store"))]
#[tokio::test]
async fn a_bucket_in_memory_is_an_object_store() {
    let cloud = CloudKit::from_url("memory://").await.unwrap();
    cloud.storage().unwrap().create_bucket("bucket").await.unwrap();
    let store = cloudkit::object_store::BucketStore::new(cloud.storage().unwrap(), "bucket");
    assert_eq!(store.to_string(), "CloudKit(bucket)");
}
