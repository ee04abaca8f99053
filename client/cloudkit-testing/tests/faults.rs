//! What [`Faulty`] does to calls, and what its log says of it.

use cloudkit_core::api::{
    GetStreamOptions, KeyValueStore, KvPutOptions, MessageQueue, ObjectStorage, PubSub, ReceiveOptions,
};
use cloudkit_core::common::CloudError;
use cloudkit_testing::{Fault, FaultPlan, Faulty, MemoryCloud, MemoryStore, When};
use serde_json::json;
use std::time::Duration;

async fn store(plan: FaultPlan) -> Faulty<MemoryStore> {
    let store = MemoryCloud::new().storage();
    store.create_bucket("bucket").await.expect("a new bucket");
    store.put_object("bucket", "key", b"0123456789").await.expect("a small object");
    Faulty::new(store, plan)
}

#[tokio::test]
async fn the_nth_call_fails_and_the_log_says_so() {
    let store = store(FaultPlan::new(1).fault_of("head_object", When::Nth(2), Fault::Connection)).await;
    let head = async || store.head_object("bucket", "key").await;
    assert!(head().await.is_ok());
    assert!(store.get_object("bucket", "key").await.is_ok());
    assert!(matches!(head().await, Err(CloudError::Network(_))));
    assert!(head().await.is_ok());
    let log = store.log();
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].call, log[0].operation, &log[0].fault), (3, "head_object", &Fault::Connection));
    assert_eq!(store.calls(), 4);
}

#[tokio::test]
async fn one_seed_gives_one_course() {
    let course = async |seed| {
        let store = store(FaultPlan::new(seed).fault(When::Chance(0.3), Fault::Unavailable)).await;
        let mut failed = Vec::new();
        for _ in 0..200 {
            failed.push(store.bucket_exists("bucket").await.is_err());
        }
        assert_eq!(store.log().len(), failed.iter().filter(|one| **one).count());
        failed
    };
    let (once, again, other) = (course(5).await, course(5).await, course(6).await);
    assert_eq!(once, again);
    assert_ne!(once, other);
    assert!(once.contains(&true) && once.contains(&false));
}

#[tokio::test]
async fn a_lost_reply_has_taken_effect_and_a_refusal_has_not() {
    let store = store(FaultPlan::new(1).fault_of("put_object", When::Nth(1), Fault::ReplyLost)).await;
    let lost = store.put_object("bucket", "new", b"x").await.unwrap_err();
    assert!(lost.is_retryable(), "{lost}");
    assert_eq!(store.get_object("bucket", "new").await.unwrap(), "x");
    let cloud = MemoryCloud::new();
    let store = Faulty::new(
        cloud.storage(),
        FaultPlan::new(1).fault(When::Always, Fault::Throttled(Some(Duration::from_secs(2)))),
    );
    let throttled = store.create_bucket("bucket").await.unwrap_err();
    assert!(matches!(throttled, CloudError::RateLimited { retry_after: Some(time) } if time.as_secs() == 2));
    assert!(!cloud.storage().bucket_exists("bucket").await.unwrap());
    // An error of the service inside is not lost.
    let store = Faulty::new(cloud.storage(), FaultPlan::new(1).fault(When::Always, Fault::ReplyLost));
    assert!(store.put_object("none", "key", b"x").await.unwrap_err().is_not_found());
    store.heal();
    assert!(store.create_bucket("bucket").await.is_ok());
}

#[tokio::test]
async fn a_truncated_body_never_passes_for_a_whole_one() {
    let store = store(FaultPlan::new(1).fault(When::Always, Fault::Truncated(4))).await;
    assert!(matches!(store.get_object("bucket", "key").await, Err(CloudError::Network(_))));
    let mut body = store.get_stream("bucket", "key", GetStreamOptions::new()).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "0123");
    assert!(matches!(body.next().await, Some(Err(CloudError::Network(_)))));
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn duplicates_come_with_the_next_receive() {
    let queue = MemoryCloud::new().queue();
    let url = queue.create_queue("jobs").await.unwrap();
    queue.send(&url, "one").await.unwrap();
    let queue = Faulty::new(queue, FaultPlan::new(1).fault_of("receive", When::Nth(1), Fault::Duplicate));
    let receive = async || queue.receive(&url, ReceiveOptions::new()).await.unwrap();
    let (first, second) = (receive().await, receive().await);
    assert_eq!(first[0].id, second[0].id);
    queue.delete(&url, &first[0]).await.unwrap();
    assert!(receive().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_its_time() {
    let time = Duration::from_secs(3600);
    let store = store(FaultPlan::new(1).fault(When::Always, Fault::Delay(time))).await;
    let before = tokio::time::Instant::now();
    store.get_object("bucket", "key").await.unwrap();
    assert!(before.elapsed() >= time);
}

#[tokio::test]
async fn tables_and_topics_fail_as_well() {
    let cloud = MemoryCloud::new();
    let plan = || FaultPlan::new(1).fault(When::Every(2), Fault::Refused("InternalError"));
    let db = Faulty::new(cloud.kv_store(), plan());
    db.create_table("table", Default::default()).await.unwrap();
    let refused = db.put("table", "key", &json!({"a": 1})).await.unwrap_err();
    assert!(refused.is_retryable());
    assert!(db.put_with_options("table", "key", &json!({"a": 1}), KvPutOptions::default()).await.is_ok());
    let topics = Faulty::new(cloud.pubsub(), plan());
    assert!(topics.create_topic("news").await.is_ok());
    assert!(topics.list_topics().await.is_err());
}
