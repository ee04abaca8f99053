//! Random sequences on the cloud in memory, beside itself through a wrapper, and beside one that lies.

mod memory_subject;

use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_conformance::random::{Outcome, Services, compare};
use cloudkit_core::api::*;
use cloudkit_core::common::*;
use cloudkit_testing::{Fault, FaultPlan, Faulty, MemoryStore, When};
use memory_subject::Memory;
use std::time::Duration;

fn plain(name: &str) -> Services {
    let memory = Memory::new(name);
    let cloud = memory.cloud.clone();
    Services::new(memory, cloud.storage(), cloud.kv_store(), cloud.queue(), cloud.pubsub())
}

fn through_faulty(name: &str, plan: FaultPlan) -> Services {
    let memory = Memory::new(name);
    let cloud = memory.cloud.clone();
    Services::new(
        memory,
        Faulty::new(cloud.storage(), plan.clone()),
        Faulty::new(cloud.kv_store(), plan.clone()),
        Faulty::new(cloud.queue(), plan.clone()),
        Faulty::new(cloud.pubsub(), plan),
    )
}

async fn run(seed: u64, count: usize, other: Services) -> Outcome {
    compare(seed, count, &[plain("memory"), other], REPLAY).await
}

/// A setting of the environment as a number.
fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_operations_are_the_same_through_a_wrapper_without_faults() {
    let (seed, count) = (setting("CLOUDKIT_SEED", 1), setting("CLOUDKIT_OPERATIONS", 10_000));
    let outcome = run(seed, count, through_faulty("wrapped", FaultPlan::new(0))).await;
    outcome.assert();
    assert!(outcome.count() >= count as u64);
}

#[tokio::test(start_paused = true)]
async fn a_sequence_meets_every_operation_and_many_kinds_of_failure() {
    let outcome = run(setting("CLOUDKIT_SEED", 2), 10_000, plain("other")).await;
    assert_eq!(outcome.operations.len(), 47, "{outcome}");
    for kind in [
        "Conflict",
        "NotFound Bucket",
        "NotFound Object",
        "NotFound Table",
        "NotModified",
        "PreconditionFailed",
        "Provider InvalidRange",
        "Validation",
    ] {
        assert!(outcome.refusals.contains_key(kind), "{kind} is missing: {outcome}");
    }
    outcome.assert();
}

#[tokio::test(start_paused = true)]
async fn a_lost_write_turns_the_comparison_red() {
    // A reply that says yes is lost and the caller is told so: the kind of the answer differs.
    let plan = FaultPlan::new(1).fault_of("put_object", When::Every(5), Fault::ReplyLost);
    let outcome = run(3, 2_000, through_faulty("lossy", plan)).await;
    let difference = outcome.difference.expect("a lost reply is a difference");
    assert!(difference.operation.starts_with("PutObject"), "{difference:?}");
    assert_eq!(difference.answers[1].1, Err(String::from("Network")));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_byte_turns_the_comparison_red() {
    let memory = Memory::new("liar");
    let cloud = memory.cloud.clone();
    let liar = Liar(cloud.storage());
    let liar = Services::new(memory, liar, cloud.kv_store(), cloud.queue(), cloud.pubsub());
    let outcome = run(4, 2_000, liar).await;
    let shown = outcome.to_string();
    let difference = outcome.difference.expect("a wrong byte is a difference");
    assert!(difference.operation.starts_with("Get"), "{difference:?}");
    assert!(shown.contains("CLOUDKIT_SEED=4") && shown.contains("DIFFERENCE"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_twice_turns_the_comparison_red() {
    let plan = FaultPlan::new(1).fault_of("receive", When::Every(3), Fault::Duplicate);
    let outcome = run(5, 2_000, through_faulty("repeating", plan)).await;
    assert!(outcome.difference.is_some(), "{outcome}");
}

/// A store that gives one wrong byte of bodies that are long enough, and else is right.
struct Liar(MemoryStore);

#[async_trait]
impl ObjectStorage for Liar {
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>> {
        self.0.list_buckets().await
    }
    async fn create_bucket(&self, bucket: &str) -> CloudResult<()> {
        self.0.create_bucket(bucket).await
    }
    async fn delete_bucket(&self, bucket: &str) -> CloudResult<()> {
        self.0.delete_bucket(bucket).await
    }
    async fn bucket_exists(&self, bucket: &str) -> CloudResult<bool> {
        self.0.bucket_exists(bucket).await
    }
    async fn put_object(&self, bucket: &str, key: &str, data: &[u8]) -> CloudResult<()> {
        self.0.put_object(bucket, key, data).await
    }
    async fn put_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        data: &[u8],
        options: PutOptions,
    ) -> CloudResult<()> {
        self.0.put_object_with_options(bucket, key, data, options).await
    }
    async fn get_object(&self, bucket: &str, key: &str) -> CloudResult<Bytes> {
        let mut body = self.0.get_object(bucket, key).await?.to_vec();
        if let Some(byte) = body.get_mut(4_000) {
            *byte ^= 1;
        }
        Ok(body.into())
    }
    async fn get_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> CloudResult<Bytes> {
        self.0.get_object_with_options(bucket, key, options).await
    }
    async fn head_object(&self, bucket: &str, key: &str) -> CloudResult<ObjectMetadata> {
        self.0.head_object(bucket, key).await
    }
    async fn delete_object(&self, bucket: &str, key: &str) -> CloudResult<()> {
        self.0.delete_object(bucket, key).await
    }
    async fn delete_objects(&self, bucket: &str, keys: &[&str]) -> CloudResult<()> {
        self.0.delete_objects(bucket, keys).await
    }
    async fn copy_object(&self, from: &str, from_key: &str, to: &str, to_key: &str) -> CloudResult<()> {
        self.0.copy_object(from, from_key, to, to_key).await
    }
    async fn object_exists(&self, bucket: &str, key: &str) -> CloudResult<bool> {
        self.0.object_exists(bucket, key).await
    }
    async fn list_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> CloudResult<ListResult<ObjectMetadata>> {
        self.0.list_objects(bucket, options).await
    }
    async fn presigned_get_url(&self, bucket: &str, key: &str, time: Duration) -> CloudResult<String> {
        self.0.presigned_get_url(bucket, key, time).await
    }
    async fn presigned_put_url(&self, bucket: &str, key: &str, time: Duration) -> CloudResult<String> {
        self.0.presigned_put_url(bucket, key, time).await
    }
    async fn put_stream(
        &self,
        bucket: &str,
        key: &str,
        body: ByteStream,
        options: PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        self.0.put_stream(bucket, key, body, options).await
    }
    async fn get_tags(&self, bucket: &str, key: &str) -> Result<Metadata, Failure> {
        self.0.get_tags(bucket, key).await
    }
    async fn set_tags(&self, bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure> {
        self.0.set_tags(bucket, key, tags).await
    }
    async fn delete_tags(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        self.0.delete_tags(bucket, key).await
    }
}

const REPLAY: &str = "CLOUDKIT_SEED={seed} CLOUDKIT_OPERATIONS={count} cargo test -p cloudkit-conformance --test random \
                      ten_thousand -- --nocapture";
